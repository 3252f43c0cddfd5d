//! Recording: every worker has its own stores, and finds them without a lock after the first time.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use parking_lot::Mutex;

use super::family::{Family, Found, Memory, Series};
use super::rules::{MetricRule, MetricRules};
use super::series::{HttpOutcome, Labels, RequestSample, RequestSeries, TcpSeries};
use super::summary::{self, ServiceSummary};
use super::{
    BUILD, LabelSet, Metric, OVERFLOW, REQUEST_BYTES, REQUEST_DURATION, REQUEST_MESSAGES, REQUESTS,
    RESPONSE_BYTES, RESPONSE_MESSAGES, TCP_CLOSED, TCP_OPENED, TCP_RECEIVED, TCP_SENT,
};
use crate::histogram::{AtomicHistogram, HistogramSnapshot};
use crate::labels::Reporter;
use crate::stats::exposition::{Exposition, LabelPairs};

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
    rules: Mutex<MetricRules>,
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
            rules: Mutex::default(),
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
            requests: Memory::default(),
            connections: Memory::default(),
        }
    }

    /// Replaces what is changed about the metrics of one side; later rules win.
    pub fn set_rules(&self, reporter: Reporter, rules: Vec<MetricRule>) {
        self.rules.lock().set(reporter, rules);
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
        let build = [("component", &self.settings.component), ("tag", &self.settings.version)];
        text.integer(BUILD.name, &LabelPairs::new(build), 1);
        text.begin(&OVERFLOW);
        text.integer(OVERFLOW.name, &LabelPairs::default(), self.overflowed());
    }

    /// One summary for each pair of reporter, calling workload and service: the numbers that a
    /// person wants first. Also see [`ServiceSummary::by_service`].
    #[must_use]
    pub fn summaries(&self) -> Vec<ServiceSummary> {
        summary::summarize(self.requests.lock().series())
    }

    fn render_requests(&self, text: &mut Exposition<'_>) {
        let family = self.requests.lock();
        let all = Labelled::new(family.series(), LabelSet::Http, self.rules.lock().clone());
        all.counters(text, &REQUESTS, |store| &store.requests);
        all.histograms(text, &REQUEST_DURATION, |store| &store.duration);
        all.histograms(text, &REQUEST_BYTES, |store| &store.request_bytes);
        all.histograms(text, &RESPONSE_BYTES, |store| &store.response_bytes);
        all.counters(text, &REQUEST_MESSAGES, |store| &store.request_messages);
        all.counters(text, &RESPONSE_MESSAGES, |store| &store.response_messages);
    }

    fn render_connections(&self, text: &mut Exposition<'_>) {
        let family = self.connections.lock();
        let all = Labelled::new(family.series(), LabelSet::Tcp, self.rules.lock().clone());
        all.counters(text, &TCP_OPENED, |store| &store.opened);
        all.counters(text, &TCP_CLOSED, |store| &store.closed);
        all.counters(text, &TCP_SENT, |store| &store.sent);
        all.counters(text, &TCP_RECEIVED, |store| &store.received);
    }
}

/// Series beside the text of their labels, made once for all metrics that no rule changes.
struct Labelled<'a, S> {
    plain: Vec<(LabelPairs, &'a Series<S>)>,
    set: LabelSet,
    rules: MetricRules,
}

impl<'a, S> Labelled<'a, S> {
    fn new(all: &'a [Series<S>], set: LabelSet, rules: MetricRules) -> Self {
        let plain = all.iter().map(|series| (series.labels.pairs(set, &[]), series)).collect();
        Self { plain, set, rules }
    }

    /// The series of one metric by the labels that are shown; more than one where a rule removed
    /// the label in which they differ.
    fn shown(&self, metric: &Metric) -> BTreeMap<Cow<'_, LabelPairs>, Vec<&'a Series<S>>> {
        let mut shown: BTreeMap<Cow<'_, LabelPairs>, Vec<&'a Series<S>>> = BTreeMap::new();
        for (plain, series) in &self.plain {
            let reporter = series.labels.reporter;
            if self.rules.is_dropped(reporter, metric.name) {
                continue;
            }
            let removed = self.rules.removed(reporter, metric.name);
            let labels = if removed.is_empty() {
                Cow::Borrowed(plain)
            } else {
                Cow::Owned(series.labels.pairs(self.set, &removed))
            };
            shown.entry(labels).or_default().push(series);
        }
        shown
    }

