//! PUT of an object or its parts to the object store. The body streams from disk with a known
//! length. A transfer may take any time as long as bytes move.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::{StreamExt, TryStreamExt, stream};
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE, ETAG};
use reqwest::{Body, RequestBuilder, Response};
use serde_json::json;
use tokio::io::AsyncReadExt;
use tokio::sync::watch;
use tokio_util::io::ReaderStream;
use url::Url;

use super::action::{Action, LFS_JSON};
use super::content::Content;
use super::{OnUploadProgress, UploadProgress};
use crate::hub::error::HubError;
use crate::hub::wire::Wire;

/// Chunk size of reads from disk, in bytes.
const PIECE: usize = 64 * 1024;
/// Number of parts sent concurrently.
const PARALLEL: usize = 4;

/// Counts the sent bytes and reports progress.
pub(super) struct Meter {
    total: u64,
    sent: AtomicU64,
    progress: Option<OnUploadProgress>,
}

impl Meter {
    pub(super) fn new(total: u64, progress: Option<OnUploadProgress>) -> Self {
        Self { total, sent: AtomicU64::new(0), progress }
    }

    pub(super) fn add(&self, bytes: u64) {
        self.tell(self.sent.fetch_add(bytes, Ordering::Relaxed) + bytes);
    }

    fn undo(&self, bytes: u64) {
        self.tell(self.sent.fetch_sub(bytes, Ordering::Relaxed) - bytes);
    }

    pub(super) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Sets the count, to undo a failed upload or for a sender that counts by itself.
    pub(super) fn set(&self, bytes: u64) {
        self.sent.store(bytes, Ordering::Relaxed);
        self.tell(bytes);
    }

    pub(super) fn tells(&self) -> Option<(OnUploadProgress, u64)> {
        self.progress.clone().map(|progress| (progress, self.total))
    }

    fn tell(&self, bytes: u64) {
        if let Some(progress) = &self.progress {
            // Pages built during the upload are not part of the total; they are too small to
            // matter.
            progress(UploadProgress { bytes: bytes.min(self.total), total: self.total });
        }
    }
}

/// Sends the content in one PUT.
pub(super) async fn basic(
    wire: &Wire,
    upload: &Action,
    file: &Content,
    meter: &Meter,
) -> Result<(), HubError> {
    let piece = Piece { file, start: 0, length: file.size };
    wire.retried("upload", || async {
        let request = with_headers(wire.client.put(upload.href.clone()), &upload.header);
        put(wire, request, &piece, meter).await?;
        Ok(())
    })
    .await
}

/// Sends the content in parts, then asks the store to join them.
pub(super) async fn multipart(
    wire: &Wire,
    upload: &Action,
    file: &Content,
    meter: &Meter,
) -> Result<(), HubError> {
    let links = parts(&upload.header, file.size)?;
    let send = |(number, (link, start, length)): (usize, (Url, u64, u64))| async move {
        let piece = Piece { file, start, length };
        let etag = wire
            .retried("upload of a part", || async {
                let answer = put(wire, wire.client.put(link.clone()), &piece, meter).await?;
                let etag = answer.headers().get(ETAG).and_then(|etag| etag.to_str().ok());
                Ok(etag.ok_or(HubError::Malformed { what: "a part's ETag" })?.to_owned())
            })
            .await?;
        Ok::<_, HubError>(json!({ "partNumber": number + 1, "etag": etag }))
    };
    let sending = stream::iter(links.into_iter().enumerate()).map(send).buffered(PARALLEL);
    let parts: Vec<_> = sending.try_collect().await?;
    let body = json!({ "oid": file.sha256, "parts": parts });
    wire.retried("joining the parts", || async {
        let request = wire.client.post(upload.href.clone()).header(CONTENT_TYPE, LFS_JSON).json(&body);
        wire.once(request).await.map_err(of_store)?;
        Ok(())
    })
    .await
}

/// Returns the link of each part, with the part's start and length in bytes.
fn parts(header: &HashMap<String, String>, size: u64) -> Result<Vec<(Url, u64, u64)>, HubError> {
    let malformed = || HubError::Malformed { what: "the parts' links" };
    let chunk = header.get("chunk_size").and_then(|chunk| chunk.parse::<u64>().ok());
    let chunk = chunk.filter(|chunk| *chunk > 0).ok_or_else(malformed)?;
    let count = size.div_ceil(chunk);
    let links = header.keys().filter(|key| key.parse::<u64>().is_ok()).count();
    if links as u64 != count {
        return Err(malformed());
    }
    let part = |number: u64| {
        let link = header.get(&(number + 1).to_string()).and_then(|link| Url::parse(link).ok())?;
        let start = number * chunk;
        Some((link, start, chunk.min(size - start)))
    };
    (0..count).map(|number| part(number).ok_or_else(malformed)).collect()
}

