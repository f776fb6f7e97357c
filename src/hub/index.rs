//! `models/index.json`: the live model, and the hash that tells consumers which vectors are
//! comparable.
//!
//! A vector store must be queried only with vectors of the model that filled it. The index
//! identifies that model without opening a zip; `docs/reference/hub.md` documents the schema.
//! Fields that other programs add are kept.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::card::ReleaseScores;
use super::digest::Digest;
use super::error::HubError;
use super::release::Release;
use super::serving::Serving;

/// Path of the index in the repo.
pub const INDEX: &str = "models/index.json";
/// Version of the schema that this program writes.
const SCHEMA: u64 = 1;

/// The index of a repo.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Index {
    /// Version of the schema.
    pub schema: u64,
    /// The model that the backend loads as of this commit.
    #[serde(default)]
    pub live: Option<Live>,
    /// Every model published since the index was created, newest first.
    #[serde(default)]
    pub models: Vec<Entry>,
    /// Fields that other programs wrote.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

impl Default for Index {
    fn default() -> Self {
        Self { schema: SCHEMA, live: None, models: Vec::new(), other: Map::new() }
    }
}

/// The model that the backend loads.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Live {
    /// Version of the model: the stamp in its name.
    pub version: String,
    /// Path of the zip in the repo.
    pub path: String,
    /// SHA-256 of the weights. Vectors of models with different hashes must not be compared.
    pub weights_sha256: Option<Digest>,
    /// Length of the model's vectors.
    pub dimension: Option<usize>,
    /// True when vectors of the previously live model are unusable with this model.
    pub re_embed: bool,
    /// Time at which the model went live.
    pub since: Timestamp,
    /// Fields that other programs wrote.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// A published model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Version of the model: the stamp in its name.
    pub version: String,
    /// Path of the zip in the repo.
    pub path: String,
    /// SHA-256 of the zip.
    #[serde(default)]
    pub sha256: Option<Digest>,
    /// Length of the zip in bytes.
    #[serde(default)]
    pub size: u64,
    /// SHA-256 of the weights. Equal weights give equal vectors.
    #[serde(default)]
    pub weights_sha256: Option<Digest>,
    /// Length of the model's vectors.
    #[serde(default)]
    pub dimension: Option<usize>,
    /// The model that training started from: a release's path, or a model's name.
    #[serde(default)]
    pub base_model: Option<String>,
    /// The gate's verdict.
    #[serde(default)]
    pub verdict: Option<String>,
    /// Scores on all held-out typos.
    #[serde(default)]
    pub metrics: Option<Metrics>,
    /// Advice on serving the model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serving: Option<Serving>,
    /// Time of publication.
    pub published_at: Timestamp,
    /// The version whose model this release repeats, for a rollback.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollback_of: Option<String>,
    /// Fields that other programs wrote.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// Scores of a model and of the model that it replaced, on the same queries.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Metrics {
    /// Number of held-out queries.
    pub queries: usize,
    /// Scores of the model that was live before.
    pub before: ReleaseScores,
    /// Scores of this model.
    pub after: ReleaseScores,
}

impl Index {
    /// Parses an index.
    ///
    /// # Errors
    /// [`HubError::Index`] when the index is damaged or has a newer schema.
    pub fn read(bytes: &[u8]) -> Result<Self, HubError> {
        // Editors of Windows put a byte order mark before a text.
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        let index: Self = serde_json::from_slice(bytes).map_err(|error| {
            tracing::debug!(%error, "can't parse the index");
            HubError::Index
        })?;
        if index.schema > SCHEMA { Err(HubError::Index) } else { Ok(index) }
    }

    /// Serializes the index as indented JSON.
    pub fn to_json(&self) -> String {
        // All keys are strings and all numbers finite, so serialization cannot fail.
        let text = serde_json::to_string_pretty(self).unwrap_or_default();
        format!("{text}\n")
    }

    /// Returns the entry of a version.
    pub fn entry(&self, version: &str) -> Option<&Entry> {
        self.models.iter().find(|entry| entry.version == version)
    }

    /// Returns the entry of a release; `None` when the entry is of another zip that had this name.
    pub fn entry_of(&self, release: &Release) -> Option<&Entry> {
        let same = |entry: &&Entry| match (entry.sha256, release.sha256) {
            (Some(entered), Some(listed)) => entered == listed,
            _ => true,
        };
        self.entry(release.name.version()).filter(same)
    }

    /// Returns the newest rollback: a version that was published to make an older one live again.
    pub fn last_rollback(&self) -> Option<&Entry> {
        self.models.iter().find(|entry| entry.rollback_of.is_some())
    }

