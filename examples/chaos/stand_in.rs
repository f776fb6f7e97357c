//! A stand-in as a process of its own, which takes orders on its standard input.
//!
//! Each order is a line of JSON, and so is its answer. The first line of the output has the address and
//! the keys.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use autovalidate::ingest::webhook::SECRET_HEADER;
use autovalidate_fakes::{hub, supabase};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::faults::{HubFault, SupabaseFault};

/// Order to a stand-in.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Order {
    /// Inserts a row. The answer is its id.
    Insert { typo: String, corrected: String },
    /// Changes a row. The answer is true when the row exists.
    Update { id: i64, typo: String, corrected: String },
    /// Deletes a row. The answer is true when the row existed.
    Delete { id: i64 },
    /// Empties the table, and starts its ids anew.
    Truncate,
    /// Switches a fault of the local Supabase.
    Supabase { fault: SupabaseFault, on: bool },
    /// Switches a fault of the local Hub.
    Hub { fault: HubFault, on: bool },
    /// Ends every fault.
    Calm,
}

/// Stand-in that this process is.
#[derive(clap::Subcommand)]
pub(crate) enum StandInArgs {
    /// The local Supabase.
    Supabase {
        /// Address that its webhook calls.
        #[arg(long)]
        webhook: url::Url,
        /// Secret of its webhook.
        #[arg(long)]
        secret: String,
    },
    /// The local Hub.
    Hub {
        /// Folder of its repos.
        #[arg(long)]
        folder: PathBuf,
        /// Token that may write.
        #[arg(long)]
        token: String,
    },
}

/// Serves the stand-in until standard input ends.
pub(crate) async fn serve(args: StandInArgs) -> anyhow::Result<()> {
    match args {
        StandInArgs::Supabase { webhook, secret } => {
            let webhook = supabase::Webhook { url: webhook, header: SECRET_HEADER.to_owned(), secret };
            let supabase = supabase::Supabase::start(quick(webhook)).await?;
            println!("{}", json!({ "url": supabase.url().as_str(), "key": supabase.service_key() }));
            obey(|order| Ok(table_order(&supabase, order))).await
        }
        StandInArgs::Hub { folder, token } => {
            let options = hub::Options { token: SecretString::from(token), ..hub::Options::new(folder) };
            let hub = hub::Hub::start(options).await?;
            println!("{}", json!({ "url": hub.url().as_str() }));
            obey(|order| Ok(hub_order(&hub, &order))).await
        }
    }
}

/// Returns options of a local Supabase with shorter delays than the real one.
fn quick(webhook: supabase::Webhook) -> supabase::Options {
    supabase::Options {
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        poll: Duration::from_millis(50),
        subscribed_delay: Duration::from_millis(20),
        upgrade_error_delay: Duration::from_millis(100),
        join_error_delay: Duration::from_millis(100),
        webhook: Some(webhook),
        ..supabase::Options::default()
    }
}

async fn obey(mut act: impl FnMut(Order) -> anyhow::Result<Value>) -> anyhow::Result<()> {
    let (sender, mut lines) = tokio::sync::mpsc::channel(1);
    // The thread ends with the input, or with the process.
    std::thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            if sender.blocking_send(line).is_err() {
                return;
            }
        }
    });
    while let Some(line) = lines.recv().await {
        let order = serde_json::from_str(&line).with_context(|| format!("no order: {line}"))?;
        println!("{}", act(order)?);
    }
    Ok(())
}

fn table_order(supabase: &supabase::Supabase, order: Order) -> Value {
    match order {
        Order::Insert { typo, corrected } => json!(supabase.insert(&typo, &corrected, "brand")),
        Order::Update { id, typo, corrected } => json!(supabase.update(id, &typo, &corrected, "brand")),
        Order::Delete { id } => json!(supabase.delete(id)),
        Order::Truncate => json!(supabase.truncate_restart_identity()),
        Order::Supabase { fault, on } => json!(fault.set(supabase.faults(), on)),
        Order::Calm => json!(supabase.faults().clear()),
        Order::Hub { .. } => Value::Null,
    }
}

fn hub_order(hub: &hub::Hub, order: &Order) -> Value {
    match order {
        Order::Hub { fault, on } => json!(fault.set(hub.faults(), *on)),
        Order::Calm => json!(hub.faults().clear()),
        _ => Value::Null,
    }
}
