//! What each way of training learns, on made-up typos of two catalogs. Run by `scripts/bench-quality`.
//!
//! A recipe is written `name: key=value, ...`, on the command line or as a line of a file. Keys: every setting of the
//! training recipe and of the synthesis under its own name, and for short `batch`, `lr`, `warmup`, `hard`, `below`,
//! `negatives`, `smoothing`; `loss` (`symmetric` or `mnrl`), `rates` (`learned` or `fixed`), `reversed=yes` (each pair a second
//! time the other way round), `duplicates=yes` (a batch may hold a text several times), `dropout=yes`, `real=no` (synthesized
//! typos only), `start` (`base` or `live`: what the older half of the pairs made of it), `run=3` (the third run: two of the
//! same recipe came before it, with a third and two thirds of the pairs), `rows` (`all`, `new`: the newer half, or `replay`: the
//! newer half and half of the older). What is left out is the product's default.

#![allow(clippy::print_stdout, reason = "its results go to the terminal")]
#![allow(missing_docs, reason = "an example has no users of its items")]

mod bench;
mod dataset;
mod ledger;
mod table;
mod trial;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use autovalidate::correction::Templates;
use autovalidate_finetune::model::ModelFolder;
use autovalidate_finetune::onnx::{Runtime, keep_private};
use clap::Parser;

use bench::Bench;
use dataset::{Dataset, Questions};
use ledger::{Ledger, Outcome};
use trial::Trial;

#[derive(Parser)]
struct Arguments {
    /// The model folder to start from.
    #[arg(long)]
    model: PathBuf,
    /// The ONNX Runtime library.
    #[arg(long)]
    runtime: PathBuf,
    /// Threads to compute with. One, for times that other work on the machine hardly changes.
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// `cars`, `devices`.
    #[arg(long, value_delimiter = ',', default_value = "cars,devices")]
    datasets: Vec<String>,
    #[arg(long, value_delimiter = ',', default_value = "1,2,3")]
    seeds: Vec<u64>,
    /// A recipe; may be given several times.
    #[arg(long = "recipe")]
    recipes: Vec<Trial>,
    /// A file of recipes, one a line; `#` begins a comment.
    #[arg(long = "recipes")]
    recipes_file: Option<PathBuf>,
    /// Asks two and three slips instead of one and two.
    #[arg(long)]
    hard: bool,
    /// Keeps the results here, a JSON object a line; what is there already is not measured again.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Begins nothing more that would end later than this many seconds from now.
    #[arg(long)]
    budget: Option<u64>,
    /// Writes the tables of the results between the markers of this file, and trains nothing.
    #[arg(long, requires = "json")]
    table: Option<PathBuf>,
    /// Write each dataset here, for training elsewhere, and train nothing.
    #[arg(long)]
    dump: Option<PathBuf>,
}

fn main() -> Result<()> {
    keep_private()?;
    let arguments = Arguments::parse();
    let questions = if arguments.hard { Questions::Hard } else { Questions::Plain };
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
    let folder = ModelFolder::open(&arguments.model)?;
    let bench = Bench {
        runtime: Runtime::load(&arguments.runtime, arguments.threads)?,
        tokenizer: folder.tokenizer()?,
        folder,
        templates: Templates::default(),
    };
    println!(
        "{:24}{:9}{:>5}{:>7}{:>8} | {:>6}{:>7}{:>7}{:>7} | {:>6}{:>7}{:>7}{:>7}",
        "recipe",
        "dataset",
        "seed",
        "steps",
        "seconds",
        "known",
        "slice",
        "fuzzy",
        "served",
        "unseen",
        "slice",
        "fuzzy",
        "served"
    );
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
                    println!("the time is up; the same command goes on from here");
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
    let Outcome { recipe, dataset, seed, known, unseen, steps, seconds, .. } = outcome;
    println!(
        "{recipe:24}{dataset:9}{seed:>5}{steps:>7}{seconds:>8.1} | {:>6.3}{:>7.3}{:>7.3}{:>7.3} | {:>6.3}{:>7.3}{:>7.3}{:>7.3}",
        known.all,
        known.slice,
        known.slice_fuzzy,
        known.end_to_end,
        unseen.all,
        unseen.slice,
        unseen.slice_fuzzy,
        unseen.end_to_end,
    );
}
