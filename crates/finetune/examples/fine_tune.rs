//! Fine-tunes a sentence-transformers folder on a CSV file of pairs.
//!
//! ```text
//! export ORT_DYLIB_PATH=.local/lib/libonnxruntime.so
//! cargo run --release -p autovalidate-finetune --example fine_tune -- \
//!     .local/models/all-MiniLM-L6-v2 pairs.csv tuned
//! ```
//!
//! The CSV file has a header line and the columns `anchor` and `positive`, in this order. The new
//! folder loads with `SentenceTransformer("tuned")`, and `tuned/onnx/model.onnx` with any ONNX
//! runtime.

#![allow(clippy::print_stdout, reason = "a program says what it does")]

use std::error::Error;
use std::path::{Path, PathBuf};
use std::{env, fs, thread};

use autovalidate_finetune::fine_tune;
use autovalidate_finetune::model::ModelFolder;
use autovalidate_finetune::onnx::{Runtime, disable_telemetry};
use autovalidate_finetune::train::{Progress, Recipe};

fn main() -> Result<(), Box<dyn Error>> {
    disable_telemetry()?;
    let arguments: Vec<PathBuf> = env::args_os().skip(1).map(PathBuf::from).collect();
    let [base, pairs, target] = arguments.as_slice() else {
        return Err("usage: fine_tune MODEL_FOLDER PAIRS.csv NEW_FOLDER".into());
    };
    let library = env::var_os("ORT_DYLIB_PATH").ok_or("set ORT_DYLIB_PATH to libonnxruntime.so")?;
    let pairs: Vec<(String, String)> =
        csv::Reader::from_path(pairs)?.deserialize().collect::<Result<_, _>>()?;
    fs::create_dir(target)?;

    let runtime = Runtime::load(Path::new(&library), thread::available_parallelism()?.get())?;
    let base = ModelFolder::open(base)?;
    let mut report = |progress: &Progress| {
        println!("step {} of {}: loss {:.4}", progress.step, progress.steps, progress.loss);
        true
    };
    let tuned = fine_tune(&runtime, &base, &pairs, &Recipe::default(), &mut report)?;
    tuned.save(target)?;
    let summary = &tuned.summary;
    println!("{} pairs, {} texts cut at {} tokens", pairs.len(), tuned.texts_cut, base.max_tokens);
    println!("{} steps in {:.1} s: {}", summary.steps, summary.seconds, target.display());
    Ok(())
}
