//! History of the rate of rows, and the burst limit that is judged by it.
//!
//! The history comes from the streams, where every stored pair carries the minute in which it was
//! counted. Several workers, and a restarted one, therefore judge alike. All times here are minutes
//! since 1970, by the broker's clock.

use std::collections::BTreeMap;

use jiff::Timestamp;

/// Largest number of minutes with rows that the history remembers: those of a week.
const REMEMBERED_MINUTES: usize = 7 * 24 * 60;

/// Limit on the rows of one minute, beyond which further rows are a burst.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BurstLimit {
    /// Largest number of rows in a minute, as a multiple of the median minute's.
    pub factor: u32,
    /// Number of rows that any minute may hold.
    pub floor: u32,
    /// Number of minutes with rows before any minute is judged. A new project looks like a burst
    /// but is none.
    pub after_minutes: usize,
}

impl Default for BurstLimit {
    fn default() -> Self {
        Self { factor: 20, floor: 300, after_minutes: 30 }
    }
}

/// Limit of one minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct MinuteLimit {
    /// Number of rows that the minute may hold.
    pub(super) rows: u32,
    /// Number of rows in the median minute.
    pub(super) median: u32,
}

/// Converts a time to minutes since 1970.
pub(super) fn minute_of(at: Timestamp) -> i64 {
    at.as_second().div_euclid(60)
}

/// Number of pairs stored in each of the last minutes that had any, by the rows' own dates.
///
/// A date is only the writer's claim, so it is bounded on both sides. No row is newer than now.
/// Every row that a sweep to the end of the table did not see was written later than the rows that
/// it did see; the newest of their minutes is the floor of all later rows. Rows that were written
/// over hours while the worker was away then count in their own minutes, and rows that were written
/// at once can't pretend to have come one by one over a longer time than the worker was away.
///
/// Ids take no part in this: they start anew after `TRUNCATE ... RESTART IDENTITY`, and those that
/// are no numbers have no order.
#[derive(Debug, Default)]
pub(super) struct History {
    minutes: BTreeMap<i64, u32>,
    /// Newest minute of the rows that were known when a sweep last reached the end of the table, by
    /// their own dates. `None` before the first sweep did: until then the rows are what the table's
    /// owner brought, and no limit holds.
    floor: Option<i64>,
    /// Minute in which that sweep began.
    swept: Option<i64>,
    /// Place of the last row without a usable date.
    undated: Option<Undated>,
    /// Minute and its limit, once computed.
    limit: Option<(i64, MinuteLimit)>,
}

/// Progress of the rows without a usable date through the minutes that they may belong to.
#[derive(Debug, Clone, Copy)]
struct Undated {
    /// First of these minutes.
    since: i64,
    /// Number of rows in the median minute.
    usual: u32,
    /// Minute of the last such row.
    minute: i64,
    /// True once every minute holds the usual number of rows.
    beyond_usual: bool,
}

impl History {
    /// Returns the minute in which a row with this date counts.
    pub(super) fn minute(
        &mut self,
        created_at: Option<Timestamp>,
        now: i64,
        burst: Option<&BurstLimit>,
    ) -> i64 {
        let floor = self.floor_at(now);
        // A minute is left to a database whose clock is slightly ahead.
        let said = created_at.map(minute_of).filter(|said| *said <= now.saturating_add(1));
        match (said, floor) {
            (Some(said), Some(floor)) => {
                // Older minutes are forgotten, so that nothing could be counted in them.
                let known = match self.minutes.first_key_value() {
                    Some((oldest, _)) if self.minutes.len() >= REMEMBERED_MINUTES => floor.max(*oldest),
                    Some(_) | None => floor,
                };
                said.max(known).min(now)
            }
            (Some(said), None) => said.min(now),
            // A date in the future says no more than none: the database's clock is ahead, or the
            // writer made it up.
            (None, Some(floor)) => self.undated_minute(floor, now, burst),
            (None, None) => now,
        }
    }

