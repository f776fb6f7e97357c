//! An episode: one system from its start to its end, judged after each of its rounds.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use async_nats::jetstream;
use async_nats::jetstream::consumer::DeliverPolicy;
use futures::TryFutureExt;
use serde_json::Value;

use super::faults::Fault;
use super::leaks;
use super::load::Load;
use super::programs::Paths;
use super::releases;
use super::runs::Runs;
use super::schedule::Schedule;
use super::stored::{Stored, messages};
use super::storm::{Outcome, Storm};
use super::system::System;
use super::truth::{MARK, RowVerdict, Texts};

/// Time in which everything must be right after the faults have ended.
const RECOVERY: Duration = Duration::from_secs(90);
/// Time between two looks.
const GLANCE: Duration = Duration::from_millis(500);
/// Number of looks in a row that must find everything right. In between, the workers sweep.
const STEADY: usize = 4;
/// Time in which all workers must have stopped.
const STOP: Duration = Duration::from_secs(40);

/// Figures of an episode, and everything that was wrong.
#[derive(Debug, Default)]
pub(crate) struct Episode {
    pub(crate) rows: [usize; 4],
    /// Outcome of each fault, with true when its round ended right.
    pub(crate) faults: Vec<(Fault, Outcome, bool)>,
    pub(crate) recoveries: Vec<Duration>,
    pub(crate) runs: BTreeMap<String, usize>,
    pub(crate) errors: BTreeMap<String, usize>,
    pub(crate) releases: usize,
    pub(crate) jobs: usize,
    pub(crate) cancels: usize,
    pub(crate) webhooks: usize,
    /// Largest memory by role, in bytes.
    pub(crate) memory: BTreeMap<&'static str, u64>,
    pub(crate) problems: Vec<String>,
}

/// The state of everything at one look.
struct Look {
    rows: RowVerdict,
    unrest: Option<String>,
    runs: Runs,
}

/// Performs an episode.
pub(crate) async fn run(schedule: &Schedule, paths: Paths) -> anyhow::Result<Episode> {
    let mut episode = Episode::default();
    let mut system = System::start(schedule.topology, schedule.seed, paths).await?;
    let mut load = Load::new(schedule.seed)?;
    let mut events = system.client.subscribe("training.events.>").await?;
    for round in &schedule.rounds {
        if round.truncates {
            load.truncate(&mut system).await?;
        }
        let outcomes = Storm::run(&mut system, &mut load, round, &mut events).await?;
        system.heal().await?;
        let problems = judge(&mut system, &load, &mut episode).await?;
        let is_right = problems.is_empty();
        episode.faults.extend(outcomes.into_iter().map(|(fault, outcome)| (fault, outcome, is_right)));
        episode.problems.extend(problems);
        if !is_right {
            break;
        }
    }
    let truth = &load.truth;
    episode.rows = [truth.inserted, truth.updated, truth.deleted, truth.truncated];
    (episode.jobs, episode.cancels, episode.webhooks) = (load.requested().len(), load.cancels, load.webhooks);
    end(&mut system, &mut episode).await?;
    Ok(episode)
}

