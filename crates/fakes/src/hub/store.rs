//! The object store behind the Hub's signed links: PUT of an object or its parts, join of the
//! parts, GET with ranges.
//!
//! Accepts no token: like the real store, it rejects a request that carries a token besides the
//! signature.

use std::io::{self, SeekFrom};
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Path, Query, Request, State as Shared};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use bytes::{Bytes, BytesMut};
use futures::{Stream, StreamExt};
use serde::Deserialize;
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio_util::io::ReaderStream;

use super::objects::Received;
use super::refusal::Refusal;
use super::state::State;
use crate::connection::Cut;
use crate::hub::digest::Digest;

pub(super) fn router() -> Router<Arc<State>> {
    Router::new()
        .route("/upload/{oid}/{number}", put(upload))
        .route("/part/{oid}/{number}", put(part))
        .route("/join/{oid}/{number}", post(join))
        .route("/object/{oid}/{number}", get(object))
}

#[derive(Deserialize)]
struct Signed {
    signature: String,
}

type Target = Path<(Digest, u64)>;

fn check(
    state: &State,
    headers: &HeaderMap,
    action: &str,
    target: &Target,
    signed: &Signed,
) -> Result<(), Refusal> {
    if headers.contains_key(header::AUTHORIZATION) {
        return Err(Refusal::bad_request("Only one auth mechanism allowed"));
    }
    if state.faults.take_ended_link() {
        return Err(Refusal::new(StatusCode::FORBIDDEN, "Request has expired"));
    }
    let Path((oid, number)) = target;
    state.check_link(action, *oid, *number, &signed.signature)
}

/// Returns the request if its link is valid. Reads the body of a rejected request to the end:
/// otherwise a client that is still sending could hit a broken pipe before it sees the response.
async fn checked(
    state: &State,
    request: Request,
    action: &str,
    target: &Target,
    signed: &Signed,
) -> Result<Request, Refusal> {
    match check(state, request.headers(), action, target, signed) {
        Ok(()) => Ok(request),
        Err(refusal) => {
            let mut pieces = request.into_body().into_data_stream();
            while let Some(Ok(_)) = pieces.next().await {}
            Err(refusal)
        }
    }
}

async fn upload(
    Shared(state): Shared<Arc<State>>,
    target: Target,
    Query(signed): Query<Signed>,
    ConnectInfo(cut): ConnectInfo<Cut>,
    request: Request,
) -> Result<StatusCode, Refusal> {
    let request = checked(&state, request, "upload", &target, &signed).await?;
    let Path((oid, size)) = target;
    let received = receive(&state, request, &cut).await?;
    keep(&state, received, oid, size)?;
    Ok(StatusCode::OK)
}

async fn part(
    Shared(state): Shared<Arc<State>>,
    target: Target,
    Query(signed): Query<Signed>,
    ConnectInfo(cut): ConnectInfo<Cut>,
    request: Request,
) -> Result<Response, Refusal> {
    let request = checked(&state, request, "part", &target, &signed).await?;
    let Path((oid, number)) = target;
    let received = receive(&state, request, &cut).await?;
    if received.size > state.options.part_size {
        return Err(Refusal::bad_request("the part is longer than the part size"));
    }
    let etag = state.objects.keep_part(oid, number, received).await?;
    Ok(([(header::ETAG, format!("\"{etag}\""))], StatusCode::OK).into_response())
}

