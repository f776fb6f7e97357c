//! What each way of training learns, on made-up typos of two catalogues. Run by `scripts/bench-quality`.
//!
//! A recipe is written `name:key=value,...`; keys: `epochs`, `batch`, `lr`, `scale`, `warmup`, `loss` (`symmetric` or
//! `mnrl`), `reversed` (each pair a second time the other way round), `variants` (0: nothing is synthesised),
//! `hard`, `below`, `share`, `rates` (`learned` or `fixed`), `real` (`no`: synthesised typos only). What is left out
//! is the product's default.

#![allow(clippy::print_stdout, reason = "its results go to the terminal")]
#![allow(missing_docs, reason = "an example has no users of its items")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context, Result, anyhow, bail};
use autovalidate::correction::Templates;
use autovalidate::evaluate::{
    Catalogue, EndToEnd, Group, HoldOut, NewestWindow, Policy, Query, Rank, Report, Side, model_ranks,
};
use autovalidate::local::demo::{Entry, catalogue, corrections_of};
use autovalidate::model::{ModelFolder, Tokenizer};
use autovalidate::onnx::{Loss, Runtime};
use autovalidate::synthesis::{Lessons, SlipRates, SynthesisSettings, Synthesiser};
use autovalidate::train::{Encoder, PairTexts, ParameterBuffer, Progress, Recipe, Vocabulary, fit};
use clap::Parser;
use serde::Serialize;

/// Pairs trained on, as many as a young installation has.
const TRAINING: usize = 600;
/// Queries of each side at most.
const QUERIES: usize = 500;
/// Corrections drawn, from which both are taken.
const DRAWN: usize = 4_000;
/// Larger than the product's, so that one run already has enough queries.
const HOLD_OUT: HoldOut = HoldOut { typos: 0.20, corrections: 0.20, newest: NewestWindow::Count(0) };

#[derive(Parser)]
struct Arguments {
    /// The model folder to start from.
    #[arg(long)]
    model: PathBuf,
    /// The ONNX Runtime library.
    #[arg(long)]
    runtime: PathBuf,
    /// Threads to compute with.
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// `cars`, `devices`.
    #[arg(long, value_delimiter = ',', default_value = "cars,devices")]
    datasets: Vec<String>,
    #[arg(long, value_delimiter = ',', default_value = "1,2,3")]
    seeds: Vec<u64>,
    /// A recipe, `name:key=value,...`; may be given several times.
    #[arg(long = "recipe", required = true)]
    recipes: Vec<Trial>,
    /// Write the results here, a JSON object a line, as they come.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Write each dataset here, for training elsewhere, and train nothing.
    #[arg(long)]
    dump: Option<PathBuf>,
}

/// A named way of training.
#[derive(Clone)]
struct Trial {
    name: String,
    recipe: Recipe,
    synthesis: SynthesisSettings,
    reversed: bool,
    real: bool,
}

impl FromStr for Trial {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let (name, keys) = text.split_once(':').unwrap_or((text, ""));
        let (recipe, synthesis) = (Recipe::default(), SynthesisSettings::default());
        let mut trial = Self { name: name.to_owned(), recipe, synthesis, reversed: false, real: true };
        for pair in keys.split(',').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').with_context(|| format!("{pair} has no value"))?;
            match key {
                "epochs" => trial.recipe.epochs = value.parse()?,
                "batch" => trial.recipe.batch_size = value.parse()?,
                "lr" => trial.recipe.learning_rate = value.parse()?,
                "scale" => trial.recipe.scale = value.parse()?,
                "warmup" => trial.recipe.warmup_ratio = value.parse()?,
                "loss" if value == "symmetric" => trial.recipe.loss = Loss::MnrlSymmetric,
                "loss" if value == "mnrl" => trial.recipe.loss = Loss::Mnrl,
                "reversed" => trial.reversed = value == "yes",
                "variants" => trial.synthesis.variants = value.parse()?,
                "hard" => trial.synthesis.hard_share = value.parse()?,
                "below" => trial.synthesis.hard_below = value.parse()?,
                "share" => trial.synthesis.share = value.parse()?,
                "rates" => trial.synthesis.learn_rates = value == "learned",
                "real" => trial.real = value == "yes",
                _ => bail!("{pair} is no setting"),
            }
        }
        Ok(trial)
    }
}

/// Pairs, and questions about a catalogue.
struct Dataset {
    name: String,
    catalogue: Catalogue,
    /// `(domain, typo, corrected)`.
    training: Vec<(String, String, String)>,
    queries: Vec<Query>,
}