/// Waits until everything is right and stays so, and returns what is not right in time.
async fn judge(system: &mut System, load: &Load, episode: &mut Episode) -> anyhow::Result<Vec<String>> {
    let begun = Instant::now();
    let mut glance = tokio::time::interval(GLANCE);
    let mut steady = 0;
    let mut since = Duration::ZERO;
    loop {
        glance.tick().await;
        system.look()?;
        let asked = begun.elapsed();
        let looked = tokio::time::timeout(Duration::from_secs(10), look(system, load));
        let looked = looked.map_err(anyhow::Error::from).await.and_then(|looked| looked);
        let is_right = looked.as_ref().is_ok_and(|look| look.rows.is_right() && look.unrest.is_none());
        if steady == 0 {
            since = asked;
        }
        steady = if is_right { steady + 1 } else { 0 };
        if steady < STEADY && begun.elapsed() < RECOVERY {
            continue;
        }
        let look = match looked {
            Ok(look) => look,
            Err(error) => return Ok(vec![format!("nothing can be judged: {error:#}")]),
        };
        let mut problems = Vec::new();
        if steady < STEADY {
            let rows = &look.rows;
            problems.push(format!(
                "not right {RECOVERY:?} after the last fault: {} lost, {} doubled, {} stale, {} undead, {} wrong",
                rows.lost, rows.doubled, rows.stale, rows.undead, rows.wrong
            ));
            problems.extend(look.rows.differences);
            problems.extend(look.unrest);
        } else {
            episode.recoveries.push(since);
            problems.extend(look.runs.problems(&load.requested()));
            let verdict = releases::judge(system, &look.runs).await?;
            episode.releases = verdict.releases;
            problems.extend(verdict.problems);
            let events =
                messages(&jetstream::new(system.client.clone()), "TRAINING_EVENTS", DeliverPolicy::All)
                    .await?;
            if events.iter().any(|event| String::from_utf8_lossy(&event.payload).contains(MARK)) {
                problems.push("leaked: an event has a pair's text".to_owned());
            }
        }
        (episode.runs, episode.errors) = (look.runs.by_state(), look.runs.errors());
        return Ok(problems);
    }
}

/// Looks at the table, the streams and the records.
async fn look(system: &System, load: &Load) -> anyhow::Result<Look> {
    let jetstream = jetstream::new(system.client.clone());
    let table = table(system).await?;
    let (here, wanted) = (table.len(), load.truth.current().count());
    let is_current = load.truth.current().zip(&table).all(|(wanted, row)| wanted == row) && here == wanted;
    let runs = Runs::read(&system.client).await?;
    let mut unrest = runs.unrest();
    if !is_current {
        unrest = Some(format!("the table has {here} rows, and {wanted} were committed"));
    }
    Ok(Look { rows: load.truth.judge(&Stored::read(&jetstream).await?), unrest, runs })
}

/// Reads the table over REST, in the order of the ids.
async fn table(system: &System) -> anyhow::Result<Vec<Texts>> {
    let http = reqwest::Client::new();
    let mut rows: Vec<Texts> = Vec::new();
    loop {
        let after = rows.last().map_or(i64::MIN, |row| row.0);
        let url = format!(
            "{}/rest/v1/typo_training_dataset?select=id,typo,corrected&order=id&limit=1000&id=gt.{after}",
            system.supabase.url.trim_end_matches('/')
        );
        let key = &system.supabase.key;
        let answer = http.get(url).header("apikey", key).bearer_auth(key).send().await?.error_for_status()?;
        let page: Vec<Value> = answer.json().await?;
        if page.is_empty() {
            return Ok(rows);
        }
        let text = |row: &Value, name: &str| row[name].as_str().unwrap_or_default().to_owned();
        rows.extend(
            page.iter().map(|row| {
                (row["id"].as_i64().unwrap_or_default(), text(row, "typo"), text(row, "corrected"))
            }),
        );
    }
}

/// Stops every worker, and looks for what stays behind.
async fn end(system: &mut System, episode: &mut Episode) -> anyhow::Result<()> {
    let begun = Instant::now();
    let mut glance = tokio::time::interval(Duration::from_millis(100));
    while !system.workers.iter().all(|worker| worker.process.is_gone()) && begun.elapsed() < STOP {
        glance.tick().await;
        system.look()?;
        for worker in system.workers.iter_mut().filter(|worker| worker.process.is_up()) {
            worker.process.retire();
        }
    }
    for worker in &mut system.workers {
        let role = match (worker.listens, worker.trains) {
            (true, true) => "machine",
            (true, false) => "listener",
            _ => "trainer",
        };
        let most = episode.memory.entry(role).or_default();
        *most = worker.process.most_memory.max(*most);
        episode.problems.append(&mut worker.process.problems);
    }
    if let Some(nats) = &mut system.nats {
        episode.problems.append(&mut nats.problems);
    }
    episode.problems.extend(leaks::problems(system)?);
    Ok(())
}
