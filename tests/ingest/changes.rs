//! Rows that change in the table, are deleted from it, or have ids that other rows had before.

use std::sync::Arc;
use std::time::Duration;

use autovalidate::ingest::{Inbox, IngestEvent, IngestTiming, Position, TableAccess};
use autovalidate_fakes::supabase::{RestFault, Supabase};

use crate::support::ingest::{Memory, Running, access, quick_options, supabase, timing};

/// Returns access with a key that sees every row.
fn service(supabase: &Supabase) -> TableAccess {
    TableAccess { key: supabase.service_key().to_owned().into(), ..access(supabase) }
}

fn insert(supabase: &Supabase, count: usize) {
    for number in 0..count {
        supabase.insert(&format!("toyta {number}"), "Toyota", "brand");
    }
}

/// Sweeps until the comparison of kept rows has gone through the whole table once.
async fn compare_all(ingest: &mut Running, sweeps: u64) {
    let swept = ingest.status.borrow().sweeps;
    for number in 1..=sweeps {
        ingest.sweep_trigger.sweep();
        ingest.status_is(|status| status.sweeps >= swept + number).await;
    }
}

#[tokio::test]
async fn an_update_and_a_deletion_arrive_over_realtime() {
    let (supabase, inbox) = (supabase().await, Arc::new(Memory::default()));
    insert(&supabase, 3);
    let quiet = IngestTiming { compare: 1, ..timing() };
    let mut ingest = Running::start(service(&supabase), &inbox, quiet);
    ingest.settled().await;
    inbox.holds(1..=3).await;
    assert!(supabase.update(3, "totoya", "Toyota", "brand"));
    inbox.has_typo(3, "totoya").await;
    assert!(supabase.delete(2));
    inbox.holds([1, 3]).await;
    let status = ingest.status_is(|status| status.removed == 1).await;
    assert_eq!(status.changed, 1);
    ingest.stop().await;
}

#[tokio::test]
async fn changes_that_nothing_told_of_are_found_by_comparing_a_page_with_each_sweep() {
    let (supabase, inbox) = (supabase().await, Arc::new(Memory::default()));
    supabase.faults().drop_events(u64::MAX);
    insert(&supabase, 50);
    let mut ingest = Running::start(service(&supabase), &inbox, IngestTiming { compare: 20, ..timing() });
    ingest.settled().await;
    inbox.holds(1..=50).await;
    supabase.update(7, "first", "Toyota", "brand");
    supabase.update(50, "last", "Toyota", "brand");
    supabase.delete(33);
    compare_all(&mut ingest, 5).await;
    inbox.has_typo(7, "first").await;
    inbox.has_typo(50, "last").await;
    inbox.holds((1..=32).chain(34..=50)).await;
    supabase.delete(50);
    compare_all(&mut ingest, 5).await;
    inbox.holds((1..=32).chain(34..=49)).await;
    assert_eq!(ingest.status.borrow().vanished, 0);
    ingest.stop().await;
}

#[tokio::test]
async fn a_table_whose_ids_start_anew_is_told_and_taken_in() {
    for before in [60, 5] {
        let (supabase, inbox) = (supabase().await, Arc::new(Memory::default()));
        supabase.faults().drop_events(u64::MAX);
        insert(&supabase, before);
        let small = IngestTiming { compare: 10, overlap: 3, ..timing() };
        let mut ingest = Running::start(access(&supabase), &inbox, small);
        ingest.settled().await;
        inbox.holds(1..=before as i64).await;
        supabase.truncate_restart_identity();
        for number in 1..=40 {
            supabase.insert(&format!("hunday {number}"), "Hyundai", "brand");
        }
        ingest.sweep_trigger.sweep();
        let series = ingest.event(|event| match event {
            IngestEvent::IdsStartedAnew { series } => Some(series),
            _ => None,
        });
        assert!(series.await >= 1);
        for id in 1..=40 {
            inbox.has_typo(id, &format!("hunday {id}")).await;
        }
        ingest.stop().await;
    }
}

#[tokio::test]
async fn a_row_that_only_its_update_tells_of_belongs_to_the_new_series() {
    let (supabase, inbox) = (supabase().await, Arc::new(Memory::default()));
    insert(&supabase, 60);
    // No row of the first series has this id, so the next one to have it is new.
    supabase.delete(50);
    let mut ingest = Running::start(service(&supabase), &inbox, IngestTiming { compare: 1, ..timing() });
    ingest.settled().await;
    inbox.holds((1..=49).chain(51..=60)).await;
    supabase.truncate_restart_identity();
    supabase.faults().drop_events(50);
    insert(&supabase, 50);
    assert!(supabase.update(50, "hyundia", "Hyundai", "brand"));
    inbox.has_typo(50, "hyundia").await;
    assert!(inbox.series_of(50) > Some(0), "the row was taken for one of the first series");
    ingest.stop().await;
}

