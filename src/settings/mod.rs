//! Settings of the program, read once at startup and checked as a whole.
//!
//! Owns the names and defaults of settings, and the message that lists every problem at once. Never
//! reads a setting after startup: other modules receive plain values. Secrets are wrapped and print
//! as `***`, and so does a password or key in any other setting (`crate::redaction`).
//!
//! ```text
//! reader.rs         lookup in the environment and the file, and the list of problems
//! accounts.rs       Supabase project and Hub repository
//! broker.rs         NATS server and streams
//! nats_url.rs       addresses of a NATS server, with user and password or token
//! alerts.rs         receiver of alerts
//! byte_size.rs      sizes such as `512MiB`
//! checkpoints.rs    frequency and storage of checkpoints
//! durations.rs      allowed ranges of durations
//! evaluation.rs     held-out rows, gate, synthetic typos
//! ingest.rs         column names, catalog, burst limit
//! templates.rs      templates of texts
//! trainer_start.rs  start of a trainer by a listener
//! ```

mod accounts;
mod alerts;
mod broker;
mod byte_size;
mod checkpoints;
mod durations;
mod evaluation;
mod ingest;
mod nats_url;
mod reader;
mod templates;
mod trainer_start;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::SecretString;

use crate::evaluate::HoldOut;
use crate::failure::{Failure, RetryDirective};
use crate::redaction::quote;
use crate::synthesis::SynthesisSettings;
use crate::templates::Templates;
use crate::trigger::TriggerPolicy;
use autovalidate_finetune::model::TokenizerChoice;
use autovalidate_finetune::onnx::Device;
use autovalidate_finetune::train::{EarlyStop, Metric, Recipe, ranges};

use reader::SettingsReader;

pub use broker::{Nats, NatsStreams};
use byte_size::ByteSize;
pub use checkpoints::{CheckpointPlace, CheckpointSettings};
pub use reader::{Effective, Problem, SettingSource};
pub use trainer_start::TrainerStart;

/// Name of the settings file, which is read from the working directory.
pub const FILE: &str = "autovalidate.toml";

/// Default number of bytes of replaceable files: some twenty models of the default's size with their zips.
const DATA_BUDGET: u64 = 4 << 30;

/// Default acknowledgement wait: long enough for a leader election among the brokers, short enough
/// that a dead worker's job is soon delivered again.
const ACK_WAIT: Duration = Duration::from_secs(60);
/// Default time that a stopping worker has. Platforms that stop a machine usually allow it five
/// minutes at most (Fly: 300 s); this stays below that.
const STOP_DEADLINE: Duration = Duration::from_secs(240);
/// Default time between sweeps of the table. Sweeps guarantee that no row is lost, so they can't be
/// turned off.
const SWEEP_EVERY: Duration = Duration::from_secs(60);

/// Default patience of early stopping: the number of assessments in a row without an improvement
/// that stop a run. Used when a metric is set and a patience is not.
pub const DEFAULT_PATIENCE: usize = 3;

/// Settings that a command requires.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Needs {
    /// True when the Supabase project that corrections come from must be set.
    pub supabase: bool,
    /// True when the Hub repository that models are read from and published to must be set.
    pub hub: bool,
    /// True when the ONNX Runtime library must exist.
    pub runtime: bool,
}