    fn counters(
        &self,
        text: &mut Exposition<'_>,
        metric: &Metric,
        number: impl Fn(&S) -> &AtomicU64 + Copy,
    ) {
        // Only gRPC has messages; the series of other protocols would be zero for ever.
        let only_grpc = metric.unit == REQUEST_MESSAGES.unit;
        let shown = self.shown(metric);
        let totals = shown.iter().map(|(labels, all)| {
            (labels, all.iter().map(|series| series.total(number)).sum::<u64>())
        });
        let mut totals = totals.filter(|(_, total)| !only_grpc || *total > 0).peekable();
        if totals.peek().is_some() {
            text.begin(metric);
        }
        totals.for_each(|(labels, total)| text.integer(metric.name, labels, total));
    }

    fn histograms(
        &self,
        text: &mut Exposition<'_>,
        metric: &Metric,
        histogram: impl Fn(&S) -> &AtomicHistogram,
    ) {
        let shown = self.shown(metric);
        if !shown.is_empty() {
            text.begin(metric);
        }
        for (labels, all) in &shown {
            let stores = all.iter().flat_map(|series| series.stores());
            let merged = stores.map(|store| histogram(store).snapshot()).reduce(
                |mut sum: HistogramSnapshot, next| {
                    sum.merge(&next);
                    sum
                },
            );
            if let Some(merged) = merged {
                text.histogram(metric.name, labels, &merged);
            }
        }
    }
}

/// The recorder of one worker. It stays on the worker's thread; recording takes no lock once a set
/// of labels has been seen on it.
#[derive(Debug)]
pub struct WorkerMetrics {
    shared: Arc<MeshMetrics>,
    index: usize,
    requests: Memory<RequestSeries>,
    connections: Memory<TcpSeries>,
}

impl WorkerMetrics {
    /// Records one finished request.
    pub fn request(&self, labels: &Labels<'_>, outcome: HttpOutcome, sample: &RequestSample) {
        let found = self.requests.find(self.index, &self.shared.requests, labels, outcome);
        self.noticed(found).record(sample);
    }

    /// The numbers to which a TCP connection with these labels adds; ask once a connection.
    #[must_use]
    pub fn tcp(&self, labels: &Labels<'_>) -> Arc<TcpSeries> {
        let outcome = HttpOutcome::default();
        self.noticed(self.connections.find(self.index, &self.shared.connections, labels, outcome))
    }

    fn noticed<S>(&self, found: Found<S>) -> Arc<S> {
        match found {
            Found::Own(series) => series,
            Found::Overflow(series) => {
                if self.shared.overflow.fetch_add(1, Relaxed) == 0 {
                    tracing::warn!(
                        series_max = self.shared.settings.series_max,
                        "too many metric series, further ones are counted under unknown labels"
                    );
                }
                series
            }
        }
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
        assert_eq!(totals, ["3", "2", "1"], "all others, 200, 201");
        assert!(text.contains("response_code=\"unknown\""));
        assert!(text.contains("\niako_metric_series_overflow_total 3\n"));
    }

    #[test]
    fn rules_of_the_telemetry_api_drop_metrics_and_sum_over_removed_labels() {
        let metrics = MeshMetrics::new(MetricsSettings::default());
        let (worker, parts) = (metrics.worker(), parts());
        for code in [200, 404] {
            let labels = parts.labels(ResponseFlags::NONE);
            worker.request(&labels, ok(code), &RequestSample::default());
        }
        let rule = |metric: &str, drop, labels: &[&str]| MetricRule {
            metric: metric.to_owned(),
            drop,
            labels_removed: labels.iter().map(|label| (*label).to_owned()).collect(),
        };
        metrics.set_rules(
            Reporter::Destination,
            vec![
                rule("request_duration_milliseconds", true, &[]),
                rule("requests_total", false, &["response_code"]),
            ],
        );
        let text = render(&metrics);
        let lines = |metric: &str| text.lines().filter(|line| line.starts_with(metric)).count();
        assert_eq!((lines("istio_requests_total"), lines("istio_request_duration")), (1, 0));
        let line = text.lines().find(|line| line.starts_with("istio_requests_total")).unwrap();
        assert!(line.ends_with(" 2") && !line.contains("response_code"), "{line}");
        metrics.set_rules(Reporter::Destination, Vec::new());
        assert!(render(&metrics).contains("response_code=\"404\""));
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
