//! Race to the bar: the processor time until the model finds more names than the best string metric does,
//! on the queries that the fuzzy matcher leaves to it.
//!
//! Everything that another program needs to train on the same batches is written to a folder, for
//! `scripts/fixtures/race.py`, which trains with sentence-transformers.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use anyhow::{Context, Result, anyhow};
use autovalidate::evaluate::{FuzzyMatcher, FuzzyRule, Query, Report, Scores, model_ranks};
use autovalidate_finetune::train::{
    EarlyStop, Metric, Observer, ParameterBuffer, Progress, Recipe, TrainError, batches, export, fit,
};
use serde::Serialize;
use serde_json::json;

use crate::bench::{Bench, Prepared, processor_seconds};
use crate::dataset::{Dataset, QueryKind};
use crate::trial::Trial;

/// Number of steps between two readings.
const EVERY: usize = 5;

/// Accuracy on the queries at some time of the training.
#[derive(Serialize)]
struct Reading {
    step: usize,
    /// Processor time of the training so far, without that of the readings.
    seconds: f64,
    accuracy: f64,
}

/// Accuracy of parameters on the queries.
type AccuracyOf<'r> = Box<dyn FnMut(&ParameterBuffer) -> Result<f64, TrainError> + 'r>;

/// Observer that reads the accuracy every few steps.
struct Readings<'r> {
    accuracy_of: AccuracyOf<'r>,
    step: usize,
    started: f64,
    /// Processor time of the readings.
    spent: f64,
    readings: Vec<Reading>,
}

impl Observer for Readings<'_> {
    fn step(&mut self, progress: &Progress) -> bool {
        self.step = progress.step;
        true
    }

    fn assess(&mut self, parameters: &ParameterBuffer) -> Result<Option<f32>, TrainError> {
        let now = || processor_seconds().map_err(|error| TrainError::Evaluation(error.into()));
        let begun = now()?;
        let accuracy = (self.accuracy_of)(parameters)?;
        self.readings.push(Reading { step: self.step, seconds: begun - self.started - self.spent, accuracy });
        self.spent += now()? - begun;
        Ok(None)
    }
}

impl Bench {
    /// Trains by a trial's recipe, and writes model, batches, queries and readings to a folder.
    pub(crate) fn race(&self, trial: &Trial, name: &str, seed: u64, to: &Path) -> Result<()> {
        let dataset = Dataset::new(name, seed, QueryKind::Hard)?;
        let Prepared { folder, tokenizer, examples, vocabulary, parameters, mut encoder } =
            self.prepare(trial, &dataset, seed, &[])?;
        let rule = FuzzyRule::default();
        let matcher = FuzzyMatcher::new(&dataset.catalog, rule);
        let is_left = |query: &&Query| matcher.search(query).leaves_to_model(rule);
        let queries: Vec<Query> = dataset.queries.iter().filter(is_left).cloned().collect();
        let unranked = vec![None; queries.len()];
        let report = Report::new(
            &queries,
            &dataset.catalog,
            &unranked,
            &unranked,
            &autovalidate::evaluate::GatePolicy::default(),
        );
        let best = report.best_metric(|metric| metric.all).context("no query is left to the model")?;
        let target = best.all.accuracy_at_1;
        let recipe = Recipe {
            seed,
            early_stop: Some(EarlyStop {
                metric: Metric::Accuracy,
                patience: usize::MAX,
                every: Some(EVERY),
            }),
            ..trial.recipe.clone()
        };
        std::fs::create_dir_all(to)?;
        let model = to.join("model");
        std::fs::create_dir(&model).with_context(|| format!("{} is there already", model.display()))?;
        export(&folder, &parameters, 1.0, &model)?;

        let mut readings = Readings {
            accuracy_of: Box::new(|parameters| {
                let ranks = model_ranks(&queries, &dataset.catalog, &self.templates, |texts| {
                    let tokens = tokenizer.encode(texts)?.texts;
                    let compact: Option<Vec<Vec<u32>>> =
                        tokens.iter().map(|text| vocabulary.compact(text)).collect();
                    encoder.embed(parameters, &compact.ok_or(TrainError::ForeignToken)?)
                });
                let ranks = ranks.map_err(|error| TrainError::Evaluation(Box::new(error)))?;
                Ok(Scores::of(ranks).accuracy_at_1)
            }),
            step: 0,
            started: processor_seconds()?,
            spent: 0.0,
            readings: Vec::new(),
        };
        let source = examples.tokenized(&tokenizer, &vocabulary);
        fit(&self.runtime, &folder.config, folder.head, &recipe, parameters, &source, &mut readings)?;

        let mut texts = Vec::new();
        for epoch in 0..recipe.epochs {
            let pairs = examples.epoch(epoch);
            let tokenized = autovalidate_finetune::train::PairSource::epoch(&source, epoch)?;
            for batch in batches(&tokenized, recipe.batch_size, recipe.duplicates, seed, epoch) {
                texts.push(
                    batch
                        .into_iter()
                        .map(|at| [&pairs[at].anchor, &pairs[at].positive].map(String::clone))
                        .collect::<Vec<_>>(),
                );
            }
        }
        let asked: Vec<_> = queries
            .iter()
            .map(|query| {
                json!([query.domain, self.templates.render(&query.domain, &query.typo), query.corrected])
            })
            .collect();
        let index: serde_json::Map<_, _> = dataset
            .catalog
            .domains()
            .map(|(domain, names)| {
                let texts = dataset.catalog.texts(domain, &self.templates).into_iter();
                (domain.to_owned(), json!(texts.map(|(at, text)| (&names[at], text)).collect::<Vec<_>>()))
            })
            .collect();
        let race = json!({
            "dataset": name, "seed": seed, "queries": asked, "index": index, "batches": texts,
            "best_string_metric": best.name(), "target": target, "every": EVERY, "ours": readings.readings,
            "learning_rate": recipe.learning_rate, "warmup_ratio": recipe.warmup_ratio,
            "weight_decay": recipe.weight_decay, "scale": recipe.scale, "max_norm": recipe.max_gradient_norm,
        });
        let mut file = BufWriter::new(File::create(to.join("race.json"))?);
        serde_json::to_writer(&mut file, &race)?;
        file.flush().map_err(|error| anyhow!(error))
    }
}
