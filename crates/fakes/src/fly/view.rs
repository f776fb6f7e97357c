//! A machine in the JSON of the API.

use serde_json::{Map, Value, json};

use super::machine::Machine;
use super::spec::{MachineSpec, Restart};

/// Returns the machine as the API shows it.
pub(super) fn machine(machine: &Machine) -> Value {
    let record = machine.record();
    let mut shown = json!({
        "id": machine.id,
        "name": machine.spec.name,
        "state": record.state,
        "region": machine.spec.region,
        "image_ref": {
            "registry": "registry.fly.io",
            "repository": machine.spec.app,
            "tag": "latest",
            "digest": "sha256:0000000000000000000000000000000000000000000000000000000000000000",
            "labels": null,
        },
        "instance_id": machine.instance_id,
        "private_ip": machine.private_ip,
        "created_at": machine.created_at.to_string(),
        "updated_at": record.updated_at.to_string(),
        "config": config(&machine.spec),
        "checks": [],
        "events": record.events.iter().map(super::event::Event::json).collect::<Vec<_>>(),
        "host_status": "ok",
        "cordoned": false,
    });
    if let Some(lease) = record.lease() {
        shown["nonce"] = lease.nonce.clone().into();
    }
    shown
}

/// Returns the metadata, including the process group.
pub(super) fn metadata(spec: &MachineSpec) -> Map<String, Value> {
    let mut metadata: Map<String, Value> =
        spec.metadata.iter().map(|(key, value)| (key.clone(), value.as_str().into())).collect();
    metadata.insert("fly_platform_version".into(), "v2".into());
    metadata.insert("fly_process_group".into(), spec.group.as_str().into());
    metadata
}

/// Returns the configuration. The environment of the program stays out: it may hold secrets.
fn config(spec: &MachineSpec) -> Value {
    let restart = match spec.restart {
        Restart::OnFailure { retries } => {
            json!({ "policy": spec.restart.name(), "max_retries": retries })
        }
        Restart::No | Restart::Always => json!({ "policy": spec.restart.name() }),
    };
    let init = spec.program.as_ref().map_or_else(Map::new, |program| {
        let parts = std::iter::once(&program.path).chain(&program.args);
        let command: Value = parts.map(|part| part.to_string_lossy().into_owned()).collect();
        Map::from_iter([("cmd".into(), command)])
    });
    let services = spec.service.map(|service| {
        json!({ "protocol": "tcp", "internal_port": service.port(), "autostart": true, "autostop": false })
    });
    json!({
        "env": { "FLY_PROCESS_GROUP": spec.group },
        "init": init,
        "guest": { "cpu_kind": "shared", "cpus": 1, "memory_mb": 256 },
        "metadata": metadata(spec),
        "services": services.into_iter().collect::<Vec<_>>(),
        "image": format!("registry.fly.io/{}:latest", spec.app),
        "restart": restart,
        "stop_config": {
            "signal": spec.kill_signal.signal().as_str(),
            "timeout": format!("{}ms", spec.kill_timeout.as_millis()),
        },
    })
}
