//! The task that runs a machine, from the start to the state in which it rests.

use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};

use super::account::StartReason;
use super::command::command;
use super::event::ExitEvent;
use super::faults::StartFault;
use super::machine::{Life, Machine};
use super::order::{Order, Then};
use super::process::{Exit, Process};
use super::refusal::Refusal;
use super::spec::Restart;
use super::state::MachineState;

/// Starts a machine, and returns the state before. A machine that is started stays as it is.
///
/// # Errors
/// A refusal when the state does not allow a start, or a fault refuses it.
pub(super) fn start(machine: &Arc<Machine>, reason: StartReason) -> Result<MachineState, Refusal> {
    let begun = machine.begin_start(reason)?;
    if let Some(life) = begun.life {
        machine.world.tasks.spawn(run(Arc::clone(machine), life));
    }
    Ok(begun.previous)
}

/// Runs the machine until it rests or its state is taken away.
async fn run(machine: Arc<Machine>, life: Life) {
    let Life { run, mut orders, mut reason, mut fault } = life;
    let mut restarts = 0;
    let mut pause = match fault {
        Some(StartFault::Slow(pause)) => pause,
        _ => machine.world.faults.start_time(),
    };
    loop {
        match idle(&machine, &mut orders, pause).await {
            Idle::Elapsed => {}
            Idle::Stopped => {
                machine.advance(run, MachineState::Stopped, reason);
                return;
            }
            Idle::Taken => return,
        }
        let process = match fault.take() {
            Some(StartFault::Abandoned) => {
                let mut record = machine.record();
                let exit = ended(Exit::with_code(1), false, false, restarts);
                record.note("exit", MachineState::Stopped, "flyd", Some(exit));
                machine.advance_held(&mut record, run, MachineState::Stopped, reason);
                return;
            }
            Some(StartFault::Crash(code)) => Ok(Process::exited_with(code)),
            _ => command(&machine).and_then(Process::spawn),
        };
        let mut process = match process {
            Ok(process) => process,
            Err(error) => {
                tracing::warn!(machine = machine.id, %error, "a machine's program can't be started");
                machine.advance(run, MachineState::Failed, reason);
                return;
            }
        };
        if !machine.advance(run, MachineState::Started, reason) {
            return;
        }
        let Some(ending) = attend(&machine, run, &mut process, &mut orders).await else { return };
        let Some(next) = settle(&machine, run, &mut orders, ending, restarts) else { return };
        (reason, pause, restarts) = (StartReason::Restart, next.pause, next.restarts);
    }
}

/// End of a pause before a start.
enum Idle {
    Elapsed,
    Stopped,
    Taken,
}

/// Stays in `starting` for this time, or until told when the machine holds there.
async fn idle(machine: &Machine, orders: &mut mpsc::Receiver<Order>, pause: Duration) -> Idle {
    let holds = machine.spec.holds_starting && machine.spec.program.is_none();
    let end = sleep(pause);
    tokio::pin!(end);
    loop {
        tokio::select! {
            () = machine.world.stop.cancelled() => return Idle::Stopped,
            () = &mut end, if !holds => return Idle::Elapsed,
            order = orders.recv() => match order {
                Some(Order::Stop { then: Then::Rest, .. }) => return Idle::Stopped,
                // A restart of a machine that is on its way up changes nothing.
                Some(_) => {}
                None => return Idle::Taken,
            },
        }
    }
}

/// End of a process, with the continuation that was asked for.
struct Ending {
    exit: Exit,
    requested: Option<Then>,
}

/// Carries out the orders to a machine until its process exits. Returns `None` when the machine's
/// state is taken away; the process then ends with its handle.
async fn attend(
    machine: &Machine,
    run: u64,
    process: &mut Process,
    orders: &mut mpsc::Receiver<Order>,
) -> Option<Ending> {
    let mut requested = None;
    let mut kill_at: Option<Instant> = None;
    let mut frozen = false;
    loop {
        tokio::select! {
            exit = process.exited() => return Some(Ending { exit, requested }),
            () = machine.world.stop.cancelled(), if requested != Some(Then::Rest) || kill_at.is_some() => {
                process.kill();
                (requested, kill_at) = (Some(Then::Rest), None);
            }
            () = sleep_until(kill_at.unwrap_or_else(Instant::now)), if kill_at.is_some() => {
                process.kill();
                kill_at = None;
            }
            order = orders.recv() => match order? {
                Order::Stop { signal, timeout, then } => {
                    if frozen {
                        process.kill();
                    } else {
                        process.signal(signal.signal());
                        kill_at = Some(Instant::now() + timeout);
                    }
                    if signal.signal() == Signal::SIGKILL {
                        process.kill();
                    }
                    requested = Some(then);
                }
                Order::Suspend => {
                    process.freeze(true);
                    frozen = true;
                    machine.advance(run, MachineState::Suspended, StartReason::Api);
                }
                Order::Resume { reason, pause } => {
                    tokio::select! {
                        () = sleep(pause) => {}
                        () = machine.world.stop.cancelled() => continue,
                    }
                    process.freeze(false);
                    frozen = false;
                    machine.advance(run, MachineState::Started, reason);
                }
            },
        }
    }
}

/// The next start of a machine that starts again.
struct Next {
    pause: Duration,
    /// Number of restarts by the policy since the last start that was asked for.
    restarts: u32,
}

/// Records a process's end and returns the next start, or `None` when the machine rests.
fn settle(
    machine: &Machine,
    run: u64,
    orders: &mut mpsc::Receiver<Order>,
    ending: Ending,
    restarts: u32,
) -> Option<Next> {
    let Ending { exit, mut requested } = ending;
    // Orders are given under this lock, so none is overlooked.
    let mut record = machine.record();
    while let Ok(order) = orders.try_recv() {
        if let Order::Stop { then, .. } = order {
            requested = Some(then);
        }
    }
    let restarting = match (requested, machine.spec.restart) {
        (Some(then), _) => then == Then::Start,
        (None, Restart::No) => false,
        (None, Restart::OnFailure { retries }) => exit.code != 0 && restarts < retries,
        (None, Restart::Always) => true,
    };
    let state = if restarting { MachineState::Restarting } else { MachineState::Stopped };
    let event = ended(exit, requested.is_some(), restarting, restarts);
    if !machine.advance_held(&mut record, run, state, StartReason::Restart) {
        return None;
    }
    record.note("exit", state, "flyd", Some(event));
    restarting.then(|| match requested {
        Some(_) => Next { pause: Duration::ZERO, restarts: 0 },
        None => Next { pause: machine.spec.restart_pause, restarts: restarts.saturating_add(1) },
    })
}

fn ended(exit: Exit, requested_stop: bool, restarting: bool, restarts: u32) -> ExitEvent {
    ExitEvent { exit, requested_stop, restarting, restarts }
}
