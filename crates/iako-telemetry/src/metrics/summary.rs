//! What a person wants to know first about a service: rate, success, percentiles, versions, mTLS.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::family::Series;
use super::series::RequestSeries;
use crate::histogram::{DURATION, HistogramSnapshot};
use crate::labels::{Reporter, SecurityPolicy};

/// Requests from one workload to one service, as one side saw them. Summaries of several proxies
/// travel as JSON and add up.
#[derive(Clone, Debug)]
pub struct ServiceSummary {
    /// Which side saw the requests.
    pub reporter: Reporter,
    /// Workload that called; empty after [`Self::by_service`].
    pub source: String,
    /// Short name of the service.
    pub service: String,
    /// Its namespace.
    pub namespace: String,
    /// Requests that ended.
    pub requests: u64,
    /// Of these, answered with 5xx or not at all.
    pub failed: u64,
    /// Requests that came over mutual TLS. Only the destination knows.
    pub mutual_tls: u64,
    /// Requests by the version of the workload that answered.
    pub versions: BTreeMap<String, u64>,
    /// Requests by status code, 0 for no answer.
    pub codes: BTreeMap<u16, u64>,
    /// Durations.
    pub durations: HistogramSnapshot,
}

impl ServiceSummary {
    fn empty(reporter: Reporter, source: &str, service: &str, namespace: &str) -> Self {
        Self {
            reporter,
            source: source.to_owned(),
            service: service.to_owned(),
            namespace: namespace.to_owned(),
            requests: 0,
            failed: 0,
            mutual_tls: 0,
            versions: BTreeMap::new(),
            codes: BTreeMap::new(),
            durations: HistogramSnapshot::empty(&DURATION),
        }
    }

    /// Median duration in milliseconds, within 6 %.
    #[must_use]
    pub fn p50_ms(&self) -> Option<f64> {
        self.durations.quantile(0.50)
    }

    /// The duration in milliseconds that one of a hundred requests exceeds, within 6 %.
    #[must_use]
    pub fn p99_ms(&self) -> Option<f64> {
        self.durations.quantile(0.99)
    }

    /// True when there were requests and all of them came over mutual TLS.
    #[must_use]
    pub const fn all_mutual_tls(&self) -> bool {
        self.requests > 0 && self.mutual_tls == self.requests
    }

    /// Adds what another proxy saw.
    pub fn merge(&mut self, other: &Self) {
        self.requests = self.requests.saturating_add(other.requests);
        self.failed = self.failed.saturating_add(other.failed);
        self.mutual_tls = self.mutual_tls.saturating_add(other.mutual_tls);
        add_counts(&mut self.versions, &other.versions);
        add_counts(&mut self.codes, &other.codes);
        self.durations.merge(&other.durations);
    }

    /// What happened since `earlier`, a summary of the same requests: the basis of a rate.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            requests: self.requests.saturating_sub(earlier.requests),
            failed: self.failed.saturating_sub(earlier.failed),
            mutual_tls: self.mutual_tls.saturating_sub(earlier.mutual_tls),
            versions: subtract_counts(&self.versions, &earlier.versions),
            codes: subtract_counts(&self.codes, &earlier.codes),
            durations: self.durations.since(&earlier.durations),
            ..self.clone()
        }
    }

    /// One summary a service as `reporter` saw it, over all callers, in order of namespace and
    /// name.
    #[must_use]
    pub fn by_service(summaries: &[Self], reporter: Reporter) -> Vec<Self> {
        let mut services: BTreeMap<(&str, &str), Self> = BTreeMap::new();
        for summary in summaries.iter().filter(|summary| summary.reporter == reporter) {
            let (namespace, service) = (summary.namespace.as_str(), summary.service.as_str());
            services
                .entry((namespace, service))
                .or_insert_with(|| Self::empty(reporter, "", service, namespace))
                .merge(summary);
        }
        services.into_values().collect()
    }

    /// The form in which a proxy hands its summaries to another process.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let buckets: Vec<Value> = self.durations.sparse_counts().map(|pair| json!(pair)).collect();
        json!({
            "reporter": self.reporter.name(),
            "source": self.source,
            "service": self.service,
            "namespace": self.namespace,
            "requests": self.requests,
            "failed": self.failed,
            "mutual_tls": self.mutual_tls,
            "versions": self.versions,
            "codes": self.codes,
            "duration_buckets": buckets,
            "duration_sum_micros": self.durations.raw_sum(),
        })
    }

    /// Reads [`Self::to_json`] back; `None` when the value is something else.
    #[must_use]
    pub fn from_json(value: &Value) -> Option<Self> {
        let text = |name: &str| value.get(name).and_then(Value::as_str);
        let number = |name: &str| value.get(name).and_then(Value::as_u64);
        let reporter = match text("reporter")? {
            "source" => Reporter::Source,
            "destination" => Reporter::Destination,
            _ => return None,
        };
        let buckets = value.get("duration_buckets")?.as_array()?;
        let counts = buckets.iter().filter_map(|pair| {
            let index = usize::try_from(pair.get(0)?.as_u64()?).ok()?;
            Some((index, pair.get(1)?.as_u64()?))
        });
        Some(Self {
            requests: number("requests")?,
            failed: number("failed")?,
            mutual_tls: number("mutual_tls")?,
            versions: counts_from_json(value.get("versions")?.as_object()?, |key| Some(key.into())),
            codes: counts_from_json(value.get("codes")?.as_object()?, |key| key.parse().ok()),
            durations: HistogramSnapshot::from_sparse(
                &DURATION,
                counts,
                number("duration_sum_micros")?,
            ),
            ..Self::empty(reporter, text("source")?, text("service")?, text("namespace")?)
        })
    }
}

