//! Supervised nats-server.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use autovalidate::broker::embedded::{ClientToken, Options, Server};
use autovalidate::broker::{Broker, BrokerError, Connection, Remote, StreamSettings, Streams};
use autovalidate::corrections::{Appended, Corrections};
use autovalidate::failure::{Failure, RetryDirective};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use secrecy::ExposeSecret;

use crate::support::DEADLINE;
use crate::support::broker::{TestBroker, options, rows};
use crate::support::nats::NatsServer;
use crate::support::{nats_server, within, write_program};

fn pid(server: &Server) -> Pid {
    let pid = server.pid().unwrap();
    Pid::from_raw(pid.try_into().unwrap())
}

fn script(folder: &Path, body: &str) -> Options {
    let program = folder.join("nats-server");
    write_program(&program, body);
    Options { program: Some(program), ..options(&folder.join("store")) }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_server_comes_back_with_its_data() {
    let bench = TestBroker::new().await;
    let corrections = bench.corrections().await;
    within(DEADLINE, corrections.append(&rows(1..=50))).await.unwrap();
    let server = bench.connection.server().unwrap();
    let (before, url) = (pid(server), server.url());
    kill(before, Signal::SIGKILL).unwrap();
    within(DEADLINE, server.restarted(before.as_raw().unsigned_abs())).await;
    assert_eq!(server.url(), url, "the address stays the same");
    // The client reconnects by itself. Until then, requests fail and are retried.
    let appended = within(DEADLINE, async {
        loop {
            if let Ok(appended) = corrections.append(&rows(41..=60)).await {
                return appended;
            }
        }
    })
    .await;
    assert_eq!(appended, Appended { stored: 10, duplicates: 10, refused: 0, ..Appended::default() });
    assert_eq!(within(DEADLINE, corrections.snapshot(u64::MAX)).await.unwrap().rows.len(), 60);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clean_stop_ends_the_child_and_keeps_the_data() {
    let bench = TestBroker::new().await;
    within(DEADLINE, bench.corrections().await.append(&rows(1..=3))).await.unwrap();
    let child = pid(bench.connection.server().unwrap());
    within(DEADLINE, bench.connection.close()).await;
    assert!(kill(child, None).is_err(), "the child has exited and was reaped");
    let folder = bench.folder;
    // The lock is free as soon as the stop returns, even while something still holds the
    // connection.
    let connection =
        within(DEADLINE, Connection::open(&Broker::Embedded(options(folder.path())))).await.unwrap();
    let streams = within(DEADLINE, Streams::ensure(&connection, &StreamSettings::default())).await.unwrap();
    let corrections = within(DEADLINE, Corrections::open(&streams, "pairs")).await.unwrap();
    assert_eq!(corrections.highest_number().await.unwrap(), Some(3));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_asked_of_every_client_and_kept_from_other_users() {
    let folder = tempfile::tempdir().unwrap();
    let token = secrecy::SecretString::from("a \"long\" $token");
    let broker =
        Broker::Embedded(Options { token: ClientToken::Given(token.clone()), ..options(folder.path()) });
    let connection = within(DEADLINE, Connection::open(&broker)).await.unwrap();
    let urls = vec![connection.server().unwrap().url()];
    for wrong in [None, Some("guess".into())] {
        let stranger = Broker::Remote(Remote { urls: urls.clone(), token: wrong, ..Remote::default() });
        let error = within(DEADLINE, Connection::open(&stranger)).await.unwrap_err();
        assert!(matches!(error, BrokerError::Refused { .. }), "{error:?}");
        assert!(error.advice().contains("NATS_TOKEN"));
    }
    assert_eq!(within(DEADLINE, connection.other_clients()).await.unwrap(), Some(0));
    let friend = Broker::Remote(Remote { urls, token: Some(token), ..Remote::default() });
    let friend = within(DEADLINE, Connection::open(&friend)).await.unwrap();
    assert_eq!(within(DEADLINE, connection.other_clients()).await.unwrap(), Some(1));
    assert_eq!(within(DEADLINE, friend.other_clients()).await.unwrap(), None, "it runs no server");
    let configuration = folder.path().join("nats-server.conf").metadata().unwrap();
    assert_eq!(configuration.permissions().mode() & 0o077, 0, "only the owner can read the token");
    within(DEADLINE, connection.close()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_token_of_its_own_a_server_asks_for_the_stores() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::Embedded(Options { token: ClientToken::Stored, ..options(folder.path()) });
    let connection = within(DEADLINE, Connection::open(&broker)).await.unwrap();
    let urls = vec![connection.server().unwrap().url()];
    let stranger = Broker::Remote(Remote { urls: urls.clone(), ..Remote::default() });
    let error = within(DEADLINE, Connection::open(&stranger)).await.unwrap_err();
    assert!(matches!(error, BrokerError::Refused { .. }), "{error:?}");
    let advice = error.advice();
    assert!(advice.contains("nats/token in its DATA_DIR"), "{advice}");
    let file = folder.path().join("token");
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o077, 0, "only the owner can read it");
    let token = std::fs::read_to_string(&file).unwrap().trim().to_owned();
    let friend = Broker::Remote(Remote { urls, token: Some(token.clone().into()), ..Remote::default() });
    within(DEADLINE, Connection::open(&friend)).await.unwrap();
    within(DEADLINE, connection.close()).await;
    // A later start asks for the same token, so that scripts go on.
    let again = within(DEADLINE, Connection::open(&broker)).await.unwrap();
    let server = again.server().unwrap();
    assert_eq!(server.token().unwrap().expose_secret(), token);
    within(DEADLINE, again.close()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_worker_on_the_same_store_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let _first = within(DEADLINE, Server::start(options(folder.path()))).await.unwrap();
    let error = within(DEADLINE, Server::start(options(folder.path()))).await.unwrap_err();
    assert!(matches!(error, BrokerError::StoreInUse { .. }), "{error:?}");
    assert_eq!(error.directive(), RetryDirective::Person);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_a_killed_worker_left_behind_is_ended() {
    let folder = tempfile::tempdir().unwrap();
    let server = within(DEADLINE, Server::start(options(folder.path()))).await.unwrap();
    within(DEADLINE, server.stop()).await;
    drop(server);
    // State after a kill -9 of the worker: its server still uses the store, the pid file exists,
    // and no lock is held.
    let configuration = folder.path().canonicalize().unwrap().join("nats-server.conf");
    let mut leftover = tokio::process::Command::new(nats_server())
        .arg("-c")
        .arg(&configuration)
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let leftover_pid = leftover.id().unwrap().to_string();
    within(DEADLINE, async {
        while std::fs::read_to_string(folder.path().join("nats-server.pid")).ok().as_deref()
            != Some(&leftover_pid)
        {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let reaped = tokio::spawn(async move { leftover.wait().await });
    let second = within(DEADLINE, Server::start(options(folder.path()))).await.unwrap();
    assert!(within(DEADLINE, reaped).await.unwrap().is_ok());
    assert_ne!(pid(&second).to_string(), leftover_pid);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_strangers_process_under_the_old_pid_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let mut stranger = tokio::process::Command::new("sleep").arg("600").kill_on_drop(true).spawn().unwrap();
    std::fs::write(folder.path().join("nats-server.pid"), stranger.id().unwrap().to_string()).unwrap();
    let _server = within(DEADLINE, Server::start(options(folder.path()))).await.unwrap();
    assert!(stranger.try_wait().unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn too_old_a_server_is_said_clearly() {
    let folder = tempfile::tempdir().unwrap();
    let options = script(folder.path(), "echo 'nats-server: v2.9.10'");
    let error = within(DEADLINE, Server::start(options)).await.unwrap_err();
    match &error {
        BrokerError::ServerTooOld { found, needed } => {
            assert_eq!((found.as_str(), *needed), ("2.9.10", "2.10"))
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(error.directive(), RetryDirective::Person);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_program_is_said_clearly() {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("no-such-program");
    let options = Options { program: Some(program), ..options(folder.path()) };
    let error = within(DEADLINE, Server::start(options)).await.unwrap_err();
    assert!(matches!(error, BrokerError::ProgramMissing { .. }), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_ends_or_hangs_before_it_is_ready_is_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let dies = script(folder.path(), "case $1 in --version) echo 'nats-server: v2.11.0';; *) exit 3;; esac");
    let error = within(DEADLINE, Server::start(dies)).await.unwrap_err();
    assert!(matches!(error, BrokerError::ServerEnded { status } if status.code() == Some(3)), "{error:?}");
    let hangs =
        script(folder.path(), "case $1 in --version) echo 'nats-server: v2.11.0';; *) exec sleep 600;; esac");
    let hangs = Options { ready_within: Duration::from_millis(300), ..hangs };
    let error = within(DEADLINE, Server::start(hangs)).await.unwrap_err();
    assert!(matches!(error, BrokerError::ServerNotReady { .. }), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_there_is_worth_a_retry_and_no_jetstream_needs_a_person() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = open(format!("nats://{free}")).await.unwrap_err();
    assert!(matches!(error, BrokerError::Connect { .. }), "{error:?}");
    assert_eq!(error.directive(), RetryDirective::Retry);

    let folder = tempfile::tempdir().unwrap();
    let plain = NatsServer::start(folder.path(), "").await;
    let error = open(plain.url().to_owned()).await.unwrap_err();
    assert!(matches!(error, BrokerError::JetStreamUnavailable { .. }), "{error:?}");
    assert_eq!(error.directive(), RetryDirective::Person);
}

async fn open(url: String) -> Result<Connection, BrokerError> {
    let remote = Remote { urls: vec![url], ..Remote::default() };
    within(DEADLINE, Connection::open(&Broker::Remote(remote))).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_gets_no_variable_of_the_settings() {
    let folder = tempfile::tempdir().unwrap();
    let seen = folder.path().join("seen");
    // The variables of this test include those of cargo, as a worker's include its secrets.
    assert!(std::env::var_os("CARGO_MANIFEST_DIR").is_some());
    let server = nats_server();
    let body = format!("env >> {}\nexec {} \"$@\"", seen.display(), server.display());
    let options = script(folder.path(), &body);
    let connection = within(DEADLINE, Connection::open(&Broker::Embedded(options))).await.unwrap();
    within(DEADLINE, connection.close()).await;
    let seen = std::fs::read_to_string(seen).unwrap();
    let of_shell = ["PWD", "SHLVL", "_", "OLDPWD"];
    let of_server = ["PATH", "HOME", "TMPDIR", "TZ", "SSL_CERT_FILE", "SSL_CERT_DIR"];
    for line in seen.lines() {
        let name = line.split('=').next().unwrap();
        let known = of_shell.contains(&name) || of_server.contains(&name) || name.starts_with("GO");
        assert!(known, "the server sees {name}");
    }
    assert!(seen.lines().filter(|line| line.starts_with("PATH=")).count() >= 2, "{seen}");
}
