//! Ranks and scores, computed by hand.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;

use autovalidate::catalog_row::CatalogRow;
use autovalidate::evaluate::{
    Catalog, EvaluateError, FuzzyMatcher, FuzzyMetric, FuzzyRule, Query, Retrieval, Scores, Side,
    fuzzy_ratio, held_out_loss, model_ranks,
};
use autovalidate::templates::Templates;
use ndarray::{Array2, array};

use super::{brands, query};

/// Returns a model that looks up the embedding of each text.
fn by_heart(known: &[(&str, [f32; 2])]) -> impl FnMut(&[String]) -> Result<Array2<f32>, Infallible> + use<> {
    let known: BTreeMap<String, [f32; 2]> = known.iter().map(|(text, at)| ((*text).into(), *at)).collect();
    move |texts| {
        let rows: Vec<[f32; 2]> = texts.iter().map(|text| known[text]).collect();
        Ok(rows.into())
    }
}

#[test]
fn ranks_are_by_cosine_among_the_names_of_the_domain() {
    let catalog = Catalog::new([("brand", "Audi"), ("brand", "BMW"), ("brand", "Fiat"), ("model", "Polo")]);
    let queries = [
        query("brand", "oudi", "AUDI", Side::NewTypo),
        query("model", "pollo", "Polo", Side::NewTypo),
        query("brand", "bmv", "BMW", Side::NewTypo),
        query("brand", "fait", "Fiat", Side::NewTypo),
        query("brand", "fait", "Lada", Side::NewTypo),
        query("trim", "glx", "GLX", Side::NewTypo),
    ];
    let model = by_heart(&[
        ("car brand: Audi", [1.0, 0.0]),
        ("car brand: BMW", [0.6, 0.8]),
        ("car brand: Fiat", [0.0, 1.0]),
        ("car model: Polo", [-1.0, 0.0]),
        ("car brand: oudi", [1.0, 0.0]),  // cosines 1.0 0.6 0.0: Audi first
        ("car model: pollo", [1.0, 0.0]), // -1.0, but the only model
        ("car brand: bmv", [0.0, 1.0]),   // 0.0 0.8 1.0: BMW second
        ("car brand: fait", [1.0, 0.0]),  // 1.0 0.6 0.0: Fiat third, and Lada is missing
    ]);
    let ranks = model_ranks(&queries, &catalog, &Templates::default(), model).unwrap();
    assert_eq!(ranks, [Some(1), Some(1), Some(2), Some(3), None, None]);

    let retrieval = Retrieval::of(queries.iter().zip(ranks.iter().copied()));
    assert_eq!(retrieval.overall.queries, 6);
    assert_close(retrieval.overall.accuracy_at_1, 2.0 / 6.0);
    assert_close(retrieval.overall.mrr_at_10, (1.0 + 1.0 + 1.0 / 2.0 + 1.0 / 3.0) / 6.0);
    assert_close(retrieval.overall.recall_at_3, 4.0 / 6.0);
    assert_close(retrieval.domains["brand"].accuracy_at_1, 1.0 / 4.0);
    assert_close(retrieval.domains["model"].accuracy_at_1, 1.0);
    assert_close(retrieval.domains["trim"].accuracy_at_1, 0.0);
    assert_close(retrieval.macro_mean.accuracy_at_1, (0.25 + 1.0 + 0.0) / 3.0);
}

#[test]
fn a_name_is_as_near_as_its_nearest_text_in_the_index() {
    let row = |brand: &str, model: &str| CatalogRow::together([("brand", brand), ("model", model)]);
    let rows = [row("Audi", "A4"), row("Audi", "A6"), row("BMW", "X1"), row("Kia", "Ceed")];
    let templates = Templates::default();
    // The last row's names are not among those of the catalog, and a brand may be indexed alone.
    let names = rows[..3].iter().flat_map(CatalogRow::names).chain([("brand", "Fiat")]);
    let catalog = Catalog::new(names).with_indexed(&rows, &templates);
    assert_eq!(catalog.indexed(), 6);
    let queries = [
        query("brand", "oudi", "Audi", Side::NewTypo),
        query("brand", "bmv", "BMW", Side::NewTypo),
        query("brand", "fait", "Fiat", Side::NewTypo),
        query("model", "x2", "X1", Side::NewTypo),
    ];
    let model = || {
        by_heart(&[
            ("car brand: Audi models: A4", [-1.0, 0.0]),
            ("car brand: Audi models: A6", [0.6, 0.8]),
            ("car brand: BMW models: X1", [0.0, 1.0]),
            ("car brand: Fiat", [0.0, -1.0]),
            ("car model: A4 by Audi", [1.0, 0.0]),
            ("car model: A6 by Audi", [0.0, 1.0]),
            ("car model: X1 by BMW", [f32::NAN, 0.0]),
            ("car brand: oudi", [1.0, 0.0]),  // Audi 0.6, BMW 0.0, Fiat 0.0
            ("car brand: bmv", [0.6, 0.8]),   // Audi 1.0, BMW 0.8, Fiat -0.8
            ("car brand: fait", [-1.0, 0.0]), // Audi 1.0, BMW 0.0, Fiat 0.0
            ("car model: x2", [1.0, 0.0]),
        ])
    };
    let ranks = model_ranks(&queries, &catalog, &templates, model()).unwrap();
    assert_eq!(ranks, [Some(1), Some(2), Some(3), None]);
    let loss = held_out_loss(&queries[..1], &catalog, &templates, 1.0, model()).unwrap();
    let right = f64::from(0.6_f32).exp();
    assert_close(loss, -(right / (right + 2.0)).ln());
}

