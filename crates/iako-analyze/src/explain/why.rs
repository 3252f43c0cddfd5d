//! Sentences about conditions.

use iako_proxy_config::{
    Action, Cluster, ClusterTarget, HeaderCheck, HeaderMatch, PathMatch, QueryCheck, Route,
    StringMatch, WeightedCluster,
};
use iako_traffic::Mismatch;

/// Why a route was passed over.
pub(crate) fn mismatch(failed: &Mismatch<'_>) -> String {
    match failed {
        Mismatch::Path(path) => format!("the path is not {}", self::path(path)),
        Mismatch::NotGrpc => "it is no gRPC request".to_owned(),
        Mismatch::Header(header) => self::header(header),
        Mismatch::Query(query) => match &query.check {
            QueryCheck::Present(true) => format!("the query has no {}", query.name),
            QueryCheck::Present(false) => format!("the query has {}", query.name),
            QueryCheck::Text(check) => format!("the query's {} is not {}", query.name, text(check)),
        },
        Mismatch::Cookie(cookie) => format!("the cookie {} does not match", cookie.name),
        Mismatch::Tls => "the client's certificate is not as asked for".to_owned(),
        Mismatch::FilterState(state) => {
            format!("what filters keep as {} does not match", state.key)
        }
        Mismatch::Metadata(metadata) => {
            format!("the token's claim {} does not match", metadata.path.join("."))
        }
        Mismatch::Share(share) => format!("it is not among the {share} of requests"),
    }
}

/// A condition on a path.
pub(crate) fn path(path: &PathMatch) -> String {
    match path {
        PathMatch::Prefix(prefix) | PathMatch::SegmentPrefix(prefix) => format!("{prefix}*"),
        PathMatch::Exact(exact) => exact.clone(),
        PathMatch::Regex(pattern) => format!("like {}", pattern.source()),
        PathMatch::Template(template) => template.source().to_owned(),
        PathMatch::Connect => "that of CONNECT".to_owned(),
    }
}

fn header(header: &HeaderMatch) -> String {
    let not = if header.invert { "is" } else { "is not" };
    match &header.check {
        HeaderCheck::Present(true) => format!("there is no header {}", header.name),
        HeaderCheck::Present(false) => format!("there is a header {}", header.name),
        HeaderCheck::Text(check) => format!("the header {} {not} {}", header.name, text(check)),
        HeaderCheck::Range { start, end } => {
            format!("the header {} {not} a number from {start} to below {end}", header.name)
        }
    }
}

fn text(check: &StringMatch) -> String {
    match check {
        StringMatch::Exact { value, .. } => format!("{value:?}"),
        StringMatch::Prefix { value, .. } => format!("{value:?}…"),
        StringMatch::Suffix { value, .. } => format!("…{value:?}"),
        StringMatch::Contains { value, .. } => format!("…{value:?}…"),
        StringMatch::Regex(pattern) => format!("like {}", pattern.source()),
    }
}

/// What a route takes, in a few words.
pub(crate) fn taken(route: &Route) -> String {
    let matcher = &route.matcher;
    let mut words = vec![format!("path {}", path(&matcher.path))];
    words.extend(matcher.headers.iter().map(|condition| format!("header {}", condition.name)));
    words.extend(matcher.query.iter().map(|condition| format!("query {}", condition.name)));
    words.extend(matcher.metadata.iter().map(|claim| format!("claim {}", claim.path.join("."))));
    words.join(", ")
}

/// Targets with their shares.
fn shares(targets: &[WeightedCluster]) -> String {
    let whole: u64 = targets.iter().map(|target| u64::from(target.weight)).sum();
    let share =
        |weight: u32| u64::from(weight).saturating_mul(100).checked_div(whole).unwrap_or_default();
    let words = targets.iter().map(|target| match &target.cluster_header {
        None => format!("{} % to {}", share(target.weight), target.cluster),
        Some(name) => format!("{} % to the cluster that {name} names", share(target.weight)),
    });
    words.collect::<Vec<_>>().join(", ")
}

/// What an action does, in a few words.
pub(crate) fn action(action: &Action) -> String {
    match action {
        Action::Forward(action) => match &action.target {
            ClusterTarget::Cluster(name) => format!("sent to {name}"),
            ClusterTarget::Header(name) => format!("sent to the cluster that {name} names"),
            ClusterTarget::Tree(_) => {
                "sent to the cluster that a tree of conditions names".to_owned()
            }
            ClusterTarget::Weighted(weighted) => format!("sent, {}", shares(weighted)),
        },
        Action::Redirect(redirect) => format!("redirected with {}", redirect.status),
        Action::Respond(response) => format!("answered with {}", response.status),
    }
}

/// A cluster in the user's words.
pub(crate) fn service(cluster: &Cluster) -> String {
    let host = cluster.metadata.services.first().map_or(cluster.name.as_str(), |s| s.host.as_str());
    if cluster.metadata.subset.is_empty() {
        host.to_owned()
    } else {
        format!("{host}, subset {}", cluster.metadata.subset)
    }
}
