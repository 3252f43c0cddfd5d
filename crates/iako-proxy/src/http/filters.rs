//! The steps on every request's way, compiled, and what each of them does.

pub(crate) mod admission;
pub(crate) mod authz;
mod callouts;
pub(crate) mod choice;
pub(crate) mod concurrency;
pub(crate) mod content;
pub(crate) mod cors;
pub(crate) mod credential;
pub(crate) mod fault;
pub(crate) mod forward;
pub(crate) mod global_limit;
pub(crate) mod head;
pub(crate) mod jwt;
pub(crate) mod local_limit;
pub(crate) mod login;
pub(crate) mod processing;
pub(crate) mod rbac;
pub(crate) mod said;

use std::cell::RefCell;
use std::sync::Arc;

use iako_http::{FieldValue, HeaderEdits, Known};
use iako_proxy_config::{
    ClusterMetadata, HttpConnectionManager, HttpFilter, HttpFilterKind, Node, OnDemand,
    PeerDiscovery, PeerMetadata, StatefulSession,
};
use iako_telemetry::peer::{PeerCache, header_value};
use iako_telemetry::{StatsScope, WorkloadLabels};
use iako_traffic::EffectiveOverrides;

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
    /// What a request has to choose so that it is there; always there without.
    pub(crate) condition: Option<Box<choice::Condition>>,
    pub(crate) kind: FilterKind,
}

/// What a step does.
#[derive(Debug)]
pub(crate) enum FilterKind {
    PeerMetadata(PeerStep),
    Jwt(Arc<jwt::JwtStep>),
    Authz(Box<authz::AuthzStep>),
    Limit(Box<global_limit::LimitStep>),
    LocalLimit(Box<local_limit::LocalLimitStep>),
    Login(Box<login::LoginFilter>),
    Admission(Box<admission::AdmissionStep>),
    Concurrency(Box<concurrency::ConcurrencyStep>),
    Credential(Box<credential::CredentialStep>),
    Process(Arc<processing::ProcessStep>),
    Rbac(Box<rbac::RbacStep>),
    Fault(fault::FaultStep),
    Forward(forward::ForwardStep),
    Cors(cors::CorsStats),
    GrpcWeb,
    StatefulSession(Box<StatefulSession>),
    /// Looks at heads.
    Head(Box<head::HeadFilter>),
    /// Looks at content or changes it.
    Content(Box<ContentFilter>),
    OnDemand(Box<OnDemand>),
    /// Its settings have not arrived.
    Missing,
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

impl Filter {
    /// Compiles the steps of a connection manager.
    pub(crate) fn compile_all(
        manager: &HttpConnectionManager,
        scope: &StatsScope,
        shared: &Shared,
    ) -> Vec<Self> {
        let mut filters = Vec::with_capacity(manager.filters.len());
        for filter in &manager.filters {
            // Routes know them by the name of the filter that they are chosen through.
            let made = |kind, condition: &_| {
                let inner = HttpFilter { kind, ..filter.clone() };
                Self::compile(&inner, Some(condition), scope, shared)
            };
            if let HttpFilterKind::Composite(composite) = &filter.kind {
                for (condition, chosen) in choice::Condition::all(composite, scope) {
                    filters.extend(chosen.into_iter().map(|kind| made(kind, &condition)));
                }
            } else if let HttpFilterKind::Matched(matched) = &filter.kind {
                let condition = choice::Condition::unless(matched);
                filters.push(made(matched.kind.clone(), &condition));
            } else {
                filters.push(Self::compile(filter, None, scope, shared));
            }
        }
        filters
    }

    fn compile(
        filter: &HttpFilter,
        condition: Option<&choice::Condition>,
        scope: &StatsScope,
        shared: &Shared,
    ) -> Self {
        let content = ContentFilter::compile(&filter.kind, scope, shared);
        let head = head::HeadFilter::compile(&filter.kind, scope);
        let kind = match (content, head) {
            (Some(content), _) => FilterKind::Content(Box::new(content)),
            (None, Some(head)) => FilterKind::Head(Box::new(head)),
            (None, None) => FilterKind::compile(filter, scope, shared),
        };
        Self {
            name: filter.name.clone(),
            disabled: filter.disabled,
            acts: kind.acts(),
            responds: kind.responds(),
            condition: condition.map(|condition| Box::new(condition.clone())),
            kind,
        }
    }

    /// Whether exchanges are counted in Istio's standard metrics.
    pub(crate) fn is_stats(&self) -> bool {
        matches!(self.kind, FilterKind::Stats) && !self.disabled
    }

    /// Whether the step is left out for a request.
    pub(crate) fn is_off(&self, overrides: Option<&EffectiveOverrides<'_>>) -> bool {
        let Some(overrides) = overrides else { return self.disabled };
        overrides.switches_off(&self.name).unwrap_or(self.disabled)
    }
}

impl FilterKind {
    const fn acts(&self) -> bool {
        match self {
            Self::Content(filter) => filter.acts(),
            Self::Alpn | Self::Stats | Self::Router | Self::Other => false,
            Self::PeerMetadata(_)
            | Self::Jwt(_)
            | Self::Authz(_)
            | Self::Limit(_)
            | Self::LocalLimit(_)
            | Self::Login(_)
            | Self::Admission(_)
            | Self::Concurrency(_)
            | Self::Credential(_)
            | Self::Process(_)
            | Self::Rbac(_)
            | Self::Fault(_)
            | Self::Forward(_)
            | Self::Cors(_)
            | Self::GrpcWeb
            | Self::StatefulSession(_)
            | Self::Head(_)
            | Self::OnDemand(_)
            | Self::Missing => true,
        }
    }

