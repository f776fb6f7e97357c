//! Client of the Hugging Face Hub, limited to the needs of this worker.
//!
//! Owns access to one model repo: listing, downloading, and publishing releases, and the names and
//! model cards of releases. Never looks into a release, never decides if a release is worth
//! publishing, and keeps no state between calls.
//!
//! ```text
//! account     what the token may do
//! access      repo name, token, deadlines, and retry limits
//! release     release names, and the backend's order of them
//! digest      SHA-256
//! error       errors of the Hub, and advice for each
//! repository  entry point: list, download, publish
//! wire        HTTP calls: token, deadlines, retries
//! limits      sizes, counts and times of reads
//! listing     head, releases, and small files
//! download    download of one release, resumed and verified
//! model       download of a whole model folder
//! upload/     content, then one commit
//! card        model card
//! front_matter  YAML at the top of a card, one entry per key
//! repo_card   merge of the model card into the repo's page, which people may edit
//! serving     advice on serving a release, for index and card
//! versions    versions of a repo, for lists
//! fuzzing     doors for the fuzzer
//! index       models/index.json, which tells consumers the live model
//! ```

mod access;
mod account;
mod card;
mod digest;
mod download;
mod error;
mod front_matter;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod index;
mod limits;
mod listing;
mod model;
mod release;
mod repo_card;
mod repository;
mod serving;
mod upload;
mod versions;
mod wire;

pub use access::{HubAccess, NotARepoName, RepoName, RetryPolicy};
pub use account::TokenRole;
pub use card::{Card, DomainScores, ReleaseScores, rollback_card};
pub(crate) use digest::Hasher;
pub use digest::{Digest, NotADigest};
pub use error::HubError;
pub use front_matter::{CardOrigin, License};
pub use index::{Entry, INDEX, Index, Live, Metrics};
pub use listing::{CommitId, NotACommitId};
pub use model::{FETCHING, ModelFiles};
pub use release::{FOLDER, LiveRelease, NotARelease, NotAStamp, RECEIPTS, Release, ReleaseName, Stamp};
pub use repository::Repository;
pub use serving::Serving;
pub use upload::{Extra, Listed, OnUploadProgress, Published, ReplacePolicy, Upload, UploadProgress};
pub use versions::{Version, versions};
