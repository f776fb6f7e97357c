//! All results of an evaluation, as the receipt and the run record store them.

use serde::{Deserialize, Serialize};

use super::fuzzy::{FuzzyMatch, FuzzyMatcher};
use super::fuzzy_rule::FuzzyRule;
use super::retrieval::{Rank, Retrieval, Scores};
use super::{
    Catalog, Cohorts, Gate, GatePolicy, MetricScores, Query, Sanity, ServingAdvice, Side, string_metrics,
};

/// Scores of the fuzzy matcher and the models on the same queries.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Comparison {
    /// Scores of the fuzzy matcher's best guess; its threshold is ignored.
    pub fuzzy: Retrieval,
    /// Scores of the original model, from before any training; `None` when that model is not
    /// available.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub original: Option<Retrieval>,
    /// Scores of the live model, which the new model would replace.
    pub before: Retrieval,
    /// Scores of the new model.
    pub after: Retrieval,
}

/// Accuracy at 1 of the answers people get: the fuzzy matcher's where its ratio reaches the
/// threshold, otherwise the model's.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct EndToEnd {
    /// Accuracy at 1 with the live model.
    pub before: f64,
    /// Accuracy at 1 with the new model.
    pub after: f64,
}

/// Results on a group of queries.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Group {
    /// All queries of the group.
    pub all: Comparison,
    /// Slice of queries that the fuzzy matcher leaves to the model.
    pub slice: Comparison,
    /// Accuracy of the answers people get.
    pub end_to_end: EndToEnd,
}

/// Results of an evaluation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Number of names in the catalog the queries were looked up in.
    #[serde(rename = "catalogue")]
    pub catalog: usize,
    /// Every held-out pair.
    pub held_out: Group,
    /// New typos of known corrections.
    pub new_typo: Group,
    /// Typos of corrections that occur in no training pair.
    pub unseen_correction: Group,
    /// Typos of corrections that training has not seen at all, not even in synthetic typos. They are part
    /// of the unseen corrections; `None` when there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new_name: Option<Group>,
    /// The newest rows; `None` when the run holds out none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub newest: Option<Group>,
    /// Queries that judged earlier versions; `None` when no earlier version is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub legacy: Option<Group>,
    /// Scores of the string metrics, alone and in pairs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub string_metrics: Vec<MetricScores>,
    /// Advice on serving the new model; `None` when there are too few questions for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serving: Option<ServingAdvice>,
    /// Rules the gate applied.
    #[serde(default)]
    pub policy: GatePolicy,
    /// Decision of the gate, by the models' ranks.
    pub gate: Gate,
    /// Result of the checks on the embeddings and the speed.
    #[serde(default)]
    pub sanity: Sanity,
}

/// Queries that models are compared on, with their catalog.
#[derive(Clone, Copy)]
pub struct QuerySet<'a> {
    /// Held-out queries.
    pub queries: &'a [Query],
    /// Row ids of the queries, in the same order; empty when they are unknown.
    pub rows: &'a [i64],
    /// Names the queries are looked up in.
    pub catalog: &'a Catalog,
    /// Row id limits of the newest and the legacy cohort.
    pub cohorts: Cohorts,
}

/// Ranks of the right names by each model, in the order of the queries.
#[derive(Clone, Copy)]
pub struct ModelRanks<'a> {
    /// Ranks by the original model, if it is available.
    pub original: Option<&'a [Rank]>,
    /// Ranks by the live model.
    pub before: &'a [Rank],
    /// Ranks by the new model.
    pub after: &'a [Rank],
}

