//! Counting gRPC calls, with the statistics of their cluster.

use std::cell::Cell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwap;
use iako_http::{BodyEvent, Fields, Known};
use iako_proxy_config::GrpcStats;
use iako_telemetry::{Counter, Histogram, StatsRegistry, StatsScope};
use iako_traffic::{CountedCall, CountedCalls};

use crate::http::grpc::MessageCounter;

/// Methods that one filter counts apart, over all clusters; calls of further ones are counted
/// together. Envoy has no bound.
pub(crate) const METHODS_MAX: usize = 4096;

/// Statuses of one method that have a counter of their own beyond those that gRPC knows.
const OTHER_STATUSES_MAX: usize = 64;

/// By cluster, service and method.
type Known3 = HashMap<Box<str>, HashMap<Box<str>, HashMap<Box<str>, Arc<CallStats>>>>;

/// A filter that counts calls, compiled.
#[derive(Debug)]
pub(crate) struct GrpcStatsStep {
    pub(crate) settings: GrpcStats,
    calls: CountedCalls,
    stats: StatsRegistry,
    known: ArcSwap<Known3>,
}

/// `cluster.<name>.grpc.…` of one method, or of all that are counted together. What never happens is
/// never made, as in Envoy.
#[derive(Debug)]
pub(crate) struct CallStats {
    scope: StatsScope,
    success: OnceLock<Counter>,
    failure: OnceLock<Counter>,
    total: OnceLock<Counter>,
    requests: OnceLock<Counter>,
    responses: OnceLock<Counter>,
    time: OnceLock<Histogram>,
    first: OnceLock<Box<StatusStats>>,
}

/// A status with its counter; found by walking, as calls end in few ways.
#[derive(Debug)]
struct StatusStats {
    status: Box<str>,
    counter: Counter,
    next: OnceLock<Box<Self>>,
}

impl StatusStats {
    fn new(status: &str, scope: &StatsScope) -> Box<Self> {
        let counter = scope.counter(status);
        Box::new(Self { status: status.into(), counter, next: OnceLock::new() })
    }
}

impl CallStats {
    fn new(scope: StatsScope) -> Arc<Self> {
        Arc::new(Self {
            scope,
            success: OnceLock::new(),
            failure: OnceLock::new(),
            total: OnceLock::new(),
            requests: OnceLock::new(),
            responses: OnceLock::new(),
            time: OnceLock::new(),
            first: OnceLock::new(),
        })
    }

    fn leaf<'s>(&self, place: &'s OnceLock<Counter>, name: &str) -> &'s Counter {
        place.get_or_init(|| self.scope.counter(name))
    }

    /// Counts how a call ended, by the `grpc-status` of these fields; without one nothing has ended.
    pub(crate) fn ended(&self, status: Option<&[u8]>) {
        let Some(status) = status.and_then(|status| std::str::from_utf8(status).ok()) else {
            return;
        };
        self.count_status(status);
        if status == "0" {
            self.leaf(&self.success, "success").inc();
        } else {
            self.leaf(&self.failure, "failure").inc();
        }
        self.leaf(&self.total, "total").inc();
    }

    fn count_status(&self, status: &str) {
        let made = || StatusStats::new(status, &self.scope);
        let mut known = self.first.get_or_init(made);
        for _other in 0..OTHER_STATUSES_MAX {
            if *known.status == *status {
                known.counter.inc();
                return;
            }
            known = known.next.get_or_init(made);
        }
    }

    /// Measures how long the server took.
    pub(crate) fn took(&self, time: Duration) {
        self.time.get_or_init(|| self.scope.histogram("upstream_rq_time")).record(time);
    }
}

impl GrpcStatsStep {
    pub(super) fn compile(settings: &GrpcStats, stats: &StatsRegistry) -> Self {
        Self {
            settings: settings.clone(),
            calls: CountedCalls::compile(settings),
            stats: stats.clone(),
            known: ArcSwap::default(),
        }
    }

