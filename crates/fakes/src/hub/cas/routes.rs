//! The Xet store's own routes: xorbs, shards, reconstructions, and chunks for deduplication.
//!
//! Serves version 1 of the protocol. Clients that know a later one fall back to it.

use std::sync::Arc;

use axum::body::to_bytes;
use axum::extract::{Path, Query, Request, State as Shared};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};
use xet_client::cas_client::{Client, DirectAccessClient};
use xet_client::cas_types::{
    FileRange, HexMerkleHash, UploadShardResponse, UploadShardResponseType, UploadXorbResponse,
};
use xet_client::error::ClientError;
use xet_core_structures::merklehash::MerkleHash;
use xet_core_structures::xorb_object::SerializedXorbObject;

use crate::hub::refusal::Refusal;
use crate::hub::state::State;

/// Largest xorb or shard that is accepted, in bytes. Clients keep both below 64 MiB.
const BODY_LIMIT: usize = 80 * 1024 * 1024;

pub(in crate::hub) fn router() -> Router<Arc<State>> {
    Router::new()
        .route("/v1/xorbs/{prefix}/{hash}", post(upload_xorb).head(has_xorb))
        .route("/v1/shards", post(upload_shard))
        .route("/v1/reconstructions/{hash}", get(reconstruction))
        .route("/v1/chunks/{prefix}/{hash}", get(chunk))
        .route("/v1/data/{hash}", get(data))
}

/// Permission of a token of the Xet store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::hub) enum Permission {
    Read,
    Write,
}

/// Returns the token that gives this permission.
pub(in crate::hub) fn token(state: &State, permission: Permission) -> String {
    let name = match permission {
        Permission::Read => "read",
        Permission::Write => "write",
    };
    format!("xet_{name}_{}", state.signature(&format!("xet/{name}")))
}

/// Checks the token of a request.
///
/// # Errors
/// 401 without a token of this Hub, 403 when a read token is to write.
fn check(state: &State, headers: &HeaderMap, needed: Permission) -> Result<(), Refusal> {
    let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let given = given.and_then(|text| text.strip_prefix("Bearer ")).unwrap_or_default();
    if given == token(state, Permission::Write) {
        Ok(())
    } else if given != token(state, Permission::Read) {
        Err(Refusal::new(StatusCode::UNAUTHORIZED, "not a token of this Xet store"))
    } else if needed == Permission::Write {
        Err(Refusal::forbidden("the token reads only"))
    } else {
        Ok(())
    }
}

impl From<ClientError> for Refusal {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::XORBNotFound(_) | ClientError::FileNotFound(_) => Self::not_found(error.to_string()),
            ClientError::InvalidRange => Self::new(StatusCode::RANGE_NOT_SATISFIABLE, error.to_string()),
            error => Self::bad_request(error.to_string()),
        }
    }
}

async fn body(request: Request) -> Result<bytes::Bytes, Refusal> {
    to_bytes(request.into_body(), BODY_LIMIT)
        .await
        .map_err(|_| Refusal::bad_request("the body is incomplete or too long"))
}

async fn upload_xorb(
    Shared(state): Shared<Arc<State>>,
    Path((prefix, HexMerkleHash(hash))): Path<(String, HexMerkleHash)>,
    request: Request,
) -> Result<Json<UploadXorbResponse>, Refusal> {
    check(&state, request.headers(), Permission::Write)?;
    let serialized_data = body(request).await?.to_vec();
    let store = state.cas.store().await?;
    let was_inserted = !store.xorb_exists(&hash).await?;
    let raw_num_bytes = serialized_data.len() as u64;
    // The store reads the chunks from the data itself, and compares their hash with the given one.
    let xorb =
        SerializedXorbObject { hash, serialized_data, raw_num_bytes, num_chunks: 0, footer_start: None };
    let permit = store.acquire_upload_permit().await?;
    store.upload_xorb(&prefix, xorb, None, permit).await?;
    Ok(Json(UploadXorbResponse { was_inserted }))
}

