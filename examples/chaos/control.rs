//! The stand-ins as seen from outside: their addresses, and orders to them.

use std::path::Path;
use std::process::Stdio;

use anyhow::Context;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use super::process::{Signal, send};
use super::stand_in::Order;

/// A stand-in's process.
pub(crate) struct StandIn {
    pub(crate) url: String,
    /// Key of the local Supabase that sees every row; empty for the Hub.
    pub(crate) key: String,
    frozen: bool,
    child: Child,
    orders: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

impl StandIn {
    /// Starts this program as a stand-in with these arguments, and waits for its address.
    pub(crate) async fn start(arguments: &[&str], log: &Path) -> anyhow::Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg("stand-in")
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(log)?)
            .kill_on_drop(true)
            .spawn()?;
        let orders = child.stdin.take().context("no input")?;
        let mut answers = BufReader::new(child.stdout.take().context("no output")?).lines();
        let told = answers.next_line().await?.context("the stand-in ended at its start")?;
        let told: Value = serde_json::from_str(&told)?;
        let text = |name: &str| told[name].as_str().unwrap_or_default().to_owned();
        Ok(Self { url: text("url"), key: text("key"), frozen: false, child, orders, answers })
    }

    /// Gives an order, and returns the answer; `None` while the process is frozen.
    pub(crate) async fn order(&mut self, order: &Order) -> anyhow::Result<Option<Value>> {
        if self.frozen {
            return Ok(None);
        }
        let line = format!("{}\n", serde_json::to_string(order)?);
        self.orders.write_all(line.as_bytes()).await?;
        let answer = self.answers.next_line().await?.context("a stand-in ended")?;
        Ok(Some(serde_json::from_str(&answer)?))
    }

    /// Freezes the process, or lets it go on.
    pub(crate) fn freeze(&mut self, on: bool) {
        let signal = if on { Signal::SIGSTOP } else { Signal::SIGCONT };
        self.frozen = on;
        send(self.child.id(), signal);
    }

    pub(crate) fn pid(&self) -> Option<u32> {
        self.child.id()
    }
}
