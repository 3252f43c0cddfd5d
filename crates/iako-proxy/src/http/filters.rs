//! The steps on every request's way, compiled, and what each of them does.

pub(crate) mod content;
pub(crate) mod jwt;

use std::cell::RefCell;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use iako_http::{FieldValue, HeaderEdits, Known};
use iako_proxy_config::{
    ClusterMetadata, Fault, FilterOverrides, HttpConnectionManager, HttpFilterKind, PeerDiscovery,
    PeerMetadata, Rbac, StatefulSession,
};
use iako_telemetry::peer::{PeerCache, header_value};
use iako_telemetry::{StatsScope, WorkloadLabels};
use iako_traffic::rbac::{Subject, authorize};
use iako_traffic::{
    CorsDecision, EffectiveOverrides, FaultAbort, RequestFacts, RouteMatchResult, cors, fault,
    response_rate,
};

use super::error_response::Reply;
use super::failure::Failure;
use super::mutations;
use crate::shared::Shared;
use content::ContentFilter;

/// A step, compiled.
#[derive(Debug)]
pub(crate) struct Filter {
    pub(crate) name: String,
    /// Off unless a route switches it on.
    disabled: bool,
    /// Whether it does something when a request comes.
    pub(crate) acts: bool,
    /// Whether it does something when a response comes.
    pub(crate) responds: bool,
    pub(crate) kind: FilterKind,
}

/// What a step does.
#[derive(Debug)]
pub(crate) enum FilterKind {
    PeerMetadata(PeerStep),
    Jwt(Arc<jwt::JwtStep>),
    Rbac(Box<Rbac>),
    Fault(FaultStep),
    Cors,
    GrpcWeb,
    StatefulSession(Box<StatefulSession>),
    /// Looks at content or changes it.
    Content(Box<ContentFilter>),
    Alpn,
    Stats,
    Router,
    /// Nothing that happens here.
    Other,
}

/// Who the peers are, as they say of themselves.
#[derive(Debug)]
pub(crate) struct PeerStep {
    settings: PeerMetadata,
    /// What we say of ourselves.
    own: FieldValue,
    own_id: FieldValue,
}

/// Delays and aborts, with how many are under way.
#[derive(Debug)]
pub(crate) struct FaultStep {
    settings: Box<Fault>,
    active: Arc<AtomicU32>,
}

impl Filter {
    /// Compiles the steps of a connection manager.
    pub(crate) fn compile_all(
        manager: &HttpConnectionManager,
        scope: &StatsScope,
        shared: &Shared,
    ) -> Vec<Self> {
        let filters = manager.filters.iter();
        filters
            .map(|filter| {
                let content = ContentFilter::compile(&filter.kind, scope, &shared.stats);
                let kind = match content {
                    Some(content) => FilterKind::Content(Box::new(content)),
                    None => FilterKind::compile(&filter.kind, scope, shared),
                };
                let (name, disabled) = (filter.name.clone(), filter.disabled);
                Self { name, disabled, acts: kind.acts(), responds: kind.responds(), kind }
            })
            .collect()
    }

    /// Whether exchanges are counted in Istio's standard metrics.
    pub(crate) fn is_stats(&self) -> bool {
        matches!(self.kind, FilterKind::Stats) && !self.disabled
    }

    /// Whether the step is left out for a request.
    pub(crate) fn is_off(&self, overrides: Option<&EffectiveOverrides<'_>>) -> bool {
        let Some(overrides) = overrides else { return self.disabled };
        let kind = &self.kind;
        let has_settings = |level: &FilterOverrides| match kind {
            FilterKind::Fault(_) => level.fault.is_some(),
            FilterKind::Cors => level.cors.is_some(),
            FilterKind::Rbac(_) => level.rbac.is_some(),
            FilterKind::StatefulSession(_) => level.session.is_some(),
            FilterKind::Content(_) => level.settings.contains_key(&self.name),
            FilterKind::PeerMetadata(_)
            | FilterKind::Jwt(_)
            | FilterKind::GrpcWeb
            | FilterKind::Alpn
            | FilterKind::Stats
            | FilterKind::Router
            | FilterKind::Other => false,
        };
        overrides.switches_off(&self.name, has_settings).unwrap_or(self.disabled)
    }
}

