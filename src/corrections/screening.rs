//! Screening of a row beyond its own text: by the names in the catalog, and by the usual rate of
//! rows.
//!
//! Both checks need memory. The caller provides the names. The history of the rate comes from the
//! streams, where every stored pair carries the minute in which it was counted. Several workers,
//! and a restarted one, therefore judge alike. Conflicting corrections do not concern a single row;
//! they are resolved when a dataset is built.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;

use crate::correction::{Refusal, Row, normalize};

/// Largest number of minutes with rows that the history remembers.
const REMEMBERED_MINUTES: usize = 512;

/// Rules that screen rows beyond their own text. The default rules accept every row.
#[derive(Debug, Clone, Default)]
pub struct ScreeningRules {
    /// Names that a correction may have; `None` without a catalog.
    pub names: Option<Arc<KnownNames>>,
    /// Limit on the rate of rows; `None` for any rate.
    pub burst: Option<BurstLimit>,
}

impl ScreeningRules {
    pub(super) fn check_name(&self, row: &Row) -> Result<(), Refusal> {
        match &self.names {
            Some(names) if !names.allow(row) => Err(Refusal::NotInCatalog),
            _ => Ok(()),
        }
    }
}

/// Limit on the rows of one minute, beyond which further rows are a burst.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BurstLimit {
    /// Largest number of rows in a minute, as a multiple of the median minute's.
    pub factor: u32,
    /// Number of rows that any minute may hold.
    pub floor: u32,
    /// Number of minutes with rows before any minute is judged. A table's first import and a new
    /// project look like bursts but are none.
    pub after_minutes: usize,
}

impl Default for BurstLimit {
    fn default() -> Self {
        Self { factor: 20, floor: 300, after_minutes: 30 }
    }
}

/// Names that a correction may have, by domain. Names without a domain hold for every domain.
#[derive(Default, PartialEq, Eq)]
pub struct KnownNames {
    domains: HashMap<String, HashSet<String>>,
    anywhere: HashSet<String>,
}

impl fmt::Debug for KnownNames {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("KnownNames").field("count", &self.len()).finish_non_exhaustive()
    }
}

impl KnownNames {
    /// Collects names from `(domain, name)`; a name with an empty domain holds for all domains.
    pub fn new(names: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut known = Self::default();
        for (domain, name) in names {
            let domain = normalize(&domain);
            let names = match domain.is_empty() {
                true => &mut known.anywhere,
                false => known.domains.entry(domain).or_default(),
            };
            names.insert(normalize(&name));
        }
        known
    }

    /// Returns the number of names over all domains.
    pub fn len(&self) -> usize {
        self.anywhere.len() + self.domains.values().map(HashSet::len).sum::<usize>()
    }

    /// Returns true when there are no names.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns true when the correction is a known name, or when the catalog has no names for the
    /// row's domain.
    fn allow(&self, row: &Row) -> bool {
        let name = normalize(&row.corrected);
        let of_domain = self.domains.get(&normalize(&row.domain));
        if of_domain.is_none() && self.anywhere.is_empty() {
            return true;
        }
        self.anywhere.contains(&name) || of_domain.is_some_and(|names| names.contains(&name))
    }
}

/// Number of pairs stored in each of the last minutes that had any, by the rows' own dates.
///
/// A date is only the writer's claim, so it is bounded: a row with a higher id can't be older than
/// the row before it, and no row is newer than now. With these bounds, the rows of an old table
/// spread over their own years, while rows written at once can't pretend to have come one by one.
#[derive(Debug, Default)]
pub(super) struct History {
    minutes: BTreeMap<i64, u32>,
    /// Id and minute of the newest row.
    front: Option<(i64, i64)>,
    /// Id and minute of the newest row below the front. A sweep of old rows runs beside the new
    /// ones.
    trail: Option<(i64, i64)>,
    /// Minute and its limit, once computed.
    limit: Option<(i64, u32)>,
}

impl History {
    /// Returns the minute in which a row counts, as minutes since 1970.
    pub(super) fn minute(&mut self, row: &Row, now: Timestamp) -> i64 {
        let now = now.as_second().div_euclid(60);
        let said = row.created_at.as_deref().and_then(|at| at.parse::<Timestamp>().ok());
        let said = said.map_or(now, |at| at.as_second().div_euclid(60));
        let (before, latest) = match (self.front, self.trail) {
            (Some((id, minute)), _) if row.id > id => (minute, now),
            (Some((_, latest)), Some((id, minute))) if row.id > id => (minute, latest),
            (Some((_, latest)), _) => (i64::MIN, latest),
            (None, _) => (i64::MIN, now),
        };
        let minute = said.max(before).min(latest.max(before)).min(now);
        self.move_on(row.id, minute);
        minute
    }

    /// Counts a stored row in this minute.
    pub(super) fn record(&mut self, id: i64, minute: i64) {
        self.move_on(id, minute);
        let count = self.minutes.entry(minute).or_default();
        *count = count.saturating_add(1);
        while self.minutes.len() > REMEMBERED_MINUTES {
            self.minutes.pop_first();
        }
    }

