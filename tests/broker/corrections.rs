//! Each pair is stored once, permanently, and in order.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use autovalidate::broker::{Broker, BrokerError, Connection, StreamSettings, Streams};
use autovalidate::correction::{Refusal, Row};
use autovalidate::corrections::{Appended, Corrections, REFUSAL_HEADER, SHORTENED_HEADER};
use futures::StreamExt;

use crate::support::DEADLINE;
use crate::support::broker::{TestBroker, row, rows};
use crate::support::within;

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_sent_twice_is_kept_once() {
    let bench = TestBroker::new().await;
    let corrections = bench.corrections().await;
    let batch = rows(1..=1500);
    let first = within(DEADLINE, corrections.append(&batch)).await.unwrap();
    assert_eq!(first, Appended { stored: 1500, duplicates: 0, refused: 0, ..Appended::default() });
    let again = within(DEADLINE, corrections.append(&batch)).await.unwrap();
    assert_eq!(again, Appended { stored: 0, duplicates: 1500, refused: 0, ..Appended::default() });
    let twice_in_one = within(DEADLINE, corrections.append(&[row(1501), row(1501)])).await.unwrap();
    assert_eq!(twice_in_one, Appended { stored: 1, duplicates: 1, refused: 0, ..Appended::default() });
    assert_eq!(corrections.last_sequence().await.unwrap(), 1501);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ledger_refuses_what_the_brokers_window_has_forgotten() {
    // The window is short, so that the broker forgets the ids before the second append.
    let window = Duration::from_millis(100);
    let settings = StreamSettings { duplicate_window: window, ..StreamSettings::default() };
    let bench = TestBroker::with(settings).await;
    let corrections = bench.corrections().await;
    let batch = rows([3, 1, 7]);
    within(DEADLINE, corrections.append(&batch)).await.unwrap();
    drop(corrections);

    window_passes(&bench).await;
    let reopened = bench.corrections().await;
    let again = within(DEADLINE, reopened.append(&batch)).await.unwrap();
    assert_eq!(again, Appended { stored: 0, duplicates: 3, refused: 0, ..Appended::default() });
    assert_eq!(reopened.highest_number().await.unwrap(), Some(7));
}

/// Waits until the broker stores a repeated message id: by then it has forgotten all earlier ids.
async fn window_passes(bench: &TestBroker) {
    let foreign = || async {
        let mut headers = async_nats::HeaderMap::new();
        headers.insert("Nats-Msg-Id", "another_table:1");
        let context = bench.connection.jetstream();
        context.publish_with_headers("corrections.brand", headers, "x".into()).await.unwrap().await.unwrap()
    };
    within(DEADLINE, async {
        foreign().await;
        while foreign().await.duplicate {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_workers_keep_a_row_once() {
    let settings =
        StreamSettings { duplicate_window: Duration::from_millis(100), ..StreamSettings::default() };
    let bench = TestBroker::with(settings).await;
    let one = bench.corrections().await;
    let other = bench.corrections().await;
    within(DEADLINE, one.append(&rows(1..=10))).await.unwrap();
    window_passes(&bench).await;
    // The other worker read its ledger earlier, so it must learn of these rows without the broker's
    // window.
    let late = within(DEADLINE, other.append(&rows(5..=12))).await.unwrap();
    assert_eq!(late.stored, 2);
    assert_eq!(late.duplicates, 6);
    assert_eq!(one.highest_number().await.unwrap(), Some(12));
}

#[tokio::test(flavor = "multi_thread")]
async fn racing_appends_keep_a_row_once() {
    let bench = TestBroker::new().await;
    let one = bench.corrections().await;
    let streams = bench.another_worker().await;
    let other = within(DEADLINE, Corrections::open(&streams, "pairs")).await.unwrap();
    let batch = rows(1..=400);
    let both = Box::pin(futures::future::join(one.append(&batch), other.append(&batch)));
    let (a, b) = within(DEADLINE, both).await;
    let (a, b) = (a.unwrap(), b.unwrap());
    assert_eq!(a.stored + b.stored, 400);
    assert_eq!(a.duplicates + b.duplicates, 400);
    assert_eq!(one.last_sequence().await.unwrap(), 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_rows_are_quarantined_with_the_reason_and_not_counted() {
    let bench = TestBroker::new().await;
    let corrections = bench.corrections().await;
    let empty = Row { typo: " ".into(), ..row(2) };
    let unchanged = Row { corrected: "TOYTA 3".into(), ..row(3) };
    let also_unchanged = Row { corrected: "TOYTA 4".into(), ..row(4) };
    let batch = [row(1), empty.clone(), unchanged, also_unchanged];
    let appended = within(DEADLINE, corrections.append(&batch)).await.unwrap();
    assert_eq!(appended, Appended { stored: 1, duplicates: 0, refused: 3, ..Appended::default() });

    let counts = corrections.quarantined_counts().await.unwrap();
    assert_eq!(counts, BTreeMap::from([(Refusal::Empty, 1), (Refusal::Unchanged, 2)]));
    assert_eq!(corrections.count_after(0).await.unwrap(), 1);
    assert_eq!(corrections.highest_number().await.unwrap(), Some(4), "a sweep continues after refused rows");

    let stream = bench.connection.jetstream().get_stream("QUARANTINE").await.unwrap();
    let message = stream.direct_get(1).await.unwrap();
    assert_eq!(message.subject.as_str(), "quarantine.empty");
    assert_eq!(message.headers.get(REFUSAL_HEADER).unwrap().as_str(), "empty");
    assert_eq!(message.headers.get("Nats-Msg-Id").unwrap().as_str(), "pairs:2");
    assert_eq!(serde_json::from_slice::<Row>(&message.payload).unwrap(), empty);

    let again = within(DEADLINE, bench.corrections().await.append(&batch)).await.unwrap();
    assert_eq!(again, Appended { stored: 0, duplicates: 4, refused: 0, ..Appended::default() });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_is_what_was_appended_up_to_its_sequence() {
    let bench = TestBroker::new().await;
    let corrections = bench.corrections().await;
    assert!(within(DEADLINE, corrections.snapshot(u64::MAX)).await.unwrap().rows.is_empty());
    let batch = rows((1..=3000).rev());
    within(DEADLINE, corrections.append(&batch)).await.unwrap();

    let whole = within(DEADLINE, corrections.snapshot(3000)).await.unwrap();
    assert_eq!(whole.rows, batch.clone().into());
    assert_eq!(whole.malformed, 0);
    let part = within(DEADLINE, corrections.snapshot(700)).await.unwrap();
    assert_eq!(part.rows, batch[..700].to_vec().into());
    let all = within(DEADLINE, corrections.snapshot(u64::MAX)).await.unwrap();
    assert_eq!(all, whole);

    // An operator deletes single messages, including the last one.
    let stream = bench.connection.jetstream().get_stream("CORRECTIONS").await.unwrap();
    for sequence in [10, 2999, 3000] {
        stream.delete_message(sequence).await.unwrap();
    }
    let holed = within(DEADLINE, corrections.snapshot(3000)).await.unwrap();
    assert_eq!(holed.rows.len(), 2997);
    assert_eq!(corrections.count_after(9).await.unwrap(), 2988);
    assert_eq!(corrections.count_after(2998).await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn foreign_messages_are_skipped_and_counted() {
    let bench = TestBroker::new().await;
    let corrections = bench.corrections().await;
    within(DEADLINE, corrections.append(&rows([1]))).await.unwrap();
    let unchanged = r#"{"id":9,"typo":"Audi","corrected":"audi","domain":"brand"}"#;
    for body in ["{", "", "[1]", r#"{"typo":"no id"}"#, unchanged] {
        let context = bench.connection.jetstream();
        context.publish("corrections.brand", body.into()).await.unwrap().await.unwrap();
    }
    within(DEADLINE, corrections.append(&rows([2]))).await.unwrap();
    let snapshot = within(DEADLINE, corrections.snapshot(u64::MAX)).await.unwrap();
    assert_eq!(snapshot.malformed, 5);
    assert_eq!(snapshot.rows, rows([1, 2]).into());
}

#[tokio::test(flavor = "multi_thread")]
async fn domains_become_subjects_that_nothing_can_break_out_of() {
    let bench = TestBroker::new().await;
    let corrections = bench.corrections().await;
    let mut all = bench.listen("corrections.>").await;
    let odd = Row { domain: "Brand.> *\r\n".into(), ..row(1) };
    within(DEADLINE, corrections.append(&[odd])).await.unwrap();
    let message = within(DEADLINE, all.next()).await.unwrap();
    assert_eq!(message.subject.as_str().split('.').count(), 2);
    assert_eq!(corrections.count_after(0).await.unwrap(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_too_large_for_a_message_holds_up_nothing() {
    let bench = TestBroker::new().await;
    let corrections = bench.corrections().await;
    let huge = "\u{1}x".repeat(2_000_000);
    let batch = [Row { typo: huge.clone(), ..row(1) }, Row { domain: huge, ..row(2) }, row(3)];
    let appended = within(DEADLINE, corrections.append(&batch)).await.unwrap();
    assert_eq!(appended, Appended { stored: 1, duplicates: 0, refused: 2, ..Appended::default() });
    let snapshot = within(DEADLINE, corrections.snapshot(u64::MAX)).await.unwrap();
    assert_eq!(snapshot.rows.iter().map(|row| row.id).collect::<Vec<_>>(), [3]);
    let stream = bench.connection.jetstream().get_stream("QUARANTINE").await.unwrap();
    assert!(stream.direct_get(1).await.unwrap().headers.get(SHORTENED_HEADER).is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_name_that_would_break_a_header_is_refused() {
    let bench = TestBroker::new().await;
    for table in ["", "pairs\r\nX: y"] {
        let error = within(DEADLINE, Corrections::open(&bench.streams, table)).await.unwrap_err();
        assert!(matches!(error, BrokerError::InvalidTable), "{error:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn arrivals_are_dated_by_the_first_and_the_last() {
    let bench = TestBroker::new().await;
    let corrections = bench.corrections().await;
    let none = corrections.arrivals_after(0).await.unwrap();
    assert_eq!((none.count, none.oldest_at, none.newest_at), (0, None, None));
    within(DEADLINE, corrections.append(&rows(1..=3))).await.unwrap();
    let after_one = corrections.arrivals_after(1).await.unwrap();
    assert_eq!((after_one.count, after_one.last_sequence), (2, 3));
    assert!(after_one.oldest_at.unwrap() <= after_one.newest_at.unwrap());
    assert_eq!(corrections.arrivals_after(3).await.unwrap().count, 0);
    assert_eq!(corrections.arrivals_after(99).await.unwrap().count, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_lost_by_the_broker_can_be_appended_again() {
    let bench = TestBroker::new().await;
    let corrections = bench.corrections().await;
    within(DEADLINE, corrections.append(&rows(1..=5))).await.unwrap();
    bench.connection.jetstream().delete_stream("CORRECTIONS").await.unwrap();
    let streams: Result<Streams, BrokerError> =
        Streams::ensure(&bench.connection, &StreamSettings::default()).await;
    streams.unwrap();
    let again = within(DEADLINE, corrections.append(&rows(1..=5))).await.unwrap();
    assert_eq!(again.stored, 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_setting_that_somebody_changed_is_put_right_and_foreign_ones_stay() {
    let bench = TestBroker::new().await;
    let context = bench.connection.jetstream();
    let mut config = context.get_stream("CORRECTIONS").await.unwrap().cached_info().config.clone();
    config.max_age = Duration::from_secs(3600);
    config.description = Some("ours".into());
    context.update_stream(config).await.unwrap();
    ensure_again(&bench.connection).await.unwrap();
    let config = context.get_stream("CORRECTIONS").await.unwrap().cached_info().config.clone();
    assert_eq!(config.max_age, Duration::ZERO, "pairs are kept forever");
    assert_eq!(config.description.as_deref(), Some("ours"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_stream_in_the_way_needs_a_person() {
    use autovalidate::failure::{Failure, RetryDirective};
    let bench = TestBroker::new().await;
    let context = bench.connection.jetstream();
    context.delete_stream("TRAINING").await.unwrap();
    let foreign = async_nats::jetstream::stream::Config {
        name: "FOREIGN".into(),
        subjects: vec!["training.jobs".into()],
        ..Default::default()
    };
    context.create_stream(foreign).await.unwrap();
    let error = ensure_again(&bench.connection).await.unwrap_err();
    assert!(matches!(&error, BrokerError::SetUp { name, .. } if &**name == "TRAINING"), "{error:?}");
    assert_eq!(error.directive(), RetryDirective::Person);
}

async fn ensure_again(connection: &Connection) -> Result<Streams, BrokerError> {
    within(DEADLINE, Streams::ensure(connection, &StreamSettings::default())).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_leaves_the_workers_streams_as_they_are() {
    let settings = StreamSettings { events_max_bytes: 1 << 20, ..StreamSettings::default() };
    let bench = TestBroker::with(settings).await;
    let existing =
        within(DEADLINE, Streams::existing(&bench.connection, &StreamSettings::default())).await.unwrap();
    let corrections = within(DEADLINE, Corrections::open(&existing, "pairs")).await.unwrap();
    assert_eq!(corrections.count_after(0).await.unwrap(), 0);
    let mut events = bench.connection.jetstream().get_stream("TRAINING_EVENTS").await.unwrap();
    assert_eq!(events.info().await.unwrap().config.max_bytes, 1 << 20);

    let folder = tempfile::tempdir().unwrap();
    let empty = Broker::Embedded(crate::support::broker::options(folder.path()));
    let empty = within(DEADLINE, Connection::open(&empty)).await.unwrap();
    let error = within(DEADLINE, Streams::existing(&empty, &StreamSettings::default())).await.unwrap_err();
    assert!(matches!(error, BrokerError::NotSetUp { .. }), "{error:?}");
    assert!(autovalidate::failure::Failure::advice(&error).contains("autovalidate worker"));
    assert!(empty.jetstream().get_stream("CORRECTIONS").await.is_err(), "looking creates nothing");
}

/// Manual measurement: `cargo nextest run --run-ignored only hundred_thousand --no-capture`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement"]
async fn a_hundred_thousand_rows_are_read_quickly() {
    let bench = TestBroker::new().await;
    let corrections = bench.corrections().await;
    let batch = rows(1..=100_000);
    let started = Instant::now();
    corrections.append(&batch).await.unwrap();
    println!("append {:?}", started.elapsed());
    let started = Instant::now();
    assert_eq!(corrections.snapshot(u64::MAX).await.unwrap().rows.len(), 100_000);
    println!("snapshot {:?}", started.elapsed());
    let started = Instant::now();
    bench.corrections().await;
    println!("ledger rebuilt {:?}", started.elapsed());
}
