//! Number of starts by result, for `/metrics`.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;
use strum::VariantArray;

use super::Launch;
use super::error::LaunchError;

/// Result of a start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::IntoStaticStr, strum::VariantArray)]
#[strum(serialize_all = "snake_case")]
pub(super) enum StartResult {
    Started,
    /// A trainer was up or on its way already.
    AlreadyUp,
    Failed,
}

impl StartResult {
    pub(super) fn of(result: &Result<Launch, LaunchError>) -> Self {
        match result {
            Ok(Launch::Started(_)) => Self::Started,
            Ok(Launch::Up(_)) => Self::AlreadyUp,
            Err(_) => Self::Failed,
        }
    }
}

/// Number of starts of trainers by this worker. Clones share it.
#[derive(Debug, Clone)]
pub struct StartMetrics(Family<[(&'static str, &'static str); 1], Counter>);

impl Default for StartMetrics {
    fn default() -> Self {
        let metrics = Self(Family::default());
        // From the start, so that the first one is an increase.
        for result in StartResult::VARIANTS {
            metrics.0.get_or_create(&[("result", result.into())]).inc_by(0);
        }
        metrics
    }
}

impl StartMetrics {
    /// Registers the metric under its name.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("autovalidate_trainer_starts", "Starts of a trainer", self.0.clone());
    }

    pub(super) fn count(&self, result: StartResult) {
        self.0.get_or_create(&[("result", result.into())]).inc();
    }
}
