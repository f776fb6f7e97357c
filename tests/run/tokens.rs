//! A change of the tokens that models are trained on, from one release to the next.

use autovalidate::broker::{JobRequest, RunState};
use autovalidate::correction::Row;
use autovalidate::hub::Release;
use autovalidate::report::RunReport;
use autovalidate::run::{AttemptEnding, Pipeline, settle};
use autovalidate_finetune::model::{ModelFolder, TokenizerChoice, archive, find_model};
use tokio_util::sync::CancellationToken;

use crate::support::run::{RunHarness, repository};
use crate::support::{DEADLINE, within};

fn pipeline(harness: &RunHarness, tokenizer: TokenizerChoice) -> Pipeline {
    let mut pipeline = harness.pipeline(&harness.data("one"));
    pipeline.plan.tokenizer = tokenizer;
    pipeline
}

/// Works on the job of a killed attempt until it ends.
async fn finish(harness: &RunHarness, pipeline: &Pipeline) {
    let job = harness.next().await;
    let ending = within(DEADLINE, pipeline.run(&job, &CancellationToken::new())).await;
    assert!(matches!(ending, AttemptEnding::Finished(_)), "{ending:?}");
    within(DEADLINE, settle(job, ending, &harness.trigger)).await.unwrap();
}

/// Returns true when the zip of a release holds a model with a token for each character.
async fn is_in_characters(harness: &RunHarness, release: &Release) -> bool {
    let folder = tempfile::tempdir().unwrap();
    let zip = within(DEADLINE, repository(&harness.hub).download(release, folder.path())).await.unwrap();
    archive::unpack(&zip, &folder.path().join("model")).unwrap();
    let model = find_model(&folder.path().join("model")).unwrap();
    ModelFolder::open(&model).unwrap().is_in_characters().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_switch_to_characters_starts_from_the_base_model_and_later_runs_go_on_from_there() {
    let harness = RunHarness::quick_to_redeliver().await;
    harness.ended(&pipeline(&harness, TokenizerChoice::Keep), &RunHarness::forced()).await;
    let pieces = harness.releases().await.remove(0);
    assert!(!is_in_characters(&harness, &pieces).await);

    let characters = pipeline(&harness, TokenizerChoice::Characters);
    let switch = within(DEADLINE, harness.jobs.enqueue(&RunHarness::forced())).await.unwrap();
    // The attempt that takes over from a killed one still knows why it doesn't start from the live model.
    let job = harness.next().await;
    harness.killed_at(&characters, &job, "evaluate").await;
    drop(job);
    finish(&harness, &characters).await;
    let record = harness.record(&switch).await;
    assert_eq!((record.state, record.base_model.as_deref()), (RunState::Done, Some("tiny")));
    let reason = record.not_continued.clone().unwrap();
    assert!(reason.contains(&pieces.path()) && reason.ends_with("so tiny takes its place"), "{reason}");
    assert_eq!(record.lineage["tokenizer"], "characters");
    let report = RunReport::of(&record).unwrap();
    assert_eq!(report.not_continued, Some(reason));
    assert!(report.dataset.row_ids.contains(1), "the killed attempt has recorded the ids");
    assert!(report.onnx_parity.unwrap() > 0.9999, "the export has the same tokens");
    let switched = harness.releases().await.remove(0);
    assert!(switched.name > pieces.name && is_in_characters(&harness, &switched).await);
    assert!(harness.repository_index().await.live.unwrap().re_embed);

    let record = harness.ended(&characters, &RunHarness::forced()).await;
    assert_eq!((record.base_model, record.not_continued), (Some(switched.path()), None));
    assert!(is_in_characters(&harness, &harness.releases().await.remove(0)).await);

    // Those who want word pieces again name a model that has them.
    let keep = pipeline(&harness, TokenizerChoice::Keep);
    let base_model = Some(keep.plan.base_model.clone());
    let request = JobRequest { base_model, ..RunHarness::forced() };
    harness.ended(&keep, &request).await;
    assert!(!is_in_characters(&harness, &harness.releases().await.remove(0)).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_base_model_the_live_one_learns_characters() {
    let harness = RunHarness::new().await;
    harness.ended(&pipeline(&harness, TokenizerChoice::Keep), &RunHarness::forced()).await;
    let pieces = harness.releases().await.remove(0);

    let mut characters = pipeline(&harness, TokenizerChoice::Characters);
    characters.plan.base_model = "acme/gone".to_owned();
    let record = harness.ended(&characters, &RunHarness::forced()).await;
    assert_eq!((record.base_model, record.not_continued), (Some(pieces.path()), None));
    assert!(is_in_characters(&harness, &harness.releases().await.remove(0)).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_continued_keeps_its_tokens_when_the_setting_changes() {
    let harness = RunHarness::quick_to_redeliver().await;
    let id = within(DEADLINE, harness.jobs.enqueue(&RunHarness::forced())).await.unwrap();
    let keep = pipeline(&harness, TokenizerChoice::Keep);
    let job = harness.next().await;
    harness.killed_at(&keep, &job, "evaluate").await;
    drop(job);
    // As after an upgrade, which brought the default.
    finish(&harness, &pipeline(&harness, TokenizerChoice::Characters)).await;
    let record = harness.record(&id).await;
    assert_eq!((record.state, record.lineage.get("tokenizer")), (RunState::Done, None), "those of the base");
    assert!(!is_in_characters(&harness, &harness.releases().await.remove(0)).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_switch_that_the_gate_refuses_waits_for_twice_as_many_rows() {
    let harness = RunHarness::new().await;
    harness.ended(&pipeline(&harness, TokenizerChoice::Keep), &RunHarness::forced()).await;
    let pieces = harness.releases().await.remove(0);

    let characters = pipeline(&harness, TokenizerChoice::Characters);
    let mut strict = pipeline(&harness, TokenizerChoice::Characters);
    // Every model is too slow.
    (strict.plan.gate.slowest, strict.plan.gate.query_budget_ms) = (0.0, 0.0);
    let refused = harness.ended(&strict, &JobRequest::default()).await;
    assert_eq!((refused.state, refused.base_model.as_deref()), (RunState::Refused, Some("tiny")));
    let rows = refused.last_sequence.unwrap();

    // The next runs go on from the live model, also after one that was refused itself.
    let withheld = harness.ended(&strict, &JobRequest::default()).await;
    assert_eq!((withheld.state, withheld.base_model.as_deref()), (RunState::Refused, Some(&*pieces.path())));
    let goes_on = harness.ended(&characters, &RunHarness::forced()).await;
    assert_eq!(
        (goes_on.state, goes_on.base_model, goes_on.not_continued),
        (RunState::Done, withheld.base_model, None)
    );
    assert_eq!(goes_on.refused_switch, Some(rows));
    assert!(!is_in_characters(&harness, &harness.releases().await.remove(0)).await);

    let more: Vec<Row> = crate::support::run::rows()
        .into_iter()
        .map(|row| Row { id: row.id + 1_000_000, typo: format!("{}x", row.typo), ..row })
        .collect();
    within(DEADLINE, harness.corrections.append(&more)).await.unwrap();
    let again = harness.ended(&characters, &RunHarness::forced()).await;
    assert_eq!((again.state, again.base_model.as_deref()), (RunState::Done, Some("tiny")));
    assert!(is_in_characters(&harness, &harness.releases().await.remove(0)).await);
    // A switch that was published is over.
    let after = harness.ended(&characters, &RunHarness::forced()).await;
    assert_eq!(after.refused_switch, None);
}