    /// Returns true when a minute already holds as many rows as it may.
    pub(super) fn is_full(&mut self, minute: i64, burst: &BurstLimit) -> bool {
        let count = self.minutes.get(&minute).copied().unwrap_or_default();
        if count < burst.floor {
            return false;
        }
        let limit = match self.limit {
            Some((of, limit)) if of == minute => limit,
            _ => {
                let limit = self.limit_of(minute, burst);
                self.limit = Some((minute, limit));
                limit
            }
        };
        count >= limit
    }

    /// Returns the limit of a minute, from the median minute: a burst must last for half of all
    /// minutes before it moves the median.
    fn limit_of(&self, minute: i64, burst: &BurstLimit) -> u32 {
        let mut counts: Vec<u32> =
            self.minutes.iter().filter(|(of, _)| **of != minute).map(|(_, count)| *count).collect();
        if counts.len() < burst.after_minutes.max(1) {
            return u32::MAX;
        }
        let middle = counts.len() / 2;
        let (_, median, _) = counts.select_nth_unstable(middle);
        median.saturating_mul(burst.factor).max(burst.floor)
    }

    fn move_on(&mut self, id: i64, minute: i64) {
        match (self.front, self.trail) {
            (Some((front, _)), trail) if id <= front => {
                if trail.is_none_or(|(before, _)| id > before) && id < front {
                    self.trail = Some((id, minute));
                }
            }
            _ => self.front = Some((id, minute)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIMIT: BurstLimit = BurstLimit { factor: 10, floor: 20, after_minutes: 5 };
    const NOW: i64 = 30_000_000;

    fn row(id: i64, minute: i64) -> Row {
        Row {
            id,
            typo: "toyta".to_owned(),
            corrected: "Toyota".to_owned(),
            domain: "Brand ".to_owned(),
            created_at: Some(at(minute).to_string()),
        }
    }

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_second(minute * 60 + 5).expect("in range")
    }

    /// Records the rows that are within the limit, and returns their number.
    fn keep(history: &mut History, rows: impl Iterator<Item = Row>, now: i64) -> usize {
        rows.filter(|row| {
            let minute = history.minute(row, at(now));
            let full = history.is_full(minute, &LIMIT);
            if !full {
                history.record(row.id, minute);
            }
            !full
        })
        .count()
    }

    /// Returns a history of ten rows a minute for twenty minutes.
    fn steady() -> History {
        let mut history = History::default();
        let rows = (0..200).map(|id| row(id, NOW - 20 + id / 10));
        assert_eq!(keep(&mut history, rows, NOW), 200);
        history
    }

    #[test]
    fn a_burst_is_cut_at_ten_times_the_median_minute_and_the_next_minute_is_free_again() {
        let mut history = steady();
        assert_eq!(keep(&mut history, (200..1200).map(|id| row(id, NOW)), NOW), 100);
        assert_eq!(keep(&mut history, (1200..1250).map(|id| row(id, NOW + 1)), NOW + 1), 50);
    }

    #[test]
    fn an_old_table_is_no_burst_and_neither_is_a_new_one() {
        let old = (0..100_000).map(|id| row(id, NOW - 50_000 + id / 10));
        assert_eq!(keep(&mut History::default(), old, NOW), 100_000);
        let new = (0..1_000).map(|id| row(id, NOW));
        assert_eq!(keep(&mut History::default(), new, NOW), 1_000);
    }

    #[test]
    fn false_dates_do_not_hide_a_burst() {
        for pretended in [NOW - 40_000, NOW + 40_000] {
            let mut history = steady();
            let rows = (200..1200).map(|id| row(id, pretended + id));
            let kept = keep(&mut history, rows, NOW);
            assert!(kept <= 200, "{kept}");
        }
    }

    #[test]
    fn rows_swept_beside_new_ones_count_in_their_own_minutes() {
        let mut history = steady();
        // Realtime has run ahead; the sweep then reads the rows in between, ten a minute.
        assert_eq!(keep(&mut history, std::iter::once(row(10_000, NOW + 600)), NOW + 600), 1);
        let between = (200..6_000).map(|id| row(id, NOW + (id - 200) / 10));
        assert_eq!(keep(&mut history, between, NOW + 600), 5_800);
    }

    #[test]
    fn a_correction_must_be_a_name_of_its_domain_where_the_catalog_has_one() {
        let names = |domain: &str| KnownNames::new([(domain.to_owned(), " TOYOTA ".to_owned())]);
        let with = |names| ScreeningRules { names: Some(Arc::new(names)), burst: None };
        let other = Row { corrected: "Toyote".to_owned(), ..row(1, NOW) };
        for domain in ["brand", ""] {
            let rules = with(names(domain));
            assert_eq!(rules.check_name(&row(1, NOW)), Ok(()));
            assert_eq!(rules.check_name(&other), Err(Refusal::NotInCatalog));
        }
        assert_eq!(with(names("model")).check_name(&other), Ok(()), "nothing is known of this domain");
        assert_eq!(ScreeningRules::default().check_name(&other), Ok(()));
    }

    proptest! {
        #[test]
        fn any_date_counts_in_a_minute_that_is_not_in_the_future(
            dates in prop::collection::vec(("[0-9TZ:+. -]{0,30}", -5_i64..50), 0..40),
        ) {
            let mut history = History::default();
            for (date, id) in dates {
                let row = Row { created_at: Some(date), ..row(id, NOW) };
                let minute = history.minute(&row, at(NOW));
                prop_assert!(minute <= NOW);
                history.record(id, minute);
            }
        }
    }
}
