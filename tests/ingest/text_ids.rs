//! Tables whose ids are UUIDs or other texts.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use autovalidate::ingest::{Columns, Inbox, IngestTiming, Position, TableAccess};
use autovalidate::row_identity::RowId;
use autovalidate_fakes::supabase::{IdType, Options, Supabase};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};

use crate::support::ingest::{Memory, Running, access, quick_options, timing};

const KINDS: [IdType; 2] = [IdType::Uuid, IdType::Text];

async fn table_of(id_type: IdType) -> Supabase {
    Supabase::start(Options { id_type, ..quick_options() }).await.expect("the stand-in starts")
}

/// Returns access with a key that sees every row.
fn service(supabase: &Supabase) -> TableAccess {
    TableAccess { key: supabase.service_key().to_owned().into(), ..access(supabase) }
}

/// Inserts rows, and returns the ids by which the inbox knows them, with their numbers in the stand-in.
fn insert(supabase: &Supabase, count: usize) -> BTreeMap<i64, i64> {
    let rows = (0..count).map(|number| supabase.insert(&format!("toyta {number}"), "Toyota", "brand"));
    rows.map(|row| (known_as(supabase, row), row)).collect()
}

/// Inserts rows that all have one old time.
fn import(supabase: &Supabase, count: usize) {
    let pairs = (0..count).map(|number| (format!("toyta {number}"), "Toyota".to_owned(), "brand".to_owned()));
    supabase.import(pairs, "2026-01-01T00:00:00Z".parse().expect("a time"));
}

/// Returns the id by which the inbox knows a row.
fn known_as(supabase: &Supabase, row: i64) -> i64 {
    RowId::of_text(&supabase.id_text(row)).expect("an id").number()
}

/// Inserts a row with this time of insert.
fn insert_at(supabase: &Supabase, typo: &str, created_at: &Value) -> i64 {
    let values = json!({"typo": typo, "corrected": "Toyota", "domain": "brand", "created_at": created_at});
    let values: Map<String, Value> = serde_json::from_value(values).expect("an object");
    let row = supabase.insert_values(values);
    known_as(supabase, row)
}

async fn sweep(ingest: &mut Running, times: u64) {
    let swept = ingest.status.borrow().sweeps;
    for number in 1..=times {
        ingest.sweep_trigger.sweep();
        ingest.status_is(|status| status.sweeps >= swept + number).await;
    }
}

#[tokio::test]
async fn rows_come_by_sweep_and_over_realtime_and_their_changes_too() {
    for kind in KINDS {
        let (supabase, inbox) = (table_of(kind).await, Arc::new(Memory::default()));
        let mut ids = insert(&supabase, 20);
        let mut ingest = Running::start(service(&supabase), &inbox, IngestTiming { compare: 1, ..timing() });
        ingest.settled().await;
        inbox.holds(ids.keys().copied()).await;
        // The first audit would find the next rows, too.
        ingest.status_is(|status| status.audits > 0).await;
        // So would the sweep that the subscription asks for. After two more, none is under way.
        sweep(&mut ingest, 2).await;
        ids.extend(insert(&supabase, 5));
        inbox.holds(ids.keys().copied()).await;
        assert_eq!(ingest.status.borrow().rows_by_realtime, 5);
        let (&id, &row) = ids.last_key_value().expect("rows");
        assert!(supabase.update(row, "totoya", "Toyota", "brand"));
        inbox.has_typo(id, "totoya").await;
        assert!(supabase.delete(row));
        ids.remove(&id);
        inbox.holds(ids.keys().copied()).await;
        let status = ingest.status_is(|status| status.removed == 1).await;
        assert_eq!((status.changed, status.series), (1, Some(0)));
        ingest.stop().await;
    }
}

