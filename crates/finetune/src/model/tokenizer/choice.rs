//! Choice of the tokens that a model is trained on.

use serde::{Deserialize, Serialize};

use super::super::{ModelError, ModelFolder};

/// Tokens that a model is trained on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenizerChoice {
    /// Those of the model that training starts from.
    #[default]
    Keep,
    /// One for each character of a name. A template's words keep theirs.
    Characters,
}

impl TokenizerChoice {
    /// Returns the model to train, given the model to start from and the phrases of the templates
    /// ([`ModelFolder::in_characters`]).
    pub fn applied_to(self, start: ModelFolder, phrases: Vec<String>) -> ModelFolder {
        match self {
            Self::Keep => start,
            Self::Characters => start.in_characters(phrases),
        }
    }

    /// Returns true when a model has the chosen tokens already. What it has learned of other tokens is
    /// lost on a model with these.
    ///
    /// # Errors
    /// [`ModelError`] when the tokenizer in the folder can't be read.
    pub fn is_met_by(self, folder: &ModelFolder) -> Result<bool, ModelError> {
        match self {
            Self::Keep => Ok(true),
            Self::Characters => folder.is_in_characters(),
        }
    }
}
