//! The page `/runs/<id>`: everything that is recorded about a run.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use maud::{Markup, PreEscaped, html};

use super::Console;
use super::access::Visitor;
use super::home::{broker_trouble, progress};
use super::layout::{Page, Part, facts, pill, trouble};
use super::live::{event_words, last_events};
use super::runs::version;
use super::waterfall::waterfall;
use super::words::{ago, count, exact, span};
use crate::broker::{BrokerError, Event, JobId, RunRecord, RunState};
use crate::failure::Failure;
use crate::http::Views;
use crate::report::{RunReport, content};

/// Returns the state of a run in words and color.
pub(super) fn state_pill(state: RunState) -> Markup {
    match state {
        RunState::Queued => pill("", "queued"),
        RunState::Running => pill("busy", "running"),
        RunState::Done => pill("good", "done"),
        RunState::Refused => pill("warn", "refused"),
        RunState::Failed => pill("bad", "failed"),
        RunState::Cancelled => pill("", "cancelled"),
    }
}

/// Shows the page.
pub(super) async fn show(
    State(views): State<Arc<Views>>,
    Extension(visitor): Extension<Visitor>,
    Path(id): Path<String>,
) -> Response {
    let console = &views.console;
    let found = match id.parse::<JobId>() {
        Ok(id) => console.runs.load(&id).await,
        Err(_) => Ok(None),
    };
    let page = |title: &str, live: Option<&str>, content: Markup| {
        Page { access: &console.access, visitor: &visitor, path: "/runs", title, live }.show(content)
    };
    match found {
        Err(error) => page("Run", None, broker_trouble(&error)).into_response(),
        Ok(None) => {
            let content = html! { h1 { "No such run" } p { a href="/runs" { "All runs" } } };
            (StatusCode::NOT_FOUND, page("No such run", None, content)).into_response()
        }
        Ok(Some((record, _))) => {
            let path = format!("/runs/{}", record.id);
            let live = (!record.state.is_final()).then_some(path.as_str());
            let mut body = html! { h1 { "Run " (record.id) } };
            for (id, part) in parts_of(console, &record).await {
                body = html! { (body) (super::layout::show_part(id, part)) };
            }
            page(record.id.as_str(), live, html! { (body) (whole(&record)) }).into_response()
        }
    }
}

/// Returns the parts of the page that change while the run is in progress.
///
/// # Errors
/// The errors of the broker.
pub(super) async fn parts(console: &Console, id: &JobId) -> Result<Vec<Part>, BrokerError> {
    let Some((record, _)) = console.runs.load(id).await? else { return Ok(Vec::new()) };
    Ok(parts_of(console, &record).await)
}

async fn parts_of(console: &Console, record: &RunRecord) -> Vec<Part> {
    let now = Timestamp::now();
    let training = console.live.borrow().training.clone().filter(|training| training.job == record.id);
    let told = last_events(&console.streams, &record.id).await;
    let state = html! {
        (summary(record, now))
        @if let Some(training) = &training { section.card { h2 { "Training" } (progress(training)) } }
    };
    let stages = html! { section.card { h2 { "Stages" } (waterfall(record, now)) } };
    let events = match told {
        Ok(told) => events(&told),
        Err(error) => broker_trouble(&error),
    };
    vec![("run-state", state), ("run-stages", stages), ("run-events", events)]
}

fn summary(record: &RunRecord, now: Timestamp) -> Markup {
    let request = &record.request;
    let mut rows = vec![
        (
            "State",
            html! { (state_pill(record.state)) @if let Some(verdict) = &record.verdict { " verdict: " strong { (verdict.replace('_', " ")) } } },
        ),
        (
            "Requested",
            html! { (ago(record.created_at, now)) " · " (exact(record.created_at)) @if let Some(reason) = &request.reason { " · " (reason) } },
        ),
    ];
    if let Some(ended) = record.ended_at {
        let took = span(ended.duration_since(record.created_at).unsigned_abs());
        rows.push(("Ended", html! { (ago(ended, now)) " · after " (took) }));
    }
    if record.attempts > 0 {
        rows.push(("Attempts", html! { (record.attempts) @if record.failures > 0 { ", of which " (record.failures) " failed" } @if record.retries > 0 { " · retried " (record.retries) " times by a person" } }));
    }
    if let Some(number) = record.row_count {
        rows.push(("Data", html! { (count(number, "pair", "pairs")) @if let Some(hash) = &record.dataset_hash { " · hash " code.hash { (hash) } } }));
    }
    if let Some(base) = &record.base_model {
        rows.push(("Started from", html! { (base) }));
    }
    for told in record.live_unreadable.iter().chain(&record.not_continued) {
        rows.push(("Note", html! { (told) }));
    }
    if request.dry_run || request.force {
        rows.push(("Request", html! { @if request.dry_run { "dry run: publishes nothing " } @if request.force { "publishes whatever the gate says" } }));
    }
    if let Some(artifact) = &record.artifact {
        rows.push(("Published", html! { a href={ "/models#" (version(&artifact.path)) } { (artifact.path) } " · " (format!("{:.0} MB", artifact.size as f64 / 1e6)) " · SHA-256 " code.hash { (artifact.sha256) } }));
        rows.push(("Receipt", html! { code { "models/receipts/" (version(&artifact.path)) ".json" } " in the model repository" }));
    }
    if record.state.is_final() {
        rows.push(("Replay", html! { code { "autovalidate runs replay " (record.id) } }));
    }
    html! {
        section.card {
            (facts(rows))
            @if let Some(error) = &record.error { (trouble("Reason:", &error.message, &error.advice)) }
            p.actions {
                @match record.state {
                    RunState::Queued | RunState::Running => { a.button.danger href={ "/actions/cancel?run=" (record.id) } { "Cancel…" } }
                    RunState::Failed | RunState::Cancelled => { a.button href={ "/actions/retry?run=" (record.id) } { "Retry…" } }
                    RunState::Refused if record.error.is_some() => { a.button href={ "/actions/retry?run=" (record.id) } { "Retry…" } }
                    RunState::Refused | RunState::Done => {}
                }
            }
        }
    }
}

fn events(events: &[Event]) -> Markup {
    html! {
        section.card {
            h2 { "Events" }
            @if events.is_empty() { p { "None are stored any more." } } @else {
                p.hint { "The last event of each stage." }
                div.scroll {
                    table {
                        thead { tr { th scope="col" { "time" } th scope="col" { "stage" } th scope="col" { "event" } } }
                        tbody { @for event in events { tr { th scope="row" { (exact(event.at)) } td { (event.stage) } td { (event_words(event)) } } } }
                    }
                }
            }
        }
    }
}

/// Shows what no longer changes: the report, and the record itself.
fn whole(record: &RunRecord) -> Markup {
    let json = serde_json::to_string_pretty(record).unwrap_or_default();
    html! {
        section.card.report {
            h2 { "Report" }
            @match RunReport::of(record) {
                Ok(report) => { (PreEscaped(content(&report))) }
                Err(error) => { p { (error) "." } @if record.state.is_final() { p.hint { (error.advice()) } } }
            }
        }
        section.card {
            h2 { "Record" }
            details { summary { "Everything that is recorded, as JSON" } pre tabindex="0" { (json) } }
        }
    }
}
