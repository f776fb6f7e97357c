//! Wrong settings, and their messages on the command line.

use std::path::Path;
use std::process::{Command, Output};

use autovalidate::evaluate::{FuzzyMetric, FuzzyRule};
use autovalidate::settings::{Needs, Settings, TrainerStart};
use autovalidate_finetune::train::{EarlyStop, Metric};

pub(super) fn autovalidate(arguments: &[&str], environment: &[(&str, &str)], folder: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_autovalidate"))
        .args(arguments)
        .env_clear()
        .envs(environment.iter().copied())
        .current_dir(folder)
        .output()
        .unwrap()
}

#[test]
fn every_problem_is_told_at_once_with_exit_code_2() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(
        folder.path().join("autovalidate.toml"),
        "trian_threshold = 5\n[templates]\nbrand = \"no place\"\n[serve_templates]\nmodel = \"{brand}\"\n",
    )
    .unwrap();
    let environment = [
        ("SUPABASE_URL", "ftp://nowhere"),
        ("HF_REPO", "no-owner"),
        ("TRAIN_THRESHOLD", "0"),
        ("TRAIN_MAX_WAIT", "soon"),
        ("TRAIN_HARD_NEGATIVES", "11"),
        ("TRAIN_LABEL_SMOOTHING", "1"),
        ("TRAIN_DROPOUT", "some"),
        ("TRAIN_EARLY_STOP", "soon"),
        ("TRAIN_DEVICE", "abacus"),
        ("TRAIN_PATIENCE", "0"),
        ("TRAIN_ASSESS_EVERY", "0"),
        ("HTTP_ADDR", "here"),
        ("CHECKPOINT_STORE", "tape"),
        ("CHECKPOINT_EVERY", "often"),
        ("ORT_DYLIB_PATH", "/nowhere/libonnxruntime.so"),
    ];
    let output = autovalidate(&["worker"], &environment, folder.path());
    assert_eq!(output.status.code(), Some(2));
    let told = String::from_utf8(output.stderr).unwrap();
    for name in [
        "SUPABASE_URL",
        "SUPABASE_ANON_KEY",
        "HF_TOKEN",
        "HF_REPO",
        "TRAIN_THRESHOLD",
        "TRAIN_MAX_WAIT",
        "TRAIN_HARD_NEGATIVES",
        "TRAIN_LABEL_SMOOTHING",
        "TRAIN_DROPOUT",
        "TRAIN_EARLY_STOP",
        "TRAIN_DEVICE",
        "TRAIN_PATIENCE",
        "TRAIN_ASSESS_EVERY",
        "HTTP_ADDR",
        "CHECKPOINT_STORE",
        "CHECKPOINT_EVERY",
        "ORT_DYLIB_PATH",
        "trian_threshold",
        "templates.brand",
        "serve_templates.model",
    ] {
        assert!(told.contains(name), "{name} is missing in:\n{told}");
    }
}

#[test]
fn the_environment_wins_over_the_file_and_secrets_are_stars() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("autovalidate.toml");
    std::fs::write(
        &file,
        "train_threshold = 7\ntrain_epochs = 5\ntrain_hard_negatives = 2\ntrain_dropout = true\ntrain_early_stop = \"loss\"\ntrain_assess_every = 20\nhf_token = \"hf_from_file\"\n",
    )
    .unwrap();
    let environment = |name: &str| (name == "TRAIN_THRESHOLD").then(|| "9".to_owned());
    let settings = Settings::read(&environment, Some(&file), Needs::default()).unwrap();
    assert_eq!((settings.trigger.threshold, settings.recipe.epochs), (9, 5));
    assert!(settings.recipe.dropout);
    assert_eq!(settings.recipe.hard_negatives, 2);
    let rule = EarlyStop { metric: Metric::Loss, patience: 3, every: Some(20) };
    assert_eq!(settings.recipe.early_stop, Some(rule));
    let shown: Vec<String> = settings.effective.iter().map(|each| format!("{each:?}")).collect();
    assert!(shown.iter().any(|each| each.contains("HF_TOKEN") && each.contains("***")), "{shown:?}");
    assert!(!format!("{settings:?}").contains("hf_from_file"));
}

#[test]
fn a_library_that_is_no_onnx_runtime_is_one_clear_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let library = folder.path().join("libonnxruntime.so");
    std::fs::write(&library, "not a library").unwrap();
    let library = library.display().to_string();
    let environment = [
        ("SUPABASE_URL", "http://127.0.0.1:9"),
        ("SUPABASE_ANON_KEY", "key"),
        ("HF_TOKEN", "hf_x"),
        ("HF_REPO", "a/b"),
        ("ORT_DYLIB_PATH", library.as_str()),
    ];
    let output = autovalidate(&["worker"], &environment, folder.path());
    assert_eq!(output.status.code(), Some(1));
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(
        told.contains("is not a usable ONNX Runtime library") && told.contains("ORT_DYLIB_PATH"),
        "{told}"
    );
    assert!(!told.contains("panicked"), "{told}");
}

