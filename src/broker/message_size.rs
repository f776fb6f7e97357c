//! Bound on the size of records, events and status answers.
//!
//! Each of them is one message, and a server refuses a message above its `max_payload`: 1 MB unless
//! an operator has set less. Figures whose number grows with the data are outlined where they are
//! made. This is the last resort for what remains: it leaves out what is largest, says so in its
//! place, and keeps everything that a later attempt, a replay or a person needs most.

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::runs::RunRecord;

/// Largest size of a record or an event, in bytes of JSON. Below 64 KiB, with room for headers and
/// for a later change of state.
pub const MAX_MESSAGE: usize = 56 * 1024;

/// Field in place of figures that were left out; its value is their size in bytes.
const LEFT_OUT: &str = "left_out_bytes";
/// Figures below this size are not worth leaving out.
const SMALL: usize = 256;
/// Number of stages and packages that a record keeps in any case: the latest ones.
const KEPT: usize = 8;

/// Returns true when figures were left out of a record.
pub fn is_left_out(figures: &Value) -> bool {
    figures.as_object().is_some_and(|fields| fields.len() == 1 && fields.contains_key(LEFT_OUT))
}

impl RunRecord {
    /// Leaves out figures until the record has at most `limit` bytes of JSON. Returns true when
    /// something was left out.
    ///
    /// The order: figures of stages that a later attempt repeated, figures that `metrics` repeats,
    /// old stages, and then the largest figures. State, request, counts, hashes, packages, artifact
    /// and error stay.
    pub fn fit(&mut self, limit: usize) -> bool {
        let mut cut = false;
        while size(self) > limit && self.leave_out() {
            cut = true;
        }
        cut
    }

    /// Leaves out figures until the record has half its size, for a server that takes only smaller
    /// messages. Returns true when something was left out.
    pub fn halve(&mut self) -> bool {
        self.fit(size(self) / 2)
    }

    /// Leaves out what is needed least. Returns false when nothing is left to leave out.
    fn leave_out(&mut self) -> bool {
        let repeated = |place: usize| {
            let stage = &self.stages[place].stage;
            let later = &self.stages[place + 1..];
            later.iter().any(|later| later.stage == *stage && !later.figures.is_null())
        };
        let stale =
            (0..self.stages.len()).find(|place| is_large(&self.stages[*place].figures) && repeated(*place));
        let same =
            || self.stages.iter().position(|stage| is_large(&stage.figures) && stage.figures == self.metrics);
        if let Some(place) = stale.or_else(same) {
            replace(&mut self.stages[place].figures);
            return true;
        }
        if self.stages.len() > 4 * KEPT {
            self.drop_oldest_stage();
            return true;
        }
        let figures = self.stages.iter_mut().map(|stage| &mut stage.figures);
        let all = figures.chain([&mut self.metrics, &mut self.settings, &mut self.lineage]);
        let largest = all.filter(|figures| is_large(figures)).max_by_key(|figures| size(&**figures));
        if let Some(largest) = largest {
            replace(largest);
        } else if self.stages.len() > KEPT {
            self.drop_oldest_stage();
        } else if self.packages.len() > KEPT {
            self.packages.remove(0);
        } else if !self.stages.is_empty() {
            self.drop_oldest_stage();
        } else {
            return false;
        }
        true
    }

    fn drop_oldest_stage(&mut self) {
        self.stages.remove(0);
        self.earlier_stages += 1;
    }
}

/// Leaves out the largest fields of an event's detail until it has at most `limit` bytes of JSON.
pub(super) fn fit_detail(detail: &mut Value, limit: usize) {
    while size(detail) > limit {
        let fields = detail.as_object_mut().into_iter().flat_map(Map::values_mut);
        match fields.filter(|field| is_large(field)).max_by_key(|field| size(&**field)) {
            Some(largest) => replace(largest),
            None => return replace(detail),
        }
    }
}

/// Returns the size of a value as JSON, in bytes.
pub(super) fn size(value: &impl Serialize) -> usize {
    // A value that can't be serialized is reported where it is sent.
    serde_json::to_vec(value).map_or(0, |bytes| bytes.len())
}

