//! Trial: a named recipe, as written on the command line and in `benches/data/recipes.txt`.

use std::str::FromStr;

use anyhow::{Context, Result, bail};
use autovalidate::synthesis::SynthesisSettings;
use autovalidate_finetune::model::TokenizerChoice;
use autovalidate_finetune::onnx::Loss;
use autovalidate_finetune::train::Recipe;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Model that training starts from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Start {
    /// The base model.
    Base,
    /// Model trained from the base model on the older half of the pairs.
    Live,
    /// Model made by the earlier runs of the same recipe, for the run of this number. Each run
    /// starts from the previous one's model, and trains on all pairs that had arrived by then.
    Run(usize),
}

/// Pairs that are trained on. The newer half arrived after the live model was made.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rows {
    All,
    /// The newer half.
    New,
    /// The newer half, plus half of the older half.
    Replay,
}

/// Named recipe, with its synthesis, its pairs and its start.
#[derive(Clone)]
pub(crate) struct Trial {
    pub(crate) name: String,
    /// Text of the recipe's keys, which identifies the results of this trial.
    pub(crate) keys: String,
    pub(crate) recipe: Recipe,
    pub(crate) tokenizer: TokenizerChoice,
    pub(crate) synthesis: SynthesisSettings,
    pub(crate) real: bool,
    /// True when a typo's positive is a text of the index, false when it is the name alone.
    pub(crate) indexed: bool,
    /// True when synthetic typos are made of every name, false for those of the pairs alone, as without
    /// a catalog.
    pub(crate) catalog: bool,
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
            tokenizer: TokenizerChoice::Characters,
            synthesis: SynthesisSettings::default(),
            real: true,
            indexed: true,
            catalog: true,
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
            ("tokenizer", "characters") => self.tokenizer = TokenizerChoice::Characters,
            ("tokenizer", "keep") => self.tokenizer = TokenizerChoice::Keep,
            ("loss", "symmetric") => self.recipe.loss = Loss::MnrlSymmetric,
            ("loss", "mnrl") => self.recipe.loss = Loss::Mnrl,
            ("reversed", "yes") => self.recipe.reversed = true,
            ("duplicates", "yes") => self.recipe.duplicates = true,
            ("dropout", "yes") => self.recipe.dropout = true,
            ("rates", "learned") => self.synthesis.learn_rates = true,
            ("rates", "fixed") => self.synthesis.learn_rates = false,
            ("real", "no") => self.real = false,
            ("indexed", "no") => self.indexed = false,
            ("catalog", "no") => self.catalog = false,
            ("start", "base") => self.start = Start::Base,
            ("start", "live") => self.start = Start::Live,
            ("run", number) => self.start = Start::Run(number.parse().context("a run has a number")?),
            ("rows", "all") => self.rows = Rows::All,
            ("rows", "new") => self.rows = Rows::New,
            ("rows", "replay") => self.rows = Rows::Replay,
            // Any other setting of the recipe or the synthesis, under its own name.
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

/// Returns the settings with one field changed, or `None` if they have no such field.
fn changed<T: Serialize + DeserializeOwned>(settings: &T, field: &str, value: &str) -> Result<Option<T>> {
    let mut json = serde_json::to_value(settings)?;
    let Some(place) = json.get_mut(field) else { return Ok(None) };
    *place = serde_json::from_str(value).unwrap_or_else(|_| Value::String(value.to_owned()));
    Ok(Some(serde_json::from_value(json)?))
}
