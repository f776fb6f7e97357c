//! Everything a person can set, read once at start and checked as a whole.
//!
//! Owns the names and defaults of settings, and the message that lists every problem at once. Never reads a
//! setting later than at start; the areas get plain values. Secrets are wrapped and print as `***`.

mod accounts;
mod broker;
mod checkpoints;
mod evaluation;
mod ingest;
mod reader;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::SecretString;

use crate::correction::Templates;
use crate::evaluate::HoldOut;
use crate::failure::{Failure, RetryDirective};
use crate::synthesis::SynthesisSettings;
use crate::trigger::TriggerPolicy;
use autovalidate_finetune::onnx::Device;
use autovalidate_finetune::train::{EarlyStop, MOST_HARD_NEGATIVES, Metric, Recipe};

use reader::SettingsReader;

pub use broker::Nats;
pub use checkpoints::{CheckpointPlace, CheckpointSettings};
pub use reader::{Effective, Problem, SettingSource};

/// The settings file looked for in the working directory.
pub const FILE: &str = "autovalidate.toml";

/// Long enough for a broker's change of leader, short enough that nobody waits for a dead worker.
const ACK_WAIT: Duration = Duration::from_secs(60);
/// A machine that is taken away usually gives five minutes at most (Fly: 300 s), which this stays below.
const STOP_DEADLINE: Duration = Duration::from_secs(240);
/// Time between sweeps of the table; they are what nothing is lost by, so they can't be turned off.
const SWEEP_EVERY: Duration = Duration::from_secs(60);

/// Assessments in a row without a better one that end a run, when a metric is set and this isn't.
pub const PATIENCE: usize = 3;

/// What a command needs to have been set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Needs {
    /// Where corrections come from.
    pub supabase: bool,
    /// Where models come from and go.
    pub hub: bool,
    /// The library to compute with.
    pub runtime: bool,
}

/// Everything a person can set.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The table corrections are inserted into; `None` when not set and not needed.
    pub supabase: Option<crate::ingest::TableAccess>,
    /// Time between sweeps of the table when nothing else asks for one.
    pub sweep_every: Duration,
    /// The names a correction may be; `None` when any name will do.
    pub catalog: Option<crate::ingest::CatalogSource>,
    /// When rows come from nowhere; `None` when any rate will do.
    pub burst: Option<crate::corrections::BurstLimit>,
    /// The repository models are published to; `None` when not set and not needed.
    pub hub: Option<crate::hub::HubAccess>,
    /// The message broker.
    pub nats: Nats,
    /// Copies of every stream and bucket, in a cluster.
    pub nats_replicas: usize,
    /// How long after a worker's last sign of life its job goes to another.
    pub ack_wait: Duration,
    /// How long a stopping worker has to finish what it is at.
    pub stop_deadline: Duration,
    /// How often training writes down where it stands, and where that goes.
    pub checkpoints: CheckpointSettings,
    /// When training starts.
    pub trigger: TriggerPolicy,
    /// How training is done.
    pub recipe: Recipe,
    /// How typos are made up beside the real ones.
    pub synthesis: SynthesisSettings,
    /// What is held out.
    pub hold_out: HoldOut,
    /// How the gate judges.
    pub gate: crate::evaluate::GatePolicy,
    /// What the model sees of a text.
    pub templates: Templates,
    /// Folder or Hub name of the model training starts from when nothing has been published yet.
    pub base_model: String,
    /// Where state is kept.
    pub data_dir: PathBuf,
    /// The ONNX Runtime library.
    pub runtime_library: PathBuf,
    /// Threads to train with.
    pub threads: usize,
    /// Where to train.
    pub device: Device,
    /// The secret a webhook must carry; without it webhooks are refused.
    pub webhook_secret: Option<SecretString>,
    /// Where health, metrics and the webhook are served.
    pub http_address: SocketAddr,
    /// Every setting as it is in force, with secrets as `***`.
    pub effective: Vec<Effective>,
}

/// Settings that can't be used. Shows every problem, one a line.
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
        "Set them in the environment or in autovalidate.toml; `autovalidate init` prints a template."
            .to_owned()
    }
}

impl Settings {
    /// Where names beside those of the rows come from, if anywhere.
    pub fn names(&self) -> Option<crate::run::NameSource> {
        let source = self.catalog.clone()?;
        Some(crate::run::NameSource { source, access: self.supabase.clone() })
    }

