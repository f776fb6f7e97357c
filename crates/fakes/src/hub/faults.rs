//! Switches that inject faults while the Hub runs.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::http::StatusCode;
use bytes::Bytes;

use super::refusal::Refusal;

/// The fault switches of one Hub, shared by all clones. Each request that a fault hits uses up one
/// of the fault's count.
#[derive(Debug, Clone, Default)]
pub struct Faults(Arc<Mutex<Switches>>);

#[derive(Debug, Default)]
struct Switches {
    refused: Option<StatusCode>,
    /// Prefix of the paths that are refused, and the refusal.
    refused_below: Option<(String, StatusCode, &'static str, String)>,
    /// Old and new name of a repo.
    renamed: Option<(String, String)>,
    unavailable: u32,
    limited: u32,
    retry_after: Duration,
    conflicts: u32,
    rivals: VecDeque<(String, Bytes)>,
    lost_commits: u32,
    /// Status of every answer after a commit whose answer was lost.
    refused_then: Option<StatusCode>,
    failed_commits: u32,
    cut_uploads: VecDeque<u64>,
    ended_links: u32,
    upload_pause: Duration,
    cut_downloads: VecDeque<u64>,
    corrupt_downloads: u32,
}

fn take(count: &mut u32) -> bool {
    let any = *count > 0;
    *count = count.saturating_sub(1);
    any
}

impl Faults {
    fn switches(&self) -> MutexGuard<'_, Switches> {
        // Every change is one assignment, so a panic elsewhere leaves no change half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends every fault that lasts, and discards those that have not happened yet.
    pub fn clear(&self) {
        *self.switches() = Switches::default();
    }

    /// Answers every request with this status, such as 401 or 403, until `None` is set.
    pub fn refuse(&self, status: Option<StatusCode>) {
        self.switches().refused = status;
    }

    /// Answers every request to a path with this prefix with this status, error code and message, such
    /// as the refusal of a gated repo, until another prefix is set. An empty prefix means none.
    pub fn refuse_below(
        &self,
        prefix: impl Into<String>,
        status: StatusCode,
        code: &'static str,
        message: impl Into<String>,
    ) {
        let prefix = prefix.into();
        let refused = (prefix, status, code, message.into());
        self.switches().refused_below = Some(refused).filter(|(prefix, ..)| !prefix.is_empty());
    }

    /// Redirects every request about the repo `old` to the repo `new`, as after a renaming.
    pub fn rename(&self, old: impl Into<String>, new: impl Into<String>) {
        self.switches().renamed = Some((old.into(), new.into()));
    }

    /// Answers the next `count` requests with 503.
    pub fn unavailable(&self, count: u32) {
        self.switches().unavailable = count;
    }

    /// Answers the next `count` requests with 429 and this `Retry-After`, in whole seconds.
    pub fn limit(&self, count: u32, retry_after: Duration) {
        let mut switches = self.switches();
        (switches.limited, switches.retry_after) = (count, retry_after);
    }

    /// Answers the next `count` commits with 412 although nobody else committed.
    pub fn conflict(&self, count: u32) {
        self.switches().conflicts = count;
    }

    /// Commits this file in somebody else's name, just before the next commit is applied.
    pub fn rival(&self, path: impl Into<String>, content: impl Into<Bytes>) {
        self.switches().rivals.push_back((path.into(), content.into()));
    }

    /// Applies the next `count` commits but closes the connection without a response.
    pub fn lose_commit_answer(&self, count: u32) {
        self.switches().lost_commits = count;
    }

    /// Applies the next commit, closes the connection without a response, and answers every request after
    /// that with this status, until [`refuse`](Self::refuse) sets another one.
    pub fn lose_commit_answer_and_refuse(&self, status: StatusCode) {
        let mut switches = self.switches();
        (switches.lost_commits, switches.refused_then) = (1, Some(status));
    }

    /// Answers the next `count` commits with 503 without applying them.
    pub fn fail_commit(&self, count: u32) {
        self.switches().failed_commits = count;
    }

    /// Cuts the next upload to the object store after this many bytes.
    pub fn cut_upload(&self, after: u64) {
        self.switches().cut_uploads.push_back(after);
    }

    /// Rejects the next `count` uses of a link to the object store, as if the link had expired.
    pub fn end_links(&self, count: u32) {
        self.switches().ended_links = count;
    }

    /// Delays every upload by this pause after each chunk.
    pub fn slow_uploads(&self, pause: Duration) {
        self.switches().upload_pause = pause;
    }

    /// Cuts the next download after this many bytes.
    pub fn cut_download(&self, after: u64) {
        self.switches().cut_downloads.push_back(after);
    }

    /// Corrupts the next `count` downloads, so that their bytes do not match their SHA-256.
    pub fn corrupt_download(&self, count: u32) {
        self.switches().corrupt_downloads = count;
    }

    /// Returns true when every counted fault is used up.
    pub fn spent(&self) -> bool {
        let switches = self.switches();
        let counts = [
            switches.unavailable,
            switches.limited,
            switches.conflicts,
            switches.lost_commits,
            switches.failed_commits,
            switches.ended_links,
            switches.corrupt_downloads,
        ];
        counts.iter().all(|count| *count == 0)
            && switches.rivals.is_empty()
            && switches.cut_uploads.is_empty()
            && switches.cut_downloads.is_empty()
    }

    /// Returns the old and the new name of the renamed repo.
    pub(super) fn renamed(&self) -> Option<(String, String)> {
        self.switches().renamed.clone()
    }

    pub(super) fn take_conflict(&self) -> bool {
        take(&mut self.switches().conflicts)
    }

    pub(super) fn take_rival(&self) -> Option<(String, Bytes)> {
        self.switches().rivals.pop_front()
    }

    pub(super) fn take_lost_commit(&self) -> bool {
        let mut switches = self.switches();
        let lost = take(&mut switches.lost_commits);
        if lost && let Some(status) = switches.refused_then.take() {
            switches.refused = Some(status);
        }
        lost
    }

    pub(super) fn take_failed_commit(&self) -> bool {
        take(&mut self.switches().failed_commits)
    }

    pub(super) fn take_cut_upload(&self) -> Option<u64> {
        self.switches().cut_uploads.pop_front()
    }

    pub(super) fn take_ended_link(&self) -> bool {
        take(&mut self.switches().ended_links)
    }

    pub(super) fn take_cut_download(&self) -> Option<u64> {
        self.switches().cut_downloads.pop_front()
    }

    pub(super) fn take_corrupt_download(&self) -> bool {
        take(&mut self.switches().corrupt_downloads)
    }

    pub(super) fn upload_pause(&self) -> Duration {
        self.switches().upload_pause
    }

    /// Returns the error response for the next request, or `None` when the request is to be served.
    pub(super) fn take_refusal(&self, path: &str) -> Option<Refusal> {
        let mut switches = self.switches();
        if let Some((prefix, status, code, message)) = &switches.refused_below
            && path.starts_with(prefix.as_str())
        {
            return Some(Refusal::coded(*status, code, message.as_str()));
        }
        if let Some(status) = switches.refused {
            return Some(Refusal::new(status, "refused by a fault switch"));
        }
        if take(&mut switches.unavailable) {
            return Some(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "made unavailable by a fault switch"));
        }
        if take(&mut switches.limited) {
            let refusal = Refusal::new(StatusCode::TOO_MANY_REQUESTS, "rate-limited by a fault switch");
            return Some(refusal.retry_after(switches.retry_after));
        }
        None
    }
}
