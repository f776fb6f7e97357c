//! Bursts: rows that came far faster than usual, and backlogs that only look like it.

use std::time::Duration;

use autovalidate::correction::{Refusal, Row};
use autovalidate::corrections::{Appended, Corrections, Quarantined, ScreeningRules};
use jiff::Timestamp;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::support::DEADLINE;
use crate::support::broker::{TestBroker, row};
use crate::support::crash::crash_at;
use crate::support::within;

/// Form in which the table writes times.
const FORM: &str = "%Y-%m-%dT%H:%M:%S.%6f+00:00";

/// Number of rows that waited while the worker was away.
const BACKLOG: usize = 2_000;

fn dated(id: i64, minutes_ago: i64, form: &str) -> Row {
    let at = Timestamp::now() - Duration::from_secs(60) * u32::try_from(minutes_ago).unwrap();
    Row { created_at: Some(at.strftime(form).to_string()), ..row(id) }
}

/// Returns a worker that has read a table of 200 rows over forty minutes, four days ago, to its end,
/// and was started again.
async fn restarted(bench: &TestBroker) -> Corrections {
    let corrections = bench.corrections().await;
    screen(&corrections).await;
    let known: Vec<_> = (0..200).map(|id| dated(id, 5_760 - id / 5, FORM)).collect();
    assert_eq!(within(DEADLINE, corrections.append(&known)).await.unwrap().stored, 200);
    within(DEADLINE, corrections.swept(Duration::ZERO)).await.unwrap();
    let restarted = bench.corrections().await;
    screen(&restarted).await;
    restarted
}

async fn screen(corrections: &Corrections) {
    let burst = Some(autovalidate::corrections::BurstLimit::default());
    corrections.set_screen(ScreeningRules { names: None, burst }).await;
}

async fn append(corrections: &Corrections, rows: &[Row]) -> Appended {
    let mut all = Appended::default();
    for page in rows.chunks(1_000) {
        let appended = within(DEADLINE, corrections.append(page)).await.unwrap();
        all.stored += appended.stored;
        all.refused += appended.refused;
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_waited_while_the_worker_was_away_are_no_burst() {
    let ids = 1_000..1_000 + i64::try_from(BACKLOG).unwrap();
    for form in ["%Y-%m-%dT%H:%M:%S.%6f", "%Y-%m-%dT%H:%M:%S+00:00", "%Y-%m-%d %H:%M:%S+00", "yesterday"] {
        let bench = TestBroker::new().await;
        let corrections = restarted(&bench).await;
        let mut backlog: Vec<_> = ids.clone().map(|id| dated(id, 400 - (id - 1_000) / 5, form)).collect();
        backlog[0].created_at = Some("9999-01-01T00:00:00Z".to_owned());
        backlog[1].created_at = None;
        let appended = append(&corrections, &backlog).await;
        assert_eq!((appended.stored, appended.refused), (BACKLOG, 0), "{form}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_of_one_moment_is_released_or_dropped_in_one_line() {
    let bench = TestBroker::new().await;
    let corrections = restarted(&bench).await;
    let rows: Vec<_> = (1_000..1_500).map(|id| dated(id, 20, FORM)).collect();
    assert_eq!(append(&corrections, &rows).await.refused, 200);
    let flood: Vec<_> = (5_000..5_400).map(|id| dated(id, 5, FORM)).collect();
    assert_eq!(append(&corrections, &flood).await.refused, 100);

    let run = async |arguments: &[&str]| {
        let output = bench.command(&[&["quarantine"], arguments].concat()).await;
        (output.status.success(), String::from_utf8(output.stdout).unwrap())
    };
    let (_, listed) = run(&["list", "--reason", "burst", "--json"]).await;
    let listed: Vec<serde_json::Value> = serde_json::from_str(&listed).unwrap();
    assert_eq!(listed.len(), 300);
    let id = |row: i64| {
        let row = listed.iter().find(|listed| listed["id"] == row).unwrap();
        row["burst"].as_str().unwrap().to_owned()
    };
    let (import, flood) = (id(1_400), id(5_350));
    assert_ne!(import, flood);
    let (_, shown) = run(&["list", "--burst", &flood]).await;
    assert!(shown.contains(&format!("burst {flood}: 100 rows")), "{shown}");
    assert!(!run(&["release", "--burst", "2001-01-01T00:00Z"]).await.0, "there is no such burst");
    assert!(!run(&["release", "--burst", "yesterday"]).await.0);

    let (done, released) = run(&["release", "--burst", &import]).await;
    assert!(done && released.contains("200 rows"), "{released}");
    assert!(run(&["drop", "--burst", &flood]).await.0);
    assert!(within(DEADLINE, corrections.quarantined(None)).await.unwrap().is_empty());
    let snapshot = within(DEADLINE, corrections.snapshot(u64::MAX)).await.unwrap();
    assert_eq!(snapshot.rows.len(), 200 + 500 + 300);
    assert_eq!(snapshot.released, (1_300..1_500).collect());
}

/// Decides about a burst of 2,000 rows by commands that are killed at any await and run again. Returns
/// the number of rows that each command found in quarantine.
async fn decide_by_killed_commands(bench: &TestBroker, release: bool, seed: u64) -> Vec<usize> {
    let mut draw = ChaCha8Rng::seed_from_u64(seed);
    let mut found = Vec::new();
    loop {
        let command = bench.corrections().await;
        within(DEADLINE, command.complete_releases()).await.unwrap();
        within(DEADLINE, command.complete_erasures()).await.unwrap();
        let kept = within(DEADLINE, command.quarantined(Some(Refusal::Burst))).await.unwrap();
        found.push(kept.len());
        let kept: Vec<&Quarantined> = kept.iter().collect();
        let point = draw.random_range(0..500);
        let done = match release {
            true => within(DEADLINE, crash_at(point, command.release(&kept))).await,
            false => within(DEADLINE, crash_at(point, command.drop_quarantined(&kept))).await,
        };
        if let Some(done) = done {
            assert_eq!(done.unwrap().len(), kept.len());
            return found;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_burst_is_decided_about_once_however_often_the_command_is_killed() {
    for release in [true, false] {
        let bench = TestBroker::quick().await;
        let corrections = restarted(&bench).await;
        let import: Vec<_> = (1_000..3_300).map(|id| dated(id, 20, FORM)).collect();
        assert_eq!(append(&corrections, &import).await.refused, 2_000);
        let found = decide_by_killed_commands(&bench, release, 7).await;
        assert!(found.iter().filter(|count| (1..2_000).contains(*count)).count() > 2, "{found:?}");

        assert!(within(DEADLINE, corrections.quarantined_counts()).await.unwrap().is_empty());
        let snapshot = within(DEADLINE, corrections.snapshot(u64::MAX)).await.unwrap();
        let erased = within(DEADLINE, corrections.erased()).await.unwrap();
        let decided: std::collections::BTreeSet<i64> = (1_300..3_300).collect();
        if release {
            assert_eq!((snapshot.rows.len(), erased.len()), (200 + 2_300, 0));
            assert_eq!(snapshot.released, decided);
            assert_eq!(corrections.count_after(0).await.unwrap(), 200 + 2_300, "each row is released once");
        } else {
            assert_eq!((snapshot.rows.len(), snapshot.released.len()), (200 + 300, 0));
            assert_eq!(erased, decided);
        }
    }
}
