//! Sanity checks: embeddings and encode time.

use std::cell::Cell;
use std::convert::Infallible;
use std::time::Duration;

use autovalidate::evaluate::{Defect, Sanity, slowdown, timed};
use ndarray::array;

const SLOWEST: f64 = 1.2;

#[test]
fn unit_rows_in_good_time_are_sane() {
    let sanity = Sanity::check(array![[0.6, 0.8], [1.0, 0.0]].view(), true, Some(1.2), SLOWEST);
    assert!(sanity.is_sane(), "{sanity:?}");
    assert_eq!((sanity.embeddings, sanity.slowdown), (2, Some(1.2)));
}

#[test]
fn what_is_no_number_is_found() {
    let rows = array![[f32::NAN, 0.0], [f32::INFINITY, 0.0], [1.0, 0.0]];
    let sanity = Sanity::check(rows.view(), true, None, SLOWEST);
    assert_eq!(sanity.defects, [Defect::NotFinite { embeddings: 2 }]);
    assert!(!sanity.is_usable());
}

#[test]
fn a_length_other_than_one_matters_only_where_the_folder_normalizes() {
    let rows = array![[0.0, 0.0], [3.0, 4.0], [1.0, 0.0005]];
    assert!(Sanity::check(rows.view(), false, None, SLOWEST).is_sane());
    let sanity = Sanity::check(rows.view(), true, None, SLOWEST);
    assert_eq!(sanity.defects, [Defect::NotUnit { embeddings: 2, length: 5.0 }]);
}

#[test]
fn a_slow_model_is_found_and_an_unmeasured_one_is_not_blamed() {
    let rows = array![[1.0, 0.0]];
    let sanity = Sanity::check(rows.view(), true, Some(1.5), SLOWEST);
    assert_eq!(sanity.defects, [Defect::Slow { factor: 1.5 }]);
    assert!(sanity.is_usable(), "slow, but its embeddings are usable");
    assert!(Sanity::check(rows.view(), true, Some(1.5), 2.0).is_sane(), "the limit is a setting");
    assert_eq!(Sanity::check(rows.view(), true, None, SLOWEST).slowdown, None);
}

#[test]
fn speed_is_compared_in_turns_and_a_bad_moment_is_forgiven() {
    let millis = Duration::from_millis;
    let measured = |time: u64| Ok::<_, Infallible>(millis(time));
    assert_eq!(slowdown(SLOWEST, || measured(2), || measured(6)), Ok(Some(3.0)));
    assert_eq!(slowdown(SLOWEST, || measured(0), || measured(6)), Ok(None));
    // The work is slow during the whole first measurement, as if another program used the
    // processor, and fast afterwards.
    let calls = Cell::new(0);
    let after = || {
        calls.set(calls.get() + 1);
        measured(if calls.get() <= 6 { 20 } else { 2 })
    };
    assert_eq!(slowdown(3.0, || measured(2), after), Ok(Some(1.0)));
    assert!(calls.get() > 6, "measured again");
    let worked = timed(|| {
        std::hint::black_box((0..1_000_u64).map(std::hint::black_box).sum::<u64>());
        Ok::<_, Infallible>(())
    });
    assert!(worked.unwrap() > Duration::ZERO);
}
