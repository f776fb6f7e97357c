//! The size of records, events and status answers, whatever the number of domains, rows and gaps.

use std::time::Duration;

use autovalidate::broker::{
    Broker, CheckpointStore, Connection, JobId, JobRequest, JobSettings, MAX_MESSAGE, Remote, RunRecord,
    RunState, StageRecord, StreamSettings, Streams, is_left_out,
};
use autovalidate::correction::Row;
use autovalidate::evaluate::{
    Catalog, Cohorts, GatePolicy, HoldOut, ModelRanks, Query, QuerySet, Report, Verdict,
};
use autovalidate::report::{RunReport, page};
use autovalidate::run::{Dataset, DatasetSummary, Receipt, settle};
use autovalidate::templates::Templates;
use autovalidate::worker::{BrokerHandles, Status};
use futures::StreamExt;
use proptest::prelude::*;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::support::broker::TestBroker;
use crate::support::nats::NatsServer;
use crate::support::run::{ACK_WAIT, RunHarness, queries, repository};
use crate::support::{DEADLINE, within};

/// Largest message that some servers take.
const LIMIT: usize = 64 * 1024;

fn size(value: &impl serde::Serialize) -> usize {
    serde_json::to_vec(value).unwrap().len()
}

/// Returns a row of one of many domains, whose ids leave a gap after each row.
fn row(number: usize, domain: String, gap: i64) -> Row {
    Row {
        id: i64::MAX / 2 + gap * number as i64,
        typo: format!("tpyo {number}"),
        corrected: format!("Typo {number}"),
        domain,
        ..Row::default()
    }
}

/// Returns the report of models that answer each query with the next of these ranks.
fn report(queries: &[Query], ids: &[i64], catalog: &Catalog, after: &[usize]) -> Report {
    let before: Vec<_> = queries.iter().map(|_| Some(3)).collect();
    let after: Vec<_> = queries.iter().zip(after.iter().cycle()).map(|(_, rank)| Some(*rank)).collect();
    let middle = ids.get(ids.len() / 2).copied();
    let cohorts = Cohorts { newest_from: middle, legacy_until: middle, ..Cohorts::default() };
    let policy = GatePolicy { resamples: 20, minimum_queries: 1, ..GatePolicy::default() };
    Report::compare(
        &QuerySet { queries, rows: ids, catalog, cohorts },
        &ModelRanks { original: Some(&before), before: &before, after: &after },
        &policy,
    )
}

