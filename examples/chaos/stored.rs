//! The streams as the broker has them, read without any code of the product.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context;
use async_nats::jetstream;
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, pull};
use futures::StreamExt;
use serde_json::Value;

use super::truth::Texts;

/// Messages that are asked for at once.
const BATCH: usize = 500;

/// A message with a row.
#[derive(Debug)]
pub(crate) struct StoredRow {
    /// Its message id.
    pub(crate) id: String,
    pub(crate) texts: Texts,
    pub(crate) is_quarantined: bool,
    series: u64,
    version: u64,
}

/// Contents of both streams of rows.
#[derive(Debug, Default)]
pub(crate) struct Stored {
    pub(crate) rows: Vec<StoredRow>,
    /// Series and ids of rows that were erased.
    erased: BTreeSet<(u64, i64)>,
    ids: BTreeMap<String, usize>,
}

impl Stored {
    /// Reads both streams.
    pub(crate) async fn read(jetstream: &jetstream::Context) -> anyhow::Result<Self> {
        let mut stored = Self::default();
        for stream in ["CORRECTIONS", "QUARANTINE"] {
            for message in messages(jetstream, stream, DeliverPolicy::All).await? {
                stored.add(&message, stream == "QUARANTINE")?;
            }
        }
        Ok(stored)
    }

    fn add(&mut self, message: &async_nats::Message, is_quarantined: bool) -> anyhow::Result<()> {
        let headers = message.headers.as_ref().context("a row without headers")?;
        let id = headers.get("Nats-Msg-Id").context("a row without a message id")?.as_str();
        let body: Value = serde_json::from_slice(&message.payload).unwrap_or_default();
        let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
        let row = body["id"].as_i64().unwrap_or_default();
        self.add_row(id, (row, text("typo"), text("corrected")), is_quarantined)
    }

    /// Adds a message of this id, such as `table:7`, `table:7:s1:v2` or `table:7:dropped`.
    pub(crate) fn add_row(&mut self, id: &str, texts: Texts, is_quarantined: bool) -> anyhow::Result<()> {
        *self.ids.entry(id.to_owned()).or_default() += 1;
        let mut parts = id.split(':').skip(1);
        let row: i64 =
            parts.next().and_then(|part| part.parse().ok()).context("a message id without a row")?;
        let (mut series, mut version, mut is_erased) = (0, 1, false);
        for part in parts {
            match (part.strip_prefix('s'), part.strip_prefix('v')) {
                _ if part == "dropped" => is_erased = true,
                (Some(number), _) => series = number.parse()?,
                (_, Some(number)) => version = number.parse()?,
                _ => anyhow::bail!("{id} is no message id of a row"),
            }
        }
        if is_erased {
            self.erased.insert((series, row));
            return Ok(());
        }
        anyhow::ensure!(row == texts.0, "{id} has the row {}", texts.0);
        self.rows.push(StoredRow { id: id.to_owned(), texts, is_quarantined, series, version });
        Ok(())
    }

    /// Returns the newest version of each row that was not erased.
    pub(crate) fn newest(&self) -> impl Iterator<Item = &StoredRow> {
        let mut newest: BTreeMap<(u64, i64), &StoredRow> = BTreeMap::new();
        for row in &self.rows {
            let key = (row.series, row.texts.0);
            if newest.get(&key).is_none_or(|known| known.version < row.version) && !self.erased.contains(&key)
            {
                newest.insert(key, row);
            }
        }
        newest.into_values()
    }

    /// Returns the ids of messages that are stored more than once.
    pub(crate) fn repeated_ids(&self) -> impl Iterator<Item = String> + '_ {
        self.ids.iter().filter(|(_, times)| **times > 1).map(|(id, _)| id.clone())
    }
}

/// Reads the messages of a stream.
pub(crate) async fn messages(
    jetstream: &jetstream::Context,
    stream: &str,
    deliver_policy: DeliverPolicy,
) -> anyhow::Result<Vec<async_nats::Message>> {
    let stream = jetstream.get_stream(stream).await?;
    let config = pull::Config {
        deliver_policy,
        // The newest message of each subject is delivered only where a filter is set.
        filter_subject: ">".to_owned(),
        ack_policy: AckPolicy::None,
        inactive_threshold: std::time::Duration::from_secs(10),
        ..pull::Config::default()
    };
    let consumer = stream.create_consumer(config).await?;
    let mut read = Vec::new();
    loop {
        let before = read.len();
        let mut batch = consumer.fetch().max_messages(BATCH).messages().await?;
        while let Some(message) = batch.next().await {
            let message = message.map_err(|error| anyhow::anyhow!("{error}"))?;
            read.push(message.message.clone());
        }
        if read.len() == before {
            return Ok(read);
        }
    }
}
