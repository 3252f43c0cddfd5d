//! The client's side: the host, the route, faults.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use iako_proxy_config::{
    Action, FilterSettings, HttpConnectionManager, HttpFilterKind, Listener, RouteConfiguration,
    RouteSource, Terminal,
};
use iako_registry::Workload;
use iako_traffic::{
    ConnectionInfo, FaultAbort, HostChange, Metadata, NormalizedTarget, RouteMatchResult,
    RouteOutcome, RouteTable, TimeoutRules, fault, normalize_target,
};
use iako_translate::{Plan, ProxyScope, plan};

use super::{ExplainError, Outcome, Walk, hop::Hop, security::Verdict, url::Scheme, why};

/// An address of documentation (RFC 5737), for clients that name none.
const SOMEBODY: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 1));
/// A port of a client, which nothing depends on.
const CLIENT_PORT: u16 = 40_000;
/// A draw that only a share of 100 % takes.
const NEVER_BY_CHANCE: u64 = 999_999;
/// Routes that were passed over are told up to this number.
const PASSED_OVER_MAX: usize = 4;

/// A proxy on the client's side.
pub(super) struct ClientProxy<'a> {
    pub(super) plan: &'a Plan,
    pub(super) workload: &'a Workload,
}

impl Walk<'_> {
    /// A workload with a sidecar sends the request.
    pub(super) fn send_by_sidecar(&mut self, workload: &Arc<Workload>) -> Result<(), ExplainError> {
        let name = format!("{}/{}", workload.namespace, workload.name);
        let scope = ProxyScope::from_workload(workload, &self.snapshot.mesh.cluster_domain)
            .ok_or_else(|| ExplainError::NoAddress(name.clone()))?;
        let plan = plan(self.snapshot, &scope);
        self.step(
            "client",
            Outcome::Chosen,
            None,
            format!(
                "the client is {name}, as {}; its sidecar takes the request",
                workload.identity
            ),
        );
        let proxy = ClientProxy { plan: &plan, workload };
        if self.target.scheme != Scheme::Http {
            self.stream_from_sidecar(&proxy, &scope);
            return Ok(());
        }
        let local = SocketAddr::new(scope.address(), self.target.port);
        let remote = SocketAddr::new(scope.app_address, CLIENT_PORT);
        let hop = self.first_hop(ConnectionInfo::plain(local, remote), "http");
        let Some((table, settings)) = self.outbound_table(&plan) else {
            let port = self.target.port;
            self.step(
                "host",
                Outcome::Refused,
                None,
                format!("no service speaks HTTP on port {port}"),
            );
            self.close();
            return Ok(());
        };
        self.http(&proxy, table, &settings, hop);
        Ok(())
    }

    fn first_hop(&self, connection: ConnectionInfo, scheme: &'static str) -> Hop {
        Hop {
            method: self.request.method.to_ascii_uppercase(),
            scheme,
            authority: self.target.authority.clone(),
            path_and_query: self.target.path_and_query.clone(),
            headers: self.request.headers.clone(),
            connection,
            metadata: Metadata::default(),
        }
    }

    /// The route table of a sidecar for this request, and the settings of its listener.
    fn outbound_table(
        &self,
        plan: &Plan,
    ) -> Option<(Arc<RouteConfiguration>, Arc<HttpConnectionManager>)> {
        let port = self.target.port;
        let own = format!(":{port}");
        let of_port = plan
            .routes
            .iter()
            .find(|table| table.name == "http_proxy" || table.name == port.to_string());
        // A service with an address of its own has a table of its own.
        let of_service = || {
            plan.routes.iter().find(|table| {
                let hosts = table.virtual_hosts.first();
                table.name.ends_with(&own)
                    && hosts.is_some_and(|host| host.name.starts_with(&self.target.host))
            })
        };
        let table = of_port.or_else(of_service)?;
        let settings =
            plan.listeners.iter().find_map(|listener| settings_of(listener, &table.name))?;
        Some((Arc::new(table.clone()), settings))
    }

    /// Somebody outside sends the request to a gateway: the first one that knows the host.
    pub(super) fn send_by_gateway(
        &mut self,
        gateways: &[Arc<Workload>],
        address: Option<IpAddr>,
    ) -> Result<(), ExplainError> {
        let mut best = None;
        for workload in gateways {
            let Some(scope) =
                ProxyScope::from_workload(workload, &self.snapshot.mesh.cluster_domain)
            else {
                continue;
            };
            let plan = plan(self.snapshot, &scope);
            let knows = plan.routes.iter().any(|table| self.knows_host(table));
            if knows || best.is_none() {
                best = Some((Arc::clone(workload), scope, plan));
            }
            if knows {
                break;
            }
        }
        let (workload, scope, plan) = best.ok_or(ExplainError::NoGateway)?;
        let remote = SocketAddr::new(address.unwrap_or(SOMEBODY), CLIENT_PORT);
        self.step(
            "client",
            Outcome::Chosen,
            None,
            format!(
                "the client {} is outside of the mesh and comes in by the gateway {}/{}",
                remote.ip(),
                workload.namespace,
                workload.owner.name
            ),
        );
        let proxy = ClientProxy { plan: &plan, workload: &workload };
        self.at_gateway(&proxy, &scope, remote);
        Ok(())
    }

    fn knows_host(&self, table: &RouteConfiguration) -> bool {
        let domains = table.virtual_hosts.iter().flat_map(|host| &host.domains);
        domains.into_iter().any(|domain| match domain {
            iako_proxy_config::Domain::Any => true,
            iako_proxy_config::Domain::Exact(host) => *host == self.target.host,
            iako_proxy_config::Domain::Suffix(suffix) => self.target.host.ends_with(suffix),
            iako_proxy_config::Domain::Prefix(prefix) => self.target.host.starts_with(prefix),
        })
    }

    fn at_gateway(&mut self, proxy: &ClientProxy<'_>, scope: &ProxyScope, remote: SocketAddr) {
        let shifted = scope.port_shift.filter(|_| self.target.port < 1024).unwrap_or_default();
        let wanted = [self.target.port.saturating_add(shifted), self.target.port];
        let listener = wanted.iter().find_map(|port| {
            let mut all = proxy.plan.listeners.iter();
            all.find(|found| found.addresses.iter().any(|address| address.port() == *port))
        });
        let Some(listener) = listener else {
            let why = format!("no Gateway has a server on port {}", self.target.port);
            self.step("gateway", Outcome::Refused, None, why);
            self.close();
            return;
        };
        let local = listener.addresses.first().copied().unwrap_or(remote);
        let mut connection = ConnectionInfo::plain(local, remote);
        let tls = self.target.scheme == Scheme::Https;
        if tls {
            "tls".clone_into(&mut connection.transport_protocol);
            connection.server_name.clone_from(&self.target.host);
        }
        let table = iako_traffic::FilterChainTable::compile(Arc::new(listener.clone()));
        let Some(chain) = table.find(&connection) else {
            let why = format!(
                "no server on port {} takes {} for {}",
                self.target.port,
                if tls { "TLS" } else { "plain text" },
                self.target.host
            );
            self.step("gateway", Outcome::Refused, None, why);
            self.close();
            return;
        };
        match &chain.terminal {
            Terminal::Tcp(tcp) => self.stream(proxy, tcp, &connection),
            // No plan of ours has these.
            Terminal::Direct(_) | Terminal::Echo => self.close(),
            Terminal::Http(settings) => {
                let name = match &settings.routes {
                    RouteSource::Rds(name) => name.name(),
                    RouteSource::Inline(table) => table.name.as_str(),
                    RouteSource::Scoped(routes) => routes.name.as_str(),
                };
                let hop = self.first_hop(connection, if tls { "https" } else { "http" });
                if let Some(table) = proxy.plan.route_table(name) {
                    self.http(proxy, Arc::new(table.clone()), settings, hop);
                }
            }
        }
    }

    /// The way of a request through a proxy on the client's side.
    pub(super) fn http(
        &mut self,
        proxy: &ClientProxy<'_>,
        table: Arc<RouteConfiguration>,
        settings: &Arc<HttpConnectionManager>,
        mut hop: Hop,
    ) {
        if self.normalized(settings, &mut hop) == Verdict::Stop
            || self.security(settings, &mut hop, "gateway") == Verdict::Stop
        {
            return;
        }
        let compiled = RouteTable::compile(table);
        let draw = self.request.draw;
        let matched = hop.ask(settings, |facts| {
            let trace = compiled.trace(facts, draw);
            self.tell_host(&trace, &hop);
            match trace.outcome {
                RouteOutcome::Matched(matched) => Some((matched, trace)),
                RouteOutcome::NoHost | RouteOutcome::NoRoute(_) => {
                    self.tell_no_route(&trace);
                    None
                }
                RouteOutcome::TlsRequired(host) => {
                    let why = "the Gateway sends plain requests to https";
                    self.step("route", Outcome::Answered, host.origin.as_ref(), why);
                    self.respond(301);
                    None
                }
            }
        });
        let Some((matched, trace)) = matched else { return };
        let answer = answer(&matched, &hop);
        self.tell_route(&trace, &matched, answer.as_ref());
        if answer.is_some() {
            return;
        }
        self.limits(settings, &matched, &hop);
        if self.faulted(settings, &matched, &hop) {
            return;
        }
        let Some(cluster) =
            hop.ask(settings, |facts| matched.cluster(facts).map(std::borrow::Cow::into_owned))
        else {
            self.step("cluster", Outcome::Answered, None, "the route names no cluster");
            self.respond(503);
            return;
        };
        let not_found = matched.forward().map_or(503, |action| action.cluster_not_found_status);
        let hop = rewritten(&matched, hop);
        self.upstream(proxy, &cluster, not_found, hop);
    }

    fn normalized(&mut self, settings: &HttpConnectionManager, hop: &mut Hop) -> Verdict {
        match normalize_target(settings, &hop.path_and_query) {
            NormalizedTarget::Keep => {}
            NormalizedTarget::Change(target) => hop.path_and_query = target,
            NormalizedTarget::Refuse => {
                self.step("host", Outcome::Answered, None, "the path has no normal form");
                self.respond(400);
                return Verdict::Stop;
            }
            NormalizedTarget::Redirect(target) => {
                let why = format!("the path is brought into its normal form {target}");
                self.step("host", Outcome::Answered, None, why);
                self.respond(307);
                return Verdict::Stop;
            }
        }
        Verdict::GoOn
    }

    fn tell_host(&mut self, trace: &iako_traffic::RouteTrace<'_>, hop: &Hop) {
        let Some(host) = trace.virtual_host else { return };
        let by = trace.domain.map_or_else(String::new, |domain| format!(", by {domain}"));
        let owner = match host.origin.as_ref().map(|origin| origin.kind.as_str()) {
            Some("VirtualService") => "a VirtualService has rules for it",
            Some(_) => "it is a service without rules of its own",
            None => "no service of the mesh has it",
        };
        let why = format!("the host is {}{by}; {owner}", hop.authority);
        self.step("host", Outcome::Chosen, host.origin.as_ref(), why);
    }

    fn tell_no_route(&mut self, trace: &iako_traffic::RouteTrace<'_>) {
        let why = match trace.virtual_host {
            None => format!("no rule is for the host {}", self.target.host),
            Some(_) => format!("no rule takes the request: {}", passed_over(trace)),
        };
        let origin = trace.virtual_host.and_then(|host| host.origin.as_ref());
        self.step("route", Outcome::Answered, origin, why);
        self.respond(404);
    }

    fn tell_route(
        &mut self,
        trace: &iako_traffic::RouteTrace<'_>,
        matched: &RouteMatchResult<'_>,
        answer: Option<&(u16, String)>,
    ) {
        let route = matched.route;
        let named = if route.name.is_empty() { String::new() } else { format!(" {}", route.name) };
        let mut why = format!(
            "the rule{named} takes it ({}): it is {}",
            why::taken(route),
            answer.map_or_else(|| why::action(&route.action), |(_, words)| words.clone())
        );
        let before = passed_over(trace);
        if !before.is_empty() {
            why.push_str("; before it: ");
            why.push_str(&before);
        }
        let outcome = if answer.is_some() { Outcome::Answered } else { Outcome::Chosen };
        self.step("route", outcome, route.origin.as_ref(), why);
        if let Some((status, _)) = answer {
            self.respond(*status);
        }
    }

    fn limits(
        &mut self,
        settings: &HttpConnectionManager,
        matched: &RouteMatchResult<'_>,
        hop: &Hop,
    ) {
        let timeouts = hop.ask(settings, |facts| matched.timeouts(facts, TimeoutRules::default()));
        self.explanation.timeout_ms = timeouts.response.map(milliseconds);
        self.explanation.retries = matched.retry_policy().map_or(0, |policy| policy.retries_max);
    }

    /// Whether a fault answers the request.
    fn faulted(
        &mut self,
        settings: &HttpConnectionManager,
        matched: &RouteMatchResult<'_>,
        hop: &Hop,
    ) -> bool {
        let overrides = matched.overrides();
        let mut filters = settings.filters.iter();
        let wanted = filters.find_map(|filter| {
            let own = overrides.settings(&filter.name)?;
            if let FilterSettings::Fault(wanted) = own { Some(wanted) } else { None }
        });
        let Some(wanted) = wanted else { return false };
        let origin = matched.route.origin.as_ref();
        let mut shares = Vec::new();
        if let Some(delay) = wanted.delay.filter(|delay| !is_whole(delay.share)) {
            let time = delay.fixed.unwrap_or_default().as_millis();
            shares.push(format!("{} of requests wait {time} ms", delay.share));
        }
        if let Some(abort) = wanted.abort.filter(|abort| !is_whole(abort.share)) {
            shares.push(format!("{} of requests are answered with an error", abort.share));
        }
        if !shares.is_empty() {
            let why = format!("on purpose, {}", shares.join(", and "));
            self.step("fault", Outcome::Passed, origin, why);
        }
        let decided =
            hop.ask(settings, |facts| fault(wanted, &facts.head, "", &mut || NEVER_BY_CHANCE));
        if let Some(delay) = decided.delay {
            let why = format!("every request waits {} ms on purpose", delay.as_millis());
            self.step("fault", Outcome::Passed, origin, why);
        }
        let Some(abort) = decided.abort else { return false };
        let (status, what) = match abort {
            FaultAbort::Http(status) => (status, format!("status {status}")),
            FaultAbort::Grpc(status) => (200, format!("gRPC status {status}")),
        };
        let why = format!("every request is answered with {what} on purpose");
        self.step("fault", Outcome::Answered, origin, why);
        self.respond(status);
        true
    }
}

