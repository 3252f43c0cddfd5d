//! Recording: every worker has its own stores, and finds them without a lock after the first time.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use parking_lot::Mutex;

use super::series::{
    Family, Found, HttpOutcome, KeyMap, Labels, RequestSample, RequestSeries, Series, SeriesKey,
    TcpSeries,
};
use super::summary::{self, ServiceSummary};
use super::{
    BUILD, Metric, OVERFLOW, REQUEST_BYTES, REQUEST_DURATION, REQUEST_MESSAGES, REQUESTS,
    RESPONSE_BYTES, RESPONSE_MESSAGES, TCP_CLOSED, TCP_OPENED, TCP_RECEIVED, TCP_SENT,
};
use crate::histogram::{AtomicHistogram, HistogramSnapshot};
use crate::labels::Reporter;
use crate::stats::exposition::Exposition;

/// Bounds and facts that do not change while the process lives.
#[derive(Clone, Debug)]
pub struct MetricsSettings {
    /// Most label sets of requests, and of TCP connections. Default: 2,000. One set of a request
    /// costs about 2 KiB a worker that has seen it.
    pub series_max: usize,
    /// The label `component` of `istio_build`. Default: `proxy`.
    pub component: String,
    /// The label `tag` of `istio_build`. Default: this crate's version.
    pub version: String,
}

impl Default for MetricsSettings {
    fn default() -> Self {
        Self {
            series_max: 2_000,
            component: "proxy".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }
}

/// The standard metrics of one proxy, shared by its workers and its admin endpoint.
#[derive(Debug)]
pub struct MeshMetrics {
    settings: MetricsSettings,
    requests: Mutex<Family<RequestSeries>>,
    connections: Mutex<Family<TcpSeries>>,
    overflow: AtomicU64,
    workers: AtomicUsize,
}

impl MeshMetrics {
    /// No series yet.
    #[must_use]
    pub fn new(settings: MetricsSettings) -> Arc<Self> {
        Arc::new(Self {
            requests: Mutex::new(Family::new(settings.series_max)),
            connections: Mutex::new(Family::new(settings.series_max)),
            settings,
            overflow: AtomicU64::new(0),
            workers: AtomicUsize::new(0),
        })
    }

    /// A recorder for one worker; call once a worker.
    #[must_use]
    pub fn worker(self: &Arc<Self>) -> WorkerMetrics {
        WorkerMetrics {
            index: self.workers.fetch_add(1, Relaxed),
            shared: Arc::clone(self),
            requests: RefCell::new(KeyMap::default()),
            overflow: RefCell::new(KeyMap::default()),
            rejected: RefCell::new(KeyMap::default()),
        }
    }

    /// How many records found no series of their own because the bound was reached.
    #[must_use]
    pub fn overflowed(&self) -> u64 {
        self.overflow.load(Relaxed)
    }

    /// Every metric in the text format of Prometheus, appended to `out`.
    pub fn render_prometheus(&self, out: &mut String) {
        let mut text = Exposition::new(out);
        self.render_requests(&mut text);
        self.render_connections(&mut text);
        text.begin(&BUILD);
        let build = [
            ("component", self.settings.component.clone()),
            ("tag", self.settings.version.clone()),
        ];
        text.integer(BUILD.name, &build, 1);
        text.begin(&OVERFLOW);
        text.integer(OVERFLOW.name, &[], self.overflowed());
    }

    /// One summary for each pair of reporter, calling workload and service: the numbers that a
    /// person wants first. Also see [`ServiceSummary::by_service`].
    #[must_use]
    pub fn summaries(&self) -> Vec<ServiceSummary> {
        summary::summarize(self.requests.lock().series())
    }

    fn render_requests(&self, text: &mut Exposition<'_>) {
        let family = self.requests.lock();
        let all = family.series();
        counters(text, &REQUESTS, all, |store| &store.requests);
        histograms(text, &REQUEST_DURATION, all, |store| &store.duration);
        histograms(text, &REQUEST_BYTES, all, |store| &store.request_bytes);
        histograms(text, &RESPONSE_BYTES, all, |store| &store.response_bytes);
        counters(text, &REQUEST_MESSAGES, all, |store| &store.request_messages);
        counters(text, &RESPONSE_MESSAGES, all, |store| &store.response_messages);
    }

