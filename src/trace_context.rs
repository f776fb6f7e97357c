//! Contexts of traces, by [W3C Trace Context](https://www.w3.org/TR/trace-context/): a message carries that
//! of the work that published it, so that whoever takes the message goes on in the same trace.
//!
//! Without the feature `otel` there are no traces: no message gets a context, and one that a message has is
//! not read.

use std::collections::VecDeque;

use tracing::Span;

/// Header of a message that has the context.
pub(crate) const TRACE_HEADER: &str = "traceparent";

/// Field of a span that says that its work failed, with the value `ERROR`. OpenTelemetry knows it by this
/// name.
pub(crate) const STATUS: &str = "otel.status_code";

/// Context of a span, as `00-<trace>-<span>-<flags>` in hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceContext(String);

impl TraceContext {
    /// Reads the header of a message. Returns `None` for anything but a context of version 0, and without the
    /// feature `otel`.
    pub(crate) fn received(header: &str) -> Option<Self> {
        if cfg!(feature = "otel") { Self::parse(header) } else { None }
    }

    fn parse(text: &str) -> Option<Self> {
        const LENGTHS: [usize; 4] = [2, 32, 16, 2];
        let parts: Vec<&str> = text.split('-').take(LENGTHS.len() + 1).collect();
        let is_hex = |part: &str| part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let is_context = parts.iter().map(|part| part.len()).eq(LENGTHS)
            && parts.iter().all(|part| is_hex(part))
            && parts[0] == "00"
            && parts[1..3].iter().all(|part| part.bytes().any(|byte| byte != b'0'));
        is_context.then(|| Self(text.to_owned()))
    }

    /// Returns the text of the header.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the part that names the trace.
    pub(crate) fn trace(&self) -> &str {
        self.0.get(3..35).unwrap_or_default()
    }
}

/// The traces that came last, without repeats.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct RecentTraces(VecDeque<TraceContext>);

impl RecentTraces {
    /// Number of traces that are kept: enough to find the way back, and no burden to a collector.
    const MOST: usize = 32;

    /// Adds the context that the header of a message has.
    pub(crate) fn add(&mut self, header: &str) {
        let Some(context) = TraceContext::received(header) else { return };
        if self.0.iter().rev().any(|known| known.trace() == context.trace()) {
            return;
        }
        if self.0.len() == Self::MOST {
            self.0.pop_front();
        }
        self.0.push_back(context);
    }

    /// Links a span to each of them.
    pub(crate) fn link_to(&self, span: &Span) {
        self.0.iter().for_each(|context| context.link_to(span));
    }
}

#[cfg(feature = "otel")]
impl TraceContext {
    /// Returns the context of the current span; `None` when nobody collects its trace.
    pub(crate) fn current() -> Option<Self> {
        use opentelemetry::trace::TraceContextExt;
        use tracing_opentelemetry::OpenTelemetrySpanExt;

        let context = Span::current().context();
        let span = context.span();
        let context = span.span_context();
        let (trace, span, flags) = (context.trace_id(), context.span_id(), context.trace_flags().to_u8());
        context.is_sampled().then(|| Self(format!("00-{trace}-{span}-{flags:02x}")))
    }

    /// Makes this the parent of a span that has not been entered yet.
    pub(crate) fn continue_in(&self, span: &Span) {
        use opentelemetry::Context;
        use opentelemetry::trace::TraceContextExt;
        use tracing_opentelemetry::OpenTelemetrySpanExt;

        // A span that nobody collects takes no parent.
        let _ = span.set_parent(Context::new().with_remote_span_context(self.remote()));
    }

    /// Links a span to this one: one work for what several traces have brought.
    pub(crate) fn link_to(&self, span: &Span) {
        use tracing_opentelemetry::OpenTelemetrySpanExt;

        span.add_link(self.remote());
    }

    fn remote(&self) -> opentelemetry::trace::SpanContext {
        use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId, TraceState};

        let part = |from: usize, to: usize| self.0.get(from..to).unwrap_or_default();
        let flags = u8::from_str_radix(part(53, 55), 16).unwrap_or_default();
        SpanContext::new(
            TraceId::from_hex(part(3, 35)).unwrap_or(TraceId::INVALID),
            SpanId::from_hex(part(36, 52)).unwrap_or(SpanId::INVALID),
            TraceFlags::new(flags),
            true,
            TraceState::NONE,
        )
    }
}

#[cfg(not(feature = "otel"))]
impl TraceContext {
    /// Returns `None`: without the feature `otel`, there is no trace.
    pub(crate) fn current() -> Option<Self> {
        None
    }

    /// Does nothing without the feature `otel`.
    #[expect(clippy::unused_self, reason = "it has the signature that the feature gives it")]
    pub(crate) fn continue_in(&self, _: &Span) {}

    /// Does nothing without the feature `otel`.
    #[expect(clippy::unused_self, reason = "it has the signature that the feature gives it")]
    pub(crate) fn link_to(&self, _: &Span) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_traces_are_kept_once_each() {
        let header = |trace: u32, span: u32| format!("00-{trace:032x}-{span:016x}-01");
        let mut recent = RecentTraces::default();
        for trace in 1..=40 {
            recent.add(&header(trace, 1));
            recent.add(&header(trace, 2));
            recent.add("no context");
        }
        let kept: Vec<String> = recent.0.iter().map(|context| context.as_str().to_owned()).collect();
        let last = (9..=40).map(|trace| header(trace, 1)).collect::<Vec<_>>();
        assert_eq!(kept, if cfg!(feature = "otel") { last } else { Vec::new() });
    }

    #[test]
    fn only_a_context_is_one() {
        let text = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let context = TraceContext::parse(text).unwrap();
        assert_eq!((context.as_str(), context.trace()), (text, "4bf92f3577b34da6a3ce929d0e0e4736"));
        for wrong in [
            "",
            "00",
            "00---",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "00-4bf92f3577b34da6a3ce929d0e0e473\u{e9}-00f067aa0ba902b7-01",
        ] {
            assert_eq!(TraceContext::parse(wrong), None, "{wrong:?}");
        }
    }
}
