//! Ingest against the stand-in: every row reaches the inbox despite every fault.

use std::sync::Arc;
use std::time::Duration;

use autovalidate::failure::RetryDirective;
use autovalidate::ingest::{IngestEvent, IngestStatus, IngestTiming, RealtimeDeadlines};
use autovalidate_fakes::supabase::{RestFault, SocketFault};

use crate::support::ingest::{Memory, Running, access, supabase, timing};

fn arrived(event: IngestEvent) -> Option<i64> {
    match event {
        IngestEvent::Arrived { id } => Some(id),
        _ => None,
    }
}

fn swept(event: IngestEvent) -> Option<i64> {
    match event {
        IngestEvent::Swept { cursor, .. } => Some(cursor),
        _ => None,
    }
}

#[tokio::test]
async fn a_row_arrives_over_realtime_without_waiting_for_a_sweep() {
    let (supabase, inbox) = (supabase().await, Arc::new(Memory::default()));
    let mut ingest = Running::start(access(&supabase), &inbox, timing());
    ingest.settled().await;
    // Sweeps fail, so only Realtime can deliver the row.
    supabase.faults().fail_rest(RestFault::Status(503), 1000);
    let id = supabase.insert("toyta", "Toyota", "brand");
    assert_eq!(ingest.event(arrived).await, id);
    inbox.holds([id]).await;
    let status = ingest.status_is(|status| status.rows_by_realtime == 1).await;
    assert!(status.connected && status.rows_by_sweep == 0, "{status:?}");
    ingest.stop().await;
}

/// Returns the number of rows that no event brought. The first audit may still be running, and find a row
/// before the sweep does.
fn read_from_table(status: &IngestStatus) -> u64 {
    status.rows_by_sweep + status.rows_by_audit
}

#[tokio::test]
async fn the_first_sweep_reads_everything_past_the_servers_cap() {
    let (supabase, inbox) = (supabase().await, Arc::new(Memory::default()));
    for number in 0..2500 {
        supabase.insert(&format!("typo {number}"), "Toyota", "brand");
    }
    let ingest = Running::start(access(&supabase), &inbox, IngestTiming { page: 5000, ..timing() });
    inbox.holds(1..=2500).await;
    ingest.stop().await;
    assert_eq!(inbox.cursor_now(), 2500);
}

#[tokio::test]
async fn a_row_committed_late_under_a_low_id_is_found_by_looking_back() {
    let (supabase, inbox) = (supabase().await, Arc::new(Memory::default()));
    let late = supabase.reserve();
    for _ in 0..20 {
        supabase.insert("toyta", "Toyota", "brand");
    }
    let mut ingest = Running::start(access(&supabase), &inbox, timing());
    ingest.settled().await;
    inbox.holds(2..=21).await;

    supabase.faults().drop_events(u64::MAX);
    supabase.commit(late, "hunday", "Hyundai", "brand");
    ingest.sweep_trigger.sweep();
    inbox.holds(1..=21).await;
    assert_eq!(ingest.status_is(|status| read_from_table(status) == 21).await.rows_by_realtime, 0);
    ingest.stop().await;
}

#[tokio::test]
async fn events_the_server_loses_in_silence_are_found_by_the_timed_sweep() {
    let (supabase, inbox) = (supabase().await, Arc::new(Memory::default()));
    let often = IngestTiming { sweep_every: Duration::from_millis(50), ..timing() };
    let mut ingest = Running::start(access(&supabase), &inbox, often);
    ingest.settled().await;
    supabase.faults().drop_events(3);
    let ids: Vec<_> = (0..5).map(|_| supabase.insert("toyta", "Toyota", "brand")).collect();
    inbox.holds(ids).await;
    ingest.stop().await;
}

#[tokio::test]
async fn rows_inserted_while_the_socket_is_dead_are_swept_by_the_next_generation() {
    let (supabase, inbox) = (supabase().await, Arc::new(Memory::default()));
    let mut ingest = Running::start(access(&supabase), &inbox, timing());
    ingest.settled().await;
    supabase.faults().strike(SocketFault::Kill);
    ingest.event(|event| matches!(event, IngestEvent::SessionEnded { .. }).then_some(())).await;
    let away = supabase.insert("toyta", "Toyota", "brand");
    ingest.settled().await;
    let back = supabase.insert("hunday", "Hyundai", "brand");
    inbox.holds([away, back]).await;
    let status = ingest.status_is(|status| status.rows_by_realtime + status.rows_by_sweep == 2).await;
    assert_eq!(status.generation, 2);
    ingest.stop().await;
}

