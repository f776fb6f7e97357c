//! Gate: decides whether a new model may be published, by comparing it with the model it would
//! replace on the same queries.
//!
//! The gate compares 1 / rank of each query. This value also moves when the right name climbs
//! without reaching the top. A paired bootstrap estimates the uncertainty of the mean difference:
//! it draws the same queries repeatedly with replacement, and always takes candidate and reference
//! together, so that hard and easy queries cancel out.

use std::collections::BTreeMap;
use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::fuzzy_rule::FuzzyRule;
use super::retrieval::{Rank, reciprocal};
use super::{Cohorts, Query, Side};
use crate::correction::normalize;
use crate::default_value::is_default;
use crate::text::label;

/// Largest number of domains that a sentence names.
const NAMED: usize = 8;

/// Result of the comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, strum::IntoStaticStr)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Verdict {
    /// Better by more than chance explains.
    Better,
    /// Not worse, or worse by at most [`GatePolicy::margin`].
    NoWorse,
    /// Worse by more than chance explains, and possibly by more than [`GatePolicy::margin`].
    Worse,
    /// Undecided: too few queries, or mixed results.
    CannotTell,
}

impl Verdict {
    /// Returns the name used in records and reports.
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// Returns the verdict in words for people.
    pub fn words(self) -> &'static str {
        match self {
            Self::Better => "better",
            Self::NoWorse => "no worse",
            Self::Worse => "worse",
            Self::CannotTell => "cannot tell",
        }
    }
}

/// Rules of the gate.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GatePolicy {
    /// Minimum number of queries for a verdict; with fewer, the gate cannot tell.
    pub minimum_queries: usize,
    /// Largest possible fall in the mean of 1 / rank that still counts as no worse.
    pub margin: f64,
    /// Probability that the bounds contain the true difference.
    pub confidence: f64,
    /// Number of resamples.
    pub resamples: usize,
    /// Seed of the resampling, so that a run can be replayed.
    pub seed: u64,
    /// Publishes a model when the gate cannot tell. Without this, a new installation, which has few
    /// held-out pairs, would never publish its first model.
    pub publish_when_unsure: bool,
    /// Largest allowed encode time, as a multiple of the encode time of the model that the new one
    /// replaces.
    pub slowest: f64,
    /// Encode time of one query in milliseconds, up to which no model is too slow: nobody notices the
    /// difference between two milliseconds and three. Records from before this rule lack it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub query_budget_ms: f64,
    /// Rule of the fuzzy matcher, which decides the queries that count as left to the model. Records
    /// from before this setting lack it, which means the backend's.
    #[serde(default, skip_serializing_if = "is_default")]
    pub fuzzy: FuzzyRule,
}

impl GatePolicy {
    /// Returns the encode time of one query up to which no model is too slow.
    pub fn query_budget(&self) -> Duration {
        // A record comes from outside.
        Duration::try_from_secs_f64(self.query_budget_ms / 1_000.0).unwrap_or_default()
    }
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
            query_budget_ms: 20.0,
            fuzzy: FuzzyRule::default(),
        }
    }
}

/// Comparison on one set of queries.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Judgment {
    /// Verdict of the comparison.
    pub verdict: Verdict,
    /// Number of queries.
    pub queries: usize,
    /// Mean of the candidate's 1 / rank minus the reference's; above zero, the candidate is better.
    pub difference: f64,
    /// Lower bound of the difference.
    pub lower: f64,
    /// Upper bound of the difference.
    pub upper: f64,
}

/// Decision of the gate, with the comparisons it rests on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Gate {
    /// Final verdict: worse if any single domain or cohort is worse, otherwise the verdict over all
    /// queries.
    pub verdict: Verdict,
    /// True when the gate allows publishing.
    pub publish: bool,
    /// Comparison over all queries.
    pub overall: Judgment,
    /// Comparison for each domain.
    pub domains: BTreeMap<String, Judgment>,
    /// Number of domains that an [outline](super::Report::outline) leaves out.
    #[serde(default, skip_serializing_if = "is_default")]
    pub other_domains: usize,
    /// Comparison on names of which nothing was trained on; `None` when none is held out, or when the
    /// reference was trained on them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new_names: Option<Judgment>,
    /// Comparison on the newest window; `None` when the run has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub newest: Option<Judgment>,
    /// Comparison on the queries that judged earlier versions; worse here is forgetting.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub legacy: Option<Judgment>,
    /// Sentence that says why the reference is another model than the live one; `None` when it is the
    /// live one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instead_of_live: Option<String>,
}

impl Gate {
    /// Decides by the ranks of `candidate` and `reference`, both in the order of `queries`.
    ///
    /// Each domain with enough queries has a veto. A gain on one domain must not hide a loss on
    /// another: for everyone who fills in that other field, the model is worse.
    pub fn decide(queries: &[Query], candidate: &[Rank], reference: &[Rank], policy: &GatePolicy) -> Self {
        Self::decide_with(queries, &[], candidate, reference, policy, &Cohorts::default())
    }

