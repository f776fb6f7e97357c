//! Reads of the table through PostgREST, and every kind of refusal.

// Clippy exempts only functions with a test attribute, but these helpers fail tests in the same
// way.
#![allow(clippy::expect_used)]

use std::time::Duration;

use autovalidate::failure::{Failure, RetryDirective};
use autovalidate::ingest::{AnswerKind, RestError, Table, TableAccess, UnreadableReason};
use autovalidate::row_identity::RowId;
use autovalidate_fakes::supabase::{RestFault, Supabase};
use serde_json::{Value, json};

use crate::support::DEADLINE;
use crate::support::ingest::{access, supabase};
use crate::support::within;

fn table(access: &TableAccess) -> Table {
    Table::new(access).expect("good access")
}

async fn refusal(supabase: &Supabase, access: &TableAccess) -> RestError {
    supabase.insert("toyta", "Toyota", "brand");
    within(DEADLINE, table(access).page_after(0, 10)).await.expect_err("no page")
}

#[tokio::test]
async fn pages_go_on_past_the_servers_cap_until_one_is_empty() {
    let supabase = supabase().await;
    for number in 0..2500 {
        supabase.insert(&format!("typo {number}"), "Toyota", "brand");
    }
    let table = table(&access(&supabase));
    let (mut cursor, mut seen) = (0, Vec::new());
    while let Some(last) = {
        let page = within(DEADLINE, table.page_after(cursor, 5000)).await.expect("a page");
        assert!(page.rows.len() <= 1000);
        seen.extend(page.rows.iter().map(|row| row.id));
        page.last_id
    } {
        cursor = last;
    }
    assert!(seen.into_iter().eq(1..=2500));
    assert_eq!(within(DEADLINE, table.count()).await.expect("a count"), 2500);
    let ids = within(DEADLINE, table.ids_between(7, 9, 100)).await.expect("ids");
    assert_eq!(ids, [8, 9]);
}

#[tokio::test]
async fn rows_come_by_id_in_as_many_requests_as_it_takes() {
    let supabase = supabase().await;
    for _ in 0..250 {
        supabase.insert("toyta", "Toyota", "brand");
    }
    let ids: Vec<_> = (1..=300).map(RowId::of_number).collect();
    let page = within(DEADLINE, table(&access(&supabase)).rows_by_id(&ids)).await.expect("rows");
    assert!(page.rows.iter().map(|row| row.id).eq(1..=250));
}

#[tokio::test]
async fn a_row_of_other_types_is_named_and_the_rest_of_the_page_is_read() {
    let supabase = supabase().await;
    supabase.insert("toyta", "Toyota", "brand");
    let odd = match json!({"typo": 5, "corrected": ["x"], "domain": "brand"}) {
        Value::Object(values) => supabase.insert_values(values),
        _ => unreachable!("an object"),
    };
    let last = supabase.insert("hunday", "Hyundai", "brand");
    let page = within(DEADLINE, table(&access(&supabase)).page_after(0, 10)).await.expect("a page");
    assert_eq!(page.malformed.iter().map(|row| row.id.clone()).collect::<Vec<_>>(), [Some(odd.into())]);
    assert_eq!(page.rows.len(), 2);
    assert_eq!(page.last_id, Some(last));
}

/// Returns a table of `rows` pairs.
async fn filled(rows: usize) -> Supabase {
    let supabase = supabase().await;
    for _ in 0..rows {
        supabase.insert("toyta", "Toyota", "brand");
    }
    supabase
}

/// Inserts a row with a typo of this many characters.
fn insert_long(supabase: &Supabase, characters: usize) -> i64 {
    supabase.insert(&"x".repeat(characters), "Toyota", "brand")
}

#[tokio::test]
async fn every_read_gets_through_a_database_that_cancels_long_statements() {
    let supabase = filled(1000).await;
    supabase.faults().limit_statement_rows(Some(7));
    let table = table(&access(&supabase));
    let page = within(DEADLINE, table.page_after(0, 1000)).await.expect("a page");
    assert_eq!(page.rows.len(), 7);
    let ids = within(DEADLINE, table.ids_between(100, 900, 1000)).await.expect("ids");
    assert!(ids.len() <= 7 && ids[0] == 101, "{ids:?}");
    let ids: Vec<_> = (1..=300).map(RowId::of_number).collect();
    let page = within(DEADLINE, table.rows_by_id(&ids)).await.expect("rows");
    assert!(page.rows.iter().map(|row| row.id).eq(1..=300));

    // A clone has learned the same, and a new client begins anew.
    let requests = |table: Table| async move { within(DEADLINE, table.page_after(0, 1000)).await };
    assert!(requests(table.clone()).await.expect("a page").rows.len() <= 7);
    supabase.faults().limit_statement_rows(None);
    for _ in 0..200 {
        let page = within(DEADLINE, table.page_after(0, 1000)).await.expect("a page");
        assert!(!page.rows.is_empty());
    }
    let page = within(DEADLINE, table.page_after(0, 1000)).await.expect("a page");
    assert_eq!(page.rows.len(), 1000, "the size grew back");
}

