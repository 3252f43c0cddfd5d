//! A compiled table of routes.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use iako_proxy_config::{
    Action, ClusterTarget, Domain, PathMatch, Route, RouteAction, RouteConfiguration, ShareBy,
    TlsRequirement, VirtualHost, WeightedCluster,
};

use super::{
    hash,
    host::{DomainMatch, HostIndex},
    path::{Parameters, PathIndex},
    result::RouteMatchResult,
};
use crate::{
    Mismatch, RequestFacts,
    matching::{choose_action, header_texts, mismatch_at},
};

/// A [`RouteConfiguration`] made ready for questions.
///
/// The host is found by hashing, routes by an index over their path conditions; so a late route
/// costs as much as an early one. Of the routes that the index leaves, the first in order whose
/// every condition is met counts, exactly as if all were tried one by one.
#[derive(Debug)]
pub struct RouteTable {
    configuration: Arc<RouteConfiguration>,
    hosts: HostIndex,
    /// One for each virtual host; shared with the table before where the host is the same.
    paths: Vec<Arc<PathIndex>>,
}

/// What a route table says of a request.
#[derive(Debug, Clone, Copy)]
pub enum RouteOutcome<'t> {
    /// No virtual host takes the host. Envoy: 404, flag `NR`, `route_not_found`.
    NoHost,
    /// The virtual host has no route for it. Envoy: 404, flag `NR`, `route_not_found`.
    NoRoute(&'t VirtualHost),
    /// The virtual host wants HTTPS: 301 to the same target with that scheme.
    TlsRequired(&'t VirtualHost),
    /// This route.
    Matched(RouteMatchResult<'t>),
}

impl RouteTable {
    /// Compiles a table.
    #[must_use]
    pub fn compile(configuration: Arc<RouteConfiguration>) -> Self {
        Self::compile_after(configuration, None)
    }

    /// Compiles a table that takes the place of another. What both have in common is not compiled
    /// again: virtual hosts that are the same object, as decoding makes them of the same bytes.
    #[must_use]
    pub fn compile_after(configuration: Arc<RouteConfiguration>, before: Option<&Self>) -> Self {
        let ignores = |table: &RouteConfiguration| table.ignore_path_parameters;
        let parameters =
            if ignores(&configuration) { Parameters::Ignored } else { Parameters::Kept };
        let before =
            before.filter(|before| ignores(&before.configuration) == ignores(&configuration));
        let known: HashMap<*const VirtualHost, &Arc<PathIndex>, foldhash::fast::RandomState> =
            before.map(Self::compiled).into_iter().flatten().collect();
        let hosts = configuration.virtual_hosts.iter().enumerate();
        let paths = hosts.map(|(position, host)| {
            // A host that changed stands where it stood, mostly, and its paths are the same.
            let same = || before.and_then(|before| before.paths_like(position, host));
            let known = known.get(&Arc::as_ptr(host)).copied().or_else(same);
            known.map_or_else(|| Arc::new(PathIndex::compile(&host.routes, parameters)), Arc::clone)
        });
        let paths = paths.collect();
        let hosts = HostIndex::compile(&configuration);
        Self { configuration, hosts, paths }
    }

    /// The index of the virtual host at this place, where it has the same conditions on paths.
    fn paths_like(&self, position: usize, host: &VirtualHost) -> Option<&Arc<PathIndex>> {
        let own = self.configuration.virtual_hosts.get(position)?;
        let is_same = |(own, other): (&Arc<Route>, &Arc<Route>)| {
            Arc::ptr_eq(own, other)
                || (own.matcher.path == other.matcher.path
                    && own.matcher.case_sensitive == other.matcher.case_sensitive)
        };
        let both = own.routes.iter().zip(&host.routes);
        (own.routes.len() == host.routes.len() && both.into_iter().all(is_same))
            .then(|| self.paths.get(position))
            .flatten()
    }

    fn compiled(&self) -> impl Iterator<Item = (*const VirtualHost, &Arc<PathIndex>)> {
        self.configuration.virtual_hosts.iter().map(Arc::as_ptr).zip(&self.paths)
    }

    /// What it was compiled from.
    #[must_use]
    pub const fn configuration(&self) -> &Arc<RouteConfiguration> {
        &self.configuration
    }

    /// The route for a request. `draw` decides on random shares and on weighted targets.
    #[must_use]
    pub fn route(&self, facts: &RequestFacts<'_>, draw: u64) -> RouteOutcome<'_> {
        let Some((position, virtual_host, _)) = self.virtual_host(facts) else {
            return RouteOutcome::NoHost;
        };
        if tls_required(virtual_host, facts) {
            return RouteOutcome::TlsRequired(virtual_host);
        }
        let Some(index) = self.paths.get(position) else {
            return RouteOutcome::NoRoute(virtual_host);
        };
        let path = self.matched_path(facts);
        let takes = |route: &&Arc<Route>| mismatch_at(&route.matcher, &path, facts, draw).is_none();
        let found = match &virtual_host.matcher {
            None => {
                let candidates = index.candidates(&path);
                let mut routes = candidates.filter_map(|position| {
                    virtual_host.routes.get(usize::try_from(position).ok()?)
                });
                routes.find(takes)
            }
            Some(tree) => {
                choose_action(tree.as_ref(), facts).and_then(|routes| routes.iter().find(takes))
            }
        };
        match found {
            Some(route) => RouteOutcome::Matched(self.matched(virtual_host, route, facts, draw)),
            None => RouteOutcome::NoRoute(virtual_host),
        }
    }

    /// The same answer as [`Self::route`], with every rule that was considered on the way and why
    /// it was passed over. For explanations; walks the rules one by one.
    #[must_use]
    pub fn trace(&self, facts: &RequestFacts<'_>, draw: u64) -> RouteTrace<'_> {
        let mut trace = RouteTrace {
            virtual_host: None,
            domain: None,
            considered: Vec::new(),
            outcome: RouteOutcome::NoHost,
        };
        let Some((_, virtual_host, found)) = self.virtual_host(facts) else {
            return trace;
        };
        trace.virtual_host = Some(virtual_host);
        trace.domain = virtual_host.domains.iter().find(|domain| found_by(domain, found, facts));
        trace.outcome = if tls_required(virtual_host, facts) {
            RouteOutcome::TlsRequired(virtual_host)
        } else {
            RouteOutcome::NoRoute(virtual_host)
        };
        if matches!(trace.outcome, RouteOutcome::TlsRequired(_)) {
            return trace;
        }
        let path = self.matched_path(facts);
        let routes = match &virtual_host.matcher {
            None => &virtual_host.routes,
            Some(tree) => choose_action(tree.as_ref(), facts).unwrap_or(&virtual_host.routes),
        };
        for (position, route) in routes.iter().enumerate() {
            let failed = mismatch_at(&route.matcher, &path, facts, draw);
            trace.considered.push(ConsideredRoute { position, route, failed });
            if failed.is_none() {
                trace.outcome =
                    RouteOutcome::Matched(self.matched(virtual_host, route, facts, draw));
                break;
            }
        }
        trace
    }

    fn virtual_host(&self, facts: &RequestFacts<'_>) -> Option<(usize, &VirtualHost, DomainMatch)> {
        let (position, found) = match &self.configuration.host_header {
            None => self.hosts.find(facts.head.authority)?,
            Some(name) => {
                match header_texts(&facts.head, name.as_str()).next() {
                    Some(host) => self.hosts.find(&host)?,
                    // Where there is nothing to search, Envoy does not look for the header.
                    None => (self.hosts.only_any()?, DomainMatch::Any),
                }
            }
        };
        Some((position, self.configuration.virtual_hosts.get(position)?, found))
    }

    /// The path that routes are matched against.
    fn matched_path<'a>(&self, facts: &RequestFacts<'a>) -> Cow<'a, str> {
        let path = facts.head.path();
        if !self.configuration.ignore_path_parameters || !path.contains(';') {
            return Cow::Borrowed(path);
        }
        let bare = |segment: &'a str| segment.split_once(';').map_or(segment, |(before, _)| before);
        Cow::Owned(path.split('/').map(bare).collect::<Vec<_>>().join("/"))
    }

    fn matched<'t>(
        &'t self,
        virtual_host: &'t VirtualHost,
        route: &'t Route,
        facts: &RequestFacts<'_>,
        draw: u64,
    ) -> RouteMatchResult<'t> {
        let weighted = match &route.action {
            Action::Forward(action) => match &action.target {
                // Other bits than those that decided on the route's own share.
                ClusterTarget::Weighted(targets) => {
                    choose(targets, share_draw(action, facts, draw.rotate_left(32)))
                }
                ClusterTarget::Cluster(_) | ClusterTarget::Header(_) | ClusterTarget::Tree(_) => {
                    None
                }
            },
            Action::Redirect(_) | Action::Respond(_) => None,
        };
        RouteMatchResult { configuration: &self.configuration, virtual_host, route, weighted }
    }
}

