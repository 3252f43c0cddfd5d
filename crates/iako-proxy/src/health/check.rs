//! One check of one instance, and the connection that is kept for the next one.

use std::{rc::Rc, sync::Arc};

use iako_http::Version;
use iako_proxy_config::{
    Endpoint, EndpointAddress, HeaderValueOption, HealthCheck, HealthCheckKind,
};
use iako_traffic::{CheckFailure, CheckResult};
use tokio::task::AbortHandle;

use super::{Room, grpc, http, tcp};
use crate::{
    snapshot::UpstreamCluster,
    transport::{ConnectError, ConnectOptions, Connected, connect::connect_quietly},
    upstream::{
        Upstream,
        h1::Http1Upstream,
        h2::{Http2Connection, Server},
    },
};

/// Makes the checks of one instance.
#[derive(Debug)]
pub(super) struct Checker {
    room: Rc<Room>,
    kept: Option<Kept>,
    /// The status of the answer that said that the instance is unwell.
    status: Option<u16>,
}

/// A connection that is kept for the next check.
#[derive(Debug)]
pub(super) enum Kept {
    Http1(Box<Http1Upstream>),
    Http2(Http2Connection, Driver),
    Tcp(Box<Connected>),
}

/// Drives an HTTP/2 connection until it is dropped.
#[derive(Debug)]
pub(super) struct Driver(AbortHandle);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What was heard, before thresholds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Heard {
    Well { degraded: bool },
    Unwell { retriable: bool, status: Option<u16> },
}

impl From<Heard> for CheckResult {
    fn from(heard: Heard) -> Self {
        match heard {
            Heard::Well { degraded } => Self::Passed { degraded },
            Heard::Unwell { retriable, .. } => {
                Self::Failed { cause: CheckFailure::Active, retriable }
            }
        }
    }
}

/// Nothing was heard: the connection could not be made, or was lost.
#[derive(Debug)]
pub(super) struct Unheard;

impl From<ConnectError> for Unheard {
    fn from(error: ConnectError) -> Self {
        tracing::debug!(%error, "an instance cannot be checked");
        Self
    }
}

impl From<crate::upstream::UpstreamError> for Unheard {
    fn from(error: crate::upstream::UpstreamError) -> Self {
        tracing::debug!(%error, "a check was lost");
        Self
    }
}

impl Checker {
    pub(super) const fn new(room: Rc<Room>) -> Self {
        Self { room, kept: None, status: None }
    }

    /// The HTTP status that the last check failed by; none where there was no answer.
    pub(super) const fn status(&self) -> Option<u16> {
        self.status
    }

    /// Closes what was kept.
    pub(super) fn forget(&mut self) {
        self.kept = None;
        self.status = None;
    }

    /// Makes one check; the caller bounds its time.
    pub(super) async fn check(
        &mut self,
        cluster: &Arc<UpstreamCluster>,
        check: &HealthCheck,
        endpoint: &Endpoint,
    ) -> CheckResult {
        let heard = match &check.kind {
            HealthCheckKind::Http(asked) => http::ask(self, cluster, check, asked, endpoint).await,
            HealthCheckKind::Grpc(asked) => grpc::ask(self, cluster, check, asked, endpoint).await,
            HealthCheckKind::Tcp(asked) => tcp::ask(self, cluster, check, asked, endpoint).await,
        };
        self.status = None;
        match heard {
            Ok(heard) => {
                if let Heard::Unwell { status, .. } = heard {
                    self.status = status;
                }
                heard.into()
            }
            Err(Unheard) => {
                self.forget();
                CheckResult::Failed { cause: CheckFailure::Network, retriable: false }
            }
        }
    }

    /// Takes what was kept, if it still lives.
    pub(super) fn take_kept(&mut self) -> Option<Kept> {
        match self.kept.take()? {
            Kept::Http1(mut connection) => {
                (!connection.is_stale()).then_some(Kept::Http1(connection))
            }
            Kept::Http2(connection, driver) => {
                (!connection.is_ended()).then_some(Kept::Http2(connection, driver))
            }
            kept @ Kept::Tcp(_) => Some(kept),
        }
    }

    /// Keeps a connection where the check says so.
    pub(super) fn keep(&mut self, check: &HealthCheck, kept: Kept) {
        self.kept = check.reuse_connection.then_some(kept);
    }