    /// Corrects the entry of a release that a person replaced under its name: all that is known of the
    /// new zip is its checksum and size.
    fn correct(&mut self, release: &Release) {
        let Some(entry) = self.models.iter_mut().find(|entry| entry.version == release.name.version()) else {
            return;
        };
        (entry.sha256, entry.size) = (release.sha256, release.size);
        (entry.weights_sha256, entry.dimension, entry.base_model) = (None, None, None);
        (entry.verdict, entry.metrics, entry.serving, entry.rollback_of) = (None, None, None, None);
    }

    /// Adds a model and makes it live; `before` is the release that the backend loaded until now.
    pub(super) fn enter(&mut self, entry: Entry, before: Option<&Release>) {
        let weights_before = before.and_then(|release| self.entry_of(release)?.weights_sha256);
        if let Some(release) = before
            && self.entry_of(release).is_none()
        {
            self.correct(release);
        }
        // Vectors of a model with unknown weights can't be assumed comparable.
        let same = weights_before.is_some() && weights_before == entry.weights_sha256;
        self.live = Some(Live {
            version: entry.version.clone(),
            path: entry.path.clone(),
            weights_sha256: entry.weights_sha256,
            dimension: entry.dimension,
            re_embed: !same,
            since: entry.published_at,
            other: self.live.take().map(|live| live.other).unwrap_or_default(),
        });
        self.models.retain(|known| known.version != entry.version);
        self.models.push(entry);
        self.models.sort_by(|a, b| b.path.as_bytes().cmp(a.path.as_bytes()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(version: &str, weights: &[u8]) -> Entry {
        let name: super::super::release::ReleaseName =
            format!("finetuned-embedding-model-{version}.zip").parse().unwrap();
        Entry {
            version: version.to_owned(),
            path: name.path(),
            sha256: None,
            size: 1,
            weights_sha256: Some(Digest::of(weights)),
            dimension: Some(384),
            base_model: None,
            verdict: None,
            metrics: None,
            serving: None,
            published_at: "2026-11-26T12:00:00Z".parse().unwrap(),
            rollback_of: None,
            other: Map::new(),
        }
    }

    fn listed(version: &str) -> Release {
        let name = format!("finetuned-embedding-model-{version}.zip").parse().unwrap();
        Release { name, size: 1, sha256: Some(Digest::of(b"zip")), blob: None }
    }

    #[test]
    fn vectors_are_worthless_unless_the_weights_are_known_to_be_the_same() {
        let mut index = Index::default();
        let re_embed = |index: &Index| index.live.as_ref().unwrap().re_embed;
        index.enter(entry("20260101000000", b"one"), None);
        assert!(re_embed(&index));
        index.enter(entry("20260102000000", b"one"), Some(&listed("20260101000000")));
        assert!(!re_embed(&index));
        index.enter(entry("20260103000000", b"two"), Some(&listed("20260102000000")));
        assert!(re_embed(&index));
        // A person uploaded another zip under the name of the live release.
        index.models[0].sha256 = Some(Digest::of(b"another zip"));
        index.enter(entry("20260104000000", b"two"), Some(&listed("20260103000000")));
        assert!(re_embed(&index));
        let corrected = index.entry("20260103000000").unwrap();
        assert_eq!((corrected.sha256, corrected.weights_sha256), (Some(Digest::of(b"zip")), None));
        index.models.remove(0);
        // The backend loaded a release that is not in the index.
        index.enter(entry("20260105000000", b"two"), Some(&listed("20260104000000")));
        assert!(re_embed(&index));
        let versions: Vec<_> = index.models.iter().map(|entry| entry.version.as_str()).collect();
        assert_eq!(versions, ["20260105000000", "20260103000000", "20260102000000", "20260101000000"]);
    }

    #[test]
    fn what_others_wrote_stays() {
        let text = r#"{"schema":1,"owner":"us","live":null,"models":[{"version":"1","path":"models/finetuned-embedding-model-1.zip",
            "published_at":"2026-11-26T12:00:00Z","note":"kept"}]}"#;
        let mut index = Index::read(text.as_bytes()).unwrap();
        index.enter(entry("20260101000000", b"one"), Some(&listed("1")));
        let again = Index::read(index.to_json().as_bytes()).unwrap();
        assert_eq!(again, index);
        assert_eq!(
            (&again.other["owner"], &again.entry("1").unwrap().other["note"]),
            (&"us".into(), &"kept".into())
        );
    }

    #[test]
    fn a_damaged_or_newer_index_is_refused() {
        assert_eq!(Index::read(b"\xef\xbb\xbf{\"schema\":1}").unwrap(), Index::default());
        for text in ["", "[]", "{\"schema\":2}", "{\"schema\":1,\"models\":[{}]}"] {
            assert!(matches!(Index::read(text.as_bytes()), Err(HubError::Index)), "{text}");
        }
    }
}
