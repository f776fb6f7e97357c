//! States of Fly machines, and the choice of the one to start.
//!
//! Source of the states: <https://fly.io/docs/machines/machine-states/>.

use std::collections::BTreeMap;

use serde::Deserialize;

/// Key of the metadata that holds a machine's process group.
const PROCESS_GROUP: &str = "fly_process_group";
/// Key that older machines have in its place.
const OLD_PROCESS_GROUP: &str = "process_group";
/// Start of the names of groups that `fly` uses itself, for release commands, consoles and tests.
const RESERVED_GROUP: &str = "fly_app_";
/// Status of a host that can run machines.
const HOST_OK: &str = "ok";

/// A machine, as the Machines API lists it. Other fields are ignored.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Machine {
    pub(super) id: String,
    pub(super) state: String,
    /// Id of the machine's version, which a wait for a stop must name.
    #[serde(default)]
    pub(super) instance_id: Option<String>,
    /// Status of the host that the machine is on.
    #[serde(default)]
    host_status: Option<String>,
    #[serde(default)]
    config: Option<Config>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
struct Config {
    #[serde(default)]
    metadata: Option<BTreeMap<String, String>>,
    /// Machines that this one stands by for; `fly deploy` creates such spares.
    #[serde(default)]
    standbys: Option<Vec<String>>,
}

impl Machine {
    /// Returns the process group.
    pub(super) fn group(&self) -> Option<&str> {
        let metadata = self.config.as_ref()?.metadata.as_ref()?;
        metadata.get(PROCESS_GROUP).or_else(|| metadata.get(OLD_PROCESS_GROUP)).map(String::as_str)
    }

    /// Returns true for a machine of this group; without a group, for every machine but those that
    /// `fly` uses itself.
    pub(super) fn is_in(&self, group: Option<&str>) -> bool {
        match group {
            Some(group) => self.group() == Some(group),
            None => !self.group().is_some_and(|group| group.starts_with(RESERVED_GROUP)),
        }
    }

    fn kind(&self) -> Kind {
        match kind(&self.state) {
            // The host is down: the machine can neither run nor be started.
            Kind::Up | Kind::Startable | Kind::Stopping(_)
                if self.host_status.as_deref().is_some_and(|status| status != HOST_OK) =>
            {
                Kind::Gone
            }
            kind => kind,
        }
    }

    fn is_standby(&self) -> bool {
        let standbys = self.config.as_ref().and_then(|config| config.standbys.as_ref());
        standbys.is_some_and(|standbys| !standbys.is_empty())
    }
}

/// Choice among the machines that may train.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Choice {
    /// This machine is up or starting.
    Up(String),
    /// Start one of these, in this order.
    Start(Vec<String>),
    /// Wait until this machine has reached the state, then start it.
    AfterStop {
        /// Id of the machine.
        id: String,
        /// Id of its version.
        instance_id: Option<String>,
        /// State in which it ends.
        ends_in: &'static str,
    },
    /// Look again later; the text names the machine and its state.
    Changing(String),
    /// None of the machines can be started, now or later.
    None,
}

/// Kind of a state, as far as a start is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Up,
    Startable,
    Stopping(&'static str),
    Changing,
    Gone,
}

fn kind(state: &str) -> Kind {
    match state {
        "started" | "starting" | "restarting" => Kind::Up,
        // A machine that was only just created refuses a start with 412 until it has settled.
        "stopped" | "suspended" | "created" => Kind::Startable,
        "stopping" => Kind::Stopping("stopped"),
        "suspending" => Kind::Stopping("suspended"),
        "destroying" | "destroyed" | "replaced" | "migrated" | "launch_failed" => Kind::Gone,
        // A machine that failed to start may recover.
        "failed" => Kind::Startable,
        // creating, updating, replacing, and states that Fly may add.
        _ => Kind::Changing,
    }
}

