//! Metrics of real workers against their page, and the files for Prometheus and Grafana against both.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use autovalidate::broker::{JobRequest, RunState};
use autovalidate::worker::{Role, Worker};
use autovalidate_fakes::{hub, supabase};
use futures::StreamExt;
use prometheus_client::encoding::prometheus_text::encode;
use prometheus_client::registry::Registry;
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::support::nats::NatsServer;
use crate::support::worker::{TestWorker, insert, post};
use crate::support::{DEADLINE, tiny, within};

/// A metric: its type, and the values of each of its labels.
#[derive(Debug, Default, PartialEq, Eq)]
struct Metric {
    kind: String,
    labels: BTreeMap<String, BTreeSet<String>>,
}

type Metrics = BTreeMap<String, Metric>;

fn read(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// Reads the tables of the page: name, type, and labels with their values, such as
/// "`source` (`sweep`, `audit`)".
fn documented() -> Metrics {
    let page = read("docs/reference/metrics.md");
    let names_in =
        |text: &str| -> Vec<String> { text.split('`').skip(1).step_by(2).map(str::to_owned).collect() };
    let mut metrics = Metrics::new();
    for line in
        page.lines().filter(|line| line.starts_with("| `autovalidate_") || line.starts_with("| `process_"))
    {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [name, kind, labels, _] = cells.as_slice() else { panic!("a row with other columns: {line}") };
        let name = names_in(name).pop().unwrap();
        let mut metric = Metric { kind: (*kind).to_owned(), ..Metric::default() };
        for label in labels.split("),") {
            let Some((label, values)) = label.split_once('(') else { continue };
            metric.labels.insert(names_in(label).pop().unwrap(), names_in(values).into_iter().collect());
        }
        assert!(metrics.insert(name, metric).is_none(), "twice on the page: {line}");
    }
    metrics
}

/// Reads metrics in Prometheus' text format. Fails for a series whose type was not told before.
fn exposed(text: &str) -> Metrics {
    let mut metrics = Metrics::new();
    for line in text.lines() {
        if let Some(described) = line.strip_prefix("# TYPE ") {
            let (name, kind) = described.split_once(' ').unwrap();
            let metric = Metric { kind: kind.to_owned(), ..Metric::default() };
            assert!(metrics.insert(name.to_owned(), metric).is_none(), "told twice: {name}");
        } else if !line.starts_with('#') {
            let series = line.split([' ', '{']).next().unwrap();
            let name = name_of(series, &metrics);
            let metric = metrics.get_mut(&name).unwrap_or_else(|| panic!("no type before {line}"));
            let labels = line.split_once('{').map_or("", |(_, rest)| rest.split_once('}').unwrap().0);
            for label in labels.split(',').filter(|label| !label.is_empty()) {
                let (label, value) = label.split_once('=').unwrap();
                // A bound of a histogram.
                if label != "le" {
                    let values = metric.labels.entry(label.to_owned()).or_default();
                    values.insert(value.trim_matches('"').to_owned());
                }
            }
        }
    }
    metrics
}

/// Returns the name of the metric that a series belongs to.
fn name_of(series: &str, metrics: &Metrics) -> String {
    let histogram = ["_bucket", "_sum", "_count"]
        .iter()
        .filter_map(|suffix| series.strip_suffix(suffix))
        .find(|name| metrics.get(*name).is_some_and(|metric| metric.kind == "histogram"));
    histogram.unwrap_or(series).to_owned()
}

async fn scrape(worker: &Worker) -> String {
    let answer = within(DEADLINE, reqwest::get(format!("http://{}/metrics", worker.http()))).await.unwrap();
    assert_eq!(answer.headers()["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    answer.text().await.unwrap()
}

/// Returns the program `promtool`: `PROMTOOL`, or the one that `scripts/setup --tests` installed. Says so
/// when there is none.
fn promtool() -> Option<PathBuf> {
    let installed = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(".local/bin/promtool");
    let program = std::env::var_os("PROMTOOL").map_or_else(installed, PathBuf::from);
    let exists = program.exists();
    if !exists {
        eprintln!(
            "SKIPPED: promtool is not there; scripts/setup --tests installs it from the Debian package"
        );
    }
    exists.then_some(program)
}

/// Runs promtool with this standard input, and fails when it finds anything.
async fn run_promtool(arguments: &[&str], input: &str) {
    let Some(program) = promtool() else { return };
    let mut command = Command::new(program);
    command.args(arguments).current_dir(env!("CARGO_MANIFEST_DIR"));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().unwrap();
    let mut pipe = child.stdin.take().unwrap();
    // What does not read its input closes the pipe.
    let _ = pipe.write_all(input.as_bytes()).await;
    drop(pipe);
    let output = within(DEADLINE, child.wait_with_output()).await.unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&said));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_lists_every_metric_of_every_worker_with_its_labels() {
    let settings =
        [("TRAIN_THRESHOLD", "120"), ("CHECKPOINT_EVERY", "1ms"), ("CHECKPOINT_STORE", "jetstream")];
    let mut system = TestWorker::start(&tiny(), &settings).await;
    let first = exposed(&scrape(&system.worker).await);
    assert!(!first.contains_key("autovalidate_training_loss"), "nothing has trained yet");
    insert(&system.supabase, 120).await;
    post(&system.supabase, &json!([{ "typo": "", "corrected": "Audi", "domain": "brand" }])).await;
    let run = system.ended().await;
    assert_eq!((run.state, run.artifact.is_some()), (RunState::Done, true), "{:?}", run.error);
    let hook = reqwest::Client::new().post(format!("http://{}/hooks/tick", system.worker.http()));
    assert_eq!(within(DEADLINE, hook.send()).await.unwrap().status(), 401);
    let text = scrape(&system.worker).await;

    for line in [
        "autovalidate_broker_up 1",
        "autovalidate_runs_total{outcome=\"published\"} 1",
        "autovalidate_runs_total{outcome=\"failed\"} 0",
        "autovalidate_stage_duration_seconds_count{stage=\"train\"} 1",
        "autovalidate_stages_total{stage=\"publish\",outcome=\"done\"} 1",
        "autovalidate_stages_total{stage=\"publish\",outcome=\"failed\"} 0",
        "autovalidate_webhooks_total{answer=\"wrong_secret\"} 1",
        "autovalidate_quarantine_rows{reason=\"empty\"} 1",
        "autovalidate_build_info{version=\"0.1.0\",role=\"all\"} 1",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    }
    let value = |series: &str| -> f64 {
        let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {series} in\n{text}")).parse().unwrap()
    };
    assert!(value("autovalidate_training_step") == value("autovalidate_training_steps"));
    assert!(value("autovalidate_training_loss") > 0.0);
    for event in ["written", "stored"] {
        assert!(value(&format!("autovalidate_checkpoints_total{{event=\"{event}\"}}")) >= 1.0, "{event}");
    }
    let steps = value("autovalidate_optimizer_step_seconds_count");
    assert_eq!(
        steps + 1.0,
        value("autovalidate_training_steps"),
        "each step but the first has one before it"
    );
    let scores = run.metrics["held_out"]["all"]["after"]["overall"]["accuracy_at_1"].as_f64().unwrap();
    for model in ["live", "candidate"] {
        let share = value(&format!("autovalidate_model_accuracy_ratio{{model=\"{model}\"}}"));
        assert!((share - scores).abs() < 1e-4, "{model}: {share}, not {scores}");
    }
    let ended = run.ended_at.unwrap().as_second();
    assert_eq!(value("autovalidate_last_success_timestamp_seconds"), ended as f64);
    let sources = ["realtime", "sweep", "audit"];
    let stored = sources
        .map(|source| value(&format!("autovalidate_rows_total{{source=\"{source}\",outcome=\"stored\"}}")));
    assert_eq!(stored.iter().sum::<f64>(), 120.0);
    let newest = value("autovalidate_newest_row_lag_seconds");
    assert!((0.0..DEADLINE.as_secs_f64()).contains(&newest), "{newest}");
    assert!(value("process_resident_memory_bytes") > 1e6 && value("process_cpu_seconds_total") > 0.0);
    assert!(value("process_open_fds") > 3.0 && value("process_start_time_seconds") > 1.6e9);
    run_promtool(&["check", "metrics"], &text).await;

    // Only a listener starts trainers.
    let mut starts = Registry::default();
    autovalidate::launcher::StartMetrics::default().register(&mut starts);
    let mut of_listener = String::new();
    encode(&mut of_listener, &starts).unwrap();
    let exposed = exposed(&(text + &of_listener));
    let documented = documented();
    let names = |metrics: &Metrics| metrics.keys().cloned().collect::<BTreeSet<_>>();
    assert_eq!(names(&exposed), names(&documented), "what workers show, and what the page lists");
    for (name, shown) in &exposed {
        let listed = &documented[name];
        assert_eq!(shown.kind, listed.kind, "{name}");
        assert!(shown.labels.keys().eq(listed.labels.keys()), "{name}: {shown:?}, {listed:?}");
        for (label, values) in shown.labels.iter().filter(|(label, _)| *label != "version") {
            let listed = &listed.labels[label];
            let is_role = label == "role" && values.is_subset(listed);
            assert!(values == listed || is_role, "{name}: {values:?}, {listed:?}");
        }
    }
    system.stop().await;
}

/// Returns the names of series in a text, in order.
fn names_in(text: &str) -> Vec<&str> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("autovalidate_") || word.starts_with("process_")).collect()
}

