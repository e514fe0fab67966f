//! Owns the trace context of a request (W3C Trace Context, `traceparent` version 00). A malformed
//! one is replaced, never refused.

use std::ops::Range;
use std::sync::Arc;

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use uuid::Uuid;

use highwater_runtime::clock::Ids;

pub(super) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// Where it lies in a traceparent.
const TRACE_ID: Range<usize> = 3..35;

/// Request extension. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceContext(Arc<str>);

impl TraceContext {
    /// A new trace.
    pub fn fresh(ids: &dyn Ids) -> Self {
        Self::new(ids.v4().simple().encode_lower(&mut Uuid::encode_buffer()), "01", ids)
    }

    /// A new span in the trace of `traceparent`, or a new trace when that is malformed.
    pub fn continued(traceparent: &str, ids: &dyn Ids) -> Self {
        match parse(traceparent) {
            Some((trace_id, flags)) => Self::new(trace_id, flags, ids),
            None => Self::fresh(ids),
        }
    }

    pub fn from_headers(headers: &HeaderMap, ids: &dyn Ids) -> Self {
        let mut given = headers.get_all(TRACEPARENT).iter();
        match (given.next().and_then(|value| value.to_str().ok()), given.next()) {
            (Some(value), None) => Self::continued(value, ids),
            _ => Self::fresh(ids),
        }
    }

    /// Ours: the caller's trace, our span. What we call or write carries it on.
    pub fn traceparent(&self) -> &str {
        &self.0
    }

    pub fn trace_id(&self) -> &str {
        self.0.get(TRACE_ID).unwrap_or_default()
    }

    pub fn to_header(&self) -> Option<HeaderValue> {
        HeaderValue::from_str(&self.0).ok()
    }

    /// With a span of its own.
    fn new(trace_id: &str, flags: &str, ids: &dyn Ids) -> Self {
        let (high, low) = ids.v4().as_u64_pair();
        // The variant's fixed bits keep it from being zero, which the standard forbids.
        let span = high.rotate_left(32) ^ low;
        Self(format!("00-{trace_id}-{span:016x}-{flags}").into())
    }
}

/// Trace id and flags.
fn parse(traceparent: &str) -> Option<(&str, &str)> {
    let lower_hex = |text: &str| text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let mut parts = traceparent.split('-');
    let (version, trace, parent, flags) =
        (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let lengths = (version.len(), trace.len(), parent.len(), flags.len()) == (2, 32, 16, 2);
    let hex = [version, trace, parent, flags].into_iter().all(lower_hex);
    // A later version may add parts; version 00 has none.
    let known = version != "ff" && (version != "00" || parts.next().is_none());
    let nil = Uuid::parse_str(trace).ok()?.is_nil() || parent.bytes().all(|byte| byte == b'0');
    (lengths && hex && known && !nil).then_some((trace, flags))
}

#[cfg(test)]
mod tests {
    use super::*;
    use highwater_runtime::clock::CountingIds;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

    #[test]
    fn a_callers_trace_goes_on_with_a_span_of_ours() {
        let given = format!("00-{TRACE}-00f067aa0ba902b7-00");
        let context = TraceContext::continued(&given, &CountingIds::default());
        assert_eq!(context.trace_id(), TRACE);
        assert_ne!(context.traceparent(), given);
        assert!(
            parse(context.traceparent())
                .is_some_and(|(trace, flags)| trace == TRACE && flags == "00")
        );
    }

    #[test]
    fn a_malformed_one_starts_a_new_trace() {
        let zero = "0".repeat(32);
        let cases = [
            String::new(),
            "00".to_owned(),
            format!("00-{zero}-00f067aa0ba902b7-01"),
            format!("00-{TRACE}-0000000000000000-01"),
            format!("ff-{TRACE}-00f067aa0ba902b7-01"),
            format!("00-{TRACE}-00f067aa0ba902b7-01-more"),
            format!("00-{}-00f067aa0ba902b7-01", TRACE.to_uppercase()),
            format!("00-{TRACE}-00f067aa0ba902b-01"),
            format!("00-{}-00f067aa0ba902b7-01", "ü".repeat(16)),
        ];
        for given in cases {
            let context = TraceContext::continued(&given, &CountingIds::default());
            assert_ne!(context.trace_id(), TRACE, "{given}");
            assert!(
                parse(context.traceparent()).is_some(),
                "{given} gave {}",
                context.traceparent()
            );
        }
    }

    #[test]
    fn a_later_version_may_have_more_parts() {
        let context = TraceContext::continued(
            &format!("01-{TRACE}-00f067aa0ba902b7-01-more"),
            &CountingIds::default(),
        );
        assert_eq!(context.trace_id(), TRACE);
    }
}
