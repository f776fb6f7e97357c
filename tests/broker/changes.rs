//! Rows that change, ids that are used again, and rows that are erased.

use std::collections::BTreeSet;

use autovalidate::correction::{Refusal, Row};
use autovalidate::corrections::{Appended, Corrections};
use autovalidate::row_identity::number_in;

use crate::support::DEADLINE;
use crate::support::broker::{TestBroker, row, rows};
use crate::support::within;

/// Returns a row inserted in another year than [`row`]'s.
fn later_row(id: i64) -> Row {
    Row { typo: format!("hunday {id}"), created_at: Some("2027-01-01T00:00:00Z".to_owned()), ..row(id) }
}

async fn append(corrections: &Corrections, rows: &[Row]) -> Appended {
    within(DEADLINE, corrections.append(rows)).await.unwrap()
}

/// Stores the current text of rows, as the ingest does after it has read them again.
async fn replace(corrections: &Corrections, rows: &[Row]) -> Appended {
    let ids: Vec<i64> = rows.iter().map(|row| row.id).collect();
    let kept = within(DEADLINE, corrections.kept(&ids)).await.unwrap();
    let rows: Vec<_> = kept.into_iter().zip(rows.iter().cloned()).collect();
    within(DEADLINE, corrections.replace(&rows)).await.unwrap()
}