/// How a request came to its route, for explanations.
#[derive(Debug)]
pub struct RouteTrace<'t> {
    /// The virtual host that took the request's host.
    pub virtual_host: Option<&'t VirtualHost>,
    /// The domain by which it did.
    pub domain: Option<&'t Domain>,
    /// Its routes in order, up to the first that matched.
    pub considered: Vec<ConsideredRoute<'t>>,
    /// The answer.
    pub outcome: RouteOutcome<'t>,
}

/// A route that was considered.
#[derive(Debug, Clone, Copy)]
pub struct ConsideredRoute<'t> {
    /// Its place among the routes of the virtual host, from 0.
    pub position: usize,
    /// The route.
    pub route: &'t Route,
    /// The first condition that was not met; none for the route that matched.
    pub failed: Option<Mismatch<'t>>,
}

fn tls_required(virtual_host: &VirtualHost, facts: &RequestFacts<'_>) -> bool {
    let wanted = match virtual_host.require_tls {
        TlsRequirement::None => false,
        TlsRequirement::ExternalOnly => !facts.internal,
        TlsRequirement::All => true,
    };
    // What the client spoke, as it is told on; its target may name another scheme.
    let spoken = facts.head.text("x-forwarded-proto");
    wanted && spoken.as_deref().unwrap_or(facts.head.scheme) != "https"
}

