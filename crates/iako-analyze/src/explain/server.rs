//! The server's side: what its proxy accepts, and who may do what.

use std::sync::Arc;

use iako_proxy_config::{
    DownstreamTransport, Endpoint, FilterChain, NetworkFilter, RuleOrigin, Terminal,
};
use iako_registry::{Workload, select};
use iako_resources::{Kind, istio::peer_authentication::MutualTlsMode};
use iako_traffic::{
    ConnectionInfo, FilterChainTable, NormalizedTarget, normalize_target, rbac::Subject,
};
use iako_translate::{Plan, ProxyScope, plan};

use super::{Decision, Outcome, Walk, hop::Hop, security::Verdict, upstream::socket};

impl Walk<'_> {
    /// A request, or only a connection, arrives at an instance.
    pub(super) fn server(
        &mut self,
        endpoint: &Endpoint,
        hop: Option<Hop>,
        connection: Option<ConnectionInfo>,
    ) {
        let address = socket(endpoint);
        let Some(workload) = self.snapshot.workload_at(address.ip()).cloned() else {
            self.explanation.decision = Decision::Forward;
            let why = "the instance is outside of the mesh; nothing more is known of it";
            self.step("server", Outcome::Passed, None, why);
            return;
        };
        let name = format!("{}/{}", workload.namespace, workload.name);
        if !workload.mutual_tls {
            let why = format!("{name} has no sidecar: the application takes what comes");
            self.step("server", Outcome::Passed, None, why);
            return;
        }
        let domain = &self.snapshot.mesh.cluster_domain;
        let Some(scope) = ProxyScope::from_workload(&workload, domain) else { return };
        let plan = plan(self.snapshot, &scope);
        let Some(connection) = hop.as_ref().map(|hop| hop.connection.clone()).or(connection) else {
            return;
        };
        let Some(chain) = find_chain(&plan, &connection) else {
            self.refuse_connection(&workload, &connection);
            return;
        };
        self.accept(&workload, &chain, &connection);
        match (&chain.terminal, hop) {
            (Terminal::Http(settings), Some(mut hop)) => {
                match normalize_target(settings, &hop.path_and_query) {
                    NormalizedTarget::Change(target) => hop.path_and_query = target,
                    NormalizedTarget::Keep
                    | NormalizedTarget::Refuse
                    | NormalizedTarget::Redirect(_) => {}
                }
                if self.security(settings, &mut hop, "server") == Verdict::Stop {
                    return;
                }
            }
            _ => {
                if self.connection_rules(&chain, &connection) == Verdict::Stop {
                    return;
                }
            }
        }
        self.explanation.decision = Decision::Forward;
        let why = format!("{name} gets it at {}", scope.app_address);
        self.step("application", Outcome::Passed, None, why);
    }

    fn connection_rules(&mut self, chain: &FilterChain, connection: &ConnectionInfo) -> Verdict {
        for filter in &chain.filters {
            if let NetworkFilter::Rbac(rules) = filter
                && self.ask_rules(rules, &Subject::Connection(connection), "server")
                    == Verdict::Stop
            {
                self.close();
                return Verdict::Stop;
            }
        }
        Verdict::GoOn
    }

    fn accept(&mut self, workload: &Workload, chain: &FilterChain, connection: &ConnectionInfo) {
        let (mode, origin) = self.accepted(workload, connection.local.port());
        let what = match chain.transport {
            DownstreamTransport::Tls(_) => "mutual TLS",
            DownstreamTransport::Raw => "plain text",
        };
        let why = format!(
            "{}/{} accepts {what} on port {}: its mode is {}",
            workload.namespace,
            workload.name,
            connection.local.port(),
            mode_name(mode)
        );
        self.step("server", Outcome::Passed, origin.as_ref(), why);
    }

    fn refuse_connection(&mut self, workload: &Workload, connection: &ConnectionInfo) {
        let port = connection.local.port();
        let (mode, origin) = self.accepted(workload, port);
        let spoken = if connection.tls.is_some() { "mutual TLS" } else { "plain text" };
        let known = workload.ports.iter().any(|declared| declared.port == port);
        let why = if known {
            format!(
                "{}/{} closes the connection: on port {port} its mode is {}, and the client speaks \
                 {spoken}",
                workload.namespace,
                workload.name,
                mode_name(mode)
            )
        } else {
            format!("{}/{} does not listen on port {port}", workload.namespace, workload.name)
        };
        self.step("server", Outcome::Refused, origin.as_ref(), why);
        self.close();
    }

    fn accepted(&self, workload: &Workload, port: u16) -> (MutualTlsMode, Option<RuleOrigin>) {
        let accepted = select::peer_authentication(self.snapshot, workload.into());
        let by_port = accepted.ports.contains_key(&port);
        let decided = if by_port { &accepted.ports_decided_by } else { &accepted.decided_by };
        let origin = decided.as_ref().map(|object| RuleOrigin {
            kind: Kind::PeerAuthentication.name().to_owned(),
            namespace: object.meta.namespace.to_string(),
            name: object.meta.name.clone(),
            file: object.origin.file.to_string(),
            line: object.origin.line,
        });
        (accepted.of_port(port), origin)
    }
}

const fn mode_name(mode: MutualTlsMode) -> &'static str {
    match mode {
        MutualTlsMode::Disable => "DISABLE",
        MutualTlsMode::Permissive => "PERMISSIVE",
        MutualTlsMode::Strict => "STRICT",
    }
}

/// The filter chain of the listener that a connection arrives at.
fn find_chain(plan: &Plan, connection: &ConnectionInfo) -> Option<FilterChain> {
    let own = plan.listeners.iter().find(|listener| {
        listener.addresses.contains(&connection.local)
            && listener.direction == iako_proxy_config::Direction::Inbound
    });
    let listener = own.or_else(|| plan.listener("virtualInbound"))?;
    // Without its first bytes nobody knows whether a plain connection speaks HTTP; a request does.
    let mut seen = connection.clone();
    if listener.looks_for_http() && seen.tls.is_none() {
        seen.application_protocols = vec!["http/1.1".to_owned()];
    }
    let table = FilterChainTable::compile(Arc::new(listener.clone()));
    table.find(&seen).cloned()
}
