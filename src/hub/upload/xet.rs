//! Upload and commit in one call of `hf-hub`, for a Hub that accepts content only through Xet.

use hf_hub::progress::{ProgressEvent, ProgressHandler, UploadEvent};
use hf_hub::repository::CommitOperation;
use hf_hub::{HFRepository, RepoTypeModel};
use tokio::sync::watch;

use super::content::{Content, Source};
use super::transfer::Meter;
use super::{OnUploadProgress, UploadProgress};
use crate::hub::error::HubError;
use crate::hub::listing::CommitId;
use crate::hub::wire::Wire;

/// Forwards the library's progress events, and signals activity to the caller's idle timeout.
struct Events {
    happened: watch::Sender<()>,
    progress: Option<(OnUploadProgress, u64)>,
}

impl ProgressHandler for Events {
    fn on_progress(&self, event: &ProgressEvent) {
        self.happened.send_replace(());
        if let (
            ProgressEvent::Upload(UploadEvent::Progress { bytes_completed, .. }),
            Some((progress, total)),
        ) = (event, &self.progress)
        {
            progress(UploadProgress { bytes: *bytes_completed, total: *total });
        }
    }
}

/// Uploads and commits once, on top of exactly this parent. As with [`super::commit::commit`], the
/// caller checks the head before a retry.
pub(super) async fn commit(
    wire: &Wire,
    library: &HFRepository<RepoTypeModel>,
    parent: &CommitId,
    summary: &str,
    files: &[Content],
    meter: &Meter,
) -> Result<CommitId, HubError> {
    let operation = |file: &Content| match &file.source {
        Source::File(path) => CommitOperation::add_file(&file.path, path),
        Source::Memory(bytes) => CommitOperation::add_bytes(&file.path, bytes.clone()),
    };
    let (happened, mut watched) = watch::channel(());
    let events = Events { happened, progress: meter.tells() };
    let commit = library
        .create_commit()
        .operations(files.iter().map(operation).collect())
        .commit_message(summary)
        .parent_commit(parent.as_str())
        .progress(hf_hub::progress::Progress::new(events))
        .send();
    let mut commit = Box::pin(commit);
    let limit = wire.patience.idle.max(wire.patience.answer);
    let done = loop {
        tokio::select! {
            done = &mut commit => break done,
            Ok(()) = watched.changed() => {}
            () = tokio::time::sleep(limit) => return Err(HubError::TimedOut { limit }),
        }
    };
    let done = done.map_err(|error| HubError::library(error, &wire.access, ""))?;
    meter.set(files.iter().map(|file| file.size).sum());
    let id = done.commit_oid.and_then(|id| id.parse().ok());
    id.ok_or(HubError::Malformed { what: "the commit's id" })
}
