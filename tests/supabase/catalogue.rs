//! The names a correction may be, read from a table of the project.

use autovalidate::failure::{Failure, Remedy};
use autovalidate::local::supabase::RestFault;
use autovalidate::supabase::{CatalogueError, CatalogueSource};

use super::memory::{DEADLINE, access, supabase};
use crate::support::within;

fn source(text: &str) -> CatalogueSource {
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
        within(DEADLINE, async move { source.read(&access).await })
    };
    let names = read("table:typo_training_dataset.corrected.domain").await.expect("names");
    assert_eq!(names.len(), 2300);
    assert!(names.contains(&("brand".to_owned(), "name 2299".to_owned())));
    let anywhere = read("table:typo_training_dataset.corrected").await.expect("names");
    assert!(anywhere.iter().all(|(domain, _)| domain.is_empty()));

    let error = read("table:typo_training_dataset.nope").await.expect_err("no such column");
    assert!(matches!(&error, CatalogueError::Table(_)) && error.remedy() == Remedy::Person, "{error:?}");
    supabase.faults().fail_rest(RestFault::Status(503), 1);
    let error = read("table:typo_training_dataset.corrected").await.expect_err("down");
    assert_eq!(error.remedy(), Remedy::Retry);
    supabase.faults().hide_rows(true);
    let error = read("table:typo_training_dataset.corrected").await.expect_err("nothing visible");
    assert!(matches!(error, CatalogueError::Empty), "{error:?}");
}
