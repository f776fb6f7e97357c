//! Tokenization of texts as sentence-transformers does it, token for token.
//!
//! The files of a folder don't decide alone: transformers corrects or rebuilds the pipeline of
//! `tokenizer.json`, and its versions 4 and 5 do so differently. Texts are tokenized as version 4
//! does. Where version 5 has another pipeline, each text is tokenized both ways, and a text with
//! different ids is an error.
//!
//! ```text
//! characters  tokenization by characters, for models that learn typos
//! choice      choice of the tokens that a model is trained on
//! patterns    bounds on the patterns of a file
//! pipeline    the pipelines of transformers 4 and 5
//! settings    tokenizer_config.json and what overrides it
//! ```

pub(super) mod characters;
mod choice;
mod patterns;
mod pipeline;
mod settings;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use tokenizers::{TruncationDirection, TruncationParams, TruncationStrategy};

use super::ModelError;
use super::files::unsupported;

pub(super) use characters::CharacterTokenizer;
pub use choice::TokenizerChoice;
use pipeline::Readings;
pub(super) use settings::{TOKENIZER_CONFIG, TokenizerSettings};

/// Texts that tell pipelines apart: capitals, accents, scripts without spaces, punctuation, digits,
/// and long words. Spaces other than single ones are left out: versions 4 and 5 treat them
/// differently in many folders of XLM-RoBERTa.
const PROBES: [&str; 9] = [
    "",
    "car brand: Toyota",
    "CITRO\u{cb}N m\u{e9}hari e\u{301} \u{130}\u{df}",
    "\u{6bd4}\u{4e9a}\u{8fea}\u{4e30}\u{7530} car \u{d604}\u{b300}",
    "it's 3-5, no! [x] (2)",
    "\u{ff34}\u{ff2f}\u{ff39}\u{ff2f} \u{fb01}at",
    "zero\u{200b}width\u{1}control",
    "antidisestablishmentarianismantidisestablishmentarianism",
    "\u{41f}\u{440}\u{438}\u{432}\u{435}\u{442} \u{627}\u{644} \u{939}\u{93f}",
];

/// A model's tokenizer. It never pads, and it truncates texts at the model's longest length.
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    /// Reading of transformers 5, when its pipeline is another one.
    other: Option<tokenizers::Tokenizer>,
    max_tokens: usize,
    lower_case: bool,
    prompt: String,
}

/// Token ids of several texts, special tokens included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tokenized {
    /// Token ids of each text.
    pub texts: Vec<Vec<u32>>,
    /// Number of texts that were truncated.
    pub cut: usize,
}

/// Treatment of a text before the pipeline sees it.
pub(super) struct TextSettings {
    pub(super) max_tokens: usize,
    pub(super) lower_case: bool,
    pub(super) prompt: String,
}

impl Tokenizer {
    /// Libraries whose reading of the folder gives a text the ids that [`encode`](Self::encode)
    /// returns. A text with other ids in one of them is an error.
    pub const READINGS: [&str; 2] = ["transformers 4", "transformers 5"];

    /// Opens the tokenizer in the encoder's folder, changed by `characters`.
    pub(super) fn open(
        folder: &Path,
        settings: &TokenizerSettings,
        characters: Option<&CharacterTokenizer>,
        texts: TextSettings,
    ) -> Result<Self, ModelError> {
        guarded(|| Self::open_pipelines(folder, settings, characters, texts))
    }

