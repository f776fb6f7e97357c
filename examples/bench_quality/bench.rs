//! Run of one trial on one dataset.

use anyhow::{Context, Result, anyhow};
use autovalidate::correction::Templates;
use autovalidate::evaluate::{GatePolicy, Rank, Report, model_ranks};
use autovalidate::synthesis::{EpochDataset, Synthesizer};
use autovalidate_finetune::model::{ModelFolder, Tokenizer};
use autovalidate_finetune::onnx::Runtime;
use autovalidate_finetune::train::{Encoder, PairTexts, ParameterBuffer, Progress, Recipe, Vocabulary, fit};

use crate::dataset::{Dataset, HOLD_OUT, QueryKind};
use crate::ledger::{Figures, Outcome};
use crate::trial::{Rows, Start, Trial};

/// `(domain, typo, corrected)` of a pair.
type Pair = (String, String, String);

/// Recipe of the live model, which is trained on the older half of the pairs.
const EARLIER: &str = "earlier: variants=10, epochs=2, smoothing=0";

/// Distance between the seeds of two runs of a chain; larger than the range of the measured seeds.
const OTHER_SEED: u64 = 1_000;

pub(crate) struct Bench {
    pub(crate) runtime: Runtime,
    pub(crate) folder: ModelFolder,
    pub(crate) tokenizer: Tokenizer,
    pub(crate) templates: Templates,
}

impl Bench {
    pub(crate) fn run(
        &self,
        trial: &Trial,
        dataset: &Dataset,
        questions: QueryKind,
        seed: u64,
    ) -> Result<Outcome> {
        let Self { runtime, folder, tokenizer, templates } = self;
        let recipe = Recipe { seed, ..trial.recipe.clone() };
        let (older, newer) = dataset.training.split_at(dataset.training.len() / 2);
        let earlier = self.earlier_runs(trial, dataset, seed)?;
        let started = processor_seconds()?;
        let rows: Vec<Pair> = match trial.rows {
            _ if !trial.real => Vec::new(),
            Rows::All => dataset.training.clone(),
            Rows::New => newer.to_vec(),
            // Every second pair of the older half. The pairs of synthetic data are in random order, so
            // this is as good as a random draw; those of the lists of real typos are sorted.
            Rows::Replay => newer.iter().chain(older.iter().step_by(2)).cloned().collect(),
        };
        let examples = self.examples(trial, &rows, dataset, seed);
        let mut texts = dataset.names(templates);
        texts.extend(dataset.queries.iter().map(|query| templates.render(&query.domain, &query.typo)));
        let mut tokens = tokenizer.encode(&texts)?.texts;
        tokens.push(examples.token_ids(tokenizer, recipe.epochs)?);
        for (examples, recipe) in &earlier {
            tokens.push(examples.token_ids(tokenizer, recipe.epochs)?);
        }
        let vocabulary = Vocabulary::of(&tokens);
        let mut parameters = ParameterBuffer::load(&folder.config, &folder.weights()?, vocabulary.clone())?;
        let mut encoder = Encoder::of(runtime, folder)?;
        let mut ranks = |parameters: &ParameterBuffer| -> Result<Vec<Rank>> {
            model_ranks(&dataset.queries, &dataset.catalog, templates, |texts| {
                let compact: Option<Vec<Vec<u32>>> =
                    tokenizer.encode(texts)?.texts.iter().map(|text| vocabulary.compact(text)).collect();
                let compact = compact.ok_or(autovalidate_finetune::train::TrainError::ForeignToken)?;
                encoder.embed(parameters, &compact)
            })
            .map_err(|error| anyhow!(error))
        };
        let train = |examples: &EpochDataset, recipe: &Recipe, parameters| {
            let source = examples.tokenized(tokenizer, &vocabulary);
            fit(runtime, &folder.config, folder.head, recipe, parameters, &source, &mut |_: &Progress| true)
        };
        let prepared = processor_seconds()? - started;
        for (examples, recipe) in &earlier {
            parameters = train(examples, recipe, parameters)?.parameters;
        }
        let before = ranks(&parameters)?;
        let training = processor_seconds()?;
        let fit = train(&examples, &recipe, parameters)?;
        let seconds = prepared + processor_seconds()? - training;
        let after = ranks(&fit.parameters)?;
        let report = Report::new(&dataset.queries, &dataset.catalog, &before, &after, &GatePolicy::default());
        Ok(Outcome {
            recipe: trial.name.clone(),
            keys: trial.keys.clone(),
            dataset: dataset.name.clone(),
            questions,
            seed,
            steps: fit.summary.steps,
            loop_seconds: fit.summary.seconds,
            seconds,
            known: Figures::of(&report.new_typo),
            unseen: Figures::of(&report.unseen_correction),
        })
    }

    /// Returns the runs that made the live model, each with its dataset and its recipe.
    fn earlier_runs(
        &self,
        trial: &Trial,
        dataset: &Dataset,
        seed: u64,
    ) -> Result<Vec<(EpochDataset, Recipe)>> {
        let pairs = &dataset.training;
        let runs = match trial.start {
            Start::Base => Vec::new(),
            Start::Live => vec![(EARLIER.parse()?, pairs.len() / 2, seed)],
            // Each run draws its own synthetic typos, as in production.
            Start::Run(number) => (1..number)
                .map(|run| (trial.clone(), pairs.len() * run / number, seed + OTHER_SEED * run as u64))
                .collect(),
        };
        let run = |(trial, pairs, seed): (Trial, usize, u64)| {
            let recipe = Recipe { seed, ..trial.recipe.clone() };
            (self.examples(&trial, &dataset.training[..pairs], dataset, seed), recipe)
        };
        Ok(runs.into_iter().map(run).collect())
    }

    fn examples(&self, trial: &Trial, rows: &[Pair], dataset: &Dataset, seed: u64) -> EpochDataset {
        let slips = dataset.training.iter().map(|(_, typo, name)| (typo.as_str(), name.as_str()));
        let rates = trial.synthesis.rates(slips);
        let real = (0..).zip(rows).map(|(row, (domain, typo, name))| {
            let [anchor, positive] = [typo, name].map(|text| self.templates.render(domain, text));
            PairTexts { row, anchor, positive, negatives: Vec::new() }
        });
        let asked = dataset.queries.iter().map(|query| (query.domain.as_str(), query.typo.as_str()));
        let synthesizer = Synthesizer::new(dataset.catalog.clone(), rates, trial.synthesis.clone(), HOLD_OUT)
            .without(asked);
        EpochDataset::new(real.collect(), synthesizer, self.templates.clone(), seed)
            .with_negatives(trial.recipe.hard_negatives)
    }
}

/// Returns the processor time of this process so far, in seconds. Other work on the machine hardly
/// changes it as long as one thread computes; several threads spin while they wait for each other.
fn processor_seconds() -> Result<f64> {
    /// Unit of these times in ticks per second, independent of the kernel's own clock: `man 5
    /// proc`, `sysconf(_SC_CLK_TCK)`.
    const TICKS: f64 = 100.0;
    let stat = std::fs::read_to_string("/proc/self/stat").context("/proc/self/stat")?;
    // The program's name may contain any character, so the fields after it are counted: user time
    // is the 12th, and system time the 13th.
    let (_, fields) = stat.rsplit_once(')').context("/proc/self/stat has no name")?;
    let times = fields.split_whitespace().skip(11).take(2).map(str::parse::<f64>);
    Ok(times.sum::<Result<f64, _>>().context("/proc/self/stat has times in an unknown format")? / TICKS)
}
