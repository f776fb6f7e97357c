//! Results file with one JSON object per line, so that a measurement can be interrupted and
//! resumed.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Result;
use autovalidate::evaluate::{EndToEnd, GatePolicy, MetricScores, Report, Scores};
use serde::{Deserialize, Serialize};

use crate::dataset::QueryKind;
use crate::trial::Trial;

/// Result of a trial.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Outcome {
    pub(crate) recipe: String,
    pub(crate) keys: String,
    pub(crate) dataset: String,
    pub(crate) questions: QueryKind,
    pub(crate) seed: u64,
    pub(crate) steps: usize,
    /// Seconds of the training loop alone; `seconds` includes synthesis and tokenizing.
    pub(crate) loop_seconds: f64,
    pub(crate) seconds: f64,
    /// New typos of known corrections.
    pub(crate) known: Figures,
    /// Corrections that occur in no training pair.
    pub(crate) unseen: Figures,
    /// Corrections that occur neither in a training pair nor in a synthetic one.
    pub(crate) new_name: Figures,
}

/// Accuracies at 1 of one group of queries.
#[derive(Clone, Default, Serialize, Deserialize)]
pub(crate) struct Figures {
    pub(crate) queries: usize,
    /// Accuracy of the model that training started from.
    pub(crate) before: f64,
    pub(crate) all: f64,
    pub(crate) slice_queries: usize,
    pub(crate) slice: f64,
    /// Accuracy of the fuzzy matcher's best guess.
    pub(crate) fuzzy: f64,
    pub(crate) slice_fuzzy: f64,
    /// Accuracy of the best string metric, or mean of two, on these very queries.
    pub(crate) bar: f64,
    pub(crate) slice_bar: f64,
    pub(crate) end_to_end: f64,
    end_to_end_before: f64,
    /// Accuracy of the mixture of cosine and ratio, cross-validated; 0 when there are too few queries.
    pub(crate) mixture: f64,
}

impl Figures {
    /// Returns the figures of a report on the queries of this group.
    pub(crate) fn of(report: &Report) -> Self {
        let group = &report.held_out;
        let EndToEnd { before, after } = group.end_to_end;
        let bar = |scores: fn(&MetricScores) -> Scores| {
            report.best_metric(scores).map_or(0.0, |best| scores(best).accuracy_at_1)
        };
        Self {
            fuzzy: group.all.fuzzy.overall.accuracy_at_1,
            bar: bar(|metric| metric.all),
            slice_bar: bar(|metric| metric.slice),
            mixture: report.serving.map_or(0.0, |serving| serving.by_mixture.accuracy),
            queries: group.all.after.overall.queries,
            before: group.all.before.overall.accuracy_at_1,
            all: group.all.after.overall.accuracy_at_1,
            slice_queries: group.slice.after.overall.queries,
            slice: group.slice.after.overall.accuracy_at_1,
            slice_fuzzy: group.slice.fuzzy.overall.accuracy_at_1,
            end_to_end: after,
            end_to_end_before: before,
        }
    }
}

impl Figures {
    pub(crate) fn overall(&self) -> Option<f64> {
        Some(self.all)
    }

    /// Returns the accuracy on the slice, or `None` when the slice has too few queries.
    pub(crate) fn of_slice(&self) -> Option<f64> {
        (self.slice_queries >= GatePolicy::default().minimum_queries).then_some(self.slice)
    }

    /// Returns the accuracy of the best string metric on the slice, or `None` when the slice has too few
    /// queries.
    pub(crate) fn bar_of_slice(&self) -> Option<f64> {
        self.of_slice().map(|_| self.slice_bar)
    }

    pub(crate) fn bar(&self) -> Option<f64> {
        Some(self.bar)
    }

    pub(crate) fn mixed(&self) -> Option<f64> {
        Some(self.mixture)
    }

    pub(crate) fn served(&self) -> Option<f64> {
        Some(self.end_to_end)
    }
}

impl Outcome {
    pub(crate) fn known(&self) -> &Figures {
        &self.known
    }

    pub(crate) fn unseen(&self) -> &Figures {
        &self.unseen
    }

    pub(crate) fn new_name(&self) -> &Figures {
        &self.new_name
    }
}

/// Results measured so far.
pub(crate) struct Ledger {
    path: Option<PathBuf>,
    pub(crate) outcomes: Vec<Outcome>,
}

impl Ledger {
    /// Reads the existing results. Lines that are not a result of this version are skipped.
    pub(crate) fn open(path: Option<&Path>) -> Result<Self> {
        let text = match path {
            Some(path) if path.exists() => std::fs::read_to_string(path)?,
            _ => String::new(),
        };
        let outcomes = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        Ok(Self { path: path.map(Path::to_owned), outcomes })
    }

    pub(crate) fn has(&self, trial: &Trial, dataset: &str, questions: QueryKind, seed: u64) -> bool {
        self.outcomes.iter().any(|outcome| {
            (outcome.recipe.as_str(), outcome.keys.as_str()) == (trial.name.as_str(), trial.keys.as_str())
                && (outcome.dataset.as_str(), outcome.questions, outcome.seed) == (dataset, questions, seed)
        })
    }

    pub(crate) fn add(&mut self, outcome: Outcome) -> Result<()> {
        if let Some(path) = &self.path {
            let mut file = OpenOptions::new().create(true).append(true).open(path)?;
            writeln!(file, "{}", serde_json::to_string(&outcome)?)?;
        }
        self.outcomes.push(outcome);
        Ok(())
    }
}
