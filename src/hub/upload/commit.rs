//! The commit request: one JSON object per line, with the head that was checked as parent.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::CONTENT_TYPE;
use serde::Deserialize;
use serde_json::{Value, json};

use super::classify::Modes;
use super::content::Content;
use crate::hub::error::HubError;
use crate::hub::listing::CommitId;
use crate::hub::wire::Wire;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Committed {
    commit_oid: CommitId,
}

/// Commits once. The caller decides about a retry and checks the head first, because a commit whose
/// response was lost may have succeeded.
pub(super) async fn commit(
    wire: &Wire,
    parent: &CommitId,
    summary: &str,
    files: &[Content],
    modes: &Modes,
) -> Result<CommitId, HubError> {
    let mut body = Vec::new();
    let header = json!({ "summary": summary, "description": "", "parentCommit": parent });
    push(&mut body, "header", header);
    for file in files {
        if modes.is_lfs(&file.path) {
            let value = json!({ "path": file.path, "algo": "sha256", "oid": file.sha256, "size": file.size });
            push(&mut body, "lfsFile", value);
        } else {
            let content = STANDARD.encode(file.whole().await?);
            let value = json!({ "path": file.path, "encoding": "base64", "content": content });
            push(&mut body, "file", value);
        }
    }
    let url = wire.api(["commit", "main"]);
    let request = wire
        .authorized(&url, wire.client.post(url.clone()))
        .header(CONTENT_TYPE, "application/x-ndjson")
        .body(body);
    let response = match wire.once(request).await {
        // For two simultaneous commits, the Hub's git reports the conflict with another status.
        Err(HubError::Refused { status: 409, .. }) => return Err(HubError::Conflict),
        answer => answer?,
    };
    let committed: Committed = wire.read_json("the commit's id", response).await?;
    Ok(committed.commit_oid)
}

fn push(body: &mut Vec<u8>, key: &str, value: Value) {
    // `Display` writes a `Value` on one line, because JSON escapes every line break inside.
    body.extend_from_slice(json!({ "key": key, "value": value }).to_string().as_bytes());
    body.push(b'\n');
}
