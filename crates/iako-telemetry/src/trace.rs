//! Traces: which requests are traced, and what travels in headers so that the spans of many
//! processes make one picture.
//!
//! Everything is a function of values: the caller brings headers and random numbers. Sources: W3C
//! Trace Context level 1; openzipkin/b3-propagation; Envoy's tracers, whose leniency is kept.

mod b3;
mod datadog;
mod sampling;
mod w3c;

use crate::headers::HeaderLookup;

pub use datadog::BEGAN_HERE;
pub use sampling::{Asked, Sampling, Share, TraceReason, decide, ratio_takes};

/// Where in a trace a request is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceContext {
    /// The trace; not zero.
    pub trace_id: u128,
    /// Whether the trace's id has 64 bits, and is written as short.
    pub short: bool,
    /// The span that the request is a part of; not zero.
    pub span_id: u64,
    /// The span before it, when it is known.
    pub parent_id: Option<u64>,
    /// Whether spans are kept.
    pub sampled: bool,
    /// Whether B3 is told in one header, in place of several.
    pub single: bool,
    /// What other systems have to say of the trace. Source: W3C `tracestate`.
    pub state: String,
}

impl TraceContext {
    /// The context of a span within this one.
    #[must_use]
    pub fn child(&self, span_id: u64) -> Self {
        Self { span_id, parent_id: Some(self.span_id), ..self.clone() }
    }
}

impl TraceContext {
    /// The trace's id in hexadecimal: 32 digits, or 16.
    #[must_use]
    pub fn trace_id_text(&self) -> String {
        if self.short {
            format!("{:016x}", self.trace_id)
        } else {
            format!("{:032x}", self.trace_id)
        }
    }
}

/// Which headers carry traces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carrier {
    /// `x-b3-…`; `b3` is read too. Source: Envoy's Zipkin tracer.
    B3,
    /// The same, and `traceparent` where there is none of them.
    B3AndW3c,
    /// `traceparent` and `tracestate`. Source: Envoy's OpenTelemetry tracer.
    W3c,
    /// `x-datadog-…`, and `traceparent` beside them. Source: Datadog's library in Envoy.
    Datadog,
}

/// What the headers of a request say about tracing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// A trace begins here.
    Nothing,
    /// A trace begins here, and whether it is kept is decided.
    Decision(bool),
    /// The request is a part of a trace; whether it is kept stands in the second where somebody
    /// decided.
    Context(TraceContext, Option<bool>),
    /// What is no context: the request is not traced at all, as with Envoy.
    Broken,
}

impl Carrier {
    /// Reads what the headers of a request say.
    #[must_use]
    pub fn extract(self, headers: &(impl HeaderLookup + ?Sized)) -> Found {
        match self {
            Self::B3 => b3::extract(headers),
            Self::B3AndW3c => {
                let found = b3::extract(headers);
                if found != Found::Nothing {
                    return found;
                }
                // Only a context that is one counts beside B3.
                let found = w3c::extract(headers);
                if found == Found::Broken { Found::Nothing } else { found }
            }
            Self::W3c => w3c::extract(headers),
            Self::Datadog => datadog::extract(headers),
        }
    }

    /// Whether the headers of a request carry B3 in one of them, so that upstreams are told so too.
    #[must_use]
    pub fn is_single(self, headers: &(impl HeaderLookup + ?Sized)) -> bool {
        match self {
            Self::B3 | Self::B3AndW3c => headers.first_value("b3").is_some(),
            Self::W3c | Self::Datadog => false,
        }
    }