impl FilterKind {
    const fn acts(&self) -> bool {
        !matches!(self, Self::Alpn | Self::Stats | Self::Router { .. } | Self::Other)
    }

    /// Whether it does something when a response comes.
    fn responds(&self) -> bool {
        match self {
            // Settings of a route may hold responses back where those of a fault do not.
            Self::GrpcWeb | Self::Fault(_) => true,
            Self::Content(filter) => filter.responds(),
            Self::PeerMetadata(_)
            | Self::Jwt(_)
            | Self::Rbac(_)
            | Self::Cors
            | Self::StatefulSession(_)
            | Self::Alpn
            | Self::Stats
            | Self::Router
            | Self::Other => false,
        }
    }

    fn compile(kind: &HttpFilterKind, scope: &StatsScope, shared: &Shared) -> Self {
        match kind {
            HttpFilterKind::Router(_) => Self::Router,
            HttpFilterKind::Fault(settings) => {
                Self::Fault(FaultStep { settings: settings.clone(), active: Arc::default() })
            }
            HttpFilterKind::Cors => Self::Cors,
            HttpFilterKind::JwtAuthn(settings) => {
                Self::Jwt(Arc::new(jwt::JwtStep::compile(settings, scope)))
            }
            HttpFilterKind::Rbac(rbac) => Self::Rbac(rbac.clone()),
            HttpFilterKind::PeerMetadata(settings) => {
                let node = &shared.node.node;
                let metadata = serde_json::Value::Object(node.metadata.clone());
                Self::PeerMetadata(PeerStep {
                    settings: settings.clone(),
                    own: FieldValue::sanitized(header_value(&metadata)),
                    own_id: FieldValue::sanitized(node.id.clone()),
                })
            }
            HttpFilterKind::GrpcWeb => Self::GrpcWeb,
            HttpFilterKind::StatefulSession(session) => Self::StatefulSession(session.clone()),
            HttpFilterKind::Alpn => Self::Alpn,
            HttpFilterKind::Stats(_) => Self::Stats,
            HttpFilterKind::GrpcStats
            | HttpFilterKind::DynamicForward(_)
            | HttpFilterKind::Buffer(_)
            | HttpFilterKind::Compressor(_)
            | HttpFilterKind::Decompressor(_)
            | HttpFilterKind::BandwidthLimit(_)
            | HttpFilterKind::Csrf(_)
            | HttpFilterKind::Unsupported(_) => Self::Other,
        }
    }
}

thread_local! {
    static PEERS: RefCell<PeerCache> = RefCell::default();
}

fn peer_labels(header: &[u8]) -> Arc<WorkloadLabels> {
    PEERS.with_borrow_mut(|peers| peers.labels(header))
}

impl PeerStep {
    /// Who the client says it is; what it said is taken off the request.
    pub(crate) fn client(
        &self,
        sent: Option<&[u8]>,
        edits: &mut HeaderEdits,
    ) -> Option<Arc<WorkloadLabels>> {
        if !self.settings.downstream_discovery.contains(&PeerDiscovery::IstioHeaders) {
            return None;
        }
        let labels = peer_labels(sent?);
        edits.remove(Known::XEnvoyPeerMetadata);
        edits.remove(Known::XEnvoyPeerMetadataId);
        Some(labels)
    }

    /// Says to the server who we are.
    pub(crate) fn tell_server(&self, cluster: &ClusterMetadata, edits: &mut HeaderEdits) {
        let spared = cluster.external && self.settings.skip_external;
        if self.settings.upstream_propagation && !spared {
            self.tell(edits);
        }
    }

    /// Who the server says it is; what it said is taken off the response.
    pub(crate) fn server(
        &self,
        sent: Option<&[u8]>,
        edits: &mut HeaderEdits,
    ) -> Option<Arc<WorkloadLabels>> {
        if !self.settings.upstream_discovery.contains(&PeerDiscovery::IstioHeaders) {
            return None;
        }
        let labels = peer_labels(sent?);
        edits.remove(Known::XEnvoyPeerMetadata);
        edits.remove(Known::XEnvoyPeerMetadataId);
        Some(labels)
    }

