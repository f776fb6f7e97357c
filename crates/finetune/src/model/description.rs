//! The description of a saved model: the files beside its weights, in the form that every version of
//! sentence-transformers from 2.2 on reads.
//!
//! The listed files of a folder that is in this form already are copied as they are. Version 6 names
//! the modules and their settings in a way that older versions refuse, and a folder of transformers has
//! no list of modules at all; such files are written anew.

use std::fs;
use std::io::Write;
use std::path::Path;

use serde_json::{Value, json};

use super::ModelError;
use super::folder::{ModelFolder, Pooling};
use super::library_config::LIBRARY;
use super::listed::{CONFIG, is_of_encoder, is_of_model};
use super::modules::{Form, MODULES};
use super::sentence_config::SENTENCE;
use super::tokenizer::TOKENIZER_CONFIG;
use crate::durable::replace;

/// Writes the listed files of the folder (`listed.rs`) but the weights into `to`, which must exist.
pub(super) fn write(folder: &ModelFolder, to: &Path) -> Result<(), ModelError> {
    let plain = folder.form() == Form::Plain;
    copy(folder.path(), to, &|name| is_of_model(name) && !(plain && name == LIBRARY))?;
    let encoder = folder.encoder_path();
    copy(&encoder, to, &is_of_encoder)?;
    for module in folder.modules_after() {
        // A module may share the encoder's folder, whose settings are not the module's.
        let path = folder.path().join(module);
        if path != encoder && path.is_dir() {
            copy(&path, &to.join(module), &|name| name == CONFIG)?;
        }
    }
    if folder.form() != Form::Common {
        write_json(to, MODULES, &modules(folder))?;
        write_json(to, POOLING, &pooling(folder))?;
    }
    if folder.form() != Form::Common || !folder.has_common_sentence_config() {
        let sentence = json!({ "max_seq_length": folder.max_tokens, "do_lower_case": folder.lower_case });
        write_json(to, SENTENCE, &sentence)?;
    }
    if let Some(characters) = folder.characters() {
        write_file(to, "tokenizer.json", &characters.file(&encoder)?)?;
    }
    let tokenizer = folder.tokenizer_settings();
    if !tokenizer.common {
        let mut fields = tokenizer.fields.clone();
        if fields.get("tokenizer_class").is_some_and(|class| class == "TokenizersBackend") {
            fields.insert("tokenizer_class".to_owned(), "PreTrainedTokenizerFast".into());
        }
        if matches!(fields.get("extra_special_tokens"), Some(Value::Array(_))) {
            fields.remove("extra_special_tokens");
        }
        write_json(to, TOKENIZER_CONFIG, &fields.into())?;
    }
    Ok(())
}

/// Path of the pooling module's settings in a description that is written anew.
const POOLING: &str = "1_Pooling/config.json";

fn modules(folder: &ModelFolder) -> Value {
    let named = |position: usize, path: &str, kind: &str| {
        json!({
            "idx": position,
            "name": position.to_string(),
            "path": path,
            "type": format!("sentence_transformers.models.{kind}"),
        })
    };
    let mut modules = vec![named(0, "", "Transformer"), named(1, "1_Pooling", "Pooling")];
    if folder.head.normalize {
        modules.push(named(2, "2_Normalize", "Normalize"));
    }
    modules.into()
}

fn pooling(folder: &ModelFolder) -> Value {
    json!({
        "word_embedding_dimension": folder.config.hidden,
        "pooling_mode_cls_token": folder.head.pooling == Pooling::Cls,
        "pooling_mode_mean_tokens": folder.head.pooling == Pooling::Mean,
        "pooling_mode_max_tokens": folder.head.pooling == Pooling::Max,
        "pooling_mode_mean_sqrt_len_tokens": false,
        "pooling_mode_weightedmean_tokens": false,
        "pooling_mode_lasttoken": false,
        "include_prompt": true,
    })
}

fn write_json(folder: &Path, name: &str, value: &Value) -> Result<(), ModelError> {
    write_file(folder, name, format!("{value:#}\n").as_bytes())
}

fn write_file(folder: &Path, name: &str, content: &[u8]) -> Result<(), ModelError> {
    let path = folder.join(name);
    let failed = |source| ModelError::File { action: "write", path: path.clone(), source };
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(failed)?;
    }
    replace(&path, |file| file.write_all(content)).map_err(failed)
}

/// Copies the files of one folder whose names are `listed`. Links are not followed: the target may be
/// any file of this machine.
fn copy(from: &Path, to: &Path, listed: &dyn Fn(&str) -> bool) -> Result<(), ModelError> {
    let failed = |action, path: &Path| {
        let path = path.to_owned();
        move |source| ModelError::File { action, path, source }
    };
    for entry in fs::read_dir(from).map_err(failed("read", from))? {
        let entry = entry.map_err(failed("read", from))?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type().map_err(failed("read", &source))?;
        if kind.is_file() && entry.file_name().to_str().is_some_and(listed) {
            fs::create_dir_all(to).map_err(failed("write", to))?;
            fs::copy(&source, &target).map_err(failed("write", &target))?;
        }
    }
    Ok(())
}
