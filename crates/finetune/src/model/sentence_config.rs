//! The settings of the encoder's module: `sentence_bert_config.json` and its older names.

use std::path::Path;

use serde_json::{Map, Value, json};

use super::ModelError;
use super::files::{object, shown, unsupported};

/// Name of the file in folders of today.
pub(super) const SENTENCE: &str = "sentence_bert_config.json";

/// Names of the file, in the order in which the library looks for them.
pub(super) const NAMES: [&str; 7] = [
    SENTENCE,
    "sentence_roberta_config.json",
    "sentence_distilbert_config.json",
    "sentence_camembert_config.json",
    "sentence_albert_config.json",
    "sentence_xlm-roberta_config.json",
    "sentence_xlnet_config.json",
];

/// Arguments of the Hub client, which don't matter for a folder on the disk.
const OF_THE_HUB: [&str; 6] =
    ["trust_remote_code", "token", "revision", "local_files_only", "cache_dir", "subfolder"];

/// Settings of the encoder's module.
#[derive(Debug, Default)]
pub(super) struct SentenceConfig {
    pub(super) max_tokens: Option<usize>,
    pub(super) lower_case: bool,
    /// Arguments of the tokenizer. They override `tokenizer_config.json`.
    pub(super) tokenizer_args: Map<String, Value>,
    /// True when every version of the library reads the file.
    pub(super) common: bool,
}

impl SentenceConfig {
    /// Reads the first of the files that has content, below the encoder's folder.
    pub(super) fn read(folder: &Path) -> Result<Self, ModelError> {
        for name in NAMES {
            if let Some(file) = object(folder, name)?.filter(|file| !file.is_empty()) {
                let common = name == SENTENCE
                    && file.keys().all(|key| ["max_seq_length", "do_lower_case"].contains(&key.as_str()));
                return Ok(Self { common, ..Self::parse(file)? });
            }
        }
        Ok(Self { common: true, ..Self::default() })
    }

    fn parse(file: Map<String, Value>) -> Result<Self, ModelError> {
        let mut config = Self::default();
        for (key, value) in file {
            match (key.as_str(), &value) {
                ("max_seq_length", Value::Number(number)) if number.as_u64().is_some() => {
                    config.max_tokens = number.as_u64().and_then(|number| usize::try_from(number).ok());
                }
                ("do_lower_case", Value::Bool(on)) => config.lower_case = *on,
                ("tokenizer_args" | "processor_kwargs", Value::Object(arguments)) => {
                    config.tokenizer_args.extend(of_the_model(arguments));
                }
                ("model_args" | "model_kwargs", Value::Object(arguments)) => {
                    if let Some((key, value)) = of_the_model(arguments).find(|pair| !changes_nothing(pair)) {
                        return unsupported(
                            "model argument",
                            format!("{key}={}", shown(&value)),
                            "none that changes results",
                        );
                    }
                }
                ("config_args" | "config_kwargs", Value::Object(arguments)) => {
                    if let Some((key, value)) = of_the_model(arguments).next() {
                        return unsupported("config argument", format!("{key}={}", shown(&value)), "none");
                    }
                }
                ("transformer_task", Value::String(task)) if task == "feature-extraction" => {}
                ("module_output_name", Value::String(name)) if name == "token_embeddings" => {}
                ("modality_config", value) if *value == text_only() => {}
                ("unpad_inputs", _) => {}
                (_, Value::Null) => {}
                (_, Value::Object(empty)) if empty.is_empty() => {}
                _ => {
                    let found = format!("{}={}", shown(&key.into()), shown(&value));
                    return unsupported(
                        "sentence_bert_config.json setting",
                        found,
                        "max_seq_length, do_lower_case and tokenizer_args",
                    );
                }
            }
        }
        Ok(config)
    }
}

/// Value of `modality_config` of a model that embeds texts.
fn text_only() -> Value {
    json!({"text": {"method": "forward", "method_output_name": "last_hidden_state"}})
}

fn of_the_model(arguments: &Map<String, Value>) -> impl Iterator<Item = (String, Value)> {
    arguments
        .iter()
        .filter(|(key, _)| !OF_THE_HUB.contains(&key.as_str()))
        .map(|(key, value)| (key.clone(), value.clone()))
}

/// Returns true for arguments that choose a kernel for the same arithmetic.
fn changes_nothing((key, value): &(String, Value)) -> bool {
    match key.as_str() {
        "attn_implementation" => ["eager", "sdpa"].iter().any(|kernel| value == kernel),
        "torch_dtype" | "dtype" => value == "float32",
        _ => value.is_null(),
    }
}
