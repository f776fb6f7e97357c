//! Run of one trial on one dataset.

use std::path::PathBuf;

use anyhow::{Context, Result, anyhow};
use autovalidate::evaluate::{
    Catalog, FuzzyRule, GatePolicy, Query, Rank, Report, ServingTrials, Side, model_ranks_with,
};
use autovalidate::synthesis::{EpochDataset, Synthesizer};
use autovalidate::templates::Templates;
use autovalidate_finetune::model::{ModelFolder, Tokenizer};
use autovalidate_finetune::onnx::Runtime;
use autovalidate_finetune::train::{
    Encoder, PairTexts, ParameterBuffer, Progress, Recipe, TrainError, Vocabulary, fit,
};
use ndarray::ArrayView1;

use crate::dataset::{Dataset, HOLD_OUT, QueryKind};
use crate::ledger::{Figures, Outcome};
use crate::trial::{Rows, Start, Trial};

/// `(domain, typo, corrected)` of a pair.
type Pair = (String, String, String);

/// Recipe of the live model, which is trained on the older half of the pairs.
const EARLIER: &str = "earlier: variants=10, epochs=2, smoothing=0";

/// Distance between the seeds of two runs of a chain; larger than the range of the measured seeds.
const OTHER_SEED: u64 = 1_000;

