//! Trace context: what a request carries so that the spans of many processes make one picture.
//!
//! W3C Trace Context (`traceparent`, `tracestate`) and B3 (one header or several) are read,
//! checked, continued and written. Everything is a function of values: the caller brings headers
//! and random numbers. Sources: W3C Trace Context level 1; openzipkin/b3-propagation.

mod b3;
mod w3c;

use std::fmt;
use std::num::{NonZeroU64, NonZeroU128};

use crate::headers::{self, HeaderLookup};

/// Identifies one trace.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceId {
    number: NonZeroU128,
    /// B3 also has ids of 64 bits; they are passed on as short as they came.
    short: bool,
}

impl TraceId {
    /// A new id of 128 bits out of random ones.
    #[must_use]
    pub fn from_random(random: u128) -> Self {
        Self { number: NonZeroU128::new(random).unwrap_or(NonZeroU128::MIN), short: false }
    }

    fn parse(hex: &str) -> Option<Self> {
        let short = match hex.len() {
            16 => true,
            32 => false,
            _ => return None,
        };
        let number = is_hex(hex).then(|| u128::from_str_radix(hex, 16).ok())??;
        Some(Self { number: NonZeroU128::new(number)?, short })
    }

    /// 32 digits, as W3C wants it, whatever its length in B3.
    fn long(self) -> String {
        format!("{:032x}", self.number)
    }
}

/// Hexadecimal, as long as it came: 32 digits, or 16 for a short id of B3.
impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.short {
            write!(f, "{:016x}", self.number)
        } else {
            write!(f, "{:032x}", self.number)
        }
    }
}

impl fmt::Debug for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TraceId({self})")
    }
}

/// Identifies one span of a trace.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SpanId(NonZeroU64);

impl SpanId {
    /// A new id out of random bits.
    #[must_use]
    pub fn from_random(random: u64) -> Self {
        Self(NonZeroU64::new(random).unwrap_or(NonZeroU64::MIN))
    }

    fn parse(hex: &str) -> Option<Self> {
        if hex.len() != 16 || !is_hex(hex) {
            return None;
        }
        u64::from_str_radix(hex, 16).ok().and_then(NonZeroU64::new).map(Self)
    }
}

/// 16 hexadecimal digits.
impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SpanId({self})")
    }
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Which headers carry the context.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Propagation {
    /// `traceparent` and `tracestate`.
    W3c,
    /// `b3`.
    B3Single,
    /// `x-b3-traceid`, `x-b3-spanid`, `x-b3-parentspanid`, `x-b3-sampled`, `x-b3-flags`.
    B3Multi,
}

/// Whether spans of this trace are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Nobody decided yet.
    Deferred,
    /// Not kept.
    Drop,
    /// Kept.
    Sample,
    /// Kept, against every limit: B3 flag 1 or `d`.
    Debug,
}

impl Decision {
    /// What was decided; `None` when nobody did.
    #[must_use]
    pub const fn sampled(self) -> Option<bool> {
        match self {
            Self::Deferred => None,
            Self::Drop => Some(false),
            Self::Sample | Self::Debug => Some(true),
        }
    }
}

/// Where in a trace a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceContext {
    /// The trace.
    pub trace_id: TraceId,
    /// The span that sent the request.
    pub span_id: SpanId,
    /// The span before it, when it is known.
    pub parent_id: Option<SpanId>,
    /// Whether spans are kept.
    pub decision: Decision,
}

/// What the headers of a request say about tracing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extracted {
    /// A whole context, and which headers carried it.
    Context(TraceContext, Propagation),
    /// B3 without ids: only whether to sample the trace that begins here.
    DecisionOnly(Decision),
    /// Nothing, or nothing that is valid: a trace begins here.
    Nothing,
}

impl Extracted {
    /// The trace id, for the log line, when there is a context.
    #[must_use]
    pub fn context(&self) -> Option<&TraceContext> {
        match self {
            Self::Context(context, _) => Some(context),
            Self::DecisionOnly(_) | Self::Nothing => None,
        }
    }
}

