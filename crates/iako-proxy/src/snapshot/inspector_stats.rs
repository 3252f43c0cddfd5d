//! What listener filters count, under Envoy's names.

use iako_proxy_config::{Listener, ListenerFilterKind};
use iako_telemetry::{Counter, StatsRegistry};

/// Counters of listener filters; those of one kind are shared by all listeners, as in Envoy.
#[derive(Debug)]
pub(crate) struct InspectorStats {
    pub(crate) tls_found: Counter,
    pub(crate) tls_not_found: Counter,
    pub(crate) hello_too_large: Counter,
    pub(crate) sni_found: Counter,
    pub(crate) sni_not_found: Counter,
    pub(crate) alpn_found: Counter,
    pub(crate) alpn_not_found: Counter,
    pub(crate) http10_found: Counter,
    pub(crate) http11_found: Counter,
    pub(crate) http2_found: Counter,
    pub(crate) http_not_found: Counter,
    pub(crate) proxy: ProxyProtocolStats,
}

/// Counters of the PROXY protocol filter.
#[derive(Debug)]
pub(crate) struct ProxyProtocolStats {
    pub(crate) not_found_allowed: Counter,
    pub(crate) not_found_disallowed: Counter,
    pub(crate) version_1: ProxyVersionStats,
    pub(crate) version_2: ProxyVersionStats,
}

/// Counters of one version of it.
#[derive(Debug)]
pub(crate) struct ProxyVersionStats {
    pub(crate) found: Counter,
    pub(crate) disallowed: Counter,
    pub(crate) error: Counter,
}

impl InspectorStats {
    /// The counters of a listener's filters.
    pub(crate) fn new(stats: &StatsRegistry, listener: &Listener) -> Self {
        let (tls, http) = (stats.scope("tls_inspector"), stats.scope("http_inspector"));
        let prefix = listener.inspectors.iter().find_map(|filter| match &filter.kind {
            ListenerFilterKind::ProxyProtocol(settings) => Some(settings.stat_prefix.as_str()),
            ListenerFilterKind::OriginalDst
            | ListenerFilterKind::OriginalSrc(_)
            | ListenerFilterKind::Tls(_)
            | ListenerFilterKind::Http
            | ListenerFilterKind::Discovered(_) => None,
        });
        Self {
            tls_found: tls.counter("tls_found"),
            tls_not_found: tls.counter("tls_not_found"),
            hello_too_large: tls.counter("client_hello_too_large"),
            sni_found: tls.counter("sni_found"),
            sni_not_found: tls.counter("sni_not_found"),
            alpn_found: tls.counter("alpn_found"),
            alpn_not_found: tls.counter("alpn_not_found"),
            http10_found: http.counter("http10_found"),
            http11_found: http.counter("http11_found"),
            http2_found: http.counter("http2_found"),
            http_not_found: http.counter("http_not_found"),
            proxy: ProxyProtocolStats::new(stats, prefix.unwrap_or_default()),
        }
    }

    /// Counts what an HTTP inspector found.
    pub(crate) fn count_http(&self, found: Option<&str>) {
        let counter = match found {
            Some("http/1.0") => &self.http10_found,
            Some("h2c") => &self.http2_found,
            Some(_) => &self.http11_found,
            None => &self.http_not_found,
        };
        counter.inc();
    }

    /// Counts what a TLS inspector found.
    #[expect(clippy::fn_params_excessive_bools, reason = "two facts that have nothing in common")]
    pub(crate) fn count_tls(&self, has_name: bool, has_protocols: bool) {
        self.tls_found.inc();
        if has_name { &self.sni_found } else { &self.sni_not_found }.inc();
        if has_protocols { &self.alpn_found } else { &self.alpn_not_found }.inc();
    }
}

impl ProxyProtocolStats {
    fn new(stats: &StatsRegistry, prefix: &str) -> Self {
        let dot = if prefix.is_empty() { "" } else { "." };
        let base = format!("proxy_proto.{prefix}{dot}");
        let scope = stats.scope(base.trim_end_matches('.'));
        let version = |name: &str| {
            let scope = stats.scope(&format!("{base}versions.{name}"));
            ProxyVersionStats {
                found: scope.counter("found"),
                disallowed: scope.counter("disallowed"),
                error: scope.counter("error"),
            }
        };
        Self {
            not_found_allowed: scope.counter("not_found_allowed"),
            not_found_disallowed: scope.counter("not_found_disallowed"),
            version_1: version("v1"),
            version_2: version("v2"),
        }
    }
}
