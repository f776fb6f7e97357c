//! The report: groups, slices, and the table.

use autovalidate::evaluate::{GatePolicy, Report, Side, Verdict};

use super::{brands, query};

/// Returns queries with these ratios: "oudi" 75 to Audi; "bxx" 33 to BMW; "fxrx" 50 to Ford, 25 to
/// Fiat; "xxxx" 0 to all.
fn report() -> Report {
    let queries = [
        query("brand", "oudi", "Audi", Side::NewTypo),
        query("brand", "bxx", "BMW", Side::NewTypo),
        query("brand", "fxrx", "Fiat", Side::UnseenCorrection),
        query("brand", "xxxx", "Ford", Side::UnseenCorrection),
    ];
    let before = [Some(2), Some(1), Some(4), Some(4)];
    let after = [Some(3), Some(1), Some(1), Some(2)];
    Report::new(&queries, &brands(), &before, &after, &GatePolicy::default())
}

#[test]
fn groups_and_slices_hold_the_right_queries() {
    let report = report();
    assert_eq!(report.catalog, 4);
    let queries = |group: &autovalidate::evaluate::Group| {
        (group.all.after.overall.queries, group.slice.after.overall.queries)
    };
    assert_eq!(queries(&report.held_out), (4, 3));
    assert_eq!(queries(&report.new_typo), (2, 1));
    assert_eq!(queries(&report.unseen_correction), (2, 2));
}

#[test]
fn the_figures_are_those_computed_by_hand() {
    let report = report();
    let all = &report.held_out.all;
    // Fuzzy ranks: Audi 1, BMW 1, Fiat 2, Ford 4 (all ratios are 0, so catalog order decides).
    assert_eq!(all.fuzzy.overall.accuracy_at_1, 0.5);
    assert_eq!(all.fuzzy.overall.mrr_at_10, (1.0 + 1.0 + 0.5 + 0.25) / 4.0);
    assert_eq!(all.before.overall.accuracy_at_1, 0.25);
    assert_eq!(all.after.overall.accuracy_at_1, 0.5);
    assert_eq!(all.after.overall.recall_at_3, 1.0);
    assert_eq!(report.held_out.slice.before.overall.accuracy_at_1, 1.0 / 3.0);
    assert_eq!(report.held_out.slice.after.overall.accuracy_at_1, 2.0 / 3.0);
    // "oudi" is answered by the fuzzy matcher, and correctly. Of the other three, the model answers
    // one correctly before training and two after.
    assert_eq!((report.held_out.end_to_end.before, report.held_out.end_to_end.after), (0.5, 0.75));
    assert_eq!(report.gate.verdict, Verdict::CannotTell);
}

#[test]
fn a_report_survives_its_way_through_the_receipt() {
    let report = report();
    let json = serde_json::to_string(&report).unwrap();
    assert_eq!(serde_json::from_str::<Report>(&json).unwrap(), report);
    for text in ["oudi", "fxrx", "Ford"] {
        assert!(!json.contains(text), "the report holds no text of a pair");
    }
}

#[test]
fn the_table_fits_a_screen_and_its_columns_line_up() {
    let table = report().to_string();
    let lines: Vec<&str> = table.lines().collect();
    assert!(lines.len() <= 24, "{table}");
    assert!(lines.iter().all(|line| line.chars().count() <= 112), "{table}");
    let rows = &lines[1..8];
    assert!(rows.iter().all(|row| row.chars().count() == rows[0].chars().count()), "{table}");
    assert!(table.contains("verdict: cannot tell") && table.contains("4?"), "{table}");
    let empty = Report::new(&[], &brands(), &[], &[], &GatePolicy::default()).to_string();
    assert!(!empty.contains("NaN"), "{empty}");
}