fn found_by(domain: &Domain, found: DomainMatch, facts: &RequestFacts<'_>) -> bool {
    let host = facts.head.authority.to_ascii_lowercase();
    match (domain, found) {
        (Domain::Exact(exact), DomainMatch::Exact) => host.starts_with(exact.as_str()),
        (Domain::Suffix(suffix), DomainMatch::Suffix(length)) => {
            suffix.len() == length && host.contains(suffix.as_str())
        }
        (Domain::Prefix(prefix), DomainMatch::Prefix(length)) => {
            prefix.len() == length && host.starts_with(prefix.as_str())
        }
        (Domain::Any, DomainMatch::Any) => true,
        (Domain::Any | Domain::Exact(_) | Domain::Suffix(_) | Domain::Prefix(_), _) => false,
    }
}

fn choose(targets: &[WeightedCluster], draw: u64) -> Option<&WeightedCluster> {
    crate::share::by_weight(targets, |target| u64::from(target.weight), draw)
}

/// What decides between the targets of a route; chance where the request says nothing.
fn share_draw(action: &RouteAction, facts: &RequestFacts<'_>, chance: u64) -> u64 {
    match &action.share_by {
        ShareBy::Chance => chance,
        ShareBy::Header(name) => {
            let value = |nth| facts.head.value(name.as_str(), nth);
            // Two values would be two answers.
            let only = value(0).filter(|_| value(1).is_none());
            let text = only.and_then(|value| std::str::from_utf8(value).ok());
            text.and_then(|text| text.trim().parse().ok()).unwrap_or(chance)
        }
        ShareBy::Hash => hash::of_request(&action.hash, facts, None).hash.unwrap_or(chance),
    }
}

/// How many bytes of a path a condition took, for rewriting them.
pub(super) fn taken_length(rule: &PathMatch, path: &str) -> usize {
    match rule {
        PathMatch::Prefix(prefix) | PathMatch::SegmentPrefix(prefix) => {
            prefix.len().min(path.len())
        }
        PathMatch::Exact(_) | PathMatch::Regex(_) | PathMatch::Template(_) | PathMatch::Connect => {
            path.len()
        }
    }
}
