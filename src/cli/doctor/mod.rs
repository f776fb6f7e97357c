//! `autovalidate doctor`: checks everything that a worker needs, in the way the worker uses it.
//!
//! ```text
//! finding    the result of one check
//! machine    checks of this machine
//! accounts   checks of the services
//! end_to_end checks that write a row, or call a worker
//! ```

mod accounts;
mod end_to_end;
mod finding;
mod machine;

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use url::Url;

use crate::broker::Broker;
use crate::settings::{Nats, Needs};
use autovalidate_finetune::onnx::Runtime;

use super::config::settings;
use super::signals::stop_on_signal;
use super::{CliError, CommandOutcome, print_json, print_text};
use finding::{Finding, Outcome};

/// Time that one check may take.
const CHECK_TIMEOUT: Duration = Duration::from_secs(20);

/// Checks the settings, ONNX Runtime, the data directory, the port, a NATS server that somebody else
/// runs, the table, Realtime, the catalog, the Hub, the base model, and the start of trainers. Changes
/// nothing, but for a row that --insert asks for and removes.
///
/// Example: autovalidate doctor --insert --webhook https://trainer.example.com/hooks/supabase
#[derive(clap::Args)]
pub(super) struct Args {
    /// Prints JSON.
    #[arg(long)]
    json: bool,
    /// Also inserts a row that no worker trains on, waits until Realtime shows it, and removes it. Needs
    /// SUPABASE_SERVICE_KEY, and the privileges to insert and delete.
    #[arg(long)]
    insert: bool,
    /// Also calls the worker's webhook at this URL as the database does, with WEBHOOK_SECRET. The worker
    /// sweeps the table once.
    #[arg(long, value_name = "URL", value_parser = address)]
    webhook: Option<Url>,
}

/// Parses the URL of a webhook. It may have a wrong path, which the check tells.
fn address(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
    let url = url.filter(|url| url.username().is_empty() && url.password().is_none());
    url.ok_or_else(|| "give a URL such as https://trainer.example.com/hooks/supabase".to_owned())
}

/// Findings so far. Each is printed as soon as it is known, unless JSON is wanted.
struct Findings {
    all: Vec<Finding>,
    prints: bool,
}

impl Findings {
    fn add(&mut self, finding: Finding) -> Result<(), CliError> {
        if self.prints {
            print_text(&finding.lines())?;
        }
        self.all.push(finding);
        Ok(())
    }
}

pub(super) async fn run(args: Args, at_once: CancellationToken) -> Result<CommandOutcome, CliError> {
    let settings = settings(Needs { supabase: true, hub: true, runtime: true })?;
    let mut findings = Findings { all: Vec::new(), prints: !args.json };
    findings.add(Finding::ok("settings", "complete"))?;
    let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    for finding in machine::misspelled(&settings, names) {
        findings.add(finding)?;
    }
    let library = Runtime::load(&settings.runtime_library, settings.threads)
        .and_then(|runtime| runtime.on(settings.device));
    findings.add(match library {
        Ok(runtime) => {
            Finding::ok("ONNX Runtime", format!("{}, {} threads", runtime.device(), runtime.threads()))
        }
        Err(error) => Finding::of("ONNX Runtime", &error),
    })?;
    findings.add(machine::data_dir(&settings.data_dir))?;
    findings.add(machine::port(&settings).await)?;
    // An embedded server belongs to a worker, which starts it with its store.
    if let Nats::Remote(remote) = &settings.nats {
        findings.add(accounts::nats(Broker::Remote(remote.clone()), &settings).await)?;
    }
    if let Some(access) = &settings.supabase {
        findings.add(accounts::table(access).await)?;
        findings.add(accounts::realtime(access).await)?;
        if args.insert {
            // A signal must not leave the row behind.
            let (stop, _signals) = stop_on_signal(at_once);
            findings.add(end_to_end::row(access, &stop).await)?;
        }
        if let Some(url) = &args.webhook {
            findings.add(end_to_end::webhook(url, &settings, access).await)?;
        }
    }
    findings.add(accounts::catalog(&settings).await)?;
    if let Some(access) = settings.hub.clone() {
        findings.add(accounts::hub(access).await)?;
    }
    findings.add(machine::base_model(&settings).await)?;
    if let Some(launcher) = crate::worker::launcher(&settings.trainer_start)? {
        let found = tokio::time::timeout(CHECK_TIMEOUT, launcher.check()).await;
        findings.add(match found {
            Ok(Ok(found)) => Finding::ok("trainer start", found),
            Ok(Err(error)) => Finding::of("trainer start", &error),
            Err(_) => Finding::late("trainer start"),
        })?;
    }
    if args.json {
        print_json(&findings.all)?;
    }
    match findings.all.iter().filter(|finding| finding.outcome == Outcome::Failed).count() {
        0 => Ok(CommandOutcome::Done),
        1 => Err(CliError::plain("one check failed", "Fix it as shown, then run this again.")),
        failed => Err(CliError::plain(
            format!("{failed} checks failed"),
            "Fix them in the order shown, then run this again.",
        )),
    }
}
