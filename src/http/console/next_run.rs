//! The reason why no run is in progress, and the time at which the next one starts by itself.

use jiff::Timestamp;
use maud::{Markup, html};

use super::layout::Part;
use super::overview::Overview;
use super::words::{ago, count, span, thousands, when};
use crate::launcher::StartState;
use crate::trigger::{DueJob, Reason, TriggerPolicy, pause_after};

/// The answer in one sentence, and its grounds.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NextRun {
    pub(super) headline: String,
    /// Time that the headline is about.
    pub(super) at: Option<Timestamp>,
    pub(super) grounds: Vec<String>,
}

impl NextRun {
    /// Explains the next decision of the trigger.
    pub(super) fn of(overview: &Overview, policy: &TriggerPolicy) -> Self {
        let (outlook, queued) = (&overview.outlook, &overview.queued);
        let state = &outlook.state;
        let (pending, threshold) = (state.pending, policy.threshold.max(1));
        let pairs = |number: u64| count(number, "pair", "pairs");
        let mut grounds = Vec::new();
        let mut at = None;
        let headline = if queued.running.is_some() {
            grounds.push("While a run is in progress, no other starts by itself. Pairs that come meanwhile count for the next one.".to_owned());
            "A run is in progress".to_owned()
        } else if let Some(next) = queued.waiting.first() {
            grounds.push(format!("The run {next} waits for a trainer."));
            "A run waits for a trainer".to_owned()
        } else if state.run_in_flight {
            "A run is about to begin".to_owned()
        } else if pending == 0 {
            grounds.push(format!("A run starts when {} have come.", pairs(threshold)));
            "No new pairs".to_owned()
        } else {
            match outlook.due {
                Some(DueJob { at: due, reason }) if due > outlook.now => {
                    at = Some(due);
                    grounds.push(because(reason, pending, threshold, policy));
                    "The next run starts".to_owned()
                }
                Some(DueJob { reason, .. }) => {
                    grounds.push(because(reason, pending, threshold, policy));
                    "The next run is due now".to_owned()
                }
                None => {
                    let missing = threshold.saturating_sub(pending);
                    grounds.push(
                        "TRAIN_MAX_WAIT and TRAIN_QUIET are off, so only more pairs start a run.".to_owned(),
                    );
                    format!("Waiting for {} more", pairs(missing))
                }
            }
        };
        if pending > 0 && pending < threshold && at.is_some() {
            let missing = pairs(threshold - pending);
            grounds
                .push(format!("{missing} more start it sooner: the threshold is {}.", thousands(threshold)));
        }
        let lasts = |pause| {
            let end =
                state.last_run_ended_at.map(|ended| ended.saturating_add(pause).unwrap_or(Timestamp::MAX));
            end.is_some_and(|end| end > outlook.now)
        };
        if lasts(policy.cooldown) {
            let cooldown = span(policy.cooldown);
            grounds.push(format!(
                "No run starts by itself within {cooldown} after the end of the last one (TRAIN_COOLDOWN)."
            ));
        }
        let pause = pause_after(state.failed_runs);
        if state.failed_runs > 0 && lasts(pause) {
            let failed = count(u64::from(state.failed_runs), "run has failed", "runs in a row have failed");
            grounds.push(format!("{failed}; the next one waits {} after the last.", span(pause)));
        }
        Self { headline, at, grounds }
    }
}

fn because(reason: Reason, pending: u64, threshold: u64, policy: &TriggerPolicy) -> String {
    let pairs = count(pending, "pair waits", "pairs wait");
    let time = |time: Option<std::time::Duration>| time.map(span).unwrap_or_default();
    match reason {
        Reason::Threshold => format!("{pairs}, and {} are enough (TRAIN_THRESHOLD).", thousands(threshold)),
        Reason::MaxWait => {
            let wait = time(policy.max_wait);
            format!("{pairs}; the oldest will then have waited {wait} (TRAIN_MAX_WAIT).")
        }
        Reason::Quiet => {
            let quiet = time(policy.quiet);
            format!("{pairs}; unless another comes, none will have come for {quiet} (TRAIN_QUIET).")
        }
    }
}