fn record(summary: &DatasetSummary, report: &Report) -> RunRecord {
    let now = jiff::Timestamp::now();
    let mut record = RunRecord::new(JobId::for_pairs(1, u64::MAX, 0), JobRequest::default(), now);
    let outline = serde_json::to_value(report.outline()).unwrap();
    let training = json!({
        "steps": 256, "pairs": 60, "vocabulary": 100, "epoch_losses": vec![0.1_f32; 64],
        "losses": vec![0.123_456_79_f32; 256], "seconds": 1.5,
        "assessments": vec![json!({ "step": 1_000_000, "score": -0.123_456_79_f32 }); 32],
    });
    let stage = |name: &str, figures: Value| StageRecord {
        stage: name.to_owned(),
        started_at: now,
        ended_at: Some(now),
        figures,
        error: None,
    };
    record.stages = vec![
        stage("fetch-data", serde_json::to_value(summary.outline()).unwrap()),
        stage("train", json!({ "training": training })),
        stage("evaluate", outline.clone()),
        stage("gate", json!({ "sentence": report.gate.sentence() })),
    ];
    record.metrics = outline;
    record
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6, ..ProptestConfig::default() })]

    #[test]
    fn no_number_of_domains_and_gaps_makes_a_record_too_large(
        domains in prop_oneof![1_usize..12, 1_000_usize..1_500], letter in prop::sample::select(vec!["x", "\"", "𝕏", "\u{7}"]),
        length in 0_usize..200, gap in 1_i64..1_000_000, ranks in prop::collection::vec(1_usize..12, 1..50),
    ) {
        let rows: Vec<Row> =
            (0..domains).map(|number| row(number, format!("{number} {}", letter.repeat(length)), gap)).collect();
        let ids: Vec<i64> = rows.iter().map(|row| row.id).collect();
        let catalog = Catalog::new(rows.iter().map(|row| (row.domain.clone(), row.corrected.clone())));
        let queries = queries(&rows);
        let report = report(&queries, &ids, &catalog, &ranks);
        let summary = Dataset::new(rows, &HoldOut::default(), &Templates::default()).summary;

        let mut record = record(&summary, &report);
        for stage in &record.stages {
            prop_assert!(size(&stage.figures) < LIMIT / 2, "{}: {} bytes", stage.stage, size(&stage.figures));
        }
        record.fit(MAX_MESSAGE);
        prop_assert!(size(&record) <= MAX_MESSAGE);
        prop_assert!(!is_left_out(&record.metrics) && !is_left_out(&record.stages[0].figures), "{}", size(&record));

        // What is left adds up to the whole, and still makes a report.
        let run = RunReport::of(&record).unwrap();
        prop_assert_eq!(run.dataset.training_pairs(), summary.training_pairs());
        let kept = &run.report.held_out.all.after;
        prop_assert_eq!(kept.domains.len() + kept.other_domains, domains);
        prop_assert_eq!(run.report.gate.verdict, report.gate.verdict);
        let worse = report.gate.worse_domains().count();
        prop_assert_eq!(run.report.gate.worse_domains().count(), worse.min(kept.domains.len()));
        prop_assert!(run.to_string().len() < LIMIT && page(&run).len() < 2 * LIMIT);
        let omitted = summary.outline().omitted.unwrap_or_default();
        prop_assert_eq!(summary.outline().row_ids.count() + omitted.row_ids, summary.row_ids.count());
        // The outline of an outline is itself.
        prop_assert_eq!(report.outline().outline(), report.outline());
        prop_assert_eq!(summary.outline().outline(), summary.outline());
        if domains <= 2 && length * letter.len() <= 60 && letter != "\u{7}" {
            prop_assert_eq!(report.outline(), report, "a usual project's figures stay whole");
            prop_assert_eq!(summary.outline(), summary);
        }

        record.fit(40 * 1024);
        prop_assert!(size(&record) <= 40 * 1024, "as a part of a status");
    }
}

#[test]
fn of_many_domains_the_worse_ones_are_kept() {
    let rows: Vec<Row> = (0..300).map(|number| row(number, format!("form {}", number % 100), 1)).collect();
    let ids: Vec<i64> = rows.iter().map(|row| row.id).collect();
    let catalog = Catalog::new(rows.iter().map(|row| (row.domain.clone(), row.corrected.clone())));
    let queries = queries(&rows);
    let mut ranks = vec![1; 100];
    ranks[77] = 9;
    let gate = report(&queries, &ids, &catalog, &ranks).outline().gate;
    assert_eq!((gate.domains.len(), gate.other_domains), (8, 92));
    assert_eq!(gate.domains["form 77"].verdict, Verdict::Worse);
    assert!(gate.sentence().contains("worse on form 77"), "{}", gate.sentence());
}

