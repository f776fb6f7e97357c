//! Typed JSON records in a key-value bucket, changed only by compare-and-swap.

use std::marker::PhantomData;

use async_nats::jetstream::kv::{CreateErrorKind, Store, UpdateErrorKind};
use futures::{StreamExt, TryStreamExt};
use jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::clock::timestamp;
use super::error::BrokerError;
use super::names::Name;

/// Number of records that [`Records::map_all`] reads at the same time.
const READS_IN_FLIGHT: usize = 16;

/// Revision of a record that was read or written. A change must name the record's latest revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Revision(u64);

/// A bucket of records of one type.
#[derive(Debug)]
pub(crate) struct Records<T> {
    bucket: Name,
    store: Store,
    record: PhantomData<fn() -> T>,
}

impl<T> Clone for Records<T> {
    fn clone(&self) -> Self {
        Self { bucket: self.bucket.clone(), store: self.store.clone(), record: PhantomData }
    }
}

impl<T: Serialize + DeserializeOwned> Records<T> {
    pub(super) fn new(bucket: Name, store: Store) -> Self {
        Self { bucket, store, record: PhantomData }
    }

    /// Writes a record that must not exist yet.
    pub(crate) async fn create(&self, key: &str, record: &T) -> Result<Revision, BrokerError> {
        let bytes = serde_json::to_vec(record)?;
        match self.store.create(key, bytes.into()).await {
            Ok(revision) => Ok(Revision(revision)),
            Err(error) if error.kind() == CreateErrorKind::AlreadyExists => {
                Err(BrokerError::Exists { bucket: self.bucket.clone(), key: key.to_owned() })
            }
            Err(error) => Err(BrokerError::sending("creating a record")(error)),
        }
    }

    /// Reads a record, with the revision that [`Records::save`] needs.
    pub(crate) async fn load(&self, key: &str) -> Result<Option<(T, Revision)>, BrokerError> {
        Ok(self.load_dated(key).await?.map(|(record, revision, _)| (record, revision)))
    }

    /// Reads a record, with the revision that [`Records::save`] needs, and the time at which it was
    /// written, by the broker's clock.
    pub(crate) async fn load_dated(
        &self,
        key: &str,
    ) -> Result<Option<(T, Revision, Timestamp)>, BrokerError> {
        let entry = self.store.entry(key).await.map_err(BrokerError::request("reading a record"))?;
        // A deleted key returns a marker entry.
        let Some(entry) = entry.filter(|entry| entry.operation == async_nats::jetstream::kv::Operation::Put)
        else {
            return Ok(None);
        };
        match serde_json::from_slice(&entry.value) {
            Ok(record) => {
                let written_at = timestamp(entry.created.unix_timestamp_nanos());
                Ok(Some((record, Revision(entry.revision), written_at)))
            }
            Err(source) => {
                Err(BrokerError::Unreadable { bucket: self.bucket.clone(), key: key.to_owned(), source })
            }
        }
    }

    /// Replaces a record, unless it was changed since `revision`.
    pub(crate) async fn save(
        &self,
        key: &str,
        record: &T,
        revision: Revision,
    ) -> Result<Revision, BrokerError> {
        let bytes = serde_json::to_vec(record)?;
        match self.store.update(key, bytes.into(), revision.0).await {
            Ok(revision) => Ok(Revision(revision)),
            Err(error) if error.kind() == UpdateErrorKind::WrongLastRevision => {
                Err(BrokerError::Conflict { bucket: self.bucket.clone(), key: key.to_owned() })
            }
            Err(error) => Err(BrokerError::sending("saving a record")(error)),
        }
    }

    /// Changes a record, or creates it, again until no other writer does so at the same moment.
    /// `change` receives the stored record and returns the new one, or `None` to leave it as it is.
    pub(crate) async fn update(
        &self,
        key: &str,
        change: impl Fn(Option<&T>) -> Option<T>,
    ) -> Result<(), BrokerError> {
        loop {
            let stored = self.load(key).await?;
            let Some(record) = change(stored.as_ref().map(|(record, _)| record)) else { return Ok(()) };
            let saved = match stored {
                Some((_, revision)) => self.save(key, &record, revision).await,
                None => self.create(key, &record).await,
            };
            match saved {
                Ok(_) => return Ok(()),
                Err(BrokerError::Conflict { .. } | BrokerError::Exists { .. }) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Returns the number of keys of the bucket.
    pub(crate) async fn count(&self) -> Result<u64, BrokerError> {
        let info = self.store.stream.get_info().await.map_err(BrokerError::request("counting records"))?;
        Ok(info.state.subjects_count)
    }

    /// Reads every record, in no particular order. An unreadable record is skipped and logged, so
    /// that it doesn't hide the others.
    pub(crate) async fn all(&self) -> Result<Vec<T>, BrokerError> {
        self.map_all(|record| record).await
    }

    /// Reads every record, as [`Records::all`] does, and keeps only what `of` returns for each.
    pub(crate) async fn map_all<U>(&self, of: impl Fn(T) -> U) -> Result<Vec<U>, BrokerError> {
        let keys: Vec<String> = self
            .store
            .keys()
            .await
            .map_err(BrokerError::request("listing records"))?
            .try_collect()
            .await
            .map_err(BrokerError::request("listing records"))?;
        let mut loads = futures::stream::iter(keys)
            .map(|key| async move { self.load(&key).await })
            .buffer_unordered(READS_IN_FLIGHT);
        let mut records = Vec::new();
        while let Some(loaded) = loads.next().await {
            match loaded {
                Ok(Some((record, _))) => records.push(of(record)),
                Ok(None) => {}
                Err(error @ BrokerError::Unreadable { .. }) => {
                    tracing::warn!(%error, "skipping an unreadable record")
                }
                Err(error) => return Err(error),
            }
        }
        Ok(records)
    }
}
