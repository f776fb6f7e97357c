//! May a new model be published? Judged on the same queries as the model it would replace.
//!
//! What is compared is 1 / rank of each query, which also moves when the right name climbs without reaching the
//! top. A paired bootstrap says how far the mean difference could be off: the same queries, drawn again and again
//! with replacement, candidate and reference always together, so that hard and easy queries cancel out.

use std::collections::BTreeMap;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::retrieval::{Rank, reciprocal};
use super::{Cohorts, Query};

/// What the comparison says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Better than chance explains.
    Better,
    /// At most worse by no more than [`GatePolicy::margin`].
    NoWorse,
    /// Worse than chance explains, and possibly by more than [`GatePolicy::margin`].
    Worse,
    /// Too few queries, or too mixed a result.
    CannotTell,
}

impl Verdict {
    /// As it is written in records and reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Better => "better",
            Self::NoWorse => "no_worse",
            Self::Worse => "worse",
            Self::CannotTell => "cannot_tell",
        }
    }

    /// As a person reads it.
    pub fn words(self) -> &'static str {
        match self {
            Self::Better => "better",
            Self::NoWorse => "no worse",
            Self::Worse => "worse",
            Self::CannotTell => "cannot tell",
        }
    }
}

/// How the gate judges.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GatePolicy {
    /// Below this number of queries nothing can be told.
    pub minimum_queries: usize,
    /// How far the mean of 1 / rank may possibly have fallen and still count as no worse.
    pub margin: f64,
    /// Probability that the bounds hold the true difference.
    pub confidence: f64,
    /// Number of resamples.
    pub resamples: usize,
    /// Seed of the resampling, so that a run can be replayed.
    pub seed: u64,
    /// Whether a model of which nothing can be told is published: without it a new installation, which has few
    /// held-out pairs, would never publish its first model.
    pub publish_when_unsure: bool,
    /// How much longer than the model it replaces a new one may take to encode, as a multiple.
    pub slowest: f64,
}

impl Default for GatePolicy {
    fn default() -> Self {
        Self {
            minimum_queries: 20,
            margin: 0.02,
            confidence: 0.95,
            resamples: 2_000,
            seed: 0,
            publish_when_unsure: true,
            slowest: 1.2,
        }
    }
}

/// The comparison on one set of queries.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Judgment {
    /// What it says.
    pub verdict: Verdict,
    /// Number of queries.
    pub queries: usize,
    /// Mean of the candidate's 1 / rank less the reference's; above zero is better.
    pub difference: f64,
    /// Lower bound of the difference.
    pub lower: f64,
    /// Upper bound of the difference.
    pub upper: f64,
}

/// The gate's decision and its grounds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Gate {
    /// The verdict that decides: worse if a single domain or cohort is worse, else that over all queries.
    pub verdict: Verdict,
    /// Whether the model may be published.
    pub publish: bool,
    /// Over all queries.
    pub overall: Judgment,
    /// By domain.
    pub domains: BTreeMap<String, Judgment>,
    /// The newest window; none where a run has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub newest: Option<Judgment>,
    /// What earlier versions were judged by: worse here is forgetting.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub legacy: Option<Judgment>,
}

impl Gate {
    /// Decides by the ranks of `candidate` and `reference`, both in the order of `queries`.
    ///
    /// A model that gains on one domain what it loses on another is worse for everyone who fills in that other
    /// field, so each domain with enough queries has a veto.
    pub fn decide(queries: &[Query], candidate: &[Rank], reference: &[Rank], policy: &GatePolicy) -> Self {
        Self::decide_with(queries, &[], candidate, reference, policy, &Cohorts::default())
    }

    /// As [`decide`](Self::decide), and each cohort has a veto too. `rows` are the ids of the queries' rows, in
    /// their order.
    pub fn decide_with(
        queries: &[Query],
        rows: &[i64],
        candidate: &[Rank],
        reference: &[Rank],
        policy: &GatePolicy,
        cohorts: &Cohorts,
    ) -> Self {
        let differences = differences(candidate, reference);
        let overall = judge_differences(&differences, policy);
        let mut by_domain: BTreeMap<String, Vec<f64>> = BTreeMap::new();
        for (query, difference) in queries.iter().zip(&differences) {
            by_domain.entry(query.domain.clone()).or_default().push(*difference);
        }
        let domains: BTreeMap<String, Judgment> = by_domain
            .into_iter()
            .map(|(domain, differences)| (domain, judge_differences(&differences, policy)))
            .collect();
        let cohort = |belongs: &dyn Fn(i64) -> bool| {
            let of_rows = rows.iter().zip(&differences).filter(|(row, _)| belongs(**row));
            let differences: Vec<f64> = of_rows.map(|(_, difference)| *difference).collect();
            (!differences.is_empty()).then(|| judge_differences(&differences, policy))
        };
        let newest = cohort(&|row| cohorts.is_newest(row));
        let legacy = cohort(&|row| cohorts.is_legacy(row));
        let any_worse =
            domains.values().chain(&newest).chain(&legacy).any(|judgment| judgment.verdict == Verdict::Worse);
        let verdict = if any_worse { Verdict::Worse } else { overall.verdict };
        let publish = match verdict {
            Verdict::Better | Verdict::NoWorse => true,
            Verdict::Worse => false,
            Verdict::CannotTell => policy.publish_when_unsure,
        };
        Self { verdict, publish, overall, domains, newest, legacy }
    }

