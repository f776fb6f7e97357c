//! String metrics as the bar for a model, and advice on serving a model beside them.

use std::convert::Infallible;

use autovalidate::evaluate::{
    Catalog, FuzzyRule, GatePolicy, MetricScores, Query, Report, ServingAdvice, ServingTrials, Side,
    StringMetric, model_ranks_with,
};
use autovalidate::templates::Templates;
use autovalidate_fakes::demo;
use ndarray::{Array2, ArrayView1};

use super::{brands, query};

fn report(queries: &[Query], catalog: &Catalog) -> Report {
    let ranks = vec![Some(1); queries.len()];
    Report::new(queries, catalog, &ranks, &ranks, &GatePolicy::default())
}

fn of<'a>(report: &'a Report, metrics: &[StringMetric]) -> &'a MetricScores {
    report.string_metrics.iter().find(|scores| scores.metrics == metrics).unwrap()
}

#[test]
fn each_metric_and_each_two_are_scored_on_the_runs_own_queries() {
    // By ratio, "fodr" is as near to Fodo, which comes first, as to Ford; a swap is one edit, though.
    let catalog = Catalog::new([("brand", "Fodo"), ("brand", "Ford"), ("brand", "Audi")]);
    let queries =
        [query("brand", "fodr", "Ford", Side::NewTypo), query("brand", "audi", "Audi", Side::NewTypo)];
    let report = report(&queries, &catalog);
    assert_eq!(report.string_metrics.len(), 15, "five metrics and ten pairs");
    assert_eq!(of(&report, &[StringMetric::Ratio]).all.accuracy_at_1, 0.5);
    assert_eq!(of(&report, &[StringMetric::Ratio]).all.queries, 2);
    let best = report.best_metric(|metric| metric.all).unwrap();
    assert_eq!(best.all.accuracy_at_1, 1.0, "{}", best.name());
    assert_eq!(
        of(&report, &[StringMetric::Ratio, StringMetric::Ngrams]).name(),
        "mean of ratio and tf-idf of 1-3-grams"
    );
    let text = report.to_string();
    let expected =
        format!("best string metric on all typos: {}, accuracy@1 1.000 (new model 1.000)", best.name());
    assert!(text.contains(&expected), "{text}");
}

#[test]
fn a_name_that_the_catalog_lacks_has_no_rank_by_any_metric() {
    let queries = [query("brand", "ledy", "Lada", Side::NewTypo), query("trim", "glx", "GLX", Side::NewTypo)];
    let report = report(&queries, &brands());
    for metric in &report.string_metrics {
        assert_eq!((metric.all.queries, metric.all.accuracy_at_1), (2, 0.0), "{}", metric.name());
    }
}

#[test]
fn the_demos_typos_are_found_by_each_metric_and_no_worse_by_the_best_two() {
    let catalog = Catalog::new(demo::catalog().iter().map(|entry| (entry.domain, entry.name)));
    let queries: Vec<Query> = demo::corrections(3, 300)
        .into_iter()
        .map(|pair| query(pair.domain, &pair.typo, pair.corrected, Side::NewTypo))
        .collect();
    let report = report(&queries, &catalog);
    let best = |count: usize| {
        let metrics = report.string_metrics.iter().filter(|metric| metric.metrics.len() == count);
        metrics.map(|metric| metric.all.accuracy_at_1).fold(0.0, f64::max)
    };
    for metric in &report.string_metrics {
        assert!(metric.all.accuracy_at_1 > 0.7, "{}: {:?}", metric.name(), metric.all);
        assert!(metric.slice.queries > 0 && metric.slice.queries < 300);
    }
    assert!(best(2) >= best(1), "{} by two, {} by one", best(2), best(1));
}

/// Embeds each text as one column per name: 1 in that of the name whose text it is, and a typo in that of
/// the name at its place in `meant`.
fn embed(names: &[&str], meant: &[(String, usize)], texts: &[String]) -> Result<Array2<f32>, Infallible> {
    let place = |text: &String| {
        let name = names.iter().position(|name| text.ends_with(name));
        name.or_else(|| meant.iter().find(|(typo, _)| text.ends_with(typo.as_str())).map(|(_, place)| *place))
    };
    Ok(Array2::from_shape_fn((texts.len(), names.len()), |(row, column)| {
        f32::from(u8::from(place(&texts[row]) == Some(column)))
    }))
}

/// Returns the advice for a model that embeds in this way.
fn tried(
    queries: &[Query],
    catalog: &Catalog,
    encode: impl FnMut(&[String]) -> Result<Array2<f32>, Infallible>,
) -> Option<ServingAdvice> {
    let mut trials = ServingTrials::new(queries, catalog, FuzzyRule::default());
    let visit = |query: usize, cosines: ArrayView1<'_, f32>, right| trials.add(query, cosines, right);
    model_ranks_with(queries, catalog, &Templates::default(), encode, visit).unwrap();
    trials.advice()
}

#[test]
fn advice_prefers_whoever_is_right() {
    let names = ["Alpha", "Bravo", "Charlie", "Delta"];
    let catalog = Catalog::new(names.map(|name| ("brand", name)));
    let queries: Vec<Query> = (0..60)
        .map(|number| {
            let name = names[number % 4];
            query("brand", &format!("{}{number}", &name[..3]), name, Side::NewTypo)
        })
        .collect();
    let advice = |shift: usize| {
        let meant: Vec<(String, usize)> =
            (0..60).map(|number| (queries[number].typo.clone(), (number + shift) % 4)).collect();
        tried(&queries, &catalog, |texts| embed(&names, &meant, texts)).unwrap()
    };
    // A model that is always right, and a ratio that is always right, too.
    let right = advice(0);
    assert_eq!((right.queries, right.model.accuracy, right.fuzzy.accuracy), (60, 1.0, 1.0));
    assert_eq!((right.today.accuracy, right.by_mixture.accuracy), (1.0, 1.0));
    // A model that is always wrong: the ratio decides, and the advice says so.
    let wrong = advice(1);
    assert_eq!((wrong.model.accuracy, wrong.fuzzy.accuracy), (0.0, 1.0));
    assert!(wrong.today.accuracy < 1.0, "ratios below the threshold are left to the model");
    assert_eq!((wrong.by_threshold.accuracy, wrong.by_mixture.accuracy), (1.0, 1.0));
    assert!(wrong.cosine_weight < 0.5 && wrong.threshold < 75.0, "{wrong:?}");

    let few = tried(&queries[..49], &catalog, |texts| embed(&names, &[], texts));
    assert_eq!(few, None, "fifty queries are the least that advice is given for");
}
