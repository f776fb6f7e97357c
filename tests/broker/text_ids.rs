//! Rows whose ids are texts: stored, changed, erased, and inserted again.

use autovalidate::correction::{Refusal, Row};
use autovalidate::corrections::{Appended, Corrections};
use autovalidate::row_identity::{RowId, id_of, number_in};
use futures::StreamExt;

use crate::support::DEADLINE;
use crate::support::broker::{TestBroker, row};
use crate::support::within;

const UUID: &str = "3f1c0c1e-5b1f-4b0a-8a0e-9d5e1f2a7c66";
const ODD: &str = "  jörg \"x\", 50%  ";

fn text_row(text: &str) -> Row {
    row(1).with_id(&RowId::of_text(text).unwrap())
}

async fn append(corrections: &Corrections, rows: &[Row]) -> Appended {
    within(DEADLINE, corrections.append(rows)).await.unwrap()
}

/// Returns the rows of a dataset.
async fn pairs(corrections: &Corrections) -> Vec<Row> {
    let snapshot = within(DEADLINE, corrections.snapshot(u64::MAX)).await.unwrap();
    snapshot.rows.iter().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_stored_once_changed_and_known_by_their_texts_after_a_restart() {
    let bench = TestBroker::new().await;
    let corrections = bench.corrections().await;
    let rows = [text_row(UUID), text_row(ODD), text_row("7")];
    assert_eq!(append(&corrections, &rows).await.stored, 3);
    assert_eq!(append(&corrections, &rows).await.duplicates, 3);
    let changed = Row { typo: "totoya".to_owned(), ..text_row(ODD) };
    assert_eq!(append(&corrections, std::slice::from_ref(&changed)).await.differing, [changed.id]);
    let kept = within(DEADLINE, corrections.kept(&[changed.id])).await.unwrap();
    let replaced = within(DEADLINE, corrections.replace(&[(kept[0], changed.clone())])).await.unwrap();
    assert_eq!((replaced.changed, replaced.series), (1, 0));

    let restarted = bench.corrections().await;
    assert_eq!(append(&restarted, &[text_row(UUID), changed.clone()]).await.duplicates, 2);
    assert_eq!(pairs(&restarted).await, [text_row(UUID), text_row("7"), changed]);
    let ids = within(DEADLINE, restarted.text_ids_after(i64::MIN, 10)).await.unwrap();
    let mut expected = [UUID, ODD, "7"].map(|text| RowId::of_text(text).unwrap());
    expected.sort();
    assert_eq!(
        ids.iter().map(|kept| kept.id.text()).collect::<Vec<_>>(),
        expected.iter().map(RowId::text).collect::<Vec<_>>()
    );
    let later = within(DEADLINE, restarted.text_ids_after(ids[0].id.number(), 1)).await.unwrap();
    assert_eq!(later, ids[1..2]);
    assert_eq!(restarted.count_ids_up_to(i64::MAX).await.unwrap(), 3);
    assert!(within(DEADLINE, restarted.missing(&[text_row(UUID).id])).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erased_row_leaves_neither_text_nor_id_and_may_be_inserted_again() {
    let bench = TestBroker::new().await;
    let corrections = bench.corrections().await;
    let (gone, stays) = (text_row("anna@example.org"), text_row(UUID));
    append(&corrections, &[gone.clone(), stays.clone()]).await;
    let kept = within(DEADLINE, corrections.kept(&[gone.id])).await.unwrap();
    assert_eq!(within(DEADLINE, corrections.remove(&kept)).await.unwrap(), 1);
    within(DEADLINE, corrections.complete_erasures()).await.unwrap();
    assert_eq!(append(&corrections, std::slice::from_ref(&gone)).await.duplicates, 1, "no copy comes back");
    assert_eq!(pairs(&corrections).await, std::slice::from_ref(&stays));
    for stream in ["CORRECTIONS", "QUARANTINE"] {
        let contents = contents(&bench, stream).await;
        assert!(!contents.contains("anna@example.org"), "{contents}");
    }

    let restarted = bench.corrections().await;
    let again = Row { created_at: Some("2027-01-01T00:00:00Z".to_owned()), ..gone.clone() };
    let appended = append(&restarted, std::slice::from_ref(&again)).await;
    assert_eq!((appended.stored, appended.series), (1, 0), "the ids of the table have not started anew");
    let number = number_in(gone.id, 1).unwrap();
    assert_eq!(pairs(&restarted).await, [stays, Row { id: number, ..again.clone() }]);
    assert_eq!(id_of(number), gone.id);
    let forgotten = within(DEADLINE, restarted.forget(&[gone.id], &[])).await.unwrap();
    assert_eq!((forgotten.numbers, forgotten.messages), (vec![number], 1));
    assert_eq!(append(&bench.corrections().await, &[again, gone]).await.duplicates, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_is_refused_and_released_keeps_its_text() {
    let bench = TestBroker::new().await;
    let corrections = bench.corrections().await;
    let id = RowId::of_text(ODD).unwrap();
    assert_eq!(within(DEADLINE, corrections.refuse(&id, Refusal::TooLong)).await.unwrap().refused, 1);
    let quarantined = within(DEADLINE, corrections.quarantined(None)).await.unwrap();
    assert_eq!(quarantined[0].row.row_id().to_string(), ODD);

    let row = text_row(UUID);
    append(&corrections, std::slice::from_ref(&row)).await;
    within(DEADLINE, corrections.vouch(&[&row], Refusal::Conflict)).await.unwrap();
    let restarted = bench.corrections().await;
    assert_eq!(
        within(DEADLINE, restarted.released()).await.unwrap().into_iter().collect::<Vec<_>>(),
        [row.id]
    );
    let ids = within(DEADLINE, restarted.row_ids(&[row.id, id.number(), 5])).await.unwrap();
    assert_eq!(ids.iter().map(RowId::to_string).collect::<Vec<_>>(), [UUID, ODD, "5"]);
}

/// Returns the headers and bodies of every message of a stream.
async fn contents(bench: &TestBroker, name: &str) -> String {
    use async_nats::jetstream::consumer::pull::OrderedConfig;
    let stream = bench.streams.connection().jetstream().get_stream(name).await.unwrap();
    let count = stream.cached_info().state.messages;
    let messages = stream.create_consumer(OrderedConfig::default()).await.unwrap().messages().await.unwrap();
    let mut messages = Box::pin(messages.take(usize::try_from(count).unwrap()));
    let mut all = String::new();
    while let Some(message) = within(DEADLINE, messages.next()).await {
        let message = message.unwrap();
        all.push_str(&format!("{:?} {}\n", message.headers, String::from_utf8_lossy(&message.payload)));
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_take_and_print_the_texts() {
    let bench = TestBroker::new().await;
    let corrections = bench.corrections().await;
    let unfit = Row { typo: " ".to_owned(), ..text_row(ODD) };
    append(&corrections, &[text_row(UUID), unfit]).await;
    let run = async |arguments: &[&str]| {
        let output = bench.command(arguments).await;
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let json = async |arguments: &[&str]| -> serde_json::Value {
        serde_json::from_str(&run(arguments).await).unwrap()
    };
    assert_eq!(json(&["quarantine", "list", "--json"]).await[0]["id"], ODD);
    assert!(run(&["quarantine", "show", ODD]).await.contains("empty"));
    let upper = UUID.to_uppercase();
    let listed = json(&["forget", &upper, "--dry-run", "--json"]).await;
    assert_eq!(listed, serde_json::json!([upper]));
    assert!(
        run(&["forget", "--where-typo", &text_row(UUID).typo]).await.contains(&format!("row {UUID}: erased"))
    );
    assert!(run(&["forget", ODD, "unknown"]).await.contains("row unknown: was not stored, and will not be"));
    assert!(pairs(&corrections).await.is_empty());
    assert_eq!(append(&corrections, &[text_row("unknown")]).await.duplicates, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_is_inserted_again_replaces_the_one_that_had_its_id() {
    let bench = TestBroker::new().await;
    let corrections = bench.corrections().await;
    let (first, other) = (text_row("form-7"), text_row("8"));
    append(&corrections, &[first.clone(), other.clone()]).await;
    let second = Row {
        typo: "hunday".to_owned(),
        created_at: Some("2027-01-01T00:00:00Z".to_owned()),
        ..first.clone()
    };
    append(&corrections, std::slice::from_ref(&second)).await;
    within(DEADLINE, corrections.complete_erasures()).await.unwrap();
    let number = number_in(first.id, 1).unwrap();
    assert_eq!(pairs(&corrections).await, [other.clone(), Row { id: number, ..second.clone() }]);
    for corrections in [corrections, bench.corrections().await] {
        assert_eq!(append(&corrections, &[first.clone(), second.clone()]).await.duplicates, 2);
        let ids = within(DEADLINE, corrections.text_ids_after(i64::MIN, 9)).await.unwrap();
        assert_eq!(ids.iter().filter_map(|kept| kept.id.text()).collect::<Vec<_>>(), ["form-7", "8"]);
    }
    // Digits that are inserted again say nothing of the others: their deletion is followed.
    let corrections = bench.corrections().await;
    let seven = Row { created_at: Some("2027-01-01T00:00:00Z".to_owned()), ..text_row("7") };
    append(&corrections, &[text_row("7"), seven]).await;
    append(&corrections, &[Row { created_at: Some("2028-01-01T00:00:00Z".to_owned()), ..text_row("7") }])
        .await;
    let kept = within(DEADLINE, corrections.kept(&[other.id])).await.unwrap();
    assert_eq!(within(DEADLINE, corrections.remove(&kept)).await.unwrap(), 1);
}
