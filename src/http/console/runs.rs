//! The page `/runs`: runs with their verdicts, newest first, by page.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Extension;
use axum::extract::{Query, State};
use jiff::Timestamp;
use maud::{Markup, html};

use super::Console;
use super::access::Visitor;
use super::home::broker_trouble;
use super::layout::{Page, Part};
use super::run::state_pill;
use super::words::{ago, span, thousands};
use crate::broker::RunSummary;
use crate::http::Views;

/// Smallest number of runs on a page.
const RUNS: usize = 40;

/// Shows the page.
pub(super) async fn show(
    State(views): State<Arc<Views>>,
    Extension(visitor): Extension<Visitor>,
    Query(query): Query<BTreeMap<String, String>>,
) -> Markup {
    let console = &views.console;
    let earlier = query.get("earlier").and_then(|earlier| earlier.parse().ok());
    // Only the newest runs change.
    let live = earlier.is_none().then_some("/runs");
    let page = Page { access: &console.access, visitor: &visitor, path: "/runs", title: "Runs", live };
    let head = html! {
        div.title-row {
            h1 { "Runs" }
            p.actions { a.button href="/actions/train" { "Train now…" } }
        }
    };
    page.show_parts(head, parts(console, earlier).await)
}

/// Returns the parts of the page as they are now.
pub(super) async fn parts(console: &Console, earlier: Option<u64>) -> Vec<Part> {
    let content = match console.runs.page(earlier, RUNS).await {
        Err(error) => broker_trouble(&error),
        Ok(page) => {
            let now = Timestamp::now();
            html! {
                @if page.runs.is_empty() {
                    p { "No runs yet. The first one starts when enough pairs have come, or with \u{201c}Train now\u{201d}." }
                } @else {
                    (table(&page.runs, now))
                }
                nav.pages aria-label="Pages of runs" {
                    @if earlier.is_some() { a href="/runs" { "Newest runs" } }
                    @if let Some(number) = page.earlier { a href={ "/runs?earlier=" (number) } { "Earlier runs" } }
                }
            }
        }
    };
    vec![("runs", content)]
}

fn table(runs: &[RunSummary], now: Timestamp) -> Markup {
    html! {
        div.scroll {
            table.rows {
                thead {
                    tr {
                        th scope="col" { "run" } th scope="col" { "state" } th scope="col" { "requested" }
                        th scope="col" { "verdict" } th scope="col" { "right answers" } th.number scope="col" { "pairs" }
                        th.number scope="col" { "took" } th scope="col" { "outcome" }
                    }
                }
                tbody { @for run in runs { (row(run, now)) } }
            }
        }
    }
}

fn row(run: &RunSummary, now: Timestamp) -> Markup {
    let percent = |share: f64| format!("{:.1} %", share * 100.0);
    let took = run.ended_at.map(|ended| span(ended.duration_since(run.created_at).unsigned_abs()));
    html! {
        tr {
            th scope="row" { a href={ "/runs/" (run.id) } { (run.id) } }
            td data-label="state" { (state_pill(run.state)) @if run.attempts > 1 { " " small { (run.attempts) " attempts" } } }
            td data-label="requested" { (ago(run.created_at, now)) @if let Some(reason) = &run.reason { " " small { (reason) } } }
            td data-label="verdict" { @if let Some(verdict) = &run.verdict { (verdict.replace('_', " ")) } @else { "–" } }
            td data-label="right answers" { @if let Some(scores) = &run.scores { (percent(scores.before)) " → " strong { (percent(scores.after)) } } @else { "–" } }
            td.number data-label="pairs" { @if let Some(rows) = run.row_count { (thousands(rows)) } @else { "–" } }
            td.number data-label="took" { (took.unwrap_or_else(|| "–".to_owned())) }
            td data-label="outcome" {
                @if let Some(path) = &run.published { "published " code { (version(path)) } }
                @if let Some(error) = &run.error { span.error { (error) } }
                @if run.published.is_none() && run.error.is_none() { "–" }
            }
        }
    }
}

/// Returns the version in a release's path, or the path itself.
pub(super) fn version(path: &str) -> &str {
    let name = path.rsplit('/').next().unwrap_or(path);
    name.strip_prefix("finetuned-embedding-model-").and_then(|name| name.strip_suffix(".zip")).unwrap_or(path)
}
