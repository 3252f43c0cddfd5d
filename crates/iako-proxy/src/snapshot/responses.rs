//! How often each status was answered in the name of a cluster, and how its connections ended.

use std::cell::Cell;
use std::sync::OnceLock;
use std::time::Duration;

use iako_telemetry::{Counter, Gauge, Histogram, StatsScope};
use parking_lot::Mutex;

use super::stats::handles;

/// Statuses that servers answer often, in order: these are counted without a lock.
const USUAL: [u16; 40] = [
    100, 101, 103, 200, 201, 202, 203, 204, 205, 206, 207, 300, 301, 302, 303, 304, 307, 308, 400,
    401, 402, 403, 404, 405, 406, 408, 409, 410, 411, 412, 413, 415, 422, 426, 429, 500, 501, 502,
    503, 504,
];
/// Other statuses from 100 to 599 of one cluster; there are no more.
const OTHERS_MAX: usize = 500;

/// Whether a request came from within the mesh, as `x-envoy-internal` tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RequestOrigin {
    Internal,
    External,
}

/// `upstream_rq_…` of responses, beneath one prefix of the cluster's statistics. What never happens is
/// never made.
#[derive(Debug)]
struct Tally {
    completed: Counter,
    classes: [OnceLock<Counter>; 5],
    usual: Box<[OnceLock<Counter>]>,
    others: Mutex<Vec<(u16, Counter)>>,
}

impl Tally {
    fn new(scope: &StatsScope) -> Self {
        Self {
            completed: scope.counter("upstream_rq_completed"),
            classes: Default::default(),
            usual: USUAL.map(|_| OnceLock::new()).into(),
            others: Mutex::default(),
        }
    }

    fn count(&self, scope: &StatsScope, status: u16) {
        self.completed.inc();
        let class = status / 100;
        let class_place = usize::from(class).checked_sub(1);
        if let Some(counter) = class_place.and_then(|place| self.classes.get(place)) {
            counter.get_or_init(|| scope.counter(&format!("upstream_rq_{class}xx"))).inc();
        }
        let made = || scope.counter(&format!("upstream_rq_{status}"));
        match self.usual(status) {
            Some(counter) => counter.get_or_init(made).inc(),
            None if (100..600).contains(&status) => {
                let mut others = self.others.lock();
                match others.iter().find(|(other, _)| *other == status) {
                    Some((_, counter)) => counter.inc(),
                    None if others.len() >= OTHERS_MAX => {}
                    None => {
                        let counter = made();
                        counter.inc();
                        others.push((status, counter));
                    }
                }
            }
            None => {}
        }
    }

    fn usual(&self, status: u16) -> Option<&OnceLock<Counter>> {
        let place = USUAL.binary_search(&status).ok()?;
        self.usual.get(place)
    }

    /// Whether everything exists that such a status is counted by.
    fn knows(&self, status: u16) -> bool {
        self.usual(status).is_some_and(|known| known.get().is_some())
    }
}

/// `cluster.<name>.upstream_rq_<status>`, and the same for requests from within and from outside, and
/// for responses in whose place another try was made.
#[derive(Debug)]
pub(crate) struct ResponseStats {
    scope: StatsScope,
    /// Shown even before the first response.
    _completed: Counter,
    /// How long servers took; there from the first of their answers on.
    time: OnceLock<Histogram>,
    all: OnceLock<Tally>,
    internal: OnceLock<Tally>,
    external: OnceLock<Tally>,
    retried: OnceLock<Tally>,
}

impl ResponseStats {
    pub(super) fn new(scope: StatsScope) -> Self {
        Self {
            _completed: scope.counter("upstream_rq_completed"),
            scope,
            time: OnceLock::new(),
            all: OnceLock::new(),
            internal: OnceLock::new(),
            external: OnceLock::new(),
            retried: OnceLock::new(),
        }
    }

    /// Counts a response that a client is given, the server's or ours.
    pub(crate) fn count(&self, status: u16, origin: RequestOrigin) {
        self.all.get_or_init(|| Tally::new(&self.scope)).count(&self.scope, status);
        let (tally, part) = match origin {
            RequestOrigin::Internal => (&self.internal, "internal"),
            RequestOrigin::External => (&self.external, "external"),
        };
        self.count_part(tally, part, status);
    }

    /// Notes the time from the end of a request to that of its answer.
    pub(crate) fn took(&self, time: Duration) {
        self.time.get_or_init(|| self.scope.histogram("upstream_rq_time")).record(time);
    }

    /// Counts a response in whose place another try is made.
    pub(crate) fn count_retried(&self, status: u16) {
        self.count_part(&self.retried, "retry", status);
    }

    fn count_part(&self, tally: &OnceLock<Tally>, part: &str, status: u16) {
        let known = tally.get();
        match known {
            // A name is composed only for what is counted the first time.
            Some(tally) if tally.knows(status) => tally.count(&self.scope, status),
            Some(_) | None => {
                let scope = self.scope.part(part);
                tally.get_or_init(|| Tally::new(&scope)).count(&scope, status);
            }
        }
    }
}

