//! Machines that are real processes.

use std::path::Path;
use std::time::Duration;

use autovalidate_fakes::fly::{Fly, MachineSpec, MachineState, Options, Program, Restart, StartReason};
use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::Pid;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{APP, Bench, SOON, answer};

/// Waits for a line in a file, such as the number that a process writes about itself.
async fn line(path: &Path) -> String {
    let read = async {
        loop {
            let text = tokio::fs::read_to_string(path).await.unwrap_or_default();
            if let Some((line, _)) = text.split_once('\n') {
                return line.to_owned();
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(SOON, read).await.unwrap()
}

/// Waits until a process is gone, or only an entry that nobody has collected.
async fn gone(process: &str) {
    let stat = format!("/proc/{process}/stat");
    let process = Pid::from_raw(process.parse().unwrap());
    let dead = || std::fs::read_to_string(&stat).is_ok_and(|stat| stat.contains(") Z "));
    let waited = async {
        while kill(process, None) != Err(Errno::ESRCH) && !dead() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(SOON, waited).await.unwrap();
}

fn exit(machine: &Value) -> (&Value, &Value, &Value, &Value) {
    let event = machine["events"].as_array().unwrap().iter().find(|event| event["type"] == "exit").unwrap();
    let exit = &event["request"]["exit_event"];
    (&exit["exit_code"], &exit["signal"], &exit["requested_stop"], &exit["restarting"])
}

#[tokio::test]
async fn a_program_that_ends_stops_its_machine() {
    let bench = Bench::start().await;
    let program =
        Program::shell("echo out $NAME $FLY_PROCESS_GROUP ${HOME-none}; echo err >&2").env("NAME", "x");
    let id = bench.fly.create(MachineSpec::running(APP, "trainer", program));
    bench.post(&format!("/{id}/start")).await;
    bench.reached(&id, MachineState::Stopped).await;
    let log = std::fs::read_to_string(bench.fly.log(&id).unwrap()).unwrap();
    assert_eq!(log, "out x trainer none\nerr\n");
    let (_, machine) = bench.get(&format!("/{id}")).await;
    assert_eq!(exit(&machine), (&json!(0), &json!(-1), &json!(false), &json!(false)));
    let account = bench.fly.account(&id).unwrap();
    assert_eq!((account.starts, account.runs.len()), (1, 1));
    assert!(account.runs[0].stopped_at.unwrap() >= account.runs[0].started_at);
    assert_eq!(account.time, account.runs[0].time(jiff::Timestamp::MAX));
}

#[tokio::test]
async fn a_failure_is_restarted_as_often_as_allowed() {
    let bench = Bench::start().await;
    let spec = MachineSpec::running(APP, "trainer", Program::shell("echo run; exit 3"));
    let pause = Duration::from_millis(1);
    let id = bench.fly.create(MachineSpec {
        restart: Restart::OnFailure { retries: 2 },
        restart_pause: pause,
        ..spec.clone()
    });
    bench.post(&format!("/{id}/start")).await;
    bench.reached(&id, MachineState::Stopped).await;
    assert_eq!(std::fs::read_to_string(bench.fly.log(&id).unwrap()).unwrap(), "run\n".repeat(3));
    let (_, machine) = bench.get(&format!("/{id}")).await;
    assert_eq!(exit(&machine), (&json!(3), &json!(-1), &json!(false), &json!(false)));
    assert_eq!(machine["events"][0]["request"]["restart_count"], 2);
    let reasons: Vec<_> = bench.fly.account(&id).unwrap().runs.iter().map(|run| run.reason).collect();
    assert_eq!(reasons, [StartReason::Api, StartReason::Restart, StartReason::Restart]);

    let id = bench.fly.create(MachineSpec { restart: Restart::No, ..spec });
    bench.post(&format!("/{id}/start")).await;
    bench.reached(&id, MachineState::Stopped).await;
    assert_eq!(bench.fly.account(&id).unwrap().starts, 1);
}

#[tokio::test]
async fn an_exit_is_always_restarted_until_a_stop() {
    let bench = Bench::start().await;
    let spec = MachineSpec::running(APP, "trainer", Program::shell("exit 0"));
    let id = bench.fly.create(MachineSpec {
        restart: Restart::Always,
        restart_pause: Duration::from_millis(1),
        ..spec
    });
    let mut changes = bench.fly.changes();
    bench.post(&format!("/{id}/start")).await;
    let mut starts = 0;
    while starts < 3 {
        let change = tokio::time::timeout(SOON, changes.recv()).await.unwrap().unwrap();
        starts += u32::from(change.state == MachineState::Started);
    }
    bench.post(&format!("/{id}/stop")).await;
    bench.reached(&id, MachineState::Stopped).await;
}

#[tokio::test]
async fn a_stop_sends_the_signal_and_then_kills() {
    let bench = Bench::start().await;
    let polite = bench.script("trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.05; done");
    let deaf = bench.script("trap '' TERM; echo up; while :; do sleep 0.05; done");
    let stop = async |id: &str, body: &'static str| {
        bench.post(&format!("/{id}/start")).await;
        line(&bench.fly.log(id).unwrap()).await;
        let request = bench.request(Method::POST, &format!("/{id}/stop")).body(body);
        assert_eq!(answer(request).await, (200, json!({"ok": true})));
        bench.reached(id, MachineState::Stopped).await;
        bench.get(&format!("/{id}")).await.1
    };
    let machine = stop(&polite, "").await;
    assert_eq!(exit(&machine), (&json!(0), &json!(-1), &json!(true), &json!(false)));
    assert!(std::fs::read_to_string(bench.fly.log(&polite).unwrap()).unwrap().ends_with("bye\n"));
    let machine = stop(&deaf, r#"{"timeout":"100ms"}"#).await;
    assert_eq!(exit(&machine), (&json!(137), &json!(9), &json!(true), &json!(false)));
    let machine = stop(&deaf, r#"{"signal":"SIGKILL"}"#).await;
    assert_eq!(exit(&machine).1, &json!(9));
}

#[tokio::test]
async fn a_suspended_process_does_nothing_until_it_continues() {
    let bench = Bench::start().await;
    let id = bench.script("echo $$; sleep 0.2; echo later; exec sleep 600");
    bench.post(&format!("/{id}/start")).await;
    let log = bench.fly.log(&id).unwrap();
    let process = line(&log).await;
    bench.post(&format!("/{id}/suspend")).await;
    bench.reached(&id, MachineState::Suspended).await;
    bench.post(&format!("/{id}/start")).await;
    bench.reached(&id, MachineState::Started).await;
    assert_eq!(line(&log).await, process);
    // A stop of a frozen machine ends it at once.
    bench.post(&format!("/{id}/suspend")).await;
    bench.reached(&id, MachineState::Suspended).await;
    assert_eq!(bench.post(&format!("/{id}/stop")).await.0, 200);
    bench.reached(&id, MachineState::Stopped).await;
    gone(&process).await;
}

#[tokio::test]
async fn a_program_that_is_not_there_fails_its_machine() {
    let bench = Bench::start().await;
    let id = bench.fly.create(MachineSpec::running(APP, "trainer", Program::new("/no/such/program")));
    assert_eq!(bench.post(&format!("/{id}/start")).await.0, 200);
    bench.reached(&id, MachineState::Failed).await;
    assert_eq!(bench.fly.account(&id).unwrap().starts, 0);
}

#[tokio::test]
async fn every_end_of_the_stand_in_kills_the_whole_group() {
    for drops in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let fly = Fly::start(Options::new(folder.path())).await.unwrap();
        let script = "sleep 600 & echo $!; trap '' TERM; while :; do sleep 0.05; done";
        let id = fly.create(MachineSpec::running(APP, "trainer", Program::shell(script)));
        fly.start_machine(&id).unwrap();
        let child = line(&fly.log(&id).unwrap()).await;
        if drops {
            drop(fly);
        } else {
            tokio::time::timeout(SOON, fly.shutdown()).await.unwrap();
        }
        gone(&child).await;
    }
}

#[tokio::test]
async fn a_state_set_by_hand_ends_the_process() {
    let bench = Bench::start().await;
    let id = bench.script("echo $$; exec sleep 600");
    bench.fly.start_machine(&id).unwrap();
    let process = line(&bench.fly.log(&id).unwrap()).await;
    bench.fly.set_state(&id, MachineState::Destroyed).unwrap();
    gone(&process).await;
    assert_eq!(bench.fly.state(&id).unwrap(), MachineState::Destroyed);
    assert!(bench.fly.start_machine(&id).is_err());
    assert!(bench.folder.path().exists());
}
