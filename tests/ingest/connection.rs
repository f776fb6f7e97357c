//! Realtime sessions: every way a session ends, and the start of the next one.

use std::sync::Arc;
use std::time::Duration;

use autovalidate::failure::RetryDirective;
use autovalidate::ingest::{IngestEvent, IngestTiming, RealtimeDeadlines, ReportedError, TableAccess};
use autovalidate_fakes::supabase::{RestFault, SocketFault, Supabase};

use crate::support::ingest::{Memory, Running, access, supabase, timing};

const SHORT: Duration = Duration::from_millis(150);

fn ended(event: IngestEvent) -> Option<ReportedError> {
    match event {
        IngestEvent::SessionEnded { trouble, .. } => Some(trouble),
        _ => None,
    }
}

fn limited(limits: RealtimeDeadlines) -> IngestTiming {
    IngestTiming { limits: RealtimeDeadlines { settle: Duration::from_secs(3600), ..limits }, ..timing() }
}

/// Waits until `limits` or a fault of the stand-in end the first session, calls `mend`, and expects
/// the next session to subscribe.
async fn ends_and_returns(
    supabase: &Supabase,
    limits: RealtimeDeadlines,
    mend: impl FnOnce(),
) -> ReportedError {
    let mut ingest = Running::start(access(supabase), &Arc::new(Memory::default()), limited(limits));
    let trouble = ingest.event(ended).await;
    mend();
    ingest.status_is(|status| status.connected && status.generation >= 2).await;
    ingest.stop().await;
    trouble
}

#[tokio::test]
async fn an_unanswered_heartbeat_ends_the_generation() {
    let supabase = supabase().await;
    supabase.faults().silence_heartbeats(true);
    let limits = RealtimeDeadlines { heartbeat: SHORT, ..RealtimeDeadlines::default() };
    let trouble = ends_and_returns(&supabase, limits, || supabase.faults().silence_heartbeats(false)).await;
    assert!(trouble.error.contains("heartbeat"), "{trouble:?}");
}

#[tokio::test]
async fn answered_heartbeats_keep_the_generation_alive() {
    let supabase = supabase().await;
    let timing =
        limited(RealtimeDeadlines { heartbeat: SHORT, age: SHORT * 8, ..RealtimeDeadlines::default() });
    let mut ingest = Running::start(access(&supabase), &Arc::new(Memory::default()), timing);
    // After seven heartbeats, the session ends because of its age limit, and for no other reason.
    let trouble = ingest.event(ended).await;
    assert!(trouble.error.contains("maximum age"), "{trouble:?}");
    ingest.stop().await;
}

#[tokio::test]
async fn a_join_that_is_never_answered_ends_the_generation() {
    let supabase = supabase().await;
    supabase.faults().silence_joins(true);
    let limits = RealtimeDeadlines { join: SHORT, ..RealtimeDeadlines::default() };
    let trouble = ends_and_returns(&supabase, limits, || supabase.faults().silence_joins(false)).await;
    assert!(trouble.error.contains("join"), "{trouble:?}");
}

#[tokio::test]
async fn a_refused_upgrade_or_join_is_tried_again() {
    let supabase = supabase().await;
    supabase.faults().refuse_upgrades(500, 1);
    let trouble = ends_and_returns(&supabase, RealtimeDeadlines::default(), || {}).await;
    assert_eq!(trouble.remedy, RetryDirective::Retry);

    supabase.faults().refuse_joins(Some("InitializingProjectConnection: starting"));
    let mend = || supabase.faults().refuse_joins(None);
    let trouble = ends_and_returns(&supabase, RealtimeDeadlines::default(), mend).await;
    assert!(trouble.error.contains("InitializingProjectConnection"), "{trouble:?}");
}

#[tokio::test]
async fn every_way_the_server_ends_it_is_seen() {
    let supabase = supabase().await;
    let mut ingest = Running::start(access(&supabase), &Arc::new(Memory::default()), timing());
    let faults = [SocketFault::TokenExpired, SocketFault::ChannelCrash, SocketFault::Close(1012)];
    for (fault, word) in faults.into_iter().zip(["Token has expired", "crashed", "1012"]) {
        ingest.status_is(|status| status.connected).await;
        supabase.faults().strike(fault);
        let trouble = ingest.event(ended).await;
        assert!(trouble.error.contains(word), "{fault:?}: {trouble:?}");
    }
    ingest.stop().await;
}

#[tokio::test]
async fn a_table_outside_the_publication_asks_for_a_person_and_is_swept_meanwhile() {
    let (supabase, inbox) = (supabase().await, Arc::new(Memory::default()));
    supabase.faults().unpublish(true);
    let id = supabase.insert("toyta", "Toyota", "brand");
    let mut ingest = Running::start(access(&supabase), &inbox, timing());
    let trouble = ingest.event(ended).await;
    assert_eq!(trouble.remedy, RetryDirective::Person);
    assert!(trouble.advice.contains("alter publication supabase_realtime add table"));
    inbox.holds([id]).await;
    ingest.stop().await;
}

#[tokio::test]
async fn a_wrong_key_asks_for_a_person_on_both_ways() {
    let supabase = supabase().await;
    let wrong = TableAccess { key: "wrong".to_owned().into(), ..access(&supabase) };
    let mut ingest = Running::start(wrong, &Arc::new(Memory::default()), timing());
    let status =
        ingest.status_is(|status| status.realtime_trouble.is_some() && status.sweep_trouble.is_some()).await;
    assert_eq!(status.realtime_trouble.map(|trouble| trouble.remedy), Some(RetryDirective::Person));
    assert_eq!(status.sweep_trouble.map(|trouble| trouble.remedy), Some(RetryDirective::Person));
    ingest.stop().await;
}

#[tokio::test]
async fn the_newer_kind_of_key_subscribes_too() {
    let (supabase, inbox) = (supabase().await, Arc::new(Memory::default()));
    let newer = TableAccess { key: supabase.publishable_key().to_owned().into(), ..access(&supabase) };
    let mut ingest = Running::start(newer, &inbox, timing());
    ingest.settled().await;
    supabase.faults().fail_rest(RestFault::Status(503), 1000);
    let id = supabase.insert("toyta", "Toyota", "brand");
    inbox.holds([id]).await;
    assert_eq!(ingest.status_is(|status| status.rows_by_realtime == 1).await.rows_by_sweep, 0);
    ingest.stop().await;
}
