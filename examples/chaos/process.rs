//! A process under supervision: it is started again whenever it has ended, as a service manager does.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

pub(crate) use nix::sys::signal::Signal;
use nix::sys::signal::kill;
use nix::unistd::Pid;
use tokio::process::{Child, Command};

use super::faults::Blow;

/// Time after which a process that ended is started again.
const RESTART: Duration = Duration::from_millis(700);
/// Time in which a process that was asked to stop must have ended: the stop deadline of the workers, and
/// some more.
const STOP: Duration = Duration::from_secs(25);

/// A program with its arguments, settings and log.
pub(crate) struct Program {
    pub(crate) name: String,
    pub(crate) path: PathBuf,
    pub(crate) arguments: Vec<String>,
    pub(crate) folder: PathBuf,
    pub(crate) environment: BTreeMap<String, String>,
    pub(crate) log: PathBuf,
    /// Text in the log that says that the program has started.
    pub(crate) started: &'static str,
    /// Exit code of a program that was asked to stop.
    pub(crate) stopped: i32,
}

/// A process of a program, and everything that was seen of it.
pub(crate) struct Process {
    pub(crate) program: Program,
    child: Option<Child>,
    /// Time of the signal that ends the process, if it got one.
    asked: Option<(Signal, Instant)>,
    down_since: Instant,
    frozen: bool,
    /// True when no start follows an end.
    retired: bool,
    log_begins: u64,
    /// Largest resident memory so far, in bytes.
    pub(crate) most_memory: u64,
    pub(crate) problems: Vec<String>,
}

impl Process {
    /// Starts the program.
    pub(crate) fn start(program: Program) -> anyhow::Result<Self> {
        let mut process = Self {
            program,
            child: None,
            asked: None,
            down_since: Instant::now(),
            frozen: false,
            retired: false,
            log_begins: 0,
            most_memory: 0,
            problems: Vec::new(),
        };
        process.spawn()?;
        Ok(process)
    }

    fn spawn(&mut self) -> anyhow::Result<()> {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(&self.program.log)?;
        self.log_begins = log.metadata()?.len();
        let child = Command::new(&self.program.path)
            .args(&self.program.arguments)
            .current_dir(&self.program.folder)
            .env_clear()
            .envs(&self.program.environment)
            .stdin(Stdio::null())
            .stdout(Stdio::from(log.try_clone()?))
            .stderr(Stdio::from(log))
            .kill_on_drop(true)
            .spawn()?;
        (self.child, self.asked, self.frozen) = (Some(child), None, false);
        Ok(())
    }

    pub(crate) fn pid(&self) -> Option<u32> {
        self.child.as_ref().and_then(Child::id)
    }

    /// Strikes the process. A frozen one goes on when [`Process::thaw`] is called.
    pub(crate) fn strike(&mut self, blow: Blow) -> bool {
        let Some(pid) = self.pid().filter(|_| self.asked.is_none()) else { return false };
        let signal = blow.signal();
        match blow {
            Blow::Freeze => self.frozen = true,
            Blow::Kill | Blow::Stop => {
                // A frozen process can't stop in time.
                self.thaw();
                self.asked = Some((signal, Instant::now()));
            }
        }
        send(Some(pid), signal);
        true
    }

    /// Lets a frozen process go on.
    pub(crate) fn thaw(&mut self) {
        if std::mem::take(&mut self.frozen) {
            send(self.pid(), Signal::SIGCONT);
        }
    }

    /// Asks the process to stop for good.
    pub(crate) fn retire(&mut self) {
        self.retired = true;
        self.strike(Blow::Stop);
    }

    pub(crate) fn is_up(&self) -> bool {
        self.child.is_some() && self.asked.is_none()
    }

    /// True when a process that was retired has ended.
    pub(crate) fn is_gone(&self) -> bool {
        self.child.is_none() && self.retired
    }

    /// Measures the process, and starts it again when it has ended.
    pub(crate) fn look(&mut self) -> anyhow::Result<()> {
        if let Some(pid) = self.pid() {
            self.most_memory = self.most_memory.max(peak_memory(pid));
        }
        let Some(child) = &mut self.child else {
            return match self.retired || self.down_since.elapsed() < RESTART {
                true => Ok(()),
                false => self.spawn(),
            };
        };
        if let Some(status) = child.try_wait()? {
            self.child = None;
            self.down_since = Instant::now();
            self.judge_end(status);
        } else if let Some((Signal::SIGTERM, at)) = self.asked
            && at.elapsed() > STOP
        {
            let problem = format!("{} did not stop within {STOP:?}", self.program.name);
            self.problems.push(problem);
            self.asked = Some((Signal::SIGKILL, Instant::now()));
            send(self.pid(), Signal::SIGKILL);
        }
        Ok(())
    }

    /// Judges the end of a process. One that had started may end only when it was asked to, and then with
    /// its usual code. One that could not start may end: a broker may be away.
    fn judge_end(&mut self, status: ExitStatus) {
        let name = &self.program.name;
        let had_started = self.log().contains(self.program.started);
        let problem = match self.asked.take() {
            Some((Signal::SIGKILL, _)) => None,
            Some(_) if had_started && status.code() != Some(self.program.stopped) => {
                Some(format!("{name} was stopped and ended with {status}"))
            }
            None if had_started => Some(format!("{name} ended by itself with {status}")),
            _ => None,
        };
        self.problems.extend(problem);
    }

    /// Returns what the process has logged since its last start.
    fn log(&self) -> String {
        let text = std::fs::read(&self.program.log).unwrap_or_default();
        let begins = usize::try_from(self.log_begins).unwrap_or_default().min(text.len());
        String::from_utf8_lossy(&text[begins..]).into_owned()
    }
}

/// Sends a signal to a process, if there is one.
pub(crate) fn send(pid: Option<u32>, signal: Signal) {
    let Some(pid) = pid.and_then(|pid| i32::try_from(pid).ok()) else { return };
    // A process that has just ended gets no signal, and is seen as ended soon.
    let _ = kill(Pid::from_raw(pid), signal);
}

/// Returns the largest resident memory that a process has had, in bytes.
fn peak_memory(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
    kilobytes.unwrap_or_default() * 1024
}

/// Returns the processes of this machine that work in this folder, or whose command line names it.
pub(crate) fn processes_of(folder: &Path) -> BTreeMap<u32, String> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().filter_map(Result::ok) {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        let works_there =
            std::fs::read_link(entry.path().join("cwd")).is_ok_and(|place| place.starts_with(folder));
        if (works_there || line.contains(&*folder.to_string_lossy())) && pid != std::process::id() {
            found.insert(pid, line);
        }
    }
    found
}
