//! Which requests are traced. Source: Envoy `HttpConnectionManager.Tracing`.

/// A share of requests: `numerator` of `parts` equal parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// How many parts.
    pub numerator: u32,
    /// How many parts there are.
    pub parts: u32,
}

impl Share {
    /// Whether a request is among them. The point says which requests are; of parts of different size
    /// different ones.
    #[must_use]
    pub fn takes(self, point: u64) -> bool {
        let parts = u64::from(self.parts.max(1));
        point.checked_rem(parts).unwrap_or(0) < u64::from(self.numerator)
    }
}

/// Shares of requests that are traced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sampling {
    /// Of the requests whose client asks for it by `x-client-trace-id`.
    pub client: Share,
    /// Of those that nobody asks for.
    pub random: Share,
    /// Of all that would be traced.
    pub overall: Share,
}

/// Who asks for a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The client, by `x-client-trace-id`.
    pub by_client: bool,
    /// An internal service, by `x-envoy-force-trace`.
    pub by_service: bool,
}

/// Why a request is traced: also packed into the request id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TraceReason {
    /// It is not.
    None,
    /// By chance.
    Sampled,
    /// An internal service asked.
    Forced,
    /// The client asked.
    Client,
}

impl TraceReason {
    /// Whether the request is traced.
    #[must_use]
    pub const fn is_traced(self) -> bool {
        match self {
            Self::None => false,
            Self::Sampled | Self::Forced | Self::Client => true,
        }
    }
}

/// Why a request is traced. `known` is what an earlier proxy packed into the request id, `point`
/// the number that all proxies on the way have in common, and `draw` chance.
#[must_use]
pub fn decide(
    sampling: &Sampling,
    asked: Asked,
    known: TraceReason,
    (point, draw): (u16, u64),
) -> TraceReason {
    let point = u64::from(point);
    let reason = match known {
        TraceReason::None if asked.by_client && sampling.client.takes(draw) => TraceReason::Client,
        TraceReason::None if asked.by_service => TraceReason::Forced,
        TraceReason::None if sampling.random.takes(point) => TraceReason::Sampled,
        TraceReason::None | TraceReason::Sampled | TraceReason::Forced | TraceReason::Client => {
            known
        }
    };
    if sampling.overall.takes(point) { reason } else { TraceReason::None }
}

/// Whether a share of traces has this one among them, by the first half of its id.
#[must_use]
pub fn ratio_takes(share: Share, trace_id: u128) -> bool {
    let bytes = trace_id.to_be_bytes();
    let first = bytes.first_chunk::<8>().copied().map_or(0, u64::from_le_bytes);
    share.takes(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Share = Share { numerator: 100, parts: 100 };
    const NOBODY: Asked = Asked { by_client: false, by_service: false };

    #[test]
    fn what_was_decided_before_counts_within_the_bound_of_all() {
        let sampling = Sampling {
            client: ALL,
            random: Share { numerator: 100, parts: 10_000 },
            overall: Share { numerator: 50, parts: 100 },
        };
        let decide = |asked, known, point| decide(&sampling, asked, known, (point, 0));
        assert_eq!(decide(NOBODY, TraceReason::None, 49), TraceReason::Sampled);
        // Of hundredths, 5049 is the forty-ninth again, but no longer among the first of ten thousand.
        assert_eq!(decide(NOBODY, TraceReason::None, 5_049), TraceReason::None);
        assert_eq!(decide(NOBODY, TraceReason::None, 99), TraceReason::None);
        assert_eq!(decide(NOBODY, TraceReason::Forced, 5_049), TraceReason::Forced);
        assert_eq!(decide(NOBODY, TraceReason::Forced, 5_050), TraceReason::None);
        let client = Asked { by_client: true, by_service: true };
        assert_eq!(decide(client, TraceReason::None, 5_000), TraceReason::Client);
        let service = Asked { by_client: false, by_service: true };
        assert_eq!(decide(service, TraceReason::None, 5_000), TraceReason::Forced);
    }

    #[test]
    fn no_share_takes_nothing_and_the_whole_takes_all() {
        let none = Share { numerator: 0, parts: 100 };
        assert!((0..10_000).all(|point| ALL.takes(point) && !none.takes(point)));
        assert!(ratio_takes(ALL, u128::MAX) && !ratio_takes(none, 0));
    }
}
