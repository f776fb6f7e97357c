//! Alerts of a real worker to a receiver that is down at first.

use std::net::SocketAddr;

use autovalidate::broker::RunState;
use axum::Router;
use axum::extract::{Json, State};
use axum::http::StatusCode;
use axum::routing::post;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::support::worker::{TestWorker, insert};
use crate::support::{DEADLINE, tiny, within};

type Received = (mpsc::UnboundedSender<Value>, std::sync::Arc<std::sync::atomic::AtomicUsize>);

/// Refuses the first alert, takes the others.
async fn receive(State((sender, count)): State<Received>, Json(body): Json<Value>) -> StatusCode {
    let number = count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
    sender.send(body).expect("the test waits");
    if number == 0 { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_published_model_is_told_until_the_receiver_has_taken_it_and_then_never_again() {
    let (sender, mut received) = mpsc::unbounded_channel();
    let app = Router::new().route("/key", post(receive)).with_state((sender, Default::default()));
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
    let url = format!("http://{}/key", listener.local_addr().unwrap());
    let serving = tokio::spawn(async move { axum::serve(listener, app).await });
    let settings = [
        ("TRAIN_THRESHOLD", "120"),
        ("ALERT_URL", url.as_str()),
        ("CONSOLE_URL", "https://trainer.example.org"),
    ];
    let mut system = TestWorker::start(&tiny(), &settings).await;
    insert(&system.supabase, 120).await;
    let run = system.ended().await;
    assert_eq!(run.state, RunState::Done, "{:?}", run.error);
    let path = run.artifact.unwrap().path;
    let first = within(DEADLINE, received.recv()).await.unwrap();
    assert_eq!((&first["kind"], &first["job"]), (&json!("published"), &json!(run.id)));
    assert_eq!(first["title"], json!(format!("run {} published {path}", run.id)));
    assert_eq!(first["link"], json!(format!("https://trainer.example.org/runs/{}", run.id)));
    assert_eq!(within(DEADLINE, received.recv()).await.unwrap(), first, "refused once, it comes again");
    // The next alert is another run's: a delivered one does not come again.
    insert(&system.supabase, 120).await;
    let second = system.ended().await;
    let next = within(DEADLINE, received.recv()).await.unwrap();
    assert_eq!(next["job"], json!(second.id), "{next}");
    system.stop().await;
    serving.abort();
}
