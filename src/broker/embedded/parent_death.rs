//! A server that ends when this process does, however that ends.
//!
//! Linux sends a child a signal when its parent dies, if the child asks for it. A process that has just been
//! started can't ask without `unsafe`, so this program starts itself once more, asks, and becomes the server
//! (`exec` keeps the wish, and the process id). Elsewhere the next worker on the store ends a server that was
//! left behind.
//!
//! To Linux, the parent is the *thread* that started the child. A runtime's threads come and go, so each
//! server has a thread of its own, which waits until the server is dropped.

use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process;

use nix::unistd::{getpid, getppid};
use tokio::process::{Child, Command};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::process::server_command;

/// First argument that makes this program become the server. The others are the process id of the worker,
/// the server's program, and its arguments.
pub(crate) const RUN_SERVER: &str = "run-nats-server";

/// Thread that a child is tied to. It ends when this value is dropped.
#[derive(Debug)]
pub(super) struct ParentThread {
    _ends: oneshot::Sender<()>,
}

/// Returns the command that becomes the server `server`, started by `program`, which is this program.
pub(super) fn tied_command(program: &Path, server: &Path) -> Command {
    let mut command = server_command(program);
    command.arg(RUN_SERVER).arg(getpid().to_string()).arg(server);
    command
}

/// Starts the child of a command on a thread that lives until the returned value is dropped.
pub(super) async fn spawn(mut command: Command) -> io::Result<(Child, ParentThread)> {
    let (started, child) = oneshot::channel();
    let (ends, dropped) = oneshot::channel::<()>();
    let runtime = Handle::current();
    std::thread::Builder::new().name("nats-server".to_owned()).spawn(move || {
        let child = {
            let _runtime = runtime.enter();
            command.spawn()
        };
        // A start that was given up has dropped the receiver; dropping the child kills it.
        if started.send(child).is_ok() {
            let _ = dropped.blocking_recv();
        }
    })?;
    let child = child.await.map_err(io::Error::other)??;
    Ok((child, ParentThread { _ends: ends }))
}

/// Becomes the server that the arguments after [`RUN_SERVER`] name. Returns only when that fails.
///
/// # Errors
/// When the worker is gone already, or the program can't be started.
pub(crate) fn become_server(arguments: impl IntoIterator<Item = std::ffi::OsString>) -> io::Error {
    let mut arguments = arguments.into_iter();
    let worker = arguments.next().and_then(|id| id.to_str()?.parse::<i32>().ok());
    let (Some(worker), Some(server)) = (worker, arguments.next()) else {
        return io::Error::new(
            io::ErrorKind::InvalidInput,
            "the worker's process id and a program are missing",
        );
    };
    #[cfg(target_os = "linux")]
    if let Err(errno) = nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGTERM) {
        return errno.into();
    }
    // A worker that died before the wish was known sends no signal.
    if getppid().as_raw() != worker {
        return io::Error::other("the worker is gone");
    }
    process::Command::new(server).args(arguments).exec()
}
