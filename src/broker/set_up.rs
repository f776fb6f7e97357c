//! Setting up a stream or bucket: creation, change, and the check by reading back. And opening one
//! that a worker has set up, without a change.
//!
//! A setting is put right when the program depends on its exact value. A setting that may be larger
//! (copies, limits, times) is only made larger, unless the operator has set it: another worker or an
//! administrator may have had a reason. Every change is logged before and after, with both values
//! and whatever decides.

use std::fmt::Debug;
use std::time::Duration;

use async_nats::jetstream::context::{CreateStreamErrorKind, GetStreamErrorKind};
use async_nats::jetstream::stream::{Config, DiscardPolicy, RetentionPolicy, StorageType, Stream};
use async_nats::jetstream::{self, ErrorCode, kv};

use super::error::BrokerError;
use super::names::Name;
use super::ownership::{OwnerMark, Standing};
use super::size_limits::{LimitSource, SizeLimit};

/// Smallest size limit that a default is lowered to when the server has little room, in bytes.
const SMALLEST_DEFAULT: i64 = 1 << 20;

/// Number of looks at a stream that others create or remove at the same moment.
const LOOKS: usize = 5;

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
enum Decider {
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
    fn told(self) -> &'static str {
        match self {
            Self::Operator(setting) | Self::Default(Some(setting)) => setting,
            Self::Account => "the NATS account",
            Self::Program | Self::Default(None) => "the program",
        }
    }
}

/// A setting that is not as wanted.
#[derive(Debug)]
struct Difference {
    setting: &'static str,
    found: String,
    wanted: String,
    decider: Decider,
    /// True when the stream keeps what it has, which is more than wanted.
    stays: bool,
    /// Copies the setting from the wanted configuration into the found one.
    copy: fn(&mut Config, &Config),
}

