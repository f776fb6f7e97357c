//! Data of a run report, read from a run record or a receipt.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::printable::printable;
use crate::broker::{RunRecord, is_left_out};
use crate::evaluate::Report;
use crate::failure::{Failure, RetryDirective};
use crate::run::{DatasetSummary, NameCoverage, Stage};
use autovalidate_finetune::train::{Recipe, Summary};

/// Report of a run: its data, its training, and its scores. Receipts and the files of
/// `train --report` have this form. Fields of other versions are ignored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunReport {
    /// Id of the job.
    #[serde(default)]
    pub job: Option<String>,
    /// Stamp of the release.
    #[serde(default)]
    pub version: Option<String>,
    /// Time of the run, as text.
    #[serde(default)]
    pub made_at: Option<String>,
    /// The model that training started from.
    #[serde(default)]
    pub base_model: Option<String>,
    /// Sentence that says why the run didn't start from the live release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub live_unreadable: Option<String>,
    /// Sentence that says why the run didn't start from the live release, when that release can be
    /// read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_continued: Option<String>,
    /// Summary of the rows.
    pub dataset: DatasetSummary,
    /// Training settings by name.
    #[serde(default)]
    pub recipe: Value,
    /// Settings of the synthetic typos, by name.
    #[serde(default)]
    pub synthesis: Value,
    /// Summary of the training: steps, losses, duration.
    pub training: Summary,
    /// Scores of the model and the gate's verdict.
    pub report: Report,
    /// Lowest cosine between the trained model's embeddings and those of the exported ONNX model.
    #[serde(default)]
    pub onnx_parity: Option<f32>,
    /// Coverage of the names by the model's tokenizer.
    #[serde(default)]
    pub name_coverage: NameCoverage,
    /// Duration of each stage in seconds, in order of execution.
    #[serde(default)]
    pub stages: Vec<(String, f64)>,
}

/// Reason why a run has no report.
#[derive(Debug, thiserror::Error)]
pub enum RunReportError {
    /// The run has no scores.
    #[error("the run has not been evaluated")]
    NotEvaluated,
    /// The run's record was too large for the broker with these figures.
    #[error("the run's figures were too large for its record")]
    LeftOut,
    /// The report's data is malformed.
    #[error("can't parse the run's figures")]
    Unreadable(#[source] serde_json::Error),
}

impl Failure for RunReportError {
    fn directive(&self) -> RetryDirective {
        RetryDirective::Person
    }

    fn advice(&self) -> String {
        match self {
            Self::NotEvaluated => {
                "Wait until the run's evaluate stage has ended; `autovalidate runs list` shows the state of each run."
            }
            Self::LeftOut => {
                "Give the receipt of the run's release instead: models/receipts/<version>.json in HF_REPO, or training_report.json in the zip."
            }
            Self::Unreadable(_) => {
                "Give a run's id, a receipt (training_report.json), or a file that `autovalidate train --report` wrote."
            }
        }
        .to_owned()
    }
}

impl RunReport {
    /// Parses a receipt or a report file.
    ///
    /// # Errors
    /// [`RunReportError::Unreadable`] when the text is not the JSON of a report.
    pub fn from_json(text: &[u8]) -> Result<Self, RunReportError> {
        let value: Value = serde_json::from_slice(text).map_err(RunReportError::Unreadable)?;
        printable(&value).map_err(RunReportError::Unreadable)
    }

    /// Builds the report from a run's record.
    ///
    /// # Errors
    /// [`RunReportError::NotEvaluated`] for a run without scores,
    /// [`RunReportError::Unreadable`] for figures that can't be parsed.
    pub fn of(record: &RunRecord) -> Result<Self, RunReportError> {
        let record: RunRecord = printable(record).map_err(RunReportError::Unreadable)?;
        // A stage appears once per attempt that reached it; the last entry counts.
        let all_figures = |stage: Stage| {
            let of_stage = record.stages.iter().rev().filter(move |entry| entry.stage == stage.name());
            of_stage.map(|entry| &entry.figures).filter(|figures| !figures.is_null() && !is_left_out(figures))
        };
        let figures = |stage: Stage| all_figures(stage).next();
        let left_out =
            record.stages.iter().map(|entry| &entry.figures).chain([&record.metrics]).any(is_left_out);
        let missing = if left_out { RunReportError::LeftOut } else { RunReportError::NotEvaluated };
        let (Some(dataset), Some(train)) = (figures(Stage::FetchData), figures(Stage::Train)) else {
            return Err(missing);
        };
        if record.metrics.is_null() || is_left_out(&record.metrics) {
            return Err(missing);
        }
        fn read<T: serde::de::DeserializeOwned>(value: &Value) -> Result<T, RunReportError> {
            T::deserialize(value).map_err(RunReportError::Unreadable)
        }
        let release = record.release.as_ref().and_then(|name| name.parse::<crate::hub::ReleaseName>().ok());
        let stages = record.stages.iter().filter_map(|entry| {
            let seconds = entry.ended_at?.duration_since(entry.started_at).as_secs_f64();
            Some((entry.stage.clone(), seconds))
        });
        Ok(Self {
            job: Some(record.id.to_string()),
            version: release.map(|release| release.version().to_owned()),
            made_at: Some(record.created_at.to_string()),
            base_model: record.base_model.clone(),
            live_unreadable: record.live_unreadable.clone(),
            not_continued: record.not_continued.clone(),
            dataset: read(&with_ids(dataset, all_figures(Stage::FetchData)))?,
            recipe: record.settings.clone(),
            synthesis: record.lineage["synthesis"].clone(),
            training: read(&train["training"])?,
            report: read(&record.metrics)?,
            onnx_parity: figures(Stage::Package).and_then(|figures| read(&figures["onnx_parity"]).ok()),
            name_coverage: read(&train["study"]["name_coverage"]).unwrap_or_default(),
            stages: stages.collect(),
        })
    }

