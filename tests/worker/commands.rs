//! Commands that need no queue: fine-tuning and evaluation with files.

use std::path::Path;
use std::process::{Command, Output};

use crate::support;
use crate::support::{autovalidate, tiny};

fn succeeded(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Returns synthetic corrections in the CSV format of `train --data`.
fn corrections(count: usize) -> String {
    let mut csv = String::from("typo,corrected,domain\n");
    for pair in autovalidate_fakes::demo::corrections(3, count) {
        csv.push_str(&format!("{},{},{}\n", pair.typo, pair.corrected, pair.domain));
    }
    csv
}

fn read_json(folder: &Path, name: &str) -> serde_json::Value {
    serde_json::from_slice(&std::fs::read(folder.join(name)).unwrap()).unwrap()
}

#[test]
fn early_stop_is_steered_by_questions_that_do_not_judge() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("pairs.csv"), corrections(400)).unwrap();
    let train = "train --data pairs.csv --out model --report report.json --epochs 3 --batch-size 32 --learning-rate 5e-3 \
                 --variants 0 --label-smoothing 0 --early-stop loss --patience 2 --assess-every 3 --dropout";
    let told = succeeded(&autovalidate(folder.path(), &train.split_whitespace().collect::<Vec<_>>()));
    assert!(told.contains("kept the parameters of step "), "{told}");
    let report = read_json(folder.path(), "report.json");
    let (steering, judging) = (&report["study"]["steering"], &report["report"]["held_out"]["all"]["after"]);
    let asked = judging["overall"]["queries"].as_u64().unwrap() + steering.as_u64().unwrap();
    let held_out: u64 = ["new_typos", "unseen_corrections", "newest"]
        .iter()
        .map(|side| report["dataset"][side].as_u64().unwrap())
        .sum();
    assert!(steering.as_u64() >= Some(10), "{steering}");
    assert_eq!(asked, held_out, "each query has one use: {report}");
    let training = &report["training"];
    let assessed = training["assessments"].as_array().unwrap();
    let score = |each: &serde_json::Value| each["score"].as_f64().unwrap();
    let best = assessed.iter().max_by(|a, b| score(a).total_cmp(&score(b))).unwrap();
    assert_eq!(best["step"], training["best_step"]);
    assert!(score(&assessed[0]) < score(best) && score(best) < 0.0, "{assessed:?}");
}

#[test]
fn names_that_the_model_cannot_tell_apart_or_see_whole_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let mut csv = corrections(100);
    // The model's vocabulary has no Chinese character, so two names of two characters are equal to it.
    for (typo, name) in [("honda", "\u{672c}\u{7530}"), ("toyota", "\u{4e30}\u{7530}")] {
        csv.push_str(&format!("{typo},{name},chinese\n"));
    }
    csv.push_str(&format!("long,{},lengthy\n", "verylong".repeat(10)));
    std::fs::write(folder.path().join("pairs.csv"), csv).unwrap();
    let train = "train --data pairs.csv --out model --report report.json --epochs 1 --variants 0";
    let told = succeeded(&autovalidate(folder.path(), &train.split_whitespace().collect::<Vec<_>>()));
    let coverage = &read_json(folder.path(), "report.json")["study"]["name_coverage"];
    let count = |field: &str| coverage[field].as_u64().unwrap();
    // The vocabulary lacks most digits, too, so some names of the demo's cars are equal to it.
    let alike = count("alike");
    assert!((2..=5).contains(&alike), "{coverage}");
    let rows: Vec<u64> = serde_json::from_value(coverage["alike_rows"].clone()).unwrap();
    assert!(rows.contains(&101) && rows.contains(&102), "{coverage}");
    assert_eq!((count("cut"), &coverage["cut_rows"]), (1, &serde_json::json!([103])), "{coverage}");
    assert!(told.contains(&format!("{alike} of")) && told.contains("can't tell them apart"), "{told}");
    assert!(told.contains("1 of") && told.contains("are cut"), "{told}");
    assert!(!told.contains('\u{7530}'), "no name is shown: {told}");
}

#[test]
fn pairs_that_have_too_few_hard_negatives_are_counted() {
    let folder = tempfile::tempdir().unwrap();
    let mut csv = corrections(150);
    // This domain has a single name, so it has no hard negatives. The hash of the hold-out leaves
    // at least one of the ten typos to training.
    for letter in 'a'..='j' {
        csv.push_str(&format!("silverr{letter},silver,color\n"));
    }
    std::fs::write(folder.path().join("pairs.csv"), csv).unwrap();
    let told_of = |negatives: &str| {
        let out = format!("model-{negatives}");
        let report = format!("report-{negatives}.json");
        let train = format!(
            "train --data pairs.csv --out {out} --report {report} --epochs 1 --variants 0 --hard-negatives {negatives}"
        );
        let told = succeeded(&autovalidate(folder.path(), &train.split_whitespace().collect::<Vec<_>>()));
        let report = read_json(folder.path(), &report);
        (told, report["study"]["short_of_negatives"].as_u64().unwrap())
    };
    let (told, short) = told_of("1");
    assert!((1..=10).contains(&short), "{short}");
    assert!(told.contains(&format!("{short} pairs of an epoch have fewer hard negatives")), "{told}");
    let (told, short) = told_of("0");
    assert_eq!(short, 0, "none were requested");
    assert!(!told.contains("fewer hard negatives"), "{told}");
}

