//! Cohorts: the newest window, and the queries that judged earlier versions.

use autovalidate::evaluate::{
    Cohorts, Gate, GatePolicy, ModelRanks, NewestWindow, Query, QuerySet, Report, Side, Verdict,
};
use proptest::prelude::*;

use super::{brands, query};

type Ranks = Vec<Option<usize>>;

#[test]
fn the_window_is_a_share_or_a_count_of_the_newest() {
    let rows = [40, 10, 30, 20, 50, 20];
    assert_eq!(NewestWindow::Count(2).first_row(rows), Some(40));
    assert_eq!(NewestWindow::Share(0.2).first_row(rows), Some(50));
    assert_eq!(NewestWindow::Share(0.19).first_row(rows), None, "rounded down");
    assert_eq!(NewestWindow::default().first_row(1..=100), Some(96));
    for (text, window) in
        [("0", NewestWindow::Count(0)), ("30", NewestWindow::Count(30)), ("0.1", NewestWindow::Share(0.1))]
    {
        assert_eq!((text.parse(), window.to_string()), (Ok(window), text.to_owned()));
    }
    assert!("1.5".parse::<NewestWindow>().is_err() && "-1".parse::<NewestWindow>().is_err());
    assert_eq!(NewestWindow::Count(99).first_row(rows), Some(20), "the oldest is trained on");
    assert_eq!(NewestWindow::Share(f64::NAN).first_row(rows), None);
    assert_eq!(NewestWindow::Count(5).first_row([]), None);
}

#[test]
fn a_row_is_new_or_old_or_neither() {
    let cohorts = Cohorts { newest_from: Some(100), legacy_until: Some(50), ..Cohorts::default() };
    let of = |row| (cohorts.is_newest(row), cohorts.is_legacy(row));
    assert_eq!([of(50), of(51), of(100)], [(false, true), (false, false), (true, false)]);
    let none = Cohorts::default();
    assert!(!none.is_newest(i64::MAX) && !none.is_legacy(i64::MIN));
    let overlapping = Cohorts { newest_from: Some(10), legacy_until: Some(20), ..Cohorts::default() };
    assert!(overlapping.is_newest(15) && !overlapping.is_legacy(15), "never both");
}

/// Returns 200 queries with ranks by two models: the 60 oldest get worse, all others get better.
fn forgetful() -> (Vec<Query>, Vec<i64>, Ranks, Ranks) {
    let queries = (0..200).map(|_| query("brand", "oudi", "Audi", Side::NewTypo)).collect();
    let before = (0..200).map(|at| Some(if at < 60 { 1 } else { 2 })).collect();
    let after = (0..200).map(|at| Some(if at < 60 { 2 } else { 1 })).collect();
    (queries, (1..=200).collect(), before, after)
}

#[test]
fn forgetting_blocks_what_is_better_on_the_whole() {
    let (queries, rows, before, after) = forgetful();
    let decide =
        |cohorts| Gate::decide_with(&queries, &rows, &after, &before, &GatePolicy::default(), &cohorts);
    let plain = decide(Cohorts::default());
    assert_eq!((plain.verdict, plain.publish, plain.legacy), (Verdict::Better, true, None));
    let gate = decide(Cohorts { legacy_until: Some(60), newest_from: Some(191), ..Cohorts::default() });
    assert_eq!((gate.verdict, gate.publish), (Verdict::Worse, false));
    assert_eq!(gate.overall.verdict, Verdict::Better);
    let (legacy, newest) = (gate.legacy.unwrap(), gate.newest.unwrap());
    assert_eq!((legacy.verdict, legacy.queries), (Verdict::Worse, 60));
    assert_eq!((newest.verdict, newest.queries), (Verdict::CannotTell, 10), "too few to tell");
}

