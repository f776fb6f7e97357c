//! The gate: its four verdicts, and their effect on publishing.

use autovalidate::evaluate::{Gate, GatePolicy, Judgment, Query, Report, Side, Verdict, judge};
use proptest::prelude::*;

use super::{brands, query};

type Ranks = Vec<Option<usize>>;

/// Returns ranks of `of` queries: `first` queries rank the right name at 1, the others do not find
/// it.
fn ranks(first: usize, of: usize) -> Ranks {
    (0..of).map(|at| (at < first).then_some(1)).collect()
}

#[test]
fn each_verdict() {
    let policy = GatePolicy::default();
    let verdict = |candidate: &Ranks, reference: &Ranks| judge(candidate, reference, &policy).verdict;
    assert_eq!(verdict(&ranks(80, 100), &ranks(50, 100)), Verdict::Better);
    assert_eq!(verdict(&ranks(50, 100), &ranks(80, 100)), Verdict::Worse);
    assert_eq!(verdict(&ranks(50, 100), &ranks(50, 100)), Verdict::NoWorse);
    // The candidate is worse by 0.005 beyond doubt, but the margin allows 0.02.
    let (old, new): (Ranks, Ranks) = (vec![Some(4); 200], [vec![Some(4); 180], vec![Some(5); 20]].concat());
    assert!(judge(&new, &old, &policy).upper < 0.0);
    assert_eq!(verdict(&new, &old), Verdict::NoWorse);
    // Ten queries are better and ten worse: the mean difference is zero, but the lower bound is far
    // below the margin.
    let mixed: Ranks = (0..100).map(|at| (10..60).contains(&at).then_some(1)).collect();
    assert_eq!(verdict(&mixed, &ranks(50, 100)), Verdict::CannotTell);
    assert_eq!(verdict(&ranks(19, 19), &ranks(0, 19)), Verdict::CannotTell, "too few queries");
    assert_eq!(verdict(&Ranks::new(), &Ranks::new()), Verdict::CannotTell);
}

#[test]
fn the_difference_and_its_bounds_are_right() {
    let Judgment { queries, difference, lower, upper, .. } =
        judge(&ranks(60, 100), &ranks(50, 100), &GatePolicy::default());
    assert_eq!(queries, 100);
    assert!((difference - 0.10).abs() < 1e-12);
    // Ten of a hundred queries differ by one. This is a binomial share with standard error 0.03, so
    // the 95 % bounds are about 0.10 +- 0.059.
    assert!((lower - 0.05).abs() < 0.021, "{lower}");
    assert!((upper - 0.16).abs() < 0.021, "{upper}");
}

#[test]
fn a_name_that_climbs_without_reaching_the_top_counts() {
    let candidate: Ranks = vec![Some(2); 40];
    let reference: Ranks = vec![Some(5); 40];
    let judgment = judge(&candidate, &reference, &GatePolicy::default());
    assert_eq!(judgment.verdict, Verdict::Better);
    assert!((judgment.difference - 0.3).abs() < 1e-12);
}

#[test]
fn one_worse_domain_blocks_what_is_better_on_the_whole() {
    let queries: Vec<Query> = (0..200)
        .map(|at| query(if at < 150 { "brand" } else { "model" }, "typo", "name", Side::NewTypo))
        .collect();
    let candidate: Ranks = (0..200).map(|at| (at < 160).then_some(1)).collect();
    let reference: Ranks = (0..200).map(|at| (at >= 100).then_some(1)).collect();
    let gate = Gate::decide(&queries, &candidate, &reference, &GatePolicy::default());
    assert_eq!(gate.overall.verdict, Verdict::Better);
    assert_eq!((gate.verdict, gate.publish), (Verdict::Worse, false));
    assert_eq!(gate.worse_domains().collect::<Vec<_>>(), ["model"]);
}

#[test]
fn doubt_publishes_unless_the_setting_says_otherwise() {
    let queries = [query("brand", "typo", "name", Side::NewTypo)];
    let decide = |publish_when_unsure| {
        let policy = GatePolicy { publish_when_unsure, ..GatePolicy::default() };
        Gate::decide(&queries, &[None], &[Some(1)], &policy)
    };
    assert_eq!((decide(true).verdict, decide(true).publish), (Verdict::CannotTell, true));
    assert_eq!((decide(false).verdict, decide(false).publish), (Verdict::CannotTell, false));
}

#[test]
fn a_model_that_was_compared_on_nothing_is_not_published() {
    let mut report = Report::new(&[], &brands(), &[], &[], &GatePolicy::default());
    assert!(!report.gate.publish && !report.may_be_published(false) && report.may_be_published(true));
    assert!(report.gate.sentence().contains("nothing"), "{}", report.gate.sentence());
    // The gates of earlier versions allowed it.
    report.gate.publish = true;
    assert!(!report.may_be_published(false) && !report.to_string().contains("may be published"));
}

#[test]
fn a_policy_is_read_with_defaults_and_refuses_what_it_does_not_know() {
    let policy: GatePolicy = serde_json::from_str(r#"{"margin":0.05}"#).unwrap();
    // A record from before the budget: no query was fast enough to excuse a slow model.
    assert_eq!(policy, GatePolicy { margin: 0.05, query_budget_ms: 0.0, ..GatePolicy::default() });
    assert!(serde_json::from_str::<GatePolicy>(r#"{"margn":0.05}"#).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn judging_is_deterministic_ordered_and_antisymmetric(
        pairs in prop::collection::vec((prop::option::of(1usize..15), prop::option::of(1usize..15)), 0..60),
        seed in any::<u64>(),
    ) {
        let policy = GatePolicy { seed, resamples: 200, margin: 0.0, ..GatePolicy::default() };
        let (candidate, reference): (Ranks, Ranks) = pairs.into_iter().unzip();
        let one = judge(&candidate, &reference, &policy);
        prop_assert_eq!(one, judge(&candidate, &reference, &policy));
        prop_assert!(one.lower <= one.upper);
        prop_assert!(one.lower >= -1.0 && one.upper <= 1.0);
        let other = judge(&reference, &candidate, &policy);
        prop_assert!((one.difference + other.difference).abs() < 1e-9);
        prop_assert!((one.lower + other.upper).abs() < 1e-9, "the same resamples, mirrored");
        if one.verdict == Verdict::Better {
            prop_assert_eq!(other.verdict, Verdict::Worse);
        }
    }
}
