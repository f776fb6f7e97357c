//! The settings of a tokenizer beside its pipeline: `tokenizer_config.json`, the class that reads
//! it, and arguments of the module.

use std::path::Path;

use serde_json::{Map, Value};
use tokenizers::{AddedToken, TruncationDirection};

use super::super::files::{object, shown, unsupported};
use super::super::{Architecture, ModelError};

/// Name of the file.
pub(in super::super) const TOKENIZER_CONFIG: &str = "tokenizer_config.json";
/// Settings of the pipeline that arguments of the module may override.
const OVERRIDABLE: [&str; 7] = [
    "do_lower_case",
    "strip_accents",
    "tokenize_chinese_chars",
    "add_prefix_space",
    "truncation_side",
    "padding_side",
    "model_max_length",
];
/// Names of the special tokens.
const SPECIALS: [&str; 7] =
    ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"];

/// Class of transformers that reads a tokenizer, by what it does to the pipeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum TokenizerClass {
    /// `BertTokenizer` and its equals.
    Bert,
    Mpnet,
    Roberta,
    XlmRoberta,
    /// `PreTrainedTokenizerFast`, which takes the file's pipeline.
    Plain,
}

/// Settings of a tokenizer.
#[derive(Debug, Clone)]
pub(in super::super) struct TokenizerSettings {
    /// Content of the file, with the arguments of the module.
    pub(in super::super) fields: Map<String, Value>,
    pub(in super::super) class: TokenizerClass,
    /// True when version 4 of transformers reads the folder's file, too, and reads these settings in it.
    pub(in super::super) common: bool,
}

impl TokenizerSettings {
    /// Reads the settings in the encoder's folder. `arguments` override them.
    pub(in super::super) fn read(
        folder: &Path,
        arguments: &Map<String, Value>,
        architecture: Architecture,
        class_in_config: Option<&str>,
    ) -> Result<Self, ModelError> {
        let mut fields = object(folder, TOKENIZER_CONFIG)?.unwrap_or_default();
        let mut common = true;
        for (key, value) in arguments {
            if !OVERRIDABLE.contains(&key.as_str()) {
                let found = format!("{}={}", shown(&key.as_str().into()), shown(value));
                return unsupported("tokenizer argument", found, "do_lower_case, strip_accents and the like");
            }
            common &= fields.insert(key.clone(), value.clone()).as_ref() == Some(value);
        }
        // Both versions read the older file only where the newer one doesn't list the tokens.
        if !fields.contains_key("added_tokens_decoder") {
            let older = object(folder, "special_tokens_map.json")?.unwrap_or_default();
            for name in SPECIALS {
                if let (Some(one), Some(other)) = (fields.get(name), older.get(name))
                    && content(one) != content(other)
                {
                    return unsupported("special token", format!("{name} of two files"), "one per name");
                }
            }
            fields.extend(older);
        }
        let named = fields.get("tokenizer_class").filter(|class| !class.is_null());
        let named = named.map(|class| class.as_str().unwrap_or_default()).or(class_in_config);
        // Version 4 doesn't know this name of the plain class, and reads extra tokens only as a table.
        common &= named != Some("TokenizersBackend");
        common &= !matches!(fields.get("extra_special_tokens"), Some(Value::Array(_)));
        let class = match named {
            Some(name) => TokenizerClass::named(name)?,
            None => TokenizerClass::of(architecture),
        };
        let settings = Self { fields, class, common };
        settings.check()?;
        Ok(settings)
    }

    /// Refuses settings that the pipelines don't follow.
    fn check(&self) -> Result<(), ModelError> {
        for key in ["add_bos_token", "add_eos_token", "split_special_tokens", "from_slow"] {
            if let Some(value) =
                self.fields.get(key).filter(|value| **value != Value::Bool(false) && !value.is_null())
            {
                return unsupported("tokenizer setting", format!("{key}={}", shown(value)), "false");
            }
        }
        // Names code of a repository, which the library runs where it is told to trust it.
        if let Some(classes) = self.fields.get("auto_map").filter(|classes| !classes.is_null()) {
            return unsupported("tokenizer setting", format!("auto_map={}", shown(classes)), "none");
        }
        if self.fields.get("padding_side").is_some_and(|side| side != "right") {
            return unsupported(
                "padding side",
                "left",
                "right, since positions move with padding on the left",
            );
        }
        if let Some(side) = self.fields.get("truncation_side")
            && !["left", "right"].iter().any(|known| side == known)
        {
            return unsupported("truncation side", shown(side), "left or right");
        }
        Ok(())
    }

    /// Returns a setting that is on or off.
    pub(super) fn flag(&self, key: &str, default: bool) -> bool {
        self.fields.get(key).and_then(Value::as_bool).unwrap_or(default)
    }

    /// Returns a setting that is on, off or left to others.
    pub(super) fn optional_flag(&self, key: &str) -> Option<bool> {
        self.fields.get(key).and_then(Value::as_bool)
    }

