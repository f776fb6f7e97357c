//! The stages of a run, one file each, all in the same form.
//!
//! A [`Step`] holds its input, returns the output that later stages use, and names the parts of the
//! output that belong in the run's record. Never records its own start, end, figures or errors: the
//! [recorder](crate::run::recorder) performs each step and does so. Never chooses the next step:
//! the [orchestrator](crate::run::orchestrator) does.
//!
//! ```text
//! load_base    the model that training starts from
//! fetch_data   the rows, sorted into training pairs and held-out queries
//! train        training on its own thread, from the last checkpoint if there is one
//! evaluate     the scores of the trained model, the live model, and the original one
//! gate         the decision whether the model may be published
//! package      folder, zip, and the check that the exported ONNX model embeds alike
//! publish      the check of the Hub, then upload and commit
//! clean_up     the removal of what the run left on disk and on the broker
//! ```

mod clean_up;
mod evaluate;
mod fetch_data;
mod gate;
mod load_base;
mod package;
mod publish;
mod train;

use std::future::Future;

use serde::Serialize;
use serde_json::Value;

use crate::broker::{BrokerError, JobId, JobRequest, RunRecord};

use super::error::RunError;
use super::pipeline::Pipeline;
use super::stage::Stage;
use super::storage::RunDir;
use super::watchdog::RunWatchdog;

pub(in crate::run) use clean_up::{CleanUp, clean_up};
pub(in crate::run) use evaluate::{Evaluate, Evaluated};
pub(in crate::run) use fetch_data::FetchData;
pub(in crate::run) use gate::Gate;
pub(in crate::run) use load_base::{LoadBase, LoadedBase};
pub(in crate::run) use package::Package;
pub(in crate::run) use publish::{
    PublishOutcome, find_published, publish_package, published_among, record_known_rollback,
};
pub(in crate::run) use train::Train;

/// One stage of a run. The fields of a step are its input.
pub(in crate::run) trait Step: Send {
    /// Stage under which the step is recorded.
    const STAGE: Stage;
    /// Output that later stages use.
    type Output: Send;

    /// Writes to the record what must be known before the work has any external effect.
    fn announce(&self, _record: &mut RunRecord) {}

    /// Does the work.
    ///
    /// # Errors
    /// [`RunError`], which the recorder writes to the record.
    fn perform(
        self,
        context: &StepContext<'_>,
    ) -> impl Future<Output = Result<StepOutput<Self::Output>, RunError>> + Send;

    /// Writes to the record what a later attempt, a person or another program needs from the
    /// output.
    ///
    /// # Errors
    /// [`RunError::Queue`] when a value can't be serialized as JSON.
    fn record(_output: &Self::Output, _record: &mut RunRecord) -> Result<(), RunError> {
        Ok(())
    }
}

/// Everything that the steps of one attempt share.
pub(in crate::run) struct StepContext<'a> {
    pub(in crate::run) pipeline: &'a Pipeline,
    pub(in crate::run) job: JobId,
    pub(in crate::run) request: &'a JobRequest,
    pub(in crate::run) run_dir: RunDir,
    pub(in crate::run) watchdog: &'a RunWatchdog,
}

/// Output of a step, and the step's figures for the record and the events.
pub(in crate::run) struct StepOutput<T> {
    pub(in crate::run) output: T,
    pub(in crate::run) figures: Value,
}

impl<T> StepOutput<T> {
    /// Pairs an output with its figures.
    pub(in crate::run) fn new(output: T, figures: impl Serialize) -> Result<Self, RunError> {
        Ok(Self { output, figures: to_json(figures)? })
    }
}

/// Converts a value to the JSON form that the record stores.
pub(in crate::run) fn to_json(value: impl Serialize) -> Result<Value, RunError> {
    Ok(serde_json::to_value(value).map_err(BrokerError::from)?)
}
