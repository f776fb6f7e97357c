//! Fine-tunes a sentence-transformers folder on a CSV file of pairs, with no queue, table or Hub.
//!
//! ```text
//! export ORT_DYLIB_PATH=.local/lib/libonnxruntime.so
//! cargo run --release --example fine_tune -- .local/models/all-MiniLM-L6-v2 pairs.csv tuned
//! ```
//!
//! The file has the columns `typo`, `corrected` and, if you like, `domain`; the new folder loads with
//! `SentenceTransformer("tuned")`, and `tuned/onnx/model.onnx` with any ONNX runtime.

#![allow(clippy::print_stdout, reason = "a program says what it does")]

use std::error::Error;
use std::path::{Path, PathBuf};
use std::{env, fs, thread};

use autovalidate::correction::{Row, Templates};
use autovalidate::model::ModelFolder;
use autovalidate::onnx::{Runtime, keep_private};
use autovalidate::train::{Pairs, ParameterBuffer, Progress, Recipe, TrainError, Vocabulary, export, fit};

/// A line of the CSV file.
#[derive(serde::Deserialize)]
struct Line {
    typo: String,
    corrected: String,
    #[serde(default)]
    domain: String,
}

fn main() -> Result<(), Box<dyn Error>> {
    keep_private()?;
    let arguments: Vec<PathBuf> = env::args_os().skip(1).map(PathBuf::from).collect();
    let [base, pairs, target] = arguments.as_slice() else {
        return Err("usage: fine_tune MODEL_FOLDER PAIRS.csv NEW_FOLDER".into());
    };
    let library = env::var_os("ORT_DYLIB_PATH").ok_or("set ORT_DYLIB_PATH to libonnxruntime.so")?;
    let runtime = Runtime::load(Path::new(&library), thread::available_parallelism()?.get())?;
    fs::create_dir(target)?;

    // The pairs as the model sees them: `car brand: toyta` and `car brand: Toyota`.
    let rows = read(pairs)?;
    let templates = Templates::default();
    let render = |side: fn(&Row) -> &str| -> Vec<String> {
        rows.iter().map(|row| templates.render(&row.domain, side(row))).collect()
    };
    let (anchors, positives) = (render(|row| &row.typo), render(|row| &row.corrected));

    // Tokens decide which rows of the token table are loaded and trained.
    let folder = ModelFolder::open(base)?;
    let tokenizer = folder.tokenizer()?;
    let (anchors, positives) = (tokenizer.encode(&anchors)?, tokenizer.encode(&positives)?);
    let vocabulary = Vocabulary::of(anchors.texts.iter().chain(&positives.texts));
    let ids = rows.iter().map(|row| row.id).collect();
    let pairs =
        Pairs::new(ids, &anchors.texts, &positives.texts, &vocabulary).ok_or(TrainError::ForeignToken)?;
    let parameters = ParameterBuffer::load(&folder.config, &folder.weights()?, vocabulary)?;
    println!(
        "{} pairs, {} texts cut at {} tokens, {} trainable numbers",
        pairs.len(),
        anchors.cut + positives.cut,
        folder.max_tokens,
        parameters.values().len()
    );

    let recipe = Recipe::default();
    let mut report = |progress: &Progress| {
        println!("step {} of {}: loss {:.4}", progress.step, progress.steps, progress.loss);
        true
    };
    let tuned = fit(&runtime, &folder.config, folder.head, &recipe, parameters, &pairs, &mut report)?;
    export(&folder, &tuned.parameters, tuned.kept, target)?;
    println!("{} steps in {:.1} s: {}", tuned.summary.steps, tuned.summary.seconds, target.display());
    Ok(())
}

/// The rows that may be trained on, numbered by their line.
fn read(path: &Path) -> Result<Vec<Row>, Box<dyn Error>> {
    let mut rows = Vec::new();
    for (line, record) in csv::Reader::from_path(path)?.deserialize::<Line>().enumerate() {
        let Line { typo, corrected, domain } = record?;
        let row = Row { id: line as i64 + 2, typo, corrected, domain, created_at: None };
        match row.check() {
            Ok(()) => rows.push(row),
            Err(refusal) => println!("line {} is left out: {refusal}", row.id),
        }
    }
    Ok(rows)
}
