//! The stages of a run over time, as a plot and as a table.

use std::fmt::Write as _;
use std::time::Duration;

use jiff::Timestamp;
use maud::{Markup, PreEscaped, html};

use super::layout::pill;
use super::words::{exact, span};
use crate::broker::{RunRecord, StageRecord};
use crate::report::escape;

/// Width of the plot, in units of its view box.
const WIDTH: f64 = 720.0;
/// Room for the names at the left.
const LEFT: f64 = 110.0;
/// Room for the durations at the right.
const RIGHT: f64 = 90.0;
/// Height of a row.
const ROW: f64 = 24.0;

/// A stage with the attempt that it belongs to.
struct Bar<'a> {
    stage: &'a StageRecord,
    attempt: usize,
    ended_at: Timestamp,
}

/// Returns the stages with the number of their attempt: a stage that comes again, or that comes before
/// its predecessor, begins another attempt.
fn bars(record: &RunRecord, now: Timestamp) -> Vec<Bar<'_>> {
    let mut seen: Vec<&str> = Vec::new();
    let mut attempt = 1;
    let mut bars = Vec::new();
    for (place, stage) in record.stages.iter().enumerate() {
        if seen.contains(&stage.stage.as_str()) {
            attempt += 1;
            seen.clear();
        }
        seen.push(&stage.stage);
        // An interrupted stage lasted at most until the next one began.
        let next = record.stages.get(place + 1).map(|next| next.started_at);
        let ended_at = stage.ended_at.or(next).or(record.ended_at).unwrap_or(now).max(stage.started_at);
        bars.push(Bar { stage, attempt, ended_at });
    }
    bars
}

/// Shows the stages of a run.
pub(super) fn waterfall(record: &RunRecord, now: Timestamp) -> Markup {
    let bars = bars(record, now);
    if bars.is_empty() {
        return html! { p { "No stage has begun." } };
    }
    html! {
        figure { (PreEscaped(plot(&bars))) }
        details {
            summary { "Stages as a table" }
            (table(record, &bars))
        }
        @for bar in &bars {
            @if let Some(error) = &bar.stage.error {
                (super::layout::trouble(&format!("{}, attempt {}:", bar.stage.stage, bar.attempt), &error.message, &error.advice))
            }
        }
        @if record.earlier_stages > 0 { p.hint { (record.earlier_stages) " earlier stages are no longer in the record." } }
    }
}

fn plot(bars: &[Bar<'_>]) -> String {
    let start = bars.iter().map(|bar| bar.stage.started_at).min().unwrap_or_default();
    let end = bars.iter().map(|bar| bar.ended_at).max().unwrap_or_default();
    let whole = end.duration_since(start).as_secs_f64().max(1e-3);
    let x = |at: Timestamp| LEFT + (WIDTH - LEFT - RIGHT) * at.duration_since(start).as_secs_f64() / whole;
    let height = ROW * bars.len() as f64 + 4.0;
    let (mut marks, mut told) = (String::new(), Vec::new());
    for (place, bar) in bars.iter().enumerate() {
        let y = ROW * place as f64 + 3.0;
        let class = match (&bar.stage.error, bar.stage.ended_at) {
            (Some(_), _) => "failed",
            (None, None) => "open",
            (None, Some(_)) => "done",
        };
        let took = span(duration(bar));
        let (from, to) = (x(bar.stage.started_at), x(bar.ended_at));
        let name = match bar.attempt {
            1 => bar.stage.stage.clone(),
            attempt => format!("{} ({attempt})", bar.stage.stage),
        };
        // Writing to a string can't fail.
        let _ = write!(
            marks,
            "<text class=\"end\" x=\"{:.1}\" y=\"{:.1}\">{}</text>\
             <rect class=\"stage {class}\" x=\"{from:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{:.1}\" rx=\"3\"/>\
             <text class=\"dim\" x=\"{:.1}\" y=\"{:.1}\">{took}</text>",
            LEFT - 10.0,
            y + 14.0,
            escape(&name),
            (to - from).max(3.0),
            ROW - 6.0,
            (to + 8.0).max(from + 11.0),
            y + 14.0,
        );
        told.push(format!("{name}: {took}, {class}"));
    }
    format!(
        "<svg role=\"img\" viewBox=\"0 0 {WIDTH} {height}\" aria-labelledby=\"stages-title stages-text\">\
         <title id=\"stages-title\">Stages of the run over time</title><desc id=\"stages-text\">{}</desc>{marks}</svg>",
        escape(&told.join("; "))
    )
}

fn duration(bar: &Bar<'_>) -> Duration {
    bar.ended_at.duration_since(bar.stage.started_at).unsigned_abs()
}

fn table(record: &RunRecord, bars: &[Bar<'_>]) -> Markup {
    html! {
        div.scroll {
            table {
                thead { tr { th scope="col" { "stage" } th scope="col" { "attempt" } th scope="col" { "began" } th scope="col" { "took" } th scope="col" { "outcome" } } }
                tbody {
                    @for bar in bars {
                        tr {
                            th scope="row" { (bar.stage.stage) }
                            td { (bar.attempt) }
                            td { (exact(bar.stage.started_at)) }
                            td { (span(duration(bar))) }
                            td {
                                @match (&bar.stage.error, bar.stage.ended_at) {
                                    (Some(_), _) => { (pill("bad", "failed")) }
                                    (None, Some(_)) => { (pill("good", "done")) }
                                    (None, None) if record.state.is_final() => { (pill("warn", "interrupted")) }
                                    (None, None) => { (pill("busy", "open")) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::{JobId, JobRequest};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_stage_that_comes_again_is_another_attempt_and_an_interrupted_one_ends_with_it() {
        let mut record = RunRecord::new(JobId::manual(1), JobRequest::default(), at(0));
        let stage = |name: &str, from, to: Option<i64>| StageRecord {
            stage: name.to_owned(),
            started_at: at(from),
            ended_at: to.map(at),
            figures: serde_json::Value::Null,
            error: None,
        };
        record.stages = vec![
            stage("load-base", 0, Some(1)),
            stage("train", 1, None),
            stage("load-base", 50, Some(52)),
            stage("<script>", 52, None),
        ];
        let bars = bars(&record, at(60));
        let seen: Vec<_> = bars.iter().map(|bar| (bar.attempt, bar.ended_at)).collect();
        assert_eq!(seen, [(1, at(1)), (1, at(50)), (2, at(52)), (2, at(60))]);
        let drawn = waterfall(&record, at(60)).into_string();
        assert!(drawn.contains("&lt;script&gt;") && !drawn.contains("<script>"), "{drawn}");
        assert!(drawn.contains("load-base (2)"));
    }
}
