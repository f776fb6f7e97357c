//! Upload modes of the files. The Hub chooses those that go through LFS by name, size, and leading
//! bytes.

use std::collections::HashSet;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::json;

use super::content::Content;
use crate::hub::error::HubError;
use crate::hub::wire::Wire;

/// Size of the largest file sent inside a commit, in bytes. The Hub itself requires LFS far below
/// this size.
const REGULAR_LIMIT: u64 = 32 * 1024 * 1024;

/// The Hub's choice of upload modes.
#[derive(Debug)]
pub(super) struct Modes {
    lfs: HashSet<String>,
}

impl Modes {
    pub(super) fn is_lfs(&self, path: &str) -> bool {
        self.lfs.contains(path)
    }
}

#[derive(Deserialize)]
struct Answer {
    files: Vec<Mode>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Mode {
    path: String,
    upload_mode: String,
}

pub(super) async fn classify(wire: &Wire, files: &[Content]) -> Result<Modes, HubError> {
    const WHAT: &str = "the upload modes";
    let mut asked = Vec::with_capacity(files.len());
    for file in files {
        let sample = STANDARD.encode(file.sample().await?);
        asked.push(json!({ "path": file.path, "size": file.size, "sample": sample }));
    }
    let (url, body) = (wire.api(["preupload", "main"]), json!({ "files": asked }));
    let request = || wire.authorized(&url, wire.client.post(url.clone())).json(&body);
    let answer: Answer = wire.json(WHAT, request).await?;
    let lfs: HashSet<_> =
        answer.files.into_iter().filter(|mode| mode.upload_mode == "lfs").map(|mode| mode.path).collect();
    // A larger file would have to be held in memory, and the Hub would reject the commit anyway.
    if files.iter().any(|file| file.size > REGULAR_LIMIT && !lfs.contains(&file.path)) {
        return Err(HubError::Malformed { what: WHAT });
    }
    Ok(Modes { lfs })
}
