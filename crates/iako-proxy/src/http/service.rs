//! An HTTP connection manager, compiled.

use std::sync::Arc;
use std::time::Duration;

use iako_http::{FieldValue, Http10, Limits, NameCase, Underscores};
use iako_proxy_config::{HttpConnectionManager, RouteSource, UnderscoreHeaders};
use iako_telemetry::{Counter, Gauge, Histogram, StatsScope};
use iako_traffic::RouteTable;

use super::filters::{Filter, FilterKind};
use crate::access_log::{AccessLogger, LogError};
use crate::shared::Shared;
use crate::snapshot::ProxySnapshot;

/// An HTTP connection manager, compiled: routes, filters, logs, statistics. Replaced as a whole
/// when the listener changes; found again for each request by
/// [`crate::connection::Downstream::chain_id`].
#[derive(Debug)]
pub(crate) struct HttpService {
    /// As it was sent.
    pub(crate) manager: Arc<HttpConnectionManager>,
    pub(crate) filters: Vec<Filter>,
    pub(crate) access_log: Vec<AccessLogger>,
    pub(crate) stats: HttpStats,
    pub(crate) limits: Limits,
    /// What filters say of every exchange.
    pub(crate) traits: Traits,
    /// Value of `server`.
    pub(crate) server: FieldValue,
    /// Routes that are written in the manager itself.
    inline: Option<Arc<RouteTable>>,
}

/// What the filters of a manager say of every exchange, asked of them once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Traits {
    /// Whether nobody is told of this proxy in `x-envoy-*` fields. Source: Envoy
    /// `Router.suppress_envoy_headers`.
    pub(crate) suppresses_envoy_headers: bool,
    /// Whether servers are told of application protocols by Istio's names. Source: filter `istio.alpn`.
    pub(crate) istio_alpn: bool,
    /// Whether exchanges are counted in Istio's standard metrics.
    pub(crate) counts_in_metrics: bool,
}

impl Traits {
    fn of(filters: &[Filter]) -> Self {
        let any = |wanted: fn(&Filter) -> bool| filters.iter().any(wanted);
        Self {
            suppresses_envoy_headers: any(|filter| {
                matches!(filter.kind, FilterKind::Router { suppress_envoy_headers: true })
            }),
            istio_alpn: any(|filter| {
                matches!(filter.kind, FilterKind::Alpn) && !filter.is_off(None)
            }),
            counts_in_metrics: any(Filter::is_stats),
        }
    }
}

impl HttpService {
    /// Compiles an HTTP connection manager. Called by the configuration task.
    ///
    /// # Errors
    /// When a log cannot be opened.
    pub(crate) fn compile(
        manager: Arc<HttpConnectionManager>,
        shared: &Shared,
    ) -> Result<Self, LogError> {
        let inline = match &manager.routes {
            RouteSource::Inline(table) => Some(Arc::new(RouteTable::compile(Arc::clone(table)))),
            RouteSource::Rds(_) => None,
        };
        let stats = HttpStats::new(&shared.stats.http(&manager.stat_prefix));
        let filters = Filter::compile_all(&manager, shared);
        Ok(Self {
            traits: Traits::of(&filters),
            filters,
            access_log: AccessLogger::open_all(&manager.access_log, &shared.access_logs)?,
            stats,
            limits: limits(&manager),
            server: FieldValue::sanitized(manager.server_name.clone()),
            inline,
            manager,
        })
    }

    /// The routes of this moment; none while they have not arrived.
    pub(crate) fn routes<'a>(&'a self, snapshot: &'a ProxySnapshot) -> Option<&'a RouteTable> {
        match &self.manager.routes {
            RouteSource::Inline(_) => self.inline.as_deref(),
            RouteSource::Rds(name) => snapshot.routes(name).map(Arc::as_ref),
        }
    }
}

fn limits(manager: &HttpConnectionManager) -> Limits {
    let number = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
    Limits {
        head_bytes_max: number(manager.request_head_kib_max).saturating_mul(1024),
        fields_max: number(manager.headers_max),
        http_10: if manager.http1.accept_http_10 { Http10::Accept } else { Http10::Refuse },
        underscores: match manager.underscore_headers {
            UnderscoreHeaders::Allow => Underscores::Allow,
            UnderscoreHeaders::Reject => Underscores::Reject,
            UnderscoreHeaders::Drop => Underscores::Drop,
        },
        name_case: if manager.http1.preserve_case { NameCase::Preserve } else { NameCase::Lower },
        ..Limits::default()
    }
}

macro_rules! handles {
    ($($field:ident: $kind:ident = $method:ident $leaf:literal,)*) => {
        /// `http.<prefix>.…`; the names are documented in `iako-telemetry`'s table.
        #[derive(Debug, Clone)]
        pub(crate) struct HttpStats { $(pub(crate) $field: $kind,)* }

        impl HttpStats {
            fn new(scope: &StatsScope) -> Self {
                Self { $($field: scope.$method($leaf),)* }
            }
        }
    };
}

handles! {
    cx_total: Counter = counter "downstream_cx_total",
    cx_active: Gauge = gauge "downstream_cx_active",
    cx_http1_total: Counter = counter "downstream_cx_http1_total",
    cx_http2_total: Counter = counter "downstream_cx_http2_total",
    cx_protocol_error: Counter = counter "downstream_cx_protocol_error",
    rq_total: Counter = counter "downstream_rq_total",
    rq_http1_total: Counter = counter "downstream_rq_http1_total",
    rq_http2_total: Counter = counter "downstream_rq_http2_total",
    rq_active: Gauge = gauge "downstream_rq_active",
    rq_completed: Counter = counter "downstream_rq_completed",
    rq_1xx: Counter = counter "downstream_rq_1xx",
    rq_2xx: Counter = counter "downstream_rq_2xx",
    rq_3xx: Counter = counter "downstream_rq_3xx",
    rq_4xx: Counter = counter "downstream_rq_4xx",
    rq_5xx: Counter = counter "downstream_rq_5xx",
    rq_rx_reset: Counter = counter "downstream_rq_rx_reset",
    rq_timeout: Counter = counter "downstream_rq_timeout",
    rq_idle_timeout: Counter = counter "downstream_rq_idle_timeout",
    rq_time: Histogram = histogram "downstream_rq_time",
    no_route: Counter = counter "no_route",
    no_cluster: Counter = counter "no_cluster",
    direct_response: Counter = counter "rq_direct_response",
    redirect: Counter = counter "rq_redirect",
    routed: Counter = counter "rq_total",
    fault_aborts: Counter = counter "fault.aborts_injected",
    fault_delays: Counter = counter "fault.delays_injected",
    rbac_allowed: Counter = counter "rbac.allowed",
    rbac_denied: Counter = counter "rbac.denied",
    jwt_allowed: Counter = counter "jwt_authn.allowed",
    jwt_denied: Counter = counter "jwt_authn.denied",
}

impl HttpStats {
    /// Counts a finished exchange.
    pub(crate) fn completed(&self, status: Option<u16>, duration: Duration) {
        self.rq_active.dec();
        self.rq_completed.inc();
        self.rq_time.record(duration);
        let class = match status.unwrap_or(0) {
            100..=199 => &self.rq_1xx,
            200..=299 => &self.rq_2xx,
            300..=399 => &self.rq_3xx,
            400..=499 => &self.rq_4xx,
            500..=599 => &self.rq_5xx,
            _ => return,
        };
        class.inc();
    }
}