impl TraceContext {
    /// Reads the context from a request's head: W3C first, then `b3`, then the `x-b3-` headers.
    /// What is malformed counts as absent, as the specifications demand.
    #[must_use]
    pub fn extract(headers: &(impl HeaderLookup + ?Sized)) -> Extracted {
        let header = |name: &str| headers::text(headers, name);
        if let Some(context) = header("traceparent").and_then(w3c::parse) {
            return Extracted::Context(context, Propagation::W3c);
        }
        let single = header("b3").and_then(b3::parse_single);
        let found = single.or_else(|| b3::parse_multi(header));
        found.unwrap_or(Extracted::Nothing)
    }

    /// The first span of a new trace.
    #[must_use]
    pub const fn root(trace_id: TraceId, span_id: SpanId, decision: Decision) -> Self {
        Self { trace_id, span_id, parent_id: None, decision }
    }

    /// The context of a request that this proxy sends on as a span of its own.
    #[must_use]
    pub const fn child(&self, span_id: SpanId) -> Self {
        Self { span_id, parent_id: Some(self.span_id), ..*self }
    }

    /// The headers that carry this context. `tracestate` is not among them: it belongs to the
    /// tracing systems before us and is passed on as it came; see [`tracestate_is_valid`].
    #[must_use]
    pub fn headers(&self, propagation: Propagation) -> Vec<(&'static str, String)> {
        match propagation {
            Propagation::W3c => vec![("traceparent", w3c::format(self))],
            Propagation::B3Single => vec![("b3", b3::format_single(self))],
            Propagation::B3Multi => b3::format_multi(self),
        }
    }
}

pub use w3c::tracestate_is_valid;

/// Shares of requests, in units of 1/10,000, for which a trace is begun. Source: Envoy
/// `HttpConnectionManager.Tracing`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sampling {
    /// Of the requests whose client asks for it by `x-client-trace-id`. Default: all.
    pub client: u16,
    /// Of all requests, at random. Istio's default: 1 %, here 100.
    pub random: u16,
    /// Bound on the sum of all reasons. Default: all.
    pub overall: u16,
}

/// All requests, in the units of [`Sampling`].
pub const ALL: u16 = 10_000;

impl Default for Sampling {
    fn default() -> Self {
        Self { client: ALL, random: 100, overall: ALL }
    }
}

/// What a request says for itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SamplingWishes {
    /// What the trace's first participant decided.
    pub inherited: Decision,
    /// `x-client-trace-id` is present.
    pub client: Asked,
    /// `x-envoy-force-trace` is present and the request is internal.
    pub force: Asked,
}

/// Whether something was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// It was.
    Yes,
    /// It was not.
    No,
}

/// Why a trace is kept: also packed into the request id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TraceReason {
    /// It is not.
    None,
    /// By chance, or because the caller's trace is kept.
    Sampled,
    /// An internal service asked.
    Forced,
    /// The client asked.
    Client,
}

