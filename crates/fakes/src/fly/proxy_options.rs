//! Options of a proxy.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

/// Treatment of a machine that has no request in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AutoStop {
    /// The machine runs on. Only its own exit ends it.
    #[default]
    Off,
    /// The machine is stopped after this time, even when it works on something.
    Stop(Duration),
    /// The machine is suspended after this time, even when it works on something.
    Suspend(Duration),
}

/// Options of a proxy.
#[derive(Debug, Clone)]
pub struct ProxyOptions {
    /// App of the machines.
    pub app: String,
    /// Process group of the machines.
    pub group: String,
    /// Address to listen on; port 0 picks a free port.
    pub address: SocketAddr,
    /// Switch for starting a machine when a request comes.
    pub auto_start: bool,
    /// Treatment of machines without requests, for the machines that exist when the proxy starts.
    pub auto_stop: AutoStop,
    /// Time to start a machine and to connect to its service, after which a request gets 503.
    pub limit: Duration,
}

impl ProxyOptions {
    /// Returns options for a proxy on a free local port that starts machines and never stops them.
    pub fn new(app: impl Into<String>, group: impl Into<String>) -> Self {
        Self {
            app: app.into(),
            group: group.into(),
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            auto_start: true,
            auto_stop: AutoStop::Off,
            limit: Duration::from_secs(20),
        }
    }
}