impl Wanted {
    fn apply(&self, config: &mut Config) {
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
    fn differences(&self, found: &Config) -> Vec<Difference> {
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
        let fixed: [(_, [&dyn Debug; 2], fn(&mut Config, &Config)); 8] = [
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

/// Creates a stream, or changes the settings that differ, sets the owner mark, and reads the stream
/// back.
pub(super) async fn ensure_stream(
    context: &jetstream::Context,
    wanted: &Wanted,
    mark: &OwnerMark,
) -> Result<Stream, BrokerError> {
    let name = &wanted.name;
    for _ in 0..LOOKS {
        match find_stream(context, name).await? {
            Some(found) => {
                change(context, wanted, mark, &found).await?;
                let Some(stream) = find_stream(context, name).await? else { continue };
                return match missing(wanted, mark, &stream.cached_info().config)? {
                    None => Ok(stream),
                    Some(setting) => Err(BrokerError::Mismatch { name: name.clone(), setting }),
                };
            }
            // Read again in any case: another worker may have created it at the same moment.
            None => create(context, wanted, mark).await?,
        }
    }
    Err(BrokerError::Mismatch { name: name.clone(), setting: "name" })
}

/// Returns the first setting that is still not as wanted.
fn missing(wanted: &Wanted, mark: &OwnerMark, config: &Config) -> Result<Option<&'static str>, BrokerError> {
    if mark.judge(wanted, config)? != Standing::Marked {
        return Ok(Some("owner mark"));
    }
    Ok(wanted.differences(config).into_iter().find(|difference| !difference.stays).map(|each| each.setting))
}

/// Creates a stream with its mark. A default size limit that the server has no room for is lowered.
async fn create(context: &jetstream::Context, wanted: &Wanted, mark: &OwnerMark) -> Result<(), BrokerError> {
    let mut config = Config::default();
    wanted.apply(&mut config);
    mark.set(&mut config);
    loop {
        let error = match context.create_stream(config.clone()).await {
            Ok(_) => return Ok(()),
            Err(error) => error,
        };
        let code = match error.kind() {
            CreateStreamErrorKind::JetStream(refusal) => Some(refusal.error_code()),
            _ => None,
        };
        if code == Some(ErrorCode::STREAM_NAME_EXIST) {
            return Ok(());
        }
        let has_no_room = code.is_some_and(|code| {
            [
                ErrorCode::STORAGE_RESOURCES_EXCEEDED,
                ErrorCode::ACCOUNT_RESOURCES_EXCEEDED,
                ErrorCode::INSUFFICIENT_RESOURCES,
                ErrorCode::STREAM_MAX_STREAM_BYTES_EXCEEDED,
            ]
            .contains(&code)
        });
        let may_be_lowered =
            wanted.size.source != LimitSource::Operator && config.max_bytes > SMALLEST_DEFAULT;
        if !has_no_room || !may_be_lowered {
            return Err(BrokerError::SetUp { name: wanted.name.clone(), source: error.into() });
        }
        let lower = (config.max_bytes / 2).max(SMALLEST_DEFAULT);
        tracing::warn!(
            stream = %wanted.name,
            from = config.max_bytes,
            to = lower,
            "the NATS server has no room for a stream of this size; trying a smaller one"
        );
        config.max_bytes = lower;
    }
}

/// Changes the settings of an existing stream that are to be changed, and sets its mark.
async fn change(
    context: &jetstream::Context,
    wanted: &Wanted,
    mark: &OwnerMark,
    found: &Stream,
) -> Result<(), BrokerError> {
    let stream = &*wanted.name;
    let info = found.cached_info();
    let standing = mark.judge(wanted, &info.config)?;
    let mut config = info.config.clone();
    let mut changed = Vec::new();
    let desired = {
        let mut desired = config.clone();
        wanted.apply(&mut desired);
        desired
    };
    for difference in wanted.differences(&info.config) {
        let Difference { setting, found, wanted, decider, stays, copy } = &difference;
        let decided_by = decider.told();
        if *stays {
            tracing::warn!(
                stream,
                setting,
                has = found,
                wanted,
                decided_by,
                "a stream's setting is higher than this worker's and stays; set it explicitly to lower it"
            );
            continue;
        }
        tracing::info!(stream, setting, from = found, to = wanted, decided_by, "changing a stream's setting");
        copy(&mut config, &desired);
        changed.push(difference);
    }
    match &standing {
        Standing::Marked if changed.is_empty() => return Ok(()),
        Standing::Marked => {}
        Standing::Unmarked => {
            tracing::info!(stream, "adopting a stream that an earlier version made, by marking it as ours");
        }
        Standing::WithoutProject => tracing::info!(stream, "marking a stream as this project's"),
        Standing::TakenOver { from } => {
            tracing::warn!(stream, from, "taking over a stream from another project");
        }
    }
    if standing != Standing::Marked {
        mark.put(&standing, &mut config, &info.state);
    }
    context
        .update_stream(config)
        .await
        .map_err(|error| BrokerError::SetUp { name: wanted.name.clone(), source: error.into() })?;
    for Difference { setting, found, wanted, .. } in &changed {
        tracing::info!(stream, setting, from = found, to = wanted, "changed a stream's setting");
    }
    Ok(())
}

/// Sets the owner mark of an existing stream whose other settings are not checked here.
pub(super) async fn mark_stream(
    context: &jetstream::Context,
    wanted: &Wanted,
    mark: &OwnerMark,
    found: &Stream,
) -> Result<(), BrokerError> {
    let info = found.cached_info();
    let standing = mark.judge(wanted, &info.config)?;
    if standing == Standing::Marked {
        return Ok(());
    }
    let mut config = info.config.clone();
    mark.put(&standing, &mut config, &info.state);
    let updated = context.update_stream(config).await;
    updated.map_err(|error| BrokerError::SetUp { name: wanted.name.clone(), source: error.into() })?;
    Ok(())
}

/// Opens a stream, if there is one.
pub(super) async fn find_stream(
    context: &jetstream::Context,
    name: &str,
) -> Result<Option<Stream>, BrokerError> {
    match context.get_stream(name).await {
        Ok(stream) => Ok(Some(stream)),
        Err(error) if is_not_found(&error.kind()) => Ok(None),
        Err(error) => Err(BrokerError::request("reading a stream's configuration")(error)),
    }
}

/// Returns true when the error says that the stream does not exist.
fn is_not_found(kind: &GetStreamErrorKind) -> bool {
    matches!(kind, GetStreamErrorKind::JetStream(error) if error.error_code() == ErrorCode::STREAM_NOT_FOUND)
}

/// Opens the bucket whose stream has been set up or found.
pub(super) async fn bucket(context: &jetstream::Context, name: &Name) -> Result<kv::Store, BrokerError> {
    context.get_key_value(&**name).await.map_err(BrokerError::request("opening a bucket"))
}

/// Checks settings that were read back; each is a condition and the setting's name.
///
/// # Errors
/// [`BrokerError::Mismatch`] for the first setting whose condition is false.
pub(super) fn require<const N: usize>(
    name: &Name,
    checks: [(bool, &'static str); N],
) -> Result<(), BrokerError> {
    match checks.into_iter().find(|(holds, _)| !holds) {
        None => Ok(()),
        Some((_, setting)) => Err(BrokerError::Mismatch { name: name.clone(), setting }),
    }
}
