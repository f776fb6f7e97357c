//! `autovalidate healthz`: health of the worker on this machine, for container runtimes.

use std::net::SocketAddr;
use std::time::Duration;

use crate::broker::embedded::reachable;
use crate::settings::Needs;
use crate::text::plain_line;

use super::config::settings;
use super::{CliError, CommandOutcome};

/// Limit for the answer. A container runtime gives up after about as long.
const LIMIT: Duration = Duration::from_secs(4);
/// Longest part of an answer that is shown, in bytes.
const SHOWN: usize = 200;

/// Asks the worker on this machine whether it is healthy, and exits with 1 when it is not.
///
/// Example: autovalidate healthz
#[derive(clap::Args)]
pub(super) struct Args {
    /// Address of the worker; the port of HTTP_ADDR on this machine unless given.
    #[arg(long, value_name = "HOST:PORT")]
    address: Option<SocketAddr>,
}

pub(super) async fn run(args: &Args) -> Result<CommandOutcome, CliError> {
    let address = match args.address {
        Some(address) => address,
        None => address_of(settings(Needs::default())?.http_address),
    };
    let failed = |error: reqwest::Error| CliError::Plain {
        what: format!("no worker answers at {address}"),
        advice: "Start `autovalidate worker`, or give its address with --address.".to_owned(),
        source: Some(error.without_url().into()),
    };
    let client = reqwest::Client::builder().timeout(LIMIT).no_proxy().build().map_err(failed)?;
    let mut response = client.get(format!("http://{address}/healthz")).send().await.map_err(failed)?;
    let status = response.status();
    // The worker's own sentence is in the first piece; whatever else answers there may go on for ever.
    let body = response.chunk().await.map_err(failed)?.unwrap_or_default();
    if status.is_success() {
        return if body.trim_ascii() == b"ok" {
            println!("ok");
            Ok(CommandOutcome::Done)
        } else {
            Err(CliError::plain(
                format!("{address} is not a worker: it answers /healthz with something else"),
                "Give the worker's address with --address, or free its port of the other program.",
            ))
        };
    }
    let reason = plain_line(&String::from_utf8_lossy(&body), SHOWN);
    Err(CliError::plain(
        format!("the worker at {address} is not healthy ({status}): {reason}"),
        "Read the worker's log; `autovalidate doctor` checks what it needs.",
    ))
}

/// Returns the address at which a server that listens on `bound` is reached from this machine.
fn address_of(bound: SocketAddr) -> SocketAddr {
    SocketAddr::new(reachable(bound.ip()), bound.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_listens_everywhere_is_asked_on_loopback() {
        let of = |address: &str| address_of(address.parse().unwrap()).to_string();
        assert_eq!(of("0.0.0.0:8080"), "127.0.0.1:8080");
        assert_eq!(of("[::]:8080"), "[::1]:8080");
        assert_eq!(of("10.0.0.7:80"), "10.0.0.7:80");
    }
}