#[test]
fn a_model_that_is_worse_on_new_names_is_blocked_unless_the_live_one_knows_them() {
    let (mut queries, rows, before, after) = forgetful();
    queries[..60].iter_mut().for_each(|query| query.side = Side::NewName);
    let decide =
        |cohorts| Gate::decide_with(&queries, &rows, &after, &before, &GatePolicy::default(), &cohorts);
    let gate = decide(Cohorts::default());
    assert_eq!((gate.overall.verdict, gate.verdict, gate.publish), (Verdict::Better, Verdict::Worse, false));
    assert!(gate.sentence().contains("worse on names that training has not seen"), "{}", gate.sentence());
    let unfair = decide(Cohorts { live_knows_new_names: true, ..Cohorts::default() });
    assert_eq!((unfair.verdict, unfair.publish, unfair.new_names), (Verdict::Better, true, None));

    let questions =
        QuerySet { queries: &queries, rows: &rows, catalog: &brands(), cohorts: Cohorts::default() };
    let answers = ModelRanks { original: None, before: &before, after: &after };
    let report = Report::compare(&questions, &answers, &GatePolicy::default());
    let names: Vec<(&str, usize)> =
        report.groups().iter().map(|(name, group)| (*name, group.all.after.overall.queries)).collect();
    assert_eq!(
        names[..4],
        [("all", 200), ("known corrections", 140), ("unseen corrections", 60), ("new names", 60)]
    );
}

#[test]
fn a_worse_newest_window_blocks_too() {
    let (queries, rows, before, after) = forgetful();
    let rows: Vec<i64> = rows.into_iter().rev().collect();
    let cohorts = Cohorts { newest_from: Some(141), legacy_until: None, ..Cohorts::default() };
    let gate = Gate::decide_with(&queries, &rows, &after, &before, &GatePolicy::default(), &cohorts);
    assert_eq!((gate.newest.unwrap().verdict, gate.publish), (Verdict::Worse, false));
}

#[test]
fn the_report_shows_the_cohorts_with_their_counts() {
    let (queries, rows, before, after) = forgetful();
    let cohorts = Cohorts { legacy_until: Some(60), newest_from: Some(191), ..Cohorts::default() };
    let questions = QuerySet { queries: &queries, rows: &rows, catalog: &brands(), cohorts };
    let answers = ModelRanks { original: Some(&before), before: &before, after: &after };
    let report = Report::compare(&questions, &answers, &GatePolicy::default());
    assert_eq!(report.held_out.all.original, Some(report.held_out.all.before.clone()));
    assert_eq!(report.legacy.as_ref().unwrap().all.after.overall.accuracy_at_1, 0.0);
    assert_eq!(report.newest.as_ref().unwrap().all.after.overall.queries, 10);
    let table = report.to_string();
    assert!(table.lines().count() <= 30, "{table}");
    let line = |words: &[&str]| table.lines().any(|line| words.iter().all(|word| line.contains(word)));
    assert!(line(&["what earlier versions knew", " worse ", "(60 queries)"]), "{table}");
    assert!(line(&["the newest rows", "cannot tell", "(10 queries)"]), "{table}");
    assert!(line(&["newest rows", " 10?", "1.000"]), "too few, and marked so: {table}");
    let sentence = report.gate.sentence();
    assert!(
        sentence.starts_with("worse: ") && sentence.contains("worse on what earlier versions knew"),
        "{sentence}"
    );
    assert!(sentence.contains("cannot tell on the newest rows"), "{sentence}");
    let json = serde_json::to_string(&report).unwrap();
    assert_eq!(serde_json::from_str::<Report>(&json).unwrap(), report);
}

#[test]
fn a_report_from_before_cohorts_still_reads() {
    let (queries, _, before, after) = forgetful();
    let report = Report::new(&queries, &brands(), &before, &after, &GatePolicy::default());
    let json = serde_json::to_string(&report).unwrap();
    assert!(!json.contains("legacy") && !json.contains("newest"));
    assert_eq!(serde_json::from_str::<Report>(&json).unwrap(), report);
}

proptest! {
    #[test]
    fn the_window_holds_exactly_the_newest(rows in prop::collection::btree_set(any::<i64>(), 1..50), count in 0_usize..60) {
        let first = NewestWindow::Count(count).first_row(rows.iter().copied());
        let cohorts = Cohorts { newest_from: first, legacy_until: None, ..Cohorts::default() };
        let newest = rows.iter().filter(|row| cohorts.is_newest(**row)).count();
        prop_assert_eq!(newest, count.min(rows.len() - 1));
    }
}