/// Adds the headers that an LFS action asks for.
pub(super) fn with_headers(request: RequestBuilder, headers: &HashMap<String, String>) -> RequestBuilder {
    headers.iter().fold(request, |request, (name, value)| request.header(name, value))
}

struct Piece<'a> {
    file: &'a Content,
    start: u64,
    length: u64,
}

/// Makes one PUT. A failure subtracts the sent bytes from the meter again.
async fn put(
    wire: &Wire,
    request: RequestBuilder,
    piece: &Piece<'_>,
    meter: &Meter,
) -> Result<Response, HubError> {
    let (moved, watched) = watch::channel(0);
    let reader = piece.file.reader(piece.start).await?.take(piece.length);
    let mut sent = 0;
    let body = ReaderStream::with_capacity(reader, PIECE).inspect_ok(move |bytes| {
        sent += bytes.len() as u64;
        moved.send_replace(sent);
    });
    // An explicit length avoids chunked transfer encoding, which object stores reject.
    let request = request.header(CONTENT_LENGTH, piece.length).body(Body::wrap_stream(body));
    let mut counted = 0;
    let answer = watched_send(request, watched, wire.patience.idle, |sent| {
        meter.add(sent - counted);
        counted = sent;
    })
    .await;
    let done = answer.and_then(|answer| match answer.status() {
        status if status.is_success() => Ok(answer),
        status => Err(of_store(HubError::status(status, &wire.access.repo, None, ""))),
    });
    if done.is_err() {
        meter.undo(counted);
    }
    done
}

/// Sends a request and fails when its body makes no progress, or the response does not arrive,
/// within `idle`.
async fn watched_send(
    request: RequestBuilder,
    mut watched: watch::Receiver<u64>,
    idle: Duration,
    mut moved: impl FnMut(u64),
) -> Result<Response, HubError> {
    let mut answer = pin!(request.send());
    let mut streaming = true;
    loop {
        tokio::select! {
            answer = &mut answer => {
                moved(*watched.borrow());
                return answer.map_err(HubError::connection);
            }
            changed = watched.changed(), if streaming => match changed {
                Ok(()) => moved(*watched.borrow_and_update()),
                // The body is dropped: it is completely sent, or the server rejected the rest.
                Err(_) => streaming = false,
            },
            () = tokio::time::sleep(idle) => return Err(HubError::TimedOut { limit: idle }),
        }
    }
}

/// Converts an error of the object store. It is about the link or the content, never about our
/// permissions on the Hub.
fn of_store(error: HubError) -> HubError {
    match error {
        HubError::Unauthorized { .. } => HubError::Store { status: 401 },
        HubError::Forbidden { .. } | HubError::Gated { .. } => HubError::Store { status: 403 },
        HubError::NoRepository { .. } | HubError::NoFile { .. } => HubError::Store { status: 404 },
        HubError::Conflict => HubError::Store { status: 412 },
        HubError::Refused { status, .. } => HubError::Store { status },
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn header(chunk: &str, links: u64) -> HashMap<String, String> {
        let links = (1..=links).map(|number| (number.to_string(), format!("http://store/{number}")));
        links.chain([("chunk_size".to_owned(), chunk.to_owned())]).collect()
    }

    #[test]
    fn a_batch_without_the_right_links_is_refused() {
        assert_eq!(parts(&header("4", 3), 10).unwrap().len(), 3);
        for (chunk, links) in [("4", 2), ("4", 4), ("0", 3), ("-4", 3), ("x", 3)] {
            let refused = parts(&header(chunk, links), 10);
            assert!(matches!(refused, Err(HubError::Malformed { .. })), "{chunk} {links}");
        }
    }

    proptest! {
        #[test]
        fn parts_cover_the_content_once(size in 0_u64..1_000, chunk in 1_u64..400) {
            let parts = parts(&header(&chunk.to_string(), size.div_ceil(chunk)), size).unwrap();
            let mut end = 0;
            for (_, start, length) in &parts {
                prop_assert_eq!(*start, end);
                prop_assert!((1..=chunk).contains(length));
                end += length;
            }
            prop_assert_eq!(end, size);
        }
    }
}