#[tokio::test]
async fn a_repeated_subscription_means_that_rows_may_be_missing() {
    let (supabase, inbox) = (supabase().await, Arc::new(Memory::default()));
    let mut ingest = Running::start(access(&supabase), &inbox, timing());
    ingest.settled().await;
    supabase.faults().drop_events(1);
    let lost = supabase.insert("toyta", "Toyota", "brand");
    let seen = supabase.insert("toyta", "Toyota", "brand");
    assert_eq!(ingest.event(arrived).await, seen);
    supabase.faults().strike(SocketFault::Resubscribed);
    inbox.holds([lost, seen]).await;
    assert_eq!(ingest.status.borrow().generation, 1);
    ingest.stop().await;
}

#[tokio::test]
async fn an_event_without_its_row_is_read_from_the_table() {
    let (supabase, inbox) = (supabase().await, Arc::new(Memory::default()));
    let mut ingest = Running::start(access(&supabase), &inbox, timing());
    ingest.settled().await;
    supabase.faults().break_events(true);
    let id = supabase.insert("toyta", "Toyota", "brand");
    inbox.holds([id]).await;
    supabase.faults().break_events(false);
    let long = supabase.insert(&"x".repeat(2 << 20), "Toyota", "brand");
    inbox.holds([id, long]).await;
    assert_eq!(ingest.status_is(|status| read_from_table(status) == 2).await.rows_by_realtime, 0);
    ingest.stop().await;
}

#[tokio::test]
async fn a_row_delivered_twice_is_stored_once() {
    let (supabase, inbox) = (supabase().await, Arc::new(Memory::default()));
    let mut ingest = Running::start(access(&supabase), &inbox, timing());
    ingest.settled().await;
    supabase.faults().fail_rest(RestFault::Status(503), 1000);
    supabase.faults().duplicate_events(true);
    let id = supabase.insert("toyta", "Toyota", "brand");
    ingest.status_is(|status| status.rows_by_realtime == 1 && status.duplicates == 1).await;
    inbox.holds([id]).await;
    ingest.stop().await;
}

#[tokio::test]
async fn an_inbox_that_fails_gets_every_row_once_it_works() {
    let (supabase, inbox) = (supabase().await, Arc::new(Memory::default()));
    let mut ingest = Running::start(access(&supabase), &inbox, timing());
    ingest.settled().await;
    inbox.fail(true);
    let first = supabase.insert("toyta", "Toyota", "brand");
    ingest.status_is(|status| status.sweep_trouble.is_some()).await;
    let second = supabase.insert("hunday", "Hyundai", "brand");
    assert!(inbox.refused_calls() > 0 && inbox.cursor_now() == 0);
    inbox.fail(false);
    inbox.holds([first, second]).await;
    ingest.status_is(|status| status.sweep_trouble.is_none()).await;
    ingest.stop().await;
}

#[tokio::test]
async fn a_restart_reads_what_realtime_overtook() {
    let (supabase, inbox) = (supabase().await, Arc::new(Memory::default()));
    for _ in 0..3 {
        supabase.insert("toyta", "Toyota", "brand");
    }
    // The table can't be read, but Realtime delivers: the inbox has row 4, but not rows 1 to 3.
    supabase.faults().fail_rest(RestFault::Status(503), 1000);
    let mut ingest = Running::start(access(&supabase), &inbox, IngestTiming { overlap: 0, ..timing() });
    ingest.status_is(|status| status.connected).await;
    supabase.insert("toyta", "Toyota", "brand");
    inbox.holds([4]).await;
    ingest.stop().await;

    supabase.faults().clear_rest();
    let ingest = Running::start(access(&supabase), &inbox, IngestTiming { overlap: 0, ..timing() });
    inbox.holds(1..=4).await;
    ingest.stop().await;
}

