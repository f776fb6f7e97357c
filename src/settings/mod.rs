//! Settings of the program, read once at startup and checked as a whole.
//!
//! Owns the names and defaults of settings, and the message that lists every problem at once. Never
//! reads a setting after startup: other modules receive plain values. Secrets are wrapped and print
//! as `***`, and so does a password or key in any other setting (`crate::redaction`).
//!
//! ```text
//! reader.rs         lookup in the environment and the file
//! shown.rs          problems, and the values in force
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
//! training.rs       start, tokens and parameters of training
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
mod shown;
mod templates;
mod trainer_start;
mod training;

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
use autovalidate_finetune::train::Recipe;

use reader::SettingsReader;

pub use broker::{Nats, NatsStreams};
use byte_size::ByteSize;
pub use checkpoints::{CheckpointPlace, CheckpointSettings};
pub use shown::{Effective, Problem, SettingSource};
pub use trainer_start::TrainerStart;
pub use training::DEFAULT_PATIENCE;

/// Name of the settings file, which is read from the working directory.
pub const FILE: &str = "autovalidate.toml";

/// Default size of replaceable files: some twenty models of the default's size with their zips.
const DATA_BUDGET: &str = "4GiB";

/// Default acknowledgement wait: long enough for a leader election among the brokers, short enough
/// that a dead worker's job is soon delivered again.
const ACK_WAIT: Duration = Duration::from_secs(60);
/// Default time that a stopping worker has. Platforms that stop a machine usually allow it five
/// minutes at most (Fly: 300 s); this stays below that.
const STOP_DEADLINE: Duration = Duration::from_secs(240);
/// Default time between sweeps of the table. Sweeps guarantee that no row is lost, so they can't be
/// turned off.
const SWEEP_EVERY: Duration = Duration::from_secs(60);

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
        "Correct them in the environment or in autovalidate.toml; `autovalidate init` writes a new installation's."
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

    /// Reads the settings of this process from its environment, with the values of arguments in its
    /// place, and from a file, which must exist.
    ///
    /// # Errors
    /// [`SettingsError`] with every problem.
    pub fn from_process(
        needs: Needs,
        arguments: &dyn Fn(&str) -> Option<String>,
        file: Option<&Path>,
    ) -> Result<Self, SettingsError> {
        // What is not UTF-8 must be told, and not count as not set.
        let variable = |name: &str| Some(std::env::var_os(name)?.to_string_lossy().into_owned());
        let environment = |name: &str| arguments(name).or_else(|| variable(name));
        Self::read(&environment, file, needs)
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
        let trigger = training::trigger(&mut reader);
        let recipe = training::recipe(&mut reader);
        let tokenizer = training::tokenizer(&mut reader);
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
        let data_budget =
            reader.choice("DATA_BUDGET", "a size, such as 512MiB or 4GB", DATA_BUDGET, |text| {
                text.parse().ok().map(|ByteSize(bytes)| bytes)
            });
        let data_budget = data_budget.unwrap_or_default();
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
        // Read by the Hub's library and by the logs.
        reader.note_variable("HF_HOME");
        reader.note_variable("RUST_LOG");
        reader.note_variable("OTEL_EXPORTER_OTLP_ENDPOINT");
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
    let path = PathBuf::from(reader.text_or("ORT_DYLIB_PATH", "libonnxruntime.so"));
    // The system's loader resolves a bare name; a path that doesn't exist is reported here.
    if needed && path.components().count() > 1 && !path.exists() {
        reader.problem(
            "ORT_DYLIB_PATH",
            format!("is {}, which doesn't exist", quote(&path.display().to_string())),
        );
    }
    path
}