/// All settings of the program.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Access to the table of corrections; `None` when it is neither set nor needed.
    pub supabase: Option<crate::ingest::TableAccess>,
    /// Time between sweeps of the table when nothing else triggers one.
    pub sweep_every: Duration,
    /// Source of the names that corrections must be among; `None` allows any name.
    pub catalog: Option<crate::ingest::CatalogSource>,
    /// Rate above which new rows count as a burst; `None` allows any rate.
    pub burst: Option<crate::corrections::BurstLimit>,
    /// Access to the repository that models are published to; `None` when it is neither set nor
    /// needed.
    pub hub: Option<crate::hub::HubAccess>,
    /// The NATS server that the worker uses.
    pub nats: Nats,
    /// Streams on the NATS server.
    pub nats_streams: NatsStreams,
    /// Time after a worker's last progress acknowledgement until its job is delivered to another
    /// worker.
    pub ack_wait: Duration,
    /// True when this time is set.
    pub ack_wait_is_set: bool,
    /// Time that a stopping worker has to finish its work.
    pub stop_deadline: Duration,
    /// The way in which a listener starts a trainer.
    pub trainer_start: TrainerStart,
    /// Frequency and storage of checkpoints.
    pub checkpoints: CheckpointSettings,
    /// Policy that decides when training starts.
    pub trigger: TriggerPolicy,
    /// Training parameters, such as epochs, batch size and learning rate.
    pub recipe: Recipe,
    /// Tokens to train on.
    pub tokenizer: TokenizerChoice,
    /// Settings of synthetic typos.
    pub synthesis: SynthesisSettings,
    /// Parts of the data that are held out for evaluation.
    pub hold_out: HoldOut,
    /// Policy of the gate, which decides whether a model is published.
    pub gate: crate::evaluate::GatePolicy,
    /// Templates that turn a text and its domain into the model's input.
    pub templates: Templates,
    /// Folder or Hub name of the model that training starts from before the first release.
    pub base_model: String,
    /// Folders below which a job request may name a base model.
    pub base_model_folders: Vec<PathBuf>,
    /// Folder for the worker's state.
    pub data_dir: PathBuf,
    /// Number of bytes that files in it which can be made again may take.
    pub data_budget: u64,
    /// Path of the ONNX Runtime library.
    pub runtime_library: PathBuf,
    /// Number of threads to train with.
    pub threads: usize,
    /// Device to train on.
    pub device: Device,
    /// Secret that a webhook must carry; without one, webhooks are refused.
    pub webhook_secret: Option<SecretString>,
    /// Receiver of alerts, if one is set.
    pub alerts: Option<crate::alert::AlertReceiver>,
    /// Token that a visitor of the console must show; without one, the console is on loopback only.
    pub console_token: Option<SecretString>,
    /// Address that serves the console, health, metrics and the webhook.
    pub http_address: SocketAddr,
    /// Names of all settings, as they are written in the environment.
    pub names: Vec<String>,
    /// Every setting in force, with secrets as `***`.
    pub effective: Vec<Effective>,
}

/// Settings that can't be used. The message lists every problem, one per line.
#[derive(Debug, thiserror::Error)]
#[error("{} in the settings:\n{}", count(.0), list(.0))]
pub struct SettingsError(pub Vec<Problem>);

fn count(problems: &[Problem]) -> String {
    match problems.len() {
        1 => "1 problem".to_owned(),
        more => format!("{more} problems"),
    }
}

fn list(problems: &[Problem]) -> String {
    problems.iter().map(|problem| format!("  - {problem}")).collect::<Vec<_>>().join("\n")
}

impl Failure for SettingsError {
    fn directive(&self) -> RetryDirective {
        RetryDirective::Person
    }

    fn advice(&self) -> String {
        "Correct them in the environment or in autovalidate.toml; `autovalidate init` prints a template."
            .to_owned()
    }
}

impl Settings {
    /// Returns the source of names beyond those of the rows, if a catalog is set.
    pub fn names(&self) -> Option<crate::run::NameSource> {
        let source = self.catalog.clone()?;
        let domains = self.templates.indexed_domains();
        Some(crate::run::NameSource { source, access: self.supabase.clone(), domains })
    }

    /// Reads the settings of this process from its environment and from `autovalidate.toml` in its
    /// working directory.
    ///
    /// # Errors
    /// [`SettingsError`] with every problem.
    pub fn from_process(needs: Needs) -> Result<Self, SettingsError> {
        Self::from_process_with(needs, &|_| None)
    }