/// A query with the results of the fuzzy matcher and of each model.
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
        let questions = QuerySet { queries, rows: &[], catalog, cohorts: Cohorts::default() };
        Self::compare(&questions, &ModelRanks { original: None, before, after }, policy)
    }

    /// Compares models by their ranks, overall and on the newest and the legacy cohort.
    pub fn compare(questions: &QuerySet<'_>, answers: &ModelRanks<'_>, policy: &GatePolicy) -> Self {
        let QuerySet { queries, rows, catalog, cohorts } = *questions;
        let ModelRanks { original, before, after } = *answers;
        let matcher = FuzzyMatcher::new(catalog, policy.fuzzy);
        let ranked: Vec<Ranked<'_>> = queries
            .iter()
            .enumerate()
            .zip(before.iter().zip(after))
            .map(|((place, query), (&before, &after))| Ranked {
                query,
                fuzzy: matcher.search(query),
                original: original.and_then(|ranks| ranks.get(place).copied()),
                before,
                after,
            })
            .collect();
        // Queries of unknown rows belong to no cohort of rows.
        let part = |belongs: &dyn Fn(Side, Option<i64>) -> bool| {
            let row = |at: usize| rows.get(at).copied();
            let of_part = ranked.iter().enumerate();
            let of_part = of_part.filter(|(at, ranked)| belongs(ranked.query.side, row(*at)));
            of_part.map(|(_, ranked)| ranked).collect::<Vec<_>>()
        };
        let group = |part: Vec<&Ranked<'_>>| Group::of(part, policy.fuzzy);
        let present = |part: Vec<&Ranked<'_>>| (!part.is_empty()).then(|| group(part));
        Self {
            catalog: catalog.len(),
            held_out: group(part(&|_, _| true)),
            new_typo: group(part(&|side, _| side == Side::NewTypo)),
            unseen_correction: group(part(&|side, _| matches!(side, Side::UnseenCorrection | Side::NewName))),
            new_name: present(part(&|side, _| side == Side::NewName)),
            newest: present(part(&|_, row| row.is_some_and(|row| cohorts.is_newest(row)))),
            legacy: present(part(&|_, row| row.is_some_and(|row| cohorts.is_legacy(row)))),
            string_metrics: string_metrics::scores(queries, &matcher),
            serving: None,
            policy: *policy,
            gate: Gate::decide_with(queries, rows, after, before, policy, &cohorts),
            sanity: Sanity::default(),
        }
    }

    /// True when the model may be published: the gate allows it, the sanity checks found no defect, and
    /// the models were compared on something, which earlier versions' gates did not demand. With
    /// `insisted`, a person overrides the gate and the check of speed, but not the checks of the
    /// embeddings.
    pub fn may_be_published(&self, insisted: bool) -> bool {
        let is_judged = self.gate.overall.queries > 0;
        (is_judged && self.gate.publish && self.sanity.is_sane()) || (insisted && self.sanity.is_usable())
    }

    /// Returns the string metric that finds most right names first, by these scores.
    pub fn best_metric(&self, scores: impl Fn(&MetricScores) -> Scores) -> Option<&MetricScores> {
        let right = |metric: &&MetricScores| scores(metric).accuracy_at_1;
        self.string_metrics.iter().max_by(|one, other| right(one).total_cmp(&right(other)))
    }

    /// Returns a sentence for all queries and for those left to the model: the best string metric, beside
    /// the new model.
    pub fn best_metric_sentences(&self) -> Vec<String> {
        type Part = (&'static str, fn(&MetricScores) -> Scores, fn(&Group) -> &Comparison);
        let parts: [Part; 2] = [
            ("all typos", |metric| metric.all, |group| &group.all),
            ("those left to the model", |metric| metric.slice, |group| &group.slice),
        ];
        let sentence = |(name, scores, part): Part| {
            let best = self.best_metric(scores).filter(|best| scores(best).queries > 0)?;
            let (Scores { accuracy_at_1, queries, .. }, metric) = (scores(best), best.name());
            let new = part(&self.held_out).after.overall;
            let of = match queries == new.queries {
                true => String::new(),
                false => format!(" of {queries} of them"),
            };
            Some(format!(
                "best string metric on {name}: {metric}, accuracy@1 {accuracy_at_1:.3}{of} (new model {:.3})",
                new.accuracy_at_1
            ))
        };
        parts.into_iter().filter_map(sentence).collect()
    }

    /// Returns every group of queries that exists, with its name: all queries, then the groups by
    /// side and cohort.
    pub fn groups(&self) -> Vec<(&'static str, &Group)> {
        let mut groups = vec![
            ("all", &self.held_out),
            ("known corrections", &self.new_typo),
            ("unseen corrections", &self.unseen_correction),
        ];
        groups.extend(self.new_name.as_ref().map(|group| ("new names", group)));
        groups.extend(self.newest.as_ref().map(|group| ("newest rows", group)));
        groups.extend(self.legacy.as_ref().map(|group| ("earlier versions' test", group)));
        groups
    }
}

impl Group {
    fn of(ranked: Vec<&Ranked<'_>>, rule: FuzzyRule) -> Self {
        let all = Comparison::of(&ranked);
        let served = |model: fn(&Ranked<'_>) -> Rank| {
            let ranks = ranked.iter().map(|ranked| match ranked.fuzzy.leaves_to_model(rule) {
                true => model(ranked),
                false => ranked.fuzzy.rank,
            });
            Scores::of(ranks).accuracy_at_1
        };
        let end_to_end =
            EndToEnd { before: served(|ranked| ranked.before), after: served(|ranked| ranked.after) };
        let slice: Vec<_> = ranked.into_iter().filter(|ranked| ranked.fuzzy.leaves_to_model(rule)).collect();
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
