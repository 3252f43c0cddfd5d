//! Every rule in order, nothing compiled, nothing of the crate under test.

use std::collections::BTreeMap;
use std::sync::Arc;

use iako_proxy_config::{
    ConnectionInput, Domain, FilterStateCheck, HeaderCheck, HeaderMatch, MatchCheck, MatchInput,
    MatchNode, MatchOutcome, MatchPredicate, MatchThen, MatchTree, MetadataValueMatch, PathMatch,
    QueryCheck, Route, RouteConfiguration, RouteMatch, StringMatch, TlsRequirement, VirtualHost,
};

use super::make::{Meaning, Request};

/// What a table says of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    NoHost,
    NoRoute(String),
    TlsRequired(String),
    Route(String),
}

impl Answer {
    pub(crate) fn kind(&self) -> usize {
        match self {
            Self::NoHost => 0,
            Self::NoRoute(_) => 1,
            Self::TlsRequired(_) => 2,
            Self::Route(_) => 3,
        }
    }
}

pub(crate) fn answer(
    configuration: &RouteConfiguration,
    rules: &BTreeMap<String, Meaning>,
    request: &Request,
) -> Answer {
    let Some(host) = host(configuration, request) else { return Answer::NoHost };
    let wants_tls = match host.require_tls {
        TlsRequirement::None => false,
        TlsRequirement::ExternalOnly => !request.internal,
        TlsRequirement::All => true,
    };
    if wants_tls && request.scheme == "http" {
        return Answer::TlsRequired(host.name.clone());
    }
    let path = path(configuration, request);
    let taken = routes(host, request)
        .iter()
        .find(|route| takes(route, rules.get(&route.name).copied(), &path, request));
    match taken {
        Some(route) => Answer::Route(route.name.clone()),
        None => Answer::NoRoute(host.name.clone()),
    }
}

/// "Exact domain names, then suffix domain wildcards, then prefix domain wildcards, then the special
/// wildcard; within suffixes and prefixes the longest wildcard first."
fn host<'t>(configuration: &'t RouteConfiguration, request: &Request) -> Option<&'t VirtualHost> {
    let hosts = &configuration.virtual_hosts;
    let searched = match &configuration.host_header {
        None => request.authority.clone(),
        Some(name) => {
            let named = values(request, name.as_str()).first().cloned();
            match named {
                Some(named) => named,
                None => {
                    let mut all = hosts.iter().flat_map(|host| &host.domains);
                    let only_any = all.all(|domain| *domain == Domain::Any);
                    let mut hosts = hosts.iter();
                    let any = hosts.find(|host| host.domains.contains(&Domain::Any));
                    return any.filter(|_| only_any).map(Arc::as_ref);
                }
            }
        }
    };
    let mut searched = searched.to_lowercase();
    if configuration.ignore_port_in_host {
        let digits = searched.trim_end_matches(|c: char| c.is_ascii_digit()).to_owned();
        if digits.len() < searched.len() && digits.ends_with(':') {
            searched = digits.trim_end_matches(':').to_owned();
        }
    }
    // The rank of a domain that takes the host: its kind, then its length.
    let rank = |domain: &Domain| match domain {
        Domain::Exact(text) => (searched == *text).then_some((3, 0)),
        Domain::Suffix(text) => (searched.ends_with(text.as_str()) && searched.len() > text.len())
            .then_some((2, text.len())),
        Domain::Prefix(text) => (searched.starts_with(text.as_str())
            && searched.len() > text.len())
        .then_some((1, text.len())),
        Domain::Any => Some((0, 0)),
    };
    let ranked =
        hosts.iter().filter_map(|host| Some((host.domains.iter().filter_map(rank).max()?, host)));
    ranked.max_by_key(|(rank, _)| *rank).map(|(_, host)| host.as_ref())
}

fn routes<'t>(host: &'t VirtualHost, request: &Request) -> &'t [Arc<Route>] {
    let Some(tree) = &host.matcher else { return &host.routes };
    chosen(tree, request).map_or(&[], Vec::as_slice)
}

