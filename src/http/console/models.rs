//! The page `/models`: versions with their scores over time, the live one, and the way back.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use jiff::Timestamp;
use maud::{Markup, PreEscaped, html};

use super::access::Visitor;
use super::layout::{Page, facts, pill, trouble};
use super::runs::version;
use super::words::{ago, exact, thousands};
use crate::broker::RunSummary;
use crate::http::Views;
use crate::hub::Version;
use crate::report::escape;

/// Wait for the first answer of the Hub.
const PATIENCE: Duration = Duration::from_secs(3);
/// Number of versions that the page shows.
const MOST_VERSIONS: usize = 60;
/// Number of runs whose scores are joined to the versions.
const RUNS: usize = 120;

/// Shows the page.
pub(super) async fn show(State(views): State<Arc<Views>>, Extension(visitor): Extension<Visitor>) -> Markup {
    let console = &views.console;
    let page =
        Page { access: &console.access, visitor: &visitor, path: "/models", title: "Models", live: None };
    let Some(repository) = &console.hub.repository else {
        return page.show(
            html! { h1 { "Models" } p { "Set " code { "HF_REPO" } " on this worker to see the releases." } },
        );
    };
    let hub = console.hub.whole_answer(PATIENCE).await;
    // Without the broker, the page lacks only the scores on earlier typos.
    let runs = console.runs.page(None, RUNS).await.map(|page| page.runs).unwrap_or_default();
    let now = Timestamp::now();
    page.show(html! {
        h1 { "Models" }
        p.hint { "Releases in " strong { (repository.name()) } @if let Some(at) = hub.at { ", as of " (ago(at, now)) } }
        @if let Some((message, advice)) = &hub.trouble { (trouble("The Hub can't be read.", message, advice)) }
        @match hub.versions.as_deref() {
            None if hub.trouble.is_some() => {}
            None => { p { "The Hub has not answered yet. Load the page again in a moment." } }
            Some(versions) if versions.is_empty() => { p { "No releases yet: the first run that the gate accepts publishes one." } }
            Some(versions) => { (content(versions, &runs, now)) }
        }
    })
}

/// A version, and the run that published it.
struct Scored<'a> {
    version: &'a Version,
    run: Option<&'a RunSummary>,
}

fn content(versions: &[Version], runs: &[RunSummary], now: Timestamp) -> Markup {
    let by_path: BTreeMap<&str, &RunSummary> =
        runs.iter().filter_map(|run| Some((run.published.as_deref()?, run))).collect();
    let shown: Vec<Scored<'_>> = versions
        .iter()
        .take(MOST_VERSIONS)
        .map(|version| Scored { version, run: by_path.get(version.path.as_str()).copied() })
        .collect();
    html! {
        section.card {
            h2 { "Right answers over time" }
            figure {
                (PreEscaped(plot(&shown)))
                figcaption {
                    "Share of held-out typos whose right name comes first. Each release was judged on typos of its own time, so neighbors are \
                     compared by the model before on the same typos. On earlier typos, a drop is forgetting."
                }
            }
        }
        h2 { "Versions" }
        @for scored in &shown { (entry(scored, now)) }
        @if versions.len() > shown.len() { p.hint { (versions.len() - shown.len()) " older versions: " code { "autovalidate models list" } } }
    }
}

fn entry(scored: &Scored<'_>, now: Timestamp) -> Markup {
    let Scored { version: of, run } = scored;
    let percent = |share: f64| format!("{:.1} %", share * 100.0);
    let mut rows = Vec::new();
    let span = html! {
        @match (of.live_from, of.live_until) {
            (Some(from), _) if of.live => { "since " (exact(from)) " (" (ago(from, now)) ")" }
            (Some(from), Some(until)) => { (exact(from)) " to " (exact(until)) }
            (Some(from), None) => { "from " (exact(from)) }
            (None, _) => { "unknown" }
        }
    };
    rows.push(("Live", span));
    if let Some(metrics) = &of.metrics {
        rows.push(("Right answers", html! {
            strong { (percent(metrics.after.accuracy_at_1)) } " of " (thousands(metrics.queries as u64)) " typos; the model before: " (percent(metrics.before.accuracy_at_1))
            @if let Some(earlier) = run.and_then(|run| run.scores).and_then(|scores| scores.earlier) { "; on earlier typos " (percent(earlier)) }
        }));
    }
    if let Some(verdict) = &of.verdict {
        rows.push(("Verdict", html! { (verdict.replace('_', " ")) }));
    }
    if let Some(base) = &of.base_model {
        let parent = version(base);
        rows.push((
            "Trained from",
            html! { @if parent == base { (base) } @else { a href={ "#" (parent) } { (parent) } } },
        ));
    }
    if let Some(original) = &of.rollback_of {
        rows.push(("Rollback of", html! { a href={ "#" (original) } { (original) } }));
    }
    if let Some(run) = run {
        rows.push(("Run", html! { a href={ "/runs/" (run.id) } { (run.id) } }));
    }
    rows.push(("Zip", html! { code { (of.path) } " · " (format!("{:.1} MB", of.bytes as f64 / 1e6)) }));
    if let Some(weights) = &of.weights_sha256 {
        rows.push(("Weights", html! { "SHA-256 " code.hash { (weights) } }));
    }
    html! {
        section.card.version id=(of.version) {
            h3 {
                (of.version) " "
                @if of.live { (pill("good", "live")) }
                @if of.removed { (pill("warn", "removed from the Hub")) }
            }
            (facts(rows))
            @if !of.live && !of.removed {
                p.actions {
                    a.button href={ "/actions/rollback?version=" (of.version) } { "Roll back to it…" }
                    " " code { "autovalidate models rollback " (of.version) }
                }
            }
        }
    }
}

