//! The number of rows per request, learned from a table's answers.
//!
//! Every read of the table shares one [`PageSize`]: the back-fill, the look-back, the audit, rows by
//! id and the catalog. The look-back therefore starts with the size that the back-fill got through
//! with. A page that is too much for the database, the gateway or this worker is asked for again with
//! half the rows, down to a single row. After pages that went well, the size doubles again.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::rest_error::RestError;

/// Largest page in rows, and the first one: the row limit of hosted projects.
pub(super) const MAX_ROWS: usize = 1000;
/// Time after which an answer counts as slow. Hosted databases cancel a statement of the `anon` role
/// after 3 s.
const SLOW: Duration = Duration::from_secs(2);
/// Smallest page that slow answers lead to. A slow network is slow at every size, and a page of one
/// row would make it a thousand times slower.
const MIN_ROWS_WHEN_SLOW: usize = 50;
/// Number of full pages in a row after which a size is tried that never failed.
const MIN_PATIENCE: u32 = 2;
/// Number of full pages in a row after which a size is tried that has just failed repeatedly. A
/// failed try may cost the time limit of a statement.
const MAX_PATIENCE: u32 = 64;
/// Number of times that a single row must fail at the same place before it is given up.
const TRIES_OF_ONE_ROW: u32 = 3;

/// Remedy of a smaller page for a failed request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SmallerPage {
    /// A smaller page may get through at once.
    MayHelp,
    /// A smaller page may get through, but the service may also be down, so the caller pauses first.
    MayHelpLater,
    /// The size of the page is not the reason.
    IsNoRemedy,
}

/// Page size of one table.
#[derive(Debug, Default)]
pub(super) struct PageSize(Mutex<Learned>);

#[derive(Debug)]
struct Learned {
    rows: usize,
    /// Number of full, quick pages in a row at this size.
    streak: u32,
    /// Length of the streak after which the size doubles.
    patience: u32,
    /// True until the current size, reached by doubling, has proved itself.
    on_trial: bool,
    /// Place at which a single row failed last, and the number of times.
    stuck: Option<(i64, u32)>,
}

impl Default for Learned {
    fn default() -> Self {
        Self { rows: MAX_ROWS, streak: 0, patience: MIN_PATIENCE, on_trial: false, stuck: None }
    }
}

impl PageSize {
    /// Returns the number of rows to ask for, at most `most`.
    pub(super) fn rows(&self, most: usize) -> usize {
        self.learned().rows.min(most).max(1)
    }

    /// Learns from an answer with `got` rows to a request for `asked`.
    pub(super) fn succeeded(&self, asked: usize, got: usize, took: Duration) {
        let mut learned = self.learned();
        if took >= SLOW {
            // A slow answer with few rows in it is not slow because of their number.
            if got * 2 >= asked {
                learned.shrink(asked, MIN_ROWS_WHEN_SLOW);
            }
            return;
        }
        if got < asked || asked < learned.rows {
            return;
        }
        learned.streak += 1;
        if learned.streak < learned.patience {
            return;
        }
        learned.streak = 0;
        if std::mem::take(&mut learned.on_trial) {
            learned.patience = (learned.patience / 2).max(MIN_PATIENCE);
        }
        if learned.rows < MAX_ROWS {
            learned.rows = (learned.rows * 2).min(MAX_ROWS);
            learned.on_trial = true;
        }
    }

    /// Learns from a failed request for `asked` rows. Returns true when a smaller page should be
    /// asked for at once.
    pub(super) fn failed(&self, asked: usize, error: &RestError) -> bool {
        let remedy = error.smaller_page();
        if remedy == SmallerPage::IsNoRemedy {
            return false;
        }
        self.learned().shrink(asked, 1);
        remedy == SmallerPage::MayHelp && asked > 1
    }

    /// Counts a failure of the single row after `cursor`. Returns true when it has failed so often
    /// that the row itself must be the reason, not the moment.
    pub(super) fn gives_up_row_after(&self, cursor: i64) -> bool {
        let mut learned = self.learned();
        let times = match learned.stuck {
            Some((place, times)) if place == cursor => times + 1,
            _ => 1,
        };
        learned.stuck = Some((cursor, times));
        times >= TRIES_OF_ONE_ROW
    }

