//! The closing tables: machine-seconds as measured, and a week's money by Fly.io's prices.

use super::IDLE;
use super::prices::{CoreKind, MachineSize, WEEK_SECONDS};
use super::reasons::{MachineRun, Wake};
use super::recipe::{Group, Recipe};
use super::week::{WakeKind, WeekRecord, ticks};

/// Number of ticks in a week: one every hour.
const TICKS_PER_WEEK: usize = 7 * 24;
/// Machine of the weekly Airflow pipeline. An assumption: Airflow's scheduler is always on, and the
/// pipeline asks for 8 to 12 GB of memory, of which this is the lower end.
const AIRFLOW: MachineSize = MachineSize { kind: CoreKind::Performance, cores: 2, memory_gb: 8.0 };

/// A recipe and its week.
pub(super) type LivedWeek = (Recipe, WeekRecord);

/// Prints both tables.
pub(super) fn print(weeks: &[LivedWeek]) {
    println!();
    println!("Measured here: machine-seconds of each wake, with --exit-when-idle {}s", IDLE.as_secs());
    for (recipe, week) in weeks {
        println!("  {} ({})", recipe.name(), recipe.file());
        for (kind, wake) in &week.wakes {
            println!("    {:<42} {}", kind.to_string(), measured(*recipe, wake));
        }
        let runs = || week.wakes.iter().flat_map(|(_, wake)| &wake.machine_runs);
        let seconds: f64 = runs().map(MachineRun::seconds).sum();
        let dollars: f64 = runs().map(|run| run.seconds() * run.group.size.price_per_second()).sum();
        println!("    {:<42} {seconds:.1} machine-seconds, ${dollars:.4}", "the week as lived here");
    }
    println!();
    println!("Extrapolated: the same week on Fly.io, with all {TICKS_PER_WEEK} hourly ticks");
    println!(
        "  Each wake takes as long as measured on the cores of this computer, but with the idle times of"
    );
    println!(
        "  the recipe's file. Prices: https://fly.io/docs/about/pricing/ as of October 2026, Frankfurt."
    );
    println!("  Volumes and the images of stopped machines are included.\n");
    println!("  {:<46} {:>15} {:>12}", "", "machine-seconds", "US$ a week");
    for (recipe, week) in weeks {
        row(&format!("{}, asleep when idle", recipe.name()), asleep_when_idle(*recipe, week));
        if let Some(tick) = week.wake(WakeKind::IdleTick) {
            let listener = recipe.listener();
            let (times, each) = (further_ticks(week), deployed_seconds(*recipe, listener, tick));
            println!("    of it {times} further ticks with nothing to do, {each:.1} s each");
        }
    }
    for (recipe, _) in weeks {
        row(&format!("{}, always on", recipe.name()), always_on(*recipe));
    }
    row("weekly Airflow + PyTorch (assumption below)", airflow());
    println!("\n  Assumption: the old pipeline's Airflow is always on, on a {}.", AIRFLOW.name());
    println!("  It asks for 8 to 12 GB of memory. Its disk and database are left out.");
}

/// Machine-seconds of a week, and their price with the disks.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
struct WeekCost {
    seconds: f64,
    dollars: f64,
}

fn row(label: &str, cost: WeekCost) {
    println!("  {label:<46} {:>15.0} {:>12.2}", cost.seconds, cost.dollars);
}

/// Formats the machine-seconds of a wake, by group.
fn measured(recipe: Recipe, wake: &Wake) -> String {
    let of_group = |group: &Group| match wake.runs_of(group).count() {
        0 => format!("{:<9}  asleep", group.name),
        _ => {
            let seconds: f64 = wake.runs_of(group).map(MachineRun::seconds).sum();
            format!("{:<9} {seconds:>6.1} s", group.name)
        }
    };
    recipe.groups().iter().map(of_group).collect::<Vec<_>>().join("   ")
}