    /// A connection that speaks this version, a kept one or a new one.
    pub(super) async fn speak(
        &mut self,
        cluster: &Arc<UpstreamCluster>,
        check: &HealthCheck,
        endpoint: &Endpoint,
        version: Version,
    ) -> Result<Speaking, Unheard> {
        if let Some(kept) = self.take_kept() {
            return Ok(Speaking::of(kept));
        }
        let alpn: &[&str] = if version == Version::Http2 { &["h2"] } else { &[] };
        let connected = dial(cluster, check, endpoint, alpn).await?;
        let settings = &cluster.config.http;
        if version != Version::Http2 {
            let connection = Box::new(Http1Upstream::new(connected.stream, settings));
            return Ok(Speaking::of(Kept::Http1(connection)));
        }
        let server = Server {
            cluster: Arc::clone(cluster),
            address: endpoint.address.clone(),
            shared: Arc::clone(&self.room.shared),
        };
        let (connection, driving) = Http2Connection::begin(connected.stream, server);
        let driving = async {
            driving.await;
        };
        let driver = Driver(self.room.scope.spawn("health h2", driving));
        Ok(Speaking::of(Kept::Http2(connection, driver)))
    }
}

/// A request of a check, and the shared connection beneath it.
#[derive(Debug)]
pub(super) struct Speaking {
    pub(super) upstream: Upstream,
    shared: Option<(Http2Connection, Driver)>,
}

impl Speaking {
    fn of(kept: Kept) -> Self {
        match kept {
            Kept::Http2(connection, driver) => {
                let upstream = Upstream::Http2(Box::new(connection.open()));
                Self { upstream, shared: Some((connection, driver)) }
            }
            Kept::Http1(connection) => Self { upstream: Upstream::Http1(connection), shared: None },
            Kept::Tcp(connected) => {
                // One instance is checked in one way only.
                let settings = iako_proxy_config::ClusterHttp::default();
                let connection = Box::new(Http1Upstream::new(connected.stream, &settings));
                Self { upstream: Upstream::Http1(connection), shared: None }
            }
        }
    }

    /// What can be kept of it once the response has ended.
    pub(super) fn done(self) -> Option<Kept> {
        let Self { upstream, shared } = self;
        match (upstream, shared) {
            (Upstream::Http1(mut connection), _) => connection.is_reusable().then(|| {
                connection.rest();
                Kept::Http1(connection)
            }),
            (Upstream::Http2(stream), Some((connection, driver))) => {
                drop(stream);
                (!connection.is_ended()).then_some(Kept::Http2(connection, driver))
            }
            (Upstream::Http2(_), None) | (Upstream::Tcp(_), _) => None,
        }
    }
}

/// Connects to where an instance is checked, in the way that the check says.
pub(super) async fn dial(
    cluster: &UpstreamCluster,
    check: &HealthCheck,
    endpoint: &Endpoint,
    alpn: &[&str],
) -> Result<Connected, Unheard> {
    let mut target = endpoint.clone();
    let own = &endpoint.check;
    if let Some(address) = own.address {
        target.address = EndpointAddress::Socket(address);
        target.additional_addresses.clear();
    }
    if let (Some(port), EndpointAddress::Socket(address)) = (own.port, &mut target.address) {
        address.set_port(port);
        target.additional_addresses.clear();
    }
    if let Some(criteria) = &check.transport_criteria {
        target.metadata.transport_match.clone_from(criteria);
    }
    let listed = check.alpn.iter().map(String::as_str);
    let offered: Vec<&[u8]> = if check.alpn.is_empty() {
        alpn.iter().map(|name| name.as_bytes()).collect()
    } else {
        listed.map(str::as_bytes).collect()
    };
    let alpn = (!offered.is_empty()).then_some(offered.as_slice());
    let options = ConnectOptions { alpn, ..ConnectOptions::default() };
    Ok(connect_quietly(cluster, &target, options).await?)
}

/// The host that is asked for: the instance's own, that of the check, or the cluster's name.
pub(super) fn host<'a>(
    cluster: &'a UpstreamCluster,
    asked: &'a str,
    endpoint: &'a Endpoint,
) -> &'a str {
    [endpoint.check.hostname.as_str(), asked]
        .into_iter()
        .find(|name| !name.is_empty())
        .unwrap_or(&cluster.name)
}

/// The value of a header to add. A percent sign is written twice; operators are refused when a check
/// is read.
pub(super) fn value(option: &HeaderValueOption) -> String {
    option.value.replace("%%", "%")
}
