//! Pipelines as transformers makes them of a folder.
//!
//! Version 4 takes the pipeline of `tokenizer.json` and corrects some of its settings by
//! `tokenizer_config.json`. Version 5 takes the vocabulary and builds the pipeline of the class
//! anew, whatever else the file says. Source: `tokenization_*.py` of Hugging Face transformers 4.56
//! and 5.24.

use std::path::Path;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Value, json};
use tokenizers::{
    NormalizerWrapper, PaddingParams, PostProcessorWrapper, PreTokenizerWrapper, TruncationParams,
};

use super::super::ModelError;
use super::super::files::{read_within, shown, unsupported};
use super::patterns;
use super::settings::{TokenizerClass, TokenizerSettings};

/// Size in bytes of the largest `tokenizer.json`. Those of vocabularies of 250,000 tokens have 17 MB.
const MOST: u64 = 64 << 20;

/// Parts of `tokenizer.json` without the vocabulary, which may be huge.
#[derive(Deserialize)]
struct Parts {
    model: ModelPart,
    #[serde(default)]
    normalizer: Value,
    #[serde(default)]
    pre_tokenizer: Value,
    #[serde(default)]
    post_processor: Value,
    #[serde(default)]
    added_tokens: Vec<AddedPart>,
    #[serde(default)]
    padding: Value,
}

#[derive(Deserialize)]
struct AddedPart {
    content: String,
}

#[derive(Deserialize)]
struct ModelPart {
    r#type: Option<String>,
    #[serde(default)]
    unk_token: Option<String>,
    #[serde(default)]
    unk_id: Option<usize>,
    #[serde(default)]
    byte_fallback: bool,
    #[serde(default)]
    fuse_unk: bool,
    #[serde(default)]
    ignore_merges: bool,
    #[serde(default)]
    dropout: Option<f32>,
    #[serde(default)]
    continuing_subword_prefix: Option<String>,
    #[serde(default)]
    end_of_word_suffix: Option<String>,
    #[serde(default)]
    max_input_chars_per_word: Option<usize>,
    #[serde(default)]
    merges: Option<IgnoredAny>,
}

impl ModelPart {
    /// Returns the kind of the model. Files of the first years don't name it.
    fn kind(&self) -> &str {
        match &self.r#type {
            Some(kind) => kind,
            None if self.merges.is_some() => "BPE",
            None if self.unk_id.is_some() => "Unigram",
            None => "WordPiece",
        }
    }
}

/// A tokenizer as both versions of transformers read it.
pub(super) struct Readings {
    /// As version 4, which the backend is pinned to.
    pub(super) four: tokenizers::Tokenizer,
    /// As version 5, when its pipeline is another one. The two may still give the same ids.
    pub(super) five: Option<tokenizers::Tokenizer>,
    /// Padding that the file asks for. The tokenizers here don't pad.
    pub(super) padding: Option<PaddingParams>,
    /// Truncation that the file asks for. The tokenizers here don't truncate yet.
    pub(super) truncation: Option<TruncationParams>,
}

/// Reads a `tokenizer.json` as both versions of transformers do.
pub(super) fn read(path: &Path, settings: &TokenizerSettings) -> Result<Readings, ModelError> {
    parse(&bytes(path)?, settings)
}

/// Returns the pre-tokenizer that a `tokenizer.json` describes.
pub(super) fn pre_tokenizer(path: &Path) -> Result<Value, ModelError> {
    Ok(parts(&bytes(path)?)?.pre_tokenizer)
}

fn bytes(path: &Path) -> Result<Vec<u8>, ModelError> {
    if !path.exists() {
        return unsupported(
            "tokenizer.json",
            "absent",
            "a folder that SentenceTransformer.save has written, which has it",
        );
    }
    read_within(path, MOST)
}

fn parts(bytes: &[u8]) -> Result<Parts, ModelError> {
    serde_json::from_slice(bytes).map_err(malformed)
}

/// Reads the content of a `tokenizer.json` as both versions of transformers do.
pub(super) fn parse(bytes: &[u8], settings: &TokenizerSettings) -> Result<Readings, ModelError> {
    let parts = parts(bytes)?;
    patterns::check(&parts.normalizer)?;
    patterns::check(&parts.pre_tokenizer)?;
    let mut four = tokenizers::Tokenizer::from_bytes(bytes).map_err(ModelError::Tokenizer)?;
    // The file may bring settings of its own: all-MiniLM-L6-v2's pads every text to 128 tokens, and another
    // may ask for any number.
    let padding = four.get_padding().cloned();
    let truncation = four.get_truncation().cloned();
    four.with_padding(None);
    four.with_truncation(None).map_err(ModelError::Tokenizer)?;
    check(&parts, settings)?;
    four.add_tokens(settings.added_tokens()?).map_err(ModelError::Tokenizer)?;
    if let Some(token) =
        settings.extra_tokens().find(|token| !parts.added_tokens.iter().any(|added| added.content == *token))
    {
        return unsupported(
            "extra special token",
            shown(&token.into()),
            "tokens that tokenizer.json has, too",
        );
    }
    let mut five = four.clone();
    correct(&mut four, &parts, settings)?;
    rebuild(&mut five, &parts, settings)?;
    let same = serde_json::to_value(four.get_normalizer()).ok()
        == serde_json::to_value(five.get_normalizer()).ok()
        && serde_json::to_value(four.get_pre_tokenizer()).ok()
            == serde_json::to_value(five.get_pre_tokenizer()).ok()
        && specials(&four)? == specials(&five)?;
    Ok(Readings { four, five: (!same).then_some(five), padding, truncation })
}

