//! Export of traces by OpenTelemetry, when the environment names a collector.
//!
//! The variables are those that [OpenTelemetry specifies][variables]. Spans have names, ids, counts and
//! times. Log records don't become events of spans: a record may quote a server's answer, and only the log
//! removes secrets.
//!
//! [variables]: https://opentelemetry.io/docs/specs/otel/protocol/exporter/

use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::{ExporterBuildError, SpanExporter};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};
use tracing::Level;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::registry::LookupSpan;

use super::is_own;

/// Variables that name the collector.
const COLLECTORS: [&str; 2] = ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"];
/// Name of the service, unless the environment has another.
const SERVICE: &str = "autovalidate-trainer";
/// Longest wait for the last spans when the program ends.
const LAST_SPANS: Duration = Duration::from_secs(3);

/// Exporter of spans. It sends the last ones when it is dropped.
pub(crate) struct Traces {
    provider: SdkTracerProvider,
}

impl Traces {
    /// Starts the exporter if the environment names a collector.
    ///
    /// # Errors
    /// [`ExporterBuildError`] for settings that name no collector.
    pub(super) fn start() -> Result<Option<Self>, ExporterBuildError> {
        let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        if !COLLECTORS.into_iter().any(is_set) {
            return Ok(None);
        }
        let exporter = SpanExporter::builder().with_http().build()?;
        let resource =
            Resource::builder().with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")));
        let resource = match is_set("OTEL_SERVICE_NAME") {
            true => resource,
            false => resource.with_service_name(SERVICE),
        };
        let provider = SdkTracerProvider::builder()
            .with_resource(resource.build())
            .with_batch_exporter(exporter)
            .build();
        Ok(Some(Self { provider }))
    }

    /// Returns the layer that turns this program's spans into those of OpenTelemetry, whatever `RUST_LOG`
    /// asks for.
    pub(super) fn layer<S>(&self) -> impl Layer<S> + use<S>
    where
        S: tracing::Subscriber + for<'span> LookupSpan<'span>,
    {
        let tracer: SdkTracer = self.provider.tracer(SERVICE);
        tracing_opentelemetry::layer()
            .with_tracer(tracer)
            .with_location(false)
            .with_threads(false)
            .with_filter(
                filter_fn(|metadata| {
                    metadata.is_span() && is_own(metadata.target()) && *metadata.level() <= Level::INFO
                })
                .with_max_level_hint(LevelFilter::INFO),
            )
    }
}

impl Drop for Traces {
    fn drop(&mut self) {
        // A collector that can't be reached loses the last spans, and nothing else.
        let _ = self.provider.shutdown_with_timeout(LAST_SPANS);
    }
}