/// The message of a build with CUDA is tested in `train::device`, where a GPU may be available.
#[test]
#[cfg(not(feature = "cuda"))]
fn a_gpu_is_refused_by_a_program_without_cuda() {
    let folder = tempfile::tempdir().unwrap();
    let library = crate::support::onnxruntime().display().to_string();
    let environment = [
        ("SUPABASE_URL", "http://127.0.0.1:9"),
        ("SUPABASE_ANON_KEY", "key"),
        ("HF_TOKEN", "hf_x"),
        ("HF_REPO", "a/b"),
        ("ORT_DYLIB_PATH", library.as_str()),
        ("TRAIN_DEVICE", "cuda"),
    ];
    let output = autovalidate(&["worker"], &environment, folder.path());
    assert_eq!(output.status.code(), Some(1));
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("this program was built without CUDA"), "{told}");
    assert!(told.contains("TRAIN_DEVICE") && told.contains("--features cuda"), "{told}");
}

#[test]
fn every_command_explains_itself_with_an_example() {
    let folder = tempfile::tempdir().unwrap();
    for command in [
        "worker",
        "dev",
        "train",
        "evaluate",
        "suggest",
        "enqueue",
        "status",
        "tick",
        "runs",
        "models",
        "doctor",
        "init",
        "artifacts",
        "completions",
        "man",
    ] {
        let output = autovalidate(&[command, "--help"], &[], folder.path());
        assert!(output.status.success());
        let help = String::from_utf8(output.stdout).unwrap();
        assert!(help.contains("Example: "), "{command}:\n{help}");
    }
}

#[test]
fn init_prints_sql_and_an_environment() {
    let folder = tempfile::tempdir().unwrap();
    let output = autovalidate(
        &["init", "--print", "--table", "typos", "--webhook", "https://x.example/hooks/supabase"],
        &[],
        folder.path(),
    );
    let text = String::from_utf8(output.stdout).unwrap();
    for part in [
        "SUPABASE_URL",
        "create table if not exists",
        "typos",
        "supabase_realtime",
        "x-webhook-secret",
        "cron.schedule('autovalidate-tick public.typos'",
        "https://x.example/hooks/tick",
    ] {
        assert!(text.contains(part), "{part} is missing in:\n{text}");
    }
}

#[test]
fn init_lets_the_app_insert_and_only_on_request_everybody_read() {
    let folder = tempfile::tempdir().unwrap();
    let init = |arguments: &[&str]| {
        let output = autovalidate(&[&["init", "--print"], arguments].concat(), &[], folder.path());
        String::from_utf8(output.stdout).unwrap()
    };
    let (private, public) = (init(&[]), init(&["--public-read"]));
    for text in [&private, &public] {
        assert!(
            text.contains("grant select on \"public\".\"typo_training_dataset\" to service_role;"),
            "{text}"
        );
        assert!(text.contains("for insert to anon, authenticated"), "{text}");
    }
    assert!(
        private.contains("SUPABASE_SERVICE_KEY=") && !private.contains("for select to anon"),
        "{private}"
    );
    assert!(public.contains("SUPABASE_ANON_KEY=") && public.contains("for select to anon"), "{public}");
}

#[test]
fn init_refuses_names_that_would_break_out_of_a_comment() {
    let folder = tempfile::tempdir().unwrap();
    for arguments in [["init", "--table", "a\nb"], ["init", "--schema", ""]] {
        let output = autovalidate(&arguments, &[], folder.path());
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
    }
}

#[test]
fn init_refuses_a_webhook_that_the_worker_does_not_serve() {
    let folder = tempfile::tempdir().unwrap();
    for (url, advice) in [
        ("https://x.example", "end the URL with that path"),
        ("https://x.example/hooks/tick", "end the URL with that path"),
        ("x.example/hooks/supabase", "give a URL such as https://"),
    ] {
        let output = autovalidate(&["init", "--webhook", url], &[], folder.path());
        assert_eq!(output.status.code(), Some(2), "{url}");
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(error.contains(advice), "{url}:\n{error}");
    }
}

#[test]
fn an_idle_time_below_ten_seconds_is_refused_in_one_sentence() {
    let folder = tempfile::tempdir().unwrap();
    for (time, expected) in [("5s", "too short"), ("soon", "30s, 2m or 1h"), ("-1m", "30s, 2m or 1h")] {
        let output = autovalidate(&["worker", &format!("--exit-when-idle={time}")], &[], folder.path());
        assert_eq!(output.status.code(), Some(2));
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(told.contains(expected), "{told}");
    }
}

