//! Statistics of requests that are counted apart from the rest of their cluster.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use iako_telemetry::{Counter, Histogram, StatsScope};

macro_rules! handles {
    ($($field:ident = $leaf:literal,)*) => {
        /// `vhost.<name>.vcluster.<name>.…` and `vhost.<name>.route.<stat_prefix>.…`; see the page of
        /// metrics for what each one counts.
        #[derive(Debug)]
        pub(crate) struct RequestStats {
            $(pub(crate) $field: Counter,)*
            answers: Answers,
            /// The name in logs.
            name: Option<Box<str>>,
        }

        impl RequestStats {
            pub(super) fn new(scope: StatsScope, name: Option<&str>) -> Self {
                Self {
                    $($field: scope.counter($leaf),)*
                    answers: Answers { scope, first: OnceLock::new(), time: OnceLock::new() },
                    name: name.map(Into::into),
                }
            }
        }
    };
}

handles! {
    total = "upstream_rq_total",
    timeout = "upstream_rq_timeout",
    retry = "upstream_rq_retry",
    retry_success = "upstream_rq_retry_success",
    retry_overflow = "upstream_rq_retry_overflow",
    retry_limit_exceeded = "upstream_rq_retry_limit_exceeded",
}

/// What counts answers: there from the first of its kind on, as in Envoy.
#[derive(Debug)]
struct Answers {
    scope: StatsScope,
    /// By status; found by walking, as an upstream has few.
    first: OnceLock<Box<Status>>,
    time: OnceLock<Histogram>,
}

#[derive(Debug)]
struct Status {
    status: u16,
    /// All answers, those of its class, and those of this very status.
    counters: [Counter; 3],
    next: OnceLock<Box<Self>>,
}

impl Status {
    fn new(status: u16, scope: &StatsScope) -> Box<Self> {
        let leaves = ["completed".to_owned(), format!("{}xx", status / 100), status.to_string()];
        let counters = leaves.map(|leaf| scope.counter(&format!("upstream_rq_{leaf}")));
        Box::new(Self { status, counters, next: OnceLock::new() })
    }
}

impl Answers {
    /// Counts an answer, and the time from the request's end to its own where a server gave it. Only
    /// the first of each status waits for the registry.
    fn count(&self, status: u16, took: Option<Duration>) {
        let made = || Status::new(status, &self.scope);
        let mut known = self.first.get_or_init(made);
        while known.status != status {
            known = known.next.get_or_init(made);
        }
        known.counters.iter().for_each(Counter::inc);
        if let Some(took) = took {
            self.time.get_or_init(|| self.scope.histogram("upstream_rq_time")).record(took);
        }
    }
}

/// Where one request is counted apart; nowhere for most.
#[derive(Debug, Default, Clone)]
pub(crate) struct Tally(Option<Box<Places>>);

/// The sort that a request is of, and its route.
#[derive(Debug, Clone)]
struct Places {
    sort: Option<Arc<RequestStats>>,
    route: Option<Arc<RequestStats>>,
}

impl Tally {
    /// The sort that a request is of, and its route.
    pub(super) fn new(sort: Option<Arc<RequestStats>>, route: Option<Arc<RequestStats>>) -> Self {
        Self((sort.is_some() || route.is_some()).then(|| Box::new(Places { sort, route })))
    }

    /// Counts something.
    pub(crate) fn count(&self, counter: impl Fn(&RequestStats) -> &Counter) {
        self.add(1, counter);
    }

    /// Counts something several times.
    pub(crate) fn add(&self, times: u64, counter: impl Fn(&RequestStats) -> &Counter) {
        self.each(|stats| counter(stats).add(times));
    }

    /// Counts the answer of the request.
    pub(crate) fn answered(&self, status: u16, took: Option<Duration>) {
        self.each(|stats| stats.answers.count(status, took));
    }

    /// The name of the sort that the request is of.
    pub(crate) fn virtual_cluster(&self) -> Option<&str> {
        self.0.as_ref()?.sort.as_ref()?.name.as_deref()
    }

    fn each(&self, count: impl Fn(&RequestStats)) {
        if let Some(places) = &self.0 {
            let each = places.sort.iter().chain(&places.route);
            each.for_each(|stats| count(stats));
        }
    }
}

#[cfg(test)]
mod tests {
    use iako_telemetry::StatsRegistry;

    use super::*;

    #[test]
    fn every_status_has_a_counter_of_its_own_from_its_first_answer_on() {
        let registry = StatsRegistry::new(1);
        let scope = registry.virtual_host("a").named_part("vcluster", "c", "v");
        let stats = Arc::new(RequestStats::new(scope, Some("v")));
        let value = |leaf: &str| registry.value(&format!("vhost.a.vcluster.v.{leaf}"));
        assert_eq!((value("upstream_rq_200"), value("upstream_rq_total")), (None, Some(0)));
        let tally = Tally::new(Some(Arc::clone(&stats)), Some(stats));
        for status in [200, 404, 200] {
            tally.answered(status, None);
        }
        assert_eq!((value("upstream_rq_200"), value("upstream_rq_404")), (Some(4), Some(2)));
        assert_eq!((value("upstream_rq_2xx"), value("upstream_rq_completed")), (Some(4), Some(6)));
    }
}
