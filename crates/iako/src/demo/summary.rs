//! What the mesh does right now, by what its proxies tell.

use std::{collections::BTreeMap, net::SocketAddr};

use bytes::Bytes;
use http::{Request, Uri};
use http_body_util::Full;
use iako_telemetry::{Reporter, ServiceSummary};
use serde_json::{Value, json};

use super::LoadTotals;
use crate::{
    app::Client,
    output::{self, Format},
};

/// The namespace of requests for nobody.
const UNKNOWN: &str = "unknown";

/// Collects what the proxies of the mesh count, over restarts of the proxies.
#[derive(Debug, Default)]
pub(crate) struct Statistics {
    /// By name and process: a proxy that starts again counts from zero.
    counted: BTreeMap<(String, u32), Vec<ServiceSummary>>,
    proxies: BTreeMap<String, u32>,
    before: Vec<ServiceSummary>,
    seconds: f64,
}

/// A summary of the whole mesh.
#[derive(Debug, Clone, Default)]
pub(crate) struct MeshSummary {
    /// What customers saw; absent without customers.
    pub(crate) load: Option<LoadTotals>,
    /// By service, as the services' own sidecars saw it.
    pub(crate) services: Vec<ServiceFact>,
    /// By proxy.
    pub(crate) proxies: Vec<ProxyFact>,
}

/// Over which time figures are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Window {
    /// Since the last look.
    Lately,
    /// Since the start.
    Whole,
}

/// What is known of a service.
#[derive(Debug, Clone)]
pub(crate) struct ServiceFact {
    total: ServiceSummary,
    recent: ServiceSummary,
    rate: f64,
    mean_rate: f64,
}

/// What is known of a proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ProxyFact {
    name: String,
    rss_bytes: u64,
}

impl Statistics {
    /// Asks a proxy's admin endpoint. What cannot be reached keeps its last numbers.
    pub(crate) async fn ask(&mut self, name: &str, process: u32, admin: SocketAddr) {
        self.proxies.insert(name.to_owned(), process);
        let mut request = Request::new(Full::new(Bytes::new()));
        *request.uri_mut() = Uri::from_static("/stats/services");
        let host = http::HeaderValue::from_static("localhost");
        request.headers_mut().insert(http::header::HOST, host);
        let Ok(answer) = Client::new(admin).send(request).await else { return };
        let Ok(page) = serde_json::from_slice::<Value>(&answer.body) else { return };
        let Some(Value::Array(summaries)) = page.get("services") else { return };
        let summaries = summaries.iter().filter_map(ServiceSummary::from_json).collect();
        self.counted.insert((name.to_owned(), process), summaries);
    }

    /// Sums up; rates are over `seconds`, the time since the last call, and over all such times.
    pub(crate) fn sum(&mut self, load: Option<LoadTotals>, seconds: f64) -> MeshSummary {
        self.seconds += seconds;
        let whole = self.seconds;
        let all: Vec<ServiceSummary> = self.counted.values().flatten().cloned().collect();
        let totals = ServiceSummary::by_service(&all, Reporter::Destination);
        let before = std::mem::replace(&mut self.before, totals.clone());
        let services = totals
            .into_iter()
            // What a gateway answers itself belongs to no service.
            .filter(|total| total.namespace != UNKNOWN)
            .map(|total| {
                let earlier = before
                    .iter()
                    .find(|old| old.service == total.service && old.namespace == total.namespace);
                let recent = earlier.map_or_else(|| total.clone(), |old| total.since(old));
                #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
                let of = |requests: u64, seconds: f64| requests as f64 / seconds.max(0.001);
                let rate = of(recent.requests, seconds);
                let mean_rate = of(total.requests, whole);
                ServiceFact { total, recent, rate, mean_rate }
            })
            .collect();
        let proxies = self
            .proxies
            .iter()
            .map(|(name, process)| ProxyFact {
                name: name.clone(),
                rss_bytes: resident_bytes(*process).unwrap_or_default(),
            })
            .collect();
        MeshSummary { load, services, proxies }
    }

    /// Forgets proxies that are gone, not what they counted.
    pub(crate) fn keep_proxies(&mut self, exists: impl Fn(&str) -> bool) {
        self.proxies.retain(|name, _| exists(name));
    }
}

/// Memory of a process that is in use now. Source: `proc(5)`, `VmRSS`.
fn resident_bytes(process: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    let kibibytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    kibibytes.checked_mul(1024)
}

