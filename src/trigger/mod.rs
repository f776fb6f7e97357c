//! The trigger: starts a job after N pairs, after a maximum wait, or after a quiet period.
//!
//! Owns the policy and the state that it needs across restarts: the stream sequence up to which
//! pairs are covered. Never trains, and never reads a pair: it only counts them.
//!
//! The trigger starts exactly one job per N pairs, whatever crashes. First, it writes the *intent*
//! to start a job by compare-and-swap, and from then on the intent covers its pairs. Next, it
//! publishes the job under an id derived from the pairs' sequences, which the broker stores only
//! once. Last, it clears the intent. A worker that finds an intent, after a crash or beside another
//! worker, publishes the same job again, to no effect.
//!
//! A manual request does not change the count when it is made: the request may be refused, or its
//! run may fail. When any run has trained on the pairs up to a sequence, the pipeline calls
//! [`Trigger::covered`]; only then do these pairs stop counting. While a job waits or runs, the
//! trigger starts none; pairs that arrive meanwhile count for the next job.
//!
//! ```text
//! policy.rs     the decision, as a pure function
//! coverage.rs   the state kept across restarts, and its changes
//! listener.rs   the task that watches for pairs and starts jobs
//! timeline.rs   tests: a simulation of the policy and the stored state over time
//! ```

mod coverage;
mod listener;
mod policy;
#[cfg(test)]
mod timeline;

pub use coverage::{Coverage, Intent};
pub use listener::{JobQueue, Outlook, Trigger};
pub use policy::{Decision, DueJob, Reason, TriggerPolicy, TriggerState, decide, next_due, pause_after};
