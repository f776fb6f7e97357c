//! The artifacts as files: the committed files equal the code's output, and ONNX's own checker
//! accepts them all.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use autovalidate_finetune::model::{DropoutRates, ModelFolder};
use autovalidate_finetune::onnx::{
    ArtifactSet, ArtifactSettings, GraphForm, Manifest, parameters, resident_optimizer_model,
    resident_sum_model, seeded_model, training_model,
};
use autovalidate_finetune::train::{AdamW, Recipe, exported};

use super::reference::{TINY, fixture};
use crate::support;

fn set(folder: &ModelFolder) -> ArtifactSet {
    ArtifactSet::new(&folder.config, folder.head, ArtifactSettings::default())
}

/// To update the files after a change of the graphs, run
/// `autovalidate artifacts --model .local/models/all-MiniLM-L6-v2 --out onnx`.
#[test]
fn committed_artifacts_are_what_the_code_writes() {
    let folder = support::workspace().join("onnx");
    let set = set(&ModelFolder::open(&support::minilm()).unwrap());
    for (name, bytes) in set.files().unwrap() {
        let committed = fs::read(folder.join(name)).unwrap();
        assert!(committed == bytes, "onnx/{name} is not what the code writes: run `autovalidate artifacts`");
    }
}

#[test]
fn the_settings_are_those_of_a_run() {
    let (recipe, optimizer) = (Recipe::default(), AdamW::with_decay(0.0));
    let AdamW { beta_1, beta_2, epsilon, .. } = optimizer;
    let of_a_run = ArtifactSettings { loss: recipe.loss, scale: recipe.scale, beta_1, beta_2, epsilon };
    assert_eq!(ArtifactSettings::default(), of_a_run);
}

#[test]
fn a_manifest_reads_back() {
    for tiny in TINY {
        let folder = ModelFolder::open(&fixture(tiny)).unwrap();
        let home = tempfile::tempdir().unwrap();
        set(&folder).write(&home.path().join("new")).unwrap();
        let bytes = fs::read(home.path().join("new/manifest.json")).unwrap();
        let manifest: Manifest = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(manifest.parameters, parameters(&folder.config));
        assert_eq!((manifest.architecture, manifest.head), (folder.config.architecture, folder.head));
    }
}

/// Returns the graphs in standard operators that are not artifacts: those of a run whose parameters
/// stay on a device.
fn internal(folder: &ModelFolder) -> [(&'static str, Vec<u8>); 4] {
    let (config, pooling) = (&folder.config, folder.head.pooling);
    let (recipe, off) = (Recipe::default(), DropoutRates::OFF);
    [
        ("resident.onnx", training_model(GraphForm::Resident, config, pooling, recipe.ranking(), off)),
        ("resident_seeded.onnx", seeded_model(GraphForm::Resident, config, pooling, off)),
        ("resident_sum.onnx", resident_sum_model(config)),
        ("resident_optimizer.onnx", resident_optimizer_model(config, [0.9, 0.999, 1e-8], 1.0)),
    ]
}

/// Python program that prints the operator sets of each file that the checker accepts, one line per
/// file.
const CHECK: &str = "
import sys, onnx
for path in sys.argv[1:]:
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=False)
    print(','.join(sorted(opset.domain or 'ai.onnx' for opset in model.opset_import)))
";

fn check(files: &[PathBuf]) -> Vec<String> {
    let output = Command::new(support::python()).args(["-c", CHECK]).args(files).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn the_onnx_checker_accepts_every_artifact() {
    let home = tempfile::tempdir().unwrap();
    let (mut graphs, mut models) = (Vec::new(), Vec::new());
    for tiny in TINY {
        let folder = ModelFolder::open(&fixture(tiny)).unwrap();
        let to = home.path().join(tiny);
        set(&folder).write(&to).unwrap();
        let within = |name: &str| -> PathBuf { Path::new(&to).join(name) };
        graphs.extend(["training_model.onnx", "eval_model.onnx", "optimizer_model.onnx"].map(within));
        for (name, bytes) in internal(&folder) {
            fs::write(to.join(name), bytes).unwrap();
            graphs.push(to.join(name));
        }
        fs::write(to.join("model.onnx"), exported(&folder).unwrap()).unwrap();
        models.push(to.join("model.onnx"));
    }
    assert_eq!(check(&graphs).len(), graphs.len());
    // Any ONNX runtime can load a published model: it has only operators of the standard.
    assert_eq!(check(&models), vec!["ai.onnx"; models.len()]);
}

#[test]
fn the_onnx_checker_refuses_a_broken_graph() {
    let home = tempfile::tempdir().unwrap();
    let folder = ModelFolder::open(&fixture("tiny")).unwrap();
    let mut bytes = set(&folder).optimizer;
    let at = bytes.windows(4).position(|name| name == b"Sqrt").unwrap();
    bytes[at..at + 4].copy_from_slice(b"Sqrx");
    let path = home.path().join("broken.onnx");
    fs::write(&path, bytes).unwrap();
    let status = Command::new(support::python()).args(["-c", CHECK]).arg(&path).output().unwrap().status;
    assert!(!status.success());
}
