//! The trace from a row to its release, as a collector of OpenTelemetry gets it.

use std::collections::BTreeSet;
use std::process::Stdio;
use std::sync::Arc;

use autovalidate_fakes::{hub, supabase};
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::routing::post;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::sync::watch;

use crate::support::worker::environment;
use crate::support::{DEADLINE, tiny, within};

/// Everything that a collector has been sent.
#[derive(Debug, Default)]
struct Sent {
    spans: Vec<Span>,
    /// Names of services, and values of the header `authorization`.
    services: BTreeSet<String>,
    keys: BTreeSet<String>,
    bytes: Vec<u8>,
}

type Inbox = Arc<watch::Sender<Sent>>;

/// Starts a collector, and returns its URL and what it is sent.
async fn collector() -> (String, Inbox) {
    let inbox = Inbox::default();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let router = Router::new().route("/v1/traces", post(take)).with_state(Arc::clone(&inbox));
    tokio::spawn(async move { axum::serve(listener, router).await });
    (url, inbox)
}

async fn take(State(inbox): State<Inbox>, headers: HeaderMap, body: Bytes) {
    let request = ExportTraceServiceRequest::decode(&body[..]).expect("a request of OpenTelemetry");
    inbox.send_modify(|sent| {
        sent.bytes.extend_from_slice(&body);
        if let Some(key) = headers.get("authorization") {
            sent.keys.insert(key.to_str().unwrap().to_owned());
        }
        for resource in request.resource_spans {
            let attributes = resource.resource.unwrap_or_default().attributes;
            let name = attributes.into_iter().find(|attribute| attribute.key == "service.name");
            sent.services.insert(format!("{:?}", name.and_then(|name| name.value)));
            sent.spans.extend(resource.scope_spans.into_iter().flat_map(|scope| scope.spans));
        }
    });
}

/// A worker that is a process, with the stand-ins that it uses.
struct Traced {
    supabase: supabase::Supabase,
    _hub: hub::Hub,
    worker: Child,
    _folder: tempfile::TempDir,
}

impl Traced {
    async fn start(collector: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let supabase = supabase::Supabase::start(supabase::Options::default()).await.unwrap();
        let hub = hub::Hub::start(hub::Options::new(folder.path().join("hub"))).await.unwrap();
        let worker = Command::new(env!("CARGO_BIN_EXE_autovalidate"))
            .arg("worker")
            .current_dir(folder.path())
            .env_clear()
            .envs(environment(&supabase, &hub, &tiny(), &folder.path().join("data")))
            .envs([
                ("TRAIN_THRESHOLD", "20"),
                ("TRAIN_EPOCHS", "1"),
                ("OTEL_EXPORTER_OTLP_ENDPOINT", collector),
                ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer of-the-collector"),
                ("OTEL_BSP_SCHEDULE_DELAY", "100"),
                // Traces are there whatever is logged.
                ("RUST_LOG", "error"),
            ])
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        Self { supabase, _hub: hub, worker, _folder: folder }
    }

    async fn stop(mut self) {
        kill(Pid::from_raw(self.worker.id().unwrap().cast_signed()), Signal::SIGTERM).unwrap();
        assert!(within(DEADLINE, self.worker.wait()).await.unwrap().success());
        self.supabase.shutdown().await;
    }
}

fn named<'s>(sent: &'s Sent, name: &str) -> Option<&'s Span> {
    sent.spans.iter().find(|span| span.name == name)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_leads_from_a_row_to_its_release() {
    let (url, inbox) = collector().await;
    let traced = Traced::start(&url).await;
    for number in 0..24 {
        let name = ["Toyota", "Honda", "Renault", "Citroen"][number % 4];
        traced.supabase.insert(&format!("{}{number}", &name[1..]), name, "brand");
    }
    let mut sent = inbox.subscribe();
    within(DEADLINE, sent.wait_for(|sent| named(sent, "run").is_some())).await.unwrap();
    traced.stop().await;

    let sent = sent.borrow();
    let (request, run) = (named(&sent, "request a run").unwrap(), named(&sent, "run").unwrap());
    assert_eq!((&run.trace_id, &run.parent_span_id), (&request.trace_id, &request.span_id));
    for stage in ["load-base", "fetch-data", "train", "evaluate", "gate", "clean-up"] {
        let span = named(&sent, stage).unwrap_or_else(|| panic!("no span of {stage}"));
        assert_eq!((&span.trace_id, &span.parent_span_id), (&run.trace_id, &run.span_id), "{stage}");
        let attributes: Vec<&str> = span.attributes.iter().map(|attribute| &*attribute.key).collect();
        assert!(attributes.contains(&"job") && attributes.contains(&"stage"), "{attributes:?}");
        assert!(span.events.is_empty(), "a log record became an event: {:?}", span.events);
    }
    // The rows were stored in traces of their own, and the run that reads them says which.
    let stored = sent.spans.iter().filter(|span| span.name == "store rows");
    let stored: BTreeSet<(&[u8], &[u8])> = stored.map(|span| (&*span.trace_id, &*span.span_id)).collect();
    let links = &named(&sent, "fetch-data").unwrap().links;
    assert!(!links.is_empty() && links.len() <= 32, "{links:?}");
    for link in links {
        assert!(stored.contains(&(&*link.trace_id, &*link.span_id)), "{link:?} leads nowhere");
    }
    assert_eq!(sent.keys, BTreeSet::from(["Bearer of-the-collector".to_owned()]));
    assert!(sent.services.iter().all(|name| name.contains("autovalidate-trainer")), "{:?}", sent.services);
    let bytes = String::from_utf8_lossy(&sent.bytes);
    for text in ["oyota", "enault", "Honda", "hf_", "anon", "of-the-collector"] {
        assert!(!bytes.contains(text), "{text} went to the collector");
    }
}

#[tokio::test]
async fn a_command_is_the_same_without_its_collector() {
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let told = async |collector: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_autovalidate"));
        command.arg("status").current_dir(folder.path()).env_clear().stdin(Stdio::null());
        command.env("NATS_LISTEN", gone.to_string()).env("OTEL_EXPORTER_OTLP_ENDPOINT", collector);
        let output = within(DEADLINE, command.output()).await.unwrap();
        (output.status.code(), output.stdout, String::from_utf8(output.stderr).unwrap())
    };
    let without = told("").await;
    assert!(without.0 == Some(1) && without.2.contains("no worker runs here"), "{without:?}");
    assert_eq!(told(&format!("http://{gone}")).await, without);
    let (code, _, errors) = told("no url").await;
    assert_eq!(code, without.0);
    assert!(errors.starts_with("traces are not exported: ") && errors.ends_with(&without.2), "{errors}");
}
