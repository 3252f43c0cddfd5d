//! Which requests are traced, and when spans are sent.

use std::sync::Arc;

use iako_proxy_config::{RouteTracing, SpanFlush, TraceSampling, Tracing, TracingProvider};
use iako_types::{Fraction, FractionDenominator, Percent};

use super::{Runtime, Tune, set};

/// Requests with `x-client-trace-id`.
const CLIENT: &str = "tracing.client_enabled";
/// Requests that nobody asked for.
const RANDOM: &str = "tracing.random_sampling";
/// All.
const OVERALL: &str = "tracing.global_enabled";

impl Tune for Tracing {
    fn tune(&mut self, runtime: &Runtime) -> bool {
        let changed = [self.sampling.tune(runtime), self.provider.tune(runtime)];
        changed.contains(&true)
    }
}

impl Tune for RouteTracing {
    fn tune(&mut self, runtime: &Runtime) -> bool {
        self.sampling.tune(runtime)
    }
}

impl Tune for TraceSampling {
    fn tune(&mut self, runtime: &Runtime) -> bool {
        let share = |key| runtime.share(key).map(parts);
        let changed = [
            set(&mut self.client, share(CLIENT)),
            set(&mut self.random, share(RANDOM)),
            set(&mut self.overall, share(OVERALL)),
        ];
        changed.contains(&true)
    }
}

/// A share in the largest parts that hold it exactly: their size says which requests are taken.
const fn parts(share: Percent) -> Fraction {
    let millionths = share.parts_per_million();
    let (numerator, denominator) = if millionths.is_multiple_of(10_000) {
        (millionths / 10_000, FractionDenominator::Hundred)
    } else if millionths.is_multiple_of(100) {
        (millionths / 100, FractionDenominator::TenThousand)
    } else {
        (millionths, FractionDenominator::Million)
    };
    Fraction { numerator, denominator }
}

impl Tune for TracingProvider {
    fn tune(&mut self, runtime: &Runtime) -> bool {
        match self {
            Self::Zipkin(tracer) => flush(&mut tracer.flush, "zipkin", runtime),
            Self::OpenTelemetry(tracer) => flush(&mut tracer.flush, "opentelemetry", runtime),
            // Its library has no such settings.
            Self::Datadog(_) => false,
        }
    }
}

fn flush(flush: &mut SpanFlush, provider: &str, runtime: &Runtime) -> bool {
    let key = |leaf: &str| format!("tracing.{provider}.{leaf}");
    let spans = runtime.small(&key("min_flush_spans")).map(|spans| spans.max(1));
    // A time of zero would be a busy loop.
    let millis = |leaf| runtime.millis(&key(leaf)).map(|time| time.max(MILLISECOND));
    let changed = [
        set(&mut flush.spans_min, spans),
        set(&mut flush.interval, millis("flush_interval_ms")),
        set(&mut flush.timeout, millis("request_timeout")),
    ];
    changed.contains(&true)
}

const MILLISECOND: std::time::Duration = std::time::Duration::from_millis(1);

impl Runtime {
    /// A provider as it is now.
    #[must_use]
    pub fn tracing(&self, provider: &Arc<TracingProvider>) -> Arc<TracingProvider> {
        self.now(provider)
    }
}
