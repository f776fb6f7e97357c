//! Bursts: the rows over the limit of a minute, the ids that a person names them by, and what is
//! logged about them.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Serialize, Serializer};

use super::history::{History, MinuteLimit, minute_of};
use crate::postgres_time::PostgresTime;

/// Number of minutes without a further quarantined row after which a burst is over.
const OVER_AFTER_MINUTES: i64 = 2;

/// Largest number of bursts that are followed at the same time. A further one is logged at its
/// start, and its end is not.
const FOLLOWED_BURSTS: usize = 16;

/// Id of a burst: one of its minutes, such as `2026-01-02T03:04Z`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct BurstId(pub(super) i64);

impl fmt::Display for BurstId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.checked_mul(60).and_then(|second| Timestamp::from_second(second).ok()) {
            Some(at) => write!(formatter, "{}", at.strftime("%Y-%m-%dT%H:%MZ")),
            None => write!(formatter, "{}", self.0),
        }
    }
}

impl FromStr for BurstId {
    type Err = NotABurstId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        PostgresTime::read(text).map(|read| Self(minute_of(read.at))).ok_or(NotABurstId)
    }
}

impl Serialize for BurstId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A text that is no id of a burst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be a minute such as 2026-01-02T03:04Z")]
pub struct NotABurstId;

/// A burst among the rows in quarantine: minutes with such rows, without a minute between them that
/// has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Burst {
    /// Id of the burst: its first minute.
    pub id: BurstId,
    /// Last minute of the burst.
    pub last: BurstId,
    /// Number of its rows in quarantine.
    pub rows: u64,
}

impl Burst {
    /// Groups the minutes of quarantined rows into bursts, in order of time.
    pub fn among(minutes: impl IntoIterator<Item = BurstId>) -> Vec<Self> {
        let mut counts: BTreeMap<i64, u64> = BTreeMap::new();
        for BurstId(minute) in minutes {
            *counts.entry(minute).or_default() += 1;
        }
        let mut bursts: Vec<Self> = Vec::new();
        for (minute, rows) in counts {
            match bursts.last_mut() {
                Some(burst) if minute <= burst.last.0.saturating_add(1) => {
                    burst.last = BurstId(minute);
                    burst.rows += rows;
                }
                _ => bursts.push(Self { id: BurstId(minute), last: BurstId(minute), rows }),
            }
        }
        bursts
    }

    /// Returns true when this minute is one of the burst's.
    pub fn includes(&self, minute: BurstId) -> bool {
        (self.id..=self.last).contains(&minute)
    }
}

/// Bursts that are under way, so that each is logged once at its start and once at its end.
#[derive(Debug, Default)]
pub(super) struct BurstLog {
    bursts: Vec<Ongoing>,
}

#[derive(Debug)]
struct Ongoing {
    first: i64,
    last: i64,
    quarantined: u64,
    limit: MinuteLimit,
    /// Minute in which its last row came.
    touched: i64,
    told: bool,
}

/// Message about a burst, for the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BurstNotice {
    /// Id of the burst.
    burst: BurstId,
    /// Number of rows of its minutes that were stored for training.
    kept: u64,
    /// Number of rows in quarantine so far.
    quarantined: u64,
    /// Limit of its first minute.
    limit: MinuteLimit,
    /// False at the start of a burst, true at its end.
    over: bool,
}

impl BurstLog {
    /// Notes a row that was refused in this minute.
    pub(super) fn refused(&mut self, minute: i64, limit: MinuteLimit, now: i64) {
        let near = |burst: &&mut Ongoing| {
            (burst.first.saturating_sub(1)..=burst.last.saturating_add(1)).contains(&minute)
        };
        match self.bursts.iter_mut().find(near) {
            Some(burst) => {
                burst.first = burst.first.min(minute);
                burst.last = burst.last.max(minute);
                burst.quarantined += 1;
                burst.touched = now;
            }
            None => {
                let first = minute;
                let new = Ongoing { first, last: first, quarantined: 1, limit, touched: now, told: false };
                self.bursts.push(new);
            }
        }
    }

