//! Tokenization by characters: the change of a folder's tokenizer, and its saved copies.

use std::fs;

use autovalidate_finetune::model::{ModelFolder, Tokenizer};

use crate::train::reference::{TINY, fixture};

const PHRASES: [&str; 2] = ["Car Brand:", "model"];

fn phrases() -> Vec<String> {
    PHRASES.map(str::to_owned).to_vec()
}

fn ids(tokenizer: &Tokenizer, text: &str) -> Vec<u32> {
    tokenizer.encode(&[text]).unwrap().texts.remove(0)
}

#[test]
fn names_become_characters_and_phrases_stay_whole() {
    for tiny in TINY {
        let folder = ModelFolder::open(&fixture(tiny)).unwrap();
        let pieces = folder.tokenizer().unwrap();
        assert!(!folder.is_in_characters().unwrap());
        let characters = folder.in_characters(phrases()).tokenizer().unwrap();
        // The same characters as words of their own, so that no word piece goes on.
        let spelled = |phrase: &str, name: &str| {
            let spaced: Vec<String> =
                name.split_whitespace().flat_map(str::chars).map(String::from).collect();
            ids(&pieces, &format!("{phrase} {}", spaced.join(" ")))
        };
        assert_eq!(ids(&characters, "car brand: toy3"), spelled("car brand:", "toy3"), "{tiny}");
        assert_eq!(ids(&characters, "car  brand: Land rover"), spelled("", "carbrand:landrover"), "{tiny}");
        assert_eq!(ids(&characters, "model x"), spelled("model", "x"), "{tiny}");
        assert_eq!(
            ids(&characters, "models"),
            spelled("", "models"),
            "{tiny}: a phrase is no part of a word"
        );
        assert_eq!(ids(&characters, "\u{e9}t\u{e9}"), spelled("", "ete"), "{tiny}: accents go as before");
    }
}

#[test]
fn a_saved_copy_has_the_same_tokenizer_in_its_files() {
    for tiny in TINY {
        let changed = ModelFolder::open(&fixture(tiny)).unwrap().in_characters(phrases());
        let home = tempfile::tempdir().unwrap();
        changed.copy_description(home.path()).unwrap();
        fs::copy(fixture(tiny).join("model.safetensors"), home.path().join("model.safetensors")).unwrap();
        let saved = ModelFolder::open(home.path()).unwrap();
        assert!(saved.is_in_characters().unwrap() && changed.is_in_characters().unwrap());
        for text in ["car brand: toyta", "model: land-rover 3", ""] {
            let [before, after] = [&changed, &saved].map(|folder| ids(&folder.tokenizer().unwrap(), text));
            assert_eq!(before, after, "{tiny}: {text}");
        }
        // A copy of the copy doesn't change any more.
        let again = tempfile::tempdir().unwrap();
        saved.copy_description(again.path()).unwrap();
        for file in ["tokenizer.json", "tokenizer_config.json"] {
            let [one, other] = [home.path(), again.path()].map(|folder| fs::read(folder.join(file)).unwrap());
            assert_eq!(one, other, "{tiny}: {file}");
        }
        let settings: serde_json::Value =
            serde_json::from_slice(&fs::read(home.path().join("tokenizer_config.json")).unwrap()).unwrap();
        assert_eq!(settings["tokenizer_class"], "PreTrainedTokenizerFast", "{tiny}");
        let asks =
            settings["model_input_names"].as_array().unwrap().iter().any(|name| name == "token_type_ids");
        assert_eq!(asks, tiny == "tiny", "{tiny}: only BERT has token types");
    }
}
