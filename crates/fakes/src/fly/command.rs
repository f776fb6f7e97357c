//! The command that runs a machine's program.

use std::io;
use std::process::Stdio;

use tokio::process::Command;

use super::machine::Machine;

/// Search path of a machine's processes.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Returns the command of a machine's program, with its output in the machine's file; `None` for a
/// machine without a program.
pub(super) fn command(machine: &Machine) -> io::Result<Option<Command>> {
    let Some(program) = &machine.spec.program else { return Ok(None) };
    let log = std::fs::OpenOptions::new().create(true).append(true).open(machine.log())?;
    let mut command = Command::new(&program.path);
    command
        .args(&program.args)
        .env_clear()
        .env("PATH", PATH)
        .env("FLY_APP_NAME", &machine.spec.app)
        .env("FLY_MACHINE_ID", &machine.id)
        .env("FLY_MACHINE_VERSION", &machine.instance_id)
        .env("FLY_PRIVATE_IP", &machine.private_ip)
        .env("FLY_PROCESS_GROUP", &machine.spec.group)
        .env("FLY_REGION", &machine.spec.region)
        .envs(program.env.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .process_group(0)
        .kill_on_drop(true);
    if let Some(directory) = &program.directory {
        command.current_dir(directory);
    }
    Ok(Some(command))
}
