//! Everything an evaluation found, as it goes into the receipt and the run record.

use serde::{Deserialize, Serialize};

use super::fuzzy::{FuzzyMatch, fuzzy_match};
use super::retrieval::{Rank, Retrieval, Scores};
use super::{Catalogue, Cohorts, Gate, Policy, Query, Side};

/// The fuzzy matcher, the model before training and the model after it, on the same queries.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Comparison {
    /// The fuzzy matcher's best guess, its threshold ignored.
    pub fuzzy: Retrieval,
    /// The model training started from.
    pub before: Retrieval,
    /// The new model.
    pub after: Retrieval,
}

/// What people get: the fuzzy matcher's answer where it is sure, else the model's. Accuracy at 1.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct EndToEnd {
    /// With the model training started from.
    pub before: f64,
    /// With the new model.
    pub after: f64,
}

/// A group of queries.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Group {
    /// All its queries.
    pub all: Comparison,
    /// Those the fuzzy matcher leaves to the model.
    pub slice: Comparison,
    /// What people get.
    pub end_to_end: EndToEnd,
}

/// An evaluation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Number of names the queries were looked up among.
    pub catalogue: usize,
    /// Every held-out pair.
    pub held_out: Group,
    /// New typos of known corrections.
    pub new_typo: Group,
    /// Typos of corrections that occur in no training pair.
    pub unseen_correction: Group,
    /// The newest rows; none where a run keeps none out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub newest: Option<Group>,
    /// What earlier versions were judged by; none where no earlier version is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub legacy: Option<Group>,
    /// May the model be published?
    pub gate: Gate,
}

/// A query and what each of the three made of it.
struct Ranked<'a> {
    query: &'a Query,
    fuzzy: FuzzyMatch,
    before: Rank,
    after: Rank,
}

impl Report {
    /// Compares two models by their ranks, both in the order of `queries`.
    pub fn new(
        queries: &[Query],
        catalogue: &Catalogue,
        before: &[Rank],
        after: &[Rank],
        policy: &Policy,
    ) -> Self {
        Self::with_cohorts(queries, &[], catalogue, before, after, policy, &Cohorts::default())
    }

    /// As [`new`](Self::new), with the newest rows and those of earlier versions as further groups. `rows` are the
    /// ids of the queries' rows, in their order.
    pub fn with_cohorts(
        queries: &[Query],
        rows: &[i64],
        catalogue: &Catalogue,
        before: &[Rank],
        after: &[Rank],
        policy: &Policy,
        cohorts: &Cohorts,
    ) -> Self {
        let ranks = before.iter().zip(after);
        let ranked: Vec<Ranked<'_>> = queries
            .iter()
            .zip(ranks)
            .map(|(query, (&before, &after))| Ranked {
                query,
                fuzzy: fuzzy_match(query, catalogue),
                before,
                after,
            })
            .collect();
        let group = |side: Option<Side>| {
            Group::of(
                ranked.iter().filter(|ranked| side.is_none_or(|side| ranked.query.side == side)).collect(),
            )
        };
        let cohort = |belongs: &dyn Fn(i64) -> bool| {
            let of_rows = rows.iter().zip(&ranked).filter(|(row, _)| belongs(**row));
            let ranked: Vec<&Ranked<'_>> = of_rows.map(|(_, ranked)| ranked).collect();
            (!ranked.is_empty()).then(|| Group::of(ranked))
        };
        Self {
            catalogue: catalogue.len(),
            held_out: group(None),
            new_typo: group(Some(Side::NewTypo)),
            unseen_correction: group(Some(Side::UnseenCorrection)),
            newest: cohort(&|row| cohorts.is_newest(row)),
            legacy: cohort(&|row| cohorts.is_legacy(row)),
            gate: Gate::decide_with(queries, rows, after, before, policy, cohorts),
        }
    }
}

impl Group {
    fn of(ranked: Vec<&Ranked<'_>>) -> Self {
        let all = Comparison::of(&ranked);
        let served = |model: fn(&Ranked<'_>) -> Rank| {
            let ranks = ranked.iter().map(|ranked| match ranked.fuzzy.leaves_to_model() {
                true => model(ranked),
                false => ranked.fuzzy.rank,
            });
            Scores::of(ranks).accuracy_at_1
        };
        let end_to_end =
            EndToEnd { before: served(|ranked| ranked.before), after: served(|ranked| ranked.after) };
        let slice: Vec<_> = ranked.into_iter().filter(|ranked| ranked.fuzzy.leaves_to_model()).collect();
        Self { all, slice: Comparison::of(&slice), end_to_end }
    }
}

impl Comparison {
    fn of(ranked: &[&Ranked<'_>]) -> Self {
        let by = |rank: fn(&Ranked<'_>) -> Rank| {
            Retrieval::of(ranked.iter().map(|ranked| (ranked.query, rank(ranked))))
        };
        Self {
            fuzzy: by(|ranked| ranked.fuzzy.rank),
            before: by(|ranked| ranked.before),
            after: by(|ranked| ranked.after),
        }
    }
}
