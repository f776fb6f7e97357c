//! The modules of a folder: `modules.json`, and the settings of its pooling module.

use std::path::{Component, Path};

use serde::Deserialize;
use serde_json::{Map, Value};

use super::ModelError;
use super::files::{json, object, read, shown, unsupported};
use super::folder::{Head, Pooling};

/// Name of the list of modules.
pub(super) const MODULES: &str = "modules.json";
/// Module lists that this crate computes.
const SUPPORTED: &str = "Transformer, Pooling and optionally Normalize";
/// Full names of each module, as versions of the library have written them. Every version knows the
/// first. A module is known by its full name alone: the library imports what the name says, so a name
/// that only ends like one of these may be code that came with the folder.
const TRANSFORMER: [&str; 2] = [
    "sentence_transformers.models.Transformer",
    "sentence_transformers.base.modules.transformer.Transformer",
];
const POOLING: [&str; 2] = [
    "sentence_transformers.models.Pooling",
    "sentence_transformers.sentence_transformer.modules.pooling.Pooling",
];
const NORMALIZE: [&str; 3] = [
    "sentence_transformers.models.Normalize",
    "sentence_transformers.base.modules.normalize.Normalize",
    "sentence_transformers.sentence_transformer.modules.normalize.Normalize",
];

/// The modules of a folder, checked.
#[derive(Debug)]
pub(super) struct Modules {
    /// Folder of the encoder's files, relative to the model folder.
    pub(super) encoder: String,
    /// Folders of the modules after the encoder, relative to the model folder.
    pub(super) after: Vec<String>,
    pub(super) head: Head,
    /// False when the pooling leaves out the tokens of a prompt.
    pub(super) includes_prompt: bool,
    /// Form of the list on disk.
    pub(super) form: Form,
}

/// Form of a folder's description on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// Readable for every version of sentence-transformers, with the encoder's files at the top.
    Common,
    /// Readable for newer versions only, or with the encoder in a folder of its own.
    Other,
    /// A folder of transformers, without a list of modules.
    Plain,
}

#[derive(Deserialize)]
struct Module {
    path: String,
    r#type: String,
}

impl Modules {
    /// Reads and checks `modules.json`. The library gives a folder without it mean pooling.
    pub(super) fn read(folder: &Path) -> Result<Self, ModelError> {
        if !folder.join(MODULES).exists() {
            return Ok(Self {
                encoder: String::new(),
                after: Vec::new(),
                head: Head { pooling: Pooling::Mean, normalize: false },
                includes_prompt: true,
                form: Form::Plain,
            });
        }
        let listed: Vec<Module> = json(&read(folder, MODULES)?, MODULES)?;
        let (mut encoder, mut pooling, mut normalize, mut form) = (None, None, false, Form::Common);
        for (position, module) in listed.iter().enumerate() {
            if !is_inside(&module.path) {
                return unsupported(
                    "module's path",
                    shown(&module.path.as_str().into()),
                    "a folder inside the model folder",
                );
            }
            let name = module.r#type.as_str();
            if TRANSFORMER.contains(&name) && position == 0 {
                encoder = Some(module.path.clone());
            } else if POOLING.contains(&name) && encoder.is_some() && pooling.is_none() {
                pooling = Some(PoolingConfig::read(&folder.join(&module.path))?);
            } else if NORMALIZE.contains(&name) && pooling.is_some() {
                normalize = true;
            } else {
                let name = shown(&name.into());
                return unsupported("module list", format!("{name} at position {position}"), SUPPORTED);
            }
            if ![TRANSFORMER[0], POOLING[0], NORMALIZE[0]].contains(&name) {
                form = Form::Other;
            }
        }
        let after = listed.into_iter().skip(1).map(|module| module.path).collect();
        let (Some(encoder), Some(pooling)) = (encoder, pooling) else {
            return unsupported("module list", "without Transformer and Pooling", SUPPORTED);
        };
        if !encoder.trim_matches('.').is_empty() || pooling.form == Form::Other {
            form = Form::Other;
        }
        Ok(Self {
            encoder,
            after,
            head: Head { pooling: pooling.pooling, normalize },
            includes_prompt: pooling.includes_prompt,
            form,
        })
    }
}

/// Returns true for a relative path that stays below its folder. The path may be empty.
fn is_inside(path: &str) -> bool {
    Path::new(path).components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir))
}

struct PoolingConfig {
    pooling: Pooling,
    includes_prompt: bool,
    form: Form,
}

/// Flag of each method in older files, and the method's name in newer ones.
const FLAGS: [(&str, &str); 6] = [
    ("pooling_mode_cls_token", "cls"),
    ("pooling_mode_mean_tokens", "mean"),
    ("pooling_mode_max_tokens", "max"),
    ("pooling_mode_mean_sqrt_len_tokens", "mean_sqrt_len_tokens"),
    ("pooling_mode_weightedmean_tokens", "weightedmean"),
    ("pooling_mode_lasttoken", "lasttoken"),
];

impl PoolingConfig {
    fn read(folder: &Path) -> Result<Self, ModelError> {
        const FILE: &str = "config.json";
        let file = object(folder, FILE)?.ok_or_else(|| ModelError::File {
            action: "read",
            path: folder.join(FILE),
            source: std::io::ErrorKind::NotFound.into(),
        })?;
        const OTHER: [&str; 4] =
            ["pooling_mode", "word_embedding_dimension", "embedding_dimension", "include_prompt"];
        let known = |key: &String| OTHER.contains(&key.as_str()) || FLAGS.iter().any(|(flag, _)| flag == key);
        if let Some(key) = file.keys().find(|key| !known(key)) {
            return unsupported(
                "pooling setting",
                shown(&key.as_str().into()),
                "pooling_mode and include_prompt",
            );
        }
        let flags = FLAGS.iter().filter(|(flag, _)| file.get(*flag) == Some(&Value::Bool(true)));
        let named = |name: &Value| name.as_str().map(str::to_owned);
        let modes: Option<Vec<String>> = match file.get("pooling_mode") {
            Some(Value::Array(modes)) => modes.iter().map(named).collect(),
            Some(mode) => named(mode).map(|mode| vec![mode]),
            None => Some(modes_of(&file, flags.map(|(_, name)| (*name).to_owned()).collect())),
        };
        let modes = modes.unwrap_or_default().join("+");
        let pooling = match modes.as_str() {
            "mean" => Pooling::Mean,
            "cls" => Pooling::Cls,
            "max" => Pooling::Max,
            "" => return unsupported("pooling", "nothing", "mean, cls or max"),
            _ => return unsupported("pooling", shown(&modes.into()), "mean, cls or max"),
        };
        let newer = file.contains_key("embedding_dimension")
            || matches!(file.get("pooling_mode"), Some(Value::Array(_)));
        Ok(Self {
            pooling,
            includes_prompt: file.get("include_prompt") != Some(&Value::Bool(false)),
            form: if newer { Form::Other } else { Form::Common },
        })
    }
}

/// Returns the methods that flags choose. Mean is on where its flag is absent, in the versions that
/// read flags; newer versions take it only where no flag is set.
fn modes_of(file: &Map<String, Value>, mut set: Vec<String>) -> Vec<String> {
    if !file.contains_key("pooling_mode_mean_tokens") {
        set.push("mean".to_owned());
    }
    set
}
