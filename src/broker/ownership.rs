//! Owner mark: metadata of a stream or bucket that says whose it is.
//!
//! | key | value |
//! |---|---|
//! | `autovalidate.format` | number of the form in which this program stores its data |
//! | `autovalidate.project` | fingerprint of the project; absent while only trainers without one have come |
//! | `autovalidate.table` | the project in words, without secrets |
//! | `autovalidate.marked-from` | first sequence after the mark, on streams of a version that set none |
//!
//! A stream without a mark is this program's when it looks exactly like one that version 0.1 made.

use std::collections::BTreeSet;

use async_nats::jetstream::stream::{Config, State};

use super::error::BrokerError;
use super::project::Project;
use super::stream_config::Wanted;

/// Number of the form in which this version stores its data.
const FORMAT: u32 = 1;

const FORMAT_KEY: &str = "autovalidate.format";
const PROJECT_KEY: &str = "autovalidate.project";
const TABLE_KEY: &str = "autovalidate.table";
const MARKED_FROM_KEY: &str = "autovalidate.marked-from";

/// The mark that this process sets and expects.
#[derive(Debug, Clone, Default)]
pub(super) struct OwnerMark {
    /// Project of this process; `None` for a trainer or command that has none set.
    pub(super) project: Option<Project>,
    /// True when streams of another project are taken over.
    pub(super) takes_over: bool,
}

/// A stream that this process may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Standing {
    /// The mark is there and names this project, or no project is set.
    Marked,
    /// An earlier version made the stream.
    Unmarked,
    /// Only trainers without a project have used the stream.
    WithoutProject,
    /// The stream belongs to another project, and is to be taken over.
    TakenOver {
        /// The other project in words.
        from: String,
    },
}

impl OwnerMark {
    /// Decides whether this process may use an existing stream.
    ///
    /// # Errors
    /// [`BrokerError::ForeignStream`], [`BrokerError::OtherProject`], [`BrokerError::NewerFormat`].
    pub(super) fn judge(&self, wanted: &Wanted, config: &Config) -> Result<Standing, BrokerError> {
        let Some(format) = config.metadata.get(FORMAT_KEY) else {
            return match foreign(wanted, config) {
                None => Ok(Standing::Unmarked),
                Some(difference) => Err(BrokerError::ForeignStream { name: wanted.name.clone(), difference }),
            };
        };
        if !format.parse::<u32>().is_ok_and(|format| format <= FORMAT) {
            return Err(BrokerError::NewerFormat { name: wanted.name.clone() });
        }
        let Some(own) = &self.project else { return Ok(Standing::Marked) };
        match config.metadata.get(PROJECT_KEY) {
            None => Ok(Standing::WithoutProject),
            Some(fingerprint) if fingerprint == own.fingerprint() => Ok(Standing::Marked),
            Some(fingerprint) => {
                let owner = config.metadata.get(TABLE_KEY).unwrap_or(fingerprint).clone();
                if self.takes_over {
                    return Ok(Standing::TakenOver { from: owner });
                }
                Err(BrokerError::OtherProject { owner, own: own.description().to_owned() })
            }
        }
    }

    /// Puts the mark into a new stream's configuration.
    pub(super) fn set(&self, config: &mut Config) {
        config.metadata.insert(FORMAT_KEY.to_owned(), FORMAT.to_string());
        if let Some(project) = &self.project {
            config.metadata.insert(PROJECT_KEY.to_owned(), project.fingerprint().to_owned());
            config.metadata.insert(TABLE_KEY.to_owned(), project.description().to_owned());
        }
    }

    /// Puts the mark into an existing stream's configuration.
    pub(super) fn put(&self, standing: &Standing, config: &mut Config, state: &State) {
        if *standing == Standing::Unmarked {
            let next = state.last_sequence.saturating_add(1);
            config.metadata.insert(MARKED_FROM_KEY.to_owned(), next.to_string());
        }
        self.set(config);
    }
}

/// Returns the first stream sequence that was stored since the stream has an owner mark; `None`
/// when it has none.
pub(super) fn marked_from(config: &Config) -> Option<u64> {
    config.metadata.get(FORMAT_KEY)?;
    Some(config.metadata.get(MARKED_FROM_KEY).and_then(|from| from.parse().ok()).unwrap_or(0))
}

/// Returns the project that a stream belongs to, in words.
pub(super) fn owner(config: &Config) -> Option<String> {
    config.metadata.get(TABLE_KEY).or_else(|| config.metadata.get(PROJECT_KEY)).cloned()
}

/// Returns the first difference between a stream without a mark and one that this program makes.
/// Limits don't count: an operator may have changed them.
fn foreign(wanted: &Wanted, config: &Config) -> Option<String> {
    let set = |subjects: &[String]| subjects.iter().cloned().collect::<BTreeSet<_>>();
    if set(&config.subjects) != set(&wanted.subjects) {
        return Some(format!("its subjects are {}", listed(&config.subjects)));
    }
    let differs = [
        (config.retention != wanted.retention, "retention"),
        (config.discard != wanted.discard, "discard policy"),
        (config.storage != async_nats::jetstream::stream::StorageType::File, "storage"),
        (config.mirror.is_some(), "mirror"),
        (config.sources.as_ref().is_some_and(|sources| !sources.is_empty()), "sources"),
    ];
    let setting = differs.into_iter().find(|(differs, _)| *differs)?.1;
    Some(format!("it has another {setting}"))
}

/// Returns subjects as a list for a sentence, cut after a few.
fn listed(subjects: &[String]) -> String {
    const SHOWN: usize = 4;
    let shown: Vec<&str> = subjects.iter().take(SHOWN).map(String::as_str).collect();
    match subjects.len() {
        0 => "none".to_owned(),
        count if count > SHOWN => format!("{}, and {} more", shown.join(", "), count - SHOWN),
        _ => shown.join(", "),
    }
}
