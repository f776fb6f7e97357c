//! Audits: they find rows that become visible too late for the overlap, and tables whose rows are
//! hidden.

use std::sync::Arc;
use std::time::Duration;

use autovalidate::failure::RetryDirective;
use autovalidate::ingest::{IngestEvent, IngestTiming, ReportedError, TableAccess};

use crate::support::ingest::{Memory, Running, access, supabase, timing};

/// Returns a timing with an audit in every sweep and an overlap of one id.
fn watchful() -> IngestTiming {
    IngestTiming { audit_every: Duration::ZERO, overlap: 1, page: 20, compare: 1, ..timing() }
}

fn audited(event: IngestEvent) -> Option<u64> {
    match event {
        IngestEvent::Audited { found } => Some(found),
        _ => None,
    }
}

fn invisible(event: IngestEvent) -> Option<ReportedError> {
    match event {
        IngestEvent::Invisible { trouble, .. } => Some(trouble),
        _ => None,
    }
}

/// Waits for an audit that began after this call. It waits for two audits, because the first may
/// have begun earlier.
async fn audit_again(ingest: &mut Running) {
    for _ in 0..2 {
        let audits = ingest.status.borrow().audits;
        ingest.sweep_trigger.sweep();
        ingest.status_is(|status| status.audits > audits).await;
    }
}

#[tokio::test]
async fn a_row_that_becomes_visible_long_after_is_found_by_its_absence() {
    let (supabase, inbox) = (supabase().await, Arc::new(Memory::default()));
    supabase.faults().drop_events(u64::MAX);
    // The comparison of kept rows, which begins with the lowest ids, does not come as far.
    for _ in 0..40 {
        supabase.insert("toyta", "Toyota", "brand");
    }
    let late = supabase.reserve();
    let slow = supabase.reserve();
    for _ in 0..100 {
        supabase.insert("toyta", "Toyota", "brand");
    }
    let mut ingest = Running::start(access(&supabase), &inbox, watchful());
    assert_eq!(ingest.event(audited).await, 0);
    supabase.commit(late, "hunday", "Hyundai", "brand");
    ingest.sweep_trigger.sweep();
    assert_eq!(ingest.event(|event| audited(event).filter(|found| *found > 0)).await, 1);
    // A row deleted from the table must not hide a missing row.
    assert!(supabase.delete(90));
    audit_again(&mut ingest).await;
    supabase.commit(slow, "hunday", "Hyundai", "brand");
    ingest.sweep_trigger.sweep();
    assert_eq!(ingest.event(|event| audited(event).filter(|found| *found > 0)).await, 1);
    inbox.holds(1..=142).await;
    ingest.stop().await;
}

#[tokio::test]
async fn a_deletion_hides_no_missing_row_whenever_the_worker_restarts() {
    let (supabase, inbox) = (supabase().await, Arc::new(Memory::default()));
    supabase.faults().drop_events(u64::MAX);
    for _ in 0..40 {
        supabase.insert("toyta", "Toyota", "brand");
    }
    let slow = [supabase.reserve(), supabase.reserve()];
    for _ in 0..100 {
        supabase.insert("toyta", "Toyota", "brand");
    }
    let found_by_an_audit = async || {
        let mut ingest = Running::start(access(&supabase), &inbox, watchful());
        let found = ingest.event(audited).await;
        ingest.stop().await;
        found
    };
    assert_eq!(found_by_an_audit().await, 0);
    for (number, late) in (90..).zip(slow) {
        assert!(supabase.delete(number));
        assert_eq!(found_by_an_audit().await, 0);
        supabase.commit(late, "hunday", "Hyundai", "brand");
        assert_eq!(found_by_an_audit().await, 1);
    }
    inbox.holds(1..=142).await;
}

#[tokio::test]
async fn rows_hidden_by_policies_are_told_with_the_sql_that_shows_them_and_only_once() {
    let (supabase, inbox) = (supabase().await, Arc::new(Memory::default()));
    supabase.insert("toyta", "Toyota", "brand");
    supabase.faults().hide_rows(true);
    let mut ingest = Running::start(access(&supabase), &inbox, watchful());
    let trouble = ingest.event(invisible).await;
    assert_eq!(trouble.remedy, RetryDirective::Person);
    assert!(trouble.advice.contains("create policy"), "{trouble:?}");
    audit_again(&mut ingest).await;
    while let Ok(event) = ingest.events.try_recv() {
        assert_eq!(invisible(event), None, "reported a second time");
    }
    supabase.faults().hide_rows(false);
    ingest.sweep_trigger.sweep();
    inbox.holds([1]).await;
    ingest.status_is(|status| status.visibility_trouble.is_none()).await;

    supabase.faults().hide_rows(true);
    ingest.sweep_trigger.sweep();
    let trouble = ingest.event(invisible).await;
    assert!(trouble.error.contains("any more"), "{trouble:?}");
    ingest.stop().await;
}

#[tokio::test]
async fn an_empty_table_is_no_trouble_to_a_key_that_sees_everything() {
    let (supabase, inbox) = (supabase().await, Arc::new(Memory::default()));
    let service = TableAccess { key: supabase.service_key().to_owned().into(), ..access(&supabase) };
    assert!(service.bypasses_policies() && !access(&supabase).bypasses_policies());
    let mut ingest = Running::start(service, &inbox, watchful());
    assert_eq!(ingest.event(audited).await, 0);
    assert_eq!(ingest.status.borrow().visibility_trouble, None);
    ingest.stop().await;
}
