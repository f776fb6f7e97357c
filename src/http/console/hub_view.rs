//! The repository on the Hub as it was last seen. A page never waits for the Hub.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::future::BoxFuture;
use jiff::Timestamp;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::failure::{Failure, chain};
use crate::hub::{HubError, Repository, Version, versions};

/// Age from which a page asks the Hub again.
const FRESH: Duration = Duration::from_secs(60);
/// Age from which a scrape of `/metrics` asks the Hub again: a rollback shows after this time, and a scraper
/// that never rests costs the Hub four questions an hour.
const FRESH_FOR_METRICS: Duration = Duration::from_secs(15 * 60);
/// Pause after a failure.
const AFTER_FAILURE: Duration = Duration::from_secs(20);

/// The repository as it was last seen.
#[derive(Debug, Clone, Default)]
pub(super) struct HubView {
    /// Versions, newest first; `None` before the first answer.
    pub(super) versions: Option<Arc<Vec<Version>>>,
    /// Time of the last answer.
    pub(super) at: Option<Timestamp>,
    /// Error of the last question, with advice.
    pub(super) trouble: Option<(String, String)>,
    /// Number of changes that were known when the Hub was asked.
    changes: u64,
}

impl HubView {
    /// Returns the accuracy of the live model on the typos that its run held out. A rollback has the
    /// accuracy of the version that it repeats.
    fn live_accuracy(&self) -> Option<f64> {
        let versions = self.versions.as_ref()?;
        let live = versions.iter().find(|version| version.live)?;
        let scored = match &live.rollback_of {
            Some(repeated) => versions.iter().find(|version| version.version == *repeated)?,
            None => live,
        };
        Some(scored.metrics?.after.accuracy_at_1)
    }
}

/// Observer of the repository, which asks the Hub only while somebody looks or scrapes.
pub(super) struct HubWatch {
    pub(super) repository: Option<Arc<Repository>>,
    seen: watch::Sender<HubView>,
    asked: Notify,
    /// Number of times that a model may have been published.
    changes: AtomicU64,
}

impl HubWatch {
    pub(super) fn new(repository: Option<Arc<Repository>>) -> Self {
        Self { repository, seen: watch::Sender::default(), asked: Notify::new(), changes: AtomicU64::new(0) }
    }

    /// Returns the view, and asks the Hub again if the view is old.
    pub(super) fn look(&self) -> HubView {
        self.asked.notify_one();
        self.seen.borrow().clone()
    }

    /// Returns the accuracy of the live model in the view at a time, and asks the Hub again if the view is
    /// very old.
    pub(super) fn live_accuracy(&self, now: Timestamp) -> Option<f64> {
        let seen = self.seen.borrow();
        let fresh = seen.at.is_some_and(|at| now.duration_since(at).unsigned_abs() < FRESH_FOR_METRICS);
        if !fresh || seen.changes != self.changes.load(Ordering::Relaxed) {
            self.asked.notify_one();
        }
        seen.live_accuracy()
    }

    /// Notes that a model may have been published: the view is old.
    pub(super) fn changed(&self) {
        self.changes.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns the view once it has all that was published, or after a moment.
    pub(super) fn whole_answer(&self, patience: Duration) -> BoxFuture<'_, HubView> {
        Box::pin(async move {
            let mut seen = self.seen.subscribe();
            let changes = self.changes.load(Ordering::Relaxed);
            let answered = |view: &HubView| {
                (view.versions.is_some() || view.trouble.is_some()) && view.changes >= changes
            };
            if self.repository.is_some() && !answered(&self.look()) {
                let _ = tokio::time::timeout(patience, seen.wait_for(answered)).await;
            }
            self.look()
        })
    }

    /// Asks the Hub whenever somebody looked and the view is old.
    pub(super) async fn follow(&self, cancel: &CancellationToken) {
        let Some(repository) = &self.repository else { return cancel.cancelled().await };
        let mut asked_at = None::<(Instant, Duration)>;
        loop {
            tokio::select! {
                () = cancel.cancelled() => return,
                () = self.asked.notified() => {}
            }
            let fresh = asked_at.is_some_and(|(at, pause)| at.elapsed() < pause);
            let changes = self.changes.load(Ordering::Relaxed);
            if fresh && changes == self.seen.borrow().changes {
                continue;
            }
            let answer = tokio::select! {
                () = cancel.cancelled() => return,
                answer = Box::pin(ask(repository)) => answer,
            };
            asked_at = Some((Instant::now(), if answer.is_ok() { FRESH } else { AFTER_FAILURE }));
            self.seen.send_modify(|view| match answer {
                Ok(versions) => {
                    let (versions, at) = (Some(Arc::new(versions)), Some(Timestamp::now()));
                    *view = HubView { versions, at, trouble: None, changes };
                }
                Err(error) => {
                    view.trouble = Some((chain(&error), error.advice()));
                    view.changes = changes;
                }
            });
        }
    }
}

async fn ask(repository: &Repository) -> Result<Vec<Version>, HubError> {
    let (releases, index) = tokio::try_join!(repository.releases(), repository.index())?;
    Ok(versions(&releases, &index))
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_scrape_asks_for_a_view_that_is_very_old() {
        let now: Timestamp = "2026-01-01T00:20:00Z".parse().unwrap();
        let is_asked = |age: Option<i64>, changes: u64| {
            let watch = HubWatch::new(None);
            let at = age.map(|minutes| now - jiff::SignedDuration::from_mins(minutes));
            watch.seen.send_replace(HubView { at, ..HubView::default() });
            (0..changes).for_each(|_| watch.changed());
            let _ = watch.live_accuracy(now);
            watch.asked.notified().now_or_never().is_some()
        };
        assert!(is_asked(None, 0) && is_asked(Some(15), 0) && is_asked(Some(1), 1));
        assert!(!is_asked(Some(1), 0) && !is_asked(Some(14), 0));
    }

    #[test]
    fn a_rollback_has_the_accuracy_of_the_version_that_it_repeats() {
        let scores =
            |accuracy: f64| json!({ "accuracy_at_1": accuracy, "mrr_at_10": 0.0, "recall_at_3": 0.0 });
        let entry = |version: &str, accuracy: f64, rollback_of: Option<&str>| {
            let metrics = json!({ "queries": 9, "before": scores(0.0), "after": scores(accuracy) });
            json!({
                "version": version,
                "path": version,
                "published_at": "2026-01-01T00:00:00Z",
                "metrics": rollback_of.is_none().then_some(metrics),
                "rollback_of": rollback_of,
            })
        };
        let models = [
            entry("20260103000000", 0.0, Some("20260101000000")),
            entry("20260102000000", 0.75, None),
            entry("20260101000000", 0.5, None),
        ];
        let index = serde_json::from_value(json!({ "schema": 1, "models": models })).unwrap();
        let seen = |live: &str| {
            let mut versions = versions(&[], &index);
            versions.iter_mut().for_each(|version| version.live = version.version == live);
            HubView { versions: Some(Arc::new(versions)), ..HubView::default() }.live_accuracy()
        };
        assert_eq!(HubView::default().live_accuracy(), None);
        assert_eq!(seen("20260102000000"), Some(0.75));
        assert_eq!(seen("20260103000000"), Some(0.5));
    }
}
