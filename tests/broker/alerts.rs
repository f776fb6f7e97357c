//! The alert for an ingest that gets no rows.

use std::time::Duration;

use autovalidate::alert::{Alert, AlertKind, tell_when_held_up};
use autovalidate::broker::{ALERT, Event};
use autovalidate::failure::RetryDirective;
use autovalidate::ingest::{IngestStatus, ReportedError};
use futures::StreamExt;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::support::DEADLINE;
use crate::support::broker::TestBroker;
use crate::support::within;

fn trouble() -> Option<ReportedError> {
    Some(ReportedError {
        error: "the table can't be read".to_owned(),
        advice: "Check the key.".to_owned(),
        remedy: RetryDirective::Person,
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn sweeps_that_fail_are_told_once_and_their_recovery_too() {
    let bench = TestBroker::new().await;
    let subject = bench.streams.names().stage_subject(ALERT);
    let mut alerts = bench.connection.client().subscribe(subject).await.unwrap();
    let (status, watched) = watch::channel(IngestStatus::default());
    let cancel = CancellationToken::new();
    let told = tell_when_held_up(watched, bench.events(), Duration::from_millis(1), cancel.clone());
    let told = tokio::spawn(told);
    let mut next = async || {
        let message = within(DEADLINE, alerts.next()).await.unwrap();
        Alert::of(&serde_json::from_slice::<Event>(&message.payload).unwrap()).unwrap()
    };
    for _ in 0..2 {
        status.send_modify(|status| status.sweep_trouble = trouble());
        let alert = next().await;
        assert_eq!(alert.kind, AlertKind::IngestHeldUp);
        assert_eq!(alert.text, "the table can't be read Check the key.");
        // Still in trouble: no second alert comes before the recovery.
        status.send_modify(|status| status.gaps += 1);
        status.send_modify(|status| status.sweep_trouble = None);
        assert_eq!(next().await.kind, AlertKind::IngestRecovered);
    }
    cancel.cancel();
    within(DEADLINE, told).await.unwrap();
}