/// Series of the plot: CSS class, name, and value of a version.
type Series<'a> = (&'static str, &'static str, fn(&Scored<'a>) -> Option<f64>);

/// Draws the scores of versions that are not rollbacks, oldest first, at even distances.
fn plot(versions: &[Scored<'_>]) -> String {
    const WIDTH: f64 = 720.0;
    const HEIGHT: f64 = 260.0;
    let (left, right, top, bottom) = (52.0, 24.0, 40.0, 34.0);
    let mut drawn: Vec<&Scored<'_>> = versions
        .iter()
        .filter(|scored| scored.version.metrics.is_some() && scored.version.rollback_of.is_none())
        .collect();
    drawn.reverse();
    let series: [Series<'_>; 3] = [
        ("new", "release, own typos", |scored| Some(scored.version.metrics?.after.accuracy_at_1)),
        ("live", "model before, same typos", |scored| Some(scored.version.metrics?.before.accuracy_at_1)),
        ("base", "release, earlier typos", |scored| scored.run?.scores?.earlier),
    ];
    let apart = (WIDTH - left - right) / drawn.len().max(1) as f64;
    let x = |place: usize| left + apart * (place as f64 + 0.5);
    let y = |share: f64| HEIGHT - bottom - (HEIGHT - top - bottom) * share.clamp(0.0, 1.0);
    let (mut marks, mut told) = (String::new(), Vec::new());
    // Writing to a string can't fail.
    for share in [0.0, 0.25, 0.5, 0.75, 1.0] {
        let _ = write!(
            marks,
            "<line class=\"grid\" x1=\"{left}\" x2=\"{:.1}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>\
             <text class=\"end\" x=\"{:.1}\" y=\"{:.1}\">{:.0} %</text>",
            WIDTH - right,
            left - 8.0,
            y(share) + 4.0,
            share * 100.0,
            at = y(share),
        );
    }
    let labeled = drawn.len().div_ceil(6).max(1);
    for (place, scored) in drawn.iter().enumerate() {
        if place.is_multiple_of(labeled) {
            // The stamp's month, day, hour and minute.
            let stamp = &scored.version.version;
            let day = match (stamp.get(4..6), stamp.get(6..8), stamp.get(8..10), stamp.get(10..12)) {
                (Some(month), Some(day), Some(hour), Some(minute)) => {
                    format!("{month}-{day} {hour}:{minute}")
                }
                _ => stamp.clone(),
            };
            let _ = write!(
                marks,
                "<text class=\"middle dim\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
                x(place),
                HEIGHT - 12.0,
                escape(&day)
            );
        }
        if scored.version.live {
            let _ = write!(
                marks,
                "<line class=\"live-mark\" x1=\"{0:.1}\" x2=\"{0:.1}\" y1=\"{top}\" y2=\"{1:.1}\"/>",
                x(place),
                HEIGHT - bottom
            );
        }
    }
    for (number, (class, name, value)) in series.iter().enumerate() {
        let at = left + 210.0 * number as f64;
        let _ = write!(
            marks,
            "<circle class=\"{class}\" cx=\"{:.1}\" cy=\"14\" r=\"5\"/><text x=\"{:.1}\" y=\"18\">{name}</text>",
            at + 6.0,
            at + 18.0
        );
        let points: Vec<(f64, f64)> = drawn
            .iter()
            .enumerate()
            .filter_map(|(place, scored)| Some((x(place), y(value(scored)?))))
            .collect();
        let line: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let _ = write!(marks, "<polyline class=\"line {class}\" points=\"{}\"/>", line.join(" "));
        for (x, y) in &points {
            let _ = write!(marks, "<circle class=\"{class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\"/>");
        }
    }
    for scored in &drawn {
        let values =
            series.iter().filter_map(|(_, name, value)| Some(format!("{name} {:.3}", value(scored)?)));
        told.push(format!("{}: {}", scored.version.version, values.collect::<Vec<_>>().join(", ")));
    }
    format!(
        "<svg role=\"img\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" aria-labelledby=\"scores-title scores-text\">\
         <title id=\"scores-title\">Right answers of each release</title><desc id=\"scores-text\">{}</desc>{marks}</svg>",
        escape(&told.join(". "))
    )
}
