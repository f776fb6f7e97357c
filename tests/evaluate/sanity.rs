//! Sanity checks: embeddings and encode time.

use std::cell::Cell;
use std::convert::Infallible;
use std::time::Duration;

use autovalidate::evaluate::{Defect, GatePolicy, Sanity, Speed, query_time, slowdown, timed};
use ndarray::array;

const SLOWEST: f64 = 1.2;
const UNMEASURED: Speed = Speed { slowdown: None, query: None };

fn policy() -> GatePolicy {
    GatePolicy { slowest: SLOWEST, query_budget_ms: 20.0, ..GatePolicy::default() }
}

#[test]
fn unit_rows_in_good_time_are_sane() {
    let sanity = Sanity::check(
        array![[0.6, 0.8], [1.0, 0.0]].view(),
        true,
        Speed { slowdown: Some(1.2), query: None },
        &policy(),
    );
    assert!(sanity.is_sane(), "{sanity:?}");
    assert_eq!((sanity.embeddings, sanity.slowdown), (2, Some(1.2)));
}

#[test]
fn what_is_no_number_is_found() {
    let rows = array![[f32::NAN, 0.0], [f32::INFINITY, 0.0], [1.0, 0.0]];
    let sanity = Sanity::check(rows.view(), true, UNMEASURED, &policy());
    assert_eq!(sanity.defects, [Defect::NotFinite { embeddings: 2 }]);
    assert!(!sanity.is_usable());
}

#[test]
fn a_length_other_than_one_matters_only_where_the_folder_normalizes() {
    let rows = array![[0.0, 0.0], [3.0, 4.0], [1.0, 0.0005]];
    assert!(Sanity::check(rows.view(), false, UNMEASURED, &policy()).is_sane());
    let sanity = Sanity::check(rows.view(), true, UNMEASURED, &policy());
    assert_eq!(sanity.defects, [Defect::NotUnit { embeddings: 2, length: 5.0 }]);
}

#[test]
fn a_slow_model_is_found_and_an_unmeasured_one_is_not_blamed() {
    let rows = array![[1.0, 0.0]];
    let unlike = Speed { slowdown: Some(1.5), query: None };
    let sanity = Sanity::check(rows.view(), true, unlike, &policy());
    assert_eq!(sanity.defects, [Defect::Slow { factor: 1.5, query_ms: None }]);
    assert!(sanity.is_usable(), "slow, but its embeddings are usable");
    let patient = GatePolicy { slowest: 2.0, ..policy() };
    assert!(Sanity::check(rows.view(), true, unlike, &patient).is_sane(), "the limit is a setting");
    assert_eq!(Sanity::check(rows.view(), true, UNMEASURED, &policy()).slowdown, None);
}

#[test]
fn a_model_that_answers_within_the_budget_is_not_slow_however_fast_the_live_one_is() {
    let rows = array![[1.0, 0.0]];
    let check = |millis| {
        let speed = Speed { slowdown: Some(3.0), query: Some(Duration::from_millis(millis)) };
        Sanity::check(rows.view(), true, speed, &policy())
    };
    let fast = check(20);
    assert!(fast.is_sane());
    assert_eq!((fast.slowdown, fast.query_ms), (Some(3.0), Some(20.0)));
    let slow = check(21);
    assert_eq!(slow.defects, [Defect::Slow { factor: 3.0, query_ms: Some(21.0) }]);
    assert_eq!(
        slow.defects[0].to_string(),
        "encoding takes 3.00 times as long as with the model being replaced (21.0 ms for a query)"
    );
}

/// Returns the time of three queries that take `times`, after a first call that takes longer, and the
/// number of calls.
fn timed_queries(times: impl IntoIterator<Item = u64>) -> (Option<Duration>, usize) {
    let mut times = std::iter::once(900).chain(times);
    let mut calls = 0;
    let time = query_time(3, Duration::from_millis(20), |query| {
        assert_eq!(query, if calls == 0 { 0 } else { (calls - 1) % 3 });
        calls += 1;
        Ok::<_, Infallible>(Duration::from_millis(times.next().unwrap_or(900)))
    });
    (time.unwrap(), calls)
}

#[test]
fn the_time_of_a_query_is_the_median_without_the_first_call() {
    assert_eq!(timed_queries([7, 900, 5]), (Some(Duration::from_millis(7)), 4));
    assert_eq!(query_time(0, Duration::ZERO, |_| Ok::<_, Infallible>(Duration::ZERO)), Ok(None));
}

#[test]
fn a_busy_machine_does_not_make_a_model_slow() {
    let busy_at_times = [60, 6, 60, 60, 60, 60, 60, 60, 5];
    assert_eq!(timed_queries(busy_at_times), (Some(Duration::from_millis(6)), 10));
    let slow = std::iter::repeat_n(21, 30);
    assert_eq!(timed_queries(slow), (Some(Duration::from_millis(21)), 31));
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