fn add_counts<K: Ord + Clone>(mine: &mut BTreeMap<K, u64>, theirs: &BTreeMap<K, u64>) {
    for (key, count) in theirs {
        let sum = mine.entry(key.clone()).or_default();
        *sum = sum.saturating_add(*count);
    }
}

fn subtract_counts<K: Ord + Clone>(
    now: &BTreeMap<K, u64>,
    then: &BTreeMap<K, u64>,
) -> BTreeMap<K, u64> {
    now.iter()
        .map(|(key, count)| {
            (key.clone(), count.saturating_sub(then.get(key).copied().unwrap_or_default()))
        })
        .filter(|(_, count)| *count > 0)
        .collect()
}

fn counts_from_json<K: Ord>(
    object: &Map<String, Value>,
    key: impl Fn(&str) -> Option<K>,
) -> BTreeMap<K, u64> {
    object.iter().filter_map(|(name, count)| Some((key(name)?, count.as_u64()?))).collect()
}

pub(super) fn summarize(all: &[Series<RequestSeries>]) -> Vec<ServiceSummary> {
    let mut summaries: BTreeMap<(Reporter, &str, &str, &str), ServiceSummary> = BTreeMap::new();
    for series in all {
        let labels = &series.labels;
        let (source, service, namespace) =
            (&*labels.source.workload, &*labels.service.name, &*labels.service.namespace);
        let summary = summaries
            .entry((labels.reporter, source, service, namespace))
            .or_insert_with(|| ServiceSummary::empty(labels.reporter, source, service, namespace));
        let requests = series.total(|store| &store.requests);
        let code = labels.outcome.map_or(0, |outcome| outcome.response_code);
        summary.requests += requests;
        if code == 0 || code >= 500 {
            summary.failed += requests;
        }
        if labels.security == SecurityPolicy::MutualTls {
            summary.mutual_tls += requests;
        }
        *summary.versions.entry(labels.destination.version.to_string()).or_default() += requests;
        *summary.codes.entry(code).or_default() += requests;
        for store in series.stores() {
            summary.durations.merge(&store.duration.snapshot());
        }
    }
    summaries.into_values().collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::flags::ResponseFlags;
    use crate::labels::{Principal, RequestProtocol, ServiceLabels, WorkloadFacts, WorkloadLabels};
    use crate::metrics::{HttpOutcome, Labels, MeshMetrics, MetricsSettings, RequestSample};

    fn proxy_of(version: &str, requests: u64, code: u16, millis: u64) -> Vec<ServiceSummary> {
        let metrics = MeshMetrics::new(MetricsSettings::default());
        let worker = metrics.worker();
        let cart = WorkloadLabels::new(&WorkloadFacts {
            workload: format!("cart-{version}"),
            version: version.to_owned(),
            ..WorkloadFacts::default()
        });
        let labels = Labels {
            reporter: Reporter::Destination,
            source: &WorkloadLabels::unknown(),
            source_principal: &Principal::unknown(),
            destination: &cart,
            destination_principal: &Principal::unknown(),
            service: &ServiceLabels::from_host("cart.shop.svc.cluster.local"),
            protocol: RequestProtocol::Http,
            security: SecurityPolicy::MutualTls,
            flags: ResponseFlags::NONE,
        };
        let outcome = HttpOutcome { response_code: code, grpc_status: None };
        let sample =
            RequestSample { duration: Duration::from_millis(millis), ..RequestSample::default() };
        (0..requests).for_each(|_| worker.request(&labels, outcome, &sample));
        metrics.summaries()
    }

    #[test]
    fn summaries_of_two_proxies_show_the_canary_share_and_percentiles() {
        let proxies = [proxy_of("v1", 90, 200, 10), proxy_of("v2", 10, 503, 200)].concat();
        let received: Vec<ServiceSummary> = proxies
            .iter()
            .filter_map(|summary| ServiceSummary::from_json(&summary.to_json()))
            .collect();
        let cart = &ServiceSummary::by_service(&received, Reporter::Destination)[0];
        assert_eq!((cart.requests, cart.failed), (100, 10));
        assert_eq!(cart.versions, BTreeMap::from([("v1".into(), 90), ("v2".into(), 10)]));
        assert!(cart.all_mutual_tls());
        assert!((9.4..10.6).contains(&cart.p50_ms().unwrap()));
        assert!((188.0..212.0).contains(&cart.p99_ms().unwrap()));
        assert_eq!(cart.since(&received[0]).codes, BTreeMap::from([(503, 10)]));
    }
}
