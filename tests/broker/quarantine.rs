//! Rows that are kept out of training: their reasons, and a person's decisions about them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use autovalidate::broker::BrokerError;
use autovalidate::correction::{Refusal, Row};
use autovalidate::corrections::{Appended, BurstLimit, Decided, KnownNames, ScreeningRules};

use crate::support::DEADLINE;
use crate::support::broker::{TestBroker, row, rows};
use crate::support::within;

fn names(names: &[&str]) -> Option<Arc<KnownNames>> {
    Some(Arc::new(KnownNames::new(names.iter().map(|name| ("", *name)))))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_released_row_is_trained_on_and_never_quarantined_again() {
    let bench = TestBroker::new().await;
    let corrections = bench.corrections().await;
    corrections.set_screen(ScreeningRules { names: names(&["Toyota 2"]), burst: None }).await;
    let appended = within(DEADLINE, corrections.append(&rows(1..=3))).await.unwrap();
    assert_eq!(appended, Appended { stored: 1, duplicates: 0, refused: 2, ..Appended::default() });
    let quarantined = within(DEADLINE, corrections.quarantined(None)).await.unwrap();
    let found: Vec<_> = quarantined.iter().map(|kept| (kept.row.id, kept.refusal)).collect();
    assert_eq!(found, [(1, Refusal::NotInCatalog), (3, Refusal::NotInCatalog)]);

    assert_eq!(within(DEADLINE, corrections.release(&[&quarantined[0]])).await.unwrap(), [Decided::Released]);
    assert_eq!(
        within(DEADLINE, corrections.drop_quarantined(&[&quarantined[1]])).await.unwrap(),
        [Decided::Dropped]
    );
    // Repeating an interrupted command changes nothing.
    let other = bench.corrections().await;
    assert_eq!(within(DEADLINE, other.release(&[&quarantined[0]])).await.unwrap(), [Decided::Already]);
    within(DEADLINE, other.drop_quarantined(&[&quarantined[1]])).await.unwrap();
    assert!(within(DEADLINE, corrections.quarantined(None)).await.unwrap().is_empty());
    assert_eq!(corrections.quarantined_counts().await.unwrap(), BTreeMap::new());

    let snapshot = within(DEADLINE, corrections.snapshot(u64::MAX)).await.unwrap();
    assert_eq!(snapshot.rows.iter().map(|row| row.id).collect::<Vec<_>>(), [2, 1]);
    assert_eq!(snapshot.released, [1].into());

    // Neither row comes back with the next sweep or after a restart.
    let reopened = bench.corrections().await;
    reopened.set_screen(ScreeningRules { names: names(&["nothing"]), burst: None }).await;
    let again = within(DEADLINE, reopened.append(&rows(1..=3))).await.unwrap();
    assert_eq!(again, Appended { stored: 0, duplicates: 3, refused: 0, ..Appended::default() });
    assert_eq!(reopened.count_ids_up_to(3).await.unwrap(), 2, "an erased row does not count");
    assert_eq!(reopened.missing(&[1, 2, 3, 4]).await.unwrap(), [4]);
}

/// A command that is killed after it has stored a pair leaves the row in quarantine, where nobody lists
/// it.
#[tokio::test(flavor = "multi_thread")]
async fn the_rest_of_an_interrupted_release_is_removed_and_no_other_row() {
    let bench = TestBroker::new().await;
    let corrections = bench.corrections().await;
    corrections.set_screen(ScreeningRules { names: names(&["nothing"]), burst: None }).await;
    within(DEADLINE, corrections.append(&rows(1..=3))).await.unwrap();
    within(DEADLINE, corrections.vouch(&[&row(2)], Refusal::NotInCatalog)).await.unwrap();
    let count = async || corrections.quarantined_counts().await.unwrap()[&Refusal::NotInCatalog];
    assert_eq!(count().await, 3);
    for expected in [1, 0] {
        assert_eq!(within(DEADLINE, corrections.complete_releases()).await.unwrap(), expected);
        assert_eq!(count().await, 2);
    }
    let kept = within(DEADLINE, corrections.quarantined(None)).await.unwrap();
    assert_eq!(kept.iter().map(|kept| kept.row.id).collect::<Vec<_>>(), [1, 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_without_anything_to_learn_can_not_be_released() {
    let bench = TestBroker::new().await;
    let corrections = bench.corrections().await;
    corrections.set_screen(ScreeningRules { names: names(&["nothing"]), burst: None }).await;
    within(DEADLINE, corrections.append(&[Row { typo: " ".into(), ..row(1) }, row(2)])).await.unwrap();
    let all = within(DEADLINE, corrections.quarantined(None)).await.unwrap();
    let both = [&all[1], &all[0]];
    assert!(within(DEADLINE, corrections.release(&both)).await.is_err());
    assert_eq!(corrections.last_sequence().await.unwrap(), 0, "neither is released");
    let quarantined = within(DEADLINE, corrections.quarantined(Some(Refusal::Empty))).await.unwrap();
    let error = within(DEADLINE, corrections.release(&[&quarantined[0]])).await.unwrap_err();
    assert!(matches!(error, BrokerError::NotReleasable { refusal: Refusal::Empty }), "{error:?}");
    assert!(within(DEADLINE, corrections.quarantined(Some(Refusal::Burst))).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_burst_is_cut_and_a_restarted_worker_remembers_what_is_usual() {
    let bench = TestBroker::new().await;
    let dated =
        |id: i64, minute: i64| Row { created_at: Some(format!("2026-01-01T00:{minute:02}:00Z")), ..row(id) };
    let burst = Some(BurstLimit { factor: 5, floor: 10, after_minutes: 3 });
    let corrections = bench.corrections().await;
    corrections.set_screen(ScreeningRules { names: None, burst }).await;
    let usual: Vec<_> = (0..40).map(|id| dated(id, id / 4)).collect();
    assert_eq!(within(DEADLINE, corrections.append(&usual)).await.unwrap().stored, 40);
    within(DEADLINE, corrections.swept(Duration::ZERO)).await.unwrap();

    let restarted = bench.corrections().await;
    restarted.set_screen(ScreeningRules { names: None, burst }).await;
    let flood: Vec<_> = (100..200).map(|id| dated(id, 30)).collect();
    let appended = within(DEADLINE, restarted.append(&flood)).await.unwrap();
    assert_eq!(appended, Appended { stored: 20, duplicates: 0, refused: 80, ..Appended::default() });
    let next: Vec<_> = (200..204).map(|id| dated(id, 31)).collect();
    assert_eq!(within(DEADLINE, corrections.append(&next)).await.unwrap().stored, 4);
    assert_eq!(corrections.quarantined_counts().await.unwrap(), BTreeMap::from([(Refusal::Burst, 80)]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pair_that_lost_its_majority_can_be_dropped_or_vouched_for() {
    let bench = TestBroker::new().await;
    let corrections = bench.corrections().await;
    within(DEADLINE, corrections.append(&rows(1..=2))).await.unwrap();
    within(DEADLINE, corrections.drop_pairs(&[1], Refusal::Conflict)).await.unwrap();
    assert_eq!(
        within(DEADLINE, corrections.vouch(&[&row(2)], Refusal::Conflict)).await.unwrap(),
        [Decided::Released]
    );
    assert_eq!(
        within(DEADLINE, corrections.vouch(&[&row(2)], Refusal::Conflict)).await.unwrap(),
        [Decided::Already]
    );
    let snapshot = within(DEADLINE, corrections.snapshot(u64::MAX)).await.unwrap();
    assert_eq!(snapshot.rows.iter().map(|row| row.id).collect::<Vec<_>>(), [2]);
    assert_eq!(snapshot.released, [2].into());
    let again = within(DEADLINE, bench.corrections().await.append(&rows(1..=2))).await.unwrap();
    assert_eq!(again.duplicates, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_sees_releases_and_drops_rows_on_the_command_line() {
    let bench = TestBroker::new().await;
    let corrections = bench.corrections().await;
    corrections.set_screen(ScreeningRules { names: names(&["Toyota 2", "Toyota 4"]), burst: None }).await;
    let outvoted = Row { typo: "toyta 2".into(), corrected: "Toyota 4".into(), ..row(4) };
    let again = |id: i64| Row { id, ..row(2) };
    let mut batch = rows(1..=3);
    batch.extend([outvoted, again(6), again(8)]);
    within(DEADLINE, corrections.append(&batch)).await.unwrap();

    let run = async |arguments: &[&str]| {
        let output = bench.command(&[&["quarantine"], arguments].concat()).await;
        (
            output.status.success(),
            serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap_or_default(),
        )
    };
    let (_, listed) = run(&["list", "--json"]).await;
    let expected = serde_json::json!([
        {"id": 1, "reason": "not-in-catalogue"}, {"id": 3, "reason": "not-in-catalogue"},
        {"id": 4, "reason": "conflict"},
    ]);
    assert_eq!(listed, expected);
    let (_, shown) = run(&["show", "3", "--json"]).await;
    assert_eq!(shown["row"]["corrected"], "Toyota 3");
    assert!(run(&["release", "1"]).await.0 && run(&["drop", "3", "4"]).await.0);
    assert_eq!(run(&["list", "--json"]).await.1, serde_json::json!([]));
    assert!(!run(&["release", "1"]).await.0, "the row is no longer in quarantine");
    let snapshot = within(DEADLINE, corrections.snapshot(u64::MAX)).await.unwrap();
    assert_eq!(snapshot.rows.iter().map(|row| row.id).collect::<Vec<_>>(), [2, 6, 8, 1]);
}
