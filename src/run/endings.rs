//! Endings of an attempt: what the run's record says of it, and whether another attempt follows.

use crate::broker::{RecordedError, RunRecord, RunState};
use crate::failure::{Failure, RetryDirective, chain};

use super::error::{Interruption, RunError};
use super::pipeline::{AttemptEnding, FinishedRun, Outcome, Pipeline};
use super::recorder::RunRecorder;
use super::steps::{clean_up, find_published};

/// Number of failed attempts after which a run is given up.
pub(super) const ATTEMPTS: u64 = 5;
/// Number of failed attempts after which a run is given up whose trouble may pass, and otherwise calls for
/// a person. The pauses between them add up to about half a minute.
const DOUBTS: u64 = 3;

impl Pipeline {
    /// Ends a run with the error of an earlier attempt, which could not record it.
    pub(super) async fn close_left(
        recorder: &mut RunRecorder,
        error: RecordedError,
    ) -> Result<AttemptEnding, RunError> {
        let (job, message) = (&recorder.record.id, &error.message);
        tracing::warn!(%job, error = message, "an attempt failed, and could not record it");
        recorder.end(RunState::Failed, Some(error)).await?;
        Ok(AttemptEnding::Closed(RunState::Failed))
    }

    /// Records how an attempt ended.
    pub(super) async fn close(
        &self,
        recorder: &mut RunRecorder,
        attempted: Result<FinishedRun, RunError>,
    ) -> Result<AttemptEnding, RunError> {
        let error = match attempted {
            Ok(finished) => {
                recorder.end(finished.state(), None).await?;
                return Ok(AttemptEnding::Finished(finished));
            }
            Err(error) => error,
        };
        match error.interruption() {
            Some(Interruption::Overtaken) => Ok(AttemptEnding::Overtaken),
            Some(Interruption::Stopping) => {
                recorder.end(RunState::Queued, None).await?;
                Ok(AttemptEnding::Retry { failures: 0 })
            }
            Some(Interruption::Cancelled) => Box::pin(self.close_cancelled(recorder)).await,
            None if error.needs_decision() => Self::close_undecided(recorder, &error).await,
            None => Self::close_failed(recorder, &error).await,
        }
    }

    /// Ends a run that a person cancelled. The cancellation comes too late when an earlier attempt has
    /// published without hearing of it, so the Hub is asked first.
    async fn close_cancelled(&self, recorder: &mut RunRecorder) -> Result<AttemptEnding, RunError> {
        let record = &recorder.record;
        let published = match record.may_be_published() {
            true => find_published(self, &record.packages).await,
            false => Ok(None),
        };
        let artifact = match published {
            Ok(artifact) => artifact,
            Err(error) => return Self::close_failed(recorder, &error).await,
        };
        clean_up(self, &record.id, self.run_dir(record)?).await?;
        let Some(artifact) = artifact else {
            recorder.end(RunState::Cancelled, None).await?;
            return Ok(AttemptEnding::Closed(RunState::Cancelled));
        };
        let covered = record.last_sequence.unwrap_or_default();
        recorder.record.artifact = Some(artifact.clone());
        let finished = FinishedRun { outcome: Outcome::Published(artifact), covered };
        recorder.end(finished.state(), None).await?;
        Ok(AttemptEnding::Finished(finished))
    }

    /// Ends a run whose model stays in the run's folder until a person decides. Its rows count as
    /// used.
    async fn close_undecided(
        recorder: &mut RunRecorder,
        error: &RunError,
    ) -> Result<AttemptEnding, RunError> {
        recorder.end(RunState::Refused, Some(RecordedError::new(error))).await?;
        let (job, advice) = (&recorder.record.id, error.advice());
        tracing::warn!(%job, error = chain(error), advice, "the model was not published");
        let covered = recorder.record.last_sequence.unwrap_or_default();
        Ok(AttemptEnding::Finished(FinishedRun { outcome: Outcome::Withheld, covered }))
    }

    async fn close_failed(recorder: &mut RunRecorder, error: &RunError) -> Result<AttemptEnding, RunError> {
        recorder.record.failures += 1;
        let failures = recorder.record.failures;
        let again = match error.directive() {
            RetryDirective::Retry => failures < ATTEMPTS,
            RetryDirective::Person => error.may_pass() && failures < DOUBTS,
            RetryDirective::Never => false,
        };
        let state = if again { RunState::Queued } else { RunState::Failed };
        recorder.end(state, Some(RecordedError::new(error))).await?;
        let (job, advice) = (&recorder.record.id, error.advice());
        tracing::warn!(%job, failures, again, error = chain(error), advice, "an attempt failed");
        Ok(if again { AttemptEnding::Retry { failures } } else { AttemptEnding::Closed(state) })
    }
}

/// Returns the message of the last error that an attempt of this run has recorded.
pub(super) fn last_message(record: &RunRecord) -> Option<String> {
    record.error.as_ref().map(|error| error.message.clone())
}

/// Returns the ending of a run whose record is already final: an earlier attempt was cut off
/// between saving the record and settling the job.
pub(super) fn recorded_ending(record: RunRecord) -> AttemptEnding {
    let covered = record.last_sequence.unwrap_or_default();
    let finished = |outcome| AttemptEnding::Finished(FinishedRun { outcome, covered });
    match (record.state, record.artifact) {
        (RunState::Done, Some(artifact)) => finished(Outcome::Published(artifact)),
        (RunState::Done, None) => finished(Outcome::DryRun),
        (RunState::Refused, _) => finished(Outcome::Withheld),
        (state @ (RunState::Queued | RunState::Running | RunState::Failed | RunState::Cancelled), _) => {
            AttemptEnding::Closed(state)
        }
    }
}