impl Dataset {
    fn new(name: &str, seed: u64) -> Result<Self> {
        let entries: Vec<Entry> = match name {
            "cars" => catalogue(),
            "devices" => include_str!("../benches/data/devices.csv")
                .lines()
                .skip(1)
                .filter_map(|line| line.split_once(','))
                .map(|(domain, name)| Entry { domain, name })
                .collect(),
            other => bail!("{other} is no dataset"),
        };
        let (mut training, mut queries) = (Vec::new(), Vec::new());
        let mut asked: BTreeMap<Side, usize> = BTreeMap::new();
        for pair in corrections_of(&entries, seed, DRAWN) {
            let side = HOLD_OUT.side(&pair.typo, pair.corrected);
            let (domain, typo, corrected) = (pair.domain.to_owned(), pair.typo, pair.corrected.to_owned());
            if side == Side::Train {
                if training.len() < TRAINING {
                    training.push((domain, typo, corrected));
                }
            } else if asked.get(&side).is_none_or(|count| *count < QUERIES) {
                *asked.entry(side).or_default() += 1;
                queries.push(Query { domain, typo, corrected, side });
            }
        }
        let catalogue = Catalogue::new(entries.iter().map(|entry| (entry.domain, entry.name)));
        Ok(Self { name: name.to_owned(), catalogue, training, queries })
    }

    fn names(&self, templates: &Templates) -> Vec<String> {
        let domains = self.catalogue.domains();
        domains
            .flat_map(|(domain, names)| names.iter().map(move |name| templates.render(domain, name)))
            .collect()
    }

    fn dump(&self, seed: u64, to: &Path) -> Result<()> {
        let templates = Templates::default();
        let pairs: Vec<[String; 2]> = self
            .training
            .iter()
            .map(|(domain, typo, name)| [templates.render(domain, typo), templates.render(domain, name)])
            .collect();
        let queries: Vec<_> = self
            .queries
            .iter()
            .map(|query| {
                (
                    &query.domain,
                    templates.render(&query.domain, &query.typo),
                    templates.render(&query.domain, &query.corrected),
                    query.side,
                )
            })
            .collect();
        let names: BTreeMap<&str, Vec<String>> = self
            .catalogue
            .domains()
            .map(|(domain, names)| {
                (domain, names.iter().map(|name| templates.render(domain, name)).collect())
            })
            .collect();
        let json = serde_json::json!({ "pairs": pairs, "queries": queries, "names": names });
        std::fs::create_dir_all(to)?;
        std::fs::write(to.join(format!("{}-{seed}.json", self.name)), json.to_string())?;
        Ok(())
    }
}

/// What a trial brought.
#[derive(Serialize)]
struct Outcome {
    recipe: String,
    dataset: String,
    seed: u64,
    steps: usize,
    /// Of the loop alone, and with synthesis and tokenising.
    loop_seconds: f64,
    seconds: f64,
    known: Figures,
    unseen: Figures,
}

/// Accuracies at 1.
#[derive(Serialize)]
struct Figures {
    queries: usize,
    /// Of the model training started from.
    before: f64,
    all: f64,
    slice_queries: usize,
    slice: f64,
    slice_fuzzy: f64,
    end_to_end: f64,
    end_to_end_before: f64,
}

impl Figures {
    fn of(group: &Group) -> Self {
        let EndToEnd { before, after } = group.end_to_end;
        Self {
            queries: group.all.after.overall.queries,
            before: group.all.before.overall.accuracy_at_1,
            all: group.all.after.overall.accuracy_at_1,
            slice_queries: group.slice.after.overall.queries,
            slice: group.slice.after.overall.accuracy_at_1,
            slice_fuzzy: group.slice.fuzzy.overall.accuracy_at_1,
            end_to_end: after,
            end_to_end_before: before,
        }
    }
}

struct Bench {
    runtime: Runtime,
    folder: ModelFolder,
    tokenizer: Tokenizer,
    templates: Templates,
}