impl MeshSummary {
    /// Whether nothing failed that the configuration did not ask to fail.
    pub(crate) fn is_good(&self) -> bool {
        self.load.as_ref().is_none_or(|load| load.failed == 0)
    }

    /// Writes it to standard output.
    pub(crate) fn print(&self, format: Format) -> anyhow::Result<()> {
        match format {
            Format::Table => Ok(output::print(&self.to_table(Window::Whole))?),
            Format::Json | Format::Yaml => output::print_value(&self.to_json(), format),
        }
    }

    /// The machine-readable form, whose shape is fixed.
    pub(crate) fn to_json(&self) -> Value {
        let (requests, failed) = match &self.load {
            Some(load) => (load.requests, load.failed),
            None => self.services.iter().fold((0, 0), |(requests, failed), service| {
                let total = &service.total;
                (total.requests.saturating_add(requests), total.failed.saturating_add(failed))
            }),
        };
        json!({
            "requests": requests,
            "failed": failed,
            "services": self.services.iter().map(ServiceFact::to_json).collect::<Vec<_>>(),
            "proxies": self
                .proxies
                .iter()
                .map(|proxy| json!({"name": proxy.name, "rss_bytes": proxy.rss_bytes}))
                .collect::<Vec<_>>(),
        })
    }

    /// A table for people; every line ends with a line feed.
    pub(crate) fn to_table(&self, window: Window) -> String {
        let mut table = String::new();
        row(&mut table, ["service", "req/s", "success", "p50 ms", "p99 ms", "mTLS", "versions"]);
        for service in &self.services {
            row(&mut table, service.cells(window).each_ref().map(String::as_str));
        }
        if let Some(load) = &self.load {
            table.push_str(&format!(
                "\ncustomers: {} requests, {} failed, {} refused as configured\n",
                load.requests, load.failed, load.as_configured
            ));
            if let Some(failure) = &load.last_failure {
                table.push_str(&format!("last failure: {failure}\n"));
            }
        }
        if let Some(largest) = self.proxies.iter().map(|proxy| proxy.rss_bytes).max() {
            table.push_str(&format!(
                "{} proxies, the largest with {:.1} MiB of memory\n",
                self.proxies.len(),
                mebibytes(largest)
            ));
        }
        table
    }
}

fn row(table: &mut String, cells: [&str; 7]) {
    let [service, rate, success, p50, p99, mtls, versions] = cells;
    table.push_str(&format!(
        "{service:<28} {rate:>8} {success:>8} {p50:>8} {p99:>8} {mtls:>5}  {versions}\n"
    ));
}

#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

#[expect(clippy::cast_precision_loss, reason = "a share for people")]
fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

impl ServiceFact {
    fn to_json(&self) -> Value {
        let total = &self.total;
        let versions: BTreeMap<&str, f64> = total
            .versions
            .iter()
            .map(|(version, count)| (version.as_str(), share(*count, total.requests)))
            .collect();
        json!({
            "name": total.service,
            "namespace": total.namespace,
            "requests": total.requests,
            "failed": total.failed,
            "p50_ms": total.p50_ms(),
            "p99_ms": total.p99_ms(),
            "mtls": total.all_mutual_tls(),
            "versions": versions,
        })
    }

    fn cells(&self, window: Window) -> [String; 7] {
        // While it runs, what happened lately tells more; a quiet service shows its past.
        let lately = window == Window::Lately && self.recent.requests > 0;
        let (shown, rate) =
            if lately { (&self.recent, self.rate) } else { (&self.total, self.mean_rate) };
        let success = 1.0 - share(shown.failed, shown.requests);
        let milliseconds =
            |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |ms| format!("{ms:.1}"));
        let versions: Vec<String> = shown
            .versions
            .iter()
            .map(|(version, count)| {
                format!("{version} {:.0} %", 100.0 * share(*count, shown.requests))
            })
            .collect();
        let mtls = if shown.all_mutual_tls() {
            "yes".to_owned()
        } else {
            format!("{:.0} %", 100.0 * share(shown.mutual_tls, shown.requests))
        };
        [
            format!("{}/{}", shown.namespace, shown.service),
            format!("{rate:.1}"),
            format!("{:.2} %", 100.0 * success),
            milliseconds(shown.p50_ms()),
            milliseconds(shown.p99_ms()),
            mtls,
            versions.join(", "),
        ]
    }
}