    /// Returns the name and value of each line before the scores.
    pub(super) fn facts(&self) -> Vec<(&'static str, String)> {
        let mut facts = Vec::new();
        let mut fact = |name, value: Option<String>| facts.extend(value.map(|value| (name, value)));
        fact("run", self.job.clone());
        fact("release", self.version.clone());
        fact("created", self.made_at.clone());
        fact("base model", self.base_model.clone());
        fact("live release", self.live_unreadable.clone());
        fact("start", self.not_continued.clone());
        fact("data", Some(self.dataset.to_string()));
        fact("held out", Some(self.held_out()));
        let Summary { steps, seconds, vocabulary, epoch_losses, .. } = &self.training;
        fact(
            "training",
            Some(format!("{steps} steps in {seconds:.0} s, {vocabulary} rows of the token table")),
        );
        let losses: Vec<String> = epoch_losses.iter().map(|loss| format!("{loss:.3}")).collect();
        let floor = self.least_loss().map_or(String::new(), |least| format!(" (its floor: {least:.3})"));
        fact("loss by epoch", Some(losses.join(", ") + &floor));
        for (name, settings) in [("recipe", &self.recipe), ("synthesis", &self.synthesis)] {
            let settings = settings.as_object().map(|settings| {
                let each = settings.iter().filter(|(_, value)| !value.is_null());
                each.map(|(name, value)| format!("{} {}", name.replace('_', " "), plain(value)))
                    .collect::<Vec<_>>()
                    .join(", ")
            });
            fact(name, settings);
        }
        let sanity = &self.report.sanity;
        let query = sanity.query_ms.map(|time| format!("{time:.1} ms for a query"));
        let factor = sanity.slowdown.map(|factor| format!("{factor:.2} times that of the live model"));
        let times: Vec<String> = query.into_iter().chain(factor).collect();
        fact("encode time", Some(times.join(", ")).filter(|times| !times.is_empty()));
        fact("ONNX export", self.onnx_parity.map(|cosine| format!("lowest cosine {cosine:.6}")));
        for warning in self.name_coverage.warnings() {
            fact("names", Some(warning));
        }
        if !self.stages.is_empty() {
            let each = self.stages.iter().map(|(stage, seconds)| format!("{stage} {seconds:.1} s"));
            fact("stages", Some(each.collect::<Vec<_>>().join(", ")));
        }
        facts
    }

    /// Returns the number of optimizer steps whose mean is one loss of the training's summary: 1
    /// unless the summary is an outline.
    pub(super) fn steps_per_loss(&self) -> usize {
        self.training.steps.div_ceil(self.training.losses.len().max(1)).max(1)
    }

    /// Returns the lower bound of a full batch's loss, or `None` when the bound is zero
    /// ([`Recipe::least_loss`]).
    pub(super) fn least_loss(&self) -> Option<f32> {
        let recipe = Recipe::deserialize(&self.recipe).ok()?;
        Some(recipe.least_loss()).filter(|least| *least > 0.0)
    }

    fn held_out(&self) -> String {
        let DatasetSummary { new_typos, unseen_corrections, newest, .. } = &self.dataset;
        format!(
            "{new_typos} new typos of known corrections, {unseen_corrections} typos of unseen corrections, {newest} \
             of the newest rows"
        )
    }
}

/// Names of the figures that only the attempt which read the stream records.
const ID_FIGURES: [&str; 3] = ["row_ids", "held_out_ids", "left_out_ids"];

/// Returns the figures of the dataset with the ids that an earlier attempt has recorded. They are empty
/// when its entry is no longer in the record.
fn with_ids<'a>(figures: &Value, attempts: impl Iterator<Item = &'a Value> + Clone) -> Value {
    let mut figures = figures.clone();
    // Anything but an object is refused when it is read.
    let Some(fields) = figures.as_object_mut() else { return figures };
    for name in ID_FIGURES {
        let recorded = attempts.clone().map(|figures| &figures[name]).find(|ids| !ids.is_null());
        fields.entry(name).or_insert_with(|| recorded.cloned().unwrap_or_else(|| "".into()));
    }
    figures
}

/// Formats a setting's value as a person would write it. Settings have single precision, so digits
/// beyond the seventh are meaningless.
fn plain(value: &Value) -> String {
    match (value.as_str(), value.as_i64(), value.as_f64()) {
        (Some(text), ..) => text.to_owned(),
        (_, None, Some(number)) => (number as f32).to_string(),
        _ => value.to_string(),
    }
}