/// The answer that a route gives itself, in words.
fn answer(matched: &RouteMatchResult<'_>, hop: &Hop) -> Option<(u16, String)> {
    match &matched.route.action {
        Action::Forward(_) => None,
        Action::Respond(response) => {
            let body = String::from_utf8_lossy(&response.body);
            let body = body.trim();
            let said = if body.is_empty() { String::new() } else { format!(": {body}") };
            Some((response.status, format!("answered with {}{said}", response.status)))
        }
        Action::Redirect(redirect) => {
            let headers = hop.header_list();
            let location = matched.redirect_location(redirect, &hop.head(&headers), None);
            Some((redirect.status, format!("redirected to {location} with {}", redirect.status)))
        }
    }
}

fn is_whole(share: iako_types::Percent) -> bool {
    share == iako_types::Percent::HUNDRED
}

pub(super) fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The settings of the listener whose routes have this name.
fn settings_of(listener: &Listener, name: &str) -> Option<Arc<HttpConnectionManager>> {
    let chains = listener.chains.iter().chain(&listener.default_chain);
    chains.into_iter().find_map(|chain| match &chain.terminal {
        Terminal::Http(settings) => match &settings.routes {
            RouteSource::Rds(own) if own.name() == name => Some(Arc::clone(settings)),
            RouteSource::Rds(_) | RouteSource::Inline(_) | RouteSource::Scoped(_) => None,
        },
        Terminal::Tcp(_) | Terminal::Direct(_) | Terminal::Echo => None,
    })
}

