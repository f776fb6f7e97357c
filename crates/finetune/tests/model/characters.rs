//! Tokenization by characters: the change of a folder's tokenizer, and its saved copies.

use std::fs;

use autovalidate_finetune::model::{ModelFolder, Tokenizer};

use super::variants::describe;
use crate::train::reference::{TINY, fixture};

const PHRASES: [&str; 2] = [" Car Brand: ", " model "];

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

/// Saves a folder without its weights, and returns its settings of the tokenizer.
fn saved_settings(folder: &ModelFolder) -> serde_json::Value {
    let home = tempfile::tempdir().unwrap();
    folder.copy_description(home.path()).unwrap();
    serde_json::from_slice(&fs::read(home.path().join("tokenizer_config.json")).unwrap()).unwrap()
}

#[test]
fn the_special_tokens_of_the_class_are_written_where_no_file_names_them() {
    for tiny in ["tiny", "tiny-distilbert"] {
        let home = describe(&fixture(tiny));
        for file in ["tokenizer_config.json", "special_tokens_map.json"] {
            fs::remove_file(home.path().join(file)).ok();
        }
        let folder = ModelFolder::open(home.path()).unwrap().in_characters(phrases());
        // The plain class can't pad, and so not encode two texts, without this token.
        assert_eq!(saved_settings(&folder)["pad_token"], "[PAD]", "{tiny}");
    }
}

#[test]
fn a_split_for_other_phrases_gets_the_new_ones_as_well() {
    let first = ModelFolder::open(&fixture("tiny")).unwrap().in_characters(phrases());
    let home = tempfile::tempdir().unwrap();
    first.copy_description(home.path()).unwrap();
    fs::copy(fixture("tiny").join("model.safetensors"), home.path().join("model.safetensors")).unwrap();
    let saved = ModelFolder::open(home.path()).unwrap();
    let same = saved.clone().in_characters(phrases()).tokenizer().unwrap();
    let more = saved.clone().in_characters(vec![" brand ".to_owned()]).tokenizer().unwrap();
    let saved = saved.tokenizer().unwrap();
    for text in ["car brand: toyta", "model x"] {
        assert_eq!(ids(&same, text), ids(&saved, text));
        assert_eq!(ids(&more, text), ids(&saved, text), "the phrases that the model knows stay");
    }
    assert_eq!(ids(&saved, "brand x").len(), 8, "five letters, one more, and two special tokens");
    assert_eq!(ids(&more, "brand x").len(), 4);
}

#[test]
fn a_name_may_follow_a_phrase_at_once_where_the_template_says_so() {
    let folder = ModelFolder::open(&fixture("tiny")).unwrap();
    let length = |phrase: &str, text: &str| {
        ids(&folder.clone().in_characters(vec![phrase.to_owned()]).tokenizer().unwrap(), text).len()
    };
    assert_eq!(length(" model", "modelx"), 4, "the phrase, a letter and two special tokens");
    assert_eq!(length(" model ", "modelx"), 8);
    assert_eq!(length("model ", "xmodel"), 4);
    assert_eq!(length(" model ", "xmodel"), 8);
}

#[test]
fn the_default_prompt_stays_whole_and_phrases_are_lower_cased_with_the_texts() {
    let home = describe(&fixture("tiny"));
    let prompts = r#"{ "prompts": { "query": "car model: " }, "default_prompt_name": "query" }"#;
    fs::write(home.path().join("config_sentence_transformers.json"), prompts).unwrap();
    let folder = ModelFolder::open(home.path()).unwrap().in_characters(Vec::new());
    assert_eq!(
        ids(&folder.tokenizer().unwrap(), "x").len(),
        6,
        "three of the prompt, one letter, two special"
    );

    let home = describe(&fixture("tiny"));
    let sentence = r#"{ "max_seq_length": 32, "do_lower_case": true }"#;
    fs::write(home.path().join("sentence_bert_config.json"), sentence).unwrap();
    let tokenizer: serde_json::Value =
        serde_json::from_slice(&fs::read(home.path().join("tokenizer.json")).unwrap()).unwrap();
    let mut cased = tokenizer;
    cased["normalizer"]["lowercase"] = false.into();
    fs::write(home.path().join("tokenizer.json"), cased.to_string()).unwrap();
    let settings =
        r#"{ "tokenizer_class": "BertTokenizer", "do_lower_case": false, "strip_accents": false }"#;
    fs::write(home.path().join("tokenizer_config.json"), settings).unwrap();
    let folder = ModelFolder::open(home.path()).unwrap().in_characters(vec![" Car Model: ".to_owned()]);
    assert_eq!(ids(&folder.tokenizer().unwrap(), "Car Model: X").len(), 6);
}