    /// Returns a minute for a row without a date, which may have been written at any time since the
    /// table was last read to its end. Such rows fill each minute up to the usual count before they
    /// fill any further, so that a worker that was away sees no burst, and the median stays where it
    /// is.
    fn undated_minute(&mut self, floor: i64, now: i64, burst: Option<&BurstLimit>) -> i64 {
        let Some(burst) = burst else { return now };
        let since = floor.max(self.swept.unwrap_or(i64::MIN));
        // Further back than a week nothing is remembered, so every minute would seem to have room.
        let since = since.max(now.saturating_sub(REMEMBERED_MINUTES as i64)).min(now);
        let mut undated = match self.undated {
            Some(undated) if undated.since == since => undated,
            Some(_) | None => {
                let usual = median(self.minutes.values().copied()).unwrap_or_default().max(1);
                Undated { since, usual, minute: since, beyond_usual: false }
            }
        };
        if !undated.beyond_usual {
            while undated.minute <= now && self.count(undated.minute) >= undated.usual {
                undated.minute += 1;
            }
            if undated.minute > now {
                undated = Undated { minute: since, beyond_usual: true, ..undated };
            }
        }
        if undated.beyond_usual {
            while undated.minute < now && self.excess(undated.minute, burst).is_some() {
                undated.minute += 1;
            }
        }
        self.undated = Some(undated);
        undated.minute
    }

    /// Returns the history of these minutes, each with its number of rows.
    pub(super) fn of(minutes: impl IntoIterator<Item = (i64, u32)>) -> Self {
        Self { minutes: minutes.into_iter().collect(), ..Self::default() }
    }

    /// Returns the remembered minutes, each with its number of rows.
    pub(super) fn minutes(&self) -> impl Iterator<Item = (i64, u32)> + '_ {
        self.minutes.iter().map(|(minute, count)| (*minute, *count))
    }

    fn count(&self, minute: i64) -> u32 {
        self.minutes.get(&minute).copied().unwrap_or_default()
    }

    /// Counts a stored row in this minute.
    pub(super) fn record(&mut self, minute: i64) {
        let count = self.minutes.entry(minute).or_default();
        *count = count.saturating_add(1);
        while self.minutes.len() > REMEMBERED_MINUTES {
            self.minutes.pop_first();
        }
    }

    /// Returns the limit of a minute that holds as many rows as it may, or `None` for one with room.
    pub(super) fn excess(&mut self, minute: i64, burst: &BurstLimit) -> Option<MinuteLimit> {
        self.floor?;
        let count = self.count(minute);
        if count < burst.floor {
            return None;
        }
        let limit = match self.limit {
            Some((of, limit)) if of == minute => limit,
            _ => {
                let limit = self.limit_of(minute, burst)?;
                self.limit = Some((minute, limit));
                limit
            }
        };
        (count >= limit.rows).then_some(limit)
    }

    /// Notes that a sweep that began in this minute has read the table to its end. Returns the floor
    /// of later rows if that is a new one.
    pub(super) fn swept(&mut self, began: i64) -> Option<i64> {
        self.swept = self.swept.max(Some(began));
        // Rows that came during the sweep may be newer than one that it missed.
        let newest = self.minutes.range(..=began).next_back().map_or(0, |(minute, _)| *minute);
        self.raise_floor(newest)
    }

    /// Notes the floor that this or another worker has found before. Returns it if it is a new one.
    pub(super) fn raise_floor(&mut self, floor: i64) -> Option<i64> {
        if self.floor >= Some(floor) {
            return None;
        }
        self.floor = Some(floor);
        self.floor
    }

    /// Returns the floor, for a history that is read anew.
    pub(super) fn floor(&self) -> Option<i64> {
        self.floor
    }

    /// Returns the floor at `now`. A clock that was ahead and is right again has left minutes in the future,
    /// which are no floor.
    fn floor_at(&self, now: i64) -> Option<i64> {
        let floor = self.floor?;
        if floor <= now {
            return Some(floor);
        }
        Some(self.minutes.range(..=now).next_back().map_or(0, |(minute, _)| *minute))
    }

    /// Returns the number of rows stored in these minutes.
    pub(super) fn stored_between(&self, first: i64, last: i64) -> u64 {
        self.minutes.range(first..=last).map(|(_, count)| u64::from(*count)).sum()
    }

    /// Returns the limit of a minute, from the median minute: a burst must last for half of all
    /// minutes before it moves the median. `None` while too few minutes are known.
    fn limit_of(&self, minute: i64, burst: &BurstLimit) -> Option<MinuteLimit> {
        if self.minutes.len() - usize::from(self.minutes.contains_key(&minute)) < burst.after_minutes.max(1) {
            return None;
        }
        let others = self.minutes.iter().filter(|(of, _)| **of != minute).map(|(_, count)| *count);
        let median = median(others)?;
        Some(MinuteLimit { rows: median.saturating_mul(burst.factor).max(burst.floor), median })
    }
}

