//! A way of training, as it is written on the command line and in `benches/data/recipes.txt`.

use std::str::FromStr;

use anyhow::{Context, Result, bail};
use autovalidate::synthesis::SynthesisSettings;
use autovalidate_finetune::onnx::Loss;
use autovalidate_finetune::train::Recipe;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// What training starts from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Start {
    /// The base model.
    Base,
    /// A model that the older half of the pairs made from the base model.
    Live,
    /// The model that one run less of the same recipe made, one on top of the other, each of all pairs that had come by then.
    Run(usize),
}

/// Which pairs are trained on; the newer half is what arrived since the live model was made.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rows {
    All,
    /// The newer half.
    New,
    /// The newer half, and half as many of the older ones.
    Replay,
}

/// A named way of training.
#[derive(Clone)]
pub(crate) struct Trial {
    pub(crate) name: String,
    /// What was written, to tell whether a result is of this trial.
    pub(crate) keys: String,
    pub(crate) recipe: Recipe,
    pub(crate) synthesis: SynthesisSettings,
    pub(crate) real: bool,
    pub(crate) start: Start,
    pub(crate) rows: Rows,
}

impl FromStr for Trial {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let (name, keys) = text.split_once(':').unwrap_or((text, ""));
        let mut trial = Self {
            name: name.trim().to_owned(),
            keys: keys.trim().to_owned(),
            recipe: Recipe::default(),
            synthesis: SynthesisSettings::default(),
            real: true,
            start: Start::Base,
            rows: Rows::All,
        };
        for pair in keys.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').with_context(|| format!("{pair} has no value"))?;
            trial.set(key, value).with_context(|| format!("{pair} of {name}"))?;
        }
        Ok(trial)
    }
}

impl Trial {
    fn set(&mut self, key: &str, value: &str) -> Result<()> {
        let key = match key {
            "batch" => "batch_size",
            "lr" => "learning_rate",
            "warmup" => "warmup_ratio",
            "hard" => "hard_share",
            "below" => "hard_below",
            "negatives" => "hard_negatives",
            "smoothing" => "label_smoothing",
            other => other,
        };
        match (key, value) {
            ("loss", "symmetric") => self.recipe.loss = Loss::MnrlSymmetric,
            ("loss", "mnrl") => self.recipe.loss = Loss::Mnrl,
            ("reversed", "yes") => self.recipe.reversed = true,
            ("duplicates", "yes") => self.recipe.duplicates = true,
            ("dropout", "yes") => self.recipe.dropout = true,
            ("rates", "learned") => self.synthesis.learn_rates = true,
            ("rates", "fixed") => self.synthesis.learn_rates = false,
            ("real", "no") => self.real = false,
            ("start", "base") => self.start = Start::Base,
            ("start", "live") => self.start = Start::Live,
            ("run", number) => self.start = Start::Run(number.parse().context("a run has a number")?),
            ("rows", "all") => self.rows = Rows::All,
            ("rows", "new") => self.rows = Rows::New,
            ("rows", "replay") => self.rows = Rows::Replay,
            // Whatever else the recipe or the synthesis knows, under the name it has there.
            _ => {
                let of_recipe = changed(&self.recipe, key, value)?;
                let of_synthesis = changed(&self.synthesis, key, value)?;
                match (of_recipe, of_synthesis) {
                    (Some(recipe), _) => self.recipe = recipe,
                    (None, Some(synthesis)) => self.synthesis = synthesis,
                    (None, None) => bail!("no such setting"),
                }
            }
        }
        Ok(())
    }
}

/// Settings with one field changed; none if they have no such field.
fn changed<T: Serialize + DeserializeOwned>(settings: &T, field: &str, value: &str) -> Result<Option<T>> {
    let mut json = serde_json::to_value(settings)?;
    let Some(place) = json.get_mut(field) else { return Ok(None) };
    *place = serde_json::from_str(value).unwrap_or_else(|_| Value::String(value.to_owned()));
    Ok(Some(serde_json::from_value(json)?))
}
