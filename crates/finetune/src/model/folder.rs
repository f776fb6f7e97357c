//! The modules and files of a sentence-transformers folder.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::weights::WeightSet;
use super::{EncoderConfig, ModelError, Tokenizer};

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
    /// Shape of the encoder.
    pub config: EncoderConfig,
    /// Modules after the encoder.
    pub head: Head,
    /// Length of the longest text in tokens, special tokens included. Longer texts are truncated.
    pub max_tokens: usize,
    /// True when texts are lower-cased before the tokenizer sees them.
    pub lower_case: bool,
}

#[derive(Deserialize)]
struct Module {
    path: String,
    r#type: String,
}

#[derive(Deserialize, Default)]
struct SentenceBert {
    max_seq_length: Option<usize>,
    #[serde(default)]
    do_lower_case: bool,
}

/// Fields of `tokenizer_config.json`, which holds the longest length in newer folders. "No limit"
/// is written as a huge float.
#[derive(Deserialize, Default)]
struct TokenizerConfig {
    model_max_length: Option<f64>,
}

/// Fields of the pooling module's `config.json`. Older folders have a flag per method, newer ones a
/// single name.
#[derive(Deserialize)]
#[allow(clippy::struct_excessive_bools, reason = "the file's own format")]
struct PoolingFile {
    #[serde(default)]
    pooling_mode: Option<String>,
    #[serde(default)]
    pooling_mode_cls_token: bool,
    #[serde(default)]
    pooling_mode_mean_tokens: bool,
    #[serde(default)]
    pooling_mode_max_tokens: bool,
    #[serde(default)]
    pooling_mode_mean_sqrt_len_tokens: bool,
    #[serde(default)]
    pooling_mode_weightedmean_tokens: bool,
    #[serde(default)]
    pooling_mode_lasttoken: bool,
}

impl ModelFolder {
    /// Reads and checks the folder's description. Weights and tokenizer are opened on demand.
    ///
    /// # Errors
    /// [`ModelError`] when a file is missing or malformed, or when the folder describes a model
    /// that can't be trained.
    pub fn open(path: &Path) -> Result<Self, ModelError> {
        let config = EncoderConfig::parse(&read(path, "config.json")?)?;
        let modules: Vec<Module> = json(&read(path, "modules.json")?, "modules.json")?;
        let mut head = None;
        let mut normalize = false;
        for (position, module) in modules.iter().enumerate() {
            let kind = module.r#type.rsplit('.').next().unwrap_or_default();
            match (position, kind) {
                (0, "Transformer") if module.path.is_empty() || module.path == "." => {}
                (_, "Pooling") if head.is_none() => head = Some(pooling(path, &module.path)?),
                (_, "Normalize") if head.is_some() => normalize = true,
                _ => {
                    return Err(ModelError::Unsupported {
                        what: "module list",
                        found: format!("{kind} in \"{}\" at position {position}", module.path),
                        supported: "Transformer, Pooling and optionally Normalize",
                    });
                }
            }
        }
        let Some(pooling) = head else {
            return Err(ModelError::Unsupported {
                what: "module list",
                found: "without Pooling".to_owned(),
                supported: "Transformer, Pooling and optionally Normalize",
            });
        };
        let sentence: SentenceBert = optional(path, "sentence_bert_config.json")?;
        let longest = match sentence.max_seq_length {
            Some(longest) => longest,
            None => optional::<TokenizerConfig>(path, "tokenizer_config.json")?
                .model_max_length
                .map_or(config.longest(), |longest| longest as usize),
        };
        let max_tokens = longest.clamp(2, config.longest());
        Ok(Self {
            path: path.to_owned(),
            config,
            head: Head { pooling, normalize },
            max_tokens,
            lower_case: sentence.do_lower_case,
        })
    }

    /// Returns the folder's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens the folder's weights.
    ///
    /// # Errors
    /// [`ModelError::Weights`] when a file is damaged, [`ModelError::Unsupported`] when the weights
    /// are a pickle.
    pub fn weights(&self) -> Result<WeightSet, ModelError> {
        WeightSet::open(&self.path, self.config.architecture.description().prefix)
    }