#[test]
fn the_held_out_loss_is_the_cross_entropy_among_the_domains_names() {
    let queries = [
        query("brand", "oudi", "Audi", Side::NewTypo),
        query("brand", "fait", "Lada", Side::NewTypo), // not in the catalog: not counted
        query("trim", "glx", "GLX", Side::NewTypo),    // unknown domain: not counted
    ];
    let catalog = Catalog::new(["Audi", "BMW"].map(|name| ("brand".to_owned(), name.to_owned())));
    let model = || {
        by_heart(&[
            ("car brand: Audi", [1.0, 0.0]),
            ("car brand: BMW", [0.0, 1.0]),
            ("car brand: oudi", [0.0, 0.5]),
            ("car brand: fait", [1.0, 0.0]),
        ])
    };
    let loss = |queries: &[_]| held_out_loss(queries, &catalog, &Templates::default(), 4.0, model()).unwrap();
    // -ln(e^0 / (e^0 + e^4)): cosines count, so the length of the typo's embedding doesn't.
    assert_close(loss(&queries), (1.0 + 4_f64.exp()).ln());
    assert_close(loss(&queries[1..2]), 0.0);
}

#[test]
fn equal_scores_are_ranked_in_the_order_of_the_catalog() {
    let queries = ["Audi", "BMW", "Fiat", "Ford"].map(|name| query("brand", name, name, Side::NewTypo));
    let ranks =
        model_ranks(&queries, &brands(), &Templates::default(), |texts| constant(texts, 1.0)).unwrap();
    assert_eq!(ranks, [Some(1), Some(2), Some(3), Some(4)]);
}

#[test]
fn a_model_that_gives_no_numbers_finds_nothing() {
    let queries = ["Audi", "Ford"].map(|name| query("brand", name, name, Side::NewTypo));
    let ranks =
        model_ranks(&queries, &brands(), &Templates::default(), |texts| constant(texts, f32::NAN)).unwrap();
    assert_eq!(ranks, [None, None]);
}

#[test]
fn more_queries_than_are_scored_at_once_keep_their_order() {
    let catalog = Catalog::new((0..300).map(|n| ("brand", format!("n{n}"))));
    let queries: Vec<Query> =
        (0..300).map(|n| query("brand", &format!("n{n}"), &format!("n{n}"), Side::NewTypo)).collect();
    // The embeddings are points on a quarter circle: each is nearest to itself.
    let model = |texts: &[String]| {
        let angle = |text: &String| text.rsplit('n').next().unwrap().parse::<f32>().unwrap() / 200.0;
        let rows: Vec<[f32; 2]> = texts.iter().map(|text| [angle(text).cos(), angle(text).sin()]).collect();
        Ok::<_, Infallible>(Array2::from(rows))
    };
    let ranks = model_ranks(&queries, &catalog, &Templates::default(), model).unwrap();
    assert!(ranks.iter().all(|rank| *rank == Some(1)), "{ranks:?}");
}

#[test]
fn ranks_beyond_the_cut_count_nothing() {
    let scores = Scores::of([Some(1), Some(3), Some(4), Some(10), Some(11), None]);
    assert_close(scores.accuracy_at_1, 1.0 / 6.0);
    assert_close(scores.recall_at_3, 2.0 / 6.0);
    assert_close(scores.mrr_at_10, (1.0 + 1.0 / 3.0 + 0.25 + 0.1) / 6.0);
    assert_eq!(Scores::of([]), Scores::default());
}

#[test]
fn an_encoder_that_misbehaves_is_an_error_and_no_panic() {
    let queries = [query("brand", "oudi", "Audi", Side::NewTypo)];
    let rank = |encode: &mut dyn FnMut(&[String]) -> io::Result<Array2<f32>>| {
        model_ranks(&queries, &brands(), &Templates::default(), encode)
    };
    let error = rank(&mut |_| Ok(array![[1.0, 0.0]])).unwrap_err();
    assert!(matches!(error, EvaluateError::Count { texts: 4, found: 1 }));
    let error = rank(&mut |texts| Ok(Array2::zeros((texts.len(), texts.len())))).unwrap_err();
    assert!(matches!(error, EvaluateError::Width { names: 4, queries: 1 }));
    let error = rank(&mut |_| Err(io::ErrorKind::TimedOut.into())).unwrap_err();
    assert!(matches!(error, EvaluateError::Encode(_)));
}

