//! What a row is judged by beyond its own text: the names there are, and how fast rows usually come.
//!
//! Both need memory. The names are given from outside; the history of the rate is read from the streams, where
//! every kept row carries the minute it was counted in, so several workers and a restarted one judge alike.
//! Conflicting corrections are no matter of a single row, and are resolved when a dataset is built.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;

use crate::correction::{Refusal, Row, normalize};

/// How many minutes in which rows came are remembered.
const REMEMBERED_MINUTES: usize = 512;

/// What rows are judged by beyond their own text. The default judges nothing.
#[derive(Debug, Clone, Default)]
pub struct ScreeningRules {
    /// The names a correction may be; `None` when no catalog is given.
    pub names: Option<Arc<KnownNames>>,
    /// How fast rows may come; `None` when any rate will do.
    pub burst: Option<BurstLimit>,
}

impl ScreeningRules {
    pub(super) fn knows(&self, row: &Row) -> Result<(), Refusal> {
        match &self.names {
            Some(names) if !names.allow(row) => Err(Refusal::NotInCatalog),
            _ => Ok(()),
        }
    }
}

/// When rows come from nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BurstLimit {
    /// How many times the median minute a minute may hold.
    pub factor: u32,
    /// What a minute may always hold, in rows.
    pub floor: u32,
    /// How many minutes with rows there must have been before a minute is judged: a table's first import and a
    /// new project look like bursts and are none.
    pub after_minutes: usize,
}

impl Default for BurstLimit {
    fn default() -> Self {
        Self { factor: 20, floor: 300, after_minutes: 30 }
    }
}

/// The names a correction may be, by domain. Names without a domain hold for every domain.
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
    /// Names of `(domain, name)`; an empty domain holds for all.
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

    /// How many names there are, over all domains.
    pub fn len(&self) -> usize {
        self.anywhere.len() + self.domains.values().map(HashSet::len).sum::<usize>()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A domain that the catalog says nothing about is not judged.
    fn allow(&self, row: &Row) -> bool {
        let name = normalize(&row.corrected);
        let of_domain = self.domains.get(&normalize(&row.domain));
        if of_domain.is_none() && self.anywhere.is_empty() {
            return true;
        }
        self.anywhere.contains(&name) || of_domain.is_some_and(|names| names.contains(&name))
    }
}

/// How many rows were kept in each of the last minutes in which any were, by the rows' own dates.
///
/// A date is what the writer says, so it is not taken at its word: a row with a higher id can't be older than
/// the one before it, and no row is younger than now. Rows of an old table spread over their own years this way,
/// while rows written at once can't pretend to have come one by one.
#[derive(Debug, Default)]
pub(super) struct History {
    minutes: BTreeMap<i64, u32>,
    /// Id and minute of the newest row.
    front: Option<(i64, i64)>,
    /// The same among rows below the front: a sweep of the old runs beside the new ones.
    trail: Option<(i64, i64)>,
    /// The limit of one minute, once it was worked out.
    limit: Option<(i64, u32)>,
}

impl History {
    /// The minute a row counts in, as minutes since 1970.
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

    /// A row that is kept was counted in this minute.
    pub(super) fn record(&mut self, id: i64, minute: i64) {
        self.move_on(id, minute);
        let count = self.minutes.entry(minute).or_default();
        *count = count.saturating_add(1);
        while self.minutes.len() > REMEMBERED_MINUTES {
            self.minutes.pop_first();
        }
    }

    /// Whether a minute already holds as many rows as it may.
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

    /// The median, as a burst must last for half of all minutes before it moves that.
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

    /// Keeps what may be kept; says how many that is.
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

    /// Ten rows a minute for twenty minutes.
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
    fn made_up_dates_do_not_hide_a_burst() {
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
        // Realtime has run ahead; the sweep comes to what lies between, ten rows a minute.
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
            let screen = with(names(domain));
            assert_eq!(screen.knows(&row(1, NOW)), Ok(()));
            assert_eq!(screen.knows(&other), Err(Refusal::NotInCatalog));
        }
        assert_eq!(with(names("model")).knows(&other), Ok(()), "nothing is known of this domain");
        assert_eq!(ScreeningRules::default().knows(&other), Ok(()));
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
