//! A report on one screen.

use std::fmt;

use super::retrieval::Scores;
use super::{Comparison, EndToEnd, Gate, Group, Judgement, Report, Verdict};

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = "  fuzzy before  after";
        writeln!(out, "{:34}{:>8}  {:^21}  {:^21}  {:^21}", "", "", "accuracy@1", "MRR@10", "recall@3")?;
        writeln!(out, "{:34}{:>8}  {columns}  {columns}  {columns}", "held-out typos", "queries")?;
        let groups = [
            ("  new typo, known correction", Some(&self.new_typo)),
            ("  correction never seen", Some(&self.unseen_correction)),
            ("  newest rows", self.newest.as_ref()),
            ("  judged earlier versions", self.legacy.as_ref()),
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
            for (name, group) in groups.iter().filter_map(|(name, group)| Some((*name, (*group)?))) {
                let part = part(group);
                row(out, name, [&part.fuzzy.overall, &part.before.overall, &part.after.overall])?;
            }
        }
        let EndToEnd { before, after } = self.held_out.end_to_end;
        writeln!(
            out,
            "what people get (fuzzy, then model): accuracy@1 {before:.3} before, {after:.3} after"
        )?;
        let Gate { verdict, publish, overall, newest, legacy, .. } = &self.gate;
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
        for (name, judgement) in [("the newest rows", newest), ("what earlier versions knew", legacy)] {
            if let Some(Judgement { verdict, queries, .. }) = judgement {
                match verdict {
                    Verdict::Worse => write!(out, ", worse on {name} ({queries} queries)")?,
                    Verdict::CannotTell => {
                        write!(out, ", cannot tell on {name} ({queries} queries)")?;
                    }
                    Verdict::Better | Verdict::NoWorse => {}
                }
            }
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
