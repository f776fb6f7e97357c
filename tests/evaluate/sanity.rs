//! Is what a model gives an embedding at all?

use std::time::Duration;

use autovalidate::evaluate::{Defect, Sanity};
use ndarray::array;

fn seconds(before: f64, after: f64) -> Option<(Duration, Duration)> {
    Some((Duration::from_secs_f64(before), Duration::from_secs_f64(after)))
}

#[test]
fn unit_rows_in_good_time_are_sane() {
    let sanity = Sanity::check(array![[0.6, 0.8], [1.0, 0.0]].view(), true, seconds(1.0, 1.2));
    assert!(sanity.is_sane(), "{sanity:?}");
    assert_eq!((sanity.embeddings, sanity.slowdown), (2, Some(1.2)));
}

#[test]
fn what_is_no_number_is_found() {
    let rows = array![[f32::NAN, 0.0], [f32::INFINITY, 0.0], [1.0, 0.0]];
    let sanity = Sanity::check(rows.view(), true, None);
    assert_eq!(sanity.defects, [Defect::NotFinite { embeddings: 2 }]);
}

#[test]
fn a_length_other_than_one_matters_only_where_the_folder_normalises() {
    let rows = array![[0.0, 0.0], [3.0, 4.0], [1.0, 0.0005]];
    assert!(Sanity::check(rows.view(), false, None).is_sane());
    let sanity = Sanity::check(rows.view(), true, None);
    assert_eq!(sanity.defects, [Defect::NotUnit { embeddings: 2, length: 5.0 }]);
}

#[test]
fn a_slow_model_is_found_and_an_unmeasured_one_is_not_blamed() {
    let rows = array![[1.0, 0.0]];
    let sanity = Sanity::check(rows.view(), true, seconds(1.0, 1.5));
    assert_eq!(sanity.defects, [Defect::Slow { factor: 1.5 }]);
    assert_eq!(Sanity::check(rows.view(), true, seconds(0.0, 1.5)).slowdown, None);
}
