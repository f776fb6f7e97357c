//! Setting up a stream or bucket: creation, change, and the check by reading back. And opening one
//! that a worker has set up, without a change.
//!
//! Every change is logged before and after, with both values and whatever decides.

use async_nats::jetstream::context::{CreateStreamErrorKind, GetStreamErrorKind};
use async_nats::jetstream::stream::{Config, Stream};
use async_nats::jetstream::{self, ErrorCode, kv};

use super::error::BrokerError;
use super::names::Name;
use super::ownership::{OwnerMark, Standing};
use super::size_limits::LimitSource;
use super::stream_config::{Difference, Wanted};

/// Smallest size limit that a default is lowered to when the server has little room, in bytes.
const SMALLEST_DEFAULT: i64 = 1 << 20;

/// Number of looks at a stream that others create or remove at the same moment.
const LOOKS: usize = 5;

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
