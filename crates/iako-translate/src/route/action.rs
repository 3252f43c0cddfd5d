//! What happens to a request that a rule takes.

use iako_proxy_config::{
    Action, ClusterTarget, DirectResponse, HostRewrite, Mirror, PathRewrite, Redirect,
    RedirectPath, RedirectScheme, RouteAction, WeightedCluster,
};
use iako_resources::{
    StringMatch,
    istio::virtual_service::{
        Destination, HeaderOperations, HttpAction, HttpMatch, HttpRoute,
        PathRewrite as SourceRewrite, Redirect as SourceRedirect, RedirectPath as SourcePath,
        RedirectPort, Retries, RouteDestination,
    },
};
use iako_types::Weight;

use super::{Place, policy};
use crate::{cluster::non_zero, names::outbound_cluster, outlook::Outlook, text::pattern};

/// Names under which a header operation means the authority.
const AUTHORITY_NAMES: [&str; 2] = ["host", ":authority"];

/// The action of a rule.
pub(super) fn action(place: &Place<'_>, rule: &HttpRoute, matcher: Option<&HttpMatch>) -> Action {
    match &rule.action {
        HttpAction::Route(targets) => {
            Action::Forward(Box::new(forward(place, rule, matcher, targets)))
        }
        HttpAction::Redirect(source) => Action::Redirect(redirect(place, source)),
        HttpAction::DirectResponse(source) => Action::Respond(DirectResponse::new(
            source.status,
            bytes::Bytes::copy_from_slice(&source.body),
        )),
        // Objects that delegate wait; a rule that nothing took the place of has no route.
        HttpAction::Delegate(_) => Action::Respond(DirectResponse::new(404, bytes::Bytes::new())),
    }
}

fn forward(
    place: &Place<'_>,
    rule: &HttpRoute,
    matcher: Option<&HttpMatch>,
    targets: &[RouteDestination],
) -> RouteAction {
    let outlook = place.outlook;
    let timeout = rule.timeout.and_then(non_zero);
    let hash = targets.first().map(|target| hash_of(place, &target.destination));
    let hash = hash.unwrap_or_default();
    let mut action = RouteAction::to(cluster_target(place, targets));
    action.timeout = timeout;
    action.max_stream_duration = Some(policy::stream_duration(timeout));
    let retries = rule.retries.as_ref().or_else(|| default_retries(outlook));
    action.retry = policy::retry(retries, &hash);
    action.hash = hash;
    if let Some(rewrite) = &rule.rewrite {
        action.path_rewrite = rewrite.path.as_ref().map(|path| path_rewrite(path, matcher));
        action.host_rewrite = rewrite.authority.clone().map(HostRewrite::Literal);
    }
    if let Some(authority) = authority_of(&rule.headers) {
        action.host_rewrite = Some(HostRewrite::Literal(authority));
    }
    if let [only] = targets
        && let Some(authority) = authority_of(&only.headers)
    {
        action.host_rewrite = Some(HostRewrite::Literal(authority));
    }
    action.mirrors = rule
        .mirrors
        .iter()
        .map(|mirror| Mirror {
            share: mirror.percentage.into(),
            ..Mirror::to(cluster_of(outlook, place.port, &mirror.destination))
        })
        .collect();
    action
}

fn default_retries<'a>(outlook: &Outlook<'a>) -> Option<&'a Retries> {
    outlook.mesh().default_http_retry_policy.as_ref()
}

fn cluster_target(place: &Place<'_>, targets: &[RouteDestination]) -> ClusterTarget {
    let name =
        |target: &RouteDestination| cluster_of(place.outlook, place.port, &target.destination);
    let weighted = |target: &RouteDestination, weight: Weight| WeightedCluster {
        cluster: name(target),
        weight,
        headers: policy::header_mutations(&target.headers),
        host_rewrite: authority_of(&target.headers),
        ..WeightedCluster::default()
    };
    match targets {
        [only] if only.headers == HeaderOperations::default() => ClusterTarget::Cluster(name(only)),
        // The weight of a single target says nothing: it takes all.
        [only] => ClusterTarget::Weighted(vec![weighted(only, 1)]),
        several => {
            let used = several.iter().filter(|target| target.weight > 0);
            ClusterTarget::Weighted(used.map(|target| weighted(target, target.weight)).collect())
        }
    }
}

/// The cluster of a destination. A port that is not named is the service's only one, else the one
/// that the client called.
pub(crate) fn cluster_of(outlook: &Outlook<'_>, port: u16, destination: &Destination) -> String {
    let service = outlook.service(&destination.host);
    let port =
        destination.port.unwrap_or_else(|| match service.map(|service| &service.ports[..]) {
            Some([only]) => only.number,
            Some(_) | None => port,
        });
    // A host that only a wildcard ServiceEntry covers goes to that entry's cluster.
    let host = service.map_or_else(|| destination.host.to_string(), |found| found.host.to_string());
    outbound_cluster(port, destination.subset.as_deref().unwrap_or_default(), &host)
}

fn hash_of(place: &Place<'_>, destination: &Destination) -> Vec<iako_proxy_config::HashPolicy> {
    let Some(service) = place.outlook.service(&destination.host) else { return Vec::new() };
    let port = destination.port.unwrap_or_else(|| match &service.ports[..] {
        [only] => only.number,
        _ => place.port,
    });
    policy::hash_policy(place.outlook, service, destination.subset.as_deref(), port)
}

fn authority_of(headers: &HeaderOperations) -> Option<String> {
    let mut set = headers.request.set.iter();
    set.find(|(name, _)| AUTHORITY_NAMES.contains(&name.as_str())).map(|(_, value)| value.clone())
}

fn path_rewrite(rewrite: &SourceRewrite, matcher: Option<&HttpMatch>) -> PathRewrite {
    match rewrite {
        SourceRewrite::Uri(uri) => match matcher.and_then(|matcher| matcher.uri.as_ref()) {
            Some(StringMatch::Regex(_)) => PathRewrite::Full(uri.clone()),
            Some(StringMatch::Exact(_) | StringMatch::Prefix(_) | StringMatch::Present) | None => {
                PathRewrite::Prefix(uri.clone())
            }
        },
        SourceRewrite::Regex { find, replacement } => PathRewrite::Regex {
            pattern: pattern(find.source()),
            substitution: replacement.clone(),
        },
    }
}

fn redirect(place: &Place<'_>, source: &SourceRedirect) -> Redirect {
    let default_port = match source.scheme.as_deref() {
        Some("https") => Some(443),
        Some(_) => Some(80),
        None => None,
    };
    Redirect {
        scheme: source.scheme.clone().map(RedirectScheme::Scheme),
        host: source.authority.clone(),
        port: match source.port {
            Some(RedirectPort::Number(port)) => Some(port),
            Some(RedirectPort::FromProtocolDefault) => default_port,
            Some(RedirectPort::FromRequest) => Some(place.port),
            None => None,
        },
        path: source.path.as_ref().map(|path| match path {
            SourcePath::Whole(path) => RedirectPath::Full(path.clone()),
            SourcePath::Prefix(prefix) => RedirectPath::Prefix(prefix.clone()),
        }),
        status: source.status,
        strip_query: false,
    }
}