/// Returns the queries of the dashboard.
fn queries() -> Vec<String> {
    let dashboard: serde_json::Value = serde_json::from_str(&read("monitoring/dashboard.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap().iter();
    let targets = panels.flat_map(|panel| panel["targets"].as_array().into_iter().flatten());
    targets.map(|target| target["expr"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn alerts_and_dashboard_use_metrics_of_the_page_only() {
    let (documented, alerts, queries) = (documented(), read("monitoring/alerts.yaml"), queries());
    assert!(queries.len() > 20 && queries.iter().all(|query| query.contains(r#"job=~"$job""#)));
    let used = queries.iter().flat_map(|query| names_in(query)).chain(names_in(&alerts));
    let used: BTreeSet<String> = used.map(|series| name_of(series, &documented)).collect();
    let unknown: Vec<_> = used.iter().filter(|name| !documented.contains_key(*name)).collect();
    assert!(unknown.is_empty(), "not on the page: {unknown:?}");
    // Label values, too: a query with a misspelt one finds nothing, without an error.
    for text in queries.iter().map(String::as_str).chain([alerts.as_str()]) {
        for (series, selector) in text.split('}').filter_map(|part| part.rsplit_once('{')) {
            let Some(name) = names_in(series).pop() else { continue };
            let metric = &documented[&name_of(name, &documented)];
            for matcher in selector.split(',').filter(|matcher| !matcher.contains("$job")) {
                let Some((label, value)) = matcher.split_once(['=', '!']) else { continue };
                let value = value.trim_start_matches('=').trim_matches('"');
                let values =
                    metric.labels.get(label.trim()).unwrap_or_else(|| panic!("{name} has no {label}"));
                assert!(values.contains(value), "{name} has no {matcher}");
            }
        }
    }
}

#[tokio::test]
async fn prometheus_understands_the_queries_of_the_dashboard() {
    // Grafana puts in an interval; a rule may not have one.
    let rules = queries().into_iter().enumerate().map(|(number, query)| {
        json!({ "record": format!("query:{number}"), "expr": query.replace("$__rate_interval", "5m") })
    });
    let rules = json!({ "groups": [{ "name": "dashboard", "rules": rules.collect::<Vec<_>>() }] });
    let file = tempfile::NamedTempFile::new().unwrap();
    // JSON is YAML, too.
    std::fs::write(file.path(), rules.to_string()).unwrap();
    run_promtool(&["check", "rules", file.path().to_str().unwrap()], "").await;
}

#[tokio::test]
async fn alert_rules_fire_in_their_cases() {
    run_promtool(&["check", "rules", "monitoring/alerts.yaml"], "").await;
    run_promtool(&["test", "rules", "monitoring/alerts.test.yaml"], "").await;
    let (rules, cases) = (read("monitoring/alerts.yaml"), read("monitoring/alerts.test.yaml"));
    for rule in rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")) {
        assert!(cases.lines().any(|line| line.trim() == format!("alertname: {rule}")), "no case for {rule}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_counts_starts_of_trainers_and_shows_its_own_numbers_without_the_broker() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("store");
    let mut nats = NatsServer::start(folder.path(), &format!("jetstream {{ store_dir: {store:?} }}")).await;
    let url = nats.url().to_owned();
    let supabase = supabase::Supabase::start(supabase::Options::default()).await.unwrap();
    let hub = hub::Hub::start(hub::Options::new(folder.path().join("hub"))).await.unwrap();
    let settings = [("NATS_URL", url.as_str()), ("NATS_REPLICAS", "1"), ("TRAINER_START", "exec:true")];
    let system = TestWorker::start_as(Role::Listener, folder, supabase, hub, &tiny(), &settings).await;
    let text = scrape(&system.worker).await;
    let shown = exposed(&text);
    let of_trainer =
        |name: &str| name.contains("_run_") || name.contains("training") || name.contains("stage");
    let of_trainer: Vec<_> =
        shown.keys().filter(|name| of_trainer(name) && !name.contains("in_flight")).collect();
    assert!(of_trainer.is_empty() && !shown.contains_key("autovalidate_runs_total"), "{of_trainer:?}");
    assert!(text.contains("autovalidate_trainer_starts_total{result=\"started\"} 0"), "{text}");

    let handles = system.worker.handles();
    let state = handles.streams.connection().jetstream().get_key_value("trainer_state").await.unwrap();
    let mut starts = state.watch("trainer_start").await.unwrap();
    within(DEADLINE, handles.jobs.enqueue(&JobRequest::default())).await.unwrap();
    within(DEADLINE, async {
        loop {
            let entry = starts.next().await.unwrap().unwrap();
            let record: serde_json::Value = serde_json::from_slice(&entry.value).unwrap();
            if record["state"] == "started" {
                return;
            }
        }
    })
    .await;
    let text = scrape(&system.worker).await;
    assert!(text.contains("autovalidate_trainer_starts_total{result=\"started\"} 1"), "{text}");
    assert!(text.contains("autovalidate_runs_waiting 1"), "{text}");

    nats.kill().await;
    let text = scrape(&system.worker).await;
    assert!(text.contains("autovalidate_broker_up 0") && text.contains("process_open_fds"), "{text}");
    assert!(
        !text.contains("autovalidate_runs_waiting") && !text.contains("autovalidate_quarantine"),
        "{text}"
    );
    system.stop().await;
}