    /// Reads the settings of this process, with the values of arguments in place of its environment.
    ///
    /// # Errors
    /// [`SettingsError`] with every problem.
    pub fn from_process_with(
        needs: Needs,
        arguments: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, SettingsError> {
        let file = Path::new(FILE);
        // What is not UTF-8 must be told, and not count as not set.
        let variable = |name: &str| Some(std::env::var_os(name)?.to_string_lossy().into_owned());
        let environment = |name: &str| arguments(name).or_else(|| variable(name));
        Self::read(&environment, file.exists().then_some(file), needs)
    }

    /// Reads settings from an environment and a file.
    ///
    /// # Errors
    /// [`SettingsError`] with every problem.
    pub fn read(
        environment: &dyn Fn(&str) -> Option<String>,
        file: Option<&Path>,
        needs: Needs,
    ) -> Result<Self, SettingsError> {
        let mut reader = SettingsReader::new(environment, file);
        let supabase = accounts::supabase(&mut reader, needs.supabase);
        let sweep_every = reader.duration(&durations::SWEEP_EVERY, Some(SWEEP_EVERY)).unwrap_or(SWEEP_EVERY);
        let catalog = ingest::catalog(&mut reader);
        let burst = ingest::burst(&mut reader);
        let hub = accounts::hub(&mut reader, needs.hub);
        let nats = broker::nats(&mut reader);
        let nats_streams = broker::streams(&mut reader);
        let ack_wait_is_set = reader.is_set("TRAIN_ACK_WAIT");
        let ack_wait = reader.duration(&durations::TRAIN_ACK_WAIT, Some(ACK_WAIT)).unwrap_or(ACK_WAIT);
        let stop_deadline =
            reader.duration(&durations::STOP_DEADLINE, Some(STOP_DEADLINE)).unwrap_or_default();
        let trainer_start = trainer_start::trainer_start(&mut reader);
        let checkpoints = checkpoints::checkpoints(&mut reader);
        let trigger = trigger(&mut reader);
        let recipe = recipe(&mut reader);
        let tokenizer = tokenizer(&mut reader);
        let synthesis = evaluation::synthesis(&mut reader);
        let hold_out = evaluation::hold_out(&mut reader);
        let gate = evaluation::gate(&mut reader);
        let templates = templates::templates(&mut reader);
        let base_model = reader.parse_or(
            "BASE_MODEL",
            "a folder or a Hub name",
            "sentence-transformers/all-MiniLM-L6-v2".to_owned(),
            |_| true,
        );
        let data_budget = reader.parse_if_set("DATA_BUDGET", "a size, such as 512MiB or 4GB", |text| {
            text.parse().ok().map(|ByteSize(bytes)| bytes)
        });
        let data_budget = data_budget.unwrap_or(DATA_BUDGET);
        let base_model_folders = folders(&mut reader, "BASE_MODEL_FOLDERS");
        let data_dir = PathBuf::from(reader.parse_or("DATA_DIR", "a folder", "data".to_owned(), |_| true));
        let runtime_library = library(&mut reader, needs.runtime);
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let threads =
            reader.parse_or("TRAIN_THREADS", "from 1 to 256", cores, |threads| (1..=256).contains(threads));
        let device = reader.parse_or("TRAIN_DEVICE", "cpu or cuda", Device::Cpu, |_| true);
        let webhook_secret = reader.secret("WEBHOOK_SECRET");
        let alerts = alerts::alerts(&mut reader);
        reader.check_length("WEBHOOK_SECRET", webhook_secret.as_ref());
        let console_token = reader.own_secret("CONSOLE_TOKEN");
        let http_address = reader.parse_or(
            "HTTP_ADDR",
            "an address with a port, such as 0.0.0.0:8080",
            SocketAddr::from(([0, 0, 0, 0], 8080)),
            |_| true,
        );
        reader.finish();
        if !reader.problems.is_empty() {
            return Err(SettingsError(reader.problems));
        }
        Ok(Self {
            supabase,
            sweep_every,
            catalog,
            burst,
            hub,
            nats,
            nats_streams,
            ack_wait,
            ack_wait_is_set,
            stop_deadline,
            trainer_start,
            checkpoints,
            trigger,
            recipe,
            tokenizer,
            synthesis,
            hold_out,
            gate,
            templates,
            base_model,
            base_model_folders,
            data_dir,
            data_budget,
            runtime_library,
            threads,
            device,
            webhook_secret,
            alerts,
            console_token,
            http_address,
            names: reader.known.iter().map(|name| name.to_uppercase()).collect(),
            effective: reader.effective,
        })
    }
}

fn trigger(reader: &mut SettingsReader<'_>) -> TriggerPolicy {
    TriggerPolicy {
        threshold: reader.parse_or("TRAIN_THRESHOLD", "a whole number from 1", 100, |n: &u64| *n > 0),
        max_wait: reader.duration(&durations::TRAIN_MAX_WAIT, Some(Duration::from_secs(7 * 24 * 3600))),
        quiet: reader.duration(&durations::TRAIN_QUIET, None),
        cooldown: reader
            .duration(&durations::TRAIN_COOLDOWN, Some(Duration::from_secs(600)))
            .unwrap_or_default(),
    }
}

fn tokenizer(reader: &mut SettingsReader<'_>) -> TokenizerChoice {
    let choice = reader.parse_if_set("TRAIN_TOKENIZER", "keep or characters", |text| match text {
        "keep" => Some(TokenizerChoice::Keep),
        "characters" => Some(TokenizerChoice::Characters),
        _ => None,
    });
    choice.unwrap_or(TokenizerChoice::Characters)
}

fn recipe(reader: &mut SettingsReader<'_>) -> Recipe {
    let default = Recipe::default();
    Recipe {
        epochs: reader.number("TRAIN_EPOCHS", &ranges::EPOCHS, default.epochs),
        batch_size: reader.number("TRAIN_BATCH_SIZE", &ranges::BATCH_SIZE, default.batch_size),
        learning_rate: reader.number("TRAIN_LEARNING_RATE", &ranges::LEARNING_RATE, default.learning_rate),
        label_smoothing: reader.number(
            "TRAIN_LABEL_SMOOTHING",
            &ranges::LABEL_SMOOTHING,
            default.label_smoothing,
        ),
        hard_negatives: reader.number(
            "TRAIN_HARD_NEGATIVES",
            &ranges::HARD_NEGATIVES,
            default.hard_negatives,
        ),
        early_stop: early_stop(reader),
        dropout: reader.parse_or("TRAIN_DROPOUT", "true or false", default.dropout, |_| true),
        seed: reader.parse_or("TRAIN_SEED", "a whole number", default.seed, |_| true),
        ..default
    }
}

fn early_stop(reader: &mut SettingsReader<'_>) -> Option<EarlyStop> {
    let metric = reader.parse_if_set("TRAIN_EARLY_STOP", "off, loss or accuracy", |text| match text {
        "off" => Some(None),
        "loss" => Some(Some(Metric::Loss)),
        "accuracy" => Some(Some(Metric::Accuracy)),
        _ => None,
    });
    let patience = reader.number("TRAIN_PATIENCE", &ranges::PATIENCE, DEFAULT_PATIENCE);
    let every = reader.parse_if_set("TRAIN_ASSESS_EVERY", "epoch, or a number of steps from 1", |text| {
        let steps = || text.parse().ok().filter(|steps| ranges::ASSESS_EVERY.contains(steps));
        if text == "epoch" { Some(None) } else { steps().map(Some) }
    });
    metric.flatten().map(|metric| EarlyStop { metric, patience, every: every.flatten() })
}

/// Returns a list of folders, separated by commas.
fn folders(reader: &mut SettingsReader<'_>, name: &'static str) -> Vec<PathBuf> {
    let parse = |text: &str| {
        let folders: Vec<PathBuf> = text.split(',').map(|folder| PathBuf::from(folder.trim())).collect();
        folders.iter().all(|folder| folder.is_absolute() && folder.is_dir()).then_some(folders)
    };
    reader
        .parse_if_set(name, "existing folders by absolute path, separated by commas", parse)
        .unwrap_or_default()
}

fn library(reader: &mut SettingsReader<'_>, needed: bool) -> PathBuf {
    let path = reader.path("ORT_DYLIB_PATH").unwrap_or_else(|| PathBuf::from("libonnxruntime.so"));
    // The system's loader resolves a bare name; a path that doesn't exist is reported here.
    if needed && path.components().count() > 1 && !path.exists() {
        reader.problem(
            "ORT_DYLIB_PATH",
            format!("is {}, which doesn't exist", quote(&path.display().to_string())),
        );
    }
    path
}
