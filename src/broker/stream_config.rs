//! Settings that a stream should have, and the differences of one that exists.
//!
//! A setting is put right when the program depends on its exact value. A setting that may be larger
//! (copies, limits, times) is only made larger, unless the operator has set it: another worker or an
//! administrator may have had a reason.

use std::fmt::{self, Debug};
use std::time::Duration;

use async_nats::jetstream::stream::{Config, DiscardPolicy, RetentionPolicy, StorageType};

use super::names::Name;
use super::size_limits::{LimitSource, SizeLimit};

/// Use of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StreamUse {
    /// Messages on subjects of this program.
    Messages,
    /// A key-value bucket.
    Records,
    /// The object store of checkpoints, which is created when it is first used. Only settings that
    /// the program depends on are put right there: its times and copies are the operator's.
    Checkpoints,
}

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
    pub(super) usage: StreamUse,
}

/// Source of the value that a setting should have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Decider {
    /// The program depends on this value, or needs at least this much.
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
}

/// Configuration that an existing stream should get.
#[derive(Debug)]
pub(super) struct ConfigChange {
    pub(super) config: Config,
    pub(super) differences: Vec<Difference>,
}

impl ConfigChange {
    /// Returns a revision that leaves every setting as it is.
    pub(super) fn unchanged(found: &Config) -> Self {
        Self { config: found.clone(), differences: Vec::new() }
    }
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
        match self.usage {
            StreamUse::Messages => {}
            StreamUse::Records => (config.allow_rollup, config.deny_delete) = (true, true),
            StreamUse::Checkpoints => config.allow_rollup = true,
        }
    }

    /// Returns the first setting that is to be changed.
    pub(super) fn first_change(&self, found: &Config) -> Option<&'static str> {
        self.revise(found).differences.into_iter().find(|each| !each.stays).map(|each| each.setting)
    }

    /// Compares a stream with the wanted settings. A setting that stays keeps its value.
    pub(super) fn revise(&self, found: &Config) -> ConfigChange {
        let mut to = found.clone();
        self.apply(&mut to);
        let mut differences = Vec::new();
        let all = &mut differences;
        let program = Some(Decider::Program);
        settle(all, "subjects", [&found.subjects, &to.subjects], program, false);
        settle(all, "retention", [found.retention, to.retention], program, false);
        settle(all, "discard policy", [found.discard, to.discard], program, false);
        settle(all, "storage", [found.storage, to.storage], program, false);
        settle(all, "direct access", [found.allow_direct, to.allow_direct], program, false);
        settle(all, "acknowledgement", [!found.no_ack, !to.no_ack], program, false);
        settle(all, "roll-up", [found.allow_rollup, to.allow_rollup], program, false);
        settle(all, "protection from deletes", [found.deny_delete, to.deny_delete], program, false);
        settle(all, "max messages", [found.max_messages, to.max_messages].map(Limit::of), program, false);

        let is_operators = self.usage == StreamUse::Checkpoints;
        let unset = (!is_operators).then_some(Decider::Default(None));
        let limits = [found.max_messages_per_subject, self.per_subject].map(Limit::of);
        let limit = settle(all, "max messages per subject", limits, unset, limits[1] < limits[0]);
        to.max_messages_per_subject = limit.stored();
        let shortens = !self.max_age.is_zero() && (found.max_age.is_zero() || self.max_age < found.max_age);
        to.max_age = settle(all, "max age", [found.max_age, self.max_age], unset, shortens);
        let windows = [found.duplicate_window, self.duplicate_window];
        to.duplicate_window = settle(all, "duplicate window", windows, unset, windows[1] < windows[0]);
        let replicas = match self.replicas_are_set {
            true => Decider::Operator("NATS_REPLICAS"),
            false => Decider::Default(Some("NATS_REPLICAS")),
        };
        let replicas = (!is_operators).then_some(replicas);
        let copies = [found.num_replicas, self.replicas];
        to.num_replicas = settle(all, "replicas", copies, replicas, copies[1] < copies[0]);
        let sizes = [found.max_bytes, self.size.bytes].map(Limit::of);
        let size = match self.size.source {
            LimitSource::Operator => Some(Decider::Operator("NATS_MAX_BYTES")),
            // A limit that the stream has is as good as ours: the account only wants one.
            LimitSource::Account => (found.max_bytes <= 0).then_some(Decider::Account),
            // More room than needed is no difference.
            LimitSource::Needed => (sizes[0] < sizes[1]).then_some(Decider::Program),
            LimitSource::Default => None,
        };
        to.max_bytes = settle(all, "max bytes", sizes, size, sizes[1] < sizes[0]).stored();
        ConfigChange { config: to, differences }
    }
}

/// Returns the value that a setting should get, of the found one and the wanted one, and notes their
/// difference. Without a decider the found value stays unnoted; a default narrows no setting.
fn settle<T: Debug + PartialEq>(
    differences: &mut Vec<Difference>,
    setting: &'static str,
    [found, wanted]: [T; 2],
    decider: Option<Decider>,
    narrows: bool,
) -> T {
    let Some(decider) = decider else { return found };
    if found == wanted {
        return found;
    }
    let stays = narrows && matches!(decider, Decider::Default(_));
    let [has, should] = [&found, &wanted].map(|value| format!("{value:?}"));
    differences.push(Difference { setting, found: has, wanted: should, decider, stays });
    if stays { found } else { wanted }
}

/// A limit. No limit is the highest.
#[derive(Clone, Copy, PartialEq, PartialOrd)]
struct Limit(i64);

impl Limit {
    const NONE: i64 = i64::MAX;

    /// Reads a limit as servers store it, where 0 and numbers below it are none.
    fn of(stored: i64) -> Self {
        Self(if stored > 0 { stored } else { Self::NONE })
    }

    fn stored(self) -> i64 {
        if self.0 == Self::NONE { -1 } else { self.0 }
    }
}

impl Debug for Limit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Self::NONE => formatter.write_str("Unlimited"),
            most => most.fmt(formatter),
        }
    }
}