    /// Every judgment and what it is about: each domain, then the cohorts.
    pub fn parts(&self) -> impl Iterator<Item = (&str, &Judgment)> {
        let domains = self.domains.iter().map(|(domain, judgment)| (domain.as_str(), judgment));
        let cohorts = [("the newest rows", &self.newest), ("what earlier versions knew", &self.legacy)];
        domains.chain(cohorts.into_iter().filter_map(|(name, judgment)| Some((name, judgment.as_ref()?))))
    }

    /// The decision and its grounds in one sentence, for a person.
    pub fn sentence(&self) -> String {
        let Judgment { queries, difference, lower, upper, .. } = self.overall;
        let mut sentence = format!(
            "{}: mean reciprocal rank on {queries} held-out typos changed by {difference:+.3} (between {lower:+.3} and \
             {upper:+.3})",
            self.verdict.words()
        );
        for verdict in [Verdict::Worse, Verdict::CannotTell] {
            let parts: Vec<&str> =
                self.parts().filter(|(_, part)| part.verdict == verdict).map(|(name, _)| name).collect();
            if !parts.is_empty() {
                sentence.push_str(&format!("; {} on {}", verdict.words(), parts.join(", ")));
            }
        }
        if self.verdict == Verdict::CannotTell {
            sentence.push_str(match self.publish {
                true => "; published all the same, as the settings say",
                false => "; kept back, as the settings say",
            });
        }
        sentence + "."
    }

    /// The domains that are worse.
    pub fn worse_domains(&self) -> impl Iterator<Item = &str> {
        let worse = self.domains.iter().filter(|(_, judgment)| judgment.verdict == Verdict::Worse);
        worse.map(|(domain, _)| domain.as_str())
    }
}

/// Compares the ranks of the same queries by two models.
pub fn judge(candidate: &[Rank], reference: &[Rank], policy: &GatePolicy) -> Judgment {
    judge_differences(&differences(candidate, reference), policy)
}

fn differences(candidate: &[Rank], reference: &[Rank]) -> Vec<f64> {
    debug_assert_eq!(candidate.len(), reference.len(), "both models are asked the same queries");
    let pairs = candidate.iter().zip(reference);
    pairs.map(|(candidate, reference)| reciprocal(*candidate) - reciprocal(*reference)).collect()
}

fn judge_differences(differences: &[f64], policy: &GatePolicy) -> Judgment {
    let queries = differences.len();
    let difference = differences.iter().sum::<f64>() / queries.max(1) as f64;
    let (lower, upper) = bounds(differences, policy).unwrap_or((difference, difference));
    let verdict = if queries < policy.minimum_queries.max(1) {
        Verdict::CannotTell
    } else if lower > 0.0 {
        Verdict::Better
    } else if lower >= -policy.margin {
        Verdict::NoWorse
    } else if upper < 0.0 {
        Verdict::Worse
    } else {
        Verdict::CannotTell
    };
    Judgment { verdict, queries, difference, lower, upper }
}

/// Percentiles of the resampled means; none without a query or a resample.
fn bounds(differences: &[f64], policy: &GatePolicy) -> Option<(f64, f64)> {
    let queries = differences.len();
    if queries == 0 || policy.resamples == 0 {
        return None;
    }
    let mut random = ChaCha8Rng::seed_from_u64(policy.seed);
    let mut means: Vec<f64> = (0..policy.resamples)
        .map(|_| {
            (0..queries).map(|_| differences[random.random_range(0..queries)]).sum::<f64>() / queries as f64
        })
        .collect();
    means.sort_by(f64::total_cmp);
    let tail = (1.0 - policy.confidence.clamp(0.0, 1.0)) / 2.0;
    let last = means.len() - 1;
    let low = ((tail * last as f64).floor() as usize).min(last);
    Some((means[low], means[last - low]))
}
