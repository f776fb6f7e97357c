//! The LFS batch: the Hub answers which content is already stored, and returns upload links for the
//! rest.

use reqwest::header::{ACCEPT, CONTENT_TYPE};
use serde::Deserialize;
use serde_json::json;

use super::action::{Action, LFS_JSON};
use super::classify::Modes;
use super::content::Content;
use super::transfer::{self, Meter};
use crate::hub::error::HubError;
use crate::hub::wire::Wire;

/// Number of attempts with new links when the object store rejects the old ones, which expire.
const LINKS: u32 = 3;

/// Storage state of the commit's content.
#[derive(Debug)]
pub(super) enum Stored {
    /// The content is stored, and the commit can refer to it.
    Here(Modes),
    /// The content is not stored: the Hub accepts it only through Xet, and `hf-hub` uploads it
    /// together with the commit.
    WantsXet,
}

/// Outcome for one file.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Stored,
    WantsXet,
}

#[derive(Deserialize)]
struct Batch {
    #[serde(default)]
    transfer: Option<String>,
    objects: Vec<Object>,
}

#[derive(Deserialize)]
struct Object {
    #[serde(default)]
    actions: Option<Actions>,
    #[serde(default)]
    error: Option<ObjectError>,
}

#[derive(Deserialize)]
struct ObjectError {
    code: u16,
    #[serde(default)]
    message: String,
}

#[derive(Deserialize)]
struct Actions {
    upload: Option<Action>,
    verify: Option<Action>,
}

/// Uploads a file's content unless the Hub has it.
pub(super) async fn store(wire: &Wire, file: &Content, meter: &Meter) -> Result<Answer, HubError> {
    let (mut tries, before) = (1, meter.sent());
    loop {
        match try_store(wire, file, meter).await {
            Err(HubError::Store { status }) if tries < LINKS => {
                // Parts that had arrived are sent again, too.
                meter.set(before);
                tracing::warn!(status, tries, "object store rejected an upload, requesting new links");
                tries += 1;
            }
            done => return done,
        }
    }
}

async fn try_store(wire: &Wire, file: &Content, meter: &Meter) -> Result<Answer, HubError> {
    const WHAT: &str = "the LFS batch";
    let repo = &wire.access.repo;
    let git_name = format!("{}.git", repo.name());
    let url = wire.url([repo.owner(), &git_name, "info", "lfs", "objects", "batch"]);
    let body = json!({
        "operation": "upload",
        "transfers": ["basic", "multipart", "xet"],
        "hash_algo": "sha256",
        "ref": { "name": "main" },
        "objects": [{ "oid": file.sha256, "size": file.size }],
    });
    let request = || {
        let request = wire.authorized(&url, wire.client.post(url.clone()));
        // `json` keeps a content type that is already set. LFS servers reject its default one.
        request.header(ACCEPT, LFS_JSON).header(CONTENT_TYPE, LFS_JSON).json(&body)
    };
    let batch: Batch = wire.json(WHAT, request).await?;
    let [object] = <[Object; 1]>::try_from(batch.objects).map_err(|_| HubError::Malformed { what: WHAT })?;
    if let Some(ObjectError { code, message }) = object.error {
        let status = reqwest::StatusCode::from_u16(code).unwrap_or(reqwest::StatusCode::BAD_REQUEST);
        return Err(HubError::status(status, repo, None, &message));
    }
    if batch.transfer.as_deref() == Some("xet") {
        return Ok(Answer::WantsXet);
    }
    let Some(Actions { upload: Some(upload), verify }) = object.actions else {
        meter.add(file.size);
        return Ok(Answer::Stored);
    };
    match batch.transfer.as_deref() {
        None | Some("basic") => transfer::basic(wire, &upload, file, meter).await?,
        Some("multipart") => transfer::multipart(wire, &upload, file, meter).await?,
        Some(_) => return Err(HubError::Malformed { what: "the LFS batch's transfer" }),
    }
    if let Some(verify) = verify {
        confirm(wire, &verify, file).await?;
    }
    Ok(Answer::Stored)
}

/// Asks the Hub to verify that the content arrived.
async fn confirm(wire: &Wire, verify: &Action, file: &Content) -> Result<(), HubError> {
    let url = verify.href.clone();
    let body = json!({ "oid": file.sha256, "size": file.size });
    wire.retried("verify", || async {
        let request = wire.authorized(&url, wire.client.post(url.clone())).header(CONTENT_TYPE, LFS_JSON);
        wire.once(transfer::with_headers(request, &verify.header).json(&body)).await?;
        Ok(())
    })
    .await
}
