//! A route table with what the proxy itself keeps for its routes.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use iako_proxy_config::{Action, Route, RouteConfiguration, VirtualHost};
use iako_telemetry::StatsRegistry;
use iako_traffic::{RequestHead, RouteMatchResult, RouteTable};

use super::request_stats::{RequestStats, Tally};
use crate::http::BodyWriter;

/// A compiled table, with the statistics of those requests that are counted apart and the bodies that
/// have a format.
#[derive(Debug)]
pub(crate) struct ServedRoutes {
    table: RouteTable,
    /// Of the virtual hosts that have any, by where they are.
    hosts: HashMap<usize, Arc<HostExtras>, foldhash::fast::RandomState>,
}

/// What is kept for one virtual host.
#[derive(Debug)]
struct HostExtras {
    /// For each sort of requests, and behind them for those of no sort.
    sorts: Vec<Arc<RequestStats>>,
    /// Of the routes that have any, by where they are.
    routes: HashMap<usize, RouteExtras, foldhash::fast::RandomState>,
}

/// What is kept for one route.
#[derive(Debug)]
struct RouteExtras {
    stats: Option<Arc<RequestStats>>,
    body: Option<BodyWriter>,
}

impl ServedRoutes {
    /// Compiles a table that takes the place of another; see [`RouteTable::compile_after`].
    pub(crate) fn compile(
        configuration: Arc<RouteConfiguration>,
        before: Option<&Self>,
        stats: &StatsRegistry,
    ) -> Self {
        let of_before = before.map(|before| &before.table);
        let old = of_before.map_or(&[][..], |before| &before.configuration().virtual_hosts);
        let old: HashSet<usize, foldhash::fast::RandomState> =
            old.iter().map(|host| place(&**host)).collect();
        let mut hosts = HashMap::default();
        for host in &configuration.virtual_hosts {
            let place = place(&**host);
            // The table before is still there, so that nothing else is where its hosts are.
            let extras = match before.filter(|_| old.contains(&place)) {
                Some(before) => before.hosts.get(&place).map(Arc::clone),
                None => HostExtras::compile(host, stats).map(Arc::new),
            };
            hosts.extend(extras.map(|extras| (place, extras)));
        }
        Self { table: RouteTable::compile_after(configuration, of_before), hosts }
    }

    /// The routes.
    pub(crate) const fn table(&self) -> &RouteTable {
        &self.table
    }

    /// Where a request that takes this route is counted apart.
    pub(crate) fn tally(&self, found: &RouteMatchResult<'_>, head: &RequestHead<'_>) -> Tally {
        let extras = self.hosts.get(&place(found.virtual_host));
        let Some(extras) = extras else { return Tally::default() };
        let sort = found.virtual_cluster(head).and_then(|sort| extras.sorts.get(sort));
        let route = extras.routes.get(&place(found.route));
        let route = route.and_then(|route| route.stats.as_ref());
        Tally::new(sort.map(Arc::clone), route.map(Arc::clone))
    }

    /// How the body of this route's own answer is written; as it stands when absent.
    pub(crate) fn body_writer(&self, found: &RouteMatchResult<'_>) -> Option<&BodyWriter> {
        let extras = self.hosts.get(&place(found.virtual_host))?;
        extras.routes.get(&place(found.route))?.body.as_ref()
    }
}

impl HostExtras {
    /// None when there is nothing to keep.
    fn compile(host: &VirtualHost, stats: &StatsRegistry) -> Option<Self> {
        let of_tree = host.matcher.iter().flat_map(|tree| tree.actions()).flatten();
        let routes = host.routes.iter().chain(of_tree);
        let routes = routes.filter_map(|route| {
            Some((place(&**route), RouteExtras::compile(route, &host.name, stats)?))
        });
        let sorts = host.virtual_clusters.iter().map(|sort| (Some(&sort.name), &*sort.name));
        // Those of no sort have no name in logs.
        let rest = (!host.virtual_clusters.is_empty()).then_some((None, "other"));
        let sorts = sorts.chain(rest).map(|(name, shown)| {
            let scope = stats.virtual_host(&host.name);
            let scope = scope.named_part("vcluster", "envoy_virtual_cluster", shown);
            Arc::new(RequestStats::new(scope, name.map(String::as_str)))
        });
        let extras = Self { sorts: sorts.collect(), routes: routes.collect() };
        (!extras.sorts.is_empty() || !extras.routes.is_empty()).then_some(extras)
    }
}

impl RouteExtras {
    fn compile(route: &Route, host: &str, stats: &StatsRegistry) -> Option<Self> {
        let stats = (!route.stat_prefix.is_empty()).then(|| {
            let scope = stats.virtual_host(host);
            let scope = scope.named_part("route", "envoy_route", &route.stat_prefix);
            Arc::new(RequestStats::new(scope, None))
        });
        let body = match &route.action {
            Action::Respond(respond) => respond.format.as_ref(),
            Action::Forward(_) | Action::Redirect(_) => None,
        };
        // A format that cannot be read was refused with its table.
        let body = body.and_then(|format| BodyWriter::compile(format).ok());
        (stats.is_some() || body.is_some()).then_some(Self { stats, body })
    }
}

/// Where something is. The table holds what it tells apart by that.
fn place<T>(of: &T) -> usize {
    std::ptr::from_ref(of).addr()
}
