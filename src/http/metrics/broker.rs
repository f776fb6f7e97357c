//! Numbers that the broker has. Their reads take the same number of requests however many runs and
//! pairs there were.

use std::collections::BTreeMap;
use std::future::Future;
use std::time::Duration;

use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::registry::Registry;

use super::super::Views;
use crate::broker::{BrokerError, LatestRuns, QueueHealth};
use crate::correction::Refusal;
use crate::failure::chain;

/// Longest wait for the broker. Prometheus waits ten seconds for everything.
const PATIENCE: Duration = Duration::from_secs(3);

type Accuracy = Family<[(&'static str, &'static str); 1], Gauge<f64, std::sync::atomic::AtomicU64>>;

/// Numbers that the broker has told in time.
pub(super) struct BrokerNumbers {
    queue: Option<QueueHealth>,
    quarantined: Option<BTreeMap<Refusal, u64>>,
    latest: Option<LatestRuns>,
    /// Accuracy of the live model, as the Hub was last seen; `None` when it was not.
    live: Option<f64>,
}

/// Reads the numbers.
pub(super) async fn read(views: &Views) -> BrokerNumbers {
    let (queue, quarantined, latest) = tokio::join!(
        in_time((views.queue_health)()),
        in_time(views.corrections.quarantined_counts()),
        in_time(views.runs.latest()),
    );
    BrokerNumbers { queue, quarantined, latest, live: views.console.live_accuracy() }
}

async fn in_time<T>(answer: impl Future<Output = Result<T, BrokerError>>) -> Option<T> {
    match tokio::time::timeout(PATIENCE, answer).await {
        Ok(Ok(answer)) => Some(answer),
        Ok(Err(error)) => {
            tracing::debug!(error = chain(&error), "a metric can't be read from the broker");
            None
        }
        Err(_) => None,
    }
}

impl BrokerNumbers {
    /// Registers the numbers under their names.
    pub(super) fn register(self, registry: &mut Registry) {
        let up = ConstGauge::new(u64::from(self.queue.is_some()));
        registry.register("autovalidate_broker_up", "1 if the broker answers, else 0", up);
        if let Some(queue) = self.queue {
            let mut gauge = |name: &str, help: &str, value: u64| {
                registry.register(name, help, ConstGauge::new(value));
            };
            gauge("autovalidate_pairs_pending", "Pairs that wait for the next run", queue.pending);
            gauge("autovalidate_pairs_threshold", "Number of pairs that starts a run", queue.threshold);
            let help = "Runs in progress or waiting for their next attempt";
            gauge("autovalidate_run_in_flight", help, queue.in_hand);
            gauge("autovalidate_runs_waiting", "Runs that wait for a worker", queue.waiting);
        }
        if let Some(quarantined) = self.quarantined {
            let rows = Family::<[(&'static str, &'static str); 1], Gauge>::default();
            for reason in Refusal::ALL {
                let number = quarantined.get(reason).copied().unwrap_or_default();
                // A gauge has no larger numbers.
                let number = i64::try_from(number).unwrap_or(i64::MAX);
                rows.get_or_create(&[("reason", reason.name())]).set(number);
            }
            registry.register("autovalidate_quarantine_rows", "Rows in quarantine", rows);
        }
        if let Some(latest) = self.latest {
            if let Some(at) = latest.published_at {
                let help = "End of the last run that published a model";
                let seconds = ConstGauge::new(at.as_second());
                registry.register("autovalidate_last_success_timestamp_seconds", help, seconds);
            }
            let accuracy = Accuracy::default();
            let scores = [
                ("live", self.live.or(latest.published.map(|scores| scores.after))),
                ("candidate", latest.candidate.map(|scores| scores.after)),
                ("before_candidate", latest.candidate.map(|scores| scores.before)),
            ];
            for (model, share) in scores {
                if let Some(share) = share {
                    accuracy.get_or_create(&[("model", model)]).set(share);
                }
            }
            let help = "Share of held-out typos whose right name comes first";
            registry.register("autovalidate_model_accuracy_ratio", help, accuracy);
        }
    }
}
