//! A sentence-transformers folder: its parts, read and checked together.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::files::{read, shown, unsupported};
use super::library_config::LibraryConfig;
use super::listed::{self, CONFIG, is_of_encoder, is_of_model, is_of_weights};
use super::modules::{Form, Modules};
use super::sentence_config::SentenceConfig;
use super::tokenizer::{CharacterTokenizer, TextSettings, TokenizerSettings, characters};
use super::weights::WeightSet;
use super::{EncoderConfig, ModelError, Tokenizer, description};

/// Method that turns a text's token rows into one row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pooling {
    /// Mean over the text's tokens.
    Mean,
    /// The first token's row.
    Cls,
    /// Maximum of each column over the text's tokens.
    Max,
}

/// Modules after the encoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Method that turns a text's token rows into one row.
    pub pooling: Pooling,
    /// True when the folder ends with a `Normalize` module.
    #[serde(rename = "normalise")]
    pub normalize: bool,
}

/// A model folder that this crate can train.
#[derive(Debug, Clone)]
pub struct ModelFolder {
    path: PathBuf,
    /// Folder of the encoder's files, below `path`.
    encoder: String,
    /// Folders of the modules after the encoder, below `path`.
    modules_after: Vec<String>,
    form: Form,
    /// True when every version of the library reads the settings of the encoder's module, and finds
    /// a limit on texts there that the position table allows.
    common_sentence_config: bool,
    tokenizer_settings: TokenizerSettings,
    /// Change of the tokenizer in the folder; `None` for the tokenizer as it is.
    characters: Option<CharacterTokenizer>,
    /// Shape of the encoder.
    pub config: EncoderConfig,
    /// Modules after the encoder.
    pub head: Head,
    /// Length of the longest text in tokens, special tokens included. Longer texts are truncated.
    pub max_tokens: usize,
    /// True when texts are lower-cased before the tokenizer sees them.
    pub lower_case: bool,
    /// Text that `encode` puts in front of each text; usually empty.
    pub prompt: String,
    /// Number of columns of an embedding as `encode` returns it. Training uses all columns.
    pub dimension: usize,
}

/// Largest number of files that a remark names.
const SHOWN_FILES: usize = 10;

/// Length of the shortest limit on texts: the special tokens around one token.
const SHORTEST: usize = 3;

impl ModelFolder {
    /// Reads and checks the folder's description. Weights and tokenizer are opened on demand.
    ///
    /// # Errors
    /// [`ModelError`] when a file is missing or malformed, or when the folder describes a model
    /// that can't be trained.
    pub fn open(path: &Path) -> Result<Self, ModelError> {
        let modules = Modules::read(path)?;
        let Modules { head, form, .. } = modules;
        let inside = path.join(&modules.encoder);
        if inside.join("adapter_config.json").exists() {
            return unsupported("adapter_config.json", "present", "weights that the adapter is merged into");
        }
        let described = read(&inside, "config.json")?;
        let config = EncoderConfig::parse(&described)?;
        // The library doesn't read these two files of a folder without modules.
        let (sentence, library) = match form {
            Form::Plain => Default::default(),
            Form::Common | Form::Other => (SentenceConfig::read(&inside)?, LibraryConfig::read(path, head)?),
        };
        if !modules.includes_prompt && !library.prompt.is_empty() {
            return unsupported(
                "pooling",
                "without the tokens of the default prompt",
                "include_prompt: true",
            );
        }
        let class = EncoderConfig::tokenizer_class(&described)?;
        let tokenizer_settings = TokenizerSettings::read(
            &inside,
            &sentence.tokenizer_args,
            config.architecture,
            class.as_deref(),
        )?;
        let longest = longest(&sentence, &tokenizer_settings)?;
        let max_tokens = longest.min(config.longest());
        if max_tokens < SHORTEST {
            return unsupported("longest text", format!("{max_tokens} tokens"), "at least 3 tokens");
        }
        // The library takes the number of rows of the position table for a limit, although some
        // architectures use none of the first rows, and fails on a text that is longer than the table.
        let of_the_library =
            if sentence.max_tokens.is_some() { longest } else { longest.min(config.positions) };
        Ok(Self {
            path: path.to_owned(),
            encoder: modules.encoder,
            modules_after: modules.after,
            form,
            common_sentence_config: sentence.common && of_the_library <= max_tokens,
            tokenizer_settings,
            characters: None,
            dimension: library.dimension.map_or(config.hidden, |dimension| dimension.min(config.hidden)),
            config,
            head,
            max_tokens,
            lower_case: sentence.lower_case,
            prompt: library.prompt,
        })
    }

    /// Returns the folder's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the folder of the encoder's files: weights, tokenizer and `config.json`.
    pub fn encoder_path(&self) -> PathBuf {
        // Joining an empty path would add a separator.
        match Path::new(&self.encoder).components().all(|part| part == std::path::Component::CurDir) {
            true => self.path.clone(),
            false => self.path.join(&self.encoder),
        }
    }

    pub(super) fn form(&self) -> Form {
        self.form
    }

    pub(super) fn modules_after(&self) -> &[String] {
        &self.modules_after
    }

    pub(super) fn has_common_sentence_config(&self) -> bool {
        self.common_sentence_config
    }

    pub(super) fn tokenizer_settings(&self) -> &TokenizerSettings {
        &self.tokenizer_settings
    }

    pub(super) fn characters(&self) -> Option<&CharacterTokenizer> {
        self.characters.as_ref()
    }