    /// The headers that tell an upstream of a context.
    pub fn inject(self, context: &TraceContext, mut set: impl FnMut(&'static str, String)) {
        match self {
            Self::B3 => b3::inject(context, &mut set),
            Self::B3AndW3c => {
                b3::inject(context, &mut set);
                set("traceparent", w3c::traceparent(context));
                if !context.state.is_empty() {
                    set("tracestate", context.state.clone());
                }
            }
            Self::W3c => {
                set("traceparent", w3c::traceparent(context));
                set("tracestate", context.state.clone());
            }
            Self::Datadog => datadog::inject(context, &mut set),
        }
    }
}

/// A number of up to 16 hexadecimal digits.
fn number(hex: &str) -> Option<u64> {
    let is_hex = hex.bytes().all(|byte| byte.is_ascii_hexdigit());
    (is_hex && !hex.is_empty()).then(|| u64::from_str_radix(hex, 16).ok())?
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn injected(carrier: Carrier, context: &TraceContext) -> Vec<(&'static str, String)> {
        let mut headers = Vec::new();
        carrier.inject(context, |name, value| headers.push((name, value)));
        headers
    }

    const W3C: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_w3c_trace_is_continued_with_what_others_say_of_it() {
        let headers = [("traceparent", W3C), ("tracestate", "a=1")];
        let Found::Context(context, decided) = Carrier::W3c.extract(headers.as_slice()) else {
            panic!("no context")
        };
        assert_eq!(decided, Some(true));
        let next = "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000abc-01".to_owned();
        assert_eq!(
            injected(Carrier::W3c, &context.child(0xabc)),
            [("traceparent", next), ("tracestate", "a=1".to_owned())]
        );
    }

    #[test]
    fn a_malformed_traceparent_is_no_trace_and_none_beside_b3() {
        for bad in [
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-+bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "x",
        ] {
            let headers = [("traceparent", bad)];
            assert_eq!(Carrier::W3c.extract(headers.as_slice()), Found::Broken, "{bad}");
            assert_eq!(Carrier::B3AndW3c.extract(headers.as_slice()), Found::Nothing, "{bad}");
        }
    }

    #[test]
    fn b3_is_read_in_both_forms_and_written_as_it_came() {
        let multi = [
            ("x-b3-traceid", "a3ce929d0e0e4736"),
            ("x-b3-spanid", "00f067aa0ba902b7"),
            ("x-b3-sampled", "1"),
        ];
        let single = [("b3", "a3ce929d0e0e4736-00f067aa0ba902b7-1")];
        let expected = [
            ("x-b3-traceid", "a3ce929d0e0e4736"),
            ("x-b3-spanid", "0000000000000abc"),
            ("x-b3-parentspanid", "00f067aa0ba902b7"),
            ("x-b3-sampled", "1"),
        ];
        let child = |headers: &[(&str, &str)]| match Carrier::B3.extract(headers) {
            Found::Context(context, Some(true)) => injected(Carrier::B3, &context.child(0xabc)),
            found @ (Found::Nothing | Found::Decision(_) | Found::Context(..) | Found::Broken) => {
                panic!("{found:?} in {headers:?}")
            }
        };
        assert_eq!(child(&multi), expected.map(|(name, value)| (name, value.to_owned())));
        let expected = "a3ce929d0e0e4736-0000000000000abc-1-00f067aa0ba902b7".to_owned();
        assert_eq!(child(&single), [("b3", expected)]);
        assert_eq!(Carrier::B3.extract([("b3", "0")].as_slice()), Found::Decision(false));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again_and_nothing_breaks_the_reader(
            ids in (1..u128::MAX, 1..u64::MAX), sampled in any::<bool>(), noise in "[0-9a-fd-]{0,70}",
        ) {
            let context = TraceContext {
                trace_id: ids.0,
                short: false,
                span_id: ids.1,
                parent_id: None,
                sampled,
                single: false,
                state: String::new(),
            };
            for carrier in [Carrier::B3, Carrier::B3AndW3c, Carrier::W3c] {
                let headers = injected(carrier, &context);
                let pairs: Vec<_> = headers.iter().map(|(name, text)| (*name, &**text)).collect();
                let found = carrier.extract(pairs.as_slice());
                prop_assert_eq!(found, Found::Context(context.clone(), Some(sampled)));
            }
            let noisy = [("traceparent", &*noise), ("b3", &*noise), ("x-b3-traceid", &*noise)];
            for carrier in [Carrier::B3AndW3c, Carrier::W3c, Carrier::Datadog] {
                let _found = carrier.extract(noisy.as_slice());
            }
        }
    }
}
