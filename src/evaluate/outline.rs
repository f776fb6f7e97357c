//! Outline of a report: its size does not depend on the number of domains.
//!
//! Run records and events are messages of the broker, which limits their size. They hold the
//! outline. The receipt is a file, and holds the figures of every domain.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::{Comparison, Gate, Group, Report, Retrieval, Verdict};
use crate::text::label;

/// Number of domains whose figures an outline keeps.
const MOST: usize = 8;
/// Number of domains up to which an outline keeps their figures in every group of queries, and not
/// only over all held-out queries.
const FEW: usize = 2;

impl Report {
    /// Returns the report with the figures of at most eight domains: those that are worse, then
    /// those with the most queries. The other figures stay as they are, since they cover every
    /// domain.
    pub fn outline(&self) -> Self {
        let kept = self.gate.most_telling(MOST);
        let everywhere = self.gate.domains.len() + self.gate.other_domains <= FEW;
        let elsewhere = if everywhere { kept.clone() } else { BTreeSet::new() };
        Self {
            catalog: self.catalog,
            held_out: self.held_out.outline(&kept),
            new_typo: self.new_typo.outline(&elsewhere),
            unseen_correction: self.unseen_correction.outline(&elsewhere),
            new_name: self.new_name.as_ref().map(|group| group.outline(&elsewhere)),
            newest: self.newest.as_ref().map(|group| group.outline(&elsewhere)),
            legacy: self.legacy.as_ref().map(|group| group.outline(&elsewhere)),
            string_metrics: self.string_metrics.clone(),
            serving: self.serving,
            policy: self.policy,
            gate: self.gate.outline(&kept),
            sanity: self.sanity.clone(),
        }
    }
}

impl Group {
    fn outline(&self, kept: &BTreeSet<&str>) -> Self {
        Self { all: self.all.outline(kept), slice: self.slice.outline(kept), end_to_end: self.end_to_end }
    }
}

impl Comparison {
    fn outline(&self, kept: &BTreeSet<&str>) -> Self {
        Self {
            fuzzy: self.fuzzy.outline(kept),
            original: self.original.as_ref().map(|original| original.outline(kept)),
            before: self.before.outline(kept),
            after: self.after.outline(kept),
        }
    }
}

impl Retrieval {
    fn outline(&self, kept: &BTreeSet<&str>) -> Self {
        let (domains, left_out) = keep(&self.domains, kept);
        let other_domains = self.other_domains + left_out;
        Self { overall: self.overall, macro_mean: self.macro_mean, domains, other_domains }
    }
}

impl Gate {
    /// Returns at most `most` domains: those that are worse, then those with the most queries.
    pub fn most_telling(&self, most: usize) -> BTreeSet<&str> {
        let mut domains: Vec<_> = self.domains.iter().collect();
        domains.sort_by_key(|(name, judgment)| {
            (judgment.verdict != Verdict::Worse, Reverse(judgment.queries), *name)
        });
        domains.into_iter().take(most).map(|(name, _)| name.as_str()).collect()
    }

    fn outline(&self, kept: &BTreeSet<&str>) -> Self {
        let (domains, left_out) = keep(&self.domains, kept);
        Self {
            verdict: self.verdict,
            publish: self.publish,
            overall: self.overall,
            domains,
            other_domains: self.other_domains + left_out,
            new_names: self.new_names,
            newest: self.newest,
            legacy: self.legacy,
            instead_of_live: self.instead_of_live.clone(),
        }
    }
}

/// Returns the figures of the kept domains under their labels, and the number of the other ones.
fn keep<T: Copy>(domains: &BTreeMap<String, T>, kept: &BTreeSet<&str>) -> (BTreeMap<String, T>, usize) {
    let of_kept = domains.iter().filter(|(domain, _)| kept.contains(domain.as_str()));
    let mut short = BTreeMap::new();
    for (domain, figures) in of_kept {
        short.entry(label(domain)).or_insert(*figures);
    }
    let left_out = domains.len() - short.len();
    (short, left_out)
}
