//! An HTTP connection manager, compiled.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use iako_http::{FieldValue, Http10, Limits, NameCase, Underscores, Version};
use iako_proxy_config::{
    ConfigOrigin, HeaderCase, HttpConnectionManager, HttpFilterKind, HttpLogTimes, RouteSource,
    Router, ScopeSource, ScopeTable, ScopedRoutes, SourcedName, UnderscoreHeaders,
};
use iako_telemetry::{Counter, Gauge, Histogram, StatsRegistry, StatsScope};
use iako_traffic::{RequestHead, ScopeIndex};

use super::filters::{Filter, FilterKind};
use super::local_reply::LocalReplies;
use super::pump::KEPT_BYTES_MAX;
use super::request::Request;
use super::trace::Traced;
use crate::access_log::{AccessLogger, LogError};
use crate::shared::Shared;
use crate::snapshot::{ProxySnapshot, ServedRoutes};

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
    /// Answers of the manager's prefix, and of that at this listener.
    answers: [Answers; 2],
    pub(crate) limits: Limits,
    /// How much of a message is kept for filters that read it whole, and for retries, in bytes.
    pub(crate) kept_bytes_max: u64,
    /// What filters say of every exchange.
    pub(crate) traits: Traits,
    /// What the router was told.
    pub(crate) router: Router,
    /// Value of `server`.
    pub(crate) server: FieldValue,
    /// How requests are traced; none when they are not.
    pub(crate) traced: Option<Box<Traced>>,
    /// Changes to answers of the proxy itself; none when there are none.
    pub(crate) local_replies: Option<LocalReplies>,
    /// Where the routes come from, compiled.
    routes: Routes,
}

/// Where routes come from, compiled.
#[derive(Debug)]
enum Routes {
    /// Sent under a name.
    Named,
    /// Written in the manager itself.
    Inline(Arc<ServedRoutes>),
    /// Several, by a key made of the request.
    Scoped(Box<Scopes>),
}

/// Scopes, and the tables that are written in them, by the scope's name.
#[derive(Debug)]
struct Scopes {
    index: ScopeIndex,
    /// Where named tables come from.
    tables: ConfigOrigin,
    inline: HashMap<String, ServedRoutes>,
}

impl Scopes {
    fn compile(routes: &ScopedRoutes, stats: &StatsRegistry) -> Self {
        let scopes = match &routes.scopes {
            ScopeSource::Inline(scopes) => scopes.as_slice(),
            ScopeSource::Discovered(_) => &[],
        };
        let inline = scopes.iter().filter_map(|scope| match &scope.routes {
            ScopeTable::Inline(table) => {
                let table = ServedRoutes::compile(Arc::clone(table), None, stats);
                Some((scope.name.clone(), table))
            }
            ScopeTable::Rds(_) => None,
        });
        Self {
            inline: inline.collect(),
            tables: routes.tables.origin.clone(),
            index: ScopeIndex::compile(&routes.key, scopes.iter().map(Arc::clone)),
        }
    }

    fn find<'a>(
        &'a self,
        snapshot: &'a ProxySnapshot,
        head: &RequestHead<'_>,
    ) -> Option<&'a ServedRoutes> {
        let scope = self.index.find(head)?;
        match &scope.routes {
            ScopeTable::Inline(_) => self.inline.get(&scope.name),
            ScopeTable::Rds(name) => {
                let key = SourcedName::key_of(name, &self.tables);
                snapshot.routes(&key).map(Arc::as_ref)
            }
        }
    }
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
    /// Whether a filter does something when a response comes.
    pub(crate) filters_responses: bool,
    /// Whether a log tells every endpoint that was tried.
    pub(crate) tells_tries: bool,
    /// Whether lines are written before a request ends.
    pub(crate) writes_early: bool,
}

impl Traits {
    fn of(
        filters: &[Filter],
        router: &Router,
        (logs, times): (&[AccessLogger], HttpLogTimes),
    ) -> Self {
        let any = |wanted: fn(&Filter) -> bool| filters.iter().any(wanted);
        Self {
            suppresses_envoy_headers: router.suppress_envoy_headers,
            istio_alpn: any(|filter| {
                matches!(filter.kind, FilterKind::Alpn) && !filter.is_off(None)
            }),
            counts_in_metrics: any(Filter::is_stats),
            filters_responses: any(|filter| filter.responds),
            tells_tries: logs.iter().any(AccessLogger::tells_tries),
            writes_early: !logs.is_empty() && !times.is_last_only(),
        }
    }
}

