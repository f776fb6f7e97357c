//! Load-base: loads the model that training starts from and those it will be compared with, and
//! hashes its weights.

use serde_json::json;

use crate::broker::{JobRequest, RunRecord};
use crate::hub::ReleaseName;
use crate::run::error::RunError;
use crate::run::pipeline::Pipeline;
use crate::run::provenance::Ancestor;
use crate::run::stage::Stage;
use crate::run::storage::{BaseModel, ModelCache, blocking};

use super::{Package, Step, StepContext, StepOutput};

/// Loads the base model and the models to compare with. Whatever would keep the new model from being
/// published is found here, before hours of training.
pub(in crate::run) struct LoadBase<'a> {
    cache: &'a ModelCache<'a>,
    /// A release path, a Hub name, or a folder; `None` for the newest release.
    wanted: Option<String>,
    /// Reason of an earlier attempt that the run doesn't start from the live release.
    not_continued: Option<String>,
    /// True when the new model is to be published under a name that is not chosen yet.
    publishes: bool,
}

/// The base model, and its name, origin and hash for the lineage.
pub(in crate::run) struct LoadedBase {
    pub(in crate::run) model: BaseModel,
    pub(in crate::run) ancestor: Ancestor,
}

impl<'a> LoadBase<'a> {
    /// Chooses the base model of a run. An attempt that continues a run starts from the same model
    /// as the attempt before, no matter what has been released since.
    pub(in crate::run) fn of(
        pipeline: &Pipeline,
        cache: &'a ModelCache<'a>,
        record: &RunRecord,
        request: &JobRequest,
    ) -> Self {
        let before = record.base_model.clone().filter(|_| record.dataset_hash.is_some());
        let wanted = match before {
            Some(label) if ReleaseName::from_path(&label).is_some() => Some(label),
            Some(_) => request.base_model.clone().or_else(|| Some(pipeline.plan.base_model.clone())),
            None => request.base_model.clone(),
        };
        let not_continued = record.not_continued.clone().filter(|_| record.dataset_hash.is_some());
        Self { cache, wanted, not_continued, publishes: !request.dry_run && record.release.is_none() }
    }
}

impl Step for LoadBase<'_> {
    const STAGE: Stage = Stage::LoadBase;
    type Output = LoadedBase;

    async fn perform(self, context: &StepContext<'_>) -> Result<StepOutput<LoadedBase>, RunError> {
        let pipeline = context.pipeline;
        let mut model = context
            .watchdog
            .watch(async {
                pipeline.repository.create_if_missing(pipeline.plan.private_repository).await?;
                if self.publishes {
                    Package::next_name(pipeline).await?;
                    pipeline.repository.index().await?;
                }
                let base = self.cache.base(self.wanted.as_deref()).await?;
                self.cache.baselines(&base).await?;
                Ok(base)
            })
            .await?;
        model.not_continued = model.not_continued.or(self.not_continued);
        for remark in model.folder.remarks() {
            tracing::warn!(model = model.label, "{remark}");
        }
        let (model, ancestor) = blocking(move || {
            let ancestor = Ancestor::of(&model)?;
            Ok((model, ancestor))
        })
        .await?;
        let figures = json!({
            "model": model.label,
            "origin": model.origin,
            "live_unreadable": told(&model),
            "not_continued": model.not_continued,
            "weights_sha256": ancestor.weights_sha256,
        });
        StepOutput::new(LoadedBase { model, ancestor }, figures)
    }

    fn record(output: &LoadedBase, record: &mut RunRecord) -> Result<(), RunError> {
        record.base_model = Some(output.model.label.clone());
        // A later attempt starts from the same model because the record names it, and no longer looks at
        // the release.
        record.not_continued.clone_from(&output.model.not_continued);
        record.live_unreadable = told(&output.model).or(record.live_unreadable.take());
        Ok(())
    }
}

/// Returns the sentence about a live release that the run could not start from.
fn told(model: &BaseModel) -> Option<String> {
    model.unreadable.as_ref().map(|unreadable| unreadable.sentence(&model.label))
}
