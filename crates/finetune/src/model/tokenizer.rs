//! Tokenization of texts with the model folder's own tokenizer.

use std::path::Path;

use tokenizers::{TruncationDirection, TruncationParams, TruncationStrategy};

use super::ModelError;

/// A model's tokenizer. It never pads, and it truncates texts at the model's longest length.
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    max_tokens: usize,
    lower_case: bool,
}

/// Token ids of several texts, special tokens included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tokenized {
    /// Token ids of each text.
    pub texts: Vec<Vec<u32>>,
    /// Number of texts that were truncated.
    pub cut: usize,
}

impl Tokenizer {
    /// Opens a `tokenizer.json`.
    pub(super) fn open(path: &Path, max_tokens: usize, lower_case: bool) -> Result<Self, ModelError> {
        let mut inner = tokenizers::Tokenizer::from_file(path).map_err(ModelError::Tokenizer)?;
        // The file may bring its own settings: all-MiniLM-L6-v2's pads every text to 128 tokens.
        inner.with_padding(None);
        inner
            .with_truncation(Some(TruncationParams {
                direction: TruncationDirection::Right,
                max_length: max_tokens,
                strategy: TruncationStrategy::LongestFirst,
                stride: 0,
            }))
            .map_err(ModelError::Tokenizer)?;
        Ok(Self { inner, max_tokens, lower_case })
    }

    /// Tokenizes texts, in order.
    ///
    /// # Errors
    /// [`ModelError::Tokenizer`] when the tokenizer refuses a text.
    pub fn encode<S: AsRef<str>>(&self, texts: &[S]) -> Result<Tokenized, ModelError> {
        let mut cut = 0;
        let texts = texts
            .iter()
            .map(|text| {
                let encoding = if self.lower_case {
                    self.inner.encode(text.as_ref().to_lowercase(), true)
                } else {
                    self.inner.encode(text.as_ref(), true)
                }
                .map_err(ModelError::Tokenizer)?;
                if !encoding.get_overflowing().is_empty() {
                    cut += 1;
                }
                debug_assert!(encoding.len() <= self.max_tokens);
                Ok(encoding.get_ids().to_vec())
            })
            .collect::<Result<_, ModelError>>()?;
        Ok(Tokenized { texts, cut })
    }
}
