//! The page `/`: the state of the installation on one screen.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use jiff::Timestamp;
use maud::{Markup, PreEscaped, html};

use super::access::Visitor;
use super::hook_answers::HookAnswer;
use super::hub_view::HubView;
use super::layout::{Page, Part, facts, pill, trouble};
use super::live::LiveTraining;
use super::overview::Overview;
use super::run::state_pill;
use super::words::{ago, count, exact, span, thousands};
use super::{Console, next_run};
use crate::broker::{BrokerError, RunRecord, RunState};
use crate::failure::{Failure, chain};
use crate::http::Views;
use crate::ingest::IngestStatus;
use crate::report::losses;

/// Shows the page.
pub(super) async fn show(State(views): State<Arc<Views>>, Extension(visitor): Extension<Visitor>) -> Markup {
    let console = &views.console;
    let page =
        Page { access: &console.access, visitor: &visitor, path: "/", title: "Overview", live: Some("/") };
    let parts = parts(console).await;
    page.show_parts(html! { h1 { "Overview" } }, parts)
}

/// Returns the parts of the page as they are now.
pub(super) async fn parts(console: &Console) -> Vec<Part> {
    let now = Timestamp::now();
    let overview = console.overview().await;
    let mut parts = match &overview {
        Ok(overview) => {
            let training = console.live.borrow().training.clone();
            vec![
                ("broker", html! {}),
                current(overview, training.as_ref()),
                next_run::part(overview, console.trigger.policy()),
                last(overview),
            ]
        }
        Err(error) => vec![("broker", broker_trouble(error))],
    };
    parts.push(live_model(&console.hub.look(), console.hub.repository.is_some(), now));
    let status = console.ingest.as_ref().map(|ingest| ingest.borrow().clone());
    parts.push(ingest(console, status.as_ref(), overview.is_ok()));
    if let Ok(overview) = &overview {
        parts.push(kept_out(overview));
    }
    parts
}

/// Shows that the broker does not answer.
pub(super) fn broker_trouble(error: &BrokerError) -> Markup {
    trouble("The broker doesn't answer.", &chain(error), &error.advice())
}

fn current(overview: &Overview, training: Option<&LiveTraining>) -> Part {
    let Some(run) = &overview.current else { return ("current", html! {}) };
    let now = overview.outlook.now;
    let stage = run.stages.last();
    let training = training.filter(|training| training.job == run.id);
    let content = html! {
        section.card.wide aria-labelledby="current-title" {
            h2 #current-title { "Run in progress" }
            p.headline {
                a href={ "/runs/" (run.id) } { (run.id) }
                " " (pill("busy", stage.map_or("starting", |stage| stage.stage.as_str())))
            }
            @if let Some(stage) = stage {
                p.hint {
                    "Stage " strong { (stage.stage) } " since " (ago(stage.started_at, now))
                    @if run.attempts > 1 { " · attempt " (run.attempts) }
                }
                @if let Some(error) = &stage.error { (trouble("The stage failed and is tried again.", &error.message, &error.advice)) }
            }
            @if let Some(training) = training { (progress(training)) }
            p.actions { a.button.danger href={ "/actions/cancel?run=" (run.id) } { "Cancel…" } }
        }
    };
    ("current", content)
}

/// Shows the step, the time left and the losses of a training.
pub(super) fn progress(training: &LiveTraining) -> Markup {
    let left = training.seconds_left().map(|left| span(std::time::Duration::from_secs_f64(left)));
    html! {
        div.gauge {
            progress max=(training.steps) value=(training.step) aria-label="Optimizer steps" {}
            p {
                strong { "Step " (thousands(training.step)) } " of " (thousands(training.steps))
                " · epoch " (training.epoch) " · loss " (format!("{:.3}", training.loss))
                @if let Some(left) = left { " · " strong { (left) " left" } }
            }
        }
        @if training.losses.means.len() > 1 {
            figure { (PreEscaped(losses(&training.losses.means, training.losses.per_mean, None))) }
        }
    }
}

fn last(overview: &Overview) -> Part {
    let now = overview.outlook.now;
    let content = html! {
        section.card aria-labelledby="last-title" {
            h2 #last-title { "Last run" }
            @match &overview.last {
                None => { p.headline { "No run has ended yet" } }
                Some(run) => { (ended(run, now)) }
            }
            @if let Some(failed) = overview.failed.as_ref().filter(|failed| overview.last.as_ref().is_none_or(|last| last.id != failed.id)) {
                h3 { "Last failure" }
                (ended(failed, now))
            }
        }
    };
    ("last", content)
}