    fn render_connections(&self, text: &mut Exposition<'_>) {
        let family = self.connections.lock();
        let all = family.series();
        counters(text, &TCP_OPENED, all, |store| &store.opened);
        counters(text, &TCP_CLOSED, all, |store| &store.closed);
        counters(text, &TCP_SENT, all, |store| &store.sent);
        counters(text, &TCP_RECEIVED, all, |store| &store.received);
    }
}

fn counters<S>(
    text: &mut Exposition<'_>,
    metric: &Metric,
    all: &[Series<S>],
    number: impl Fn(&S) -> &AtomicU64 + Copy,
) {
    let only_grpc = metric.unit == REQUEST_MESSAGES.unit;
    let mut begun = false;
    for series in all {
        let total = series.total(number);
        if only_grpc && total == 0 {
            continue;
        }
        if !begun {
            text.begin(metric);
            begun = true;
        }
        text.integer(metric.name, &series.labels.pairs(metric.labels), total);
    }
}

fn histograms(
    text: &mut Exposition<'_>,
    metric: &Metric,
    all: &[Series<RequestSeries>],
    histogram: impl Fn(&RequestSeries) -> &AtomicHistogram,
) {
    for (position, series) in all.iter().enumerate() {
        if position == 0 {
            text.begin(metric);
        }
        let mut stores = series.stores().map(|store| histogram(store).snapshot());
        let Some(first) = stores.next() else { continue };
        let merged: HistogramSnapshot = stores.fold(first, |mut sum, next| {
            sum.merge(&next);
            sum
        });
        text.histogram(metric.name, &series.labels.pairs(metric.labels), &merged);
    }
}

/// The recorder of one worker. It stays on the worker's thread; recording takes no lock once a set
/// of labels has been seen on it.
#[derive(Debug)]
pub struct WorkerMetrics {
    shared: Arc<MeshMetrics>,
    index: usize,
    requests: RefCell<KeyMap<Arc<RequestSeries>>>,
    overflow: RefCell<KeyMap<Arc<RequestSeries>>>,
    /// Keys for which there was no place; there never will be, series are not removed.
    rejected: RefCell<KeyMap<()>>,
}

impl WorkerMetrics {
    /// Records one finished request.
    pub fn request(&self, labels: &Labels<'_>, outcome: HttpOutcome, sample: &RequestSample) {
        let key = SeriesKey::new(labels, outcome);
        if let Some(series) = self.requests.borrow().get(&key) {
            series.record(sample);
            return;
        }
        self.first_sight(key, labels, outcome).record(sample);
    }

    /// The numbers to which a TCP connection with these labels adds; ask once a connection.
    #[must_use]
    pub fn tcp(&self, labels: &Labels<'_>) -> Arc<TcpSeries> {
        let outcome = HttpOutcome::default();
        let key = SeriesKey::new(labels, outcome);
        let found = self.shared.connections.lock().find(self.index, key, labels, outcome);
        match found {
            Found::Own(series) => series,
            Found::Overflow(series) => {
                self.shared.overflow.fetch_add(1, Relaxed);
                series
            }
        }
    }

    fn first_sight(
        &self,
        key: SeriesKey,
        labels: &Labels<'_>,
        outcome: HttpOutcome,
    ) -> Arc<RequestSeries> {
        if self.is_rejected(&key) {
            return self.overflow(labels.reporter);
        }
        let found = self.shared.requests.lock().find(self.index, key, labels, outcome);
        match found {
            Found::Own(series) => {
                self.requests.borrow_mut().insert(key, Arc::clone(&series));
                series
            }
            Found::Overflow(_) => {
                self.rejected.borrow_mut().insert(key, ());
                self.overflow(labels.reporter)
            }
        }
    }

    /// True when asking the shared table can be spared: it said no before, or it has said no so
    /// often that the answer is no longer worth a lock.
    fn is_rejected(&self, key: &SeriesKey) -> bool {
        let rejected = self.rejected.borrow();
        rejected.contains_key(key) || rejected.len() >= self.shared.settings.series_max.max(16)
    }

    fn overflow(&self, reporter: Reporter) -> Arc<RequestSeries> {
        if self.shared.overflow.fetch_add(1, Relaxed) == 0 {
            tracing::warn!(
                series_max = self.shared.settings.series_max,
                "too many metric series, further ones are counted under unknown labels"
            );
        }
        let key = SeriesKey::overflow(reporter);
        if let Some(series) = self.overflow.borrow().get(&key) {
            return Arc::clone(series);
        }
        let series = self.shared.requests.lock().overflow(self.index, reporter);
        self.overflow.borrow_mut().insert(key, Arc::clone(&series));
        series
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::flags::{ResponseFlag, ResponseFlags};
    use crate::labels::{
        Principal, RequestProtocol, SecurityPolicy, ServiceLabels, WorkloadFacts, WorkloadLabels,
    };

    struct Parts {
        web: WorkloadLabels,
        cart: WorkloadLabels,
        service: ServiceLabels,
        principal: Principal,
    }

    fn parts() -> Parts {
        let workload = |name: &str, version: &str| {
            WorkloadLabels::new(&WorkloadFacts {
                workload: name.to_owned(),
                namespace: "shop".to_owned(),
                version: version.to_owned(),
                ..WorkloadFacts::default()
            })
        };
        Parts {
            web: workload("web", ""),
            cart: workload("cart", "v1"),
            service: ServiceLabels::from_host("cart.shop.svc.cluster.local"),
            principal: Principal::new("spiffe://cluster.local/ns/shop/sa/web"),
        }
    }

    impl Parts {
        fn labels(&self, flags: ResponseFlags) -> Labels<'_> {
            Labels {
                reporter: Reporter::Destination,
                source: &self.web,
                source_principal: &self.principal,
                destination: &self.cart,
                destination_principal: &self.principal,
                service: &self.service,
                protocol: RequestProtocol::Http,
                security: SecurityPolicy::MutualTls,
                flags,
            }
        }
    }