#[test]
fn the_catalog_keeps_the_first_of_equal_names() {
    let catalog = Catalog::new([("model", "Polo"), ("model", " POLO"), ("brand", "Polo"), ("model", "Golf")]);
    let domains: Vec<(&str, Vec<&str>)> = catalog
        .domains()
        .map(|(domain, names)| (domain, names.iter().map(String::as_str).collect()))
        .collect();
    assert_eq!(domains, [("brand", vec!["Polo"]), ("model", vec!["Polo", "Golf"])]);
    assert_eq!(catalog.len(), 3);
}

#[test]
fn the_fuzzy_ratio_is_pythons() {
    // rapidfuzz.fuzz.ratio is 200 * (longest common subsequence) / (sum of lengths).
    assert_close(fuzzy_ratio("toyta", "Toyota"), 200.0 * 5.0 / 11.0);
    assert_close(fuzzy_ratio("BMW", "bmw "), 100.0);
    assert_close(fuzzy_ratio("abc", "xyz"), 0.0);
    assert_close(fuzzy_ratio("", ""), 100.0);
    assert_close(fuzzy_ratio("škoda", "Skoda"), 80.0);
}

#[test]
fn the_matcher_goes_by_that_ratio() {
    let of = |typo: &str| {
        FuzzyMatcher::new(&brands(), FuzzyRule::default()).search(&query(
            "brand",
            typo,
            "Ford",
            Side::NewTypo,
        ))
    };
    for typo in ["fird", "fod", "fo rd", "frd mustang", "ft", "xyz", "Fiatt"] {
        let best = brands()
            .domains()
            .filter(|(domain, _)| *domain == "brand")
            .flat_map(|(_, names)| names.iter().map(|name| fuzzy_ratio(typo, name)).collect::<Vec<_>>())
            .fold(0.0, f64::max);
        assert_close(of(typo).best, best);
    }
    // Python's rapidfuzz gives this ratio for the two texts.
    assert_close(of("fod").best, 200.0 * 3.0 / 7.0);
    assert!(!of("fod").leaves_to_model(FuzzyRule::default()));
}

#[test]
fn the_slice_is_what_the_fuzzy_matcher_is_not_sure_of() {
    // Against Audi, BMW, Fiat, Ford: "fird" has ratio 75 to Ford (6/8) and 50 to Audi and Fiat.
    let sure = FuzzyMatcher::new(&brands(), FuzzyRule::default()).search(&query(
        "brand",
        "fird",
        "Ford",
        Side::NewTypo,
    ));
    assert_eq!((sure.rank, sure.best), (Some(1), 75.0));
    assert!(!sure.leaves_to_model(FuzzyRule::default()), "a ratio equal to the threshold is enough");
    // "fxrx" has ratio 50 to Ford (f, r) and 25 to Fiat (f): Ford is first, but below the
    // threshold.
    let unsure = FuzzyMatcher::new(&brands(), FuzzyRule::default()).search(&query(
        "brand",
        "fxrx",
        "Fiat",
        Side::NewTypo,
    ));
    assert_eq!((unsure.rank, unsure.best), (Some(2), 50.0));
    assert!(unsure.leaves_to_model(FuzzyRule::default()));
    let unknown = FuzzyMatcher::new(&brands(), FuzzyRule::default()).search(&query(
        "trim",
        "glx",
        "GLX",
        Side::NewTypo,
    ));
    assert_eq!((unknown.rank, unknown.best), (None, 0.0));
}

fn constant(texts: &[String], value: f32) -> Result<Array2<f32>, Infallible> {
    Ok(Array2::from_elem((texts.len(), 1), value))
}

#[track_caller]
fn assert_close(found: f64, expected: f64) {
    assert!((found - expected).abs() < 1e-9, "{found} is not {expected}");
}

#[test]
fn a_backend_with_another_rule_leaves_other_queries_to_the_model() {
    let typo = query("brand", "fird", "Ford", Side::NewTypo);
    let left = |rule: FuzzyRule| FuzzyMatcher::new(&brands(), rule).search(&typo).leaves_to_model(rule);
    assert!(!left(FuzzyRule::default()));
    assert!(left(FuzzyRule { threshold: 75.5, ..FuzzyRule::default() }));
    let swapped = query("model", "van caddy", "Caddy Van", Side::NewTypo);
    let catalog = Catalog::new([("model", "Caddy Van".to_owned())]);
    let best = |metric| {
        let rule = FuzzyRule { metric, ..FuzzyRule::default() };
        FuzzyMatcher::new(&catalog, rule).search(&swapped).best
    };
    assert_close(best(FuzzyMetric::ByLength), 100.0);
    assert!(best(FuzzyMetric::Ratio) < 75.0);
    // Records from before this setting mean the backend's rule.
    assert_eq!(serde_json::from_str::<FuzzyRule>("{}").unwrap(), FuzzyRule::default());
}
