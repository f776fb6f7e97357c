//! The table of faults and outcomes, and the figures of a run.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use super::episode::Episode;
use super::faults::Fault;
use super::storm::Outcome;

/// Figures of all episodes of a run.
#[derive(Debug, Default)]
pub(crate) struct Report {
    episodes: usize,
    kinds: BTreeMap<Fault, [usize; 4]>,
    rows: [usize; 4],
    recoveries: Vec<Duration>,
    runs: BTreeMap<String, usize>,
    errors: BTreeMap<String, usize>,
    releases: usize,
    requests: [usize; 3],
    memory: BTreeMap<&'static str, u64>,
}

impl Report {
    pub(crate) fn add(&mut self, episode: &Episode) {
        self.episodes += 1;
        for (fault, outcome, is_right) in &episode.faults {
            let counts = self.kinds.entry(*fault).or_default();
            let column = match (outcome, is_right) {
                (Outcome::Struck, true) => 0,
                (Outcome::Struck, false) => 1,
                (Outcome::Missed, _) => 2,
                (Outcome::Impossible, _) => 3,
            };
            counts[column] += 1;
        }
        for (sum, more) in self.rows.iter_mut().zip(episode.rows) {
            *sum += more;
        }
        for (sum, more) in self.requests.iter_mut().zip([episode.jobs, episode.cancels, episode.webhooks]) {
            *sum += more;
        }
        self.recoveries.extend(&episode.recoveries);
        self.releases += episode.releases;
        for (counts, more) in [(&mut self.runs, &episode.runs), (&mut self.errors, &episode.errors)] {
            for (name, count) in more {
                *counts.entry(name.clone()).or_default() += count;
            }
        }
        for (role, most) in &episode.memory {
            let known = self.memory.entry(role).or_default();
            *known = (*known).max(*most);
        }
    }

    /// Returns the number of faults that struck.
    pub(crate) fn struck(&self) -> usize {
        self.kinds.values().map(|counts| counts[0] + counts[1]).sum()
    }

    /// Writes the report as Markdown.
    pub(crate) fn text(&self) -> String {
        let mut text = String::from(
            "| fault | struck, then all right | struck, then wrong | moment did not come | not possible here |\n|---|---|---|---|---|\n",
        );
        for (fault, [right, wrong, missed, impossible]) in &self.kinds {
            let _ = writeln!(text, "| {fault} | {right} | {wrong} | {missed} | {impossible} |");
        }
        let [inserted, updated, deleted, truncated] = self.rows;
        let [jobs, cancels, webhooks] = self.requests;
        let listed = |counts: &BTreeMap<String, usize>| {
            let each = counts.iter().map(|(name, count)| format!("{count} {name}"));
            each.collect::<Vec<_>>().join(", ")
        };
        let slowest = self.recoveries.iter().max().map_or(0.0, Duration::as_secs_f64);
        let memory = self.memory.iter().map(|(role, most)| format!("{role} {} MB", most >> 20));
        let _ = write!(
            text,
            "\n{} faults of {} kinds in {} episodes\n\
             rows: {inserted} inserted, {updated} updated, {deleted} deleted, table emptied {truncated} times\n\
             requests: {jobs} runs, {cancels} cancels, {webhooks} webhooks of strangers\n\
             runs: {}; {} releases, all whole unless told below\n\
             slowest recovery: {slowest:.1} s\n\
             largest memory: {}\n",
            self.struck(),
            self.kinds.len(),
            self.episodes,
            listed(&self.runs),
            self.releases,
            memory.collect::<Vec<_>>().join(", "),
        );
        for (error, count) in &self.errors {
            let _ = writeln!(text, "failed, {count} times: {error}");
        }
        text
    }
}
