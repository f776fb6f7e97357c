//! Information about a model: its head, files, visibility, and the metadata of its card.

use std::sync::Arc;

use axum::extract::{Path, RawQuery, State as Shared};
use axum::http::HeaderMap;
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Map, Value, json};

use super::{flag, iso};
use crate::hub::card;
use crate::hub::digest::Digest;
use crate::hub::refusal::Refusal;
use crate::hub::repo::{Commit, MAIN, Repo};
use crate::hub::state::State;

/// Fields that a request may name in `expand`, in the order in which the Hub's refusal lists them.
const EXPANDABLE: &str = "author, baseModels, cardData, config, createdAt, disabled, downloads, downloadsAllTime, \
    evalResults, gated, inference, inferenceProviderMapping, lastModified, library_name, likes, mask_token, \
    model-index, pipeline_tag, private, safetensors, sha, siblings, spaces, tags, transformersInfo, trendingScore, \
    widgetData, gguf, resourceGroup, xetEnabled, childrenModelCount, usedStorage";
/// Fields that come only when a request names them.
const ON_REQUEST: [&str; 4] = ["downloadsAllTime", "trendingScore", "xetEnabled", "childrenModelCount"];
/// Largest card whose metadata is shown, in bytes.
const CARD_LIMIT: u64 = 1024 * 1024;

pub(super) fn router() -> Router<Arc<State>> {
    Router::new()
        .route("/api/models/{owner}/{name}", get(info))
        .route("/api/models/{owner}/{name}/revision/{revision}", get(info_at))
}

async fn info(
    shared: Shared<Arc<State>>,
    Path((owner, name)): Path<(String, String)>,
    query: RawQuery,
    headers: HeaderMap,
) -> Result<Json<Value>, Refusal> {
    info_at(shared, Path((owner, name, MAIN.to_owned())), query, headers).await
}

async fn info_at(
    Shared(state): Shared<Arc<State>>,
    Path((owner, name, revision)): Path<(String, String, String)>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Json<Value>, Refusal> {
    let repo = state.visible(&headers, &owner, &name).await?;
    let commit = repo.revision(&revision).ok_or_else(|| Refusal::no_revision(&revision))?;
    let query = query.unwrap_or_default();
    let query: Vec<_> = url::form_urlencoded::parse(query.as_bytes()).collect();
    let with_blobs = query.iter().any(|(key, value)| key == "blobs" && flag::is_set(value));
    let mut information = information(&state, &repo, commit, with_blobs).await?;

    let expand: Vec<_> = query.iter().filter(|(key, _)| key == "expand" || key == "expand[]").collect();
    if expand.is_empty() {
        information.retain(|field, _| !ON_REQUEST.contains(&field.as_str()));
        return Ok(Json(information.into()));
    }
    if expand.iter().any(|(_, field)| !EXPANDABLE.split(", ").any(|known| known == field)) {
        return Err(Refusal::bad_request(format!("\"expand\" must be one of [{EXPANDABLE}]")));
    }
    information.retain(|field, _| {
        matches!(field.as_str(), "_id" | "id") || expand.iter().any(|(_, asked)| asked == field)
    });
    Ok(Json(information.into()))
}

async fn information(
    state: &State,
    repo: &Repo,
    commit: &Commit,
    with_blobs: bool,
) -> Result<Map<String, Value>, Refusal> {
    let siblings = commit.files.iter().map(|(path, file)| {
        let mut sibling = json!({ "rfilename": path });
        if with_blobs {
            sibling["size"] = file.size.into();
            sibling["blobId"] = json!(file.oid);
            if let Some(lfs) = file.lfs_json("sha256") {
                sibling["lfs"] = lfs;
            }
        }
        sibling
    });
    let siblings: Vec<_> = siblings.collect();
    let used: u64 = commit.files.values().map(|file| file.size).sum();
    let id = Digest::of(format!("{}\n{}", repo.id(), repo.created).as_bytes()).to_string();
    let mut information = json!({
        "_id": id[..24], "id": repo.id(), "modelId": repo.id(), "author": repo.owner, "sha": commit.id,
        "private": repo.private, "gated": repo.gated.json(), "disabled": false, "downloads": 0, "likes": 0,
        "lastModified": iso(commit.at), "createdAt": iso(repo.created), "siblings": siblings, "spaces": [],
        "usedStorage": used, "model-index": null, "downloadsAllTime": 0, "trendingScore": 0, "xetEnabled": true,
        "childrenModelCount": { "adapter": 0, "merge": 0, "quantized": 0, "finetune": 0 },
    });
    let card = card_of(state, commit).await?;
    information["tags"] = tags(card.as_ref()).into();
    if let Some(card) = card {
        for field in ["pipeline_tag", "library_name", "model-index"] {
            if let Some(value) = card.get(field) {
                information[field] = value.clone();
            }
        }
        information["cardData"] = card.into();
    }
    match information {
        Value::Object(information) => Ok(information),
        _ => Ok(Map::new()),
    }
}

/// Returns the metadata of a commit's card. The Hub does not look into an LFS file.
async fn card_of(state: &State, commit: &Commit) -> Result<Option<Map<String, Value>>, Refusal> {
    let readme = commit.files.get("README.md").filter(|file| !file.is_lfs() && file.size <= CARD_LIMIT);
    let Some(readme) = readme else { return Ok(None) };
    let content = tokio::fs::read(state.objects.path(readme.sha256)).await?;
    Ok(card::metadata(&String::from_utf8_lossy(&content)))
}

/// Returns the tags by which the Hub's search finds a model.
fn tags(card: Option<&Map<String, Value>>) -> Vec<String> {
    let texts = |field: &str| -> Vec<String> {
        match card.and_then(|card| card.get(field)) {
            Some(Value::String(text)) => vec![text.clone()],
            Some(Value::Array(texts)) => texts.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
            _ => Vec::new(),
        }
    };
    let prefixed = |field: &str, name: &str| {
        texts(field).into_iter().map(move |text| format!("{name}:{text}")).collect()
    };
    let mut tags = Vec::new();
    let groups: [Vec<String>; 7] = [
        texts("library_name"),
        texts("tags"),
        texts("language"),
        prefixed("datasets", "dataset"),
        prefixed("base_model", "base_model"),
        prefixed("license", "license"),
        vec!["region:us".to_owned()],
    ];
    for tag in groups.into_iter().flatten() {
        if !tags.contains(&tag) {
            tags.push(tag);
        }
    }
    tags
}