/// Returns the special tokens around an empty text.
fn specials(tokenizer: &tokenizers::Tokenizer) -> Result<Vec<u32>, ModelError> {
    Ok(tokenizer.encode("", true).map_err(ModelError::Tokenizer)?.get_ids().to_vec())
}

/// Refuses files that the class of the folder can't read, or reads with another model than the
/// file's.
fn check(parts: &Parts, settings: &TokenizerSettings) -> Result<(), ModelError> {
    let model = &parts.model;
    let kind = model.kind();
    let expected = match settings.class {
        TokenizerClass::Plain => kind,
        TokenizerClass::Bert | TokenizerClass::Mpnet => "WordPiece",
        TokenizerClass::Roberta => "BPE",
        TokenizerClass::XlmRoberta => "Unigram",
    };
    if kind != expected {
        return unsupported(
            "tokenizer_class",
            format!("{:?} for a {} vocabulary", settings.class, shown(&kind.into())),
            "the vocabulary's own class",
        );
    }
    if parts.post_processor.is_null() {
        return unsupported("post-processor in tokenizer.json", "absent", "one that adds the special tokens");
    }
    if parts.padding.get("direction").is_some_and(|side| side == "Left")
        && !settings.fields.contains_key("padding_side")
    {
        return unsupported("padding side", "left", "right, since positions move with padding on the left");
    }
    let plain = |text: &Option<String>| text.as_deref().unwrap_or_default().is_empty();
    let usual = match settings.class {
        TokenizerClass::Plain => model.dropout.is_none(),
        TokenizerClass::Bert | TokenizerClass::Mpnet => {
            model.continuing_subword_prefix.as_deref().unwrap_or("##") == "##"
                && model.max_input_chars_per_word.unwrap_or(100) == 100
                && model.unk_token.as_deref().unwrap_or("[UNK]") == settings.special_of_class("unk_token")
        }
        TokenizerClass::Roberta => {
            plain(&model.continuing_subword_prefix)
                && plain(&model.end_of_word_suffix)
                && model.dropout.is_none()
                && !(model.fuse_unk || model.byte_fallback || model.ignore_merges)
                && model.unk_token.is_none()
        }
        TokenizerClass::XlmRoberta => model.unk_id == Some(3) && !model.byte_fallback,
    };
    if !usual {
        return unsupported(
            "tokenizer's model",
            "set otherwise than its class sets it",
            "the settings of its class",
        );
    }
    // Version 5 forgets tokens of the file that the settings don't list.
    if settings.class != TokenizerClass::Plain && settings.lists_added_tokens() {
        let listed = settings.added_tokens()?;
        if let Some(added) =
            parts.added_tokens.iter().find(|added| !listed.iter().any(|token| token.content == added.content))
        {
            return unsupported(
                "added token",
                format!("{}, which tokenizer_config.json lacks", shown(&added.content.as_str().into())),
                "tokens that both files list",
            );
        }
    }
    Ok(())
}

/// Corrects a pipeline as version 4 does.
fn correct(
    tokenizer: &mut tokenizers::Tokenizer,
    parts: &Parts,
    settings: &TokenizerSettings,
) -> Result<(), ModelError> {
    if matches!(settings.class, TokenizerClass::Bert | TokenizerClass::Mpnet) {
        let mut normalizer = parts.normalizer.clone();
        if normalizer.is_null() {
            return unsupported("normalizer in tokenizer.json", "absent", "BertNormalizer");
        }
        if normalizer["type"] == "BertNormalizer" {
            normalizer["lowercase"] = settings.flag("do_lower_case", true).into();
            normalizer["strip_accents"] = settings.optional_flag("strip_accents").into();
            if settings.class == TokenizerClass::Bert {
                normalizer["handle_chinese_chars"] = settings.flag("tokenize_chinese_chars", true).into();
            }
            set_normalizer(tokenizer, normalizer)?;
        }
    }
    if parts.pre_tokenizer["type"] == "ByteLevel" {
        let mut pre_tokenizer = parts.pre_tokenizer.clone();
        pre_tokenizer["add_prefix_space"] = settings.flag("add_prefix_space", false).into();
        set_pre_tokenizer(tokenizer, pre_tokenizer)?;
    }
    Ok(())
}

