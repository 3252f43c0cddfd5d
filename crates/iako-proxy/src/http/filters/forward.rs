//! Hosts that requests name, for clusters that forward to them.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use iako_proxy_config::{DynamicForward, FilterSettings, ForwardHost};
use iako_traffic::rbac::UPSTREAM_STATE;
use iako_traffic::{Headers as _, RouteMatchResult, StateObject};

use crate::connection::steps::{HOST_STATE, PORT_STATE};
use crate::dns::Unresolved;
use crate::http::downstream::Downstream;
use crate::http::error_response::Reply;
use crate::http::exchange::{Exchange, Step};
use crate::http::failure::Failure;
use crate::http::target::host_and_port;
use crate::snapshot::UpstreamCluster;

/// Finds the host of a request before the request goes on.
#[derive(Debug)]
pub(crate) struct ForwardStep {
    /// Whether an object beside the request may name the host.
    by_state: bool,
    /// Whether the address that was found is kept beside the request.
    saves: bool,
}

impl ForwardStep {
    pub(super) const fn new(settings: &DynamicForward) -> Self {
        Self { by_state: settings.host_by_state, saves: settings.saves_address }
    }
}

impl Exchange<'_> {
    /// Waits until the host of the request is known, where its cluster forwards to what it names.
    pub(in crate::http) async fn find_host(
        &mut self,
        step: &ForwardStep,
        route: Option<RouteMatchResult<'_>>,
        of_route: Option<&FilterSettings>,
        downstream: &mut Downstream<'_>,
    ) -> Result<Step, Failure> {
        let Some(cluster) = self.forwarding_cluster(route) else { return Ok(Step::Continue) };
        match of_route {
            Some(FilterSettings::DynamicForward(ForwardHost::Literal(host))) => {
                self.request.edits.authority = Some(host.as_str().into());
            }
            Some(FilterSettings::DynamicForward(ForwardHost::Header(name))) => {
                let named = {
                    let view = self.request.view();
                    view.value(name.as_str(), 0).map(<[u8]>::to_vec)
                };
                if let Some(named) = named {
                    let host = String::from_utf8(named).unwrap_or_default();
                    if host.is_empty() {
                        return Ok(Step::Reply(Box::new(empty_host())));
                    }
                    self.request.edits.authority = Some(host.into());
                }
            }
            Some(_) | None => {}
        }
        let usual = cluster.usual_port();
        let by_state = if self.step_state(HOST_STATE).is_some() && step.by_state {
            self.state_host(usual)
        } else {
            None
        };
        let (host, port) = by_state.unwrap_or_else(|| {
            let (host, port) = host_and_port(self.request.authority(), usual);
            (host.to_owned(), port)
        });
        let found = self.resolve_host(&cluster, (&host, port), downstream).await?;
        let found = found.map_err(Failure::Unresolved)?;
        if let Some(first) = found.first().filter(|_| step.saves) {
            let address = StateObject { text: first.to_string(), is_address: true };
            self.request.metadata.set_object(UPSTREAM_STATE, address);
        }
        Ok(Step::Continue)
    }

    fn forwarding_cluster(
        &self,
        route: Option<RouteMatchResult<'_>>,
    ) -> Option<Arc<UpstreamCluster>> {
        let view = self.request.view();
        let facts = self.request.facts(&view, &self.connection.info);
        let name = route?.cluster(&facts)?;
        self.snapshot.cluster(&name).filter(|cluster| cluster.forward.is_some()).map(Arc::clone)
    }

    fn step_state(&self, key: &str) -> Option<&str> {
        let of_request = self.request.metadata.state(key);
        of_request.or_else(|| self.connection.info.metadata.state(key))
    }

    /// The host that an object beside the request or its connection names, with its port.
    pub(in crate::http) fn state_host(&self, usual_port: u16) -> Option<(String, u16)> {
        let host = self.step_state(HOST_STATE)?;
        let port = self.step_state(PORT_STATE).and_then(|port| port.parse().ok());
        Some((host.to_owned(), port.unwrap_or(usual_port)))
    }

    /// The addresses of a host, as soon as they are known; as long as the client waits.
    pub(in crate::http) async fn resolve_host(
        &mut self,
        cluster: &UpstreamCluster,
        (host, port): (&str, u16),
        downstream: &mut Downstream<'_>,
    ) -> Result<Result<Vec<SocketAddr>, Unresolved>, Failure> {
        let Some(cache) = &cluster.forward else { return Err(Failure::NoHealthyUpstream) };
        let mut resolving = pin!(cache.addresses(host, port));
        let resolved = poll_fn(|context| {
            if let Poll::Ready(resolved) = resolving.as_mut().poll(context) {
                return Poll::Ready(Ok(resolved));
            }
            self.poll_interrupted(context, downstream).map(Err)
        })
        .await;
        self.now = iako_rt::clock::now();
        resolved
    }
}

fn empty_host() -> Reply {
    let mut reply = Reply::new(400, "empty_host_header").with_body("Empty host header");
    reply.closes = true;
    reply
}
