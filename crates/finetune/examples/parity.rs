//! Trains each folder of a directory for one step and saves it, once with its own tokenizer and once with
//! one that makes each character a token, for `scripts/parity`, which compares
//! the saved folders with what sentence-transformers makes of them.
//!
//! ```text
//! cargo run -p autovalidate-finetune --example parity -- FOLDERS TEXTS.json SAVED
//! ```
//!
//! A folder that can't be trained is named on standard output with the reason.

#![allow(clippy::print_stdout, reason = "a program says what it does")]

use std::error::Error;
use std::path::{Path, PathBuf};
use std::{env, fs};

use autovalidate_finetune::fine_tune;
use autovalidate_finetune::model::ModelFolder;
use autovalidate_finetune::onnx::{Runtime, disable_telemetry};
use autovalidate_finetune::train::{Encoder, Progress, Recipe};
use serde_json::json;

/// Phrases that stay whole where texts are tokenized by characters.
const PHRASES: [&str; 2] = [" car brand: ", " car model: "];
/// Pairs of the one step.
const PAIRS: [(&str, &str); 2] = [("toyta", "toyota"), ("bmv x5", "bmw x5")];

fn main() -> Result<(), Box<dyn Error>> {
    disable_telemetry()?;
    let arguments: Vec<PathBuf> = env::args_os().skip(1).map(PathBuf::from).collect();
    let [folders, texts, saved] = arguments.as_slice() else {
        return Err("usage: parity FOLDERS TEXTS.json SAVED".into());
    };
    let library = env::var_os("ORT_DYLIB_PATH").ok_or("set ORT_DYLIB_PATH to libonnxruntime.so")?;
    let runtime = Runtime::load(Path::new(&library), 1)?;
    let texts: Vec<String> = serde_json::from_slice(&fs::read(texts)?)?;
    let mut names: Vec<_> =
        fs::read_dir(folders)?.map(|entry| Ok(entry?.path())).collect::<Result<_, std::io::Error>>()?;
    names.sort();
    for folder in names {
        let own = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        for (name, characters) in [(own.clone(), false), (format!("{own}-characters"), true)] {
            if let Err(error) = trained(&runtime, &folder, characters, &texts, &saved.join(&name)) {
                fs::remove_dir_all(saved.join(&name)).ok();
                println!("{name}: {error}");
            }
        }
    }
    Ok(())
}

fn trained(
    runtime: &Runtime,
    folder: &Path,
    characters: bool,
    texts: &[String],
    target: &Path,
) -> Result<(), Box<dyn Error>> {
    let mut base = ModelFolder::open(folder)?;
    if characters {
        base = base.in_characters(PHRASES.map(str::to_owned).to_vec());
    }
    base.tokenizer()?.encode(texts)?;
    let recipe = Recipe { epochs: 3, batch_size: 2, learning_rate: 1e-2, ..Recipe::default() };
    let tuned = fine_tune(runtime, &base, &PAIRS, &recipe, &mut |_: &Progress| true)?;
    fs::create_dir_all(target)?;
    tuned.save(target)?;
    let written = ModelFolder::open(target)?;
    let ids = written.tokenizer()?.encode(texts)?.texts;
    let embeddings = Encoder::embed_with(runtime, &written, texts)?;
    let rows: Vec<Vec<f32>> = embeddings.outer_iter().map(|row| row.to_vec()).collect();
    fs::write(
        target.with_added_extension("json"),
        json!({ "prompt": written.prompt, "ids": ids, "embeddings": rows }).to_string(),
    )?;
    Ok(())
}