#[test]
fn a_broker_that_other_machines_can_reach_needs_a_token() {
    let read = |listen: &str, token: Option<&str>| {
        let environment = |name: &str| match name {
            "NATS_LISTEN" => Some(listen.to_owned()),
            "NATS_TOKEN" => token.map(str::to_owned),
            _ => None,
        };
        Settings::read(&environment, None, Needs::default())
    };
    for open in ["0.0.0.0:4222", "[::]:4222", "10.0.0.7:4222", "[fdaa::3]:4222"] {
        let told = read(open, None).unwrap_err().to_string();
        assert!(told.contains(open) && told.contains("NATS_TOKEN"), "{told}");
        assert!(read(open, Some("long, and random")).is_ok());
    }
    let told = read("127.0.0.1:4222", Some("$2a$11$abcdefghijk")).unwrap_err().to_string();
    assert!(told.contains("NATS_TOKEN") && told.contains("bcrypt"), "{told}");
    for loopback in ["127.0.0.1:4222", "127.8.8.8:0", "[::1]:4222", "[::ffff:127.0.0.1]:4222"] {
        assert!(read(loopback, None).is_ok(), "{loopback}");
    }
}

#[test]
fn each_way_to_start_a_trainer_is_read_and_anything_else_is_refused() {
    let read = |start: &str, more: &[(&str, &str)]| {
        let environment = |name: &str| match name {
            "TRAINER_START" => Some(start.to_owned()),
            name => more.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned()),
        };
        Settings::read(&environment, None, Needs::default())
    };
    assert!(matches!(read("none", &[]).unwrap().trainer_start, TrainerStart::None));
    let command = read("exec: systemctl start --no-block x:y", &[]).unwrap().trainer_start;
    assert!(matches!(command, TrainerStart::Command(line) if line == "systemctl start --no-block x:y"));

    let token = ("FLY_API_TOKEN", "FlyV1 fm2_secret");
    let elsewhere = read("fly:shop/trainer", &[token]).unwrap();
    assert!(!format!("{elsewhere:?}").contains("fm2_secret"));
    let TrainerStart::Fly(app) = elsewhere.trainer_start else { panic!("an app") };
    assert_eq!((app.app.as_str(), app.group.as_deref()), ("shop", Some("trainer")));
    assert_eq!(app.api.as_str(), "https://api.machines.dev/");
    let on_fly = [token, ("FLY_APP_NAME", "shop"), ("FLY_MACHINE_ID", "148e")];
    let TrainerStart::Fly(app) = read("fly:shop", &on_fly).unwrap().trainer_start else { panic!("an app") };
    assert_eq!(app.api.as_str(), "http://_api.internal:4280/");
    assert_eq!((app.group, app.own_machine.as_deref()), (None, Some("148e")));

    let told = read("fly:shop/trainer", &[]).unwrap_err().to_string();
    assert!(told.contains("FLY_API_TOKEN") && told.contains("fly tokens create deploy --app shop"), "{told}");
    let told = read("fly:shop", &[("FLY_API_TOKEN", "fm2_a\nb")]).unwrap_err().to_string();
    assert!(told.contains("FLY_API_TOKEN has a line break") && !told.contains("fm2_a"), "{told}");
    for wrong in ["fly:", "fly:a/b/c", "fly:../x", "exec:", "fly", "systemd:unit", "None"] {
        let told = read(wrong, &[token]).unwrap_err().to_string();
        assert!(told.contains("TRAINER_START") && told.contains(wrong), "{told}");
    }
    let told = read("fly:shop", &[token, ("FLY_API_HOSTNAME", "api.machines.dev")]).unwrap_err().to_string();
    assert!(told.contains("FLY_API_HOSTNAME"), "{told}");
}

#[test]
fn artifacts_are_written_for_a_model() {
    let folder = tempfile::tempdir().unwrap();
    let model = crate::support::tiny();
    let out = folder.path().join("onnx");
    let arguments = ["artifacts", "--model", model.to_str().unwrap(), "--out", out.to_str().unwrap()];
    let output = autovalidate(&arguments, &[], folder.path());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for name in ["training_model.onnx", "eval_model.onnx", "optimizer_model.onnx"] {
        assert!(out.join(name).metadata().unwrap().len() > 1_000, "{name}");
    }
}

