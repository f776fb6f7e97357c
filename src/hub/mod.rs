//! The Hugging Face Hub, as this worker uses it.

mod digest;
pub mod release;

pub(crate) use digest::Hasher;
pub use digest::{Digest, NotADigest};
pub use release::{NotARelease, NotAStamp, Release, ReleaseName, Stamp};