/// Returns the number of ticks that the lived week left out.
fn further_ticks(week: &WeekRecord) -> usize {
    TICKS_PER_WEEK.saturating_sub(ticks(week))
}

/// Returns the cost of the lived week with all ticks, and with the recipe's idle times.
fn asleep_when_idle(recipe: Recipe, week: &WeekRecord) -> WeekCost {
    let mut sum = WeekCost { seconds: 0.0, dollars: recipe.disk_per_week(true) };
    let further = week.wake(WakeKind::IdleTick).map(|wake| (wake, further_ticks(week) as f64));
    for (wake, times) in week.wakes.iter().map(|(_, wake)| (wake, 1.0)).chain(further) {
        for group in recipe.groups() {
            let seconds = times * deployed_seconds(recipe, group, wake);
            sum.seconds += seconds;
            sum.dollars += seconds * group.size.price_per_second();
        }
    }
    sum
}

/// Returns the seconds of a group's machine in a wake, with the recipe's idle times in place of the
/// demo's.
fn deployed_seconds(recipe: Recipe, group: &Group, wake: &Wake) -> f64 {
    let longer = |group: &Group| group.idle.as_secs_f64() - IDLE.as_secs_f64();
    // The listener stays up while another machine uses its broker.
    let others: f64 = recipe
        .groups()
        .iter()
        .filter(|other| other.name != group.name)
        .map(|other| wake.runs_of(other).count() as f64 * longer(other))
        .sum();
    let waits = if group.name == recipe.listener().name { others } else { 0.0 };
    wake.runs_of(group).map(|run| run.seconds() + longer(group) + waits).sum()
}

fn always_on(recipe: Recipe) -> WeekCost {
    let groups = recipe.groups();
    let price: f64 = groups.iter().map(|group| group.size.price_per_second()).sum();
    WeekCost {
        seconds: WEEK_SECONDS * groups.len() as f64,
        dollars: WEEK_SECONDS * price + recipe.disk_per_week(false),
    }
}

fn airflow() -> WeekCost {
    WeekCost { seconds: WEEK_SECONDS, dollars: WEEK_SECONDS * AIRFLOW.price_per_second() }
}

#[cfg(test)]
mod tests {
    use autovalidate_fakes::fly::{Run, StartReason};
    use jiff::Timestamp;

    use super::super::reasons::Call;
    use super::*;

    fn wake(recipe: Recipe, seconds: &[i64]) -> Wake {
        let start = Timestamp::UNIX_EPOCH;
        let run = |seconds: i64| Run {
            started_at: start,
            stopped_at: Some(Timestamp::from_second(seconds).unwrap()),
            reason: StartReason::Proxy,
        };
        let groups = recipe.groups().iter().zip(seconds);
        Wake {
            call: Call::Tick,
            called_at: start,
            answered_at: None,
            stored_at: None,
            ended_at: Vec::new(),
            machine_runs: groups.map(|(group, seconds)| MachineRun { group, run: run(*seconds) }).collect(),
        }
    }

    #[test]
    fn a_week_has_a_tick_for_every_hour_and_the_idle_times_of_the_recipe() {
        let recipe = Recipe::OneMachine;
        let wakes = vec![(WakeKind::IdleTick, wake(recipe, &[12])), (WakeKind::DueRun, wake(recipe, &[212]))];
        let cost = asleep_when_idle(recipe, &WeekRecord { wakes });
        // 10 s of each measured time were idle; the recipe has 30 s.
        assert_eq!(cost.seconds, 167.0 * 32.0 + 232.0);
        assert!(cost.dollars > recipe.disk_per_week(true));
    }

    #[test]
    fn a_listener_waits_for_its_trainers_idle_time() {
        let recipe = Recipe::TwoGroups;
        let wake = wake(recipe, &[100, 80]);
        let seconds = |group: usize| deployed_seconds(recipe, &recipe.groups()[group], &wake);
        assert_eq!((seconds(0), seconds(1)), (100.0 + 20.0 + 20.0, 80.0 + 20.0));
    }
}
