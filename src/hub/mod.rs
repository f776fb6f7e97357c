//! The Hugging Face Hub, as this worker uses it.
//!
//! Owns the way to one model repo: which releases it holds, fetching one, publishing one, and the names and the
//! model card of releases. Never looks into a release, never decides whether one is worth publishing, and
//! keeps nothing between calls.
//!
//! ```text
//! access      which repo, which token, how long to wait
//! release     release names, and how the backend orders them
//! digest      SHA-256
//! error       what can go wrong, and what to do about it
//! repository  the way in: list, download, publish
//! wire        HTTP calls: token, deadlines, trying again
//! listing     head and releases
//! download    one release, resumed and verified
//! model       a whole model folder
//! upload/     content, then one commit
//! card        the model card
//! repo_card   the card on the repo's page, beside what a person wrote there
//! index       which model is live, for consumers
//! ```

mod access;
mod card;
mod digest;
mod download;
mod error;
mod index;
mod listing;
mod model;
mod release;
mod repo_card;
mod repository;
mod upload;
mod wire;

pub use access::{HubAccess, NotARepoName, Patience, RepoName};
pub use card::{Card, DomainScores, ReleaseScores, rollback_card};
pub(crate) use digest::Hasher;
pub use digest::{Digest, NotADigest};
pub use error::HubError;
pub use index::{Entry, INDEX, Index, Live, Metrics};
pub use listing::{CommitId, NotACommitId};
pub use release::{FOLDER, NotARelease, NotAStamp, RECEIPTS, Release, ReleaseName, Stamp};
pub use repository::Repository;
pub use upload::{Extra, Listed, OnUploadProgress, Published, ReplacePolicy, Upload, UploadProgress};
