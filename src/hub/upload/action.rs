//! An action of the LFS batch: the request that the client is to make for a file's content.

use std::collections::HashMap;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use url::Url;

/// Content type of all LFS calls.
pub(super) const LFS_JSON: &str = "application/vnd.git-lfs+json";

/// A link and the headers to send with it. For `multipart`, `header` holds the parts' size and
/// links instead.
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
