//! Tokenization by characters: each character of a text becomes a token of its own, except in phrases
//! such as `car brand:`, which stay whole.
//!
//! A typo changes one character of a name, but most of its word pieces: `toyota` is one token, `toyta`
//! is `toy` and `##ta`. The change is made in the files of the folder alone: a `Split` in front of the
//! pre-tokenizer of `tokenizer.json`, and the plain class in `tokenizer_config.json`, which makes every
//! version of transformers take the file's pipeline as it is. So every library that loads the folder
//! tokenizes alike.

use std::path::Path;

use serde_json::json;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{NormalizedString, Normalizer, PreTokenizerWrapper, SplitDelimiterBehavior};

use super::super::{Architecture, ModelError};
use super::guarded;
use super::pipeline::{self, Readings};
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
        guarded(|| self.written(&folder.join("tokenizer.json")))
    }

    fn written(&self, path: &Path) -> Result<Vec<u8>, ModelError> {
        let Readings { four: mut tokenizer, padding, truncation, .. } =
            pipeline::read(path, &self.of_folder)?;
        let mut alternatives = Vec::with_capacity(self.phrases.len());
        for phrase in &self.phrases {
            let mut text = NormalizedString::from(phrase.as_str());
            if let Some(normalizer) = tokenizer.get_normalizer() {
                normalizer.normalize(&mut text).map_err(ModelError::Tokenizer)?;
            }
            alternatives.extend(alternative(phrase, text.get()));
        }
        let before = tokenizer.get_pre_tokenizer();
        let rest = match before.and_then(own_split) {
            // The folder has a split for other phrases, which its model knows.
            Some((known, rest)) => {
                alternatives.extend(known);
                rest.to_vec()
            }
            None => before.cloned().into_iter().collect(),
        };
        let pattern = SplitPattern::Regex(pattern(alternatives));
        let split =
            Split::new(pattern, SplitDelimiterBehavior::Isolated, false).map_err(ModelError::Tokenizer)?;
        let parts = [PreTokenizerWrapper::from(split)].into_iter().chain(rest);
        let sequence = Sequence::new(parts.collect());
        tokenizer.with_pre_tokenizer(Some(PreTokenizerWrapper::from(sequence)));
        tokenizer.with_padding(padding).with_truncation(truncation).map_err(ModelError::Tokenizer)?;
        tokenizer.to_string(false).map(String::into_bytes).map_err(ModelError::Tokenizer)
    }

    /// Returns settings that make every version of transformers take the pipeline of the file.
    pub(in super::super) fn settings(&self, architecture: Architecture) -> TokenizerSettings {
        // The folder's own file says something else.
        let class = TokenizerClass::Plain;
        let mut settings = TokenizerSettings { class, common: false, ..self.of_folder.clone() };
        // The plain class has no special tokens of its own, and can't pad without one.
        for (name, token) in self.of_folder.class.special_tokens() {
            settings.fields.entry(*name).or_insert_with(|| (*token).into());
        }
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
    let pre_tokenizer = pipeline::pre_tokenizer(&folder.join("tokenizer.json"))?;
    guarded(|| {
        let parsed = serde_json::from_value::<PreTokenizerWrapper>(pre_tokenizer);
        Ok(parsed.is_ok_and(|pre_tokenizer| own_split(&pre_tokenizer).is_some()))
    })
}

/// Returns the alternatives of the split with which a pre-tokenizer begins, when it is one into characters
/// and phrases, and the parts that follow.
fn own_split(pre_tokenizer: &PreTokenizerWrapper) -> Option<(Vec<String>, &[PreTokenizerWrapper])> {
    let PreTokenizerWrapper::Sequence(sequence) = pre_tokenizer else { return None };
    let (PreTokenizerWrapper::Split(split), rest) = sequence.as_ref().split_first()? else { return None };
    match &split.pattern {
        SplitPattern::Regex(pattern) if split.behavior == SplitDelimiterBehavior::Isolated => {
            Some((alternatives_of(pattern)?, rest))
        }
        _ => None,
    }
}