impl Bench {
    fn run(&self, trial: &Trial, dataset: &Dataset, seed: u64) -> Result<Outcome> {
        let Self { runtime, folder, tokenizer, templates } = self;
        let recipe = Recipe { seed, ..trial.recipe.clone() };
        let started = std::time::Instant::now();
        let lessons = self.lessons(trial, dataset, seed);
        let mut texts = dataset.names(templates);
        texts.extend(dataset.queries.iter().map(|query| templates.render(&query.domain, &query.typo)));
        let mut tokens = tokenizer.encode(&texts)?.texts;
        tokens.push(lessons.token_ids(tokenizer, recipe.epochs)?);
        let vocabulary = Vocabulary::of(&tokens);
        let parameters = ParameterBuffer::load(&folder.config, &folder.weights()?, vocabulary.clone())?;
        let mut encoder = Encoder::new(runtime, &folder.config, folder.head)?;
        let mut ranks = |parameters: &ParameterBuffer| -> Result<Vec<Rank>> {
            model_ranks(&dataset.queries, &dataset.catalogue, templates, |texts| {
                let compact: Option<Vec<Vec<u32>>> =
                    tokenizer.encode(texts)?.texts.iter().map(|text| vocabulary.compact(text)).collect();
                let compact = compact.ok_or(autovalidate::train::TrainError::ForeignToken)?;
                encoder.embed(parameters, &compact)
            })
            .map_err(|error| anyhow!(error))
        };
        let prepared = started.elapsed().as_secs_f64();
        let before = ranks(&parameters)?;
        let source = lessons.tokenised(tokenizer, &vocabulary);
        let training = std::time::Instant::now();
        let fit =
            fit(runtime, &folder.config, folder.head, &recipe, parameters, &source, &mut |_: &Progress| {
                true
            })?;
        let seconds = prepared + training.elapsed().as_secs_f64();
        let after = ranks(&fit.parameters)?;
        let report = Report::new(&dataset.queries, &dataset.catalogue, &before, &after, &Policy::default());
        Ok(Outcome {
            recipe: trial.name.clone(),
            dataset: dataset.name.clone(),
            seed,
            steps: fit.summary.steps,
            loop_seconds: fit.summary.seconds,
            seconds,
            known: Figures::of(&report.new_typo),
            unseen: Figures::of(&report.unseen_correction),
        })
    }

    fn lessons(&self, trial: &Trial, dataset: &Dataset, seed: u64) -> Lessons {
        let pairs = dataset.training.iter();
        let keyboard = trial.synthesis.keyboard;
        let rates = match trial.synthesis.learn_rates {
            true => SlipRates::learn(pairs.map(|(_, typo, name)| (typo.as_str(), name.as_str())), keyboard),
            false => SlipRates::default(),
        };
        let mut real = Vec::new();
        for (row, (domain, typo, name)) in (0..).zip(&dataset.training).filter(|_| trial.real) {
            let [typo, name] = [typo, name].map(|text| self.templates.render(domain, text));
            if trial.reversed {
                real.push(PairTexts { row, anchor: name.clone(), positive: typo.clone() });
            }
            real.push(PairTexts { row, anchor: typo, positive: name });
        }
        let synthesiser =
            Synthesiser::new(dataset.catalogue.clone(), rates, trial.synthesis.clone(), HOLD_OUT);
        Lessons::new(real, synthesiser, self.templates.clone(), seed)
    }
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let folder = ModelFolder::open(&arguments.model)?;
    let bench = Bench {
        runtime: Runtime::load(&arguments.runtime, arguments.threads)?,
        tokenizer: folder.tokenizer()?,
        folder,
        templates: Templates::default(),
    };
    println!(
        "{:28}{:9}{:>5}{:>7}{:>8} | {:>6}{:>7}{:>7}{:>7} | {:>6}{:>7}{:>7}{:>7}",
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
    for seed in &arguments.seeds {
        for name in &arguments.datasets {
            let dataset = Dataset::new(name, *seed)?;
            if let Some(folder) = &arguments.dump {
                dataset.dump(*seed, folder)?;
                continue;
            }
            for trial in &arguments.recipes {
                let outcome = bench.run(trial, &dataset, *seed)?;
                let Outcome { known, unseen, steps, seconds, .. } = &outcome;
                println!(
                    "{:28}{:9}{seed:>5}{steps:>7}{seconds:>8.1} | {:>6.3}{:>7.3}{:>7.3}{:>7.3} | {:>6.3}{:>7.3}{:>7.3}{:>7.3}",
                    trial.name,
                    name,
                    known.all,
                    known.slice,
                    known.slice_fuzzy,
                    known.end_to_end,
                    unseen.all,
                    unseen.slice,
                    unseen.slice_fuzzy,
                    unseen.end_to_end,
                );
                if let Some(path) = &arguments.json {
                    use std::io::Write;
                    let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path)?;
                    writeln!(file, "{}", serde_json::to_string(&outcome)?)?;
                }
            }
        }
    }
    Ok(())
}