    /// Returns the folder with a tokenizer that makes each character a token, except in `phrases`, such as
    /// the words of a template, which it tokenizes as before. A phrase with a space at its beginning or end
    /// is a whole word there: ` by ` is not a part of `ruby`. Saved copies have this tokenizer.
    #[must_use]
    pub fn in_characters(mut self, mut phrases: Vec<String>) -> Self {
        // The default prompt is no part of a name either, and texts are lower-cased first.
        phrases.push(format!(" {} ", self.prompt));
        if self.lower_case {
            phrases.iter_mut().for_each(|phrase| *phrase = phrase.to_lowercase());
        }
        let characters = CharacterTokenizer::new(self.tokenizer_settings, phrases);
        self.tokenizer_settings = characters.settings(self.config.architecture);
        Self { characters: Some(characters), ..self }
    }

    /// Returns true when each character is a token, because the folder was saved so or by
    /// [`in_characters`](Self::in_characters).
    ///
    /// # Errors
    /// [`ModelError`] when `tokenizer.json` can't be read.
    pub fn is_in_characters(&self) -> Result<bool, ModelError> {
        Ok(self.characters.is_some() || characters::in_folder(&self.encoder_path())?)
    }

    /// Returns true when embeddings have unit length. One that is cut to fewer columns is shorter.
    pub fn has_unit_length(&self) -> bool {
        self.head.normalize && self.dimension == self.config.hidden
    }

    /// Returns sentences about the folder that its owner should know: what was assumed, and where
    /// versions of sentence-transformers disagree.
    pub fn remarks(&self) -> Vec<String> {
        let mut remarks = Vec::new();
        if self.form == Form::Plain {
            remarks.push(
                "The folder has no modules.json. It is used with mean pooling, as sentence-transformers does."
                    .to_owned(),
            );
        }
        if self.dimension < self.config.hidden {
            remarks.push(format!(
                "Embeddings are cut to {} of {} columns (truncate_dim). Versions of sentence-transformers that \
                 don't read this setting, 5.1 among them, return all columns.",
                self.dimension, self.config.hidden
            ));
        }
        let mut unknown = self.unlisted_files();
        unknown.retain(|path| !listed::is_usual(path));
        if !unknown.is_empty() {
            let shown: Vec<String> =
                unknown.iter().take(SHOWN_FILES).map(|path| shown(&path.as_str().into())).collect();
            let more = match unknown.len() - shown.len() {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            remarks.push(format!(
                "The folder holds files that are no part of a model: {}{more}. They are neither read nor copied.",
                shown.join(", ")
            ));
        }
        remarks
    }

    /// Returns the paths of everything in the folder that is no part of a model: neither its weights nor
    /// among the files that [`copy_description`](Self::copy_description) copies.
    pub fn unlisted_files(&self) -> Vec<String> {
        let inside = |folder: &str, path: &str| match folder.trim_matches(['.', '/']) {
            "" => Some(path.to_owned()),
            folder => path.strip_prefix(folder)?.strip_prefix('/').map(str::to_owned),
        };
        let of_encoder = |name: String| is_of_encoder(&name) || is_of_weights(&name);
        listed::unlisted(&self.path, &|path| {
            is_of_model(path)
                || inside(&self.encoder, path).is_some_and(of_encoder)
                || self.modules_after.iter().any(|of| inside(of, path).is_some_and(|name| name == CONFIG))
        })
    }

    /// Opens the folder's weights.
    ///
    /// # Errors
    /// [`ModelError::Weights`] when a file is damaged, [`ModelError::Unsupported`] when a pickle holds more
    /// than tensors.
    pub fn weights(&self) -> Result<WeightSet, ModelError> {
        WeightSet::open(&self.encoder_path(), self.config.architecture.description().prefix)
    }

    /// Opens the folder's tokenizer.
    ///
    /// # Errors
    /// [`ModelError::Tokenizer`] when the tokenizer can't be used. [`ModelError::Unsupported`] when
    /// versions of transformers read it differently.
    pub fn tokenizer(&self) -> Result<Tokenizer, ModelError> {
        let texts = TextSettings {
            max_tokens: self.max_tokens,
            lower_case: self.lower_case,
            prompt: self.prompt.clone(),
        };
        Tokenizer::open(&self.encoder_path(), &self.tokenizer_settings, self.characters.as_ref(), texts)
    }

    /// Copies the files that make up a model, but the weights, into `to`, which must exist. Other files
    /// of the folder ([`unlisted_files`](Self::unlisted_files)) stay behind. The caller then writes the
    /// weights into `to`. Files that not every version of sentence-transformers reads are written in the
    /// form that they all read.
    ///
    /// # Errors
    /// [`ModelError::File`] when a file can't be copied.
    pub fn copy_description(&self, to: &Path) -> Result<(), ModelError> {
        description::write(self, to)
    }
}

/// Returns the length of the longest text that the folder's settings allow.
fn longest(sentence: &SentenceConfig, tokenizer: &TokenizerSettings) -> Result<usize, ModelError> {
    let argument = sentence.tokenizer_args.get("model_max_length");
    if let (Some(module), Some(argument)) = (sentence.max_tokens, argument)
        && argument.as_u64() != Some(module as u64)
    {
        // Version 5.1 of the library takes the first, version 6 the second.
        return unsupported(
            "longest text",
            format!("{module} tokens by max_seq_length and {argument} by tokenizer_args"),
            "one length",
        );
    }
    Ok(sentence.max_tokens.or_else(|| tokenizer.max_tokens()).unwrap_or(usize::MAX))
}