/// Builds the pipeline of the settings' class on a file's vocabulary, as version 5 does.
fn rebuild(
    tokenizer: &mut tokenizers::Tokenizer,
    parts: &Parts,
    settings: &TokenizerSettings,
) -> Result<(), ModelError> {
    let normalizer = json!({
        "type": "BertNormalizer",
        "clean_text": true,
        "handle_chinese_chars": settings.flag("tokenize_chinese_chars", true),
        "strip_accents": settings.optional_flag("strip_accents"),
        "lowercase": settings.flag("do_lower_case", true),
    });
    let special = |name| settings.special_of_class(name);
    match settings.class {
        TokenizerClass::Plain => {}
        TokenizerClass::Bert => {
            set_normalizer(tokenizer, normalizer)?;
            set_pre_tokenizer(tokenizer, json!({ "type": "BertPreTokenizer" }))?;
            set_template(tokenizer, special("cls_token"), special("sep_token"))?;
        }
        TokenizerClass::Mpnet => {
            set_normalizer(tokenizer, normalizer)?;
            set_pre_tokenizer(tokenizer, json!({ "type": "BertPreTokenizer" }))?;
            set_template(tokenizer, special("cls_token"), special("sep_token"))?;
        }
        TokenizerClass::Roberta => {
            tokenizer.with_normalizer(None::<NormalizerWrapper>).map_err(ModelError::Tokenizer)?;
            let space = settings.flag("add_prefix_space", false);
            let pre_tokenizer = json!({ "type": "ByteLevel", "add_prefix_space": space, "trim_offsets": true, "use_regex": true });
            set_pre_tokenizer(tokenizer, pre_tokenizer)?;
            set_template(tokenizer, special("cls_token"), special("sep_token"))?;
        }
        TokenizerClass::XlmRoberta => {
            match charsmap(&parts.normalizer) {
                Some(charsmap) => set_normalizer(tokenizer, charsmap.clone())?,
                None => {
                    tokenizer.with_normalizer(None::<NormalizerWrapper>).map_err(ModelError::Tokenizer)?;
                }
            }
            let scheme = if settings.flag("add_prefix_space", true) { "always" } else { "never" };
            let pre_tokenizer = json!({ "type": "Sequence", "pretokenizers": [
                { "type": "WhitespaceSplit" },
                { "type": "Metaspace", "replacement": "\u{2581}", "prepend_scheme": scheme, "split": true },
            ] });
            set_pre_tokenizer(tokenizer, pre_tokenizer)?;
            set_template(tokenizer, special("bos_token"), special("eos_token"))?;
        }
    }
    Ok(())
}

/// Finds the table of normalizations that sentencepiece compiled.
fn charsmap(normalizer: &Value) -> Option<&Value> {
    let is_charsmap = |one: &&Value| one["type"] == "Precompiled";
    match normalizer["type"].as_str()? {
        "Sequence" => normalizer["normalizers"].as_array()?.iter().find(is_charsmap),
        _ => Some(normalizer).filter(is_charsmap),
    }
}

fn set_normalizer(tokenizer: &mut tokenizers::Tokenizer, json: Value) -> Result<(), ModelError> {
    let normalizer: NormalizerWrapper = serde_json::from_value(json).map_err(malformed)?;
    tokenizer.with_normalizer(Some(normalizer)).map_err(ModelError::Tokenizer)?;
    Ok(())
}

fn set_pre_tokenizer(tokenizer: &mut tokenizers::Tokenizer, json: Value) -> Result<(), ModelError> {
    let pre_tokenizer: PreTokenizerWrapper = serde_json::from_value(json).map_err(malformed)?;
    tokenizer.with_pre_tokenizer(Some(pre_tokenizer));
    Ok(())
}

/// Sets the special tokens around a text.
fn set_template(tokenizer: &mut tokenizers::Tokenizer, first: &str, last: &str) -> Result<(), ModelError> {
    let piece = |token: &str| json!({ "SpecialToken": { "id": token, "type_id": 0 } });
    let text = json!({ "Sequence": { "id": "A", "type_id": 0 } });
    let mut known = json!({});
    for token in [first, last] {
        let Some(id) = tokenizer.token_to_id(token) else {
            return unsupported("special token", shown(&token.into()), "a token of the vocabulary");
        };
        known[token] = json!({ "id": token, "ids": [id], "tokens": [token] });
    }
    let template = json!({
        "type": "TemplateProcessing",
        "single": [piece(first), text, piece(last)],
        "pair": [piece(first), text, piece(last), json!({ "Sequence": { "id": "B", "type_id": 1 } })],
        "special_tokens": known,
    });
    let processor: PostProcessorWrapper = serde_json::from_value(template).map_err(malformed)?;
    tokenizer.with_post_processor(Some(processor));
    Ok(())
}

fn malformed(source: serde_json::Error) -> ModelError {
    ModelError::Config { file: "tokenizer.json", source }
}
