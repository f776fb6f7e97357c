//! Files that no model needs, and settings that name code: neither is followed, and none of it reaches
//! a saved copy.

use std::fs;
use std::path::{Path, PathBuf};

use autovalidate_finetune::model::{ModelError, ModelFolder};
use serde_json::{Value, json};

use super::variants::with_type;

fn tiny(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

fn alter(path: &Path, change: impl FnOnce(&mut Value)) {
    let mut json = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    change(&mut json);
    fs::write(path, json.to_string()).unwrap();
}

/// Opens a tiny model whose first module has this type.
fn with_first_module(kind: &str) -> Result<ModelFolder, ModelError> {
    let home = with_type(&tiny("tiny"), safetensors::Dtype::F32);
    alter(&home.path().join("modules.json"), |modules| modules[0]["type"] = kind.into());
    ModelFolder::open(home.path())
}

#[test]
fn a_module_is_known_by_its_full_name_alone() {
    for kind in [
        "sentence_transformers.models.Transformer",
        "sentence_transformers.base.modules.transformer.Transformer",
    ] {
        with_first_module(kind).unwrap();
    }
    for kind in [
        "evilmod.Transformer",
        "Transformer",
        "sentence_transformers.Transformer",
        "sentence_transformers.evilmod.Transformer",
        "sentence_transformers.models.evilmod.Transformer",
        "sentence_transformers.models.Transformer.Transformer",
        "sentence_transformersx.models.Transformer",
        "sentence_transformers.models.Transformer ",
    ] {
        match with_first_module(kind) {
            Err(ModelError::Unsupported { what: "module list", found, .. }) => {
                assert!(found.contains("at position 0"), "{found}");
            }
            other => panic!("{kind}: {other:?}"),
        }
    }
}

#[test]
fn a_folder_that_names_code_is_refused() {
    for (file, value) in [
        ("config.json", json!({ "AutoModel": "modeling_evil.EvilModel" })),
        ("config.json", json!({ "AutoModel": "someone/evil--modeling.EvilModel" })),
        ("tokenizer_config.json", json!({ "AutoTokenizer": ["evil.Tokenizer", null] })),
    ] {
        let home = with_type(&tiny("tiny"), safetensors::Dtype::F32);
        alter(&home.path().join(file), |config| config["auto_map"] = value);
        let opened = ModelFolder::open(home.path());
        assert!(matches!(opened, Err(ModelError::Unsupported { .. })), "{file}: {opened:?}");
    }
    let home = with_type(&tiny("tiny"), safetensors::Dtype::F32);
    alter(&home.path().join("config.json"), |config| config["auto_map"] = json!({}));
    ModelFolder::open(home.path()).unwrap();
}

/// Returns the paths of the files below a folder, in order.
fn files(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        match path.is_dir() {
            true => found.extend(files(&path).into_iter().map(|below| format!("{name}/{below}"))),
            false => found.push(name),
        }
    }
    found.sort();
    found
}

#[test]
fn a_copy_has_the_listed_files_alone_and_the_others_are_told() {
    for name in ["tiny", "tiny-roberta", "tiny-mpnet"] {
        let home = with_type(&tiny(name), safetensors::Dtype::F32);
        let opened = ModelFolder::open(home.path()).unwrap();
        assert_eq!(opened.unlisted_files(), Vec::<String>::new(), "{name}");
        let known = tempfile::tempdir().unwrap();
        opened.copy_description(known.path()).unwrap();
        let described = files(&tiny(name)).into_iter().filter(|path| path != "model.safetensors");
        assert_eq!(files(known.path()), described.collect::<Vec<_>>(), "{name}");

        for (path, text) in [
            ("evilmod.py", "import os"),
            ("1_Pooling/evil.py", "import os"),
            ("scripts/train/run.sh", "rm -r /"),
            ("evil\u{1b}[2J.so", "x"),
            ("LICENSE", "Apache"),
            ("README.md", "# Model"),
            ("optimizer.pt", "x"),
            (".hidden/evil.py", "import os"),
        ] {
            fs::create_dir_all(home.path().join(path).parent().unwrap()).unwrap();
            fs::write(home.path().join(path), text).unwrap();
        }
        std::os::unix::fs::symlink("/etc/hostname", home.path().join("vocab.txt")).unwrap();
        let opened = ModelFolder::open(home.path()).unwrap();
        let unlisted = [
            ".hidden/evil.py",
            "1_Pooling/evil.py",
            "README.md",
            "evil\u{1b}[2J.so",
            "evilmod.py",
            "optimizer.pt",
            "scripts/train/run.sh",
        ];
        assert_eq!(opened.unlisted_files(), unlisted, "{name}");
        let remarks = opened.remarks().join("\n");
        assert!(remarks.contains("evilmod.py") && remarks.contains("scripts/train/run.sh"), "{remarks}");
        assert!(!remarks.contains(['\u{1b}', '\n']), "{remarks:?}");
        assert!(!["README", "optimizer", ".hidden"].iter().any(|usual| remarks.contains(usual)), "{remarks}");

        let copy = tempfile::tempdir().unwrap();
        opened.copy_description(copy.path()).unwrap();
        let mut expected = files(known.path());
        expected.push("LICENSE".to_owned());
        expected.sort();
        assert_eq!(files(copy.path()), expected, "{name}");
    }
}
