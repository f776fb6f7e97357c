//! The publish stage: looks before it sends, and sends what was written down.
//!
//! Every zip is in the record before it is sent. So whoever meets one of them on the Hub knows that this run has
//! published, whichever attempt it was, and even while another worker, cut off and not knowing it, still sends.

use crate::hub::{Extra, HubError, Listed, ReleaseName, Upload};
use crate::queue::{PackageRecord, PublishedArtifact};

use super::base::blocking;
use super::guard::Guard;
use super::journal::Journal;
use super::pipeline::Pipeline;
use super::workshop::Workshop;
use super::{JobError, Receipt, Stage};

/// Publishes the zip in hand. `None` when there is none: it was never made, or is not here, and is to be made anew
/// under the same name.
pub(super) async fn resume(
    pipeline: &Pipeline,
    journal: &mut Journal,
    workshop: &Workshop,
    guard: &Guard,
) -> Result<Option<PublishedArtifact>, JobError> {
    if let Some(artifact) = journal.record.artifact.clone() {
        return Ok(Some(artifact));
    }
    let Some(package) = journal.record.packages.last().cloned() else { return Ok(None) };
    if let Some(artifact) = landed(pipeline, &journal.record.packages).await? {
        journal.record.artifact = Some(artifact.clone());
        return Ok(Some(artifact));
    }
    let ready = {
        let (workshop, package) = (workshop.clone(), package.clone());
        blocking(move || Ok(workshop.kept(&package))).await?
    };
    let Some((zip, companions)) = ready else { return Ok(None) };
    let Ok(release) = package.release.parse::<ReleaseName>() else { return Ok(None) };
    let Ok(receipt) = serde_json::from_str::<Receipt>(&companions.receipt) else { return Ok(None) };
    let entry = receipt.entry(&release, pipeline.clock.now());
    guard.check()?;
    let extras = vec![Extra { path: release.receipt_path(), content: companions.receipt.into() }];
    let listed = Some(Listed { card: companions.card, entry });
    let summary = format!("Add {}", release.as_str());
    let upload = Upload { release, archive: zip, extras, listed, over: None, summary, progress: None };
    let ours = journal.record.packages.clone();
    let published = journal
        .stage(Stage::Publish, async {
            let published =
                guard.commit(async { Ok(Box::pin(pipeline.repository.publish(upload)).await?) }).await;
            let artifact = match published {
                Ok(published) => PublishedArtifact {
                    path: published.path,
                    commit: published.commit.as_str().to_owned(),
                    sha256: published.sha256.to_string(),
                    size: published.size,
                },
                // The name's bytes may be those of another attempt of this run.
                Err(error @ JobError::Hub(HubError::Taken { .. } | HubError::Superseded { .. })) => {
                    landed(pipeline, &ours).await?.ok_or(error)?
                }
                Err(error) => return Err(error),
            };
            let figures = artifact.clone();
            Ok((artifact, figures))
        })
        .await;
    match &published {
        Ok(artifact) => journal.record.artifact = Some(artifact.clone()),
        // Somebody else's release came before: the next attempt takes a later name.
        Err(JobError::Hub(HubError::Taken { .. } | HubError::Superseded { .. })) => {
            journal.record.release = None;
            journal.record.packages.clear();
            journal.save().await?;
        }
        Err(_) => {}
    }
    published.map(Some)
}

/// The release that one of these zips has become, if it lies on the Hub.
async fn landed(
    pipeline: &Pipeline,
    packages: &[PackageRecord],
) -> Result<Option<PublishedArtifact>, JobError> {
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
