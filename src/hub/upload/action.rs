//! What the LFS batch tells to do with a file's content.

use std::collections::HashMap;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use url::Url;

/// The content type of everything LFS.
pub(super) const LFS_JSON: &str = "application/vnd.git-lfs+json";

/// A link, and headers to send along; for `multipart` they hold the parts' size and links instead.
#[derive(Deserialize)]
pub(super) struct Action {
    #[serde(deserialize_with = "link")]
    pub(super) href: Url,
    #[serde(default)]
    pub(super) header: HashMap<String, String>,
}

fn link<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Url, D::Error> {
    Url::parse(&String::deserialize(deserializer)?).map_err(D::Error::custom)
}