#[derive(Deserialize)]
struct Join {
    oid: Digest,
    parts: Vec<Part>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Part {
    part_number: u64,
    etag: String,
}

async fn join(
    Shared(state): Shared<Arc<State>>,
    target: Target,
    Query(signed): Query<Signed>,
    request: Request,
) -> Result<StatusCode, Refusal> {
    check(&state, request.headers(), "join", &target, &signed)?;
    let Path((oid, size)) = target;
    let body = axum::body::to_bytes(request.into_body(), 8 * 1024 * 1024)
        .await
        .map_err(|_| Refusal::bad_request("the body is incomplete or too long"))?;
    let join: Join = serde_json::from_slice(&body).map_err(|_| Refusal::bad_request("`parts` is missing"))?;
    let in_order = join.parts.iter().map(|part| part.part_number).eq(1..=join.parts.len() as u64);
    if join.oid != oid || !in_order {
        return Err(Refusal::bad_request("the parts do not belong to this object or are out of order"));
    }
    let parts = join.parts.into_iter().map(|part| (part.part_number, part.etag.trim_matches('"').to_owned()));
    let received = state.objects.join_parts(oid, parts.collect()).await?;
    let received = received.ok_or_else(|| Refusal::bad_request("a part is missing or has another ETag"))?;
    keep(&state, received, oid, size)?;
    Ok(StatusCode::OK)
}

/// Stores content only if it has the checksum and size that the link names.
fn keep(state: &State, received: Received, oid: Digest, size: u64) -> Result<(), Refusal> {
    if (received.sha256, received.size) != (oid, size) {
        return Err(Refusal::bad_request("the content differs from the object in SHA-256 or size"));
    }
    state.objects.keep(received)?;
    Ok(())
}

/// Streams a body to disk and applies the upload faults that are switched on.
async fn receive(state: &State, request: Request, cut: &Cut) -> Result<Received, Refusal> {
    if request.headers().get(header::CONTENT_LENGTH).is_none() {
        return Err(Refusal::new(StatusCode::LENGTH_REQUIRED, "Content-Length is missing"));
    }
    let limit = state.faults.take_cut_upload();
    let pause = state.faults.upload_pause();
    let mut taken = 0;
    let pieces = request.into_body().into_data_stream().then(|piece| {
        let piece = piece.map_err(io::Error::other).and_then(|piece| {
            taken += piece.len() as u64;
            if limit.is_some_and(|limit| taken >= limit) {
                cut.cut();
                return Err(io::ErrorKind::ConnectionReset.into());
            }
            Ok(piece)
        });
        async move {
            if !pause.is_zero() {
                tokio::time::sleep(pause).await;
            }
            piece
        }
    });
    state
        .objects
        .receive(Box::pin(pieces))
        .await
        .map_err(|_| Refusal::bad_request("the body ended before its Content-Length"))
}

async fn object(
    Shared(state): Shared<Arc<State>>,
    target: Target,
    Query(signed): Query<Signed>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    check(&state, &headers, "object", &target, &signed)?;
    let Path((oid, _)) = target;
    let mut response = send(&state, oid, &method, headers.get(header::RANGE)).await?;
    let etag = HeaderValue::from_str(&format!("\"{oid}\""));
    response.headers_mut().extend(etag.ok().map(|etag| (header::ETAG, etag)));
    Ok(response)
}

/// Sends an object, or the requested range of it. A HEAD request gets the same headers.
pub(super) async fn send(
    state: &State,
    oid: Digest,
    method: &Method,
    range: Option<&HeaderValue>,
) -> Result<Response, Refusal> {
    let size = state.objects.size(oid).await.ok_or_else(Refusal::no_entry)?;
    let range = range.and_then(|range| range.to_str().ok()).map(|range| Range::parse(range, size));
    let (status, start, end) = match range {
        None | Some(Range::Whole) => (StatusCode::OK, 0, size),
        Some(Range::Piece(start, end)) => (StatusCode::PARTIAL_CONTENT, start, end),
        Some(Range::Outside) => {
            let headers = [(header::CONTENT_RANGE, format!("bytes */{size}"))];
            return Ok((StatusCode::RANGE_NOT_SATISFIABLE, headers).into_response());
        }
    };
    let body = if method == Method::HEAD {
        Body::empty()
    } else {
        let mut file = tokio::fs::File::open(state.objects.path(oid)).await?;
        file.seek(SeekFrom::Start(start)).await?;
        let pieces = ReaderStream::with_capacity(file.take(end - start), 64 * 1024);
        Body::from_stream(spoil(state, pieces))
    };
    let mut response = (status, body).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_LENGTH, (end - start).into());
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    if status == StatusCode::PARTIAL_CONTENT
        && let Ok(value) = format!("bytes {start}-{}/{size}", end - 1).parse()
    {
        headers.insert(header::CONTENT_RANGE, value);
    }
    Ok(response)
}

/// Applies the download faults that are switched on: corrupt bytes, or an early end.
fn spoil(
    state: &State,
    pieces: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
    let limit = state.faults.take_cut_download();
    let mut corrupt = state.faults.take_corrupt_download();
    let mut sent = 0;
    pieces.then(move |piece| {
        let ended = limit.is_some_and(|limit| sent >= limit);
        let piece = piece.map(|mut piece| {
            if let Some(limit) = limit {
                piece.truncate(usize::try_from(limit - sent).unwrap_or(usize::MAX));
            }
            sent += piece.len() as u64;
            if std::mem::take(&mut corrupt) { flipped(piece) } else { piece }
        });
        async move {
            if ended {
                // An error in a body makes the server close the connection before the promised
                // length and drop all unsent bytes. Yielding once lets the server send them first.
                tokio::task::yield_now().await;
                return Err(io::ErrorKind::ConnectionReset.into());
            }
            piece
        }
    })
}

/// Returns the bytes with every bit flipped.
fn flipped(piece: Bytes) -> Bytes {
    BytesMut::from(piece).iter().map(|byte| !byte).collect()
}

/// Bytes that a request asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Range {
    Whole,
    /// Start (inclusive) and end (exclusive), in bytes.
    Piece(u64, u64),
    Outside,
}

impl Range {
    /// Parses `bytes=a-b`, `bytes=a-`, or `bytes=-n`. Treats anything else as no range, as HTTP
    /// allows.
    pub(super) fn parse(text: &str, size: u64) -> Self {
        let Some((from, to)) = text.strip_prefix("bytes=").and_then(|text| text.split_once('-')) else {
            return Self::Whole;
        };
        let (start, end) = match (from.parse::<u64>(), to.parse::<u64>()) {
            (Ok(start), Ok(last)) if start <= last => (start, last.saturating_add(1).min(size)),
            (Ok(start), Err(_)) if to.is_empty() => (start, size),
            (Err(_), Ok(count)) if from.is_empty() => (size.saturating_sub(count), size),
            _ => return Self::Whole,
        };
        if start < end { Self::Piece(start, end) } else { Self::Outside }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ranges_are_read_as_http_says() {
        assert_eq!(Range::parse("bytes=0-3", 10), Range::Piece(0, 4));
        assert_eq!(Range::parse("bytes=4-", 10), Range::Piece(4, 10));
        assert_eq!(Range::parse("bytes=-4", 10), Range::Piece(6, 10));
        assert_eq!(Range::parse("bytes=8-99", 10), Range::Piece(8, 10));
        assert_eq!(Range::parse("bytes=10-", 10), Range::Outside);
        for odd in ["", "bytes=", "bytes=-", "lines=0-3", "bytes=3-1", "bytes=0-1,4-5"] {
            assert_eq!(Range::parse(odd, 10), Range::Whole, "{odd}");
        }
    }

    proptest! {
        #[test]
        fn a_range_lies_inside(text in "bytes=[0-9]{0,20}-[0-9]{0,20}", size: u64) {
            if let Range::Piece(start, end) = Range::parse(&text, size) {
                prop_assert!(start < end && end <= size);
            }
        }
    }
}