#[tokio::test]
async fn a_restart_does_not_read_again_what_the_inbox_has() {
    let (supabase, inbox) = (supabase().await, Arc::new(Memory::default()));
    for _ in 0..5 {
        supabase.insert("toyta", "Toyota", "brand");
    }
    for restarts in 0..2 {
        let mut ingest = Running::start(access(&supabase), &inbox, timing());
        ingest.settled().await;
        inbox.holds(1..=5).await;
        assert_eq!(ingest.status.borrow().duplicates, 0, "after {restarts} restarts");
        ingest.stop().await;
    }
}

#[tokio::test]
async fn trouble_with_the_table_passes_and_nothing_is_lost() {
    let (supabase, inbox) = (supabase().await, Arc::new(Memory::default()));
    for _ in 0..3 {
        supabase.insert("toyta", "Toyota", "brand");
    }
    let faults = [RestFault::Html(502), RestFault::Truncated, RestFault::StatementTimeout];
    faults.into_iter().for_each(|fault| supabase.faults().fail_rest(fault, 1));
    let mut ingest = Running::start(access(&supabase), &inbox, timing());
    ingest.status_is(|status| status.sweep_trouble.is_some()).await;
    inbox.holds(1..=3).await;
    let status = ingest.status_is(|status| status.sweep_trouble.is_none()).await;
    assert!(status.last_sweep_at.is_some());
    ingest.stop().await;
}

#[tokio::test]
async fn the_look_back_gets_through_a_database_that_cancels_long_statements() {
    let (supabase, inbox) = (supabase().await, Arc::new(Memory::default()));
    supabase.faults().drop_events(u64::MAX);
    let late = supabase.reserve();
    for _ in 0..900 {
        supabase.insert("toyta", "Toyota", "brand");
    }
    supabase.faults().limit_statement_rows(Some(200));
    let mut ingest = Running::start(access(&supabase), &inbox, timing());
    ingest.settled().await;
    inbox.holds(2..=901).await;
    supabase.commit(late, "hunday", "Hyundai", "brand");
    let last = supabase.insert("hunday", "Hyundai", "brand");
    ingest.sweep_trigger.sweep();
    inbox.holds(1..=last).await;
    assert_eq!(ingest.status.borrow().sweep_trouble, None);
    ingest.stop().await;
}

#[tokio::test]
async fn a_row_that_is_too_large_to_be_read_holds_nothing_up() {
    let (supabase, inbox) = (supabase().await, Arc::new(Memory::default()));
    supabase.faults().drop_events(u64::MAX);
    supabase.faults().limit_answer_bytes(Some(4000));
    supabase.insert(&"x".repeat(9000), "Toyota", "brand");
    let last = supabase.insert("toyta", "Toyota", "brand");
    let mut ingest = Running::start(access(&supabase), &inbox, timing());
    // By its id alone, in quarantine.
    inbox.holds(1..=last).await;
    ingest.status_is(|status| status.refused == 1).await;
    let later = supabase.insert("toyta", "Toyota", "brand");
    ingest.sweep_trigger.sweep();
    inbox.holds(1..=later).await;
    ingest.stop().await;
}

#[tokio::test]
async fn a_page_that_does_not_advance_is_told_and_asked_for_after_a_pause() {
    let (supabase, inbox) = (supabase().await, Arc::new(Memory::default()));
    supabase.faults().drop_events(u64::MAX);
    supabase.insert("toyta", "Toyota", "brand");
    supabase.faults().serve_stale_pages(true);
    let mut ingest = Running::start(access(&supabase), &inbox, timing());
    let status = ingest.status_is(|status| status.sweep_trouble.is_some()).await;
    let trouble = status.sweep_trouble.expect("a trouble");
    assert!(trouble.error.contains("was not asked for") && trouble.advice.contains("cache"), "{trouble:?}");
    supabase.faults().serve_stale_pages(false);
    let last = supabase.insert("toyta", "Toyota", "brand");
    inbox.holds(1..=last).await;
    ingest.stop().await;
}

