//! Report of a run, as text and as an HTML page.

use autovalidate::broker::{JobId, JobRequest, RunRecord};
use autovalidate::correction::Row;
use autovalidate::evaluate::{Catalog, Cohorts, GatePolicy, HoldOut, ModelRanks, QuerySet, Report};
use autovalidate::report::{RunReport, RunReportError, page};
use autovalidate::run::{Dataset, NameCoverage};
use autovalidate::templates::Templates;
use autovalidate_finetune::train::Summary;

use crate::support::run::queries;

const DOMAIN: &str = "a<b>&\"c";

fn run() -> RunReport {
    let rows: Vec<Row> = (0..60)
        .map(|id| Row {
            id,
            typo: format!("tipo {id}"),
            corrected: format!("Corrected {}", id % 9),
            domain: DOMAIN.to_owned(),
            ..Row::default()
        })
        .collect();
    let queries = queries(&rows);
    let ids: Vec<i64> = rows.iter().map(|row| row.id).collect();
    let names = Catalog::new(rows.iter().map(|row| (row.domain.clone(), row.corrected.clone())));
    let (before, after) = (vec![Some(3); 60], vec![Some(1); 60]);
    let cohorts = Cohorts { newest_from: Some(55), legacy_until: Some(30), ..Cohorts::default() };
    let report = Report::compare(
        &QuerySet { queries: &queries, rows: &ids, catalog: &names, cohorts },
        &ModelRanks { original: Some(&before), before: &before, after: &after },
        &GatePolicy::default(),
    );
    RunReport {
        job: Some("pairs-1-60".to_owned()),
        version: None,
        made_at: None,
        base_model: Some("base".to_owned()),
        live_unreadable: None,
        not_continued: None,
        dataset: Dataset::new(rows, &HoldOut::default(), &Templates::default()).summary,
        recipe: serde_json::json!({ "learning_rate": 0.001_f32, "epochs": 2 }),
        synthesis: serde_json::Value::Null,
        training: serde_json::from_value(serde_json::json!({
            "steps": 3, "pairs": 60, "vocabulary": 100, "epoch_losses": [1.5], "losses": [2.0, 1.5, 1.0], "seconds": 1.0,
        }))
        .unwrap(),
        report,
        onnx_parity: Some(0.999_999),
        name_coverage: NameCoverage::default(),
        stages: vec![("train".to_owned(), 1.0)],
    }
}

#[test]
fn every_plot_has_words_and_a_table_and_the_page_needs_nothing_else() {
    let html = page(&run());
    let count = |what: &str| html.matches(what).count();
    assert_eq!(count("<svg role=\"img\""), 4, "loss, all typos, those left to the model, the change");
    assert_eq!((count("<title id="), count("<desc id="), count("</details>")), (4, 4, 4));
    assert_eq!(count("<svg"), count("</svg>"));
    assert!(
        !html.contains("<script") && !html.contains("http") && !html.contains("url("),
        "nothing is fetched"
    );
    assert!(!html.contains("NaN") && !html.contains("inf\""), "every coordinate is a number");
    assert!(html.contains("prefers-color-scheme: dark"));
    assert!(html.contains("what earlier versions knew") && html.contains("better (31 queries)"));
}

/// A smoothed loss is not zero even when every answer is right, so the report shows its minimum.
#[test]
fn a_smoothed_loss_is_shown_with_its_floor() {
    let plain = run();
    let smoothed =
        RunReport { recipe: serde_json::json!({ "batch_size": 64, "label_smoothing": 0.3_f32 }), ..run() };
    assert!(
        page(&smoothed).contains("It can't fall below 1.830.") && page(&smoothed).contains("Dashed: 1.83")
    );
    assert!(smoothed.to_string().contains("1.500 (its floor: 1.830)"), "{smoothed}");
    let (html, text) = (page(&plain), plain.to_string());
    assert!(!html.contains("can't fall below") && !text.contains("floor"));
    let of_another_version = RunReport { recipe: serde_json::json!({ "later": 1 }), ..run() };
    assert!(!page(&of_another_version).contains("can't fall below"));
}

#[test]
fn what_comes_from_outside_is_escaped_and_no_pair_is_shown() {
    let run = run();
    let html = page(&run);
    assert!(html.contains("a&lt;b&gt;&amp;&quot;c") && !html.contains(DOMAIN));
    let text = run.to_string();
    for shown in [&html, &text] {
        assert!(!shown.contains("tipo") && !shown.contains("Corrected "));
    }
    assert!(text.contains("learning rate 0.001,") || text.contains("learning rate 0.001\n"), "{text}");
}

#[test]
fn an_account_comes_back_from_its_file_and_a_strange_file_is_refused() {
    let run = run();
    let json = serde_json::to_vec(&run).unwrap();
    // The comparison is of text, because a decimal round trip may change the last bit of a number.
    assert_eq!(RunReport::from_json(&json).unwrap().to_string(), run.to_string());
    assert!(matches!(RunReport::from_json(b"{}"), Err(RunReportError::Unreadable(_))));
}

#[test]
fn an_empty_run_still_makes_a_page() {
    let mut run = run();
    run.training = Summary { losses: Vec::new(), epoch_losses: Vec::new(), ..run.training };
    run.report = Report::new(&[], &Catalog::default(), &[], &[], &GatePolicy::default());
    let html = page(&run);
    assert!(!html.contains("NaN") && html.contains("No step was taken."));
}

#[test]
fn a_run_that_was_not_evaluated_has_no_report() {
    let record = RunRecord::new(JobId::manual(1), JobRequest::default(), jiff::Timestamp::UNIX_EPOCH);
    assert!(matches!(RunReport::of(&record), Err(RunReportError::NotEvaluated)));
}
