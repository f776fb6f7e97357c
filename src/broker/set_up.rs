//! Setting up a stream or bucket: creation, change, and the check by reading back. And opening one
//! that a worker has set up, without a change.
//!
//! Every change is logged before and after, with both values and whatever decides.

use async_nats::jetstream::context::{CreateStreamErrorKind, GetStreamErrorKind};
use async_nats::jetstream::stream::{Config, Stream};
use async_nats::jetstream::{self, ErrorCode, kv};
use futures::future::try_join_all;

use super::error::BrokerError;
use super::names::Name;
use super::ownership::{OwnerMark, Standing};
use super::size_limits::LimitSource;
use super::stream_config::{ConfigChange, Difference, Wanted};

/// Smallest size limit that a default is lowered to when the server has little room, in bytes.
const SMALLEST_DEFAULT: i64 = 1 << 20;

/// Number of looks at a stream that others create or remove at the same moment.
const LOOKS: usize = 5;

/// Opens the streams, as far as they exist, and judges each of them. Whoever changes streams asks for
/// all of them first, so that nothing is changed when one belongs to somebody else.
pub(super) async fn judged(
    context: &jetstream::Context,
    wanted: impl IntoIterator<Item = Wanted>,
    mark: &OwnerMark,
) -> Result<Vec<(Wanted, Option<Stream>)>, BrokerError> {
    let found = wanted.into_iter().map(async |wanted| {
        let found = find_stream(context, &wanted.name).await?;
        Ok::<_, BrokerError>((wanted, found))
    });
    let found = try_join_all(found).await?;
    for (wanted, stream) in &found {
        if let Some(stream) = stream {
            mark.judge(wanted, &stream.cached_info().config)?;
        }
    }
    Ok(found)
}

/// Creates a stream, or changes the settings of the found one that differ and sets the owner mark.
/// After a change, reads the stream back.
pub(super) async fn ensure_stream(
    context: &jetstream::Context,
    wanted: &Wanted,
    mark: &OwnerMark,
    mut found: Option<Stream>,
) -> Result<Stream, BrokerError> {
    let name = &wanted.name;
    for _ in 0..LOOKS {
        let Some(stream) = found else {
            create(context, wanted, mark).await?;
            // Looked at in any case: another worker may have created it at the same moment.
            found = find_stream(context, name).await?;
            continue;
        };
        let revision = wanted.revise(&stream.cached_info().config);
        if !change(context, wanted, mark, &stream, revision).await? {
            return Ok(stream);
        }
        found = find_stream(context, name).await?;
        let Some(stream) = found else { continue };
        return match missing(wanted, mark, &stream.cached_info().config)? {
            None => Ok(stream),
            Some(setting) => Err(BrokerError::Mismatch { name: name.clone(), setting }),
        };
    }
    Err(BrokerError::Mismatch { name: name.clone(), setting: "name" })
}

/// Returns the first setting that is still not as wanted.
fn missing(wanted: &Wanted, mark: &OwnerMark, config: &Config) -> Result<Option<&'static str>, BrokerError> {
    match mark.judge(wanted, config)? {
        Standing::Marked => Ok(wanted.first_change(config)),
        Standing::Unmarked | Standing::WithoutProject | Standing::TakenOver { .. } => Ok(Some("owner mark")),
    }
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
        let may_be_lowered = config.max_bytes > SMALLEST_DEFAULT
            && matches!(wanted.size.source, LimitSource::Account | LimitSource::Default);
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

/// Sets the owner mark of an existing stream, and leaves its settings as they are.
pub(super) async fn mark_stream(
    context: &jetstream::Context,
    wanted: &Wanted,
    mark: &OwnerMark,
    found: &Stream,
) -> Result<(), BrokerError> {
    let revision = ConfigChange::unchanged(&found.cached_info().config);
    change(context, wanted, mark, found, revision).await.map(drop)
}

/// Gives an existing stream a revised configuration and the owner mark. Returns false when it has
/// both already.
async fn change(
    context: &jetstream::Context,
    wanted: &Wanted,
    mark: &OwnerMark,
    found: &Stream,
    revision: ConfigChange,
) -> Result<bool, BrokerError> {
    let stream = &*wanted.name;
    let info = found.cached_info();
    let standing = mark.judge(wanted, &info.config)?;
    let ConfigChange { mut config, differences } = revision;
    for Difference { setting, found, wanted, decider, stays } in &differences {
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
        } else {
            tracing::info!(
                stream,
                setting,
                from = found,
                to = wanted,
                decided_by,
                "changing a stream's setting"
            );
        }
    }
    match &standing {
        Standing::Marked if differences.iter().all(|difference| difference.stays) => return Ok(false),
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
    for Difference { setting, found, wanted, .. } in differences.iter().filter(|difference| !difference.stays)
    {
        tracing::info!(stream, setting, from = found, to = wanted, "changed a stream's setting");
    }
    Ok(true)
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
