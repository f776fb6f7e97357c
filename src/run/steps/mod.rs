//! The stages of a run.

mod judging;
mod loading;
mod package;
pub(in crate::run) mod publish;
mod train;

pub(in crate::run) use judging::RunPapers;
pub(in crate::run) use package::{ReleaseMetadata, package};
pub(in crate::run) use publish::PublishOutcome;
pub(in crate::run) use train::train;