#[tokio::test]
async fn every_row_is_read_in_pages_even_if_many_share_one_time_and_a_restart_goes_on() {
    for kind in KINDS {
        let (supabase, inbox) = (table_of(kind).await, Arc::new(Memory::default()));
        supabase.faults().drop_events(u64::MAX);
        supabase.faults().limit_statement_rows(Some(40));
        import(&supabase, 500);
        insert(&supabase, 3);
        let all = |supabase: &Supabase| {
            let mut ids: Vec<_> = supabase.ids().into_iter().map(|row| known_as(supabase, row)).collect();
            ids.sort_unstable();
            ids
        };
        let mut ingest = Running::start(access(&supabase), &inbox, timing());
        inbox.holds(all(&supabase)).await;
        ingest.status_is(|status| status.sweeps > 0).await;
        ingest.stop().await;
        let position = inbox.position().await.expect("in memory");
        assert!(position.inserted.is_some() && position.cursor == 0, "{position:?}");
        insert(&supabase, 2);
        let ingest = Running::start(access(&supabase), &inbox, timing());
        inbox.holds(all(&supabase)).await;
        let read = ingest.status.borrow().duplicates;
        assert!(read < 100, "{read} rows were read again");
        ingest.stop().await;
    }
}

#[tokio::test]
async fn rows_that_bear_an_earlier_time_a_later_one_or_none_are_found() {
    for kind in KINDS {
        let (supabase, inbox) = (table_of(kind).await, Arc::new(Memory::default()));
        supabase.faults().drop_events(u64::MAX);
        let mut ids: Vec<i64> = insert(&supabase, 10).into_keys().collect();
        let audits = IngestTiming { audit_every: Duration::ZERO, ..timing() };
        let mut ingest = Running::start(access(&supabase), &inbox, timing());
        ingest.settled().await;
        let at = |minutes: i64| json!((Timestamp::now() + SignedDuration::from_mins(minutes)).to_string());
        // A transaction that took three minutes until its commit.
        ids.push(insert_at(&supabase, "late", &at(-3)));
        ids.sort_unstable();
        sweep(&mut ingest, 1).await;
        inbox.holds(ids.clone()).await;
        for (typo, created_at) in [("backdated", at(-1_000_000)), ("ahead", at(60)), ("none", Value::Null)] {
            ids.push(insert_at(&supabase, typo, &created_at));
        }
        sweep(&mut ingest, 1).await;
        ingest.stop().await;
        let mut ingest = Running::start(access(&supabase), &inbox, audits);
        ids.sort_unstable();
        inbox.holds(ids.clone()).await;
        // A row from the future keeps no later row from being read.
        ids.extend(insert(&supabase, 1).into_keys());
        ids.sort_unstable();
        sweep(&mut ingest, 1).await;
        inbox.holds(ids).await;
        ingest.stop().await;
    }
}

#[tokio::test]
async fn changes_that_nothing_told_of_are_found_by_looking_kept_ids_up() {
    for kind in KINDS {
        let (supabase, inbox) = (table_of(kind).await, Arc::new(Memory::default()));
        supabase.faults().drop_events(u64::MAX);
        let mut ids = insert(&supabase, 50);
        let mut ingest = Running::start(service(&supabase), &inbox, IngestTiming { compare: 20, ..timing() });
        ingest.settled().await;
        inbox.holds(ids.keys().copied()).await;
        let some: Vec<_> = ids.iter().map(|(id, row)| (*id, *row)).step_by(10).collect();
        for (id, row) in &some {
            assert!(supabase.update(*row, &format!("changed {id}"), "Toyota", "brand"));
        }
        let (deleted, row) = ids.pop_first().expect("a row");
        assert!(supabase.delete(row));
        sweep(&mut ingest, 5).await;
        for (id, _) in some.iter().filter(|(id, _)| *id != deleted) {
            inbox.has_typo(*id, &format!("changed {id}")).await;
        }
        inbox.holds(ids.keys().copied()).await;
        // Many at once are told, and stay.
        for row in ids.values() {
            supabase.delete(*row);
        }
        sweep(&mut ingest, 5).await;
        assert_eq!(ingest.status.borrow().vanished, 49);
        inbox.holds(ids.keys().copied()).await;
        ingest.stop().await;
    }
}