    fn open_pipelines(
        folder: &Path,
        settings: &TokenizerSettings,
        characters: Option<&CharacterTokenizer>,
        texts: TextSettings,
    ) -> Result<Self, ModelError> {
        let readings = match characters {
            Some(characters) => pipeline::parse(&characters.file(folder)?, settings)?,
            None => pipeline::read(&folder.join("tokenizer.json"), settings)?,
        };
        let Readings { mut four, mut five, truncation, .. } = readings;
        let TextSettings { max_tokens, lower_case, prompt } = texts;
        let in_the_file = truncation.map(|truncation| truncation.direction);
        let side = settings.truncation_side().or(in_the_file).unwrap_or(TruncationDirection::Right);
        for inner in [&mut four].into_iter().chain(five.as_mut()) {
            let specials = inner.encode("", true).map_err(ModelError::Tokenizer)?.len();
            if specials >= max_tokens {
                return unsupported(
                    "longest text",
                    format!("{max_tokens} tokens, of which {specials} are special"),
                    "room for a token between the special ones",
                );
            }
            inner
                .with_truncation(Some(TruncationParams {
                    direction: side,
                    max_length: max_tokens,
                    strategy: TruncationStrategy::LongestFirst,
                    stride: 0,
                }))
                .map_err(ModelError::Tokenizer)?;
        }
        let tokenizer = Self { inner: four, other: five, max_tokens, lower_case, prompt };
        tokenizer.encode(&PROBES)?;
        Ok(tokenizer)
    }

    /// Tokenizes texts, in order. The folder's default prompt goes in front of each.
    ///
    /// # Errors
    /// [`ModelError::Tokenizer`] when the tokenizer refuses a text. [`ModelError::Unsupported`] when
    /// versions of transformers give a text different ids.
    pub fn encode<S: AsRef<str>>(&self, texts: &[S]) -> Result<Tokenized, ModelError> {
        guarded(|| self.encode_all(texts))
    }

    fn encode_all<S: AsRef<str>>(&self, texts: &[S]) -> Result<Tokenized, ModelError> {
        let mut cut = 0;
        let texts = texts
            .iter()
            .map(|text| {
                let text = self.prepared(text.as_ref());
                let encoding = self.inner.encode(text.as_str(), true).map_err(ModelError::Tokenizer)?;
                if let Some(other) = &self.other {
                    let other = other.encode(text, true).map_err(ModelError::Tokenizer)?;
                    if other.get_ids() != encoding.get_ids() {
                        return unsupported(
                            "tokenizer",
                            "read differently by transformers 4 and 5: tokenizer_config.json and tokenizer.json contradict each other",
                            "settings with which both give the same ids",
                        );
                    }
                }
                if encoding.get_type_ids().iter().any(|kind| *kind != 0) {
                    return unsupported("tokenizer", "one that gives token types other than 0", "token type 0");
                }
                if !encoding.get_overflowing().is_empty() {
                    cut += 1;
                }
                // The file's post-processor may add more tokens than it says, and positions have an end.
                if encoding.len() > self.max_tokens {
                    return unsupported(
                        "tokenizer",
                        "one that gives a text more tokens than the longest text has",
                        "special tokens around the text alone",
                    );
                }
                Ok(encoding.get_ids().to_vec())
            })
            .collect::<Result<_, ModelError>>()?;
        Ok(Tokenized { texts, cut })
    }

    /// Returns the text that the pipeline sees: with the prompt, trimmed as Python's `strip` does,
    /// and in lower case if the folder says so.
    fn prepared(&self, text: &str) -> String {
        let text = format!("{}{text}", self.prompt);
        // Python counts four separators of ASCII as spaces, Unicode's property doesn't.
        let text = text
            .trim_matches(|letter: char| letter.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&letter));
        if self.lower_case { text.to_lowercase() } else { text.to_owned() }
    }
}

/// Runs calls of the tokenizer library, which panics on some files. The panic's message may quote a text,
/// so it is left out.
fn guarded<T>(calls: impl FnOnce() -> Result<T, ModelError>) -> Result<T, ModelError> {
    // Nothing that a panic leaves half done is used afterwards: a tokenizer is dropped or unchanged.
    catch_unwind(AssertUnwindSafe(calls))
        .unwrap_or_else(|_| Err(ModelError::Tokenizer("the tokenizer library panicked on it".into())))
}