#[test]
fn the_streams_have_a_namespace_and_a_total_size() {
    let read = |namespace: &'static str, bytes: &'static str| {
        let value = move |name: &str| match name {
            "NATS_NAMESPACE" => Some(namespace.to_owned()),
            "NATS_MAX_BYTES" => Some(bytes.to_owned()),
            _ => None,
        };
        Settings::read(&value, None, Needs::default())
    };
    let streams = read("shop", "512MiB").unwrap().nats_streams;
    assert_eq!(&**streams.names.corrections(), "shop_CORRECTIONS");
    assert_eq!((streams.max_bytes, streams.replicas, streams.replicas_are_set), (Some(512 << 20), 1, false));
    let plain = read("", "").unwrap().nats_streams;
    assert_eq!((&**plain.names.corrections(), plain.max_bytes), ("CORRECTIONS", None));
    for (namespace, bytes, named) in
        [("Shop", "", "NATS_NAMESPACE"), ("training", "", "NATS_NAMESPACE"), ("", "1MiB", "NATS_MAX_BYTES")]
    {
        let told = read(namespace, bytes).unwrap_err().to_string();
        assert!(told.contains(named) && told.contains("1 problem"), "{told}");
    }
}

#[test]
fn durations_have_bounds_that_the_message_tells() {
    let read = |name: &'static str, value: &'static str| {
        Settings::read(&|asked| (asked == name).then(|| value.to_owned()), None, Needs::default())
    };
    for (name, wrong) in [
        ("SWEEP_EVERY", ["1ms", "2d"]),
        ("NATS_SYNC", ["1us", "2h"]),
        ("TRAIN_MAX_WAIT", ["1ns", "87600h"]),
        ("TRAIN_QUIET", ["999ms", "8761h"]),
        ("TRAIN_COOLDOWN", ["1us", "9999999h"]),
        ("TRAIN_ACK_WAIT", ["1ns", "25h"]),
        ("STOP_DEADLINE", ["1ns", "25h"]),
        ("CHECKPOINT_EVERY", ["1ns", "25h"]),
        ("GATE_QUERY_BUDGET", ["1ns", "2h"]),
    ] {
        for value in wrong.into_iter().chain(["-5s", "9223372036854775807h", "1y 1y", ""]) {
            match read(name, value) {
                Ok(_) => assert!(value.is_empty(), "{name}={value} was accepted"),
                Err(error) => {
                    let told = error.to_string();
                    assert!(told.contains(name) && told.contains("a duration from 1"), "{told}");
                }
            }
        }
        for value in ["5s", "10s", "off", "0"] {
            read(name, value).unwrap();
        }
    }
}

#[test]
fn a_setting_that_is_not_utf_8_is_told_and_not_ignored() {
    use std::os::unix::ffi::OsStrExt;

    let folder = tempfile::tempdir().unwrap();
    for name in ["TRAIN_EPOCHS", "DATA_DIR", "WEBHOOK_SECRET"] {
        let output = Command::new(env!("CARGO_BIN_EXE_autovalidate"))
            .args(["worker", "--print-config"])
            .env_clear()
            .env(name, std::ffi::OsStr::from_bytes(b"secret-\xff\xfe-value"))
            .current_dir(folder.path())
            .output()
            .unwrap();
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{told}");
        assert!(told.contains(&format!("{name} is not UTF-8")) && !told.contains("secret-"), "{told}");
    }
}

#[test]
fn a_secret_that_somebody_could_guess_is_refused_without_being_told() {
    for name in ["WEBHOOK_SECRET", "NATS_TOKEN"] {
        let read = |secret: &'static str| {
            Settings::read(&|asked| (asked == name).then(|| secret.to_owned()), None, Needs::default())
        };
        let told = read("guess me, please").map(drop).and(read("guess me please")).unwrap_err().to_string();
        assert!(told.contains(name) && told.contains("16 characters") && !told.contains("guess"), "{told}");
    }
}

#[test]
fn the_backends_string_metric_is_a_setting() {
    let read = |name: &'static str, value: &'static str| {
        Settings::read(&|asked| (asked == name).then(|| value.to_owned()), None, Needs::default())
    };
    let weighted = read("SERVE_FUZZY_METRIC", "weighted-ratio").unwrap().gate.fuzzy;
    assert_eq!(weighted, FuzzyRule { metric: FuzzyMetric::WeightedRatio, ..FuzzyRule::default() });
    assert_eq!(read("SERVE_FUZZY_THRESHOLD", "88.5").unwrap().gate.fuzzy.threshold, 88.5);
    assert!(!read("SERVE_DASHES_ARE_SPACES", "false").unwrap().gate.fuzzy.dashes_are_spaces);
    for (name, value) in [
        ("SERVE_FUZZY_METRIC", "WRatio"),
        ("SERVE_FUZZY_THRESHOLD", "101"),
        ("SERVE_FUZZY_THRESHOLD", "NaN"),
        ("SERVE_DASHES_ARE_SPACES", "no"),
    ] {
        let told = read(name, value).unwrap_err().to_string();
        assert!(told.contains(name), "{told}");
    }
}