#[tokio::test]
async fn a_deletion_is_found_although_the_whole_table_went_before() {
    for kind in KINDS {
        let (supabase, inbox) = (table_of(kind).await, Arc::new(Memory::default()));
        supabase.faults().drop_events(u64::MAX);
        let hour_ago = Timestamp::from_second(Timestamp::now().as_second() - 3_600).expect("a time");
        let hour_ago = json!(hour_ago.to_string());
        let before: Vec<i64> =
            (0..30).map(|row| insert_at(&supabase, &format!("early {row}"), &hour_ago)).collect();
        let mut ingest = Running::start(service(&supabase), &inbox, timing());
        ingest.settled().await;
        supabase.truncate_restart_identity();
        let mut ids = insert(&supabase, 20);
        sweep(&mut ingest, 1).await;
        let now = |ids: &BTreeMap<i64, i64>| {
            let mut all: Vec<i64> = before.iter().chain(ids.keys()).copied().collect();
            all.sort_unstable();
            all
        };
        inbox.holds(now(&ids)).await;
        let (_, row) = ids.pop_first().expect("a row");
        assert!(supabase.delete(row));
        sweep(&mut ingest, 2).await;
        inbox.holds(now(&ids)).await;
        assert_eq!(ingest.status.borrow().vanished, 30);
        ingest.stop().await;
    }
}

#[tokio::test]
async fn a_page_that_comes_again_is_told_and_not_asked_for_without_end() {
    let (supabase, inbox) = (table_of(IdType::Uuid).await, Arc::new(Memory::default()));
    for row in 0..3 {
        // Finer than PostgreSQL keeps it. As a bound, it is read as an earlier time, so all rows are later.
        insert_at(&supabase, &format!("toyta {row}"), &json!("2026-01-01T00:00:00.0000004Z"));
    }
    let mut ingest = Running::start(service(&supabase), &inbox, timing());
    let status = ingest.status_is(|status| status.sweep_trouble.is_some()).await;
    let told = status.sweep_trouble.expect("trouble").error;
    assert!(told.contains("the page before"), "{told}");
    ingest.stop().await;
}

#[tokio::test]
async fn a_row_that_is_too_large_alone_is_kept_by_its_id_and_the_others_are_read() {
    for kind in KINDS {
        let (supabase, inbox) = (table_of(kind).await, Arc::new(Memory::default()));
        let before = supabase.insert("toyta", "Toyota", "brand");
        let large = supabase.insert(&"x".repeat(9000), "Toyota", "brand");
        let after = supabase.insert("hunday", "Hyundai", "brand");
        supabase.faults().limit_answer_bytes(Some(4000));
        let ingest = Running::start(access(&supabase), &inbox, timing());
        let mut ids = [before, large, after].map(|row| known_as(&supabase, row));
        ids.sort_unstable();
        inbox.holds(ids).await;
        inbox.has_typo(known_as(&supabase, large), "").await;
        inbox.has_typo(known_as(&supabase, after), "hunday").await;
        ingest.stop().await;
    }
}

#[tokio::test]
async fn a_table_without_an_order_and_one_whose_ids_changed_their_kind_are_named() {
    let refused = async |access: TableAccess, inbox: &Arc<Memory>| {
        let mut ingest = Running::start(access, inbox, timing());
        let status = ingest.status_is(|status| status.sweep_trouble.is_some()).await;
        ingest.stop().await;
        status.sweep_trouble.expect("trouble")
    };
    for kind in KINDS {
        let supabase = table_of(kind).await;
        insert(&supabase, 2);
        for created_at in ["", "inserted_at"] {
            let columns = Columns { created_at: created_at.to_owned(), ..Columns::default() };
            let trouble =
                refused(TableAccess { columns, ..access(&supabase) }, &Arc::new(Memory::default())).await;
            assert!(trouble.error.contains("texts, which tell no order"), "{trouble:?}");
            assert!(trouble.advice.contains("created_at timestamptz"), "{trouble:?}");
        }
        let inbox = Arc::new(Memory::default());
        inbox.advance(&Position { cursor: 7, ..Position::default() }).await.expect("in memory");
        // A uuid can't be compared with the number that the cursor is, and PostgreSQL says so.
        let trouble = refused(access(&supabase), &inbox).await;
        let named = ["held whole numbers before", "invalid input syntax for type uuid"];
        assert!(named.iter().any(|words| trouble.error.contains(words)), "{trouble:?}");
    }
}

#[tokio::test]
async fn an_empty_table_is_read_once_it_has_rows_whatever_their_ids_are() {
    for kind in [IdType::BigInt, IdType::Uuid, IdType::Text] {
        let (supabase, inbox) = (table_of(kind).await, Arc::new(Memory::default()));
        supabase.faults().drop_events(u64::MAX);
        let mut ingest = Running::start(access(&supabase), &inbox, timing());
        ingest.status_is(|status| status.sweeps > 1).await;
        let ids = insert(&supabase, 1);
        ingest.sweep_trigger.sweep();
        inbox.holds(ids.into_keys()).await;
        ingest.stop().await;
    }
}