impl HttpService {
    /// Compiles an HTTP connection manager of a listener that lets so much of a message be kept, and
    /// counts under this address. Called by the configuration task.
    ///
    /// # Errors
    /// When a log cannot be opened.
    pub(crate) fn compile(
        manager: Arc<HttpConnectionManager>,
        (kept_bytes_max, address): (Option<NonZeroU32>, &str),
        shared: &Shared,
    ) -> Result<Self, LogError> {
        let routes = match &manager.routes {
            RouteSource::Inline(table) => {
                let table = ServedRoutes::compile(Arc::clone(table), None, &shared.stats);
                Routes::Inline(Arc::new(table))
            }
            RouteSource::Rds(_) => Routes::Named,
            RouteSource::Scoped(routes) => {
                Routes::Scoped(Box::new(Scopes::compile(routes, &shared.stats)))
            }
        };
        let scope = shared.stats.http(&manager.stat_prefix);
        let stats = HttpStats::new(&scope);
        let label = "envoy_http_conn_manager_prefix";
        let listener = shared.stats.listener(address);
        let at_listener = listener.named_part("http", label, &manager.stat_prefix);
        let answers = [Answers::of(&scope), Answers::of(&at_listener)];
        let filters = Filter::compile_all(&manager, &scope, shared);
        let mut kinds = manager.filters.iter().rev().map(|filter| &filter.kind);
        let router = kinds.find_map(|kind| {
            if let HttpFilterKind::Router(router) = kind { Some(router.clone()) } else { None }
        });
        let router = router.unwrap_or_default();
        let access_log = AccessLogger::open_all(&manager.access_log, shared)?;
        Ok(Self {
            traced: manager.tracing.as_ref().map(|tracing| {
                let provider = tracing.provider.as_deref();
                let tracer = shared.tracers.of(provider, &shared.node, &shared.stats);
                Box::new(Traced::new(tracer, &scope))
            }),
            traits: Traits::of(&filters, &router, (&access_log, manager.access_log_times)),
            router,
            filters,
            access_log,
            stats,
            answers,
            limits: limits(&manager),
            kept_bytes_max: kept_bytes_max
                .map_or(KEPT_BYTES_MAX as u64, |max| u64::from(max.get())),
            server: FieldValue::sanitized(manager.server_name.clone()),
            local_replies: LocalReplies::compile(&manager.local_reply)?,
            routes,
            manager,
        })
    }

    /// Counts a request that begins.
    pub(crate) fn count_request(&self, version: Version) {
        self.stats.rq_total.inc();
        self.stats.rq_active.inc();
        match version {
            Version::Http2 => self.stats.rq_http2_total.inc(),
            Version::Http10 | Version::Http11 => self.stats.rq_http1_total.inc(),
        }
    }

    /// Counts a finished exchange.
    pub(crate) fn count_completed(&self, status: Option<u16>, duration: Duration) {
        self.stats.rq_active.dec();
        self.stats.rq_time.record(duration);
        self.answers.iter().for_each(|answers| answers.count(status));
    }

    /// Counts a request that was refused before it was whole.
    pub(crate) fn count_refused(&self, version: Version, status: Option<u16>) {
        self.stats.rq_total.inc();
        match version {
            Version::Http2 => self.stats.rq_http2_total.inc(),
            Version::Http10 | Version::Http11 => self.stats.rq_http1_total.inc(),
        }
        self.stats.rq_rx_reset.inc();
        self.answers.iter().for_each(|answers| answers.count(status));
    }