/// A server that takes messages of 64 KiB, as some operators set it.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_of_hundreds_of_domains_ends_on_a_server_that_takes_only_small_messages() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("store");
    let configuration = format!("max_payload: {LIMIT}\njetstream {{ store_dir: {store:?} }}");
    let server = NatsServer::start(folder.path(), &configuration).await;
    let remote = Remote { urls: vec![server.url().to_owned()], ..Remote::default() };
    let connection = within(DEADLINE, Connection::open(&Broker::Remote(remote))).await.unwrap();
    let streams = within(DEADLINE, Streams::ensure(&connection, &StreamSettings::default())).await.unwrap();
    let bench = TestBroker { folder, connection, streams };
    const DOMAINS: usize = 300;
    let pairs = (0..).zip(autovalidate_fakes::demo::corrections(5, 2 * DOMAINS));
    let rows: Vec<Row> = pairs
        .map(|(number, pair)| Row {
            typo: pair.typo,
            corrected: pair.corrected.to_owned(),
            ..row(number, format!("Form {}", number % DOMAINS), 2)
        })
        .collect();
    let harness = RunHarness::on(bench, &rows, ACK_WAIT).await;
    let mut pipeline = harness.pipeline(&harness.data("one"));
    pipeline.plan.recipe.epochs = 1;
    pipeline.plan.hold_out.typos = 0.8;

    let mut events = harness.bench.listen("training.events.>").await;
    let id = within(DEADLINE, harness.jobs.enqueue(&RunHarness::forced())).await.unwrap();
    let job = harness.next().await;
    let ending = within(Duration::from_secs(300), pipeline.run(&job, &CancellationToken::new())).await;
    within(DEADLINE, settle(job, ending, &harness.trigger)).await.unwrap();
    let record = harness.record(&id).await;
    assert_eq!(
        (record.state, record.attempts, record.failures),
        (RunState::Done, 1, 0),
        "{:?}",
        record.error
    );
    assert!(size(&record) <= MAX_MESSAGE);
    let run = RunReport::of(&record).unwrap();
    let kept = &run.report.held_out.all.after;
    assert_eq!(kept.domains.len(), 8);
    assert!(kept.other_domains > 200, "{}", kept.other_domains);

    // Every event arrived, the last one of the run included.
    let mut stages = Vec::new();
    while stages.last().is_none_or(|stage| stage != "settled") {
        let message = within(DEADLINE, events.next()).await.unwrap();
        assert!(message.payload.len() < LIMIT);
        let event: autovalidate::broker::Event = serde_json::from_slice(&message.payload).unwrap();
        if event.detail["phase"] != "progress" && event.detail["phase"] != "started" {
            stages.push(event.stage);
        }
    }
    let all = ["queued", "load-base", "fetch-data", "train", "evaluate", "gate", "package", "publish"];
    assert!(stages.iter().map(String::as_str).take(8).eq(all), "{stages:?}");

    // The receipt is a file, and has every domain and id.
    let repository = repository(&harness.hub);
    let receipts = within(DEADLINE, repository.receipts()).await.unwrap();
    let receipt: Receipt = serde_json::from_slice(receipts.values().next().unwrap()).unwrap();
    let scored = receipt.report.held_out.all.after;
    assert_eq!((scored.domains.len(), scored.other_domains), (kept.domains.len() + kept.other_domains, 0));
    assert!(receipt.dataset.omitted.is_none() && receipt.dataset.row_ids.count() == rows.len() as u64);

    // Hundreds of runs wait beside it.
    for _ in 0..150 {
        within(DEADLINE, harness.jobs.enqueue(&JobRequest::default())).await.unwrap();
    }
    let handles = BrokerHandles {
        streams: harness.bench.streams.clone(),
        corrections: harness.corrections.clone(),
        jobs: harness.bench.jobs(JobSettings::default()).await,
        runs: harness.runs.clone(),
        events: harness.bench.events(),
        trigger: harness.trigger.clone(),
    };
    let status = within(DEADLINE, Status::collect(&handles)).await.unwrap();
    assert!(size(&status) < LIMIT, "{} bytes", size(&status));
    assert_eq!((status.queued.len(), status.queued_more), (100, 50));
    assert_eq!(status.last_run.unwrap().id, id);

    // A checkpoint is larger than any message.
    let (file, copy) = (harness.data("checkpoint"), harness.data("copy"));
    std::fs::write(&file, vec![7; 5 * LIMIT]).unwrap();
    let checkpoints = CheckpointStore::new(&harness.bench.streams);
    within(DEADLINE, checkpoints.put(&id, 1, &file)).await.unwrap();
    within(DEADLINE, checkpoints.fetch(&id, &copy)).await.unwrap();
    assert_eq!(std::fs::read(&copy).unwrap(), std::fs::read(&file).unwrap());
}

