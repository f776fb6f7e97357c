//! Routes that create, delete, move and configure repos.

use std::sync::Arc;

use axum::extract::{Path, State as Shared};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post, put};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::hub::refusal::Refusal;
use crate::hub::repo::{Gate, valid_name};
use crate::hub::repos::Moved;
use crate::hub::state::{Access, State};

pub(super) fn router() -> Router<Arc<State>> {
    Router::new()
        .route("/api/repos/create", post(create))
        .route("/api/repos/delete", delete(remove))
        .route("/api/repos/move", post(rename))
        .route("/api/models/{owner}/{name}/settings", put(settings))
        .route("/api/models/{owner}/{name}/auth-check", get(may_read))
        .route("/api/models/{owner}/{name}/auth-check/write", get(may_write))
}

/// Visibility in a request. The Rust client sends `private`, the Python client `visibility` since
/// 1.0 and `private` before.
#[derive(Deserialize)]
struct Visibility {
    private: Option<bool>,
    visibility: Option<String>,
}

impl Visibility {
    fn private(&self) -> Result<Option<bool>, Refusal> {
        match self.visibility.as_deref() {
            None => Ok(self.private),
            Some("private") => Ok(Some(true)),
            Some("public") => Ok(Some(false)),
            Some(_) => Err(Refusal::bad_request("\"visibility\" must be one of [private, public]")),
        }
    }
}

#[derive(Deserialize)]
struct NewRepo {
    name: String,
    organization: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
    #[serde(flatten)]
    visibility: Visibility,
}

impl NewRepo {
    /// Checks the type. This Hub has models only.
    fn check_type(kind: Option<&str>) -> Result<(), Refusal> {
        match kind {
            None | Some("model") => Ok(()),
            Some(_) => Err(Refusal::bad_request("\"type\" must be [model]")),
        }
    }
}

async fn create(
    Shared(state): Shared<Arc<State>>,
    headers: HeaderMap,
    Json(new): Json<NewRepo>,
) -> Result<Response, Refusal> {
    let owner = new.organization.unwrap_or_else(|| state.options.owner.clone());
    if state.access(&headers)? == Access::Read {
        let error = format!("You don't have the rights to create a model under the namespace \"{owner}\"");
        return Err(Refusal::forbidden(error));
    }
    state.may_write(&headers)?;
    NewRepo::check_type(new.kind.as_deref())?;
    if !valid_name(&owner) || !valid_name(&new.name) {
        return Err(Refusal::bad_request("Invalid repo name"));
    }
    let private = new.visibility.private()?.unwrap_or(false);
    let url = format!("{}{owner}/{}", state.url, new.name);
    let name = format!("{owner}/{}", new.name);
    if state.repos.create(&owner, &new.name, private).await? {
        return Ok(Json(json!({ "url": url, "name": name, "id": "local" })).into_response());
    }
    // A client that may find the repo takes the address from the refusal.
    let error = json!({ "error": "You already created this model repo", "url": url, "name": name });
    Ok((StatusCode::CONFLICT, Json(error)).into_response())
}

#[derive(Deserialize)]
struct OldRepo {
    name: String,
    organization: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
}

async fn remove(
    Shared(state): Shared<Arc<State>>,
    headers: HeaderMap,
    Json(old): Json<OldRepo>,
) -> Result<Json<Value>, Refusal> {
    NewRepo::check_type(old.kind.as_deref())?;
    let owner = old.organization.unwrap_or_else(|| state.options.owner.clone());
    state.writable(&headers, &owner, &old.name).await?;
    if state.repos.delete(&owner, &old.name).await? {
        return Ok(Json(json!({ "success": true })));
    }
    Err(Refusal::no_repo(true))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Move {
    from_repo: String,
    to_repo: String,
}

async fn rename(
    Shared(state): Shared<Arc<State>>,
    headers: HeaderMap,
    Json(asked): Json<Move>,
) -> Result<Json<Value>, Refusal> {
    let (owner, name) =
        asked.from_repo.split_once('/').ok_or_else(|| Refusal::bad_request("Invalid repo name"))?;
    state.writable(&headers, owner, name).await?;
    let new = asked.to_repo.split_once('/').filter(|(owner, name)| valid_name(owner) && valid_name(name));
    let (owner, name) = new.ok_or_else(|| Refusal::bad_request("Invalid repo name"))?;
    match state.repos.rename(&asked.from_repo, owner, name).await? {
        Moved::Done => Ok(Json(json!({ "success": true }))),
        Moved::NoSuchRepo => Err(Refusal::no_repo(true)),
        Moved::NameTaken => Err(Refusal::conflict(format!("{} already exists", asked.to_repo))),
    }
}

#[derive(Deserialize)]
struct Settings {
    #[serde(flatten)]
    visibility: Visibility,
    /// `false`, `"auto"` or `"manual"`.
    gated: Option<Value>,
}

async fn settings(
    Shared(state): Shared<Arc<State>>,
    Path((owner, name)): Path<(String, String)>,
    headers: HeaderMap,
    Json(asked): Json<Settings>,
) -> Result<Json<Value>, Refusal> {
    let repo = state.writable(&headers, &owner, &name).await?;
    let private = asked.visibility.private()?;
    let gated = match asked.gated {
        None => None,
        Some(Value::Bool(false)) => Some(Gate::Off),
        Some(Value::String(mode)) if mode == "auto" => Some(Gate::Auto),
        Some(Value::String(mode)) if mode == "manual" => Some(Gate::Manual),
        Some(_) => return Err(Refusal::bad_request("\"gated\" must be one of [auto, manual, false]")),
    };
    let change = |repo: &mut crate::hub::repo::Repo| {
        repo.private = private.unwrap_or(repo.private);
        repo.gated = gated.unwrap_or(repo.gated);
        Ok::<_, Refusal>(json!({ "private": repo.private, "gated": repo.gated.json() }))
    };
    Ok(Json(state.repos.change(&repo.id(), change).await?))
}

async fn may_read(
    Shared(state): Shared<Arc<State>>,
    Path((owner, name)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<StatusCode, Refusal> {
    state.readable(&headers, &owner, &name).await?;
    Ok(StatusCode::OK)
}

async fn may_write(
    Shared(state): Shared<Arc<State>>,
    Path((owner, name)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<StatusCode, Refusal> {
    state.writable(&headers, &owner, &name).await?;
    Ok(StatusCode::OK)
}
