//! nats-servers with custom configurations. Each server chooses its own client port, because a port
//! that a test chose could be in use by the time the server starts.

use std::path::Path;

use tokio::process::{Child, Command};

use super::{DEADLINE, nats_server, within};

/// Running server, killed when dropped.
pub struct NatsServer {
    child: Child,
    /// Addresses from the server's ports file: `{"nats": [url, ...], ...}`.
    listening: serde_json::Value,
}

impl NatsServer {
    /// Starts a server that keeps its files in `folder`, and waits until it listens.
    /// `configuration` holds everything but the address and the ports file.
    pub async fn start(folder: &Path, configuration: &str) -> Self {
        Self::try_start(folder, configuration).await.expect("the server exited; its output above says why")
    }

    /// Starts a server that may exit at once, as one whose port is taken does; then returns `None`.
    pub async fn try_start(folder: &Path, configuration: &str) -> Option<Self> {
        let ports = folder.join("ports");
        std::fs::create_dir_all(&ports).unwrap();
        let file = folder.join("server.conf");
        let text = format!("listen: \"127.0.0.1:-1\"\nports_file_dir: {ports:?}\n{configuration}\n");
        std::fs::write(&file, text).unwrap();
        let mut child = Command::new(nats_server()).arg("-c").arg(&file).kill_on_drop(true).spawn().unwrap();
        let listening = within(DEADLINE, async {
            loop {
                if child.try_wait().unwrap().is_some() {
                    return None;
                }
                let written = std::fs::read_dir(&ports).unwrap().filter_map(Result::ok).next();
                let text = written.and_then(|file| std::fs::read_to_string(file.path()).ok());
                if let Some(listening) = text.and_then(|text| serde_json::from_str(&text).ok()) {
                    return Some(listening);
                }
                tokio::task::yield_now().await;
            }
        })
        .await;
        Some(Self { child, listening: listening? })
    }

    /// Returns the address for clients.
    pub fn url(&self) -> &str {
        self.listening["nats"][0].as_str().unwrap()
    }

    /// Returns the address for clients that speak through a websocket.
    pub fn websocket_url(&self) -> &str {
        self.listening["websocket"][0].as_str().unwrap()
    }

    /// Kills the server without warning, like the loss of its machine.
    pub async fn kill(&mut self) {
        within(DEADLINE, self.child.kill()).await.unwrap();
    }
}
