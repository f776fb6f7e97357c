//! Switches for what goes wrong, thrown while the Hub runs.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::http::StatusCode;
use bytes::Bytes;

use super::refusal::Refusal;

/// The switches of one Hub; clones throw the same ones. A count is used up by the requests it spoils.
#[derive(Debug, Clone, Default)]
pub struct Faults(Arc<Mutex<Switches>>);

#[derive(Debug, Default)]
struct Switches {
    refused: Option<StatusCode>,
    unavailable: u32,
    limited: u32,
    retry_after: Duration,
    conflicts: u32,
    rivals: VecDeque<(String, Bytes)>,
    lost_commits: u32,
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
        // Every change is one assignment, so a panic elsewhere leaves nothing half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Every request is answered with this status, such as 401 or 403, until `None` is set.
    pub fn refuse(&self, status: Option<StatusCode>) {
        self.switches().refused = status;
    }

    /// The next `count` requests are answered 503.
    pub fn unavailable(&self, count: u32) {
        self.switches().unavailable = count;
    }

    /// The next `count` requests are answered 429 with this `Retry-After`, in whole seconds.
    pub fn limit(&self, count: u32, retry_after: Duration) {
        let mut switches = self.switches();
        (switches.limited, switches.retry_after) = (count, retry_after);
    }

    /// The next `count` commits are answered 412 though nobody else committed.
    pub fn conflict(&self, count: u32) {
        self.switches().conflicts = count;
    }

    /// Just before the next commit is looked at, somebody else commits this file.
    pub fn rival(&self, path: impl Into<String>, content: impl Into<Bytes>) {
        self.switches().rivals.push_back((path.into(), content.into()));
    }

    /// The next `count` commits are applied, and the connection is closed without an answer.
    pub fn lose_commit_answer(&self, count: u32) {
        self.switches().lost_commits = count;
    }

    /// The next `count` commits are not applied and answered 503.
    pub fn fail_commit(&self, count: u32) {
        self.switches().failed_commits = count;
    }

    /// The next upload to the object store is cut after this many bytes.
    pub fn cut_upload(&self, after: u64) {
        self.switches().cut_uploads.push_back(after);
    }

    /// The next `count` links to the object store have ended by the time they are used.
    pub fn end_links(&self, count: u32) {
        self.switches().ended_links = count;
    }

    /// Uploads wait this long after every piece they take in.
    pub fn slow_uploads(&self, pause: Duration) {
        self.switches().upload_pause = pause;
    }

    /// The next download is cut after this many bytes.
    pub fn cut_download(&self, after: u64) {
        self.switches().cut_downloads.push_back(after);
    }

    /// The next `count` downloads carry other bytes than their SHA-256 says.
    pub fn corrupt_download(&self, count: u32) {
        self.switches().corrupt_downloads = count;
    }

    /// Whether every counted fault has struck.
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

    pub(super) fn take_conflict(&self) -> bool {
        take(&mut self.switches().conflicts)
    }

    pub(super) fn take_rival(&self) -> Option<(String, Bytes)> {
        self.switches().rivals.pop_front()
    }

    pub(super) fn take_lost_commit(&self) -> bool {
        take(&mut self.switches().lost_commits)
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

    /// What to answer the next request with, instead of serving it.
    pub(super) fn take_refusal(&self) -> Option<Refusal> {
        let mut switches = self.switches();
        if let Some(status) = switches.refused {
            return Some(Refusal::new(status, "refused by a fault switch"));
        }
        if take(&mut switches.unavailable) {
            return Some(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable by a fault switch"));
        }
        if take(&mut switches.limited) {
            let refusal = Refusal::new(StatusCode::TOO_MANY_REQUESTS, "limited by a fault switch");
            return Some(refusal.retry_after(switches.retry_after));
        }
        None
    }
}