    fn ok(code: u16) -> HttpOutcome {
        HttpOutcome { response_code: code, grpc_status: None }
    }

    fn render(metrics: &MeshMetrics) -> String {
        let mut out = String::new();
        metrics.render_prometheus(&mut out);
        out
    }

    #[test]
    fn requests_of_all_workers_add_up_in_one_series_with_istio_labels() {
        let metrics = MeshMetrics::new(MetricsSettings::default());
        let (one, two) = (metrics.worker(), metrics.worker());
        let (parts, again) = (parts(), parts());
        let sample =
            RequestSample { duration: Duration::from_millis(3), ..RequestSample::default() };
        one.request(&parts.labels(ResponseFlags::NONE), ok(200), &sample);
        two.request(&again.labels(ResponseFlags::NONE), ok(200), &sample);
        let text = render(&metrics);
        let line = text.lines().find(|line| line.starts_with("istio_requests_total")).unwrap();
        assert_eq!(
            line,
            "istio_requests_total{reporter=\"destination\",source_workload=\"web\",\
             source_canonical_service=\"unknown\",source_canonical_revision=\"unknown\",\
             source_workload_namespace=\"shop\",\
             source_principal=\"spiffe://cluster.local/ns/shop/sa/web\",source_app=\"unknown\",\
             source_version=\"unknown\",source_cluster=\"unknown\",destination_workload=\"cart\",\
             destination_workload_namespace=\"shop\",\
             destination_principal=\"spiffe://cluster.local/ns/shop/sa/web\",\
             destination_app=\"unknown\",destination_version=\"v1\",\
             destination_service=\"cart.shop.svc.cluster.local\",\
             destination_canonical_service=\"unknown\",\
             destination_canonical_revision=\"unknown\",destination_service_name=\"cart\",\
             destination_service_namespace=\"shop\",destination_cluster=\"unknown\",\
             request_protocol=\"http\",response_code=\"200\",grpc_response_status=\"\",\
             response_flags=\"-\",connection_security_policy=\"mutual_tls\"} 2"
        );
        assert!(text.contains("# TYPE istio_request_duration_milliseconds histogram\n"));
        assert!(text.contains("le=\"1\"} 0\n") && text.contains("le=\"5\"} 2\n"));
    }

    #[test]
    fn labels_beyond_the_bound_are_counted_as_unknown_and_noticed() {
        let settings = MetricsSettings { series_max: 2, ..MetricsSettings::default() };
        let metrics = MeshMetrics::new(settings);
        let worker = metrics.worker();
        let parts = parts();
        for code in [200, 201, 202, 203, 202, 200] {
            let labels = parts.labels(ResponseFlag::NoRouteFound.into());
            worker.request(&labels, ok(code), &RequestSample::default());
        }
        let text = render(&metrics);
        let totals: Vec<&str> = text
            .lines()
            .filter(|line| line.starts_with("istio_requests_total"))
            .filter_map(|line| line.rsplit(' ').next())
            .collect();
        assert_eq!(totals, ["2", "1", "3"]);
        assert!(text.contains("response_code=\"unknown\""));
        assert!(text.contains("\niako_metric_series_overflow_total 3\n"));
    }

    #[test]
    fn a_tcp_connection_counts_without_http_labels() {
        let metrics = MeshMetrics::new(MetricsSettings::default());
        let parts = parts();
        let mut labels = parts.labels(ResponseFlags::NONE);
        labels.protocol = RequestProtocol::Tcp;
        let series = metrics.worker().tcp(&labels);
        series.opened();
        series.sent(1_000);
        series.sent(24);
        let text = render(&metrics);
        let line = text.lines().find(|line| line.starts_with("istio_tcp_sent")).unwrap();
        assert!(line.ends_with(" 1024") && line.contains("request_protocol=\"tcp\""), "{line}");
        assert!(!line.contains("response_code"), "{line}");
    }
}
