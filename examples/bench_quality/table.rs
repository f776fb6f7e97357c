//! Table of recipes, with mean and standard deviation over the seeds.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, Result};

use crate::ledger::{Figures, Ledger, Outcome};
use crate::trial::Trial;

/// Groups of queries, in the order of the columns.
const SIDES: [fn(&Outcome) -> &Figures; 3] = [Outcome::known, Outcome::unseen, Outcome::new_name];
const BEGIN: &str = "<!-- bench-quality: begin -->\n";
const END: &str = "<!-- bench-quality: end -->";

/// Writes the tables of the ledger's results between the markers of a file. Recipes keep the given
/// order. A result is omitted if its recipe is written differently now.
pub(crate) fn write(ledger: &Ledger, trials: &[Trial], to: &Path) -> Result<()> {
    let text = std::fs::read_to_string(to)?;
    let markers = || format!("{} needs the lines {BEGIN} and {END}", to.display());
    let (before, rest) = text.split_once(BEGIN).with_context(markers)?;
    let (_, after) = rest.split_once(END).with_context(markers)?;
    std::fs::write(to, format!("{before}{BEGIN}{}{END}{after}", tables(ledger, trials)))?;
    Ok(())
}

fn tables(ledger: &Ledger, trials: &[Trial]) -> String {
    let mut sets: Vec<(&str, &str)> =
        ledger.outcomes.iter().map(|outcome| (outcome.dataset.as_str(), outcome.questions.name())).collect();
    sets.sort_unstable();
    sets.dedup();
    let mut text = String::new();
    for (dataset, questions) in sets {
        let of_set = |trial: &Trial| -> Vec<&Outcome> {
            let of_trial = ledger.outcomes.iter().filter(|outcome| {
                (outcome.recipe.as_str(), outcome.keys.as_str()) == (trial.name.as_str(), trial.keys.as_str())
            });
            of_trial
                .filter(|outcome| {
                    (outcome.dataset.as_str(), outcome.questions.name()) == (dataset, questions)
                })
                .collect()
        };
        // Writing to a string can't fail.
        let _ = write!(
            text,
            "\n### {dataset}, {questions} questions\n\n\
             | recipe | what differs | seeds | steps | seconds | known | slice | served | mixed | unseen | slice | served \
             | mixed | new names | slice | served | mixed |\n\
             |---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|\n"
        );
        let mut bar: Option<String> = None;
        for trial in trials {
            let outcomes = of_set(trial);
            let Some(first) = outcomes.first() else { continue };
            let spread = |value: &dyn Fn(&Outcome) -> Option<f64>| {
                spread(outcomes.iter().map(|outcome| value(outcome)))
            };
            bar.get_or_insert_with(|| {
                let of = |side: fn(&Outcome) -> &Figures| {
                    let [all, slice] = [Figures::bar, Figures::bar_of_slice]
                        .map(|figure| spread(&|outcome| figure(side(outcome))));
                    format!(" {all} | {slice} | | |")
                };
                SIDES.map(of).concat()
            });
            let mean = outcomes.iter().map(|outcome| outcome.seconds).sum::<f64>() / outcomes.len() as f64;
            let _ = write!(
                text,
                "| {} | {} | {} | {} | {mean:.0} |",
                trial.name,
                trial.keys.split(',').map(str::trim).collect::<Vec<_>>().join(", "),
                outcomes.len(),
                first.steps
            );
            for side in SIDES {
                for figure in [Figures::overall, Figures::of_slice, Figures::served, Figures::mixed] {
                    let _ = write!(text, " {} |", spread(&|outcome| figure(side(outcome))));
                }
            }
            text.push('\n');
        }
        if let Some(bar) = bar {
            let _ = writeln!(text, "| best string metric | chosen for each column | | | |{bar}");
        }
    }
    text.push('\n');
    text
}

/// Formats the mean and, for several values, their standard deviation. Returns `few` when a value
/// is missing.
fn spread(values: impl Iterator<Item = Option<f64>>) -> String {
    let Some(values) = values.collect::<Option<Vec<f64>>>() else { return "few".to_owned() };
    let mean = values.iter().sum::<f64>() / values.len().max(1) as f64;
    if values.len() < 2 {
        return format!("{mean:.3}");
    }
    let squares = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>();
    format!("{mean:.3} ± {:.3}", (squares / (values.len() - 1) as f64).sqrt())
}