    /// Forgets the failures of the row after `cursor`, which got through.
    pub(super) fn got_past(&self, cursor: i64) {
        self.learned().stuck.take_if(|(place, _)| *place == cursor);
    }

    fn learned(&self) -> MutexGuard<'_, Learned> {
        // Nothing panics while it holds the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Learned {
    /// Halves the size after a page of `asked` rows, but never below `least`.
    fn shrink(&mut self, asked: usize, least: usize) {
        self.streak = 0;
        if std::mem::take(&mut self.on_trial) {
            self.patience = (self.patience * 2).min(MAX_PATIENCE);
        }
        let half = (asked / 2).max(least.min(asked));
        self.rows = self.rows.min(half).max(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const QUICK: Duration = Duration::from_millis(5);

    fn too_much() -> RestError {
        RestError::TooLarge { limit: 1 }
    }

    /// Reads `pages` pages from a table that refuses more than `limit` rows; returns the number of
    /// requests.
    fn read(size: &PageSize, limit: usize, pages: usize) -> usize {
        let mut requests = 0;
        for _ in 0..pages {
            loop {
                requests += 1;
                let asked = size.rows(MAX_ROWS);
                if asked <= limit {
                    size.succeeded(asked, asked, QUICK);
                    break;
                }
                assert!(size.failed(asked, &too_much()), "a smaller page is tried down to one row");
            }
        }
        requests
    }

    #[test]
    fn a_limit_is_found_by_halving_and_rarely_tried_again() {
        let size = PageSize::default();
        assert_eq!(read(&size, 200, 1), 4, "1000, 500, 250, 125");
        assert_eq!(size.rows(MAX_ROWS), 125);
        let requests = read(&size, 200, 1000);
        assert!(requests < 1030, "{requests} requests for 1000 pages");
    }

    #[test]
    fn the_size_grows_back_once_the_limit_is_gone() {
        let size = PageSize::default();
        read(&size, 1, 1);
        assert_eq!(size.rows(MAX_ROWS), 1);
        read(&size, MAX_ROWS, 60);
        assert_eq!(size.rows(MAX_ROWS), MAX_ROWS);
        assert_eq!(size.rows(100), 100, "a caller may want fewer");
    }

    #[test]
    fn slow_full_pages_shrink_it_to_a_floor_and_slow_empty_ones_do_not() {
        let size = PageSize::default();
        size.succeeded(1000, 3, SLOW);
        assert_eq!(size.rows(MAX_ROWS), 1000);
        for _ in 0..20 {
            let asked = size.rows(MAX_ROWS);
            size.succeeded(asked, asked, SLOW);
        }
        assert_eq!(size.rows(MAX_ROWS), MIN_ROWS_WHEN_SLOW);
        size.failed(4, &too_much());
        assert_eq!(size.rows(MAX_ROWS), 2);
        size.succeeded(2, 2, SLOW);
        assert_eq!(size.rows(MAX_ROWS), 2, "slowness never enlarges a page");
    }

    #[test]
    fn a_row_is_given_up_after_failing_three_times_at_one_place() {
        let size = PageSize::default();
        assert!(!size.gives_up_row_after(5) && !size.gives_up_row_after(5));
        assert!(!size.gives_up_row_after(9), "another place");
        assert!(!size.gives_up_row_after(9) && size.gives_up_row_after(9));
        size.got_past(7);
        assert!(size.gives_up_row_after(9), "other places say nothing about this row");
        size.got_past(9);
        assert!(!size.gives_up_row_after(9), "it got through meanwhile");
    }

    proptest! {
        #[test]
        fn the_size_stays_in_range_and_every_limit_is_got_through(
            limits in proptest::collection::vec(1_usize..3000, 1..40),
        ) {
            let size = PageSize::default();
            for limit in limits {
                read(&size, limit, 3);
                prop_assert!((1..=MAX_ROWS.min(limit * 2)).contains(&size.rows(MAX_ROWS)));
            }
        }
    }
}
