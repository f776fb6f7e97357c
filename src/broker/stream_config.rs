//! Settings that a stream should have, and the differences of one that exists.
//!
//! A setting is put right when the program depends on its exact value. A setting that may be larger
//! (copies, limits, times) is only made larger, unless the operator has set it: another worker or an
//! administrator may have had a reason.

use std::fmt::Debug;
use std::time::Duration;

use async_nats::jetstream::stream::{Config, DiscardPolicy, RetentionPolicy, StorageType};

use super::names::Name;
use super::size_limits::{LimitSource, SizeLimit};

/// Copies one setting from the wanted configuration into the one that was found.
type CopySetting = fn(&mut Config, &Config);

/// The settings of a stream that this program depends on.
#[derive(Debug)]
pub(super) struct Wanted {
    /// Name of the stream: for a bucket, the name of the stream behind it.
    pub(super) name: Name,
    pub(super) subjects: Vec<String>,
    pub(super) retention: RetentionPolicy,
    pub(super) discard: DiscardPolicy,
    pub(super) max_age: Duration,
    pub(super) size: SizeLimit,
    /// Number of messages that each subject keeps; -1 for all.
    pub(super) per_subject: i64,
    pub(super) duplicate_window: Duration,
    pub(super) replicas: usize,
    /// True when the operator has set the number of copies.
    pub(super) replicas_are_set: bool,
    /// True for the stream behind a key-value bucket.
    pub(super) is_bucket: bool,
}

/// Source of the value that a setting should have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Decider {
    /// The program depends on exactly this value.
    Program,
    /// The operator has set it, by this setting.
    Operator(&'static str),
    /// The account of the NATS server demands it.
    Account,
    /// The default of this setting, if there is one for it.
    Default(Option<&'static str>),
}

impl Decider {
    /// Returns the source in words, for the log.
    pub(super) fn told(self) -> &'static str {
        match self {
            Self::Operator(setting) | Self::Default(Some(setting)) => setting,
            Self::Account => "the NATS account",
            Self::Program | Self::Default(None) => "the program",
        }
    }
}

/// A setting that is not as wanted.
#[derive(Debug)]
pub(super) struct Difference {
    pub(super) setting: &'static str,
    pub(super) found: String,
    pub(super) wanted: String,
    pub(super) decider: Decider,
    /// True when the stream keeps what it has, which is more than wanted.
    pub(super) stays: bool,
    pub(super) copy: CopySetting,
}

impl Wanted {
    pub(super) fn apply(&self, config: &mut Config) {
        config.name = self.name.to_string();
        config.subjects.clone_from(&self.subjects);
        config.retention = self.retention;
        config.discard = self.discard;
        config.storage = StorageType::File;
        config.max_age = self.max_age;
        config.max_bytes = self.size.bytes;
        config.max_messages = -1;
        config.max_messages_per_subject = self.per_subject;
        config.duplicate_window = self.duplicate_window;
        config.num_replicas = self.replicas;
        config.allow_direct = true;
        config.no_ack = false;
        if self.is_bucket {
            config.allow_rollup = true;
            config.deny_delete = true;
        }
    }

    /// Returns the settings that are not as wanted.
    pub(super) fn differences(&self, found: &Config) -> Vec<Difference> {
        let mut wanted = found.clone();
        self.apply(&mut wanted);
        let mut differences = Vec::new();
        let mut compare = |setting, values: [&dyn Debug; 2], decider, narrows, copy| {
            let [found, wanted] = values.map(|value| format!("{value:?}"));
            if found != wanted {
                let stays = narrows && matches!(decider, Decider::Default(_));
                differences.push(Difference { setting, found, wanted, decider, stays, copy });
            }
        };
        use Decider::Program;
        let fixed: [(_, [&dyn Debug; 2], CopySetting); 8] = [
            ("subjects", [&found.subjects, &wanted.subjects], |to, from| {
                to.subjects.clone_from(&from.subjects)
            }),
            ("retention", [&found.retention, &wanted.retention], |to, from| to.retention = from.retention),
            ("discard policy", [&found.discard, &wanted.discard], |to, from| to.discard = from.discard),
            ("storage", [&found.storage, &wanted.storage], |to, from| to.storage = from.storage),
            ("direct access", [&found.allow_direct, &wanted.allow_direct], |to, from| {
                to.allow_direct = from.allow_direct
            }),
            ("acknowledgement", [&!found.no_ack, &!wanted.no_ack], |to, from| to.no_ack = from.no_ack),
            ("roll-up", [&found.allow_rollup, &wanted.allow_rollup], |to, from| {
                to.allow_rollup = from.allow_rollup
            }),
            ("protection from deletes", [&found.deny_delete, &wanted.deny_delete], |to, from| {
                to.deny_delete = from.deny_delete
            }),
        ];
        for (setting, values, copy) in fixed {
            compare(setting, values, Program, false, copy);
        }
        let unset = Decider::Default(None);
        compare("max messages", [&limit(found.max_messages), &Unlimited], Program, false, |to, from| {
            to.max_messages = from.max_messages
        });
        compare(
            "max messages per subject",
            [&limit(found.max_messages_per_subject), &limit(self.per_subject)],
            unset,
            is_less(self.per_subject, found.max_messages_per_subject),
            |to, from| to.max_messages_per_subject = from.max_messages_per_subject,
        );
        compare(
            "max age",
            [&found.max_age, &self.max_age],
            unset,
            !self.max_age.is_zero() && (found.max_age.is_zero() || self.max_age < found.max_age),
            |to, from| to.max_age = from.max_age,
        );
        compare(
            "duplicate window",
            [&found.duplicate_window, &self.duplicate_window],
            unset,
            self.duplicate_window < found.duplicate_window,
            |to, from| to.duplicate_window = from.duplicate_window,
        );
        let replicas = match self.replicas_are_set {
            true => Decider::Operator("NATS_REPLICAS"),
            false => Decider::Default(Some("NATS_REPLICAS")),
        };
        compare(
            "replicas",
            [&found.num_replicas, &self.replicas],
            replicas,
            self.replicas < found.num_replicas,
            |to, from| to.num_replicas = from.num_replicas,
        );
        let size = match self.size.source {
            LimitSource::Operator => Some(Decider::Operator("NATS_MAX_BYTES")),
            // A limit that the stream has is as good as ours: the account only wants one.
            LimitSource::Account => (found.max_bytes <= 0).then_some(Decider::Account),
            LimitSource::Default => None,
        };
        if let Some(decider) = size {
            compare(
                "max bytes",
                [&limit(found.max_bytes), &limit(self.size.bytes)],
                decider,
                is_less(self.size.bytes, found.max_bytes),
                |to, from| to.max_bytes = from.max_bytes,
            );
        }
        differences
    }
}

/// A limit that is not there, for the log.
#[derive(Debug)]
struct Unlimited;

/// Returns a limit for the log.
fn limit(value: i64) -> Box<dyn Debug> {
    match value {
        ..=0 => Box::new(Unlimited),
        value => Box::new(value),
    }
}

/// Returns true when a limit is lower than another; none is the highest.
fn is_less(limit: i64, other: i64) -> bool {
    limit > 0 && (other <= 0 || limit < other)
}