    /// The routes of this moment for a request; none while they have not arrived, and where no scope
    /// takes the request.
    pub(crate) fn routes<'a>(
        &'a self,
        snapshot: &'a ProxySnapshot,
        request: &Request,
    ) -> Option<&'a ServedRoutes> {
        match (&self.routes, &self.manager.routes) {
            (Routes::Inline(table), _) => Some(table),
            (Routes::Named, RouteSource::Rds(name)) => snapshot.routes(name.key()).map(Arc::as_ref),
            (Routes::Scoped(scopes), _) => scopes.find(snapshot, &request.head(&request.view())),
            (Routes::Named, RouteSource::Inline(_) | RouteSource::Scoped(_)) => None,
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
        name_case: match manager.http1.name_case {
            HeaderCase::Preserve => NameCase::Preserve,
            HeaderCase::Lower | HeaderCase::ProperWords => NameCase::Lower,
        },
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
    cx_http1_active: Gauge = gauge "downstream_cx_http1_active",
    cx_http2_active: Gauge = gauge "downstream_cx_http2_active",
    cx_ssl_total: Counter = counter "downstream_cx_ssl_total",
    cx_ssl_active: Gauge = gauge "downstream_cx_ssl_active",
    cx_destroy: Counter = counter "downstream_cx_destroy",
    cx_destroy_local: Counter = counter "downstream_cx_destroy_local",
    cx_destroy_remote: Counter = counter "downstream_cx_destroy_remote",
    cx_destroy_active_rq: Counter = counter "downstream_cx_destroy_active_rq",
    cx_destroy_local_active_rq: Counter = counter "downstream_cx_destroy_local_active_rq",
    cx_destroy_remote_active_rq: Counter = counter "downstream_cx_destroy_remote_active_rq",
    cx_idle_timeout: Counter = counter "downstream_cx_idle_timeout",
    cx_max_duration_reached: Counter = counter "downstream_cx_max_duration_reached",
    cx_max_requests_reached: Counter = counter "downstream_cx_max_requests_reached",
    cx_drain_close: Counter = counter "downstream_cx_drain_close",
    cx_rx_bytes: Counter = counter "downstream_cx_rx_bytes_total",
    cx_tx_bytes: Counter = counter "downstream_cx_tx_bytes_total",
    cx_length: Histogram = histogram "downstream_cx_length_ms",
    cx_protocol_error: Counter = counter "downstream_cx_protocol_error",
    rq_total: Counter = counter "downstream_rq_total",
    rq_http1_total: Counter = counter "downstream_rq_http1_total",
    rq_http2_total: Counter = counter "downstream_rq_http2_total",
    rq_active: Gauge = gauge "downstream_rq_active",
    rq_rx_reset: Counter = counter "downstream_rq_rx_reset",
    rq_tx_reset: Counter = counter "downstream_rq_tx_reset",
    rq_overload_reply: Counter = counter "rq_overload_local_reply",
    rq_timeout: Counter = counter "downstream_rq_timeout",
    rq_idle_timeout: Counter = counter "downstream_rq_idle_timeout",
    rq_header_timeout: Counter = counter "downstream_rq_header_timeout",
    rq_max_duration_reached: Counter = counter "downstream_rq_max_duration_reached",
    rq_failed_path: Counter = counter "downstream_rq_failed_path_normalization",
    rq_no_upgrade: Counter = counter "downstream_rq_ws_on_non_ws_route",
    rq_premature_resets: Counter = counter "downstream_rq_too_many_premature_resets",
    rq_overload_close: Counter = counter "downstream_rq_overload_close",
    cx_overload_disable_keepalive: Counter = counter "downstream_cx_overload_disable_keepalive",
    rq_time: Histogram = histogram "downstream_rq_time",
    no_route: Counter = counter "no_route",
    redirect_bad_location: Counter = counter "passthrough_internal_redirect_bad_location",
    redirect_unsafe_scheme: Counter = counter "passthrough_internal_redirect_unsafe_scheme",
    redirect_too_many: Counter = counter "passthrough_internal_redirect_too_many_redirects",
    redirect_no_route: Counter = counter "passthrough_internal_redirect_no_route",
    redirect_predicate: Counter = counter "passthrough_internal_redirect_predicate",
    no_cluster: Counter = counter "no_cluster",
    direct_response: Counter = counter "rq_direct_response",
    // Always 0, as in Envoy, where redirects are direct responses.
    _redirect: Counter = counter "rq_redirect",
    routed: Counter = counter "rq_total",
    rq_too_large: Counter = counter "downstream_rq_too_large",
    rs_too_large: Counter = counter "rs_too_large",
}

impl HttpStats {
    /// Counts a request that is answered by its route; redirects are among them, as in Envoy.
    pub(crate) fn count_direct(&self) {
        self.routed.inc();
        self.direct_response.inc();
    }
}

/// Requests that were answered: `http.<prefix>.…` and `listener.<address>.http.<prefix>.…`.
#[derive(Debug)]
struct Answers {
    completed: Counter,
    /// By the first digit of the status, from 1.
    classes: [Counter; 5],
}

impl Answers {
    fn of(scope: &StatsScope) -> Self {
        let classes = [
            "downstream_rq_1xx",
            "downstream_rq_2xx",
            "downstream_rq_3xx",
            "downstream_rq_4xx",
            "downstream_rq_5xx",
        ];
        Self {
            completed: scope.counter("downstream_rq_completed"),
            classes: classes.map(|class| scope.counter(class)),
        }
    }

    /// Counts an answer; none is no completed request.
    fn count(&self, status: Option<u16>) {
        let Some(status) = status else { return };
        self.completed.inc();
        let class = usize::from(status / 100).checked_sub(1);
        if let Some(class) = class.and_then(|class| self.classes.get(class)) {
            class.inc();
        }
    }
}