/// "If an outcome is to keep matching, or a nested matcher has no match, evaluation goes on; where
/// nothing matches, `on_no_match` is the outcome."
fn chosen<'t>(
    tree: &'t MatchTree<Vec<Arc<Route>>>,
    request: &Request,
) -> Option<&'t Vec<Arc<Route>>> {
    let mut candidates: Vec<&MatchOutcome<_>> = match &tree.node {
        MatchNode::Never => Vec::new(),
        MatchNode::List(rules) => {
            let met = rules.iter().filter(|(wanted, _)| holds(wanted, request));
            met.map(|(_, outcome)| outcome).collect()
        }
        MatchNode::Exact { input, outcomes } => {
            let text = looked_at(input, request);
            let equal = outcomes.iter().filter(|(own, _)| Some(*own) == text.as_ref());
            equal.map(|(_, outcome)| outcome).collect()
        }
        MatchNode::Prefix { input, outcomes } => {
            let text = looked_at(input, request);
            let mut starts: Vec<_> = outcomes
                .iter()
                .filter(|(own, _)| text.as_ref().is_some_and(|text| text.starts_with(*own)))
                .collect();
            starts.sort_by_key(|(own, _)| std::cmp::Reverse(own.len()));
            starts.into_iter().map(|(_, outcome)| outcome).collect()
        }
    };
    candidates.extend(tree.otherwise.as_deref());
    candidates.into_iter().find_map(|outcome| {
        let action = match &outcome.then {
            MatchThen::Action(routes) => Some(routes),
            MatchThen::Tree(tree) => chosen(tree, request),
        };
        if outcome.keep_matching { None } else { action }
    })
}

fn holds(wanted: &MatchPredicate, request: &Request) -> bool {
    match wanted {
        MatchPredicate::Any(several) => several.iter().any(|one| holds(one, request)),
        MatchPredicate::All(several) => several.iter().all(|one| holds(one, request)),
        MatchPredicate::Not(one) => !holds(one, request),
        MatchPredicate::Single { input, check } => {
            let Some(text) = looked_at(input, request) else { return false };
            let hash = |seed| xxhash_rust::xxh64::xxh64(text.as_bytes(), seed);
            match check {
                MatchCheck::Text(wanted) => text_holds(wanted, &text),
                MatchCheck::Ip(ranges) => {
                    let address = text.parse::<std::net::IpAddr>();
                    address.is_ok_and(|address| ranges.iter().any(|range| range.contains(&address)))
                }
                MatchCheck::Share { share, seed } => {
                    hash(*seed) % u64::from(share.denominator.parts()) < u64::from(share.numerator)
                }
                MatchCheck::Hash { threshold, modulo, seed } => {
                    hash(*seed) % u64::from(modulo.get()) >= u64::from(*threshold)
                }
                MatchCheck::Metadata(_) | MatchCheck::Expression(_) => {
                    panic!("no such condition is made")
                }
            }
        }
    }
}

/// What a tree looks at, joined by commas where there are several.
fn looked_at(input: &MatchInput, request: &Request) -> Option<String> {
    match input {
        MatchInput::RequestHeader(name) => {
            let values = values(request, name.as_str());
            (!values.is_empty()).then(|| values.join(","))
        }
        MatchInput::QueryParameter(name) => {
            let (_, query) = request.target.split_once('?')?;
            let mut pairs = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
            pairs.find(|(own, _)| own == name).map(|(_, value)| value.to_owned())
        }
        MatchInput::Connection(ConnectionInput::SourceIp) => Some("10.9.9.9".to_owned()),
        MatchInput::Connection(ConnectionInput::FilterState(_)) => request.state.clone(),
        MatchInput::Connection(ConnectionInput::DynamicMetadata { .. }) => request.fact.clone(),
        MatchInput::Attributes | MatchInput::Connection(_) => panic!("no such input is made"),
    }
}

fn path(configuration: &RouteConfiguration, request: &Request) -> String {
    let path = request.target.split('?').next().unwrap().to_owned();
    if !configuration.ignore_path_parameters {
        return path;
    }
    let mut bare = String::new();
    let mut inside = false;
    for c in path.chars() {
        inside = (inside || c == ';') && c != '/';
        if !inside {
            bare.push(c);
        }
    }
    bare
}

