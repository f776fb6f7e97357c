//! `autovalidate train`: one run in the foreground, from a file, without queue or Hub.

use std::path::PathBuf;

use indicatif::{ProgressBar, ProgressStyle};

use crate::run::{Dataset, FineTuneSession, ModelComparison, RowCounts, RunError, TrainingSpec};
use crate::settings::{DEFAULT_PATIENCE, Needs, Settings};
use autovalidate_finetune::durable;
use autovalidate_finetune::model::{ModelFolder, archive};
use autovalidate_finetune::onnx::Runtime;
use autovalidate_finetune::train::{EarlyStop, Metric, Progress, ranges};

use super::arguments::within;
use super::config::settings;
use super::dataset::dataset;
use super::{CliError, CommandOutcome, print_text};

/// Fine-tunes a model folder on a file of corrections, in the foreground.
///
/// Example: autovalidate train --data pairs.csv --base .local/models/all-MiniLM-L6-v2
/// --out my-model
#[derive(clap::Args)]
pub(super) struct Args {
    /// Files of corrections: CSV with the header typo,corrected,domain, JSON or Parquet. Takes several
    /// files, and may be repeated.
    #[arg(long, required = true, num_args = 1.., value_name = "FILE")]
    data: Vec<PathBuf>,
    /// Sentence-transformers folder to start from; BASE_MODEL when not given.
    #[arg(long)]
    base: Option<PathBuf>,
    /// Folder for the trained model; must not exist.
    #[arg(long)]
    out: PathBuf,
    /// Zip file that the folder is also packed into.
    #[arg(long)]
    zip: Option<PathBuf>,
    /// File for figures, losses and scores, as JSON.
    #[arg(long)]
    report: Option<PathBuf>,
    /// Number of passes over the pairs.
    #[arg(long, value_parser = within(&ranges::EPOCHS))]
    epochs: Option<usize>,
    /// Number of pairs in a batch.
    #[arg(long, value_parser = within(&ranges::BATCH_SIZE))]
    batch_size: Option<usize>,
    /// Peak learning rate.
    #[arg(long, value_parser = within(&ranges::LEARNING_RATE))]
    learning_rate: Option<f32>,
    /// Synthetic typos per name and epoch; 0 makes none.
    #[arg(long, value_parser = clap::value_parser!(u16).range(..=1_000))]
    variants: Option<u16>,
    /// Share of every target that is spread evenly over a batch's corrections; 0 for none.
    #[arg(long, value_parser = within(&ranges::LABEL_SMOOTHING))]
    label_smoothing: Option<f32>,
    /// Hard negatives per typo, drawn from the catalog names most similar to its correction.
    #[arg(long, value_parser = within(&ranges::HARD_NEGATIVES))]
    hard_negatives: Option<usize>,
    /// Trains with dropout, at the rates in the model's config.
    #[arg(long)]
    dropout: bool,
    /// Metric of early stopping, measured on half of the held-out queries. The best parameters are
    /// kept.
    #[arg(long, value_enum)]
    early_stop: Option<Stop>,
    /// Number of consecutive assessments without improvement after which training stops.
    #[arg(long, value_parser = within(&ranges::PATIENCE))]
    patience: Option<usize>,
    /// Optimizer steps between assessments; one epoch when not given.
    #[arg(long, value_parser = within(&ranges::ASSESS_EVERY))]
    assess_every: Option<usize>,
    /// Seed of all random choices.
    #[arg(long)]
    seed: Option<u64>,
}

/// Metric of early stopping.
#[derive(Clone, Copy, clap::ValueEnum)]
enum Stop {
    /// No early stopping: training takes all its steps.
    Off,
    /// Cross-entropy of the right name.
    Loss,
    /// Share of queries whose first answer is right.
    Accuracy,
}

impl Args {
    /// Returns the rule of the settings, overridden by the options that were given.
    fn early_stop(&self, set: Option<EarlyStop>) -> Option<EarlyStop> {
        let metric = match self.early_stop {
            None => set?.metric,
            Some(Stop::Off) => return None,
            Some(Stop::Loss) => Metric::Loss,
            Some(Stop::Accuracy) => Metric::Accuracy,
        };
        let set_patience = set.map_or(DEFAULT_PATIENCE, |set| set.patience);
        Some(EarlyStop {
            metric,
            patience: self.patience.unwrap_or(set_patience),
            every: self.assess_every.or(set.and_then(|set| set.every)),
        })
    }
}

