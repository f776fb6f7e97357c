//! Setting up a stream or bucket: creation, change, and the check by reading back. And opening one
//! that a worker has set up, without a change.

use std::time::Duration;

use async_nats::jetstream::context::GetStreamErrorKind;
use async_nats::jetstream::stream::{self, DiscardPolicy, RetentionPolicy, StorageType, Stream};
use async_nats::jetstream::{self, ErrorCode, kv};

use super::error::BrokerError;

/// The settings of a stream that this program depends on.
pub(super) struct Wanted {
    pub(super) name: &'static str,
    pub(super) subjects: Vec<&'static str>,
    pub(super) retention: RetentionPolicy,
    pub(super) discard: DiscardPolicy,
    pub(super) max_age: Duration,
    pub(super) max_bytes: i64,
    pub(super) duplicate_window: Duration,
    pub(super) replicas: usize,
}

impl Wanted {
    fn apply(&self, config: &mut stream::Config) {
        config.name = self.name.to_owned();
        config.subjects = self.subjects.iter().map(|subject| (*subject).to_owned()).collect();
        config.retention = self.retention;
        config.discard = self.discard;
        config.storage = StorageType::File;
        config.max_age = self.max_age;
        config.max_bytes = self.max_bytes;
        config.max_messages = -1;
        config.max_messages_per_subject = -1;
        config.duplicate_window = self.duplicate_window;
        config.num_replicas = self.replicas;
        config.allow_direct = true;
        config.no_ack = false;
    }

    /// Returns the first setting that is not as wanted.
    fn mismatch(&self, config: &stream::Config) -> Option<&'static str> {
        let checks = [
            (config.subjects == self.subjects, "subjects"),
            (config.retention == self.retention, "retention"),
            (config.discard == self.discard, "discard policy"),
            (config.storage == StorageType::File, "storage"),
            (config.max_age == self.max_age, "max age"),
            (config.max_bytes == self.max_bytes, "max bytes"),
            (config.max_messages == -1, "max messages"),
            (config.max_messages_per_subject == -1, "max messages per subject"),
            (config.duplicate_window == self.duplicate_window, "duplicate window"),
            (config.num_replicas == self.replicas, "replicas"),
            (config.allow_direct, "direct access"),
            (!config.no_ack, "acknowledgement"),
        ];
        checks.into_iter().find(|(holds, _)| !holds).map(|(_, setting)| setting)
    }
}

/// Creates a stream, or changes the settings that differ, and reads it back.
pub(super) async fn ensure_stream(
    context: &jetstream::Context,
    wanted: Wanted,
) -> Result<Stream, BrokerError> {
    let name = wanted.name;
    match context.get_stream(name).await {
        Ok(existing) => {
            let config = &existing.cached_info().config;
            if let Some(setting) = wanted.mismatch(config) {
                tracing::info!(stream = name, setting, "updating a stream's settings");
                let mut config = config.clone();
                wanted.apply(&mut config);
                context
                    .update_stream(config)
                    .await
                    .map_err(|error| BrokerError::SetUp { name, source: error.into() })?;
            }
        }
        Err(error) if is_not_found(&error.kind()) => {
            let mut config = stream::Config::default();
            wanted.apply(&mut config);
            context
                .create_stream(config)
                .await
                .map_err(|error| BrokerError::SetUp { name, source: error.into() })?;
        }
        Err(error) => return Err(BrokerError::request("reading a stream's configuration")(error)),
    }
    let stream = context.get_stream(name).await.map_err(BrokerError::request("reading a stream back"))?;
    match wanted.mismatch(&stream.cached_info().config) {
        None => Ok(stream),
        Some(setting) => Err(BrokerError::Mismatch { name, setting }),
    }
}

/// Returns true when the error says that the stream does not exist.
pub(super) fn is_not_found(kind: &GetStreamErrorKind) -> bool {
    matches!(kind, GetStreamErrorKind::JetStream(error) if error.error_code() == ErrorCode::STREAM_NOT_FOUND)
}

/// Creates a bucket, or changes the settings that differ, and reads it back.
pub(super) async fn ensure_bucket(
    context: &jetstream::Context,
    name: &'static str,
    history: i64,
    replicas: usize,
) -> Result<kv::Store, BrokerError> {
    let config = kv::Config {
        bucket: name.to_owned(),
        history,
        storage: StorageType::File,
        num_replicas: replicas,
        ..Default::default()
    };
    let store = context
        .create_or_update_key_value(config)
        .await
        .map_err(|error| BrokerError::SetUp { name, source: error.into() })?;
    let info = store.stream.get_info().await.map_err(BrokerError::request("reading a bucket back"))?;
    require(
        name,
        [
            (info.config.storage == StorageType::File, "storage"),
            (info.config.num_replicas == replicas, "replicas"),
            (info.config.max_messages_per_subject == history, "history"),
            (info.config.max_age.is_zero(), "max age"),
        ],
    )?;
    Ok(store)
}

/// Checks settings that were read back; each is a condition and the setting's name.
///
/// # Errors
/// [`BrokerError::Mismatch`] for the first setting whose condition is false.
pub(super) fn require<const N: usize>(
    name: &'static str,
    checks: [(bool, &'static str); N],
) -> Result<(), BrokerError> {
    match checks.into_iter().find(|(holds, _)| !holds) {
        None => Ok(()),
        Some((_, setting)) => Err(BrokerError::Mismatch { name, setting }),
    }
}

/// Opens a stream without changing it.
pub(super) async fn existing_stream(
    context: &jetstream::Context,
    name: &'static str,
) -> Result<Stream, BrokerError> {
    match context.get_stream(name).await {
        Ok(stream) => Ok(stream),
        Err(error) if is_not_found(&error.kind()) => Err(BrokerError::NotSetUp { name }),
        Err(error) => Err(BrokerError::request("reading a stream's configuration")(error)),
    }
}

/// Opens a bucket without changing it.
pub(super) async fn existing_bucket(
    context: &jetstream::Context,
    name: &'static str,
) -> Result<kv::Store, BrokerError> {
    // The client's error for a bucket does not tell a missing one from one that can't be read.
    match context.get_stream(format!("KV_{name}")).await {
        Ok(_) => {}
        Err(error) if is_not_found(&error.kind()) => return Err(BrokerError::NotSetUp { name }),
        Err(error) => return Err(BrokerError::request("reading a bucket's configuration")(error)),
    }
    context.get_key_value(name).await.map_err(BrokerError::request("opening a bucket"))
}
