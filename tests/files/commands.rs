//! Commands on files of rows: their notes, their closing line, their exit codes.

use serde_json::{Value, json};

use crate::support::{autovalidate, tiny};

const EMPTY: &str = "Typo;Corrected;Domain\r\n";
const ROWS: &str = "ID;Typo;Corrected;Domain\r\n1;toyta;Toyota;brand\r\n1;hnda;Honda;\r\n1;;Kia;brand\r\n\
                    1;Audi;audi;brand\r\n1;xdai;Hyundai;trim\r\n";

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn an_evaluation_of_nothing_publishes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let model = tiny().to_string_lossy().into_owned();
    for rows in [EMPTY, ROWS] {
        std::fs::write(folder.path().join("rows.csv"), rows).unwrap();
        let evaluate = ["evaluate", "--data", "rows.csv", "--model", &model];
        let told = autovalidate(folder.path(), &evaluate);
        let out = text(&told.stdout);
        assert_eq!(told.status.code(), Some(3), "{out}{}", text(&told.stderr));
        assert!(!out.contains("may be published") && out.contains("nothing was compared"), "{out}");
    }
}

#[test]
fn rows_add_up_in_the_closing_line_and_in_json() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("one.csv"), ROWS).unwrap();
    let lines = "{\"typo\":\"tesl\",\"corrected\":\"Tesla\",\"domain\":\"brand\"}\n";
    std::fs::write(folder.path().join("two.jsonl"), lines).unwrap();
    let model = tiny().to_string_lossy().into_owned();
    let evaluate = ["evaluate", "--data", "one.csv", "two.jsonl", "--model", &model];
    let told = autovalidate(folder.path(), &evaluate);
    let notes = text(&told.stderr);
    assert!(notes.contains("earlier row: 4, the first at line 3 of one.csv"), "{notes}");
    assert!(notes.contains("template: 2 (1 without a domain, 1 of \"trim\")"), "{notes}");
    let out = text(&told.stdout);
    let closing = out.lines().last().unwrap();
    assert!(closing.starts_with("rows: 6 read, 2 refused (empty 1, unchanged 1), 0 outvoted"), "{closing}");

    let told = autovalidate(folder.path(), &[&evaluate[..], &["--json"]].concat());
    let rows = serde_json::from_slice::<Value>(&told.stdout).unwrap()["rows"].clone();
    assert_eq!(rows["refused"], json!({"empty": 1, "unchanged": 1}));
    let count = |name: &str| rows[name].as_u64().unwrap();
    let others = ["outvoted", "undecided", "repeated", "trained_on", "held_out"].map(count);
    assert_eq!((count("read"), others.iter().sum::<u64>()), (6, 4), "{rows}");
}

#[test]
fn a_file_that_cannot_be_read_is_named_with_its_line_and_remedy() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("rows.csv"), "typo,corrected\nfine,Fine\nsecret\n").unwrap();
    let model = tiny().to_string_lossy().into_owned();
    let train = ["train", "--data", "rows.csv", "--base", &model, "--out", "out"];
    let suggest = ["suggest", "toyta", "--names", "rows.csv"];
    for arguments in [&train[..], &["evaluate", "--data", "rows.csv", "--model", &model], &suggest] {
        let told = autovalidate(folder.path(), arguments);
        let errors = text(&told.stderr);
        assert_eq!(told.status.code(), Some(1), "{errors}");
        assert!(
            errors.contains("line 3 of rows.csv") && errors.contains("what to do: Put a text"),
            "{errors}"
        );
        assert!(!errors.contains("secret"), "{errors}");
    }
}
