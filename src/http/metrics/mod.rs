//! `/metrics`, in Prometheus' text format.
//!
//! Each folder counts its own numbers and registers them under their names: see `metrics.rs` in `ingest`,
//! `run` and `launcher`. Owns the numbers of the process, and reads those of the broker at each request,
//! by a fixed number of small requests. A label's values are those of an enum, so the number of time
//! series does not grow.
//!
//! ```text
//! broker   numbers that the broker has
//! process  memory, processor time and open files of this process
//! ```

mod broker;
mod process;

use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use prometheus_client::encoding::prometheus_text::{CONTENT_TYPE, encode};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use super::Views;
use super::console::HookAnswer;

/// Returns a registry with the numbers that every worker has. Each part of the worker registers its own.
pub fn registry(role: &'static str) -> Registry {
    let mut registry = Registry::default();
    let labels = [("version", env!("CARGO_PKG_VERSION")), ("role", role)];
    registry.register("autovalidate_build", "Version and role of this worker", Info::new(labels));
    registry.register_collector(Box::new(process::ProcessCollector::new()));
    registry
}

/// Shows the metrics. Those with an unknown value are absent.
pub(super) async fn show(State(views): State<Arc<Views>>) -> Response {
    let mut current = Registry::default();
    broker::read(&views).await.register(&mut current);
    if let Some(ingest) = &views.ingest {
        ingest.borrow().register(&mut current);
        current.register("autovalidate_webhooks", "Calls of the hooks", hooks(&views));
    }
    let mut text = String::new();
    match encode(&mut text, &views.metrics).and_then(|()| encode(&mut text, &current)) {
        Ok(()) => ([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response(),
        Err(error) => {
            tracing::warn!(%error, "the metrics can't be written");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// Returns the number of hooks by the answer they got.
fn hooks(views: &Views) -> Family<[(&'static str, &'static str); 1], Counter> {
    let answers = Family::<[(&'static str, &'static str); 1], Counter>::default();
    for answer in HookAnswer::ALL {
        answers.get_or_create(&[("answer", answer.into())]).inc_by(0);
    }
    for (status, calls) in views.console.hook_counts() {
        answers.get_or_create(&[("answer", HookAnswer::of(status).into())]).inc_by(calls);
    }
    answers
}