    /// Decides like [`decide`](Self::decide), and gives each cohort a veto too. `rows` holds the
    /// row ids of the queries, in the same order.
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
            by_domain.entry(normalize(&query.domain)).or_default().push(*difference);
        }
        let domains: BTreeMap<String, Judgment> = by_domain
            .into_iter()
            .map(|(domain, differences)| (domain, judge_differences(&differences, policy)))
            .collect();
        // Queries of unknown rows belong to no cohort of rows.
        let part = |belongs: &dyn Fn(&Query, Option<i64>) -> bool| {
            let row = |at: usize| rows.get(at).copied();
            let of_part = queries.iter().zip(&differences).enumerate();
            let of_part = of_part.filter(|(at, (query, _))| belongs(query, row(*at)));
            let differences: Vec<f64> = of_part.map(|(_, (_, difference))| *difference).collect();
            (!differences.is_empty()).then(|| judge_differences(&differences, policy))
        };
        let mut gate = Self {
            verdict: overall.verdict,
            publish: false,
            overall,
            domains,
            other_domains: 0,
            new_names: part(&|query, _| query.side == Side::NewName && !cohorts.live_knows_new_names),
            newest: part(&|_, row| row.is_some_and(|row| cohorts.is_newest(row))),
            legacy: part(&|_, row| row.is_some_and(|row| cohorts.is_legacy(row))),
            instead_of_live: None,
        };
        if gate.parts().any(|(_, judgment)| judgment.verdict == Verdict::Worse) {
            gate.verdict = Verdict::Worse;
        }
        gate.publish = match gate.verdict {
            Verdict::Better | Verdict::NoWorse => true,
            Verdict::Worse => false,
            // Nothing speaks for a model that was compared on nothing.
            Verdict::CannotTell => policy.publish_when_unsure && gate.overall.queries > 0,
        };
        gate
    }

    /// Iterates over the judgments of the parts, each with its name: the domains, then the cohorts.
    pub fn parts(&self) -> impl Iterator<Item = (&str, &Judgment)> {
        let domains = self.domains.iter().map(|(domain, judgment)| (domain.as_str(), judgment));
        domains.chain(self.cohorts())
    }

    /// Iterates over the judgments of the parts, as [`parts`](Self::parts) does, with at most `most`
    /// domains: those that tell most.
    pub fn main_parts(&self, most: usize) -> impl Iterator<Item = (&str, &Judgment)> {
        let telling = self.most_telling(most);
        let domains = self.domains.iter().map(|(domain, judgment)| (domain.as_str(), judgment));
        domains.filter(move |(domain, _)| telling.contains(domain)).chain(self.cohorts())
    }

    fn cohorts(&self) -> impl Iterator<Item = (&str, &Judgment)> {
        let cohorts = [
            ("new names", &self.new_names),
            ("the newest rows", &self.newest),
            ("what earlier versions knew", &self.legacy),
        ];
        cohorts.into_iter().filter_map(|(name, judgment)| Some((name, judgment.as_ref()?)))
    }

    /// Returns the decision and its reasons as one sentence for people.
    pub fn sentence(&self) -> String {
        let Judgment { queries, difference, lower, upper, .. } = self.overall;
        if queries == 0 {
            return "cannot tell: no typo is held out, so the models were compared on nothing.".to_owned();
        }
        let mut sentence = format!(
            "{}: mean reciprocal rank on {queries} held-out typos changed by {difference:+.3} (between {lower:+.3} and \
             {upper:+.3})",
            self.verdict.words()
        );
        for verdict in [Verdict::Worse, Verdict::CannotTell] {
            // Anybody may insert a domain of any name, and any number of them.
            let of_verdict = |(_, part): &(&str, &Judgment)| part.verdict == verdict;
            let mut parts: Vec<String> =
                self.main_parts(NAMED).filter(of_verdict).map(|(name, _)| label(name)).collect();
            match self.parts().filter(of_verdict).count() - parts.len() {
                0 => {}
                more => parts.push(format!("{more} more domains")),
            }
            if !parts.is_empty() {
                sentence.push_str(&format!("; {} on {}", verdict.words(), parts.join(", ")));
            }
        }
        if let Some(why) = &self.instead_of_live {
            sentence.push_str(&format!("; {why}"));
        }
        if self.verdict == Verdict::CannotTell {
            sentence.push_str(match self.publish {
                true => "; published anyway, as the settings say",
                false => "; not published, as the settings say",
            });
        }
        sentence + "."
    }

    /// Iterates over the domains that are worse.
    pub fn worse_domains(&self) -> impl Iterator<Item = &str> {
        let worse = self.domains.iter().filter(|(_, judgment)| judgment.verdict == Verdict::Worse);
        worse.map(|(domain, _)| domain.as_str())
    }
}

/// Compares two models by their ranks of the same queries.
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

/// Returns the lower and upper percentile of the resampled means, or `None` when there are no
/// queries or no resamples.
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
