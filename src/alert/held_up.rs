//! The alert for an ingest that gets no rows.

use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::message::{Alert, AlertKind};
use crate::broker::{ALERT, Events, JobId};
use crate::ingest::IngestStatus;
use crate::text::plain_line;

/// Longest text of an error in the alert, in characters.
const MAX_TEXT: usize = 600;

/// Publishes an alert when sweeps of the table have failed for `patience`, and another one when a sweep
/// succeeds again. Short trouble is nothing to wake a person for: nothing is lost meanwhile.
pub async fn tell_when_held_up(
    mut status: watch::Receiver<IngestStatus>,
    events: Events,
    patience: Duration,
    cancel: CancellationToken,
) {
    let told = async {
        loop {
            let trouble = |status: &IngestStatus| status.sweep_trouble.is_some();
            if status.wait_for(trouble).await.is_err() {
                return;
            }
            let recovered = status.wait_for(|status| !trouble(status));
            match tokio::time::timeout(patience, recovered).await {
                Ok(Ok(_)) => continue,
                Ok(Err(_)) => return,
                Err(_) => {}
            }
            let held_up = status.borrow().sweep_trouble.clone();
            let Some(held_up) = held_up else { continue };
            let text = plain_line(&format!("{} {}", held_up.error, held_up.advice), MAX_TEXT);
            publish(&events, AlertKind::IngestHeldUp, "no rows get in from the table", text).await;
            if status.wait_for(|status| !trouble(status)).await.is_err() {
                return;
            }
            publish(&events, AlertKind::IngestRecovered, "rows get in from the table again", String::new())
                .await;
        }
    };
    tokio::select! {
        () = cancel.cancelled() => {}
        () = told => {}
    }
    // A task that ends by itself would stop the worker.
    cancel.cancelled().await;
}

async fn publish(events: &Events, kind: AlertKind, title: &str, text: String) {
    let alert = Alert { kind, title: title.to_owned(), text, job: None, at: Timestamp::now() };
    let Ok(detail) = serde_json::to_value(&alert) else { return };
    events.publish_best_effort(&JobId::worker(), ALERT, detail).await;
}
