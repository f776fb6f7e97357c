//! Lists for people: counts by domain and by day, the newest pairs, and rows in quarantine by page.
//!
//! Each takes a number of reads that doesn't grow with the pairs.

use std::collections::BTreeMap;

use futures::{StreamExt, TryStreamExt};
use jiff::Timestamp;

use super::scan::{Depth, scan};
use super::{Corrections, Quarantined, last_sequence, stored_at};
use crate::broker::BrokerError;
use crate::correction::Row;

/// A stored pair. `Debug` shows no text, like that of [`Row`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredPair {
    /// Time at which the pair was stored, by the broker's clock.
    pub at: Timestamp,
    /// The row.
    pub row: Row,
}

/// Some of the rows in quarantine, newest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct QuarantinePage {
    /// Rows of the page.
    pub rows: Vec<Quarantined>,
    /// Number to ask for earlier rows with; `None` when there are none.
    pub earlier: Option<u64>,
}

impl Corrections {
    /// Counts the stored pairs by domain, as subjects write it: at most `limit` domains.
    ///
    /// # Errors
    /// [`BrokerError::Request`].
    pub async fn domain_counts(&self, limit: usize) -> Result<BTreeMap<String, u64>, BrokerError> {
        const WHAT: &str = "counting pairs by domain";
        let names = self.streams.names();
        let subjects = self.streams.corrections().info_with_subjects(names.correction_subjects()).await;
        subjects
            .map_err(BrokerError::request(WHAT))?
            .map_err(BrokerError::request(WHAT))
            .take(limit)
            .try_filter_map(|(subject, count)| async move {
                let domain = names.correction_domain(&subject).map(str::to_owned);
                Ok(domain.map(|domain| (domain, count as u64)))
            })
            .try_collect()
            .await
    }

    /// Counts the stored pairs by the start of the day, in UTC, on which their rows were written: of the
    /// last minutes that had any, as many as the burst limit remembers. The first day may be counted in
    /// part.
    ///
    /// # Errors
    /// [`BrokerError::Request`], [`BrokerError::TimedOut`].
    pub async fn day_counts(&self) -> Result<BTreeMap<Timestamp, u64>, BrokerError> {
        let known = self.current().await?;
        let mut days = BTreeMap::new();
        for (minute, count) in known.history.minutes() {
            let day = minute.div_euclid(24 * 60) * 24 * 60 * 60;
            if let Ok(day) = Timestamp::from_second(day) {
                *days.entry(day).or_default() += u64::from(count);
            }
        }
        Ok(days)
    }

    /// Returns the newest pairs among the last `count` messages, newest first.
    ///
    /// # Errors
    /// [`BrokerError::Request`], [`BrokerError::TimedOut`].
    pub async fn newest_pairs(&self, count: u64) -> Result<Vec<StoredPair>, BrokerError> {
        let stream = self.streams.corrections();
        let last = last_sequence(stream).await?;
        let mut pairs = Vec::new();
        scan(stream, last.saturating_sub(count) + 1, last, Depth::Whole, |_, message| {
            // Other programs may have published anything.
            let Ok(row) = serde_json::from_slice::<Row>(&message.payload) else { return };
            pairs.push(StoredPair { at: stored_at(&message).unwrap_or_default(), row });
        })
        .await?;
        pairs.reverse();
        Ok(pairs)
    }

    /// Returns rows in quarantine among the last `count` messages of its stream, or among those before
    /// an earlier page.
    ///
    /// # Errors
    /// [`BrokerError::Request`], [`BrokerError::TimedOut`].
    pub async fn quarantine_page(
        &self,
        earlier: Option<u64>,
        count: u64,
    ) -> Result<QuarantinePage, BrokerError> {
        let last = last_sequence(self.streams.quarantine()).await?;
        let last = earlier.map_or(last, |earlier| earlier.min(last));
        let from = last.saturating_sub(count) + 1;
        let mut rows = self.quarantined_between(from, last).await?;
        rows.reverse();
        Ok(QuarantinePage { rows, earlier: (from > 1 && last > 0).then(|| from - 1) })
    }
}
