//! Everything an evaluation found, as it goes into the receipt and the run record, and as a table.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::fuzzy::{FuzzyMatch, fuzzy_match};
use super::retrieval::{Rank, Retrieval, Scores};
use super::{Catalogue, Gate, Policy, Query, Side};

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
        Self {
            catalogue: catalogue.len(),
            held_out: group(None),
            new_typo: group(Some(Side::NewTypo)),
            unseen_correction: group(Some(Side::UnseenCorrection)),
            gate: Gate::decide(queries, after, before, policy),
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

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = "  fuzzy before  after";
        writeln!(out, "{:34}{:>8}  {:^21}  {:^21}  {:^21}", "", "", "accuracy@1", "MRR@10", "recall@3")?;
        writeln!(out, "{:34}{:>8}  {columns}  {columns}  {columns}", "held-out typos", "queries")?;
        let sides = [
            ("  new typo, known correction", &self.new_typo),
            ("  correction never seen", &self.unseen_correction),
        ];
        for (name, part) in [
            ("all", (|group| &group.all) as fn(&Group) -> &Comparison),
            ("left to the model (ratio below 75)", |group| &group.slice),
        ] {
            let whole = part(&self.held_out);
            row(out, name, [&whole.fuzzy.overall, &whole.before.overall, &whole.after.overall])?;
            for (domain, after) in &whole.after.domains {
                if let (Some(fuzzy), Some(before)) =
                    (whole.fuzzy.domains.get(domain), whole.before.domains.get(domain))
                {
                    row(out, &format!("  {domain}"), [fuzzy, before, after])?;
                }
            }
            for (name, group) in sides {
                let part = part(group);
                row(out, name, [&part.fuzzy.overall, &part.before.overall, &part.after.overall])?;
            }
        }
        let EndToEnd { before, after } = self.held_out.end_to_end;
        writeln!(
            out,
            "what people get (fuzzy, then model): accuracy@1 {before:.3} before, {after:.3} after"
        )?;
        let Gate { verdict, publish, overall, .. } = &self.gate;
        write!(
            out,
            "verdict: {} ({:+.3} mean reciprocal rank, between {:+.3} and {:+.3}; {} queries)",
            verdict.name(),
            overall.difference,
            overall.lower,
            overall.upper,
            overall.queries,
        )?;
        for domain in self.gate.worse_domains() {
            write!(out, ", worse on {domain}")?;
        }
        write!(out, ": {}", if *publish { "may be published" } else { "is not published" })
    }
}

/// One line: the three scores of the fuzzy matcher, before and after. Dashes where there is no query.
fn row(out: &mut fmt::Formatter<'_>, name: &str, three: [&Scores; 3]) -> fmt::Result {
    let queries = three[0].queries;
    // A domain's name comes from outside and may be of any length.
    let name: String = name.chars().take(34).collect();
    write!(out, "{name:34}{queries:>8}")?;
    for score in [
        (|scores| scores.accuracy_at_1) as fn(&Scores) -> f64,
        |scores| scores.mrr_at_10,
        |scores| scores.recall_at_3,
    ] {
        write!(out, "  ")?;
        for scores in three {
            match queries {
                0 => write!(out, "{:>7}", "-")?,
                _ => write!(out, "{:>7.3}", score(scores))?,
            }
        }
    }
    writeln!(out)
}