    /// Says to the client who we are, when it said who it is: nobody else would understand.
    pub(crate) fn tell_client(
        &self,
        client: Option<&Arc<WorkloadLabels>>,
        edits: &mut HeaderEdits,
    ) {
        if self.settings.downstream_propagation && client.is_some() {
            self.tell(edits);
        }
    }

    fn tell(&self, edits: &mut HeaderEdits) {
        edits.set(Known::XEnvoyPeerMetadata, self.own.clone());
        edits.set(Known::XEnvoyPeerMetadataId, self.own_id.clone());
    }
}

/// Whether rules let a request pass; settings of the route stand in place of the filter's.
pub(crate) fn check_rbac(
    own: &Rbac,
    overrides: Option<&EffectiveOverrides<'_>>,
    facts: &RequestFacts<'_>,
) -> Result<(), Failure> {
    let rbac = match overrides.and_then(EffectiveOverrides::rbac) {
        Some(None) => return Ok(()),
        Some(Some(rbac)) => rbac,
        None => own,
    };
    let answer = authorize(rbac, &Subject::Request(facts));
    if let Some(shadow) = answer.shadow.filter(|shadow| !shadow.allowed) {
        tracing::debug!(details = shadow.details(), "a dry-run policy would refuse the request");
    }
    if answer.verdict.allowed {
        return Ok(());
    }
    let policy = answer.verdict.policy.map_or("none", |(name, _)| name).to_owned();
    Err(Failure::Denied { policy })
}

/// What cross-origin policy makes of a request.
pub(crate) enum Cors {
    Pass,
    Reply(Reply),
    /// The response gets these fields.
    Annotate(Vec<(&'static str, String)>),
}

/// Asks the cross-origin policy of a route.
pub(crate) fn check_cors(
    route: Option<&RouteMatchResult<'_>>,
    facts: &RequestFacts<'_>,
    draw: u64,
) -> Cors {
    let Some(route) = route else { return Cors::Pass };
    match cors(&route.cors_policies(), &facts.head, draw) {
        CorsDecision::Pass => Cors::Pass,
        CorsDecision::Annotate(fields) => Cors::Annotate(fields),
        CorsDecision::Respond(fields) => {
            let mut reply = Reply::new(200, "cors_response");
            let mut edits = HeaderEdits::default();
            for (name, value) in fields {
                mutations::set(&mut edits, name, value);
            }
            reply.edits = edits;
            Cors::Reply(reply)
        }
    }
}

/// A fault under way; counted until it is dropped.
#[derive(Debug)]
pub(crate) struct ActiveFault(Arc<AtomicU32>);

impl Drop for ActiveFault {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What is done to a request on purpose.
#[derive(Debug, Default)]
pub(crate) struct FaultPlan {
    pub(crate) delay: Option<Duration>,
    pub(crate) abort: Option<Failure>,
    /// How fast the content of the response may pass, in KiB a second.
    pub(crate) response_rate: Option<NonZeroU64>,
    /// Counts the fault as under way.
    pub(crate) active: Option<ActiveFault>,
}

impl FaultStep {
    /// Decides about a request towards `cluster`.
    pub(crate) fn plan(
        &self,
        overrides: Option<&EffectiveOverrides<'_>>,
        facts: &RequestFacts<'_>,
        cluster: &str,
        draw: &mut dyn FnMut() -> u64,
    ) -> FaultPlan {
        let settings = overrides.and_then(EffectiveOverrides::fault).unwrap_or(&self.settings);
        let active = self.active.load(Ordering::Relaxed);
        let decision = fault(settings, &facts.head, cluster, active, draw);
        let response_rate = if settings.response_rate.is_none() {
            None
        } else {
            response_rate(settings, &facts.head, cluster, active, draw())
        };
        if decision.delay.is_none() && decision.abort.is_none() && response_rate.is_none() {
            return FaultPlan::default();
        }
        self.active.fetch_add(1, Ordering::Relaxed);
        FaultPlan {
            delay: decision.delay,
            abort: decision.abort.map(|abort| match abort {
                FaultAbort::Http(status) => Failure::FaultAbort { status, grpc: None },
                FaultAbort::Grpc(status) => Failure::FaultAbort { status: 200, grpc: Some(status) },
            }),
            response_rate,
            active: Some(ActiveFault(Arc::clone(&self.active))),
        }
    }
}