async fn has_xorb(
    Shared(state): Shared<Arc<State>>,
    Path((_prefix, HexMerkleHash(hash))): Path<(String, HexMerkleHash)>,
    headers: HeaderMap,
) -> Result<StatusCode, Refusal> {
    check(&state, &headers, Permission::Read)?;
    match state.cas.store().await?.xorb_exists(&hash).await? {
        true => Ok(StatusCode::OK),
        false => Err(ClientError::XORBNotFound(hash).into()),
    }
}

async fn upload_shard(
    Shared(state): Shared<Arc<State>>,
    request: Request,
) -> Result<Json<UploadShardResponse>, Refusal> {
    check(&state, request.headers(), Permission::Write)?;
    let shard = body(request).await?;
    let store = state.cas.store().await?;
    let permit = store.acquire_upload_permit().await?;
    let shard_hash = store.upload_shard(shard, permit, None).await?.map(Into::into);
    Ok(Json(UploadShardResponse { result: UploadShardResponseType::SyncPerformed, shard_hash }))
}

async fn reconstruction(
    Shared(state): Shared<Arc<State>>,
    Path(HexMerkleHash(hash)): Path<HexMerkleHash>,
    headers: HeaderMap,
) -> Result<Json<Value>, Refusal> {
    check(&state, &headers, Permission::Read)?;
    let store = state.cas.store().await?;
    let asked = headers.get(header::RANGE).and_then(|range| range.to_str().ok());
    let range = match asked {
        None => None,
        Some(text) => {
            Some(parse_range(text, store.get_file_size(&hash).await?).ok_or(ClientError::InvalidRange)?)
        }
    };
    let found = store.get_reconstruction_v1(&hash, range).await?;
    let mut found = found.ok_or(ClientError::InvalidRange)?;
    for (HexMerkleHash(xorb), pieces) in &mut found.fetch_info {
        let link = data_link(&state, *xorb);
        pieces.iter_mut().for_each(|piece| piece.url.clone_from(&link));
    }
    Ok(Json(json!(found)))
}

/// Returns the shard that knows a chunk, so that a client need not upload the chunk again.
async fn chunk(
    Shared(state): Shared<Arc<State>>,
    Path((prefix, HexMerkleHash(hash))): Path<(String, HexMerkleHash)>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    check(&state, &headers, Permission::Read)?;
    match state.cas.store().await?.query_for_global_dedup_shard(&prefix, &hash).await? {
        Some(shard) => Ok(shard.into_response()),
        None => Err(Refusal::not_found("no shard knows this chunk")),
    }
}

#[derive(Deserialize)]
struct Signed {
    signature: String,
}

fn data_link(state: &State, xorb: MerkleHash) -> String {
    let hash = xorb.hex();
    let signature = state.signature(&format!("xorb/{hash}"));
    format!("{}v1/data/{hash}?signature={signature}", state.cas_url)
}

/// Sends the requested range of a xorb, as it is stored.
async fn data(
    Shared(state): Shared<Arc<State>>,
    Path(HexMerkleHash(hash)): Path<HexMerkleHash>,
    Query(signed): Query<Signed>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    if signed.signature != state.signature(&format!("xorb/{}", hash.hex())) {
        return Err(Refusal::forbidden("the signature does not match the link"));
    }
    let store = state.cas.store().await?;
    let size = store.xorb_raw_length(&hash).await?;
    let Some(range) = headers.get(header::RANGE).and_then(|range| range.to_str().ok()) else {
        return Ok(store.get_xorb_raw_bytes(&hash, None).await?.into_response());
    };
    let range = parse_range(range, size).ok_or(ClientError::InvalidRange)?;
    let content_range = format!("bytes {}-{}/{size}", range.start, range.end - 1);
    let bytes = store.get_xorb_raw_bytes(&hash, Some(range)).await?;
    Ok((StatusCode::PARTIAL_CONTENT, [(header::CONTENT_RANGE, content_range)], bytes).into_response())
}

/// Parses a range. `None` when it names no byte.
fn parse_range(text: &str, size: u64) -> Option<FileRange> {
    use crate::hub::store::Range;
    match Range::parse(text, size) {
        Range::Whole => Some(FileRange::new(0, size)),
        Range::Piece(start, end) => Some(FileRange::new(start, end)),
        Range::Outside => None,
    }
}