fn median(counts: impl Iterator<Item = u32>) -> Option<u32> {
    let mut counts: Vec<u32> = counts.collect();
    if counts.is_empty() {
        return None;
    }
    let middle = counts.len() / 2;
    let (_, median, _) = counts.select_nth_unstable(middle);
    Some(*median)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMIT: BurstLimit = BurstLimit { factor: 10, floor: 20, after_minutes: 5 };
    const NOW: i64 = 30_000_000;

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_second(minute * 60 + 5).expect("in range")
    }

    /// Records the rows that are within the limit, and returns their number. `None` is a row without
    /// a date.
    fn keep(history: &mut History, dates: impl Iterator<Item = Option<i64>>, now: i64) -> u64 {
        let mut kept = 0;
        for date in dates {
            let minute = history.minute(date.map(at), now, Some(&LIMIT));
            assert!(minute <= now, "a row counts in the future");
            if history.excess(minute, &LIMIT).is_none() {
                history.record(minute);
                kept += 1;
            }
        }
        kept
    }

    fn dated(dates: impl IntoIterator<Item = i64>) -> impl Iterator<Item = Option<i64>> {
        dates.into_iter().map(Some)
    }

    /// Returns a history of ten rows a minute for twenty minutes, read to the end of the table.
    fn steady() -> History {
        let mut history = History::default();
        assert_eq!(keep(&mut history, dated((0..200).map(|row| NOW - 20 + row / 10)), NOW), 200);
        history.swept(NOW);
        history
    }

    /// Returns the history of a worker that has read `history` from the streams.
    fn restarted(history: &History) -> History {
        let mut restarted = History::default();
        for (minute, count) in &history.minutes {
            (0..*count).for_each(|_| restarted.record(*minute));
        }
        history.floor.and_then(|floor| restarted.raise_floor(floor));
        restarted
    }

    #[test]
    fn a_burst_is_cut_at_ten_times_the_median_minute_and_the_next_minute_is_free_again() {
        let mut history = steady();
        assert_eq!(keep(&mut history, dated((0..1000).map(|_| NOW)), NOW), 100);
        assert_eq!(history.excess(NOW, &LIMIT), Some(MinuteLimit { rows: 100, median: 10 }));
        assert_eq!(keep(&mut history, dated((0..50).map(|_| NOW + 1)), NOW + 1), 50);
        assert_eq!(keep(&mut restarted(&history), dated((0..10).map(|_| NOW)), NOW + 2), 0);
    }

    #[test]
    fn a_table_that_was_there_before_the_worker_is_no_burst_and_neither_is_a_new_project() {
        let old = dated((0..100_000).map(|row| NOW - 50_000 + row / 10));
        assert_eq!(keep(&mut History::default(), old, NOW), 100_000);
        // Its owner filled it in one go, a year after its first rows.
        let imported = (0..200).map(|row| NOW - 900_000 + row / 2).chain((0..5_000).map(|_| NOW - 400_000));
        assert_eq!(keep(&mut History::default(), dated(imported), NOW), 5_200);
        let mut new = History::default();
        new.swept(NOW);
        assert_eq!(keep(&mut new, dated((0..1_000).map(|_| NOW)), NOW), 1_000);
    }

    #[test]
    fn false_dates_do_not_hide_a_burst() {
        for pretended in [NOW - 40_000, NOW + 40_000, NOW - 300] {
            for order in [1, -1] {
                let mut history = steady();
                let kept = keep(&mut history, dated((0..1000).map(|row| pretended + order * row)), NOW);
                assert!(kept <= 200, "{kept} rows pretend to be of {pretended}");
            }
        }
    }

    #[test]
    fn a_backlog_counts_in_its_own_minutes_and_one_without_dates_spreads_over_the_absence() {
        for mut history in [steady(), restarted(&steady())] {
            let backlog = dated((0..5_000).map(|row| NOW + 1 + row / 10));
            assert_eq!(keep(&mut history, backlog, NOW + 501), 5_000);
        }
        for undated in [None, Some(NOW + 900_000)] {
            let mut history = restarted(&steady());
            let backlog = std::iter::repeat_n(undated, 5_000);
            assert_eq!(keep(&mut history, backlog, NOW + 500), 5_000);
            // After the sweep, a flood has no absence to hide in.
            history.swept(NOW + 500);
            let flood = std::iter::repeat_n(undated, 50_000);
            assert!(keep(&mut history, flood, NOW + 501) <= 200);
        }
    }

    #[test]
    fn one_date_in_the_future_does_not_gather_the_rows_after_it() {
        let mut history = steady();
        let backlog = (0..4_000).map(|row| if row == 0 { NOW + 2_000 } else { NOW + 1 + row / 10 });
        assert_eq!(keep(&mut history, dated(backlog), NOW + 401), 4_000);
    }

    #[test]
    fn ids_that_start_anew_change_nothing_and_rows_may_come_in_any_order() {
        let mut history = steady();
        let backlog = (0..5_000).map(|row| NOW + 1 + (row * 7_919 % 5_000) / 10);
        assert_eq!(keep(&mut history, dated(backlog), NOW + 501), 5_000);
    }

    #[test]
    fn minutes_that_a_clock_left_in_the_future_are_no_floor() {
        let mut history = steady();
        let ahead = NOW + 7 * 60;
        assert_eq!(keep(&mut history, dated([ahead]), ahead), 1);
        history.swept(ahead);
        let backlog = dated((0..500).map(|row| NOW + 1 + row / 10));
        assert_eq!(keep(&mut history, backlog, NOW + 60), 500);
    }

    #[test]
    fn rows_older_than_anything_remembered_still_count() {
        let mut history = History::default();
        let week = REMEMBERED_MINUTES as i64;
        assert_eq!(
            keep(&mut history, dated((0..2 * week).map(|row| NOW - week + row / 2)), NOW),
            2 * week as u64
        );
        history.raise_floor(NOW - 3 * week);
        assert!(keep(&mut history, dated((0..5_000).map(|_| NOW - 2 * week)), NOW) <= 20);
    }

    /// A time in which the table is used and the worker is up, or is not.
    #[derive(Debug, Clone)]
    struct Period {
        minutes: i64,
        rows_per_minute: i64,
        /// True when the worker is away: its rows come all at once, at the end.
        away: bool,
        restarts: bool,
    }

    fn periods() -> impl Strategy<Value = Vec<Period>> {
        let period = (1_i64..300, 0_i64..=10, any::<bool>(), any::<bool>()).prop_map(
            |(minutes, rows_per_minute, away, restarts)| Period { minutes, rows_per_minute, away, restarts },
        );
        prop::collection::vec(period, 1..8)
    }

    /// Plays the periods through, with a sweep each minute while the worker is up, and a database whose
    /// clock is ahead of the broker's by some minutes. Returns the history and the time at the end,
    /// and the number of rows that were quarantined.
    fn live(periods: &[Period], ahead: i64, has_dates: bool) -> (History, i64, u64) {
        let (mut history, mut now, mut refused) = (History::default(), NOW, 0);
        history.swept(now);
        for period in periods {
            let mut waiting = Vec::new();
            for _ in 0..period.minutes {
                now += 1;
                waiting.extend((0..period.rows_per_minute).map(|_| has_dates.then_some(now + ahead)));
                if !period.away {
                    let rows = std::mem::take(&mut waiting);
                    let count = rows.len() as u64;
                    refused += count - keep(&mut history, rows.into_iter(), now);
                    history.swept(now);
                }
            }
            if period.restarts {
                history = restarted(&history);
            }
            let count = waiting.len() as u64;
            refused += count - keep(&mut history, waiting.into_iter(), now);
            history.swept(now);
        }
        (history, now, refused)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Ten rows a minute are below the limit of any minute, whatever the clocks show and however
        /// long the worker is away.
        #[test]
        fn rows_at_a_usual_rate_are_never_a_burst(
            periods in periods(), ahead in -600_i64..600, has_dates in any::<bool>(),
        ) {
            prop_assert_eq!(live(&periods, ahead, has_dates).2, 0);
        }

    }

    proptest! {
        // A flood has many rows, and each of them is judged.
        #![proptest_config(ProptestConfig::with_cases(8))]

        /// A flood gets no more through than the limit of each minute since the newest row that a
        /// sweep has seen.
        #[test]
        fn a_flood_is_bounded_whatever_dates_it_gives(
            periods in periods(),
            dates in prop::collection::vec(prop::option::of(-100_000_i64..100_000), 1..50),
        ) {
            let (mut history, now, _) = live(&periods, 0, true);
            let newest = history.minutes.last_key_value().map_or(now, |(minute, _)| *minute);
            // A flood that fills half of all minutes with rows moves the median.
            prop_assume!(history.minutes.len() as i64 > 2 * (now + 2 - newest) + LIMIT.after_minutes as i64);
            let flood = (0..20_000).map(|row: usize| dates[row % dates.len()].map(|date| now + date));
            let kept = keep(&mut history, flood, now + 1);
            // The median minute has at most ten rows.
            let most = 100 * u64::try_from(now + 2 - newest).unwrap();
            prop_assert!(kept <= most, "{} rows of a flood, {} expected at most", kept, most);
        }
    }
}
