//! nats-servers with configurations of their own, on ports that they choose themselves: a port that a test chose for one could be
//! somebody else's by the time it starts.

use std::path::Path;
use std::time::Duration;

use tokio::process::{Child, Command};

use super::{nats_server, within};

/// A running server, killed when dropped.
pub struct NatsServer {
    child: Child,
    /// What it wrote of where it listens: `{"nats": [url, ...], "cluster": [url, ...]}`.
    listening: serde_json::Value,
}

impl NatsServer {
    /// Starts one that keeps its files in `folder`, and waits until it listens. `{configuration}` says all but where.
    pub async fn start(folder: &Path, configuration: &str) -> Self {
        let ports = folder.join("ports");
        std::fs::create_dir_all(&ports).unwrap();
        let file = folder.join("server.conf");
        let text = format!("listen: \"127.0.0.1:-1\"\nports_file_dir: {ports:?}\n{configuration}\n");
        std::fs::write(&file, text).unwrap();
        let mut child = Command::new(nats_server()).arg("-c").arg(&file).kill_on_drop(true).spawn().unwrap();
        let listening = within(Duration::from_secs(60), async {
            loop {
                assert_eq!(child.try_wait().unwrap(), None, "the server ended; it says why above");
                let written = std::fs::read_dir(&ports).unwrap().filter_map(Result::ok).next();
                let text = written.and_then(|file| std::fs::read_to_string(file.path()).ok());
                if let Some(listening) = text.and_then(|text| serde_json::from_str(&text).ok()) {
                    return listening;
                }
                tokio::task::yield_now().await;
            }
        })
        .await;
        Self { child, listening }
    }

    /// Where clients reach it.
    pub fn url(&self) -> &str {
        self.listening["nats"][0].as_str().unwrap()
    }

    /// Where other servers of its cluster reach it.
    pub fn route(&self) -> &str {
        self.listening["cluster"][0].as_str().unwrap()
    }

    /// Kills it as a lost machine would.
    pub async fn kill(&mut self) {
        within(Duration::from_secs(60), self.child.kill()).await.unwrap();
    }
}
