//! Benchmark of recipes: the accuracy of each recipe on synthetic typos of two catalogs, and on two
//! lists of typos that people made. Run it with `scripts/bench-quality`.
//!
//! A recipe is written `name: key=value, ...`, on the command line or as a line of a file. Omitted
//! keys have the product's default. The keys are:
//!
//! - every setting of the training recipe and of the synthesis, under its own name
//! - `batch`, `lr`, `warmup`, `hard`, `below`, `negatives`, `smoothing`: short forms of such
//!   settings
//! - `slips`: `full` or `original`
//! - `tokenizer`: `characters` or `keep`
//! - `loss`: `symmetric` or `mnrl`
//! - `rates`: `learned` or `fixed`
//! - `reversed=yes`: each pair a second time with its sides swapped
//! - `duplicates=yes`: a batch may hold a text several times
//! - `dropout=yes`: dropout during training
//! - `catalog=no`: synthetic typos of the names of the pairs only, as without a catalog
//! - `real=no`: synthetic typos only
//! - `indexed=no`: a typo's positive is its name alone, not a text of the index
//! - `start`: `base`, or `live` (a model trained on the older half of the pairs)
//! - `run=3`: the third run, after two runs of the same recipe on one third and two thirds of the
//!   pairs
//! - `rows`: `all`, `new` (the newer half), or `replay` (the newer half and half of the older)

#![allow(clippy::print_stdout, reason = "its results go to the terminal")]
#![allow(missing_docs, reason = "an example has no users of its items")]

mod bench;
mod dataset;
mod ledger;
mod race;
mod table;
mod trial;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use autovalidate::templates::Templates;
use autovalidate_finetune::onnx::{Runtime, disable_telemetry};
use clap::Parser;

use bench::Bench;
use dataset::{Dataset, QueryKind};
use ledger::{Figures, Ledger, Outcome};
use trial::Trial;

#[derive(Parser)]
struct Arguments {
    /// Model folder to start from.
    #[arg(long)]
    model: PathBuf,
    /// Path of the ONNX Runtime library.
    #[arg(long)]
    runtime: PathBuf,
    /// Number of threads. With one thread, other work on the machine hardly changes the times.
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Datasets: `cars`, `devices`, `served` (cars as the backend indexes them), and the lists of real
    /// typos `places` and `brands`.
    #[arg(long, value_delimiter = ',', default_value = "cars,devices")]
    datasets: Vec<String>,
    #[arg(long, value_delimiter = ',', default_value = "1,2,3")]
    seeds: Vec<u64>,
    /// Recipe to measure; may be repeated.
    #[arg(long = "recipe")]
    recipes: Vec<Trial>,
    /// File of recipes, one per line; `#` begins a comment.
    #[arg(long = "recipes")]
    recipes_file: Option<PathBuf>,
    /// Uses queries with two or three slips instead of one or two.
    #[arg(long)]
    hard: bool,
    /// Appends the results to this file, one JSON object per line. Results that are already there
    /// are not measured again.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Time limit in seconds. No trial starts that would end later.
    #[arg(long)]
    budget: Option<u64>,
    /// Writes the tables of the results between the markers of this file. Trains nothing.
    #[arg(long, requires = "json")]
    table: Option<PathBuf>,
    /// Writes each dataset to this folder, for training elsewhere. Trains nothing.
    #[arg(long)]
    dump: Option<PathBuf>,
    /// Trains by the first recipe on the first dataset with the first seed, with hard queries, and writes
    /// to this folder what a race with another program needs.
    #[arg(long)]
    race: Option<PathBuf>,
}

fn main() -> Result<()> {
    disable_telemetry()?;
    let arguments = Arguments::parse();
    let questions = if arguments.hard { QueryKind::Hard } else { QueryKind::Plain };
    let mut trials = arguments.recipes.clone();
    if let Some(path) = &arguments.recipes_file {
        let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
        let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
        for line in lines.filter(|line| !line.is_empty()) {
            trials.push(line.parse()?);
        }
    }
    let mut ledger = Ledger::open(arguments.json.as_deref())?;
    if let Some(path) = &arguments.table {
        return table::write(&ledger, &trials, path);
    }
    if let Some(folder) = &arguments.dump {
        for (seed, name) in
            arguments.seeds.iter().flat_map(|seed| arguments.datasets.iter().map(move |name| (seed, name)))
        {
            Dataset::new(name, *seed, questions)?.dump(*seed, folder)?;
        }
        return Ok(());
    }
    if trials.is_empty() {
        bail!("give --recipe or --recipes");
    }
    let bench = Bench {
        runtime: Runtime::load(&arguments.runtime, arguments.threads)?,
        model: arguments.model,
        templates: Templates::default(),
    };
    if let Some(folder) = &arguments.race {
        let (Some(name), Some(seed)) = (arguments.datasets.first(), arguments.seeds.first()) else {
            bail!("a race needs a dataset and a seed");
        };
        return bench.race(&trials[0], name, *seed, folder);
    }
    print!("{:24}{:9}{:>5}{:>7}{:>8}", "recipe", "dataset", "seed", "steps", "seconds");
    for side in ["known", "unseen", "new"] {
        print!(
            " | {:>6}{side:>7}{:>7}{:>7}{:>7}{:>7}{:>7}",
            "before", "best", "slice", "best", "served", "mixed"
        );
    }
    println!();
    let started = Instant::now();
    let mut longest = Duration::ZERO;
    for seed in &arguments.seeds {
        for name in &arguments.datasets {
            let dataset = Dataset::new(name, *seed, questions)?;
            for trial in &trials {
                if ledger.has(trial, name, questions, *seed) {
                    continue;
                }
                if arguments
                    .budget
                    .is_some_and(|budget| started.elapsed() + longest > Duration::from_secs(budget))
                {
                    println!("time limit reached; run the same command again to continue");
                    return Ok(());
                }
                let began = Instant::now();
                let outcome = bench.run(trial, &dataset, questions, *seed)?;
                longest = longest.max(began.elapsed());
                show(&outcome);
                ledger.add(outcome)?;
            }
        }
    }
    Ok(())
}

fn show(outcome: &Outcome) {
    let Outcome { recipe, dataset, seed, known, unseen, new_name, steps, seconds, .. } = outcome;
    print!("{recipe:24}{dataset:9}{seed:>5}{steps:>7}{seconds:>8.1}");
    for figures in [known, unseen, new_name] {
        let Figures { before, all, bar, slice, slice_bar, end_to_end, mixture, .. } = figures;
        print!(
            " | {before:>6.3}{all:>7.3}{bar:>7.3}{slice:>7.3}{slice_bar:>7.3}{end_to_end:>7.3}{mixture:>7.3}"
        );
    }
    println!();
}
