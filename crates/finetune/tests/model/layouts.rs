//! Zips as people and other tools pack them: we read what Python's `zipfile` reads, and find the
//! model in it.

use std::fs;
use std::path::Path;
use std::process::Command;

use autovalidate_finetune::model::archive::unpack;
use autovalidate_finetune::model::{ModelError, ModelFolder, find_model};
use tempfile::TempDir;

use crate::support;

/// Python that packs the files of the folder `argv[1]` as the layout `argv[2]` into `argv[3]`.
const PACK: &str = r#"
import io, pathlib, sys, zipfile

source, layout, target = pathlib.Path(sys.argv[1]), sys.argv[2], sys.argv[3]
files = {str(path.relative_to(source)): path.read_bytes() for path in sorted(source.rglob("*")) if path.is_file()}
methods = {"stored": zipfile.ZIP_STORED, "bzip2": zipfile.ZIP_BZIP2, "lzma": zipfile.ZIP_LZMA}
top = {"root": "", "dot": "./", "twice": "out/model/", "slash": "/model/"}.get(layout, "model/")
with zipfile.ZipFile(target, "w", methods.get(layout, zipfile.ZIP_DEFLATED)) as packed:
    if layout == "folders":
        packed.writestr(zipfile.ZipInfo("model/"), b"")
        packed.writestr(zipfile.ZipInfo("model/1_Pooling/"), b"")
    if layout == "stale":
        for name in files:
            packed.writestr("./model/" + name, b"an older version")
    for name, content in files.items():
        name = top + name
        if layout == "backslash":
            info = zipfile.ZipInfo("x")
            info.filename = name.replace("/", "\\")
            packed.writestr(info, content)
        elif layout == "zip64":
            with packed.open(zipfile.ZipInfo(name), "w", force_zip64=True) as entry:
                entry.write(content)
        else:
            packed.writestr(name, content)
    if layout == "mac":
        packed.writestr("model/.DS_Store", b"x")
        packed.writestr(".DS_Store", b"x")
        packed.writestr("__MACOSX/model/._modules.json", b"x")
        packed.writestr("__MACOSX/._model", b"x")
    if layout == "readme":
        packed.writestr("README.txt", b"Read me")
        packed.writestr("notes/history.txt", b"Read me, too")
    if layout == "link":
        link = zipfile.ZipInfo("model/link")
        link.external_attr = 0o120777 << 16
        packed.writestr(link, b"/etc")
"#;

fn pack(source: &Path, layout: &str, target: &Path) {
    let mut python = Command::new(support::python());
    let output = python.args(["-c", PACK]).arg(source).arg(layout).arg(target).output().unwrap();
    assert!(output.status.success(), "{layout}: {}", String::from_utf8_lossy(&output.stderr));
}

fn tiny() -> std::path::PathBuf {
    support::workspace().join("crates/finetune/tests/fixtures/tiny")
}

#[test]
fn every_layout_that_python_unpacks_is_read() {
    for layout in [
        "deflated",
        "stored",
        "bzip2",
        "lzma",
        "zip64",
        "root",
        "dot",
        "twice",
        "slash",
        "backslash",
        "folders",
        "mac",
        "readme",
        "link",
        "stale",
    ] {
        let home = TempDir::new().unwrap();
        let zip = home.path().join("live.zip");
        pack(&tiny(), layout, &zip);
        let unpacked =
            unpack(&zip, &home.path().join("in")).unwrap_or_else(|error| panic!("{layout}: {error}"));
        let model = find_model(&unpacked).unwrap_or_else(|error| panic!("{layout}: {error}"));
        ModelFolder::open(&model).unwrap().weights().unwrap();
        for name in ["modules.json", "1_Pooling/config.json", "model.safetensors"] {
            let same = fs::read(model.join(name)).unwrap() == fs::read(tiny().join(name)).unwrap();
            assert!(same, "{name} of {layout}");
        }
        let link = model.join("link");
        assert_eq!(link.symlink_metadata().is_ok_and(|link| link.is_file()), layout == "link");
    }
}

#[test]
fn a_plain_zip_of_a_tool_is_read() {
    let home = TempDir::new().unwrap();
    let zip = home.path().join("live.zip");
    let packed = Command::new(support::python())
        .args(["-m", "zipfile", "-c"])
        .args([&zip, &tiny()])
        .current_dir(home.path())
        .status()
        .unwrap();
    assert!(packed.success());
    let unpacked = unpack(&zip, &home.path().join("in")).unwrap();
    ModelFolder::open(&find_model(&unpacked).unwrap()).unwrap();
}

#[test]
fn the_model_nearest_to_the_top_is_found_and_two_are_told() {
    let home = TempDir::new().unwrap();
    let place = |name: &str, files: &[&str]| {
        fs::create_dir_all(home.path().join(name)).unwrap();
        for file in files {
            fs::write(home.path().join(name).join(file), "{}").unwrap();
        }
    };
    assert!(matches!(find_model(home.path()), Err(ModelError::Unsupported { what: "folder", .. })));
    place("a/b/c", &["modules.json"]);
    place("config", &["config.json"]);
    assert_eq!(find_model(home.path()).unwrap(), home.path().join("a/b/c"));
    place("x/y", &["config.json", "pytorch_model.bin"]);
    assert_eq!(find_model(home.path()).unwrap(), home.path().join("x/y"));
    place("x/z", &["modules.json"]);
    match find_model(home.path()) {
        Err(ModelError::Unsupported { found, .. }) => {
            assert_eq!(found, "several models, such as x/y and x/z")
        }
        other => panic!("{other:?}"),
    }
}