    /// Opens the folder's tokenizer.
    ///
    /// # Errors
    /// [`ModelError::Tokenizer`] when the tokenizer can't be used.
    pub fn tokenizer(&self) -> Result<Tokenizer, ModelError> {
        Tokenizer::open(&self.path.join("tokenizer.json"), self.max_tokens, self.lower_case)
    }

    /// Copies everything but the weights, exported models and the model card into `to`, which must
    /// exist. The caller then writes the weights into `to`.
    ///
    /// # Errors
    /// [`ModelError::File`] when a file can't be copied.
    pub fn copy_description(&self, to: &Path) -> Result<(), ModelError> {
        copy_tree(&self.path, to)
    }
}

/// Returns true for a name that is not copied: the file holds or describes the old weights, or is
/// not part of a model.
fn left_behind(name: &str) -> bool {
    let weights =
        [".safetensors", ".safetensors.index.json", ".bin", ".onnx", ".h5", ".ot", ".msgpack", ".pt"];
    weights.iter().any(|ending| name.ends_with(ending))
        || ["README.md", "training_report.json", "onnx", "openvino", ".git", ".gitattributes"].contains(&name)
        || name.starts_with('.')
}

fn copy_tree(from: &Path, to: &Path) -> Result<(), ModelError> {
    let failed = |action, path: &Path| {
        let path = path.to_owned();
        move |source| ModelError::File { action, path, source }
    };
    for entry in fs::read_dir(from).map_err(failed("read", from))? {
        let entry = entry.map_err(failed("read", from))?;
        if left_behind(&entry.file_name().to_string_lossy()) {
            continue;
        }
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type().map_err(failed("read", &source))?;
        if kind.is_dir() {
            fs::create_dir_all(&target).map_err(failed("write", &target))?;
            copy_tree(&source, &target)?;
        } else if kind.is_file() {
            fs::copy(&source, &target).map_err(failed("write", &target))?;
        }
    }
    Ok(())
}

fn pooling(folder: &Path, module: &str) -> Result<Pooling, ModelError> {
    let inside = Path::new(module).components().all(|part| matches!(part, std::path::Component::Normal(_)));
    if !inside {
        return Err(ModelError::Unsupported {
            what: "pooling module's path",
            found: module.to_owned(),
            supported: "a folder inside the model folder",
        });
    }
    let file: PoolingFile = json(&read(&folder.join(module), "config.json")?, "1_Pooling/config.json")?;
    let flags = [
        ("cls", file.pooling_mode_cls_token),
        ("mean", file.pooling_mode_mean_tokens),
        ("max", file.pooling_mode_max_tokens),
        ("mean_sqrt_len", file.pooling_mode_mean_sqrt_len_tokens),
        ("weightedmean", file.pooling_mode_weightedmean_tokens),
        ("lasttoken", file.pooling_mode_lasttoken),
    ];
    let found = file.pooling_mode.unwrap_or_else(|| {
        flags.iter().filter(|(_, on)| *on).map(|(name, _)| *name).collect::<Vec<_>>().join("+")
    });
    match found.as_str() {
        "mean" => Ok(Pooling::Mean),
        "cls" => Ok(Pooling::Cls),
        "max" => Ok(Pooling::Max),
        _ => Err(ModelError::Unsupported { what: "pooling", found, supported: "mean, cls or max" }),
    }
}

fn read(folder: &Path, name: &str) -> Result<Vec<u8>, ModelError> {
    let path = folder.join(name);
    fs::read(&path).map_err(|source| ModelError::File { action: "read", path, source })
}

/// Reads a JSON file that may be absent, and returns the default when it is.
fn optional<T: for<'de> Deserialize<'de> + Default>(
    folder: &Path,
    name: &'static str,
) -> Result<T, ModelError> {
    match read(folder, name) {
        Ok(bytes) => json(&bytes, name),
        Err(ModelError::File { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
            Ok(T::default())
        }
        Err(error) => Err(error),
    }
}

fn json<T: for<'de> Deserialize<'de>>(bytes: &[u8], file: &'static str) -> Result<T, ModelError> {
    serde_json::from_slice(bytes).map_err(|source| ModelError::Config { file, source })
}