/// The rules that came before the one that matched, and why they did not.
fn passed_over(trace: &iako_traffic::RouteTrace<'_>) -> String {
    let failed: Vec<String> = trace
        .considered
        .iter()
        .filter_map(|considered| {
            let failed = considered.failed.as_ref()?;
            let place = considered.route.origin.as_ref().map_or_else(
                || format!("rule {}", considered.position.saturating_add(1)),
                |origin| format!("the rule at {}:{}", origin.file, origin.line),
            );
            Some(format!("{place} does not, {}", why::mismatch(failed)))
        })
        .collect();
    let more = failed.len().saturating_sub(PASSED_OVER_MAX);
    let mut told = failed.into_iter().take(PASSED_OVER_MAX).collect::<Vec<_>>().join("; ");
    if more > 0 {
        told.push_str(&format!("; and {more} more"));
    }
    told
}

/// The request as it leaves the proxy: path, host and headers as the route changes them.
fn rewritten(matched: &RouteMatchResult<'_>, mut hop: Hop) -> Hop {
    let headers = hop.header_list();
    let authority = match matched.host_change(&hop.head(&headers)) {
        Some(HostChange::To(host)) => Some(host.into_owned()),
        // What operators give is not known here.
        Some(HostChange::EndpointHostname | HostChange::Format(_)) | None => None,
    };
    let path = matched.rewritten_path(&hop.path_and_query);
    hop.authority = authority.unwrap_or(hop.authority);
    hop.path_and_query = path.unwrap_or(hop.path_and_query);
    for edits in matched.header_mutations() {
        for edit in &edits.request_add {
            // Values with operators depend on what is not known here.
            if !edit.value.contains('%') {
                hop.set(edit.name.as_str(), &edit.value);
            }
        }
        for name in &edits.request_remove {
            hop.remove(name.as_str());
        }
    }
    hop
}

/// Whether the settings have a filter of this kind that can refuse.
pub(super) fn refusing_filters(
    settings: &HttpConnectionManager,
) -> impl Iterator<Item = &HttpFilterKind> {
    settings.filters.iter().filter(|filter| !filter.disabled).map(|filter| &filter.kind)
}