/// A server that takes even less than the bound of a record.
#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_the_server_refuses_is_saved_without_its_largest_figures() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("store");
    let configuration = format!("max_payload: 12288\njetstream {{ store_dir: {store:?} }}");
    let server = NatsServer::start(folder.path(), &configuration).await;
    let remote = Remote { urls: vec![server.url().to_owned()], ..Remote::default() };
    let connection = within(DEADLINE, Connection::open(&Broker::Remote(remote))).await.unwrap();
    let streams = within(DEADLINE, Streams::ensure(&connection, &StreamSettings::default())).await.unwrap();
    let bench = TestBroker { folder, connection, streams };
    let harness = RunHarness::on(bench, &crate::support::run::rows(), ACK_WAIT).await;
    let pipeline = harness.pipeline(&harness.data("one"));
    let record = harness.ended(&pipeline, &RunHarness::forced()).await;
    assert_eq!((record.state, record.attempts), (RunState::Done, 1), "{:?}", record.error);
    assert!(is_left_out(&record.metrics) && record.artifact.is_some());
    assert_eq!(harness.releases().await.len(), 1);
}

/// An attempt that could not save the record leaves its error on the disk.
#[tokio::test(flavor = "multi_thread")]
async fn an_error_that_was_not_recorded_ends_the_run_as_itself() {
    let harness = RunHarness::new().await;
    let pipeline = harness.pipeline(&harness.data("one"));
    for (failures, remedy) in [(4, "retry"), (0, "person")] {
        let id = within(DEADLINE, harness.jobs.enqueue(&RunHarness::forced())).await.unwrap();
        let (mut record, revision) = harness.runs.load(&id).await.unwrap().unwrap();
        (record.state, record.failures, record.attempts) = (RunState::Running, failures, 7);
        harness.runs.save(&record, revision).await.unwrap();
        let folder = harness.data("one").join("jobs").join(id.as_str());
        std::fs::create_dir_all(&folder).unwrap();
        let error = json!({ "message": "the Hub is on fire", "advice": "Put it out.", "remedy": remedy });
        let left = json!({ "attempt": 7, "error": error });
        std::fs::write(folder.join("error.json"), left.to_string()).unwrap();

        let job = harness.next().await;
        let ending = within(DEADLINE, pipeline.run(&job, &CancellationToken::new())).await;
        within(DEADLINE, settle(job, ending, &harness.trigger)).await.unwrap();
        let dead = harness.record(&id).await;
        assert_eq!(dead.state, RunState::Failed);
        assert_eq!(dead.error.unwrap().message, "the Hub is on fire");
        assert!(dead.stages.is_empty(), "nothing was tried again");
    }
}

/// An attempt that dies after others have failed does not hide their error.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_died_too_often_tells_the_last_recorded_error() {
    let harness = RunHarness::new().await;
    let pipeline = harness.pipeline(&harness.data("one"));
    let id = within(DEADLINE, harness.jobs.enqueue(&RunHarness::forced())).await.unwrap();
    let (mut record, revision) = harness.runs.load(&id).await.unwrap().unwrap();
    (record.state, record.failures, record.attempts) = (RunState::Running, 4, 4);
    let error = json!({ "message": "no route to the Hub", "advice": "", "remedy": "retry" });
    record.error = serde_json::from_value(error).unwrap();
    harness.runs.save(&record, revision).await.unwrap();
    let job = harness.next().await;
    let ending = within(DEADLINE, pipeline.run(&job, &CancellationToken::new())).await;
    within(DEADLINE, settle(job, ending, &harness.trigger)).await.unwrap();
    let message = harness.record(&id).await.error.unwrap().message;
    assert!(
        message.starts_with("5 attempts failed") && message.ends_with("no route to the Hub"),
        "{message}"
    );
}

/// A message of any length may come from a server.
#[test]
fn a_recorded_error_is_short_and_one_line() {
    let source = std::io::Error::other("x\n".repeat(100_000));
    let error = autovalidate::run::RunError::File { action: "read", path: "a".into(), source };
    let recorded = autovalidate::broker::RecordedError::new(&error);
    assert!(recorded.message.len() <= 2_000 && !recorded.message.contains('\n'));
    assert!(recorded.message.starts_with("cannot read a"));
}
