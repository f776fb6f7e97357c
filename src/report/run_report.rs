//! What is told of a run.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::broker::RunRecord;
use crate::evaluate::Report;
use crate::failure::{Failure, RetryDirective};
use crate::run::{DatasetSummary, Stage};
use autovalidate_finetune::train::{Recipe, Summary};

/// What is told of a run: its data, its training, its scores. A receipt is one, and so is what `train --report` writes;
/// fields of other versions are passed over.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunReport {
    /// The job.
    #[serde(default)]
    pub job: Option<String>,
    /// The release's stamp.
    #[serde(default)]
    pub version: Option<String>,
    /// When it was made.
    #[serde(default)]
    pub made_at: Option<String>,
    /// The model training started from.
    #[serde(default)]
    pub base_model: Option<String>,
    /// The rows.
    pub dataset: DatasetSummary,
    /// The settings of the training, by name.
    #[serde(default)]
    pub recipe: Value,
    /// How typos were made up, by name.
    #[serde(default)]
    pub synthesis: Value,
    /// What training did.
    pub training: Summary,
    /// How good the model is.
    pub report: Report,
    /// Lowest cosine between the trained model's embeddings and those of the exported ONNX model.
    #[serde(default)]
    pub onnx_parity: Option<f32>,
    /// Seconds of each stage, in order.
    #[serde(default)]
    pub stages: Vec<(String, f64)>,
}

/// A run of which nothing can be told.
#[derive(Debug, thiserror::Error)]
pub enum RunReportError {
    /// It has no scores.
    #[error("the run has not been evaluated")]
    NotEvaluated,
    /// What is there isn't understood.
    #[error("the run's figures can't be read")]
    Unreadable(#[source] serde_json::Error),
}

impl Failure for RunReportError {
    fn directive(&self) -> RetryDirective {
        RetryDirective::Person
    }

    fn advice(&self) -> String {
        match self {
            Self::NotEvaluated => {
                "Wait until its evaluate stage has ended; `autovalidate runs list` shows which runs ended."
            }
            Self::Unreadable(_) => {
                "Give a run's id, a receipt (training_report.json), or what `autovalidate train --report` wrote."
            }
        }
        .to_owned()
    }
}

impl RunReport {
    /// What a receipt or report file tells.
    ///
    /// # Errors
    /// [`RunReportError::Unreadable`].
    pub fn from_json(text: &[u8]) -> Result<Self, RunReportError> {
        serde_json::from_slice(text).map_err(RunReportError::Unreadable)
    }

    /// What a run's record tells.
    ///
    /// # Errors
    /// [`RunReportError::NotEvaluated`] for a run that hasn't come so far.
    pub fn of(record: &RunRecord) -> Result<Self, RunReportError> {
        // Stages that several attempts went through are there several times; the last one counts.
        let figures = |stage: Stage| {
            let of_stage = record.stages.iter().rev().filter(|entry| entry.stage == stage.name());
            of_stage.map(|entry| &entry.figures).find(|figures| !figures.is_null())
        };
        let (Some(dataset), Some(train)) = (figures(Stage::FetchData), figures(Stage::Train)) else {
            return Err(RunReportError::NotEvaluated);
        };
        if record.metrics.is_null() {
            return Err(RunReportError::NotEvaluated);
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
            dataset: read(dataset)?,
            recipe: record.settings.clone(),
            synthesis: Value::Null,
            training: read(&train["training"])?,
            report: read(&record.metrics)?,
            onnx_parity: figures(Stage::Package).and_then(|figures| read(&figures["onnx_parity"]).ok()),
            stages: stages.collect(),
        })
    }

    /// Name and value of each thing worth a line before the scores.
    pub(super) fn facts(&self) -> Vec<(&'static str, String)> {
        let mut facts = Vec::new();
        let mut fact = |name, value: Option<String>| facts.extend(value.map(|value| (name, value)));
        fact("run", self.job.clone());
        fact("release", self.version.clone());
        fact("made", self.made_at.clone());
        fact("started from", self.base_model.clone());
        fact("data", Some(self.dataset.to_string()));
        fact("held out", Some(self.held_out()));
        let Summary { steps, seconds, vocabulary, epoch_losses, .. } = &self.training;
        fact(
            "training",
            Some(format!("{steps} steps in {seconds:.0} s, {vocabulary} of the token table's rows")),
        );
        let losses: Vec<String> = epoch_losses.iter().map(|loss| format!("{loss:.3}")).collect();
        let floor = self.least_loss().map_or(String::new(), |least| format!(" (its floor: {least:.3})"));
        fact("loss by epoch", Some(losses.join(", ") + &floor));
        for (name, settings) in [("recipe", &self.recipe), ("made-up typos", &self.synthesis)] {
            let settings = settings.as_object().map(|settings| {
                let each = settings.iter().filter(|(_, value)| !value.is_null());
                each.map(|(name, value)| format!("{} {}", name.replace('_', " "), plain(value)))
                    .collect::<Vec<_>>()
                    .join(", ")
            });
            fact(name, settings);
        }
        let slowdown = self.report.sanity.slowdown;
        fact("encode time", slowdown.map(|factor| format!("{factor:.2} times the live model's")));
        fact("ONNX export", self.onnx_parity.map(|cosine| format!("agrees, lowest cosine {cosine:.6}")));
        if !self.stages.is_empty() {
            let each = self.stages.iter().map(|(stage, seconds)| format!("{stage} {seconds:.1} s"));
            fact("stages", Some(each.collect::<Vec<_>>().join(", ")));
        }
        facts
    }

    /// What the loss of a full batch can't fall below, where that isn't zero ([`Recipe::least_loss`]).
    pub(super) fn least_loss(&self) -> Option<f32> {
        let recipe = Recipe::deserialize(&self.recipe).ok()?;
        Some(recipe.least_loss()).filter(|least| *least > 0.0)
    }

    fn held_out(&self) -> String {
        let DatasetSummary { new_typos, unseen_corrections, newest, .. } = &self.dataset;
        format!(
            "{new_typos} new typos of known corrections, {unseen_corrections} typos of corrections never seen, {newest} \
             of the newest rows"
        )
    }
}

/// A setting's value as a person writes it. Settings are kept in single precision, whose digits beyond the seventh
/// mean nothing.
fn plain(value: &Value) -> String {
    match (value.as_str(), value.as_i64(), value.as_f64()) {
        (Some(text), ..) => text.to_owned(),
        (_, None, Some(number)) => (number as f32).to_string(),
        _ => value.to_string(),
    }
}