fn ended(run: &RunRecord, now: Timestamp) -> Markup {
    html! {
        p.headline { a href={ "/runs/" (run.id) } { (run.id) } " " (state_pill(run.state)) }
        p.hint {
            @if let Some(at) = run.ended_at { "Ended " (ago(at, now)) }
            @if let Some(verdict) = &run.verdict { " · verdict: " strong { (verdict.replace('_', " ")) } }
            @if let Some(rows) = run.row_count { " · " (count(rows, "pair", "pairs")) }
        }
        @for told in run.live_unreadable.iter().chain(&run.not_continued) { p.hint { (told) } }
        @if let Some(error) = &run.error { (trouble("Reason:", &error.message, &error.advice)) }
        @if matches!(run.state, RunState::Failed | RunState::Cancelled) {
            p.actions { a.button href={ "/actions/retry?run=" (run.id) } { "Retry…" } }
        }
    }
}

fn live_model(hub: &HubView, known: bool, now: Timestamp) -> Part {
    let live = hub.versions.as_ref().map(|versions| versions.iter().find(|version| version.live));
    let content = html! {
        section.card aria-labelledby="live-title" {
            h2 #live-title { "Live model" }
            @match live {
                _ if !known => { p { "This worker has no " code { "HF_REPO" } ", so it doesn't know the live model." } }
                None if hub.trouble.is_some() => { p.headline { "Unknown" } }
                None => { p.headline { "Asking the Hub…" } }
                Some(None) => { p.headline { "No release yet" } p.hint { "The backend has nothing to load until a run publishes a model." } }
                Some(Some(version)) => {
                    p.headline { a href={ "/models#" (version.version) } { (version.version) } }
                    @if let Some(metrics) = &version.metrics {
                        p.figure-line {
                            span.big { (format!("{:.1} %", metrics.after.accuracy_at_1 * 100.0)) }
                            " of " (thousands(metrics.queries as u64)) " held-out typos right; the model before: "
                            (format!("{:.1} %", metrics.before.accuracy_at_1 * 100.0))
                        }
                    }
                    p.hint {
                        @if let Some(from) = version.live_from { "Live since " (ago(from, now)) }
                        @if let Some(of) = &version.rollback_of { " · a rollback to " (of) }
                    }
                }
            }
            @if let Some((message, advice)) = &hub.trouble { (trouble("The Hub can't be read.", message, advice)) }
        }
    };
    ("model", content)
}

fn ingest(console: &Console, status: Option<&IngestStatus>, broker: bool) -> Part {
    let answers = console.hook_answers.counts();
    let server = console.streams.connection().client().server_info();
    let content = html! {
        section.card aria-labelledby="ingest-title" {
            h2 #ingest-title { "Connections" }
            (facts([
                ("Broker", html! {
                    @if broker { (pill("good", "answers")) } @else { (pill("bad", "no answer")) }
                    " nats-server " (server.version)
                }),
            ]))
            @match status {
                None => { p.hint { "This worker only trains; a listener shows Realtime and the table." } }
                Some(status) => {
                    (facts([
                        ("Realtime", html! {
                            @if status.connected { (pill("good", "subscribed")) } @else { (pill("warn", "not subscribed")) }
                            @if status.generation > 1 { " " (count(status.generation, "connection", "connections")) " so far" }
                        }),
                        ("Last sweep", html! {
                            @match (status.last_sweep_at, &status.sweep_trouble) {
                                (_, Some(_)) => { (pill("bad", "failed")) }
                                (None, None) => { (pill("busy", "the first is under way")) }
                                (Some(_), None) => { (pill("good", "complete")) }
                            }
                            @if let Some(at) = status.last_sweep_at { " " time datetime=(at) { (exact(at)) } }
                        }),
                        ("Pairs found", html! {
                            (thousands(status.rows_by_realtime)) " by Realtime, " (thousands(status.rows_by_sweep + status.rows_by_audit)) " by sweeps since the start"
                        }),
                        ("Webhooks", html! {
                            @if answers.is_empty() { "none since the start" }
                            @for (place, (status, number)) in answers.iter().enumerate() {
                                @if place > 0 { ", " }
                                (thousands(*number)) " × " (status) " " (HookAnswer::of(*status).words())
                            }
                        }),
                    ]))
                    @if let Some(backfill) = &status.backfill {
                        p.hint { "A long sweep has read " (thousands(backfill.read)) @if let Some(total) = backfill.total { " of " (thousands(total)) } " rows." }
                    }
                    @for (title, error) in [("The sweep fails.", &status.sweep_trouble), ("No row is visible.", &status.visibility_trouble), ("Realtime ended.", &status.realtime_trouble)] {
                        @if let Some(error) = error { (trouble(title, &error.error, &error.advice)) }
                    }
                }
            }
        }
    };
    ("ingest", content)
}

fn kept_out(overview: &Overview) -> Part {
    let content = html! {
        section.card aria-labelledby="kept-title" {
            h2 #kept-title { "Kept out of training" }
            @if overview.quarantined.is_empty() {
                p { "No row is in quarantine." }
            } @else {
                (facts(overview.quarantined.iter().map(|(refusal, number)| {
                    (refusal.name(), html! { (count(*number, "row", "rows")) })
                })))
                p.actions { a.button href="/pairs#quarantine" { "Look at them" } }
            }
        }
    };
    ("kept", content)
}
