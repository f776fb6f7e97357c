//! Publish: checks the Hub before it uploads, and uploads the package that the record names.
//!
//! Every zip is in the record before it is uploaded. So an attempt that finds one of these zips on
//! the Hub knows that the run has published, no matter which attempt uploaded the zip. This holds
//! even while another worker, cut off and unaware, is still uploading.
//!
//! A model replaces only the release that it was measured against, and never a version that a
//! person made live again after the run began. The commit names as its parent exactly the head at
//! which both conditions were checked.

use crate::broker::{KnownRollback, PackageRecord, PublishedArtifact, RunRecord};
use crate::hub::{Extra, HubError, Listed, LiveRelease, Release, ReleaseName, ReplacePolicy, Upload};
use crate::run::error::RunError;
use crate::run::pipeline::Pipeline;
use crate::run::provenance::Receipt;
use crate::run::recorder::RunRecorder;
use crate::run::stage::Stage;
use crate::run::storage::blocking;

use super::{Step, StepContext, StepOutput};

/// Uploads and commits a finished zip.
struct Publish {
    upload: Upload,
    /// All zips that attempts of this run have recorded.
    packages: Vec<PackageRecord>,
    /// Latest rollback that was known when the run began.
    known_rollback: Option<String>,
}

impl Step for Publish {
    const STAGE: Stage = Stage::Publish;
    type Output = PublishedArtifact;

    async fn perform(self, context: &StepContext<'_>) -> Result<StepOutput<PublishedArtifact>, RunError> {
        let StepContext { pipeline, job, watchdog, .. } = context;
        watchdog.watch(refuse_after_rollback(pipeline, job.to_string(), self.known_rollback)).await?;
        let published =
            watchdog.commit(async { Ok(Box::pin(pipeline.repository.publish(self.upload)).await?) }).await;
        let artifact = match published {
            Ok(published) => PublishedArtifact {
                path: published.path,
                commit: published.commit.as_str().to_owned(),
                sha256: published.sha256.to_string(),
                size: published.size,
            },
            // The release that took the name or the place may be a zip of another attempt of this
            // run.
            Err(error @ RunError::Hub(HubError::Taken { .. } | HubError::Superseded { .. })) => {
                find_published(pipeline, &self.packages).await?.ok_or(error)?
            }
            Err(error) => return Err(error),
        };
        StepOutput::new(artifact.clone(), artifact)
    }

    fn record(output: &PublishedArtifact, record: &mut RunRecord) -> Result<(), RunError> {
        record.artifact = Some(output.clone());
        Ok(())
    }
}

/// Result of a try to publish.
pub(in crate::run) enum PublishOutcome {
    /// The release is on the Hub.
    Published(PublishedArtifact),
    /// There is no zip: it was never made, or it is not on this disk. The run makes it again under
    /// the same name.
    NoPackage,
    /// The live model is no longer the one that the package was measured against. The package is
    /// discarded, and the model must be evaluated again.
    Outdated(HubError),
}

/// Records the latest rollback when a run begins, and when a person retries the run.
pub(in crate::run) async fn record_known_rollback(
    recorder: &mut RunRecorder,
    context: &StepContext<'_>,
) -> Result<(), RunError> {
    let record = &recorder.record;
    // Until the data is fetched, an attempt starts over from the version that is live at that time.
    let begun = record.began.as_ref().filter(|_| record.dataset_hash.is_some());
    if begun.is_some_and(|began| began.retry == record.retries) {
        return Ok(());
    }
    let index = context.watchdog.watch(async { Ok(context.pipeline.repository.index().await) }).await?;
    let rollback = match index {
        Ok(index) => index.last_rollback().map(|entry| entry.version.clone()),
        // A missing repository is created later, and a damaged index may be repaired by then; if
        // not, publishing reports it.
        Err(HubError::NoRepository { .. } | HubError::Index) => None,
        Err(error) => return Err(error.into()),
    };
    recorder.record.began = Some(KnownRollback { retry: recorder.record.retries, rollback });
    Ok(())
}