/// Chooses a machine. One that is up makes a start superfluous. A stopped one is preferred to a
/// spare, and both to one that is still stopping.
pub(super) fn choose(machines: &[Machine]) -> Choice {
    let of = |wanted: fn(Kind) -> bool| machines.iter().filter(move |machine| wanted(machine.kind()));
    if let Some(up) = of(|kind| kind == Kind::Up).next() {
        return Choice::Up(up.id.clone());
    }
    // A machine that is being deployed may start by itself.
    if let Some(machine) = of(|kind| kind == Kind::Changing).next() {
        return Choice::Changing(format!("machine {} is {}", machine.id, machine.state));
    }
    let mut startable: Vec<&Machine> = of(|kind| kind == Kind::Startable).collect();
    startable.sort_by_key(|machine| (machine.is_standby(), machine.state != "stopped"));
    if !startable.is_empty() {
        return Choice::Start(startable.into_iter().map(|machine| machine.id.clone()).collect());
    }
    for machine in machines {
        if let Kind::Stopping(ends_in) = machine.kind() {
            let (id, instance_id) = (machine.id.clone(), machine.instance_id.clone());
            return Choice::AfterStop { id, instance_id, ends_in };
        }
    }
    Choice::None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(id: &str, state: &str) -> Machine {
        let (id, state) = (id.to_owned(), state.to_owned());
        Machine { id, state, instance_id: None, host_status: None, config: None }
    }

    fn choice(states: &[&str]) -> Choice {
        let machines: Vec<_> =
            states.iter().zip(["a", "b", "c"]).map(|(state, id)| machine(id, state)).collect();
        choose(&machines)
    }

    fn start(ids: &[&str]) -> Choice {
        Choice::Start(ids.iter().map(|id| (*id).to_owned()).collect())
    }

    #[test]
    fn one_machine_that_is_up_or_on_its_way_is_enough() {
        for state in ["started", "starting", "restarting"] {
            assert_eq!(choice(&["stopped", state]), Choice::Up("b".to_owned()), "{state}");
        }
    }

    #[test]
    fn a_stopped_machine_comes_before_a_suspended_one_and_both_before_a_spare() {
        assert_eq!(choice(&["suspended", "stopped", "failed"]), start(&["b", "a", "c"]));
        let spare = r#"{"id":"s","state":"stopped","config":{"standbys":["b"],"metadata":{"fly_process_group":"trainer"}}}"#;
        let spare: Machine = serde_json::from_str(spare).unwrap();
        assert_eq!(spare.group(), Some("trainer"));
        assert_eq!(choose(&[spare, machine("b", "suspended")]), start(&["b", "s"]));
    }

    #[test]
    fn a_machine_in_between_is_waited_for() {
        let after = |ends_in| Choice::AfterStop { id: "a".to_owned(), instance_id: None, ends_in };
        assert_eq!(choice(&["stopping"]), after("stopped"));
        assert_eq!(choice(&["suspending"]), after("suspended"));
        for state in ["replacing", "updating", "creating", "a state of next year"] {
            assert!(matches!(choice(&["stopped", state]), Choice::Changing(_)), "{state}");
        }
    }

    #[test]
    fn machines_that_are_gone_are_no_choice() {
        assert_eq!(choice(&[]), Choice::None);
        assert_eq!(choice(&["destroyed", "destroying", "launch_failed"]), Choice::None);
        let unreachable = Machine { host_status: Some("unreachable".to_owned()), ..machine("a", "started") };
        assert_eq!(choose(&[unreachable, machine("b", "stopped")]), start(&["b"]));
    }

    #[test]
    fn machines_that_fly_uses_itself_are_in_no_group() {
        let of = |group: &str| -> Machine {
            let text = format!(r#"{{"id":"a","state":"stopped","config":{{"metadata":{{{group}}}}}}}"#);
            serde_json::from_str(&text).unwrap()
        };
        let release = of(r#""fly_process_group":"fly_app_release_command""#);
        assert!(!release.is_in(None) && !release.is_in(Some("trainer")));
        let old = of(r#""process_group":"trainer""#);
        assert!(old.is_in(None) && old.is_in(Some("trainer")) && !old.is_in(Some("app")));
        assert!(of("").is_in(None));
    }
}
