//! Reads of the table through PostgREST, and every kind of refusal.

// Clippy exempts only functions with a test attribute, but these helpers fail tests in the same
// way.
#![allow(clippy::expect_used)]

use std::time::Duration;

use autovalidate::failure::{Failure, RetryDirective};
use autovalidate::ingest::{RestError, Table, TableAccess};
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
    let ids: Vec<_> = (1..=300).collect();
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
    assert_eq!(page.malformed.iter().map(|row| row.id).collect::<Vec<_>>(), [Some(odd)]);
    assert_eq!(page.rows.len(), 2);
    assert_eq!(page.last_id, Some(last));
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
async fn what_a_person_must_mend_says_so_and_how() {
    let supabase = supabase().await;
    let good = access(&supabase);

    let error = refusal(&supabase, &TableAccess { key: "wrong".to_owned().into(), ..good.clone() }).await;
    assert!(matches!(error, RestError::Key { status: 401, .. }), "{error:?}");
    assert_eq!(error.directive(), RetryDirective::Person);

    let error = refusal(&supabase, &TableAccess { table: "nowhere".to_owned(), ..good.clone() }).await;
    assert!(matches!(error, RestError::MissingTable { .. }), "{error:?}");
    assert_eq!(error.directive(), RetryDirective::Person);
    assert!(error.advice().contains(r#"create table if not exists "public"."nowhere""#));

    let mut renamed = good.clone();
    renamed.columns.typo = "mistake".to_owned();
    let error = refusal(&supabase, &renamed).await;
    assert!(
        matches!(&error, RestError::MissingColumn { detail, .. } if detail.contains("mistake")),
        "{error:?}"
    );
    assert!(error.advice().contains(r#"add column if not exists "mistake" text"#));
    assert_eq!(error.directive(), RetryDirective::Person);

    let error = refusal(&supabase, &TableAccess { schema: "private".to_owned(), ..good }).await;
    assert!(matches!(error, RestError::MissingSchema { .. }), "{error:?}");
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
        matches!(error, RestError::Busy { status: 429, retry_after } if retry_after == second),
        "{error:?}"
    );
    fault(RestFault::Status(503));
    assert!(matches!(refusal(&supabase, &access).await, RestError::Busy { status: 503, .. }));
    fault(RestFault::Html(502));
    assert!(matches!(refusal(&supabase, &access).await, RestError::Gateway { status: 502 }));
    fault(RestFault::Html(503));
    assert!(matches!(refusal(&supabase, &access).await, RestError::Busy { status: 503, .. }));
    fault(RestFault::StatementTimeout);
    assert!(matches!(refusal(&supabase, &access).await, RestError::StatementTimeout));
    fault(RestFault::Truncated);
    let error = refusal(&supabase, &access).await;
    assert!(matches!(error, RestError::Body(_)), "{error:?}");
    assert_eq!(error.directive(), RetryDirective::Retry);

    supabase.shutdown().await;
    let error = within(DEADLINE, table(&access).count()).await.expect_err("nobody answers");
    assert!(matches!(error, RestError::Request(_)), "{error:?}");
    assert!(!format!("{error:?}").contains(secrecy::ExposeSecret::expose_secret(&access.key)));
}