/// Publishes the package that the record names, if there is one.
pub(in crate::run) async fn publish_package(
    recorder: &mut RunRecorder,
    context: &StepContext<'_>,
) -> Result<PublishOutcome, RunError> {
    if let Some(artifact) = recorder.record.artifact.clone() {
        return Ok(PublishOutcome::Published(artifact));
    }
    let packages = recorder.record.packages.clone();
    let Some(package) = packages.last().cloned() else { return Ok(PublishOutcome::NoPackage) };
    if let Some(artifact) = find_published(context.pipeline, &packages).await? {
        recorder.record.artifact = Some(artifact.clone());
        return Ok(PublishOutcome::Published(artifact));
    }
    let Some(upload) = prepare(context, package).await? else { return Ok(PublishOutcome::NoPackage) };
    context.watchdog.check()?;
    let known_rollback = recorder.record.began.as_ref().and_then(|began| began.rollback.clone());
    match recorder.perform(Publish { upload, packages, known_rollback }, context).await {
        Ok(artifact) => Ok(PublishOutcome::Published(artifact)),
        Err(RunError::Hub(error @ (HubError::Taken { .. } | HubError::Superseded { .. }))) => {
            recorder.record.release = None;
            recorder.record.packages.clear();
            recorder.save().await?;
            Ok(PublishOutcome::Outdated(error))
        }
        Err(error) => Err(error),
    }
}

/// Prepares the upload of a recorded package; `None` unless the zip and its companion files are
/// complete on this disk.
async fn prepare(context: &StepContext<'_>, package: PackageRecord) -> Result<Option<Upload>, RunError> {
    let ready = {
        let (run_dir, package) = (context.run_dir.clone(), package.clone());
        blocking(move || Ok(run_dir.load_package(&package))).await?
    };
    let Some((archive, companions)) = ready else { return Ok(None) };
    let (Ok(release), Ok(receipt)) =
        (package.release.parse::<ReleaseName>(), serde_json::from_str::<Receipt>(&companions.receipt))
    else {
        return Ok(None);
    };
    let entry = receipt.entry(&release, context.pipeline.clock.now());
    Ok(Some(Upload {
        extras: vec![Extra { path: release.receipt_path(), content: companions.receipt.into() }],
        listed: Some(Listed { card: companions.card, entry }),
        replaces: ReplacePolicy::Only(package.instead_of.and_then(|name| {
            Some(LiveRelease { name: name.parse().ok()?, content: package.instead_of_content })
        })),
        summary: format!("Add {}", release.as_str()),
        archive,
        release,
        progress: None,
    }))
}

/// Fails when the latest rollback is not the `known` one. A rollback right after this check changes
/// the live version, and the commit detects that.
async fn refuse_after_rollback(
    pipeline: &Pipeline,
    job: String,
    known: Option<String>,
) -> Result<(), RunError> {
    let index = pipeline.repository.index().await?;
    match index.last_rollback() {
        Some(entry) if Some(&entry.version) != known.as_ref() => Err(RunError::RolledBack {
            job,
            version: entry.rollback_of.clone().unwrap_or_default(),
            live: entry.version.clone(),
        }),
        _ => Ok(()),
    }
}

/// Finds the release on the Hub that holds one of these packages.
pub(in crate::run) async fn find_published(
    pipeline: &Pipeline,
    packages: &[PackageRecord],
) -> Result<Option<PublishedArtifact>, RunError> {
    published_among(pipeline, &Box::pin(pipeline.repository.releases()).await?, packages).await
}

/// Finds the one of these releases that holds one of these packages.
pub(in crate::run) async fn published_among(
    pipeline: &Pipeline,
    releases: &[Release],
    packages: &[PackageRecord],
) -> Result<Option<PublishedArtifact>, RunError> {
    let found = releases.iter().find(|release| {
        packages.iter().any(|package| {
            package.release == release.name.as_str()
                && release.sha256.is_some_and(|sha256| sha256.to_string() == package.sha256)
        })
    });
    let Some(release) = found else { return Ok(None) };
    tracing::info!(path = %release.path(), "an earlier attempt has published");
    let sha256 = release.sha256.map(|sha256| sha256.to_string()).unwrap_or_default();
    let commit = pipeline.repository.head().await?.as_str().to_owned();
    Ok(Some(PublishedArtifact { path: release.path(), commit, sha256, size: release.size }))
}
