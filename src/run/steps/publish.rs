//! The publish stage: looks before it sends, and sends what was written down.
//!
//! Every zip is in the record before it is sent. So whoever meets one of them on the Hub knows that this run has
//! published, whichever attempt it was, and even while another worker, cut off and not knowing it, still sends.
//!
//! A model only takes the place of the one it was judged beside, and never that of a version that a person made live
//! again after the run began: the commit is made on exactly the head where both were seen to hold.

use crate::broker::{Began, PackageRecord, PublishedArtifact};
use crate::hub::{Extra, HubError, Listed, ReleaseName, ReplacePolicy, Upload};

use crate::run::error::RunError;
use crate::run::pipeline::Pipeline;
use crate::run::provenance::Receipt;
use crate::run::recorder::RunRecorder;
use crate::run::stage::Stage;
use crate::run::storage::RunDir;
use crate::run::storage::blocking;
use crate::run::watchdog::RunWatchdog;

/// What came of a try to publish.
pub(in crate::run) enum PublishOutcome {
    /// The release is on the Hub.
    Published(PublishedArtifact),
    /// There is no zip: it was never made, or is not here, and is to be made anew under the same name.
    Nothing,
    /// Another model is live than the one it was judged beside, so it is to be judged again. The zip is forgotten.
    Outdated(HubError),
}

/// Notes what is known of rollbacks when a run begins, and when a person has it tried again.
pub(in crate::run) async fn begin(
    pipeline: &Pipeline,
    recorder: &mut RunRecorder,
    watchdog: &RunWatchdog,
) -> Result<(), RunError> {
    let record = &recorder.record;
    // Until the data is fetched, an attempt starts over, from what is live then.
    let begun = record.began.as_ref().filter(|_| record.dataset_hash.is_some());
    if begun.is_some_and(|began| began.retry == record.retries) {
        return Ok(());
    }
    let index = watchdog.watch(async { Ok(pipeline.repository.index().await) }).await?;
    let rollback = match index {
        Ok(index) => index.last_rollback().map(|entry| entry.version.clone()),
        // It is made later, or repaired by then; else publishing says so.
        Err(HubError::NoRepository { .. } | HubError::Index) => None,
        Err(error) => return Err(error.into()),
    };
    recorder.record.began = Some(Began { retry: recorder.record.retries, rollback });
    Ok(())
}

/// Publishes the zip in hand, if there is one.
pub(in crate::run) async fn resume(
    pipeline: &Pipeline,
    recorder: &mut RunRecorder,
    run_dir: &RunDir,
    watchdog: &RunWatchdog,
) -> Result<PublishOutcome, RunError> {
    if let Some(artifact) = recorder.record.artifact.clone() {
        return Ok(PublishOutcome::Published(artifact));
    }
    let Some(package) = recorder.record.packages.last().cloned() else { return Ok(PublishOutcome::Nothing) };
    if let Some(artifact) = landed(pipeline, &recorder.record.packages).await? {
        recorder.record.artifact = Some(artifact.clone());
        return Ok(PublishOutcome::Published(artifact));
    }
    let ready = {
        let (run_dir, package) = (run_dir.clone(), package.clone());
        blocking(move || Ok(run_dir.kept(&package))).await?
    };
    let Some((zip, companions)) = ready else { return Ok(PublishOutcome::Nothing) };
    let Ok(release) = package.release.parse::<ReleaseName>() else { return Ok(PublishOutcome::Nothing) };
    let Ok(receipt) = serde_json::from_str::<Receipt>(&companions.receipt) else {
        return Ok(PublishOutcome::Nothing);
    };
    let entry = receipt.entry(&release, pipeline.clock.now());
    watchdog.check()?;
    let upload = Upload {
        extras: vec![Extra { path: release.receipt_path(), content: companions.receipt.into() }],
        listed: Some(Listed { card: companions.card, entry }),
        replaces: ReplacePolicy::Only(package.instead_of.and_then(|name| name.parse().ok())),
        summary: format!("Add {}", release.as_str()),
        archive: zip,
        release,
        progress: None,
    };
    let ours = recorder.record.packages.clone();
    let known = recorder.record.began.as_ref().and_then(|began| began.rollback.clone());
    let job = recorder.record.id.to_string();
    let published = recorder
        .stage(Stage::Publish, async {
            watchdog.watch(not_rolled_back(pipeline, job, known)).await?;
            let published =
                watchdog.commit(async { Ok(Box::pin(pipeline.repository.publish(upload)).await?) }).await;
            let artifact = match published {
                Ok(published) => PublishedArtifact {
                    path: published.path,
                    commit: published.commit.as_str().to_owned(),
                    sha256: published.sha256.to_string(),
                    size: published.size,
                },
                // The name's bytes may be those of another attempt of this run.
                Err(error @ RunError::Hub(HubError::Taken { .. } | HubError::Superseded { .. })) => {
                    landed(pipeline, &ours).await?.ok_or(error)?
                }
                Err(error) => return Err(error),
            };
            let figures = artifact.clone();
            Ok((artifact, figures))
        })
        .await;
    match published {
        Ok(artifact) => {
            recorder.record.artifact = Some(artifact.clone());
            Ok(PublishOutcome::Published(artifact))
        }
        Err(RunError::Hub(error @ (HubError::Taken { .. } | HubError::Superseded { .. }))) => {
            recorder.record.release = None;
            recorder.record.packages.clear();
            recorder.save().await?;
            Ok(PublishOutcome::Outdated(error))
        }
        Err(error) => Err(error),
    }
}

/// Refuses when a version was made live again that is not the `known` one. A rollback that comes right after this
/// look changes what is live, which the commit notices.
async fn not_rolled_back(pipeline: &Pipeline, job: String, known: Option<String>) -> Result<(), RunError> {
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

/// The release that one of these zips has become, if it lies on the Hub.
async fn landed(
    pipeline: &Pipeline,
    packages: &[PackageRecord],
) -> Result<Option<PublishedArtifact>, RunError> {
    let releases = Box::pin(pipeline.repository.releases()).await?;
    let found = releases.iter().find(|release| {
        packages.iter().any(|package| {
            package.release == release.name.as_str()
                && release.sha256.is_some_and(|sha256| sha256.to_string() == package.sha256)
        })
    });
    let Some(release) = found else { return Ok(None) };
    tracing::info!(path = %release.path(), "an attempt before has published");
    let sha256 = release.sha256.map(|sha256| sha256.to_string()).unwrap_or_default();
    let commit = pipeline.repository.head().await?.as_str().to_owned();
    Ok(Some(PublishedArtifact { path: release.path(), commit, sha256, size: release.size }))
}