pub(super) async fn run(args: &Args) -> Result<CommandOutcome, CliError> {
    let settings = settings(Needs { runtime: true, ..Needs::default() })?;
    let names = settings.names();
    let mut spec = TrainingSpec {
        tokenizer: settings.tokenizer,
        recipe: settings.recipe.clone(),
        synthesis: settings.synthesis.clone(),
        hold_out: settings.hold_out,
        templates: settings.templates.clone(),
    };
    let recipe = &mut spec.recipe;
    recipe.epochs = args.epochs.unwrap_or(recipe.epochs);
    recipe.batch_size = args.batch_size.unwrap_or(recipe.batch_size);
    recipe.learning_rate = args.learning_rate.unwrap_or(recipe.learning_rate);
    recipe.label_smoothing = args.label_smoothing.unwrap_or(recipe.label_smoothing);
    recipe.hard_negatives = args.hard_negatives.unwrap_or(recipe.hard_negatives);
    recipe.dropout |= args.dropout;
    recipe.early_stop = args.early_stop(recipe.early_stop);
    recipe.seed = args.seed.unwrap_or(recipe.seed);
    spec.synthesis.variants = args.variants.map_or(spec.synthesis.variants, Into::into);
    if args.out.exists() {
        let what = format!("{} already exists", args.out.display());
        return Err(CliError::plain(what, "Choose another folder with --out."));
    }

    let dataset = dataset(&args.data, &spec.hold_out, &spec.templates, names).await?;
    println!("{}", dataset.summary);
    let counts = RowCounts::from(&dataset.summary);
    let trained = fine_tune(args, &settings, spec, dataset, &counts);
    // Too few rows to train on are explained by what became of them.
    println!("{counts}");
    trained.map(|()| CommandOutcome::Done)
}

/// Trains, judges and writes the model.
fn fine_tune(
    args: &Args,
    settings: &Settings,
    spec: TrainingSpec,
    dataset: Dataset,
    counts: &RowCounts,
) -> Result<(), CliError> {
    let summary = dataset.summary.clone();
    if let Some(sentence) = summary.without_catalog() {
        eprintln!("note: {sentence}");
    }
    let base = args.base.clone().unwrap_or_else(|| PathBuf::from(&settings.base_model));
    let base = ModelFolder::open(&base).map_err(RunError::from)?;
    let baselines = ModelComparison::untrained(base.clone());
    let runtime = Runtime::load(&settings.runtime_library, settings.threads)
        .and_then(|runtime| runtime.on(settings.device))
        .map_err(RunError::from)?;
    let session = FineTuneSession::prepare(&runtime, base, dataset, spec, || true)?;
    println!(
        "{} synthetic typos per epoch, {} of the token table's rows",
        session.figures.synthesized, session.figures.vocabulary
    );
    for warning in session.figures.name_coverage.warnings() {
        println!("{warning}");
    }
    if session.figures.short_of_negatives > 0 {
        println!(
            "{} pairs of an epoch have fewer hard negatives than requested: their domains have too few names",
            session.figures.short_of_negatives
        );
    }

    let bar = ProgressBar::new(0);
    if let Ok(style) = ProgressStyle::with_template("{bar:32} step {pos}/{len}  {msg}  {eta} left") {
        bar.set_style(style.progress_chars("=> "));
    }
    let mut pairs = 0;
    let mut observer = |progress: &Progress| {
        pairs += progress.pairs;
        bar.set_length(progress.steps as u64);
        bar.set_position(progress.step as u64);
        let speed = pairs as f64 / progress.elapsed.as_secs_f64().max(1e-9);
        bar.set_message(format!("loss {:.4}  {speed:.0} pairs/s", progress.loss));
        true
    };
    let mut trained = session.train(&mut observer, None)?;
    bar.finish();
    if let Some(step) = trained.summary.best_step {
        println!(
            "kept the parameters of step {step}, the best of {} assessments on {} held-out queries; {} steps taken",
            trained.summary.assessments.len(),
            trained.figures.steering,
            trained.summary.steps
        );
    }
    let report = trained.evaluate(&settings.gate, &baselines)?;
    print_text(&format!("{report}\n"))?;

    // Written to a temporary folder and renamed, so that the folder --out is always complete.
    let parent = durable::parent(&args.out);
    let cannot = |source: std::io::Error| CliError::Plain {
        what: format!("cannot write {}", args.out.display()),
        advice: "Choose a writable folder with --out.".to_owned(),
        source: Some(source.into()),
    };
    std::fs::create_dir_all(parent).map_err(cannot)?;
    let beside = tempfile::Builder::new().prefix(".training-").tempdir_in(parent).map_err(cannot)?;
    trained.export(beside.path())?;
    std::fs::rename(beside.path(), &args.out).map_err(cannot)?;
    println!("wrote {}", args.out.display());
    if let Some(zip) = &args.zip {
        let top = args.out.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        archive::pack(&args.out, &top, zip).map_err(RunError::from)?;
        println!("wrote {}", zip.display());
    }
    if let Some(path) = &args.report {
        let json = serde_json::json!({
            "dataset": summary, "rows": counts, "study": trained.figures,
            "training": trained.summary, "report": report,
        });
        let text = serde_json::to_vec_pretty(&json).map_err(crate::broker::BrokerError::from)?;
        super::write_file(path, &text)?;
        println!("wrote {}", path.display());
    }
    Ok(())
}
