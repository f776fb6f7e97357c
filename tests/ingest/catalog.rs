//! Catalog names, read from a table of the project.

use std::time::Duration;

use autovalidate::catalog_row::CatalogRow;
use autovalidate::failure::{Failure, RetryDirective};
use autovalidate::ingest::{CatalogError, CatalogSource, RestError};
use autovalidate_fakes::supabase::RestFault;

use crate::support::DEADLINE;
use crate::support::ingest::{access, supabase};
use crate::support::within;

/// Domains that have a column of their own in a table without one of names. These columns are the
/// stand-in's.
const DOMAINS: [&str; 3] = ["corrected", "domain", "typo"];

fn source(text: &str) -> CatalogSource {
    text.parse().expect("a place")
}

#[tokio::test]
async fn every_name_of_a_table_is_read_past_the_servers_cap() {
    let supabase = supabase().await;
    for number in 0..2300 {
        supabase.insert("typo", &format!("name {number}"), "brand");
    }
    let read = |text: &'static str| {
        let (source, access) = (source(text), access(&supabase));
        within(DEADLINE, async move { source.read(&access, &DOMAINS.map(str::to_owned)).await })
    };
    let names = read("table:typo_training_dataset.corrected.domain").await.expect("names");
    assert_eq!(names.len(), 2300);
    assert!(names.contains(&CatalogRow::alone("brand", "name 2299")));
    let anywhere = read("table:typo_training_dataset.corrected").await.expect("names");
    assert!(anywhere.iter().flat_map(CatalogRow::names).all(|(domain, _)| domain.is_empty()));

    let rows = read("table:typo_training_dataset").await.expect("rows");
    assert_eq!(rows.len(), 2300);
    let row = CatalogRow::together([("corrected", "name 7"), ("domain", "brand"), ("typo", "typo")]);
    assert_eq!(rows.iter().filter(|other| **other == row).count(), 1);

    let error = read("table:typo_training_dataset.nope").await.expect_err("no such column");
    assert!(
        matches!(&error, CatalogError::Table(_)) && error.directive() == RetryDirective::Person,
        "{error:?}"
    );
    supabase.faults().limit_statement_rows(Some(300));
    let names = read("table:typo_training_dataset.corrected.domain").await.expect("names");
    assert_eq!(names.len(), 2300, "smaller pages get through");
    supabase.faults().limit_statement_rows(None);
    supabase.faults().serve_stale_pages(true);
    let error = read("table:typo_training_dataset.corrected").await.expect_err("the same page again");
    assert!(matches!(&error, CatalogError::Table(RestError::SamePage)), "{error:?}");
    supabase.faults().serve_stale_pages(false);
    supabase.faults().fail_rest(RestFault::Status(503), 1);
    let error = read("table:typo_training_dataset.corrected").await.expect_err("down");
    assert_eq!(error.directive(), RetryDirective::Retry);
    supabase.faults().hide_rows(true);
    let error = read("table:typo_training_dataset.corrected").await.expect_err("nothing visible");
    assert!(matches!(error, CatalogError::Empty), "{error:?}");
}

#[tokio::test]
async fn names_inserted_during_the_reading_move_none_out_of_sight() {
    let supabase = supabase().await;
    for number in 0..2000 {
        supabase.insert("typo", &format!("n{number:04}"), "brand");
    }
    // These names contain separators of PostgREST conditions. Each is in two domains, one of which
    // is null.
    for name in ["n0999, \"x\" (a.b)", "n0999\\"] {
        supabase.insert("typo", name, "model");
        let values = serde_json::json!({"typo": "typo", "corrected": name});
        supabase.insert_values(values.as_object().expect("an object").clone());
    }
    supabase.faults().delay_rest(Duration::from_millis(100));
    let (source, access) = (source("table:typo_training_dataset.corrected.domain"), access(&supabase));
    let reading = tokio::spawn(async move { source.read(&access, &[]).await });
    within(DEADLINE, async {
        // While pages are read, new rows sort before the rows already read, which would shift an
        // offset.
        let mut timing = tokio::time::interval(Duration::from_millis(2));
        while !reading.is_finished() {
            timing.tick().await;
            supabase.insert("typo", "a", "brand");
        }
    })
    .await;
    let names = within(DEADLINE, reading).await.expect("it ends").expect("names");
    let counted =
        |wanted: &str| names.iter().flat_map(CatalogRow::names).filter(|(_, name)| *name == wanted).count();
    assert!((0..2000).all(|number| counted(&format!("n{number:04}")) == 1));
    assert_eq!((counted("n0999, \"x\" (a.b)"), counted("n0999\\")), (2, 2));
}
