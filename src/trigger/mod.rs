//! Decides when a job starts: N pairs, or T elapsed, or quiet after some.
//!
//! Owns the policy and what must be remembered for it: up to which stream sequence pairs are spoken for.
//! Never trains, and never reads a pair: it counts.
//!
//! Exactly one job per N pairs, whatever crashes: the *intent* to start a job is written first, by
//! compare-and-swap, and covers its pairs from that moment; then the job is published under an id derived
//! from the pairs' sequences, which the broker keeps once; then the intent is cleared. Whoever finds an
//! intent, after a crash or next to another worker, publishes the same job again, to no effect.
//!
//! A manual request doesn't touch the count when it is asked for: it may be refused, or fail. When any run
//! has trained on the pairs up to a sequence, the pipeline says so with [`Trigger::covered`], and only then
//! do they stop counting. While a job waits or runs, nothing fires; pairs that arrive count for the next.
//!
//! ```text
//! policy.rs     the pure decision
//! coverage.rs   what is remembered, and how it changes
//! listener.rs   watches for pairs, decides, fires
//! timeline.rs   tests: the policy and what is remembered, over time
//! ```

mod coverage;
mod listener;
mod policy;
#[cfg(test)]
mod timeline;

pub use coverage::{Coverage, Intent};
pub use listener::{JobQueue, Trigger};
pub use policy::{Decision, Reason, State, TriggerPolicy, decide};
