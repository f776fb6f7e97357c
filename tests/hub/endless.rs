//! A server in the Hub's place whose answers have no end: each read stops at its limit.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use autovalidate::hub::{HubAccess, HubError, Repository, RetryPolicy};
use axum::body::Body;
use axum::extract::Request;
use axum::http::Response;
use axum::response::IntoResponse;
use bytes::Bytes;

use crate::support::hub::{REPO, patience};
use crate::support::{DEADLINE, within};

const COMMIT: &str = "5f70bf18a086007016e948b04aed3b82103a36be";
/// Size of each piece of an endless body.
const PIECE: usize = 64 << 10;

/// Kind of answer that has no end.
#[derive(Clone, Copy, PartialEq)]
enum Endless {
    Info,
    Listing,
    File,
}

/// Starts a server with an endless kind of answer. The counter has the bytes of endless bodies.
async fn server(endless: Endless) -> (Repository, Arc<AtomicU64>) {
    let sent = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&sent);
    let answer = move |request: Request| {
        let counted = Arc::clone(&counted);
        async move {
            let path = request.uri().path().to_owned();
            if path.contains("/tree/") {
                listing(endless, request.uri().query().unwrap_or_default())
            } else if path.starts_with("/api/models/") && endless != Endless::Info {
                format!(r#"{{"sha":"{COMMIT}","id":"{REPO}"}}"#).into_response()
            } else {
                body(counted)
            }
        }
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    tokio::spawn(axum::serve(listener, axum::Router::new().fallback(answer)).into_future());
    let access = HubAccess { endpoint, token: None, repo: REPO.parse().unwrap() };
    let repository =
        Repository::with_retry_policy(access, RetryPolicy { attempts: 1, ..patience() }).unwrap();
    (repository, sent)
}

/// Returns a page of files, the first of which has 300 bytes, with a link to another page if listings have
/// no end.
fn listing(endless: Endless, query: &str) -> Response<Body> {
    let page: u64 = query.rsplit_once("cursor=").and_then(|(_, page)| page.parse().ok()).unwrap_or_default();
    let file = |path: String| format!(r#"{{"type":"file","path":"{path}","size":300,"oid":"{COMMIT}"}}"#);
    if endless != Endless::Listing {
        return format!("[{},{}]", file("modules.json".into()), file("vocab.txt".into())).into_response();
    }
    let files: Vec<String> = (0..10_000).map(|number| file(format!("models/{page}-{number}.json"))).collect();
    let link = format!("</api/models/{REPO}/tree/{COMMIT}?cursor={}>; rel=\"next\"", page + 1);
    ([("link", link)], format!("[{}]", files.join(","))).into_response()
}

fn body(sent: Arc<AtomicU64>) -> Response<Body> {
    let pieces = futures::stream::repeat_with(move || {
        sent.fetch_add(PIECE as u64, Ordering::Relaxed);
        Ok::<_, Infallible>(Bytes::from(vec![b' '; PIECE]))
    });
    Body::from_stream(pieces).into_response()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endless_answer_is_read_up_to_its_limit() {
    let (repository, sent) = server(Endless::Info).await;
    let error = within(DEADLINE, repository.head()).await.unwrap_err();
    assert!(matches!(error, HubError::Malformed { .. }), "{error:?}");
    assert!(sent.load(Ordering::Relaxed) < 64 << 20);

    let (repository, sent) = server(Endless::File).await;
    let error = within(DEADLINE, repository.index()).await.unwrap_err();
    assert!(matches!(error, HubError::Malformed { .. }), "{error:?}");
    assert!(sent.load(Ordering::Relaxed) < 128 << 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endless_listing_ends() {
    let (repository, _) = server(Endless::Listing).await;
    for error in [
        within(DEADLINE, repository.releases()).await.map(drop).unwrap_err(),
        within(DEADLINE, repository.model_files()).await.map(drop).unwrap_err(),
        within(DEADLINE, repository.receipts()).await.map(drop).unwrap_err(),
    ] {
        assert!(matches!(error, HubError::Malformed { what } if what.contains("no end")), "{error:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_takes_no_more_disk_than_is_listed() {
    let (repository, sent) = server(Endless::File).await;
    let files = within(DEADLINE, repository.model_files()).await.unwrap();
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("model");
    let error = within(DEADLINE, repository.download_model(&files, &folder)).await.unwrap_err();
    assert!(matches!(error, HubError::Checksum { .. }), "{error:?}");
    assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 0, "nothing is left");
    assert!(sent.load(Ordering::Relaxed) < 64 << 20, "{sent:?} bytes");
}