/// Visitor of a query's cosines; see [`model_ranks_with`].
type Visit<'v> = &'v mut dyn FnMut(usize, ArrayView1<'_, f32>, usize);

/// Queries of one side, with their places among all queries.
struct Part {
    places: Vec<usize>,
    queries: Vec<Query>,
}

impl Part {
    fn of(dataset: &Dataset, side: Side) -> Self {
        let of_side = dataset.queries.iter().enumerate().filter(|(_, query)| query.side == side);
        let (places, queries) = of_side.map(|(place, query)| (place, query.clone())).unzip();
        Self { places, queries }
    }
}

/// A trial's model and training data.
pub(crate) struct Prepared {
    pub(crate) folder: ModelFolder,
    pub(crate) tokenizer: Tokenizer,
    pub(crate) examples: EpochDataset,
    pub(crate) vocabulary: Vocabulary,
    pub(crate) parameters: ParameterBuffer,
    pub(crate) encoder: Encoder,
}

pub(crate) struct Bench {
    pub(crate) runtime: Runtime,
    /// Model folder to start from.
    pub(crate) model: PathBuf,
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
        let Self { runtime, templates, .. } = self;
        let recipe = Recipe { seed, ..trial.recipe.clone() };
        let earlier = self.earlier_runs(trial, dataset, seed)?;
        let started = processor_seconds()?;
        let Prepared { folder, tokenizer, examples, vocabulary, mut parameters, mut encoder } =
            self.prepare(trial, dataset, seed, &earlier)?;
        let (folder, tokenizer) = (&folder, &tokenizer);
        let mut ranks = |parameters: &ParameterBuffer, visit: Visit<'_>| -> Result<Vec<Rank>> {
            let embed = |texts: &[String]| {
                let compact: Option<Vec<Vec<u32>>> =
                    tokenizer.encode(texts)?.texts.iter().map(|text| vocabulary.compact(text)).collect();
                encoder.embed(parameters, &compact.ok_or(TrainError::ForeignToken)?)
            };
            model_ranks_with(&dataset.queries, &dataset.catalog, templates, embed, visit)
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
        let before = ranks(&parameters, &mut |_, _, _| {})?;
        let training = processor_seconds()?;
        let fit = train(&examples, &recipe, parameters)?;
        let seconds = prepared + processor_seconds()? - training;
        let parts =
            [Side::NewTypo, Side::UnseenCorrection, Side::NewName].map(|side| Part::of(dataset, side));
        let mut trials = parts
            .each_ref()
            .map(|part| ServingTrials::new(&part.queries, &dataset.catalog, FuzzyRule::default()));
        let after = ranks(&fit.parameters, &mut |query, cosines, right| {
            for (part, trials) in parts.iter().zip(&mut trials) {
                if let Ok(place) = part.places.binary_search(&query) {
                    trials.add(place, cosines, right);
                }
            }
        })?;
        let mut figures = parts.iter().zip(trials).map(|(part, trials)| {
            let of_part = |ranks: &[Rank]| part.places.iter().map(|place| ranks[*place]).collect::<Vec<_>>();
            let (before, after, policy) = (of_part(&before), of_part(&after), GatePolicy::default());
            let mut report = Report::new(&part.queries, &dataset.catalog, &before, &after, &policy);
            report.serving = trials.advice();
            Figures::of(&report)
        });
        let mut next = || figures.next().unwrap_or_default();
        let (known, unseen, new_name) = (next(), next(), next());
        Ok(Outcome {
            recipe: trial.name.clone(),
            keys: trial.keys.clone(),
            dataset: dataset.name.clone(),
            questions,
            seed,
            steps: fit.summary.steps,
            loop_seconds: fit.summary.seconds,
            seconds,
            known,
            unseen,
            new_name,
        })
    }

    /// Prepares a trial. The vocabulary also has the tokens of earlier runs.
    pub(crate) fn prepare(
        &self,
        trial: &Trial,
        dataset: &Dataset,
        seed: u64,
        earlier: &[(EpochDataset, Recipe)],
    ) -> Result<Prepared> {
        let (older, newer) = dataset.training.split_at(dataset.training.len() / 2);
        let rows: Vec<Pair> = match trial.rows {
            _ if !trial.real => Vec::new(),
            Rows::All => dataset.training.clone(),
            Rows::New => newer.to_vec(),
            // Every second pair of the older half. The pairs of synthetic data are in random order, so
            // this is as good as a random draw; those of the lists of real typos are sorted.
            Rows::Replay => newer.iter().chain(older.iter().step_by(2)).cloned().collect(),
        };
        let examples = self.examples(trial, &rows, dataset, seed);
        let templates = &self.templates;
        let folder = trial.tokenizer.applied_to(ModelFolder::open(&self.model)?, templates.phrases());
        let tokenizer = folder.tokenizer()?;
        let mut texts = dataset.names(templates);
        texts.extend(dataset.queries.iter().map(|query| templates.render(&query.domain, &query.typo)));
        let mut tokens = tokenizer.encode(&texts)?.texts;
        tokens.push(examples.token_ids(&tokenizer, trial.recipe.epochs, || true)?);
        for (examples, recipe) in earlier {
            tokens.push(examples.token_ids(&tokenizer, recipe.epochs, || true)?);
        }
        let vocabulary = Vocabulary::of(&tokens);
        let parameters = ParameterBuffer::load(&folder.config, &folder.weights()?, vocabulary.clone())?;
        let encoder = Encoder::of(&self.runtime, &folder)?;
        Ok(Prepared { folder, tokenizer, examples, vocabulary, parameters, encoder })
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
        let catalog = match (trial.catalog, trial.indexed) {
            (false, _) => Catalog::new(rows.iter().map(|(domain, _, name)| (domain, name))),
            (true, false) => dataset.names_alone(),
            (true, true) => dataset.catalog.clone(),
        };
        let new_names = dataset.queries.iter().filter(|query| query.side == Side::NewName);
        let new_names = new_names.map(|query| (query.domain.as_str(), query.corrected.as_str()));
        let synthesizer = Synthesizer::new(catalog, rates, trial.synthesis.clone(), HOLD_OUT)
            .without(asked)
            .without_names(new_names);
        EpochDataset::new(real.collect(), synthesizer, self.templates.clone(), seed)
            .with_negatives(trial.recipe.hard_negatives)
    }
}

/// Returns the processor time of this process so far, in seconds. Other work on the machine hardly
/// changes it as long as one thread computes; several threads spin while they wait for each other.
pub(crate) fn processor_seconds() -> Result<f64> {
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
