//! Reasons of machine-seconds: each run of a machine needs a cause, and ends soon after its last
//! work.

use std::time::Duration;

use autovalidate_fakes::fly::{Run, StartReason};
use jiff::Timestamp;

use super::recipe::{Group, Recipe};

/// Call that wakes a recipe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::Display)]
pub(super) enum Call {
    /// The database webhook.
    #[strum(to_string = "the webhook")]
    Webhook,
    /// The hourly tick.
    #[strum(to_string = "the tick")]
    Tick,
}

/// One run of a machine, and the group that it belongs to.
#[derive(Debug, Clone, Copy)]
pub(super) struct MachineRun {
    pub(super) group: &'static Group,
    pub(super) run: Run,
}

impl MachineRun {
    /// Returns the seconds that the machine ran; zero while it runs.
    pub(super) fn seconds(&self) -> f64 {
        self.run.time(self.run.started_at).as_secs_f64()
    }
}

/// Everything that happened between a call and the next sleep.
#[derive(Debug, Clone)]
pub(super) struct Wake {
    pub(super) call: Call,
    /// Time of the call.
    pub(super) called_at: Timestamp,
    /// Time at which the call was answered, if the caller learns it.
    pub(super) answered_at: Option<Timestamp>,
    /// Time at which the last new pair was stored.
    pub(super) stored_at: Option<Timestamp>,
    /// Ends of the training runs.
    pub(super) ended_at: Vec<Timestamp>,
    /// Runs of the machines.
    pub(super) machine_runs: Vec<MachineRun>,
}

impl Wake {
    /// Returns a sentence about machine-seconds without a reason, if there are any.
    ///
    /// - The listener's machine runs once, started by the proxy after the call.
    /// - A trainer's machine runs once for each training run, started through the Machines API.
    /// - Each machine ends within `longest_rest` after its last work.
    pub(super) fn unexplained(&self, recipe: Recipe, longest_rest: Duration) -> Option<String> {
        for group in recipe.groups() {
            let listens = group.name == recipe.listener().name;
            let (wanted, reason) = match listens {
                true => (1, StartReason::Proxy),
                false => (self.ended_at.len(), StartReason::Api),
            };
            let runs: Vec<Run> = self.runs_of(group).map(|run| run.run).collect();
            if runs.len() != wanted {
                return Some(format!(
                    "the {}'s machine ran {} times after {}, but had reason to run {wanted} times",
                    group.name,
                    runs.len(),
                    self.call
                ));
            }
            for run in runs {
                if run.reason != reason || run.started_at < self.called_at {
                    let reason = run.reason;
                    return Some(format!(
                        "the {}'s machine started without a cause that is known ({reason:?})",
                        group.name
                    ));
                }
                let Some(stopped_at) = run.stopped_at else {
                    return Some(format!("the {}'s machine still runs", group.name));
                };
                let rest = seconds_between(self.last_work(&run, listens), stopped_at);
                let limit = longest_rest.as_secs_f64();
                if rest > limit {
                    return Some(format!(
                        "the {}'s machine ran for {rest:.1} s after its last work; {limit:.0} s are allowed",
                        group.name
                    ));
                }
            }
        }
        None
    }

    /// Returns the runs of a group's machine.
    pub(super) fn runs_of(&self, group: &Group) -> impl Iterator<Item = &MachineRun> {
        let name = group.name;
        self.machine_runs.iter().filter(move |run| run.group.name == name)
    }

    /// Returns the time of the last work in a machine's run. Work is the start, a call, a new pair,
    /// the end of a training run and, for the broker's machine, the end of another machine that
    /// used the broker.
    fn last_work(&self, run: &Run, listens: bool) -> Timestamp {
        let within = |at: &Timestamp| *at >= run.started_at && Some(*at) <= run.stopped_at;
        let hooks = [self.answered_at, self.stored_at].into_iter().flatten().filter(|_| listens);
        let others = self.machine_runs.iter().filter_map(|other| other.run.stopped_at).filter(|_| listens);
        let others = others.filter(|at| Some(*at) != run.stopped_at);
        let work = hooks.chain(others).chain(self.ended_at.iter().copied()).filter(within);
        work.max().unwrap_or(run.started_at)
    }
}

/// Returns the seconds from one time to a later one.
pub(super) fn seconds_between(from: Timestamp, to: Timestamp) -> f64 {
    to.duration_since(from).as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    const REST: Duration = Duration::from_secs(15);

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn ran(recipe: Recipe, group: usize, from: i64, to: Option<i64>, reason: StartReason) -> MachineRun {
        let run = Run { started_at: at(from), stopped_at: to.map(at), reason };
        MachineRun { group: &recipe.groups()[group], run }
    }

    fn wake(machine_runs: Vec<MachineRun>, ended_at: &[i64]) -> Wake {
        Wake {
            call: Call::Tick,
            called_at: at(0),
            answered_at: Some(at(2)),
            stored_at: None,
            ended_at: ended_at.iter().map(|second| at(*second)).collect(),
            machine_runs,
        }
    }

    #[test]
    fn a_machine_that_ends_soon_after_its_last_work_is_explained() {
        use StartReason::{Api, Proxy};
        let (one, two) = (Recipe::OneMachine, Recipe::TwoGroups);
        assert_eq!(wake(vec![ran(one, 0, 1, Some(14), Proxy)], &[]).unexplained(one, REST), None);
        assert_eq!(wake(vec![ran(one, 0, 1, Some(75), Proxy)], &[61]).unexplained(one, REST), None);
        // The listener waits for the trainer that is connected to its broker.
        let both = vec![ran(two, 0, 1, Some(86), Proxy), ran(two, 1, 3, Some(72), Api)];
        assert_eq!(wake(both, &[61]).unexplained(two, REST), None);
    }

    #[test]
    fn seconds_without_a_reason_are_told() {
        use StartReason::{Api, Proxy, Restart};
        let (one, two) = (Recipe::OneMachine, Recipe::TwoGroups);
        let told = |recipe, machine_runs, ended_at: &[i64]| {
            wake(machine_runs, ended_at).unexplained(recipe, REST).unwrap()
        };
        assert!(told(one, vec![], &[]).contains("ran 0 times"));
        assert!(told(one, vec![ran(one, 0, 1, None, Proxy)], &[]).contains("still runs"));
        assert!(told(one, vec![ran(one, 0, 1, Some(14), Restart)], &[]).contains("without a cause"));
        assert!(told(one, vec![ran(one, 0, 1, Some(18), Proxy)], &[]).contains("16.0 s after its last work"));
        // A trainer that starts and finds no job.
        let both = vec![ran(two, 0, 1, Some(30), Proxy), ran(two, 1, 3, Some(15), Api)];
        assert!(told(two, both, &[]).contains("had reason to run 0 times"));
    }
}
