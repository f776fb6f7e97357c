//! The time of load and faults in a round.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use futures::StreamExt;
use serde_json::Value;

use super::faults::{Blow, Fault};
use super::load::Load;
use super::schedule::{Planned, Round, STORM};
use super::stand_in::Order;
use super::system::{Struck, System};

/// Time between two looks at everything.
const TICK: Duration = Duration::from_millis(100);

/// Outcome of a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Outcome {
    /// It struck.
    Struck,
    /// Its moment did not come in this round, or there was nothing to strike.
    Missed,
    /// This machine does not let it happen.
    Impossible,
}

/// Deed that ends a fault.
#[derive(Debug, Clone, Copy)]
enum End {
    Switch(Fault),
    Thaw(Struck),
    EmptyDisk(usize),
}

/// A round's faults on their way.
pub(crate) struct Storm<'a> {
    system: &'a mut System,
    planned: VecDeque<Planned>,
    /// Faults that wait for a stage of a run.
    armed: Vec<Planned>,
    ends: Vec<(Instant, End)>,
    /// Trainers of jobs, as of their last events.
    trainers: BTreeMap<String, usize>,
    outcomes: Vec<(Fault, Outcome)>,
}

impl<'a> Storm<'a> {
    /// Performs a round, and returns what became of each of its faults.
    pub(crate) async fn run(
        system: &'a mut System,
        load: &mut Load,
        round: &Round,
        events: &mut async_nats::Subscriber,
    ) -> anyhow::Result<Vec<(Fault, Outcome)>> {
        let planned = round.faults.iter().copied().collect();
        let mut storm = Self {
            system,
            planned,
            armed: Vec::new(),
            ends: Vec::new(),
            trainers: BTreeMap::new(),
            outcomes: Vec::new(),
        };
        let begun = Instant::now();
        let mut tick = tokio::time::interval(TICK);
        while begun.elapsed() < STORM {
            tokio::select! {
                _ = tick.tick() => {
                    storm.strike_due(begun).await?;
                    storm.end_due().await?;
                    storm.system.look()?;
                    load.step(storm.system).await?;
                }
                Some(message) = events.next() => storm.see(&message.payload, load),
            }
        }
        load.finish().await;
        let missed = storm.armed.iter().chain(&storm.planned).map(|planned| (planned.fault, Outcome::Missed));
        storm.outcomes.extend(missed);
        Ok(storm.outcomes)
    }

    async fn strike_due(&mut self, begun: Instant) -> anyhow::Result<()> {
        while let Some(planned) = self.planned.pop_front_if(|planned| planned.at <= begun.elapsed()) {
            let until = Instant::now() + planned.lasts;
            let outcome = match planned.fault {
                Fault::Supabase(fault) => {
                    self.ends.push((until, End::Switch(planned.fault)));
                    struck_if(
                        self.system.supabase.order(&Order::Supabase { fault, on: true }).await?.is_some(),
                    )
                }
                Fault::Hub(fault) => {
                    self.ends.push((until, End::Switch(planned.fault)));
                    struck_if(self.system.hub.order(&Order::Hub { fault, on: true }).await?.is_some())
                }
                Fault::Process(target, blow) => {
                    let struck = self.system.strike(target, blow, planned.choice);
                    self.will_thaw(struck, blow, until);
                    struck_if(struck.is_some())
                }
                Fault::Stage(..) => {
                    self.armed.push(planned);
                    continue;
                }
                Fault::DiskFull => self.fill_disk(planned.choice, until)?,
            };
            self.outcomes.push((planned.fault, outcome));
        }
        Ok(())
    }

    fn will_thaw(&mut self, struck: Option<Struck>, blow: Blow, until: Instant) {
        if let Some(struck) = struck.filter(|_| blow == Blow::Freeze) {
            self.ends.push((until, End::Thaw(struck)));
        }
    }

    fn fill_disk(&mut self, choice: usize, until: Instant) -> anyhow::Result<Outcome> {
        let Some(place) = self.system.trainer(choice) else { return Ok(Outcome::Missed) };
        self.ends.push((until, End::EmptyDisk(place)));
        Ok(if self.system.workers[place].data.fill()? { Outcome::Struck } else { Outcome::Impossible })
    }

    async fn end_due(&mut self) -> anyhow::Result<()> {
        let now = Instant::now();
        let (due, later): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.ends).into_iter().partition(|(at, _)| *at <= now);
        self.ends = later;
        for (_, end) in due {
            match end {
                End::Switch(Fault::Supabase(fault)) => {
                    self.system.supabase.order(&Order::Supabase { fault, on: false }).await?;
                }
                End::Switch(Fault::Hub(fault)) => {
                    self.system.hub.order(&Order::Hub { fault, on: false }).await?;
                }
                End::Switch(_) => {}
                End::Thaw(struck) => self.system.thaw(struck),
                End::EmptyDisk(place) => self.system.workers[place].data.empty()?,
            }
        }
        Ok(())
    }

    /// Strikes the trainer of a run whose event says that an armed stage has begun.
    fn see(&mut self, event: &[u8], load: &mut Load) {
        let event: Value = serde_json::from_slice(event).unwrap_or_default();
        let (Some(job), Some(stage)) = (event["job"].as_str(), event["stage"].as_str()) else { return };
        if let Some(place) = self.system.trainer_of(job) {
            self.trainers.insert(job.to_owned(), place);
        }
        if stage == "ended" && event["detail"]["state"] != "queued" {
            load.ended(job);
        }
        let has_begun = stage == "ended" || event["detail"]["phase"] == "started";
        let wanted = |planned: &Planned| matches!(planned.fault, Fault::Stage(armed, _) if armed == stage);
        let Some(number) = self.armed.iter().position(wanted).filter(|_| has_begun) else { return };
        let Some(place) = self.trainers.get(job).copied() else { return };
        let Fault::Stage(_, blow) = self.armed[number].fault else { return };
        if self.system.workers[place].process.strike(blow) {
            let planned = self.armed.swap_remove(number);
            self.will_thaw(Some(Struck::Worker(place)), blow, Instant::now() + planned.lasts);
            self.outcomes.push((planned.fault, Outcome::Struck));
        }
    }
}

fn struck_if(struck: bool) -> Outcome {
    if struck { Outcome::Struck } else { Outcome::Missed }
}