/// Whether the spans of a request are kept. `point` is a number below 10,000 that is the same for
/// all proxies that see the request, from [`request_id::sampling_point`](crate::request_id), or
/// random.
///
/// A trace that began elsewhere keeps its decision: half a trace helps nobody.
#[must_use]
pub fn decide(sampling: &Sampling, wishes: SamplingWishes, point: u16) -> TraceReason {
    match wishes.inherited {
        Decision::Debug => return TraceReason::Forced,
        Decision::Sample => return TraceReason::Sampled,
        Decision::Drop => return TraceReason::None,
        Decision::Deferred => {}
    }
    let reason = if wishes.client == Asked::Yes && point < sampling.client {
        TraceReason::Client
    } else if wishes.force == Asked::Yes {
        TraceReason::Forced
    } else if point < sampling.random {
        TraceReason::Sampled
    } else {
        TraceReason::None
    };
    if point < sampling.overall { reason } else { TraceReason::None }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const W3C: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn child(headers: &[(&str, &str)]) -> Vec<(&'static str, String)> {
        let Extracted::Context(context, propagation) = TraceContext::extract(headers) else {
            return Vec::new();
        };
        context.child(SpanId::from_random(0xabc)).headers(propagation)
    }

    #[test]
    fn a_proxy_continues_a_w3c_trace_as_a_span_of_its_own() {
        let traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000abc-01".to_owned();
        assert_eq!(child(&[("traceparent", W3C)]), [("traceparent", traceparent)]);
    }

    #[test]
    fn malformed_traceparents_begin_a_new_trace() {
        for bad in [
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-+bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "",
        ] {
            let extracted = TraceContext::extract(&[("traceparent", bad)]);
            assert_eq!(extracted, Extracted::Nothing, "{bad}");
        }
        let future = "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more";
        assert!(TraceContext::extract(&[("traceparent", future)]).context().is_some());
    }

    #[test]
    fn b3_is_passed_on_in_the_form_and_length_it_came() {
        let multi = [
            ("x-b3-traceid", "a3ce929d0e0e4736"),
            ("x-b3-spanid", "00f067aa0ba902b7"),
            ("x-b3-sampled", "1"),
        ];
        let expected = [
            ("x-b3-traceid", "a3ce929d0e0e4736"),
            ("x-b3-spanid", "0000000000000abc"),
            ("x-b3-parentspanid", "00f067aa0ba902b7"),
            ("x-b3-sampled", "1"),
        ];
        assert_eq!(child(&multi), expected.map(|(name, value)| (name, value.to_owned())));
        let single = "4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-d";
        let expected = "4bf92f3577b34da6a3ce929d0e0e4736-0000000000000abc-d-00f067aa0ba902b7";
        assert_eq!(child(&[("b3", single)]), [("b3", expected.to_owned())]);
        let deny = TraceContext::extract(&[("b3", "0")]);
        assert_eq!(deny, Extracted::DecisionOnly(Decision::Drop));
    }

    #[test]
    fn sampling_keeps_the_callers_decision_and_the_overall_bound() {
        let wishes = |inherited, client| SamplingWishes { inherited, client, force: Asked::No };
        let sampling = Sampling { client: ALL, random: 100, overall: 5_000 };
        let decide = |inherited, client, point| decide(&sampling, wishes(inherited, client), point);
        assert_eq!(decide(Decision::Deferred, Asked::No, 99), TraceReason::Sampled);
        assert_eq!(decide(Decision::Deferred, Asked::No, 100), TraceReason::None);
        assert_eq!(decide(Decision::Deferred, Asked::Yes, 4_999), TraceReason::Client);
        assert_eq!(decide(Decision::Deferred, Asked::Yes, 5_000), TraceReason::None);
        assert_eq!(decide(Decision::Sample, Asked::No, 9_999), TraceReason::Sampled);
        assert_eq!(decide(Decision::Drop, Asked::Yes, 0), TraceReason::None);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again_and_nothing_breaks_the_reader(
            ids in any::<(u128, u64)>(), sampled in any::<bool>(), noise in "[0-9a-fd-]{0,70}",
        ) {
            let decision = if sampled { Decision::Sample } else { Decision::Drop };
            let (trace_id, span_id) = (TraceId::from_random(ids.0), SpanId::from_random(ids.1));
            let context = TraceContext::root(trace_id, span_id, decision);
            for form in [Propagation::W3c, Propagation::B3Single, Propagation::B3Multi] {
                let headers = context.headers(form);
                let pairs: Vec<_> = headers.iter().map(|(name, text)| (*name, &**text)).collect();
                let extracted = TraceContext::extract(pairs.as_slice());
                prop_assert_eq!(extracted, Extracted::Context(context, form));
            }
            let noisy = [("traceparent", &*noise), ("b3", &*noise), ("x-b3-traceid", &*noise)];
            let _extracted = TraceContext::extract(&noisy);
        }
    }
}