#[tokio::test]
async fn a_row_that_is_too_large_alone_is_named_and_the_others_are_read() {
    let supabase = filled(3).await;
    let large = [insert_long(&supabase, 9000), insert_long(&supabase, 9000)];
    let last = supabase.insert("hunday", "Hyundai", "brand");
    supabase.faults().limit_answer_bytes(Some(4000));
    let table = table(&access(&supabase));
    let (mut cursor, mut seen, mut unreadable) = (0, Vec::new(), Vec::new());
    loop {
        let page = within(DEADLINE, table.page_after(cursor, 1000)).await.expect("a page");
        let Some(last) = page.last_id else { break };
        cursor = last;
        seen.extend(page.rows.iter().map(|row| row.id));
        unreadable.extend(page.unreadable);
    }
    assert_eq!(seen, [1, 2, 3, last]);
    assert_eq!(unreadable.iter().map(|row| row.id.number()).collect::<Vec<_>>(), large);
    assert!(unreadable.iter().all(|row| row.reason == UnreadableReason::TooLarge));

    let page =
        within(DEADLINE, table.rows_by_id(&[1, large[0], last].map(RowId::of_number))).await.expect("rows");
    assert_eq!(page.rows.iter().map(|row| row.id).collect::<Vec<_>>(), [1, last]);
    assert_eq!(page.unreadable.iter().map(|row| row.id.number()).collect::<Vec<_>>(), [large[0]]);
}

#[tokio::test]
async fn many_long_rows_come_in_smaller_pages() {
    let supabase = filled(3).await;
    for _ in 0..12 {
        insert_long(&supabase, 1_500_000);
    }
    let last = insert_long(&supabase, 17 << 20);
    let table = table(&access(&supabase));
    let (mut cursor, mut rows, mut unreadable) = (0, 0, Vec::new());
    loop {
        let page = within(DEADLINE, table.page_after(cursor, 1000)).await.expect("a page");
        let Some(last) = page.last_id else { break };
        cursor = last;
        rows += page.rows.len();
        unreadable.extend(page.unreadable.iter().map(|row| row.id.clone()));
    }
    assert_eq!((rows, unreadable, cursor), (15, vec![last.into()], last));
}

#[tokio::test]
async fn a_row_that_the_database_fails_at_is_given_up_after_three_tries() {
    let supabase = filled(2).await;
    let table = table(&access(&supabase));
    supabase.faults().limit_statement_rows(Some(0));
    for _ in 0..4 {
        // Its id can't be read either, so the table is the reason and no row is given up.
        let error = within(DEADLINE, table.page_after(0, 1000)).await.expect_err("cancelled");
        assert_eq!(error.kind(), Some(AnswerKind::StatementTimeout), "{error:?}");
    }
    supabase.faults().limit_statement_rows(None);
    let page = within(DEADLINE, table.page_after(0, 1000)).await.expect("a page");
    assert_eq!((page.rows.len(), page.unreadable.len()), (1, 0));
    // From here on only the row's texts can't be read.
    for _ in 0..2 {
        supabase.faults().fail_rest(RestFault::StatementTimeout, 2);
        let error = within(DEADLINE, table.page_after(1, 1)).await.expect_err("cancelled");
        assert_eq!(error.kind(), Some(AnswerKind::StatementTimeout), "{error:?}");
        supabase.faults().clear_rest();
    }
    supabase.faults().fail_rest(RestFault::StatementTimeout, 1);
    let page = within(DEADLINE, table.page_after(1, 1)).await.expect("a page");
    assert_eq!(page.unreadable.iter().map(|row| row.id.number()).collect::<Vec<_>>(), [2]);
    assert_eq!((page.unreadable[0].reason, page.last_id), (UnreadableReason::DatabaseFails, Some(2)));
}

#[tokio::test]
async fn a_cache_that_answers_the_same_page_is_told() {
    let supabase = filled(5).await;
    let table = table(&access(&supabase));
    supabase.faults().serve_stale_pages(true);
    let page = within(DEADLINE, table.page_after(0, 2)).await.expect("a page");
    assert_eq!(page.last_id, Some(2));
    for error in [
        within(DEADLINE, table.page_after(2, 2)).await.expect_err("the same page"),
        within(DEADLINE, table.ids_between(3, 5, 9)).await.expect_err("another range"),
        within(DEADLINE, table.rows_by_id(&[5.into()])).await.expect_err("another row"),
    ] {
        assert!(matches!(error, RestError::NotAsked { .. }), "{error:?}");
        assert_eq!(error.directive(), RetryDirective::Retry);
        assert!(error.advice().contains("cache"), "{}", error.advice());
    }
}