fn is_large(figures: &Value) -> bool {
    !is_left_out(figures) && size(figures) > SMALL
}

fn replace(figures: &mut Value) {
    *figures = json!({ LEFT_OUT: size(figures) });
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::broker::{JobId, JobRequest, PackageRecord, RecordedError, StageRecord};
    use crate::failure::RetryDirective;

    fn figures(bytes: usize) -> Value {
        json!({ "text": "x".repeat(bytes) })
    }

    fn stage(name: &str, figures: Value) -> StageRecord {
        let at = jiff::Timestamp::UNIX_EPOCH;
        StageRecord { stage: name.to_owned(), started_at: at, ended_at: Some(at), figures, error: None }
    }

    fn record() -> RunRecord {
        RunRecord::new(JobId::manual(1), JobRequest::default(), jiff::Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn repeated_figures_go_first_and_a_small_record_stays() {
        let mut record = record();
        record.metrics = figures(3_000);
        record.lineage = figures(1_000);
        record.stages = vec![
            stage("train", figures(5_000)),
            stage("train", figures(2_000)),
            stage("evaluate", record.metrics.clone()),
        ];
        let whole = record.clone();
        assert!(!record.fit(size(&whole)));
        assert_eq!(record, whole);
        assert!(record.fit(10_000));
        assert!(is_left_out(&record.stages[0].figures), "an attempt repeated this stage");
        assert!(!is_left_out(&record.stages[2].figures));
        assert!(record.fit(7_500));
        assert!(is_left_out(&record.stages[2].figures), "the metrics are the same");
        assert_eq!((&record.metrics, &record.lineage), (&whole.metrics, &whole.lineage));
        assert!(record.fit(2_500));
        assert!(is_left_out(&record.metrics) && is_left_out(&record.stages[1].figures));
        assert_eq!(record.lineage, whole.lineage, "a replay needs it");
        assert_eq!(record.metrics, json!({ "left_out_bytes": size(&whole.metrics) }));
    }

    #[test]
    fn an_events_figures_are_left_out_and_its_phase_stays() {
        let mut detail = json!({ "phase": "ended", "figures": figures(9_000), "seconds": 1.5 });
        fit_detail(&mut detail, 500);
        assert_eq!((&detail["phase"], is_left_out(&detail["figures"])), (&json!("ended"), true));
        let mut detail = Value::from("x".repeat(1_000));
        fit_detail(&mut detail, 500);
        assert!(is_left_out(&detail));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

        #[test]
        fn any_record_fits(
            sizes in prop::collection::vec((0_usize..3_000, 0_usize..4), 0..60), attempts in 0_usize..100,
            metrics in 0_usize..30_000, lineage in 0_usize..30_000,
        ) {
            let mut record = record();
            record.stages.extend(sizes.into_iter().map(|(size, name)| stage(&format!("stage {name}"), figures(size))));
            record.stages.extend((0..attempts).map(|_| stage("load-base", Value::Null)));
            let error = RecordedError {
                message: "m".repeat(2_000), advice: "a".repeat(1_000), remedy: RetryDirective::Retry,
            };
            record.stages.iter_mut().for_each(|stage| stage.error = Some(error.clone()));
            record.error = Some(error.clone());
            (record.metrics, record.lineage) = (figures(metrics), figures(lineage));
            let package = PackageRecord {
                release: "r".repeat(60), sha256: "0".repeat(64), size: u64::MAX, instead_of: Some("r".repeat(60)),
                instead_of_content: Some("0".repeat(64)),
            };
            record.packages = vec![package; attempts];
            let count = record.stages.len() as u64;
            record.fit(MAX_MESSAGE);
            prop_assert!(size(&record) <= MAX_MESSAGE);
            prop_assert_eq!(record.error, Some(error));
            prop_assert_eq!(record.stages.len() as u64 + record.earlier_stages, count);
            prop_assert!(record.stages.len() as u64 >= count.min(KEPT as u64));
        }
    }
}