#[tokio::test]
async fn ids_that_started_anew_are_told_once_whether_the_worker_was_up_or_not() {
    // The series that the sweep has come to before it stopped.
    for known in [2, 1] {
        let (supabase, inbox) = (supabase().await, Arc::new(Memory::default()));
        inbox.begin_series(2);
        inbox.advance(&Position { series: known, ..Position::default() }).await.expect("in memory");
        insert(&supabase, 3);
        // The first sweep learns nothing of the inbox.
        supabase.faults().fail_rest(RestFault::Status(503), 1);
        let mut ingest = Running::start(access(&supabase), &inbox, timing());
        inbox.holds(1..=3).await;
        let status = ingest.status_is(|status| status.sweeps > 0).await;
        assert_eq!(status.series, Some(2));
        let mut told = 0;
        while let Ok(event) = ingest.events.try_recv() {
            told += u32::from(matches!(event, IngestEvent::IdsStartedAnew { series: 2 }));
        }
        assert_eq!(told, 2 - known);
        ingest.stop().await;
    }
}

#[tokio::test]
async fn rows_that_vanish_in_masses_or_behind_policies_are_told_and_stay() {
    for everything in [true, false] {
        let (supabase, inbox) = (supabase().await, Arc::new(Memory::default()));
        supabase.faults().drop_events(u64::MAX);
        insert(&supabase, 40);
        let access = if everything { service(&supabase) } else { access(&supabase) };
        let mut ingest = Running::start(access, &inbox, timing());
        ingest.settled().await;
        inbox.holds(1..=40).await;
        let gone = if everything { 1..=30 } else { 1..=3 };
        let count = gone.clone().count() as u64;
        for id in gone {
            supabase.delete(id);
        }
        ingest.sweep_trigger.sweep();
        let told = ingest.event(|event| match event {
            IngestEvent::Vanished { rows } => Some(rows),
            _ => None,
        });
        assert_eq!(told.await, count);
        inbox.holds(1..=40).await;
        assert_eq!(ingest.status.borrow().removed, 0);
        ingest.stop().await;
    }
}

#[tokio::test]
async fn an_event_that_is_older_than_what_a_sweep_has_read_changes_nothing() {
    let (supabase, inbox) = (supabase().await, Arc::new(Memory::default()));
    let mut ingest = Running::start(access(&supabase), &inbox, timing());
    ingest.settled().await;
    // The insert's event waits in front of the inbox while the row changes in the table.
    inbox.hold(true);
    let id = supabase.insert("first", "Toyota", "brand");
    ingest.status_is(|status| status.undelivered == 1).await;
    supabase.update(id, "second", "Toyota", "brand");
    inbox.hold(false);
    inbox.has_typo(id, "second").await;
    compare_all(&mut ingest, 3).await;
    inbox.has_typo(id, "second").await;
    ingest.stop().await;
}

#[tokio::test]
async fn a_revision_that_fails_is_made_again() {
    let (supabase, inbox) = (supabase().await, Arc::new(Memory::default()));
    insert(&supabase, 2);
    let quick = IngestTiming { sweep_every: Duration::from_secs(3600), compare: 1, ..timing() };
    let mut ingest = Running::start(access(&supabase), &inbox, quick);
    ingest.settled().await;
    inbox.holds(1..=2).await;
    supabase.faults().fail_rest(RestFault::Status(503), 1);
    supabase.update(2, "totoya", "Toyota", "brand");
    inbox.has_typo(2, "totoya").await;
    ingest.stop().await;
}

#[tokio::test]
async fn a_row_that_a_policy_hides_after_an_update_is_told_and_stays() {
    let (supabase, inbox) = (supabase().await, Arc::new(Memory::default()));
    insert(&supabase, 20);
    let mut ingest = Running::start(access(&supabase), &inbox, timing());
    ingest.settled().await;
    inbox.holds(1..=20).await;
    supabase.faults().drop_events(u64::MAX);
    // A webhook names the row, and the key's role sees it no more.
    supabase.delete(7);
    ingest.sweep_trigger.changed(7);
    ingest.sweep_trigger.sweep();
    ingest.status_is(|status| status.vanished > 0).await;
    inbox.holds(1..=20).await;
    // A hint of a deletion is certain enough.
    ingest.sweep_trigger.deleted(7);
    inbox.holds((1..=6).chain(8..=20)).await;
    ingest.stop().await;
}

#[tokio::test]
async fn a_short_answer_does_not_say_that_rows_are_gone() {
    let options = autovalidate_fakes::supabase::Options { max_rows: 5, ..quick_options() };
    let supabase = Supabase::start(options).await.expect("the stand-in starts");
    let inbox = Arc::new(Memory::default());
    insert(&supabase, 40);
    let mut ingest = Running::start(service(&supabase), &inbox, timing());
    ingest.settled().await;
    inbox.holds(1..=40).await;
    for id in 1..=40 {
        supabase.update(id, &format!("totoya {id}"), "Toyota", "brand");
    }
    supabase.delete(40);
    for id in 1..=39 {
        inbox.has_typo(id, &format!("totoya {id}")).await;
    }
    inbox.holds(1..=39).await;
    assert_eq!(ingest.status.borrow().removed, 1);
    ingest.stop().await;
}