/// Returns id and typo of each pair of a dataset.
async fn pairs(corrections: &Corrections) -> Vec<(i64, String)> {
    let snapshot = within(DEADLINE, corrections.snapshot(u64::MAX)).await.unwrap();
    snapshot.rows.iter().map(|row| (row.id, row.typo)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_row_is_reported_and_its_newest_text_counts() {
    let bench = TestBroker::new().await;
    let corrections = bench.corrections().await;
    append(&corrections, &rows(1..=3)).await;
    let changed = Row { typo: "totoya".to_owned(), ..row(2) };
    let reported = append(&corrections, &[row(1), changed.clone()]).await;
    assert_eq!(reported, Appended { duplicates: 1, differing: vec![2], ..Appended::default() });
    assert_eq!(pairs(&corrections).await.len(), 3, "a copy that differs is not stored by itself");

    let replaced = replace(&corrections, std::slice::from_ref(&changed)).await;
    assert_eq!(replaced, Appended { stored: 1, changed: 1, ..Appended::default() });
    let expected = [(1, row(1).typo), (3, row(3).typo), (2, "totoya".to_owned())];
    assert_eq!(pairs(&corrections).await, expected);
    // An earlier run's data, up to its own sequence, has the earlier text.
    let earlier = within(DEADLINE, corrections.snapshot(3)).await.unwrap();
    assert_eq!(earlier.rows.row(1), row(2));

    // Back to the first text, and again: each change is one message.
    assert_eq!(replace(&corrections, &[row(2)]).await.changed, 1);
    assert_eq!(replace(&corrections, std::slice::from_ref(&changed)).await.changed, 1);
    assert_eq!(replace(&corrections, std::slice::from_ref(&changed)).await.duplicates, 1);
    let restarted = bench.corrections().await;
    assert_eq!(append(&restarted, &[changed]).await.duplicates, 1);
    assert_eq!(pairs(&restarted).await, expected);
    assert_eq!(restarted.count_ids_up_to(10).await.unwrap(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_row_is_reported_until_the_table_has_shown_whether_its_ids_started_anew() {
    let bench = TestBroker::new().await;
    let corrections = bench.corrections().await;
    append(&corrections, &[row(1), row(2), row(4)]).await;
    let in_order = async |rows: &[Row]| within(DEADLINE, corrections.append_in_order(rows)).await.unwrap();
    let late = Appended { late: vec![3], ..Appended::default() };
    assert_eq!(in_order(&[row(3)]).await, late);
    let late = Appended { stored: 1, late: vec![3, 6], ..Appended::default() };
    assert_eq!(in_order(&[row(5), row(3), row(6)]).await, late, "row 6 may be of the same series as row 3");
    assert_eq!(append(&corrections, &[row(3)]).await.stored, 1);
    assert_eq!(
        in_order(&[row(3), row(6)]).await,
        Appended { stored: 1, duplicates: 1, ..Appended::default() }
    );

    let late = Appended { late: vec![0], ..Appended::default() };
    assert_eq!(in_order(&[later_row(0)]).await, late);
    let begun = in_order(&[later_row(0), later_row(1), later_row(2)]).await;
    assert_eq!(begun, Appended { stored: 2, late: vec![0], series: 1, ..Appended::default() });
    append(&corrections, &[later_row(0)]).await;
    assert_eq!(corrections.kept(&[0]).await.unwrap()[0].number, number_in(0, 1).unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn no_row_is_late_in_a_column_of_texts_whatever_they_look_like() {
    let bench = TestBroker::new().await;
    let corrections = bench.corrections().await;
    for id in [9, 7] {
        let row = Row { text_id: Some(id.to_string().into()), ..row(id) };
        let stored = within(DEADLINE, corrections.append_in_order(&[row])).await.unwrap();
        assert_eq!(stored, Appended { stored: 1, ..Appended::default() });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replacement_that_was_read_before_another_one_was_stored_is_reported_again() {
    let bench = TestBroker::new().await;
    let one = bench.corrections().await;
    append(&one, &[row(1)]).await;
    let other = bench.corrections().await;
    let kept = within(DEADLINE, one.kept(&[1])).await.unwrap()[0];
    let newest = Row { typo: "newest".to_owned(), ..row(1) };
    assert_eq!(replace(&other, std::slice::from_ref(&newest)).await.changed, 1);
    let stale = Row { typo: "stale".to_owned(), ..row(1) };
    let late = within(DEADLINE, one.replace(&[(kept, stale)])).await.unwrap();
    assert_eq!(late, Appended { differing: vec![1], ..Appended::default() });
    assert_eq!(pairs(&one).await, [(1, "newest".to_owned())]);
    let removed = within(DEADLINE, one.remove(&[kept])).await.unwrap();
    assert_eq!(removed, 0, "a removal of the earlier text does not take place either");
}

#[tokio::test(flavor = "multi_thread")]
async fn racing_replacements_store_one_of_the_two() {
    let bench = TestBroker::new().await;
    let one = bench.corrections().await;
    append(&one, &rows(1..=200)).await;
    let streams = bench.another_worker().await;
    let other = within(DEADLINE, Corrections::open(&streams, "pairs")).await.unwrap();
    let ids: Vec<i64> = (1..=200).collect();
    let kept = within(DEADLINE, one.kept(&ids)).await.unwrap();
    let changed = |by: &str| -> Vec<_> {
        kept.iter().map(|kept| (*kept, Row { typo: format!("{by} {}", kept.id), ..row(kept.id) })).collect()
    };
    let (left, right) = (changed("left"), changed("right"));
    let both = Box::pin(futures::future::join(one.replace(&left), other.replace(&right)));
    let (a, b) = within(DEADLINE, both).await;
    let (a, b) = (a.unwrap(), b.unwrap());
    assert_eq!(a.changed + b.changed, 200);
    assert_eq!(a.differing.len() + b.differing.len(), 200);
    assert_eq!(one.last_sequence().await.unwrap(), 400);
    assert_eq!(pairs(&one).await, pairs(&other).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_whose_ids_start_anew_are_stored_beside_the_earlier_ones() {
    let bench = TestBroker::new().await;
    let corrections = bench.corrections().await;
    append(&corrections, &rows(1..=60)).await;
    let again: Vec<Row> = (1..=40).map(later_row).collect();
    let appended = append(&corrections, &again).await;
    assert_eq!(appended, Appended { stored: 40, series: 1, ..Appended::default() });
    let later = append(&corrections, &[later_row(61), row(3), later_row(3)]).await;
    assert_eq!(later, Appended { stored: 1, duplicates: 2, series: 1, ..Appended::default() });
    assert_eq!(corrections.series().await.unwrap(), 1);
    assert_eq!(pairs(&corrections).await.len(), 101);
    let newest = corrections.highest_number().await.unwrap();
    assert_eq!(newest, number_in(61, 1), "numbers ascend with time");
    let current = within(DEADLINE, corrections.kept_between(0, 1000)).await.unwrap();
    assert_eq!(current.len(), 41, "the rows of the current series");

    // A deletion of an id that only an earlier row has is about a row that was never seen here.
    let earlier = within(DEADLINE, corrections.kept(&[50])).await.unwrap();
    assert_eq!(within(DEADLINE, corrections.remove(&earlier)).await.unwrap(), 0);
    // Unless the table has shown the earlier row since.
    append(&corrections, &[row(50)]).await;
    assert_eq!(within(DEADLINE, corrections.remove(&earlier)).await.unwrap(), 1);
    assert_eq!(pairs(&corrections).await.len(), 100);
    append(&corrections, &[later_row(62)]).await;

    let restarted = bench.corrections().await;
    assert_eq!(append(&restarted, &again).await.duplicates, 40);
    assert_eq!(restarted.series().await.unwrap(), 1);
    let message = bench.connection.jetstream().get_stream("CORRECTIONS").await.unwrap().direct_get(61).await;
    let message = message.unwrap();
    assert_eq!(message.headers.get("Nats-Msg-Id").unwrap().as_str(), "pairs:1:s1");
    let body: serde_json::Value = serde_json::from_slice(&message.payload).unwrap();
    assert_eq!((body["id"].as_i64(), body["series"].as_i64()), (Some(1), Some(1)), "the id is the table's");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pair_whose_text_becomes_unfit_leaves_the_data_and_comes_back_when_it_is_mended() {
    let bench = TestBroker::new().await;
    let corrections = bench.corrections().await;
    append(&corrections, &rows(1..=2)).await;
    let unfit = Row { typo: " ".to_owned(), ..row(1) };
    let replaced = replace(&corrections, &[unfit]).await;
    assert_eq!(replaced, Appended { refused: 1, changed: 1, ..Appended::default() });
    assert_eq!(pairs(&corrections).await, [(2, row(2).typo)]);
    let quarantined = within(DEADLINE, corrections.quarantined(None)).await.unwrap();
    assert_eq!((quarantined[0].row.id, quarantined[0].refusal), (1, Refusal::Empty));
    replace(&corrections, &[row(1)]).await;
    assert_eq!(pairs(&corrections).await.len(), 2);
    assert!(within(DEADLINE, corrections.quarantined(None)).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_judged_anew_after_a_release() {
    let bench = TestBroker::new().await;
    let corrections = bench.corrections().await;
    append(&corrections, &[row(1)]).await;
    within(DEADLINE, corrections.vouch(&[&row(1)], Refusal::Conflict)).await.unwrap();
    assert_eq!(corrections.released().await.unwrap(), BTreeSet::from([1]));
    replace(&corrections, &[Row { corrected: "Kia".to_owned(), ..row(1) }]).await;
    assert!(corrections.released().await.unwrap().is_empty(), "the release was about another text");
    assert!(bench.corrections().await.released().await.unwrap().is_empty());
}

/// Returns true when any file below a folder holds these bytes.
fn holds_text(folder: &std::path::Path, text: &str) -> bool {
    std::fs::read_dir(folder).unwrap().any(|entry| {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => holds_text(&path, text),
            false => std::fs::read(&path)
                .unwrap_or_default()
                .windows(text.len())
                .any(|window| window == text.as_bytes()),
        }
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forgotten_row_leaves_no_text_anywhere_and_never_comes_back() {
    let bench = TestBroker::new().await;
    let corrections = bench.corrections().await;
    let personal = Row { typo: "John Q. Public".to_owned(), ..row(1) };
    append(&corrections, &[personal.clone(), row(2), row(3)]).await;
    let unfit = Row { corrected: "john q. public".to_owned(), ..personal.clone() };
    replace(&corrections, std::slice::from_ref(&unfit)).await;
    replace(&corrections, std::slice::from_ref(&personal)).await;
    assert!(holds_text(bench.folder.path(), "John Q. Public"));
    let ids = within(DEADLINE, corrections.numbers_of_typo(" JOHN q. public")).await.unwrap();
    assert_eq!(ids, [1]);

    let forgotten = within(DEADLINE, corrections.forget(&[1, 99], &[])).await.unwrap();
    assert_eq!((forgotten.numbers, forgotten.unknown, forgotten.messages), (vec![1], vec![99], 3));
    assert!(!holds_text(bench.folder.path(), "John Q. Public"));
    assert!(!holds_text(bench.folder.path(), "john q. public"));
    let tombstone = bench.connection.jetstream().get_stream("QUARANTINE").await.unwrap();
    let tombstone = tombstone.get_last_raw_message_by_subject("quarantine.dropped").await.unwrap();
    assert!(tombstone.payload.is_empty());

    for corrections in [&corrections, &bench.corrections().await] {
        let again = append(corrections, &[personal.clone(), unfit.clone(), row(99)]).await;
        assert_eq!(again, Appended { duplicates: 3, ..Appended::default() });
        assert_eq!(pairs(corrections).await, [(2, row(2).typo), (3, row(3).typo)]);
        assert_eq!(corrections.erased().await.unwrap(), BTreeSet::from([1, 99]));
        assert!(corrections.kept(&[1]).await.unwrap().is_empty());
    }
    // Another row may have the id later.
    assert_eq!(append(&corrections, &[later_row(1)]).await.stored, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erasure_that_was_interrupted_is_completed_by_the_next_worker() {
    let bench = TestBroker::new().await;
    let corrections = bench.corrections().await;
    append(&corrections, &rows(1..=20)).await;
    let ids: Vec<i64> = (1..=20).collect();
    // Dropped at every await in turn, as a crash would end it.
    for polls in 1_usize.. {
        let forgetting = corrections.forget(&ids, &[]);
        let mut forgetting = std::pin::pin!(forgetting);
        let mut left = polls;
        let done = within(
            DEADLINE,
            std::future::poll_fn(|context| {
                left -= 1;
                match forgetting.as_mut().poll(context) {
                    std::task::Poll::Ready(done) => std::task::Poll::Ready(Some(done)),
                    std::task::Poll::Pending if left == 0 => std::task::Poll::Ready(None),
                    std::task::Poll::Pending => std::task::Poll::Pending,
                }
            }),
        )
        .await;
        if done.is_some() {
            break;
        }
        let next = bench.corrections().await;
        // The broker may still be storing tombstones of the dropped call.
        let erased = loop {
            let erased = next.erased().await.unwrap();
            within(DEADLINE, next.complete_erasures()).await.unwrap();
            if next.erased().await.unwrap() == erased {
                break erased;
            }
        };
        for id in &ids {
            let text = format!("toyta {id}\"");
            assert_eq!(
                holds_text(bench.folder.path(), &text),
                !erased.contains(id),
                "row {id} after {polls} polls"
            );
        }
    }
    assert!(pairs(&corrections).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_an_earlier_version_stored_are_known_by_their_text() {
    let bench = TestBroker::new().await;
    let context = bench.connection.jetstream();
    for id in 1..=5 {
        let mut headers = async_nats::HeaderMap::new();
        headers.insert("Nats-Msg-Id", format!("pairs:{id}"));
        let body = serde_json::to_vec(&row(id)).unwrap();
        let stored = context.publish_with_headers("corrections.brand", headers, body.into()).await.unwrap();
        stored.await.unwrap();
    }
    let mut headers = async_nats::HeaderMap::new();
    headers.insert("Nats-Msg-Id", "pairs:6:dropped");
    headers.insert("Refusal", "burst");
    let stored = context.publish_with_headers("quarantine.dropped", headers, "".into()).await.unwrap();
    stored.await.unwrap();

    let corrections = bench.corrections().await;
    let changed = Row { typo: "totoya".to_owned(), ..row(2) };
    let appended = append(&corrections, &[row(1), changed, later_row(3), row(6), row(7)]).await;
    let expected =
        Appended { stored: 2, duplicates: 2, differing: vec![2], series: 1, ..Appended::default() };
    assert_eq!(appended, expected);
}