    /// Returns the messages that are due at the end of a batch of rows.
    pub(super) fn notices(&mut self, history: &History, now: i64) -> Vec<BurstNotice> {
        let mut notices = Vec::new();
        let notice = |burst: &Ongoing, over| BurstNotice {
            burst: BurstId(burst.first),
            kept: history.stored_between(burst.first, burst.last),
            quarantined: burst.quarantined,
            limit: burst.limit,
            over,
        };
        self.bursts.retain_mut(|burst| {
            let over = now.saturating_sub(burst.touched) > OVER_AFTER_MINUTES;
            if over || !burst.told {
                notices.push(notice(burst, over));
            }
            burst.told = true;
            !over
        });
        let surplus = self.bursts.len().saturating_sub(FOLLOWED_BURSTS);
        self.bursts.drain(..surplus);
        notices
    }
}

impl BurstNotice {
    /// Writes the message to the log.
    pub(super) fn log(&self) {
        let Self { burst, kept, quarantined, limit: MinuteLimit { rows: limit, median }, over } = *self;
        if over {
            tracing::info!(%burst, kept, quarantined, limit, median, "the burst is over");
            return;
        }
        tracing::warn!(
            %burst, kept, quarantined, limit, median,
            "a burst: rows came far faster than usual, and those over the limit are kept out of training. \
             An import by the table's owner looks the same; \
             `autovalidate quarantine release --burst {burst}` accepts its rows, \
             and `autovalidate quarantine drop --burst {burst}` deletes them"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: i64 = 29_454_064;
    const LIMIT: MinuteLimit = MinuteLimit { rows: 300, median: 5 };

    #[test]
    fn an_id_is_read_back_with_and_without_its_zone() {
        let id = BurstId(MINUTE);
        assert_eq!(id.to_string(), "2026-01-01T05:04Z");
        for text in ["2026-01-01T05:04Z", "2026-01-01T05:04", "2026-01-01 05:04:59+00", "2026-01-01T06:04+01"]
        {
            assert_eq!(text.parse(), Ok(id), "{text}");
        }
        assert_eq!("burst".parse::<BurstId>(), Err(NotABurstId));
        assert_eq!(BurstId(i64::MAX).to_string(), i64::MAX.to_string());
    }

    #[test]
    fn adjacent_minutes_are_one_burst_and_a_minute_between_parts_two() {
        let minutes = [5, 3, 4, 4, 9, 8, 20];
        let bursts = Burst::among(minutes.map(BurstId));
        let found: Vec<_> = bursts.iter().map(|burst| (burst.id.0, burst.last.0, burst.rows)).collect();
        assert_eq!(found, [(3, 5, 4), (8, 9, 2), (20, 20, 1)]);
        assert!(bursts[0].includes(BurstId(4)) && !bursts[0].includes(BurstId(6)));
    }

    #[test]
    fn a_burst_is_logged_once_at_its_start_and_once_when_it_is_over() {
        let mut history = History::default();
        (0..300).for_each(|_| history.record(MINUTE));
        let mut log = BurstLog::default();
        let mut refuse = |rows: u64, minute: i64, now: i64| {
            (0..rows).for_each(|_| log.refused(minute, LIMIT, now));
            log.notices(&history, now)
        };
        let start =
            BurstNotice { burst: BurstId(MINUTE), kept: 300, quarantined: 700, limit: LIMIT, over: false };
        assert_eq!(refuse(700, MINUTE, MINUTE), [start]);
        assert_eq!(refuse(500, MINUTE, MINUTE), []);
        // The next minute belongs to the same burst.
        assert_eq!(refuse(10, MINUTE + 1, MINUTE + 1), []);
        assert_eq!(refuse(0, 0, MINUTE + 3), []);
        assert_eq!(refuse(0, 0, MINUTE + 4), [BurstNotice { quarantined: 1210, over: true, ..start }]);
        assert_eq!(refuse(0, 0, MINUTE + 9), []);
        assert_eq!(refuse(1, MINUTE + 9, MINUTE + 9).len(), 1, "another burst");
    }

    #[test]
    fn many_bursts_at_once_are_each_logged_and_few_are_followed() {
        let mut log = BurstLog::default();
        (0..100).for_each(|burst| log.refused(MINUTE - burst * 5, LIMIT, MINUTE));
        assert_eq!(log.notices(&History::default(), MINUTE).len(), 100);
        assert_eq!(log.notices(&History::default(), MINUTE + 5).len(), FOLLOWED_BURSTS);
    }
}