fn takes(route: &Route, meaning: Option<Meaning>, path: &str, request: &Request) -> bool {
    let rule = &route.matcher;
    path_holds(rule, meaning, path, request)
        && rule.share.as_ref().is_none_or(|share| {
            request.draw % 1_000_000 < u64::from(share.value.parts_per_million())
        })
        && (!rule.grpc_only || is_grpc(request))
        && rule.headers.iter().all(|header| header_holds(header, request))
        && rule.query.iter().all(|query| {
            let text = request.target.split_once('?').map_or("", |(_, query)| query);
            let value = text.split('&').find_map(|pair| {
                let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                (name == query.name && !pair.is_empty()).then_some(value)
            });
            match &query.check {
                QueryCheck::Present(wanted) => value.is_some() == *wanted,
                QueryCheck::Text(wanted) => value.is_some_and(|value| text_holds(wanted, value)),
            }
        })
        && rule.cookies.iter().all(|cookie| {
            let jar = values(request, "cookie").join("; ");
            let mut pairs = jar.split("; ").filter_map(|pair| pair.split_once('='));
            let value = pairs.find(|(name, _)| *name == cookie.name).map(|(_, value)| value);
            let bare = value.map(|value| value.trim_matches('"'));
            bare.is_some_and(|value| text_holds(&cookie.value, value)) != cookie.invert
        })
        && rule.tls.is_none_or(|wanted| {
            let shown = request.has_certificate;
            wanted.presented.unwrap_or(shown) == shown && wanted.validated.unwrap_or(shown) == shown
        })
        && rule.metadata.iter().all(|wanted| {
            let MetadataValueMatch::Text(text) = &wanted.value else {
                panic!("no such condition is made")
            };
            request.fact.as_deref().is_some_and(|fact| text_holds(text, fact)) != wanted.invert
        })
        && rule.filter_state.iter().all(|wanted| {
            let FilterStateCheck::Text(text) = &wanted.check else {
                panic!("no such condition is made")
            };
            request.state.as_deref().is_some_and(|state| text_holds(text, state))
        })
}

fn path_holds(rule: &RouteMatch, meaning: Option<Meaning>, path: &str, request: &Request) -> bool {
    let connects = request.method == "CONNECT";
    if request.target.is_empty() {
        return connects && rule.path == PathMatch::Connect;
    }
    let letters = |text: &str| {
        if rule.case_sensitive { text.to_owned() } else { text.to_ascii_lowercase() }
    };
    let own = letters(path);
    match &rule.path {
        PathMatch::Exact(text) => own == letters(text),
        PathMatch::Prefix(text) => own.starts_with(&letters(text)),
        PathMatch::SegmentPrefix(text) => {
            own == letters(text) || own.starts_with(&(letters(text) + "/"))
        }
        PathMatch::Regex(_) => meaning.unwrap()(path),
        PathMatch::Template(_) => meaning.unwrap()(request.target.split('?').next().unwrap()),
        PathMatch::Connect => connects,
    }
}

fn is_grpc(request: &Request) -> bool {
    values(request, "content-type").first().is_some_and(|kind| kind.starts_with("application/grpc"))
}

/// All values of a header or pseudo-header, in order.
fn values(request: &Request, name: &str) -> Vec<String> {
    let own = |text: &str| vec![text.to_owned()];
    match name {
        ":method" => own(request.method),
        ":authority" => own(&request.authority),
        ":path" if request.target.is_empty() => Vec::new(),
        ":path" => own(&request.target),
        _ => {
            let named = request.headers.iter().filter(|(own, _)| *own == name);
            named.map(|(_, value)| value.clone()).collect()
        }
    }
}

fn header_holds(rule: &HeaderMatch, request: &Request) -> bool {
    let mut values = values(request, rule.name.as_str());
    if values.is_empty() && rule.missing_as_empty {
        values.push(String::new());
    }
    let met = match &rule.check {
        HeaderCheck::Present(wanted) => values.is_empty() != *wanted,
        // "A missing header does not match, whatever invert_match says."
        _ if values.is_empty() => return false,
        HeaderCheck::Text(wanted) => values.iter().any(|value| text_holds(wanted, value)),
        HeaderCheck::Range { start, end } => values
            .iter()
            .filter_map(|value| value.parse::<i64>().ok())
            .any(|value| value >= *start && value < *end),
    };
    met != rule.invert
}

fn text_holds(rule: &StringMatch, text: &str) -> bool {
    let fold = |text: &str, fold: bool| {
        if fold { text.to_ascii_lowercase() } else { text.to_owned() }
    };
    match rule {
        StringMatch::Exact { value, ignore_case: all } => fold(text, *all) == fold(value, *all),
        StringMatch::Prefix { value, ignore_case: all } => {
            fold(text, *all).starts_with(&fold(value, *all))
        }
        StringMatch::Suffix { value, ignore_case: all } => {
            fold(text, *all).ends_with(&fold(value, *all))
        }
        StringMatch::Contains { value, ignore_case: all } => {
            fold(text, *all).contains(&fold(value, *all))
        }
        StringMatch::Regex(_) => panic!("no such condition is made"),
    }
}
