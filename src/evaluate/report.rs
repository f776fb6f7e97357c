//! Everything an evaluation found, as it goes into the receipt and the run record.

use serde::{Deserialize, Serialize};

use super::fuzzy::{FuzzyMatch, fuzzy_match};
use super::retrieval::{Rank, Retrieval, Scores};
use super::{Catalog, Cohorts, Gate, GatePolicy, Query, Sanity, Side};

/// The fuzzy matcher and the models, on the same queries.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Comparison {
    /// The fuzzy matcher's best guess, its threshold ignored.
    pub fuzzy: Retrieval,
    /// The original model, from before any training; none where it is not at hand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub original: Option<Retrieval>,
    /// The live model: the one that the new model would replace.
    pub before: Retrieval,
    /// The new model.
    pub after: Retrieval,
}

/// What people get: the fuzzy matcher's answer where it is sure, else the model's. Accuracy at 1.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct EndToEnd {
    /// With the live model.
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
    #[serde(rename = "catalogue")]
    pub catalog: usize,
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
    /// How it was judged.
    #[serde(default)]
    pub policy: GatePolicy,
    /// May the model be published, by its answers?
    pub gate: Gate,
    /// And is what it gives an embedding at all?
    #[serde(default)]
    pub sanity: Sanity,
}

/// What models are compared on.
#[derive(Clone, Copy)]
pub struct Questions<'a> {
    /// What is asked.
    pub queries: &'a [Query],
    /// The ids of the queries' rows, in their order; empty where nobody knows.
    pub rows: &'a [i64],
    /// The names the queries are looked up among.
    pub catalog: &'a Catalog,
    /// Which rows are new and which are old.
    pub cohorts: Cohorts,
}

/// The ranks of the right names by each model, in the order of the queries.
#[derive(Clone, Copy)]
pub struct Answers<'a> {
    /// By the original model, if it is at hand.
    pub original: Option<&'a [Rank]>,
    /// By the live model.
    pub before: &'a [Rank],
    /// By the new model.
    pub after: &'a [Rank],
}

/// A query and what each made of it.
struct Ranked<'a> {
    query: &'a Query,
    fuzzy: FuzzyMatch,
    original: Option<Rank>,
    before: Rank,
    after: Rank,
}

impl Report {
    /// Compares two models by their ranks, both in the order of `queries`.
    pub fn new(
        queries: &[Query],
        catalog: &Catalog,
        before: &[Rank],
        after: &[Rank],
        policy: &GatePolicy,
    ) -> Self {
        let questions = Questions { queries, rows: &[], catalog, cohorts: Cohorts::default() };
        Self::compare(&questions, &Answers { original: None, before, after }, policy)
    }

    /// Compares models by their answers, also on the newest rows and on those of earlier versions.
    pub fn compare(questions: &Questions<'_>, answers: &Answers<'_>, policy: &GatePolicy) -> Self {
        let Questions { queries, rows, catalog, cohorts } = *questions;
        let Answers { original, before, after } = *answers;
        let ranked: Vec<Ranked<'_>> = queries
            .iter()
            .enumerate()
            .zip(before.iter().zip(after))
            .map(|((place, query), (&before, &after))| Ranked {
                query,
                fuzzy: fuzzy_match(query, catalog),
                original: original.and_then(|ranks| ranks.get(place).copied()),
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
            catalog: catalog.len(),
            held_out: group(None),
            new_typo: group(Some(Side::NewTypo)),
            unseen_correction: group(Some(Side::UnseenCorrection)),
            newest: cohort(&|row| cohorts.is_newest(row)),
            legacy: cohort(&|row| cohorts.is_legacy(row)),
            policy: *policy,
            gate: Gate::decide_with(queries, rows, after, before, policy, &cohorts),
            sanity: Sanity::default(),
        }
    }

    /// Whether the model may be published: the gate lets it through and nothing is wrong with its embeddings. A
    /// person may insist against the gate, and on a slow model, but not on one that gives no embeddings.
    pub fn may_be_published(&self, insisted: bool) -> bool {
        (self.gate.publish && self.sanity.is_sane()) || (insisted && self.sanity.is_usable())
    }

    /// Every group of queries that is there, with its name: all, then by side and cohort.
    pub fn groups(&self) -> Vec<(&'static str, &Group)> {
        let mut groups = vec![
            ("all", &self.held_out),
            ("known corrections", &self.new_typo),
            ("unseen corrections", &self.unseen_correction),
        ];
        groups.extend(self.newest.as_ref().map(|group| ("newest rows", group)));
        groups.extend(self.legacy.as_ref().map(|group| ("earlier versions' test", group)));
        groups
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
        let original = ranked.iter().all(|ranked| ranked.original.is_some()) && !ranked.is_empty();
        Self {
            fuzzy: by(|ranked| ranked.fuzzy.rank),
            original: original.then(|| by(|ranked| ranked.original.flatten())),
            before: by(|ranked| ranked.before),
            after: by(|ranked| ranked.after),
        }
    }
}
