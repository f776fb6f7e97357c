//! Replay of a run's model, bit for bit, and the effect of a rollback on later runs.

use std::path::Path;

use autovalidate::broker::{RunRecord, RunState};
use autovalidate::hub::Release;
use autovalidate::run::{
    NameSource, PairUse, Pipeline, ReplaySpec, Replayed, RowSource, RunError, Sources, replay, roll_back,
    trace_pair,
};

use crate::support::DEADLINE;
use crate::support::run::{RunHarness, repository};
use crate::support::{onnxruntime, tiny, within};

/// Enqueues a run and works on it until it ends.
async fn run(harness: &RunHarness, pipeline: &Pipeline) -> RunRecord {
    let record = harness.ended(pipeline, &RunHarness::forced()).await;
    assert_eq!(record.state, RunState::Done, "{:?}", record.error);
    record
}

async fn again(
    harness: &RunHarness,
    data: &Path,
    spec: ReplaySpec,
    base: &Path,
) -> Result<Replayed, RunError> {
    let repository = repository(&harness.hub);
    let sources = Sources {
        repository: Some(&repository),
        corrections: Some(&harness.corrections),
        names: None,
        data_dir: data,
        base_model: base.to_str().unwrap(),
        runtime: &onnxruntime(),
    };
    within(DEADLINE, replay(spec, sources, None, |_| true)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_made_again_bit_for_bit_from_its_record_and_from_its_receipt() {
    let harness = RunHarness::new().await;
    let data = harness.data("one");
    let mut pipeline = harness.pipeline(&data);
    pipeline.plan.synthesis.variants = 2;
    let record = run(&harness, &pipeline).await;
    // Later pairs are not part of the run.
    within(DEADLINE, harness.corrections.append(&crate::support::broker::rows(9_001..=9_003))).await.unwrap();

    let spec = ReplaySpec::of_run(&record).unwrap();
    let done = again(&harness, &data, spec.clone(), &tiny()).await.unwrap();
    assert_eq!((done.identical(), done.rows), (Some(true), RowSource::Snapshot), "{done:?}");

    // Another data directory has no snapshot, but the stream has the rows.
    let elsewhere = harness.data("elsewhere");
    let receipts = within(DEADLINE, repository(&harness.hub).receipts()).await.unwrap();
    let of_receipt = ReplaySpec::of_receipt(receipts.values().next().unwrap()).unwrap();
    assert_eq!(of_receipt, spec);
    let done = again(&harness, &elsewhere, of_receipt, &tiny()).await.unwrap();
    assert_eq!((done.identical(), done.rows), (Some(true), RowSource::Stream), "{done:?}");
    assert!(std::fs::read_dir(elsewhere.join("replays")).unwrap().next().is_none(), "files remain");

    let mut other_seed = spec.clone();
    other_seed.lineage.recipe.seed += 1;
    assert_eq!(again(&harness, &data, other_seed, &tiny()).await.unwrap().identical(), Some(false));
    let mut other_rows = spec.clone();
    other_rows.dataset_hash = "0".repeat(64);
    assert!(matches!(again(&harness, &data, other_rows, &tiny()).await, Err(RunError::OtherRows { .. })));
    let mut other_base = spec;
    other_base.lineage.base.weights_sha256 = autovalidate::hub::Digest::of(b"other");
    assert!(matches!(again(&harness, &data, other_base, &tiny()).await, Err(RunError::OtherBase { .. })));
    assert_eq!(harness.releases().await.len(), 1, "a replay publishes nothing");
}

/// Replays with this disk only, without the Hub. `names` stands for the setting `CATALOG`.
async fn offline(
    harness: &RunHarness,
    stream: bool,
    names: Option<&NameSource>,
    data: &Path,
    spec: ReplaySpec,
) -> Result<Replayed, RunError> {
    let (base, runtime) = (tiny(), onnxruntime());
    let sources = Sources {
        repository: None,
        corrections: stream.then_some(&harness.corrections),
        names,
        data_dir: data,
        base_model: base.to_str().unwrap(),
        runtime: &runtime,
    };
    within(DEADLINE, replay(spec, sources, None, |_| true)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_on_this_disk_needs_neither_broker_nor_hub() {
    let harness = RunHarness::new().await;
    let data = harness.data("one");
    let pipeline = harness.pipeline(&data);
    // The first run starts from a folder, and the second from a release.
    for record in [run(&harness, &pipeline).await, run(&harness, &pipeline).await] {
        let spec = ReplaySpec::of_run(&record).unwrap();
        assert!(spec.has_snapshot(&data));
        let done = offline(&harness, false, None, &data, spec.clone()).await.unwrap();
        assert_eq!((done.identical(), done.rows), (Some(true), RowSource::Snapshot), "{done:?}");
        let elsewhere = harness.data("elsewhere");
        assert!(!spec.has_snapshot(&elsewhere));
        let refused = offline(&harness, false, None, &elsewhere, spec).await;
        match record.base_model.unwrap().starts_with("models/") {
            true => assert!(matches!(refused, Err(RunError::NoHub { .. })), "{refused:?}"),
            false => assert!(matches!(refused, Err(RunError::NoStream { .. })), "{refused:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_names_of_then_outlive_the_snapshot_and_go_nowhere_else() {
    let harness = RunHarness::new().await;
    let data = harness.data("one");
    let mut pipeline = harness.pipeline(&data);
    pipeline.plan.synthesis.variants = 1;
    let catalog = |name: &str, names: &str| {
        let path = harness.bench.folder.path().join(name);
        std::fs::write(&path, format!("brand,model\n{names}\n")).unwrap();
        let domains = vec!["brand".to_owned(), "model".to_owned()];
        NameSource { source: autovalidate::ingest::CatalogSource::File(path), access: None, domains }
    };
    let then = catalog("then.csv", "Zzyzx,Ouagadougou\nZzyzx,Timbuktu");
    let now = catalog("now.csv", "Zzyzx,Ouagadougou\nZzyzx,Timbuktu\nYpsilanti,");
    pipeline.plan.names = Some(then.clone());
    let spec = ReplaySpec::of_run(&run(&harness, &pipeline).await).unwrap();
    let receipts = within(DEADLINE, repository(&harness.hub).receipts()).await.unwrap();
    let receipt = receipts.values().next().unwrap();
    assert_eq!(ReplaySpec::of_receipt(receipt).unwrap(), spec);
    assert_eq!(spec.names.unwrap().count, 2);
    assert!(!String::from_utf8_lossy(receipt).contains("Zzyzx"));

    std::fs::remove_dir_all(data.join("snapshots")).unwrap();
    let done = offline(&harness, true, Some(&now), &data, spec.clone()).await.unwrap();
    assert_eq!((done.identical(), done.rows), (Some(true), RowSource::Stream), "{done:?}");
    std::fs::remove_dir_all(data.join("names")).unwrap();
    let done = offline(&harness, true, Some(&then), &data, spec.clone()).await.unwrap();
    assert_eq!(done.identical(), Some(true), "{done:?}");
    for other in [None, Some(&now)] {
        let refused = offline(&harness, true, other, &data, spec.clone()).await;
        let Err(RunError::OtherNames { list, .. }) = refused else { panic!("{refused:?}") };
        assert_eq!(Some(list), spec.names);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_rollback_training_starts_from_the_version_that_is_live_again() {
    let harness = RunHarness::new().await;
    let data = harness.data("one");
    let pipeline = harness.pipeline(&data);
    let version = |release: &Release| release.name.version().to_owned();
    run(&harness, &pipeline).await;
    let first = version(&harness.releases().await[0]);
    let second = run(&harness, &pipeline).await;
    assert!(second.base_model.unwrap().contains(&first));

    let repository = repository(&harness.hub);
    let beside = data.join("rollbacks");
    let back = roll_back(&repository, &first, &beside, jiff::Timestamp::now());
    let back = within(DEADLINE, back).await.unwrap();
    assert_eq!(back.version, first);
    let third = run(&harness, &pipeline).await;
    assert_eq!(third.base_model.as_deref(), Some(back.release.path().as_str()));
    let done = again(&harness, &data, ReplaySpec::of_run(&third).unwrap(), &tiny()).await.unwrap();
    assert_eq!(done.identical(), Some(true), "{done:?}");

    // Lineage comes from the receipts, which are stored next to the zips.
    let (releases, receipts) =
        (harness.releases().await, within(DEADLINE, repository.receipts()).await.unwrap());
    assert_eq!((releases.len(), receipts.len()), (4, 4));
    let names: Vec<_> = releases.into_iter().map(|release| release.name).collect();
    let used: Vec<_> =
        (1..=crate::support::run::PAIRS as i64).map(|pair| trace_pair(pair, &names, &receipts)).collect();
    assert!(
        used.iter()
            .flatten()
            .all(|one| matches!(one.used, PairUse::Learned | PairUse::HeldOut | PairUse::LeftOut))
    );
    let learned = used.iter().find(|versions| versions[0].used == PairUse::Learned).unwrap();
    assert!(learned.iter().all(|one| one.rebuild == Some(true)));
    assert_eq!(learned[3].inherited_from.as_ref(), Some(&back.release.version().to_owned()));
    let held_out = used.iter().find(|versions| versions[0].used == PairUse::HeldOut).unwrap();
    assert!(held_out.iter().all(|one| one.used == PairUse::HeldOut && one.rebuild == Some(false)));
    let absent = trace_pair(9_999, &names, &receipts);
    assert!(absent.iter().all(|one| (one.used, one.rebuild) == (PairUse::Absent, Some(false))));

    let index = within(DEADLINE, repository.index()).await.unwrap();
    assert_eq!(index.models.len(), 4);
    let weights = |version: &str| index.entry(version).unwrap().weights_sha256;
    assert_eq!(weights(&first), weights(back.release.version()));
    assert!(index.models.iter().all(|entry| entry.metrics.is_some() && entry.dimension == Some(24)));
}