handles! {
    /// `cluster.<name>.upstream_cx_…` of connections that ended; made with the first connection.
    ConnectionEnds {
        destroy_local: Counter = counter "upstream_cx_destroy_local",
        destroy_remote: Counter = counter "upstream_cx_destroy_remote",
        with_request: Counter = counter "upstream_cx_destroy_with_active_rq",
        local_with_request: Counter = counter "upstream_cx_destroy_local_with_active_rq",
        remote_with_request: Counter = counter "upstream_cx_destroy_remote_with_active_rq",
        length_ms: Histogram = histogram "upstream_cx_length_ms",
        max_requests: Counter = counter "upstream_cx_max_requests",
        close_notify: Counter = counter "upstream_cx_close_notify",
        idle_timeout: Counter = counter "upstream_cx_idle_timeout",
        protocol_error: Counter = counter "upstream_cx_protocol_error",
        pending_failure: Counter = counter "upstream_rq_pending_failure_eject",
        pending_active: Gauge = gauge "upstream_rq_pending_active",
    }
}

impl ConnectionEnds {
    /// Counts the end of a connection.
    pub(crate) fn count(&self, end: ConnectionEnd, age: Duration) {
        self.length_ms.record(age);
        let (all, with_request) = match end.by {
            ClosedBy::Us => (&self.destroy_local, &self.local_with_request),
            ClosedBy::Server => (&self.destroy_remote, &self.remote_with_request),
        };
        all.inc();
        if end.is_used {
            with_request.inc();
            self.with_request.inc();
        }
    }
}

/// Who ended a connection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum ClosedBy {
    #[default]
    Us,
    Server,
}

/// How a connection ends, as far as is known yet.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct ConnectionEnd {
    pub(crate) by: ClosedBy,
    /// Whether a request is on it.
    pub(crate) is_used: bool,
}

/// The same, changed while the connection lives.
#[derive(Debug, Default)]
pub(crate) struct Fate(Cell<ConnectionEnd>);

impl Fate {
    pub(crate) fn use_it(&self) {
        self.0.set(ConnectionEnd { is_used: true, ..self.0.get() });
    }

    pub(crate) fn rest(&self) {
        self.0.set(ConnectionEnd { is_used: false, ..self.0.get() });
    }

    pub(crate) fn closed_by_server(&self) {
        self.0.set(ConnectionEnd { by: ClosedBy::Server, ..self.0.get() });
    }

    pub(crate) fn get(&self) -> ConnectionEnd {
        self.0.get()
    }
}

#[cfg(test)]
mod tests {
    use iako_telemetry::StatsRegistry;

    use super::*;

    #[test]
    fn a_response_is_counted_by_its_class_its_status_and_its_origin() {
        let registry = StatsRegistry::new(1);
        let stats = ResponseStats::new(registry.cluster("c"));
        stats.count(200, RequestOrigin::External);
        stats.count(503, RequestOrigin::Internal);
        stats.count(503, RequestOrigin::Internal);
        stats.count_retried(503);
        stats.count(42, RequestOrigin::External);
        stats.count(218, RequestOrigin::External);
        stats.count(218, RequestOrigin::External);
        let value = |name: &str| registry.value(&format!("cluster.c.{name}"));
        assert_eq!(value("upstream_rq_completed"), Some(6));
        assert_eq!(value("upstream_rq_218"), Some(2), "one that is seldom met");
        assert_eq!(value("upstream_rq_5xx"), Some(2));
        assert_eq!(value("upstream_rq_503"), Some(2));
        assert_eq!(value("internal.upstream_rq_503"), Some(2));
        assert_eq!(value("internal.upstream_rq_5xx"), Some(2));
        assert_eq!(value("external.upstream_rq_200"), Some(1));
        assert_eq!(value("retry.upstream_rq_503"), Some(1));
        assert_eq!(value("retry.upstream_rq_completed"), Some(1));
        assert_eq!(value("external.upstream_rq_503"), None);
    }

    #[test]
    fn the_end_of_a_connection_is_counted_by_who_ended_it() {
        let registry = StatsRegistry::new(1);
        let ends = ConnectionEnds::of(&registry.cluster("c"));
        let fate = Fate::default();
        fate.use_it();
        fate.closed_by_server();
        ends.count(fate.get(), Duration::from_secs(1));
        fate.rest();
        ends.count(fate.get(), Duration::from_secs(1));
        ends.count(ConnectionEnd::default(), Duration::ZERO);
        let value = |name: &str| registry.value(&format!("cluster.c.upstream_cx_{name}"));
        assert_eq!(value("destroy_remote"), Some(2));
        assert_eq!(value("destroy_remote_with_active_rq"), Some(1));
        assert_eq!(value("destroy_with_active_rq"), Some(1));
        assert_eq!(value("destroy_local"), Some(1));
    }
}