    /// Where a call to a target is counted; nowhere when the target is none of gRPC. Only the first
    /// call of a method waits for anything.
    pub(crate) fn call(&self, cluster: &str, target: &str) -> Option<Arc<CallStats>> {
        let (service, method) = match self.calls.call(target) {
            CountedCall::Not => return None,
            CountedCall::Together => ("".into(), ""),
            CountedCall::Apart { service, method } => (service, method),
        };
        let find = |service: &str, method: &str| {
            let known = self.known.load();
            known.get(cluster)?.get(service)?.get(method).map(Arc::clone)
        };
        if let Some(found) = find(&service, method) {
            return Some(found);
        }
        if !service.is_empty() && self.count() >= METHODS_MAX {
            return Some(find("", "").unwrap_or_else(|| self.add(cluster, "", "")));
        }
        Some(self.add(cluster, &service, method))
    }

    fn count(&self) -> usize {
        let known = self.known.load();
        known.values().flat_map(HashMap::values).map(HashMap::len).sum()
    }

    fn add(&self, cluster: &str, service: &str, method: &str) -> Arc<CallStats> {
        let scope = self.stats.cluster(cluster);
        let scope = if service.is_empty() {
            scope.part("grpc")
        } else {
            let scope = scope.named_part("grpc", "envoy_grpc_bridge_service", service);
            scope.labelled_part("envoy_grpc_bridge_method", method)
        };
        let made = CallStats::new(scope);
        self.known.rcu(|known| {
            let mut known = Known3::clone(known);
            let of_cluster = known.entry(cluster.into()).or_default();
            let methods = of_cluster.entry(service.into()).or_default();
            methods.entry(method.into()).or_insert_with(|| Arc::clone(&made));
            known
        });
        let known = self.known.load();
        let found = known.get(cluster).and_then(|known| known.get(service));
        found.and_then(|known| known.get(method)).map_or(made, Arc::clone)
    }
}

/// Messages of a call so far: of the request, and of the response.
pub(crate) type Messages = Rc<Cell<[u64; 2]>>;

/// A call that is counted.
#[derive(Debug)]
pub(crate) struct CountedExchange {
    /// Where its filter stands in the chain.
    pub(crate) place: usize,
    /// Where it is counted.
    pub(crate) stats: Option<Arc<CallStats>>,
    pub(crate) messages: Messages,
    /// Whether its messages are told to logs.
    pub(crate) emits: bool,
    /// Whether the server's time is measured.
    pub(crate) measures: bool,
}

/// Which way messages go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MessageSide {
    Request,
    Response,
    /// That of a response that is none of gRPC: only how it ends counts.
    Other,
}

/// Counts the messages of content that passes.
#[derive(Debug)]
pub(crate) struct CountMessages {
    counter: MessageCounter,
    side: MessageSide,
    stats: Option<Arc<CallStats>>,
    messages: Messages,
    next: Option<BodyEvent>,
}

impl CountMessages {
    /// Counts messages of a call that go this way.
    pub(crate) fn new(call: &CountedExchange, side: MessageSide) -> Self {
        let mut counter = MessageCounter::default();
        if side != MessageSide::Other {
            counter.enable();
        }
        let (stats, messages) = (call.stats.clone(), Rc::clone(&call.messages));
        Self { counter, side, stats, messages, next: None }
    }

    pub(crate) fn give(&mut self, event: BodyEvent) {
        match &event {
            BodyEvent::Data(data) => self.count(data),
            BodyEvent::Trailers(trailers) => self.end(trailers),
            BodyEvent::End => {}
        }
        self.next = Some(event);
    }

    pub(crate) fn take(&mut self) -> Option<BodyEvent> {
        self.next.take()
    }

    fn count(&mut self, data: &[u8]) {
        let before = self.counter.messages();
        self.counter.count(data);
        let came = self.counter.messages().saturating_sub(before);
        if came == 0 {
            return;
        }
        let [requests, responses] = self.messages.get();
        self.messages.set(match self.side {
            MessageSide::Request => [requests.saturating_add(came), responses],
            MessageSide::Response | MessageSide::Other => {
                [requests, responses.saturating_add(came)]
            }
        });
        let Some(stats) = &self.stats else { return };
        match self.side {
            MessageSide::Request => {
                stats.leaf(&stats.requests, "request_message_count").add(came);
            }
            MessageSide::Response | MessageSide::Other => {
                stats.leaf(&stats.responses, "response_message_count").add(came);
            }
        }
    }

    fn end(&self, trailers: &Fields) {
        if let Some(stats) = self.stats.as_ref().filter(|_| self.side != MessageSide::Request) {
            stats.ended(trailers.get(Known::GrpcStatus));
        }
    }
}