    /// Reads the settings of this process: its environment and `autovalidate.toml` in its working directory.
    ///
    /// # Errors
    /// [`SettingsError`] with every problem.
    pub fn from_process(needs: Needs) -> Result<Self, SettingsError> {
        let file = Path::new(FILE);
        Self::read(&|name| std::env::var(name).ok(), file.exists().then_some(file), needs)
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
        let sweep_every = reader.duration("SWEEP_EVERY", Some(SWEEP_EVERY)).unwrap_or(SWEEP_EVERY);
        let catalog = ingest::catalog(&mut reader);
        let burst = ingest::burst(&mut reader);
        let hub = accounts::hub(&mut reader, needs.hub);
        let nats = broker::nats(&mut reader);
        let nats_replicas = reader.parse_or("NATS_REPLICAS", "1, 3 or 5", 1, |n| [1, 3, 5].contains(n));
        let ack_wait = reader.duration("TRAIN_ACK_WAIT", Some(ACK_WAIT)).unwrap_or(ACK_WAIT);
        let stop_deadline = reader.duration("STOP_DEADLINE", Some(STOP_DEADLINE)).unwrap_or_default();
        let checkpoints = checkpoints::checkpoints(&mut reader);
        let trigger = trigger(&mut reader);
        let recipe = recipe(&mut reader);
        let synthesis = evaluation::synthesis(&mut reader);
        let hold_out = evaluation::hold_out(&mut reader);
        let gate = evaluation::gate(&mut reader);
        let templates = templates(&mut reader);
        let base_model = reader.parse_or(
            "BASE_MODEL",
            "a folder or a Hub name",
            "sentence-transformers/all-MiniLM-L6-v2".to_owned(),
            |_| true,
        );
        let data_dir = PathBuf::from(reader.parse_or("DATA_DIR", "a folder", "data".to_owned(), |_| true));
        let runtime_library = library(&mut reader, needs.runtime);
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let threads =
            reader.parse_or("TRAIN_THREADS", "from 1 to 256", cores, |threads| (1..=256).contains(threads));
        let device = reader.parse_or("TRAIN_DEVICE", "cpu or cuda", Device::Cpu, |_| true);
        let webhook_secret = reader.secret("WEBHOOK_SECRET");
        let http_address = reader.parse_or(
            "HTTP_ADDR",
            "an address with a port, such as 0.0.0.0:8080",
            SocketAddr::from(([0, 0, 0, 0], 8080)),
            |_| true,
        );
        reader.report_unknown();
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
            nats_replicas,
            ack_wait,
            stop_deadline,
            checkpoints,
            trigger,
            recipe,
            synthesis,
            hold_out,
            gate,
            templates,
            base_model,
            data_dir,
            runtime_library,
            threads,
            device,
            webhook_secret,
            http_address,
            effective: reader.effective,
        })
    }
}

fn trigger(reader: &mut SettingsReader<'_>) -> TriggerPolicy {
    TriggerPolicy {
        threshold: reader.parse_or("TRAIN_THRESHOLD", "a whole number from 1", 100, |n: &u64| *n > 0),
        max_wait: reader.duration("TRAIN_MAX_WAIT", Some(Duration::from_secs(7 * 24 * 3600))),
        quiet: reader.duration("TRAIN_QUIET", None),
        cooldown: reader.duration("TRAIN_COOLDOWN", Some(Duration::from_secs(600))).unwrap_or_default(),
    }
}

fn recipe(reader: &mut SettingsReader<'_>) -> Recipe {
    let default = Recipe::default();
    let whole = |range: std::ops::RangeInclusive<usize>| move |n: &usize| range.contains(n);
    Recipe {
        epochs: reader.parse_or("TRAIN_EPOCHS", "from 1 to 1000", default.epochs, whole(1..=1_000)),
        batch_size: reader.parse_or(
            "TRAIN_BATCH_SIZE",
            "from 2 to 4096",
            default.batch_size,
            whole(2..=4_096),
        ),
        learning_rate: reader.parse_or(
            "TRAIN_LEARNING_RATE",
            "above 0 and below 1",
            default.learning_rate,
            |rate| *rate > 0.0 && *rate < 1.0,
        ),
        label_smoothing: reader.parse_or(
            "TRAIN_LABEL_SMOOTHING",
            "at least 0 and below 1",
            default.label_smoothing,
            |share| (0.0..1.0).contains(share),
        ),
        hard_negatives: reader.parse_or(
            "TRAIN_HARD_NEGATIVES",
            "from 0 to 10",
            default.hard_negatives,
            whole(0..=MOST_HARD_NEGATIVES),
        ),
        early_stop: early_stop(reader),
        dropout: reader.parse_or("TRAIN_DROPOUT", "true or false", default.dropout, |_| true),
        seed: reader.parse_or("TRAIN_SEED", "a whole number", default.seed, |_| true),
        ..default
    }
}

fn early_stop(reader: &mut SettingsReader<'_>) -> Option<EarlyStop> {
    let metric = match reader.text("TRAIN_EARLY_STOP").as_deref() {
        None | Some("off") => None,
        Some("loss") => Some(Metric::Loss),
        Some("accuracy") => Some(Metric::Accuracy),
        Some(other) => {
            reader.problem("TRAIN_EARLY_STOP", format!("is {other:?}; it must be off, loss or accuracy"));
            None
        }
    };
    let patience = reader.parse_or("TRAIN_PATIENCE", "from 1 to 1000", PATIENCE, |n| (1..=1_000).contains(n));
    let every = match reader.text("TRAIN_ASSESS_EVERY").as_deref() {
        None | Some("epoch") => None,
        Some(steps) => {
            let parsed = steps.parse().ok().filter(|steps| *steps > 0);
            if parsed.is_none() {
                let problem = format!("is {steps:?}; it must be epoch, or a number of steps from 1");
                reader.problem("TRAIN_ASSESS_EVERY", problem);
            }
            parsed
        }
    };
    metric.map(|metric| EarlyStop { metric, patience, every })
}

fn templates(reader: &mut SettingsReader<'_>) -> Templates {
    let Some(entries) = reader.table("templates") else { return Templates::default() };
    let mut templates = Templates { domains: Default::default(), fallback: Templates::default().fallback };
    for (domain, template) in entries {
        if !template.contains("{text}") {
            reader.problem(&format!("templates.{domain}"), "must contain {text}");
        }
        if domain == "default" {
            templates.fallback = template;
        } else {
            templates.domains.insert(domain, template);
        }
    }
    templates
}

fn library(reader: &mut SettingsReader<'_>, needed: bool) -> PathBuf {
    let path = reader.path("ORT_DYLIB_PATH").unwrap_or_else(|| PathBuf::from("libonnxruntime.so"));
    // A bare name is left to the system's loader; a path that isn't there is a mistake we can name now.
    if needed && path.components().count() > 1 && !path.exists() {
        reader.problem("ORT_DYLIB_PATH", format!("is {}, which doesn't exist", path.display()));
    }
    path
}
