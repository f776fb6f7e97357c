//! Report as a text table that fits on one screen.

use std::fmt;

use super::retrieval::Scores;
use super::{Comparison, EndToEnd, Gate, Group, Judgment, Report};

/// Width of the column of row names.
const NAME: usize = 25;
/// Width of the column that names a judgment's part.
const JUDGED: usize = 26;
/// Largest number of domains that a table lists.
const LISTED: usize = 20;

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = " fuzzy  base  live   new";
        writeln!(out, "{:NAME$}{:>9}  {:^24}  {:^24}  {:^24}", "", "", "accuracy@1", "MRR@10", "recall@3")?;
        writeln!(out, "{:NAME$}{:>9}  {columns}  {columns}  {columns}", "held-out typos", "queries")?;
        let left = format!("left to the model (< {})", self.policy.fuzzy.threshold);
        for (name, part) in
            [("all", (|group| &group.all) as fn(&Group) -> &Comparison), (&left, |group| &group.slice)]
        {
            self.part(out, name, part)?;
        }
        let EndToEnd { before, after } = self.held_out.end_to_end;
        writeln!(
            out,
            "what people get (fuzzy, then model): accuracy@1 {before:.3} with the live model, {after:.3} with the new one"
        )?;
        for sentence in self.best_metric_sentences() {
            writeln!(out, "{sentence}")?;
        }
        if let Some(serving) = &self.serving {
            writeln!(out, "{serving}")?;
        }
        self.gate.fmt(out)?;
        for defect in &self.sanity.defects {
            writeln!(out, "defect: {defect}")?;
        }
        write!(out, "{}", if self.may_be_published(false) { "may be published" } else { "is not published" })
    }
}

impl Report {
    /// Writes the rows of one part of each group: overall, the domains and their mean, then the
    /// other groups.
    fn part(&self, out: &mut fmt::Formatter<'_>, name: &str, part: fn(&Group) -> &Comparison) -> fmt::Result {
        let whole = part(&self.held_out);
        self.row(out, name, Some(whole), |scores| Some(&scores.overall))?;
        let listed = self.gate.most_telling(LISTED);
        let domains = whole.after.domains.keys().filter(|domain| listed.contains(domain.as_str()));
        for domain in domains.clone() {
            self.row(out, &format!("  {domain}"), Some(whole), |scores| scores.domains.get(domain))?;
        }
        let count = whole.after.domains.len() + whole.after.other_domains;
        more_domains(out, count - domains.count())?;
        if count > 1 {
            self.row(out, "  mean of the domains", Some(whole), |scores| Some(&scores.macro_mean))?;
        }
        for (name, group) in self.groups().into_iter().skip(1) {
            self.row(out, &format!("  {name}"), Some(part(group)), |scores| Some(&scores.overall))?;
        }
        Ok(())
    }

    /// Writes one line: the three scores of the fuzzy matcher and each model. A dash marks a
    /// missing score, a question mark too few queries for a verdict.
    fn row<'a>(
        &self,
        out: &mut fmt::Formatter<'_>,
        name: &str,
        comparison: Option<&'a Comparison>,
        of: impl Fn(&'a super::Retrieval) -> Option<&'a Scores>,
    ) -> fmt::Result {
        let Some(Comparison { fuzzy, original, before, after }) = comparison else { return Ok(()) };
        let queries = of(after).map_or(0, |scores| scores.queries);
        // A domain name is user input and may have any length.
        let name: String = name.chars().take(NAME).collect();
        let doubt = if queries < self.policy.minimum_queries { "?" } else { " " };
        write!(out, "{name:NAME$}{queries:>8}{doubt}")?;
        for score in [
            (|scores| scores.accuracy_at_1) as fn(&Scores) -> f64,
            |scores| scores.mrr_at_10,
            |scores| scores.recall_at_3,
        ] {
            write!(out, "  ")?;
            for retrieval in [Some(fuzzy), original.as_ref(), Some(before), Some(after)] {
                match retrieval.and_then(&of).filter(|scores| scores.queries > 0) {
                    Some(scores) => write!(out, "{:>6.3}", score(scores))?,
                    None => write!(out, "{:>6}", "-")?,
                }
            }
        }
        writeln!(out)
    }
}

impl fmt::Display for Gate {
    /// Writes the verdict, then the verdict of each part on its own line.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.overall.queries == 0 {
            return writeln!(out, "verdict: cannot tell, because no typo is held out: nothing was compared");
        }
        writeln!(out, "verdict: {} (new model against live, mean reciprocal rank)", self.verdict.words())?;
        for (name, judgment) in [("all", &self.overall)].into_iter().chain(self.main_parts(LISTED)) {
            let Judgment { verdict, queries, difference, lower, upper } = judgment;
            let name: String = name.chars().take(JUDGED).collect();
            writeln!(
                out,
                "  {name:JUDGED$} {:12}{difference:+.3}, between {lower:+.3} and {upper:+.3} ({queries} queries)",
                verdict.words()
            )?;
        }
        more_domains(out, self.domains.len().saturating_sub(LISTED) + self.other_domains)
    }
}

/// Writes a line that stands for the domains that are not listed, if there are any.
fn more_domains(out: &mut fmt::Formatter<'_>, count: usize) -> fmt::Result {
    if count > 0 { writeln!(out, "  and {count} more domains, in the receipt") } else { Ok(()) }
}