#[tokio::test]
async fn a_full_buffer_leaves_the_rest_to_a_sweep() {
    let (supabase, inbox) = (supabase().await, Arc::new(Memory::default()));
    let mut ingest = Running::start(access(&supabase), &inbox, IngestTiming { buffer: 1, ..timing() });
    ingest.settled().await;
    let gaps = ingest.status.borrow().gaps;
    inbox.hold(true);
    let ids: Vec<_> = (0..300).map(|_| supabase.insert("toyta", "Toyota", "brand")).collect();
    // One batch is in progress and one row waits, so the buffer has no room for the others.
    ingest.status_is(|status| status.gaps > gaps + 10).await;
    inbox.hold(false);
    inbox.holds(ids).await;
    let status = ingest.status_is(|status| status.rows_by_realtime + status.rows_by_sweep == 300).await;
    assert!(status.rows_by_sweep > 0, "{status:?}");
    ingest.stop().await;
}

#[tokio::test]
async fn a_malformed_row_is_counted_once_and_holds_nothing_up() {
    let (supabase, inbox) = (supabase().await, Arc::new(Memory::default()));
    let mut ingest = Running::start(access(&supabase), &inbox, timing());
    ingest.settled().await;
    supabase.insert_values(serde_json::Map::from_iter([("typo".to_owned(), 5.into())]));
    let good = supabase.insert("toyta", "Toyota", "brand");
    inbox.holds([good]).await;
    ingest.status_is(|status| status.malformed == 1).await;
    ingest.sweep_trigger.sweep();
    ingest.event(swept).await;
    ingest.sweep_trigger.sweep();
    ingest.event(swept).await;
    assert_eq!(ingest.status.borrow().malformed, 1);
    ingest.stop().await;
}

#[tokio::test]
async fn rows_lost_right_after_the_subscription_are_found_once_it_has_settled() {
    let (supabase, inbox) = (supabase().await, Arc::new(Memory::default()));
    supabase.faults().drop_events(u64::MAX);
    let limits = RealtimeDeadlines { settle: Duration::from_secs(1), ..RealtimeDeadlines::default() };
    let mut ingest = Running::start(access(&supabase), &inbox, IngestTiming { limits, ..timing() });
    ingest.settled().await;
    let id = supabase.insert("toyta", "Toyota", "brand");
    inbox.holds([id]).await;
    ingest.stop().await;
}

#[tokio::test]
async fn a_key_that_is_refused_once_holds_nothing_up() {
    let (supabase, inbox) = (supabase().await, Arc::new(Memory::default()));
    supabase.faults().drop_events(u64::MAX);
    let id = supabase.insert("toyta", "Toyota", "brand");
    supabase.faults().fail_rest(RestFault::Status(401), 1);
    let mut ingest = Running::start(access(&supabase), &inbox, timing());
    let trouble = ingest.status_is(|status| status.sweep_trouble.is_some()).await.sweep_trouble;
    assert_eq!(trouble.map(|trouble| trouble.remedy), Some(RetryDirective::Person));
    // The retry happens within the test's deadline, which is much shorter than the pause after an
    // error that needs a person.
    inbox.holds([id]).await;
    ingest.status_is(|status| status.sweep_trouble.is_none()).await;
    ingest.stop().await;
}

#[tokio::test]
async fn a_row_that_is_named_is_read_however_old_its_id_is() {
    let (supabase, inbox) = (supabase().await, Arc::new(Memory::default()));
    supabase.faults().drop_events(u64::MAX);
    // The comparison of kept rows, which begins with the lowest ids, does not come as far.
    for _ in 0..40 {
        supabase.insert("toyta", "Toyota", "brand");
    }
    let late = supabase.reserve();
    let id = late.id();
    for _ in 0..20 {
        supabase.insert("toyta", "Toyota", "brand");
    }
    let mut ingest =
        Running::start(access(&supabase), &inbox, IngestTiming { overlap: 5, compare: 1, ..timing() });
    ingest.settled().await;
    supabase.commit(late, "hunday", "Hyundai", "brand");
    ingest.sweep_trigger.sweep();
    ingest.event(swept).await;
    inbox.holds((1..=61).filter(|held| *held != id)).await;
    ingest.sweep_trigger.row(id);
    inbox.holds(1..=61).await;
    ingest.stop().await;
}
