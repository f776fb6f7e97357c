//! Evaluation: scores computed by hand, and properties that hold for any input.

mod cohort;
mod gate;
mod holdout;
mod rapidfuzz;
mod report;
mod retrieval;
mod sanity;
mod string_metrics;

use autovalidate::evaluate::{Catalog, Query, Side};

fn query(domain: &str, typo: &str, corrected: &str, side: Side) -> Query {
    Query { domain: domain.into(), typo: typo.into(), corrected: corrected.into(), side }
}

fn brands() -> Catalog {
    Catalog::new([("brand", "Audi"), ("brand", "BMW"), ("brand", "Fiat"), ("brand", "Ford")])
}