#[tokio::test]
async fn a_legacy_service_key_is_sent_as_bearer_too() {
    let supabase = supabase().await;
    supabase.insert("toyta", "Toyota", "brand");
    supabase.faults().hide_rows(true);
    let anon = table(&access(&supabase));
    assert_eq!(within(DEADLINE, anon.count()).await.expect("a count"), 0);
    let service = TableAccess { key: supabase.service_key().to_owned().into(), ..access(&supabase) };
    assert_eq!(within(DEADLINE, table(&service).count()).await.expect("a count"), 1);
    supabase.faults().hide_rows(false);
    let publishable = TableAccess { key: supabase.publishable_key().to_owned().into(), ..access(&supabase) };
    assert_eq!(within(DEADLINE, table(&publishable).count()).await.expect("a count"), 1);
}

#[tokio::test]
async fn what_a_person_must_mend_says_so_and_how_in_the_servers_words() {
    let supabase = supabase().await;
    let good = access(&supabase);
    let mut renamed = good.clone();
    renamed.columns.typo = "mistake".to_owned();
    for (access, kind, words, advice) in [
        (
            TableAccess { key: "wrong".to_owned().into(), ..good.clone() },
            AnswerKind::KeyRefused,
            "Invalid API key",
            "API Keys",
        ),
        (
            TableAccess { table: "nowhere".to_owned(), ..good.clone() },
            AnswerKind::MissingTable,
            "Could not find the table 'public.nowhere'",
            r#"create table if not exists "public"."nowhere""#,
        ),
        (
            renamed,
            AnswerKind::MissingColumn,
            "column typo_training_dataset.mistake does not exist",
            r#"add column if not exists "mistake" text"#,
        ),
        (
            TableAccess { schema: "private".to_owned(), ..good },
            AnswerKind::MissingSchema,
            "Invalid schema",
            "Data API",
        ),
    ] {
        let error = refusal(&supabase, &access).await;
        assert_eq!((error.kind(), error.directive()), (Some(kind), RetryDirective::Person), "{error:?}");
        assert!(error.to_string().contains(words), "{error}");
        assert!(error.advice().contains(advice), "{}", error.advice());
    }
}

#[tokio::test]
async fn a_table_without_the_time_of_the_insert_is_read_without_it() {
    let supabase = filled(3).await;
    let mut access = access(&supabase);
    access.columns.created_at = "written_at".to_owned();
    let found_out = table(&access);
    let page = within(DEADLINE, found_out.page_after(0, 10)).await.expect("a page");
    assert_eq!((page.rows.len(), page.rows[0].created_at.clone()), (3, None));
    let page = within(DEADLINE, found_out.rows_by_id(&[2.into()])).await.expect("a row");
    assert_eq!(page.rows.len(), 1);
    let page = within(DEADLINE, table(&access).rows_by_id(&[2.into()])).await.expect("a row");
    assert_eq!((page.rows.len(), page.rows[0].created_at.clone()), (1, None));
    access.columns.created_at = String::new();
    let page = within(DEADLINE, table(&access).page_after(0, 10)).await.expect("a page");
    assert_eq!(page.rows.len(), 3);
}

#[tokio::test]
async fn what_passes_is_tried_again() {
    let supabase = supabase().await;
    let access = access(&supabase);
    let fault = |fault| supabase.faults().fail_rest(fault, 1);

    fault(RestFault::Status(429));
    let error = refusal(&supabase, &access).await;
    let second = Some(Duration::from_secs(1));
    assert!(
        matches!(&error, RestError::Answer(answer)
            if answer.kind == AnswerKind::RateLimited && answer.retry_after == second),
        "{error:?}"
    );
    fault(RestFault::Status(503));
    assert_eq!(refusal(&supabase, &access).await.kind(), Some(AnswerKind::DatabaseDown));
    fault(RestFault::Html(502));
    let error = refusal(&supabase, &access).await;
    assert_eq!(error.kind(), Some(AnswerKind::Busy));
    assert!(error.to_string().contains("HTTP 502): Bad gateway"), "{error}");
    fault(RestFault::Html(503));
    assert_eq!(refusal(&supabase, &access).await.kind(), Some(AnswerKind::Busy));
    supabase.faults().limit_statement_rows(Some(0));
    assert_eq!(refusal(&supabase, &access).await.kind(), Some(AnswerKind::StatementTimeout));
    supabase.faults().limit_statement_rows(None);
    fault(RestFault::Truncated);
    let error = refusal(&supabase, &access).await;
    assert!(matches!(error, RestError::Body(_)), "{error:?}");
    assert_eq!(error.directive(), RetryDirective::Retry);

    supabase.shutdown().await;
    let error = within(DEADLINE, table(&access).count()).await.expect_err("nobody answers");
    assert!(matches!(error, RestError::Request(_)), "{error:?}");
    assert!(!format!("{error:?}").contains(secrecy::ExposeSecret::expose_secret(&access.key)));
}