#[tokio::test]
async fn a_hint_with_an_id_of_another_kind_stops_nothing() {
    for (kind, hint) in [
        (IdType::BigInt, "form-7"),
        (IdType::BigInt, "07"),
        (IdType::Uuid, "form-7"),
        (IdType::Uuid, "7"),
        (IdType::Uuid, "{3F1C0C1E5B1F4B0A8A0E9D5E1F2A7C66}"),
    ] {
        let (supabase, inbox) = (table_of(kind).await, Arc::new(Memory::default()));
        supabase.faults().drop_events(u64::MAX);
        let row = supabase.insert("toyta", "Toyota", "brand");
        let mut ingest = Running::start(service(&supabase), &inbox, timing());
        ingest.settled().await;
        // A good hint beside a wrong one is followed.
        let changed = supabase.insert("to be deleted", "Toyota", "brand");
        supabase.delete(changed);
        let hint = RowId::of_text(hint).expect("an id");
        ingest.sweep_trigger.row(hint.clone());
        ingest.sweep_trigger.changed(hint.clone());
        ingest.sweep_trigger.deleted(RowId::of_number(3));
        sweep(&mut ingest, 1).await;
        let second = supabase.insert("hunday", "Hyundai", "brand");
        ingest.sweep_trigger.sweep();
        let mut ids = [row, second].map(|row| known_as(&supabase, row));
        ids.sort_unstable();
        inbox.holds(ids).await;
        let trigger = ingest.sweep_trigger.clone();
        ingest.status_is(|status| status.sweep_trouble.is_none() && !trigger.is_behind()).await;
        ingest.stop().await;
    }
}

#[tokio::test]
async fn an_id_that_can_not_be_asked_for_stops_nothing() {
    let (supabase, inbox) = (table_of(IdType::Text).await, Arc::new(Memory::default()));
    supabase.faults().drop_events(u64::MAX);
    let insert_id = |id: &str, created_at: &str| {
        let values = json!({"id": id, "typo": "toyta", "corrected": "Toyota", "domain": "brand", "created_at": created_at});
        supabase.insert_values(serde_json::from_value(values).expect("an object"));
        RowId::of_text(id).map(|id| id.number())
    };
    let (long, longer) = ("é".repeat(500), "a".repeat(20_000));
    let one_moment = "2026-01-01T00:00:00+00:00";
    let odd = ["", "a\tb", &longer].map(|id| insert_id(id, one_moment));
    assert_eq!(odd, [None, None, None]);
    let mut ids: Vec<i64> =
        ["b", "z\\\"(,)", &long, "zz"].iter().filter_map(|id| insert_id(id, one_moment)).collect();
    ids.extend(insert_id("year one", "0001-01-01T00:00:00+00:00"));
    ids.sort_unstable();
    let mut ingest =
        Running::start(service(&supabase), &inbox, IngestTiming { page: 1, compare: 2, ..timing() });
    inbox.holds(ids.clone()).await;
    sweep(&mut ingest, 5).await;
    ids.extend(insert(&supabase, 3).into_keys());
    ids.sort_unstable();
    sweep(&mut ingest, 5).await;
    inbox.holds(ids).await;
    let status = ingest.status_is(|status| status.sweep_trouble.is_none()).await;
    assert!(status.malformed >= 3, "{status:?}");
    ingest.stop().await;
}

#[tokio::test]
async fn many_rows_of_one_old_time_are_not_read_again_with_each_sweep() {
    for kind in KINDS {
        let (supabase, inbox) = (table_of(kind).await, Arc::new(Memory::default()));
        supabase.faults().drop_events(u64::MAX);
        import(&supabase, 500);
        let mut ingest =
            Running::start(access(&supabase), &inbox, IngestTiming { page: 50, compare: 1, ..timing() });
        ingest.status_is(|status| status.audits > 0).await;
        sweep(&mut ingest, 2).await;
        let before = supabase.reads();
        sweep(&mut ingest, 3).await;
        let requests = supabase.reads() - before;
        assert!(requests <= 3 * 5, "{requests} requests in three sweeps");
        ingest.stop().await;
    }
}
