//! Answers of the Hub, which whoever controls the repo chooses.

use std::collections::BTreeMap;
use std::path::Path;

use autovalidate::hub::{CardOrigin, Index, ReleaseName, Stamp, fuzzing};
use autovalidate::report::{RunReport, page};
use autovalidate::run::{Receipt, ReplaySpec, numbers_of, trace_pair};
use jiff::Timestamp;

/// Reads the input as a page of a listing: the header with the next page's address in the first line, and
/// then the body.
pub(crate) fn listing(input: &[u8]) {
    let end = input.iter().position(|byte| *byte == b'\n').unwrap_or_default();
    let (link, body) = input.split_at(end);
    let page = fuzzing::listing(link, body);
    let now = Timestamp::constant(1_790_000_000, 0);
    if let Some(stamp) = Stamp::next(now, &page.releases) {
        let next = ReleaseName::from(stamp);
        assert!(page.releases.iter().all(|name| *name < next), "{next} is not the newest");
        assert!(page.releases.iter().all(|name| name.version() != next.version()), "{next} is cached");
    }
    for name in &page.releases {
        assert_eq!(ReleaseName::from_path(&name.path()).as_ref(), Some(name));
        assert_eq!(Path::new(name.as_str()).components().count(), 1, "{name} is no file name");
    }
    for path in &page.files_of_model {
        let inside = |part| matches!(part, std::path::Component::Normal(_));
        assert!(Path::new(path).components().all(inside), "{path:?} leads outside");
    }
}

/// Reads the input as `models/index.json`. An index that is read must be the same after it was written.
pub(crate) fn index(input: &[u8]) {
    if let Ok(index) = Index::read(input) {
        let written = index.to_json();
        assert_eq!(Index::read(written.as_bytes()).as_ref().ok(), Some(&index), "{written}");
    }
}

/// Reads the input as a receipt, in every way in which receipts are read.
pub(crate) fn receipt(input: &[u8]) {
    let receipts = BTreeMap::from([("20260101000000".to_owned(), input.to_vec().into())]);
    for pair in [7, i64::MAX, i64::MIN + 7] {
        let _ = (numbers_of(pair, &receipts), trace_pair(pair, &[], &receipts));
    }
    let _ = ReplaySpec::of_receipt(input);
    if let Ok(receipt) = serde_json::from_slice::<Receipt>(input) {
        let written = serde_json::to_vec(&receipt).expect("JSON");
        assert_eq!(serde_json::from_slice::<Receipt>(&written).expect("a receipt"), receipt);
    }
    if let Ok(report) = RunReport::from_json(input) {
        let text = report.to_string();
        let is_control = |letter: char| letter.is_control() && letter != '\n';
        assert!(!text.contains(is_control), "{text:?}");
        assert!(page(&report).ends_with("</html>\n"));
    }
}

/// Reads the input as the model card of a base model and of the repo.
pub(crate) fn card(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let _ = CardOrigin::read(text);
    let merged = fuzzing::merged_card(text);
    assert_eq!(fuzzing::merged_card(&merged), merged, "a second release changes more than our part");
}