#[test]
fn a_fault_that_is_none_is_a_wrong_argument() {
    let folder = tempfile::tempdir().unwrap();
    for (fault, problem) in [("nope", "no such fault"), ("nope=3", "no such fault")] {
        let refused = autovalidate(folder.path(), &["dev", "--fault", fault]);
        let told = String::from_utf8_lossy(&refused.stderr);
        assert_eq!(refused.status.code(), Some(2), "{told}");
        assert!(told.contains(problem) && told.contains("--fault help"), "{told}");
    }
    let help = succeeded(&autovalidate(folder.path(), &["dev", "--fault", "help"]));
    assert!(help.lines().count() > 3, "{help}");
}

#[test]
fn onnx_runtime_leaves_no_trace_of_its_reports() {
    let (folder, home) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    std::fs::write(folder.path().join("pairs.csv"), corrections(20)).unwrap();
    for asked_to_report in [None, Some("0")] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_autovalidate"));
        command
            .args(["suggest", "audii", "--names", "pairs.csv", "--model", "base"])
            .current_dir(folder.path())
            .env_clear()
            .env("HOME", home.path())
            .env("ORT_DYLIB_PATH", support::onnxruntime())
            .env("BASE_MODEL", tiny())
            .envs(asked_to_report.map(|value| ("ORT_DISABLE_TELEMETRY", value)));
        succeeded(&command.output().unwrap());
        // With telemetry on, ONNX Runtime stores an identifier and unsent events under
        // `.cache/Microsoft`.
        let left: Vec<_> = std::fs::read_dir(home.path()).unwrap().collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

#[test]
fn a_file_of_corrections_becomes_a_model_that_suggests_and_is_compared() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("pairs.csv"), corrections(150)).unwrap();
    let train = [
        "train",
        "--data",
        "pairs.csv",
        "--out",
        "model",
        "--zip",
        "model.zip",
        "--report",
        "report.json",
        "--epochs",
        "2",
        "--batch-size",
        "32",
        "--learning-rate",
        "5e-3",
        "--variants",
        "3",
    ];
    let told = succeeded(&autovalidate(folder.path(), &train));
    assert!(told.contains("150 rows") && told.contains("verdict: "), "{told}");
    for file in ["model/model.safetensors", "model/onnx/model.onnx", "model/modules.json", "model.zip"] {
        assert!(folder.path().join(file).exists(), "{file} is missing");
    }
    let report = read_json(folder.path(), "report.json");
    let losses = report["training"]["epoch_losses"].as_array().unwrap();
    assert!(losses[1].as_f64() < losses[0].as_f64(), "{losses:?}");

    // A second run does not overwrite existing files.
    let again = autovalidate(folder.path(), &train);
    assert_eq!(again.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&again.stderr).contains("already exists"));

    let compared = succeeded(&autovalidate(
        folder.path(),
        &["evaluate", "--data", "pairs.csv", "--model", "model", "--json"],
    ));
    let compared: serde_json::Value = serde_json::from_str(&compared).unwrap();
    assert_eq!(
        compared["held_out"], report["report"]["held_out"],
        "the written folder scores like the trained model"
    );

    let suggested = succeeded(&autovalidate(
        folder.path(),
        &["suggest", "audii", "--names", "pairs.csv", "--model", "model", "--top", "3", "--json"],
    ));
    let suggested: serde_json::Value = serde_json::from_str(&suggested).unwrap();
    let answers: Vec<(&str, usize)> = suggested
        .as_array()
        .unwrap()
        .iter()
        .map(|answer| (answer["by"].as_str().unwrap(), answer["names"].as_array().unwrap().len()))
        .collect();
    assert_eq!(answers, [("fuzzy ratio", 3), ("model", 3)]);
}

#[test]
fn a_wrong_file_is_told_by_line() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("pairs.csv"), "typo,corrected,domain\na,b\n").unwrap();
    let output = autovalidate(folder.path(), &["train", "--data", "pairs.csv", "--out", "model"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("line 2 of pairs.csv"));
    assert!(!folder.path().join("model").exists());
}

#[test]
fn a_reader_that_goes_away_makes_nothing_panic() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = Command::new(env!("CARGO_BIN_EXE_autovalidate"))
        .args(["init", "--print"])
        .env_clear()
        .stdout(writer)
        .output();
    let output = output.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}
