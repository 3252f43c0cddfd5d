//! From the rules of VirtualServices to routes.

mod action;
mod matches;
mod policy;

use iako_proxy_config::{
    Action, ClusterTarget, Decorator, HeaderMutations, PathMatch, Route, RouteAction, RouteMatch,
    RuleOrigin,
};
use iako_registry::{Service, ServicePort};
use iako_resources::{
    Kind, Labels, Object, VirtualService,
    istio::virtual_service::{GatewayRef, HttpMatch, HttpRoute, StreamMatch},
    selects,
};
use iako_types::Namespace;

pub(crate) use action::cluster_of;
pub(crate) use policy::hash_policy;

use crate::{
    cluster::service_kind, names::outbound_cluster, origin::rule_origin, outlook::Outlook,
};

/// The name of the route of a service that no VirtualService has rules for. Source: Istio.
pub(crate) const DEFAULT_ROUTE: &str = "default";

/// Where rules take effect: at which gateway (or the sidecars), on which port.
#[derive(Debug)]
pub(crate) struct Place<'a> {
    pub(crate) outlook: &'a Outlook<'a>,
    pub(crate) gateway: GatewayRef,
    /// The port that clients call: that of the service, or of the gateway's server.
    pub(crate) port: u16,
}

impl Place<'_> {
    fn takes(
        &self,
        gateways: &[GatewayRef],
        port: Option<u16>,
        labels: &Labels,
        namespace: Option<&Namespace>,
    ) -> bool {
        let scope = self.outlook.scope;
        (gateways.is_empty() || gateways.contains(&self.gateway))
            && port.is_none_or(|port| port == self.port)
            && selects(labels, &scope.labels)
            && namespace.is_none_or(|namespace| *namespace == scope.namespace)
    }

    fn takes_request(&self, matcher: &HttpMatch) -> bool {
        let namespace = matcher.source_namespace.as_ref();
        self.takes(&matcher.gateways, matcher.port, &matcher.source_labels, namespace)
    }

    /// Whether a rule about connections exists here.
    pub(crate) fn takes_stream(&self, matcher: &StreamMatch) -> bool {
        let namespace = matcher.source_namespace.as_ref();
        // Connections are not told apart by address yet, so such a match takes none.
        matcher.destination_subnets.is_empty()
            && self.takes(&matcher.gateways, matcher.port, &matcher.source_labels, namespace)
    }
}

/// The routes of an object at one place, up to the first that takes every request.
pub(crate) fn routes_of(place: &Place<'_>, object: &Object<VirtualService>) -> Vec<Route> {
    let mut routes = Vec::new();
    for rule in &object.spec.http {
        if rule.matches.is_empty() {
            routes.push(route(place, object, rule, None));
        }
        for matcher in rule.matches.iter().filter(|matcher| place.takes_request(matcher)) {
            routes.push(route(place, object, rule, Some(matcher)));
            if routes.last().is_some_and(is_catch_all) {
                break;
            }
        }
        // Later rules can never be reached.
        if routes.last().is_some_and(is_catch_all) {
            break;
        }
    }
    routes
}

/// Whether a route takes every request.
pub(crate) fn is_catch_all(route: &Route) -> bool {
    let matcher = &route.matcher;
    let every_path = match &matcher.path {
        PathMatch::Prefix(prefix) => prefix == "/",
        PathMatch::Regex(pattern) => matches!(pattern.source(), ".*" | "/.*"),
        PathMatch::SegmentPrefix(_)
        | PathMatch::Exact(_)
        | PathMatch::Template(_)
        | PathMatch::Connect => false,
    };
    every_path
        && matcher.headers.is_empty()
        && matcher.query.is_empty()
        && matcher.metadata.is_empty()
}

fn route(
    place: &Place<'_>,
    object: &Object<VirtualService>,
    rule: &HttpRoute,
    matcher: Option<&HttpMatch>,
) -> Route {
    let line = matcher.map_or(rule.line, |matcher| matcher.line);
    let planned = matcher.map_or_else(RouteMatch::any, matches::route_match);
    let operation = operation(object, place.port, &planned.path);
    let mut route = Route::new(planned, action::action(place, rule, matcher));
    route.name = route_name(rule, matcher);
    route.headers = policy::header_mutations(&rule.headers);
    route.overrides = policy::overrides(rule);
    route.decorator = Some(decorator(operation));
    route.origin = Some(rule_origin(Kind::VirtualService, object, line));
    route
}

/// What spans call an operation. Told to nobody but the collector: both sides are planned here.
pub(crate) const fn decorator(operation: String) -> Decorator {
    Decorator { operation, propagates: true }
}

fn route_name(rule: &HttpRoute, matcher: Option<&HttpMatch>) -> String {
    let names = [rule.name.as_deref(), matcher.and_then(|matcher| matcher.name.as_deref())];
    names.into_iter().flatten().collect::<Vec<_>>().join(".")
}

fn operation(object: &Object<VirtualService>, port: u16, path: &PathMatch) -> String {
    let host = object.spec.hosts.first().map(ToString::to_string).unwrap_or_default();
    let path = match path {
        PathMatch::Prefix(prefix) | PathMatch::SegmentPrefix(prefix) => format!("{prefix}*"),
        PathMatch::Exact(exact) => exact.clone(),
        PathMatch::Regex(pattern) => pattern.source().to_owned(),
        PathMatch::Template(template) => template.source().to_owned(),
        PathMatch::Connect => "CONNECT".to_owned(),
    };
    format!("{host}:{port}{path}")
}

/// The one route of a service that no VirtualService has rules for.
pub(crate) fn service_route(outlook: &Outlook<'_>, service: &Service, port: &ServicePort) -> Route {
    let host = service.host.to_string();
    let cluster = outbound_cluster(port.number, "", &host);
    let hash = hash_policy(outlook, service, None, port.number);
    let mut action = RouteAction::to(ClusterTarget::Cluster(cluster));
    action.timeout = None;
    action.max_stream_duration = Some(policy::stream_duration(None));
    action.retry = policy::retry(outlook.mesh().default_http_retry_policy.as_ref(), &hash);
    action.hash = hash;
    let mut route = Route::new(RouteMatch::any(), Action::Forward(Box::new(action)));
    DEFAULT_ROUTE.clone_into(&mut route.name);
    route.decorator = Some(decorator(format!("{host}:{}/*", port.number)));
    route.origin = Some(service_origin(service));
    route
}

/// The mark of what stems from a service itself.
pub(crate) fn service_origin(service: &Service) -> RuleOrigin {
    RuleOrigin {
        kind: service_kind(service).name().to_owned(),
        namespace: service.namespace.to_string(),
        name: service.name.clone(),
        file: service.origin.file.to_string(),
        line: service.origin.line,
    }
}

/// A route that answers here, with a sentence for people.
pub(crate) fn answer(name: &str, status: u16, sentence: String) -> Route {
    let response = iako_proxy_config::DirectResponse::new(status, sentence.into());
    let mut route = Route::new(RouteMatch::any(), Action::Respond(response));
    name.clone_into(&mut route.name);
    route.headers = HeaderMutations::default();
    route
}

/// A route that sends everything to one cluster, without a time limit or retries.
pub(crate) fn forward_to(name: &str, cluster: &str) -> Route {
    let mut action = RouteAction::to(ClusterTarget::Cluster(cluster.to_owned()));
    action.timeout = None;
    let mut route = Route::new(RouteMatch::any(), Action::Forward(Box::new(action)));
    name.clone_into(&mut route.name);
    route
}
