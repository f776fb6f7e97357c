//! Start of a Fly machine through the Machines API.
//!
//! ```text
//! machine.rs  states of machines, and the choice among them
//! api.rs      requests to the Machines API
//! ```

mod api;
mod machine;

use futures::FutureExt;
use futures::future::BoxFuture;
use secrecy::SecretString;
use url::Url;

use self::api::MachinesApi;
use self::machine::{Choice, Machine, choose};
use super::error::LaunchError;
use super::{Launch, Launcher};
use crate::broker::JobId;

/// The Fly app whose machines train.
#[derive(Debug, Clone)]
pub struct FlyApp {
    /// Base URL of the Machines API, such as `https://api.machines.dev`.
    pub api: Url,
    /// Token that may list and start the app's machines.
    pub token: SecretString,
    /// Name of the app.
    pub app: String,
    /// Process group of the trainers; `None` means every machine of the app.
    pub group: Option<String>,
    /// Id of the machine that this process runs on, which is never started.
    pub own_machine: Option<String>,
}

/// Launcher that starts a stopped machine of a Fly app.
#[derive(Debug)]
pub struct FlyLauncher {
    app: FlyApp,
    api: MachinesApi,
}

impl FlyLauncher {
    /// Creates a launcher for the machines of this app.
    ///
    /// # Errors
    /// [`LaunchError::Unreachable`] when the HTTP client can't be set up.
    pub fn new(app: FlyApp) -> Result<Self, LaunchError> {
        Ok(Self { api: MachinesApi::new(&app)?, app })
    }

    /// Returns the machines that may train.
    async fn machines(&self) -> Result<Vec<Machine>, LaunchError> {
        let mut machines = self.api.list().await?;
        machines.retain(|machine| {
            Some(&machine.id) != self.app.own_machine.as_ref() && machine.is_in(self.app.group.as_deref())
        });
        Ok(machines)
    }

    async fn start_one(&self) -> Result<Launch, LaunchError> {
        let machines = self.machines().await?;
        match choose(&machines) {
            Choice::Up(id) => Ok(Launch::Up(format!("machine {id}"))),
            Choice::Start(ids) => {
                let mut last = None;
                for id in ids {
                    match self.start(&id).await {
                        // Another machine may be on a host that has room.
                        Err(error @ LaunchError::NoCapacity { .. }) => last = Some(error),
                        started => return started,
                    }
                }
                Err(last.unwrap_or_else(|| self.no_machine(&machines)))
            }
            Choice::AfterStop { id, instance_id, ends_in } => {
                self.api.wait(&id, ends_in, instance_id.as_deref()).await?;
                self.start(&id).await
            }
            Choice::Changing(answer) => Err(LaunchError::Changing { answer }),
            Choice::None => Err(self.no_machine(&machines)),
        }
    }

    async fn start(&self, id: &str) -> Result<Launch, LaunchError> {
        self.api.start(id).await?;
        self.api.wait(id, "started", None).await?;
        Ok(Launch::Started(format!("machine {id}")))
    }

    fn no_machine(&self, machines: &[Machine]) -> LaunchError {
        let states: Vec<String> =
            machines.iter().map(|machine| format!("{} is {}", machine.id, machine.state)).collect();
        let states = if states.is_empty() { "there is none".to_owned() } else { states.join(", ") };
        LaunchError::NoMachine { group: self.name(), states }
    }

    fn name(&self) -> String {
        match &self.app.group {
            Some(group) => format!("{}/{group}", self.app.app),
            None => self.app.app.clone(),
        }
    }
}

impl Launcher for FlyLauncher {
    fn launch<'a>(&'a self, _job: &'a JobId) -> BoxFuture<'a, Result<Launch, LaunchError>> {
        self.start_one().boxed()
    }

    fn check(&self) -> BoxFuture<'_, Result<String, LaunchError>> {
        async {
            let machines = self.machines().await?;
            match choose(&machines) {
                Choice::None => Err(self.no_machine(&machines)),
                Choice::Up(_) | Choice::Start(_) | Choice::AfterStop { .. } | Choice::Changing(_) => {
                    Ok(format!("{} has {} machines that can train", self.name(), machines.len()))
                }
            }
        }
        .boxed()
    }
}