    /// Whether it does something when a response comes.
    fn responds(&self) -> bool {
        match self {
            // Settings of a route may hold responses back where those of a fault do not.
            Self::GrpcWeb | Self::Fault(_) => true,
            Self::Content(filter) => filter.responds(),
            Self::Head(filter) => filter.responds(),
            Self::PeerMetadata(_)
            | Self::Jwt(_)
            | Self::Rbac(_)
            | Self::Authz(_)
            | Self::Limit(_)
            | Self::LocalLimit(_)
            | Self::Login(_)
            | Self::Admission(_)
            | Self::Concurrency(_)
            | Self::Credential(_)
            | Self::Process(_)
            | Self::Forward(_)
            | Self::Cors(_)
            | Self::StatefulSession(_)
            | Self::OnDemand(_)
            | Self::Missing
            | Self::Alpn
            | Self::Stats
            | Self::Router
            | Self::Other => false,
        }
    }

    #[expect(clippy::too_many_lines, reason = "one arm for each kind of filter")]
    fn compile(filter: &HttpFilter, scope: &StatsScope, shared: &Shared) -> Self {
        match &filter.kind {
            HttpFilterKind::Router(_) => Self::Router,
            HttpFilterKind::Fault(settings) => {
                Self::Fault(fault::FaultStep::new(settings.clone(), scope))
            }
            HttpFilterKind::DynamicForward(settings) => {
                Self::Forward(forward::ForwardStep::new(settings))
            }
            HttpFilterKind::Cors => Self::Cors(cors::CorsStats::new(scope)),
            HttpFilterKind::JwtAuthn(settings) => {
                Self::Jwt(Arc::new(jwt::JwtStep::compile(settings, scope)))
            }
            HttpFilterKind::Rbac(rbac) => {
                Self::Rbac(Box::new(rbac::RbacStep::new(rbac.clone(), scope)))
            }
            HttpFilterKind::ExtAuthz(settings) => {
                let name = &filter.name;
                let step = authz::AuthzStep::compile(name, settings, scope, shared);
                Self::Authz(Box::new(step))
            }
            HttpFilterKind::ExtProc(settings) => Self::Process(Arc::new(
                processing::ProcessStep::compile(&filter.name, settings, scope),
            )),
            HttpFilterKind::GlobalRateLimit(settings) => {
                let own = &shared.node.node.cluster;
                let step = global_limit::LimitStep::compile(&filter.name, settings, own);
                Self::Limit(Box::new(step))
            }
            HttpFilterKind::AdmissionControl(settings) => {
                Self::Admission(Box::new(admission::AdmissionStep::compile(settings, scope)))
            }
            HttpFilterKind::AdaptiveConcurrency(settings) => {
                let step = concurrency::ConcurrencyStep::compile(settings, scope);
                Self::Concurrency(Box::new(step))
            }
            HttpFilterKind::CredentialInjector(settings) => {
                let step = credential::CredentialStep::compile(settings, scope, shared);
                Self::Credential(Box::new(step))
            }
            HttpFilterKind::OAuth2(settings) => {
                let filter = login::LoginFilter::compile(settings.as_deref(), scope, shared);
                Self::Login(Box::new(filter))
            }
            HttpFilterKind::LocalRateLimit(settings) => {
                let name = &filter.name;
                let step = local_limit::LocalLimitStep::compile(name, settings, shared);
                Self::LocalLimit(Box::new(step))
            }
            HttpFilterKind::PeerMetadata(settings) => {
                Self::PeerMetadata(PeerStep::of(settings, &shared.node.node))
            }
            HttpFilterKind::GrpcWeb => Self::GrpcWeb,
            HttpFilterKind::StatefulSession(session) => Self::StatefulSession(session.clone()),
            HttpFilterKind::OnDemand(settings) => Self::OnDemand(settings.clone()),
            HttpFilterKind::Discovered(_) => Self::Missing,
            HttpFilterKind::Alpn => Self::Alpn,
            HttpFilterKind::Stats(_) => Self::Stats,
            HttpFilterKind::GrpcStats(_)
            | HttpFilterKind::Composite(_)
            | HttpFilterKind::Matched(_)
            | HttpFilterKind::Buffer(_)
            | HttpFilterKind::Compressor(_)
            | HttpFilterKind::Decompressor(_)
            | HttpFilterKind::BandwidthLimit(_)
            | HttpFilterKind::Csrf(_)
            | HttpFilterKind::HeaderMutation(_)
            | HttpFilterKind::HeaderToMetadata(_)
            | HttpFilterKind::SetMetadata(_)
            | HttpFilterKind::CustomResponse(_)
            | HttpFilterKind::Cache(_)
            | HttpFilterKind::JsonToMetadata(_)
            | HttpFilterKind::SetState(_)
            | HttpFilterKind::HealthCheck(_)
            | HttpFilterKind::IpTagging(_)
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
    fn of(settings: &PeerMetadata, node: &Node) -> Self {
        let metadata = serde_json::Value::Object(node.metadata.clone());
        Self {
            settings: settings.clone(),
            own: FieldValue::sanitized(header_value(&metadata)),
            own_id: FieldValue::sanitized(node.id.clone()),
        }
    }

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
