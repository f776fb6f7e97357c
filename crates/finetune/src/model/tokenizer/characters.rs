//! Tokenization by characters: each character of a text becomes a token of its own, except in phrases
//! such as `car brand:`, which stay whole.
//!
//! A typo changes one character of a name, but most of its word pieces: `toyota` is one token, `toyta`
//! is `toy` and `##ta`. The change is made in the files of the folder alone: a `Split` in front of the
//! pre-tokenizer of `tokenizer.json`, and the plain class in `tokenizer_config.json`, which makes every
//! version of transformers take the file's pipeline as it is. So every library that loads the folder
//! tokenizes alike.

use std::path::Path;

use serde_json::{Value, json};
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{NormalizedString, Normalizer, PreTokenizerWrapper, SplitDelimiterBehavior};

use super::super::{Architecture, ModelError};
use super::pipeline;
use super::settings::{TokenizerClass, TokenizerSettings};

/// Last alternative of the pattern: any character but a space.
const ANY: &str = r"\S";

/// A folder's tokenizer, with a split into characters and phrases in front of its pre-tokenizer.
#[derive(Debug, Clone)]
pub(in super::super) struct CharacterTokenizer {
    /// Settings of the folder, by which its pipeline is read.
    of_folder: TokenizerSettings,
    phrases: Vec<String>,
}

impl CharacterTokenizer {
    pub(in super::super) fn new(of_folder: TokenizerSettings, phrases: Vec<String>) -> Self {
        Self { of_folder, phrases }
    }

    /// Returns the content of `tokenizer.json`, from that in the encoder's folder.
    ///
    /// The pipeline is that of transformers 4. Phrases are normalized as the pipeline normalizes texts,
    /// because the split comes after that.
    pub(in super::super) fn file(&self, folder: &Path) -> Result<Vec<u8>, ModelError> {
        let mut tokenizer = pipeline::read(&folder.join("tokenizer.json"), &self.of_folder)?.four;
        let mut phrases = Vec::with_capacity(self.phrases.len());
        for phrase in &self.phrases {
            let mut text = NormalizedString::from(phrase.as_str());
            if let Some(normalizer) = tokenizer.get_normalizer() {
                normalizer.normalize(&mut text).map_err(ModelError::Tokenizer)?;
            }
            phrases.push(text.get().trim().to_owned());
        }
        let pattern = SplitPattern::Regex(pattern(phrases));
        let split =
            Split::new(pattern, SplitDelimiterBehavior::Isolated, false).map_err(ModelError::Tokenizer)?;
        let parts =
            [PreTokenizerWrapper::from(split)].into_iter().chain(tokenizer.get_pre_tokenizer().cloned());
        let sequence = Sequence::new(parts.collect());
        tokenizer.with_pre_tokenizer(Some(PreTokenizerWrapper::from(sequence)));
        tokenizer.to_string(false).map(String::into_bytes).map_err(ModelError::Tokenizer)
    }

    /// Returns settings that make every version of transformers take the pipeline of the file.
    pub(in super::super) fn settings(&self, architecture: Architecture) -> TokenizerSettings {
        let mut settings = TokenizerSettings { class: TokenizerClass::Plain, ..self.of_folder.clone() };
        settings.fields.insert("tokenizer_class".to_owned(), "PreTrainedTokenizerFast".into());
        // The plain class gives only these inputs. Graphs exported from BERT ask for token types, too.
        let inputs = match architecture {
            Architecture::Bert => json!(["input_ids", "token_type_ids", "attention_mask"]),
            _ => json!(["input_ids", "attention_mask"]),
        };
        settings.fields.entry("model_input_names").or_insert(inputs);
        settings
    }
}

/// Returns true when the tokenizer in the encoder's folder has a split that a [`CharacterTokenizer`] has
/// put there.
pub(in super::super) fn in_folder(folder: &Path) -> Result<bool, ModelError> {
    Ok(is_split(&pipeline::pre_tokenizer(&folder.join("tokenizer.json"))?))
}

/// Returns true for a pre-tokenizer that begins with a split into characters and phrases.
fn is_split(pre_tokenizer: &Value) -> bool {
    let first = &pre_tokenizer["pretokenizers"][0];
    let pattern = first["pattern"]["Regex"].as_str().unwrap_or_default();
    first["type"] == "Split"
        && first["behavior"] == "Isolated"
        && pattern.strip_suffix(ANY).is_some_and(|phrases| phrases.is_empty() || phrases.ends_with('|'))
}

/// Returns the pattern of the split. Longer phrases come first, because the first alternative that
/// matches counts. A phrase that begins or ends with a letter matches only whole words: `by` is not a part
/// of `ruby`.
fn pattern(mut phrases: Vec<String>) -> String {
    phrases.retain(|phrase| !phrase.is_empty());
    phrases.sort_by(|one, other| other.len().cmp(&one.len()).then_with(|| one.cmp(other)));
    phrases.dedup();
    let mut pattern = String::new();
    for phrase in &phrases {
        let word = |letter: Option<char>| letter.is_some_and(char::is_alphanumeric);
        if word(phrase.chars().next()) {
            pattern.push_str(r"(?<!\w)");
        }
        for letter in phrase.chars() {
            match letter {
                letter if letter.is_whitespace() => pattern.push_str(r"\s"),
                // No more than these: JavaScript refuses to escape others.
                letter if r"\^$.*+?()[]{}|".contains(letter) => pattern.extend(['\\', letter]),
                letter => pattern.push(letter),
            }
        }
        if word(phrase.chars().last()) {
            pattern.push_str(r"(?!\w)");
        }
        pattern.push('|');
    }
    pattern + ANY
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn longer_phrases_come_first_and_letters_match_whole_words() {
        let phrases = ["by", "car brand:", "car brand: x", "by", "", "50% (new)"].map(str::to_owned);
        assert_eq!(
            pattern(phrases.to_vec()),
            r"(?<!\w)car\sbrand:\sx(?!\w)|(?<!\w)car\sbrand:|(?<!\w)50%\s\(new\)|(?<!\w)by(?!\w)|\S"
        );
        assert_eq!(pattern(Vec::new()), r"\S");
    }

    #[test]
    fn only_our_own_split_is_recognized() {
        let of = |pattern: &str| {
            is_split(&json!({ "type": "Sequence", "pretokenizers": [
                { "type": "Split", "pattern": { "Regex": pattern }, "behavior": "Isolated", "invert": false },
            ] }))
        };
        assert!(of(r"\S") && of(r"car:|\S"));
        assert!(!of(r"x\S") && !of(r"\w"));
        assert!(!is_split(&json!({ "type": "BertPreTokenizer" })));
        assert!(!is_split(&Value::Null));
    }
}