/// Shows the answer, with the pairs against the threshold.
pub(super) fn part(overview: &Overview, policy: &TriggerPolicy) -> Part {
    let next = NextRun::of(overview, policy);
    let (now, state, threshold) = (overview.outlook.now, &overview.outlook.state, policy.threshold.max(1));
    let content = html! {
        section.card aria-labelledby="next-title" {
            h2 #next-title { "Next run" }
            p.headline aria-live="polite" {
                (next.headline)
                @if let Some(at) = next.at { " " (ago(at, now)) }
            }
            div.gauge {
                progress max=(threshold) value=(state.pending.min(threshold)) aria-label="Pairs against the threshold" {}
                p { strong { (thousands(state.pending)) } " of " (thousands(threshold)) " pairs" }
            }
            ul.grounds { @for ground in &next.grounds { li { (ground) } } }
            @if let Some(at) = next.at { p.hint { "Due " (when(at, now)) } }
            @if let (true, Some(oldest)) = (state.pending > 0, state.oldest_at) {
                p.hint { "Oldest waiting pair stored " (ago(oldest, now)) "." }
            }
            (trainer(overview, now))
            @if overview.queued.running.is_none() && overview.queued.waiting.is_empty() {
                p.actions { a.button href="/actions/train" { "Train now…" } }
            }
        }
    };
    ("next", content)
}

/// Shows the last start of a trainer while a run waits for one.
fn trainer(overview: &Overview, now: Timestamp) -> Markup {
    let Some(start) = &overview.trainer_start else { return html! {} };
    if !overview.queued.waiting.contains(&start.job) {
        return html! {};
    }
    match (&start.error, start.state) {
        (Some(error), _) => html! {
            (super::layout::trouble("No trainer was started.", &error.message, &error.advice))
            p.hint { "The next try is " (when(start.not_before, now)) "." }
        },
        (None, StartState::Starting) => html! { p.hint { "A trainer is being started." } },
        (None, StartState::Started | StartState::Failed) if start.came_up => html! {},
        (None, StartState::Started | StartState::Failed) => html! {
            p.hint { "A trainer was started " (ago(start.at, now)) " and is not up yet. The next start is " (when(start.not_before, now)) "." }
        },
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::broker::QueuedRuns;
    use crate::trigger::{Outlook, TriggerState, next_due};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn explained(policy: &TriggerPolicy, pending: u64, ended: Option<i64>, now: i64) -> NextRun {
        let some = |second| (pending > 0).then(|| at(second));
        let state = TriggerState {
            pending,
            oldest_at: some(100),
            newest_at: some(200),
            last_run_ended_at: ended.map(at),
            failed_runs: 0,
            run_in_flight: false,
        };
        let outlook = Outlook { now: at(now), state, due: next_due(policy, &state) };
        let overview = Overview {
            outlook,
            queued: QueuedRuns::default(),
            current: None,
            last: None,
            failed: None,
            quarantined: Default::default(),
            trainer_start: None,
        };
        NextRun::of(&overview, policy)
    }

    #[test]
    fn each_wait_is_told_with_its_reason_and_its_time() {
        let policy = |max_wait: Option<u64>, quiet: Option<u64>| TriggerPolicy {
            threshold: 10,
            max_wait: max_wait.map(Duration::from_secs),
            quiet: quiet.map(Duration::from_secs),
            cooldown: Duration::from_secs(600),
        };
        let none = explained(&policy(Some(900), None), 0, None, 250);
        assert!(none.headline == "No new pairs" && none.at.is_none(), "{none:?}");
        let waits = explained(&policy(Some(900), None), 4, None, 250);
        assert_eq!(waits.at, Some(at(1_000)));
        let told = waits.grounds.join(" ");
        assert!(
            told.contains("15 min (TRAIN_MAX_WAIT)") && told.contains("6 pairs more start it sooner"),
            "{told}"
        );
        let quiet = explained(&policy(None, Some(300)), 4, None, 250);
        assert!(quiet.at == Some(at(500)) && quiet.grounds[0].contains("TRAIN_QUIET"), "{quiet:?}");
        let cooling = explained(&policy(None, None), 12, Some(240), 250);
        assert_eq!(cooling.at, Some(at(840)));
        let told = cooling.grounds.join(" ");
        assert!(told.contains("TRAIN_THRESHOLD") && told.contains("TRAIN_COOLDOWN"), "{told}");
        let never = explained(&policy(None, None), 4, None, 250);
        assert!(never.headline == "Waiting for 6 pairs more" && never.at.is_none(), "{never:?}");
        let due = explained(&policy(None, None), 12, None, 250);
        assert!(due.headline == "The next run is due now" && due.at.is_none(), "{due:?}");
    }
}