/// Returns the alternatives of a split's pattern before the last one, which matches any character.
fn alternatives_of(pattern: &str) -> Option<Vec<String>> {
    let phrases = pattern.strip_suffix(ANY)?;
    if phrases.is_empty() {
        return Some(Vec::new());
    }
    let mut alternatives = vec![String::new()];
    let mut letters = phrases.strip_suffix('|')?.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '|' => alternatives.push(String::new()),
            letter => alternatives.last_mut()?.push(letter),
        }
        if letter == '\\' {
            alternatives.last_mut()?.extend(letters.next());
        }
    }
    Some(alternatives)
}

/// Returns the pattern that matches a phrase, given as it is in the template and as the pipeline normalizes
/// it; `None` for one without a character.
///
/// A space at its beginning or end stands for the limit of a word there: ` by ` is not a part of `ruby`.
/// Where the template has no space, a name may follow at once.
fn alternative(phrase: &str, normalized: &str) -> Option<String> {
    let words = normalized.trim();
    if words.is_empty() {
        return None;
    }
    let mut pattern = String::new();
    let word = |letter: Option<char>| letter.is_some_and(char::is_alphanumeric);
    if phrase.starts_with(char::is_whitespace) && word(words.chars().next()) {
        pattern.push_str(r"(?<!\w)");
    }
    for letter in words.chars() {
        match letter {
            letter if letter.is_whitespace() => pattern.push_str(r"\s"),
            // No more than these: JavaScript refuses to escape others.
            letter if r"\^$.*+?()[]{}|".contains(letter) => pattern.extend(['\\', letter]),
            letter => pattern.push(letter),
        }
    }
    if phrase.ends_with(char::is_whitespace) && word(words.chars().last()) {
        pattern.push_str(r"(?!\w)");
    }
    Some(pattern)
}

/// Returns the pattern of the split. Longer alternatives come first, because the first that matches counts.
fn pattern(mut alternatives: Vec<String>) -> String {
    alternatives.sort_by(|one, other| other.len().cmp(&one.len()).then_with(|| one.cmp(other)));
    alternatives.dedup();
    alternatives.push(ANY.to_owned());
    alternatives.join("|")
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn longer_phrases_come_first_and_a_space_is_the_limit_of_a_word() {
        let phrases =
            [" by ", " car brand: ", " car brand: x ", " by ", " ", " 50% (new) ", " \u{30d6}", "a|b"];
        let alternatives: Vec<String> =
            phrases.iter().filter_map(|phrase| alternative(phrase, phrase)).collect();
        let pattern = pattern(alternatives.clone());
        assert_eq!(
            pattern,
            "(?<!\\w)car\\sbrand:\\sx(?!\\w)|(?<!\\w)50%\\s\\(new\\)|(?<!\\w)car\\sbrand:|(?<!\\w)by(?!\\w)|(?<!\\w)\u{30d6}|a\\|b|\\S"
        );
        let mut known = alternatives_of(&pattern).unwrap();
        known.sort();
        let mut distinct = alternatives;
        distinct.sort();
        distinct.dedup();
        assert_eq!(known, distinct, "a pattern tells its alternatives");
        assert_eq!(super::pattern(Vec::new()), r"\S");
    }

    #[test]
    fn only_our_own_split_is_recognized() {
        let is_own = |json: Value| own_split(&serde_json::from_value(json).unwrap()).is_some();
        let of = |pattern: &str| {
            is_own(json!({ "type": "Sequence", "pretokenizers": [
                { "type": "Split", "pattern": { "Regex": pattern }, "behavior": "Isolated", "invert": false },
            ] }))
        };
        assert!(of(r"\S") && of(r"car:|\S"));
        assert!(!of(r"x\S") && !of(r"\w"));
        assert!(!is_own(json!({ "type": "BertPreTokenizer" })));
        assert!(!is_own(json!({ "type": "Sequence", "pretokenizers": [
            { "type": "Split", "pattern": { "Regex": r"\S" }, "behavior": "Removed", "invert": false },
        ] })));
    }
}