    /// Returns the side that is cut from long texts, if the file says so.
    pub(super) fn truncation_side(&self) -> Option<TruncationDirection> {
        match self.fields.get("truncation_side")?.as_str()? {
            "left" => Some(TruncationDirection::Left),
            _ => Some(TruncationDirection::Right),
        }
    }

    /// Returns the content of a special token.
    pub(super) fn special(&self, name: &str) -> Option<&str> {
        content(self.fields.get(name)?)
    }

    /// Returns the content of a special token that every class but the plain one has.
    pub(super) fn special_of_class(&self, name: &str) -> &str {
        let own = || self.class.special_tokens().iter().find(|(own, _)| *own == name);
        self.special(name).or_else(|| own().map(|(_, token)| *token)).unwrap_or_default()
    }

    /// Returns the length of the longest text. "No limit" is written as a huge number.
    pub(in super::super) fn max_tokens(&self) -> Option<usize> {
        self.fields.get("model_max_length").and_then(Value::as_f64).map(|longest| longest as usize)
    }

    /// Returns the tokens that both versions of transformers add to the file's, in order.
    pub(super) fn added_tokens(&self) -> Result<Vec<AddedToken>, ModelError> {
        let mut tokens: Vec<(u64, AddedToken)> = Vec::new();
        if let Some(listed) = self.fields.get("added_tokens_decoder").and_then(Value::as_object) {
            for (id, token) in listed {
                let parsed = id.parse().ok().zip(serde_json::from_value(token.clone()).ok());
                let Some(parsed) = parsed else {
                    return unsupported("added token", shown(token), "a token with its five properties");
                };
                tokens.push(parsed);
            }
        }
        tokens.sort_by_key(|(id, _)| *id);
        let mut tokens: Vec<AddedToken> = tokens.into_iter().map(|(_, token)| token).collect();
        for name in SPECIALS {
            if let Some(special) = self.special(name)
                && !tokens.iter().any(|token| token.content == special)
            {
                tokens.push(AddedToken::from(special, true));
            }
        }
        Ok(tokens)
    }

    /// Returns the contents of tokens that only one of the two versions adds.
    pub(super) fn extra_tokens(&self) -> impl Iterator<Item = &str> {
        ["extra_special_tokens", "additional_special_tokens"]
            .into_iter()
            .filter_map(|key| self.fields.get(key))
            .flat_map(|extra| match extra {
                Value::Array(tokens) => tokens.iter().filter_map(content).collect::<Vec<_>>(),
                Value::Object(tokens) => tokens.values().filter_map(content).collect(),
                _ => Vec::new(),
            })
    }

    /// Returns true when the file lists the added tokens.
    pub(super) fn lists_added_tokens(&self) -> bool {
        self.fields.contains_key("added_tokens_decoder")
    }
}

/// Returns the text of a special token, which is written as text or as an object.
fn content(token: &Value) -> Option<&str> {
    token.as_str().or_else(|| token.get("content")?.as_str())
}

impl TokenizerClass {
    /// Returns the special tokens that the class has where the settings name none.
    pub(super) fn special_tokens(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Bert => &[
                ("unk_token", "[UNK]"),
                ("sep_token", "[SEP]"),
                ("pad_token", "[PAD]"),
                ("cls_token", "[CLS]"),
                ("mask_token", "[MASK]"),
            ],
            Self::Mpnet => &[
                ("bos_token", "<s>"),
                ("eos_token", "</s>"),
                ("sep_token", "</s>"),
                ("cls_token", "<s>"),
                ("unk_token", "[UNK]"),
                ("pad_token", "<pad>"),
                ("mask_token", "<mask>"),
            ],
            Self::Roberta | Self::XlmRoberta => &[
                ("bos_token", "<s>"),
                ("eos_token", "</s>"),
                ("sep_token", "</s>"),
                ("cls_token", "<s>"),
                ("unk_token", "<unk>"),
                ("pad_token", "<pad>"),
                ("mask_token", "<mask>"),
            ],
            Self::Plain => &[],
        }
    }

    fn named(name: &str) -> Result<Self, ModelError> {
        match name.strip_suffix("Fast").unwrap_or(name) {
            "BertTokenizer" | "DistilBertTokenizer" | "ElectraTokenizer" => Ok(Self::Bert),
            "MPNetTokenizer" => Ok(Self::Mpnet),
            "RobertaTokenizer" => Ok(Self::Roberta),
            "XLMRobertaTokenizer" => Ok(Self::XlmRoberta),
            "PreTrainedTokenizer" | "TokenizersBackend" => Ok(Self::Plain),
            _ => unsupported(
                "tokenizer_class",
                shown(&name.into()),
                "BertTokenizer, DistilBertTokenizer, MPNetTokenizer, RobertaTokenizer, XLMRobertaTokenizer or PreTrainedTokenizerFast",
            ),
        }
    }

    fn of(architecture: Architecture) -> Self {
        match architecture {
            Architecture::Bert | Architecture::DistilBert => Self::Bert,
            Architecture::Roberta => Self::Roberta,
            Architecture::XlmRoberta => Self::XlmRoberta,
            Architecture::Mpnet => Self::Mpnet,
        }
    }
}
