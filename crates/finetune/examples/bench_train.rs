//! Rust side of `scripts/bench-train`: takes optimizer steps on request and reports their
//! durations.
//!
//! ```text
//! bench_train steps <library> <folder> <pairs.json> <threads> <options.json>
//! bench_train steps-standard ...   (the same, in standard operators)
//! bench_train gemm  <library> <threads>
//! ```
//!
//! `steps` reads lines from standard input. For a line with a number, it takes that many optimizer
//! steps and prints a JSON list of their durations in milliseconds. At the end of the input it
//! prints a JSON object with the peak memory and the mean number of arithmetic operations per step.
//!
//! `gemm` prints the highest rate of a large matrix product on this machine, in operations per
//! second: the better of ONNX Runtime's product and the kernels' product.

#![allow(clippy::print_stdout, reason = "standard output is the protocol")]

use std::io::BufRead;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, bail, ensure};
use autovalidate_finetune::model::{EncoderConfig, ModelFolder};
use autovalidate_finetune::onnx::{Dimension, Element, Graph, Loss, Runtime, disable_telemetry};
use autovalidate_finetune::train::{Batch, Pairs, ParameterBuffer, Recipe, Stepper, Vocabulary};
use autovalidate_kernels::{ThreadPool, linear};
use ort::value::Tensor;
use rayon::prelude::*;
use serde::Deserialize;

/// Training data that both sides of the benchmark read.
#[derive(Deserialize)]
struct Work {
    pairs: Vec<(String, String)>,
    /// Indices of pairs, one list per step. After the last list, the first is used again.
    batches: Vec<Vec<usize>>,
}

fn main() -> anyhow::Result<()> {
    disable_telemetry()?;
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [mode @ ("steps" | "steps-standard"), library, folder, pairs, threads, options] => {
            let runtime = Runtime::load(Path::new(library), threads.parse()?)?;
            let runtime = if mode == "steps" { runtime } else { runtime.with_standard_operators() };
            steps(&runtime, Path::new(folder), Path::new(pairs), options)
        }
        ["gemm", library, threads] => gemm(&Runtime::load(Path::new(library), threads.parse()?)?),
        _ => bail!("usage: bench_train steps|gemm ..., see the top of examples/bench_train.rs"),
    }
}

fn steps(runtime: &Runtime, folder: &Path, pairs: &Path, options: &str) -> anyhow::Result<()> {
    let work: Work = serde_json::from_slice(&std::fs::read(pairs)?)?;
    let folder = ModelFolder::open(folder)?;
    let tokenizer = folder.tokenizer()?;
    let (anchors, positives): (Vec<&str>, Vec<&str>) =
        work.pairs.iter().map(|(anchor, positive)| (anchor.as_str(), positive.as_str())).unzip();
    let (anchors, positives) = (tokenizer.encode(&anchors)?.texts, tokenizer.encode(&positives)?.texts);
    drop(tokenizer);
    let vocabulary = Vocabulary::of(anchors.iter().chain(&positives));
    let rows = (0..work.pairs.len() as i64).collect();
    let pairs = Pairs::new(rows, &anchors, &positives, &vocabulary).context("the pairs can't be interned")?;
    let parameters = ParameterBuffer::load(&folder.config, &folder.weights()?, vocabulary)?;
    let base = Recipe { loss: Loss::Mnrl, label_smoothing: 0.0, learning_rate: 2e-5, ..Recipe::default() };
    // The options override settings of the benchmark's own recipe.
    let mut recipe = serde_json::to_value(base)?;
    let options: serde_json::Map<String, serde_json::Value> = serde_json::from_str(options)?;
    recipe.as_object_mut().context("a recipe is an object")?.extend(options);
    let recipe: Recipe = serde_json::from_value(recipe)?;
    let mut stepper = Stepper::new(runtime, &folder.config, folder.head, &recipe, parameters)?;

    let mut next = work.batches.iter().cycle();
    let mut operations = Vec::new();
    for line in std::io::stdin().lock().lines() {
        let count: usize = line?.trim().parse()?;
        let mut times = Vec::with_capacity(count);
        for _ in 0..count {
            let indices = next.next().context("there are no batches")?;
            let started = Instant::now();
            let batch = Batch::of_recipe(&recipe, &pairs, indices, &folder.config, folder.head);
            let report = stepper.step(&batch, recipe.learning_rate)?;
            times.push(started.elapsed().as_secs_f64() * 1e3);
            ensure!(report.loss.is_finite(), "the loss is not finite");
            operations.push(matrix_operations(&folder.config, batch.tokens()));
        }
        println!("{}", serde_json::to_string(&times)?);
    }
    let mean = operations.iter().sum::<f64>() / operations.len().max(1) as f64;
    println!("{}", serde_json::json!({ "peak_mb": peak_megabytes()?, "operations": mean }));
    Ok(())
}

/// Returns the number of multiplications and additions in a step's products with weights: the
/// forward pass, and twice as many in the backward pass. Attention's own products, a few percent,
/// are left out.
fn matrix_operations(config: &EncoderConfig, tokens: usize) -> f64 {
    let layer = 4 * config.hidden * config.hidden + 2 * config.hidden * config.intermediate;
    6.0 * tokens as f64 * (config.layers * layer) as f64
}

/// Returns the peak memory of this process, in units of 10^6 bytes.
fn peak_megabytes() -> anyhow::Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
    let kilobytes: f64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kilobytes * 1024.0 / 1e6)
}

/// Thread pool of the kernels, backed by Rayon.
struct Threads(usize);

impl ThreadPool for Threads {
    fn threads(&self) -> usize {
        self.0
    }

    fn each(&self, tasks: usize, task: &(dyn Fn(usize) + Sync)) {
        (0..tasks).into_par_iter().for_each(task);
    }
}

/// Prints the highest rate of `[1024, 1536] * [1536, 1536]` products, in operations per second.
fn gemm(runtime: &Runtime) -> anyhow::Result<()> {
    const PRODUCTS: usize = 8;
    const TRIES: usize = 12;
    let (rows, width) = (1_024, 1_536);
    let mut graph = Graph::new();
    let mut x = graph.input("x", Element::Float, &[Dimension::Size(rows), Dimension::Size(width)]);
    let weight = graph.weight("w", &[width, width], &vec![1e-3; width * width]);
    for _ in 0..PRODUCTS {
        x = graph.product(x, weight);
    }
    graph.output(x, "y", Element::Float, &[Dimension::Size(rows), Dimension::Size(width)]);
    let mut session = runtime.session(&graph.encode("peak", "Large matrix products.", &[]))?;
    let x = Tensor::from_array(([rows, width], vec![0.5_f32; rows * width]))?;
    let mut best = f64::MAX;
    for _ in 0..TRIES {
        let started = Instant::now();
        session.run(ort::inputs!["x" => &x])?;
        best = best.min(started.elapsed().as_secs_f64() / PRODUCTS as f64);
    }
    let (x, weight, bias) = (vec![0.5; rows * width], vec![1e-3; width * width], vec![0.0; width]);
    let mut y = vec![0.0; rows * width];
    for _ in 0..TRIES * PRODUCTS {
        let started = Instant::now();
        linear(&Threads(runtime.threads()), &x, &weight, &bias, None, &mut y);
        best = best.min(started.elapsed().as_secs_f64());
    }
    println!("{}", (2 * rows * width * width) as f64 / best);
    Ok(())
}
