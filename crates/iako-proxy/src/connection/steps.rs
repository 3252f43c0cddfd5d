//! Network filters: what is done to a connection before somebody carries it.
//!
//! Some decide when the connection is there ([`at_connection`]), some at the first bytes of the client
//! ([`Gate`]): as in Envoy, who carries bytes has connected by then.

mod access;
mod authz;
mod count;
mod gate;
mod limit;
mod opaque;
mod state;

use std::{rc::Rc, sync::Arc, time::Duration};

use iako_proxy_config::NetworkFilter;
use iako_telemetry::ResponseFlag;

pub(crate) use gate::{Denied, Gate};
pub(crate) use limit::Place as LimitPlace;
pub(crate) use opaque::FirstBytes;
pub(crate) use state::State;

use super::{Downstream, metadata_exchange};
use crate::{access_log::LogError, shared::Shared, snapshot::Chain, worker::Worker};
use access::Access;
use authz::Authz;
use count::Count;
use limit::{Limit, Rate};
use opaque::Opaque;
use state::States;

/// Longest time that a client may take for its part of the metadata exchange.
const METADATA_TIMEOUT: Duration = Duration::from_secs(5);

/// Under this name a TCP proxy finds the cluster that a filter chose for it.
pub(crate) const CLUSTER_STATE: &str = "envoy.tcp_proxy.cluster";
/// The host that a forward proxy reaches, in place of the server name.
pub(crate) const HOST_STATE: &str = "envoy.upstream.dynamic_host";
/// The port of that host.
pub(crate) const PORT_STATE: &str = "envoy.upstream.dynamic_port";

/// A step on every connection's way, compiled.
#[derive(Debug)]
pub(crate) enum NetworkStep {
    /// Lets connections pass or not.
    Rbac(Arc<Access>),
    /// Exchanges metadata with the peer when ALPN agreed on this protocol.
    MetadataExchange {
        /// The ALPN name.
        protocol: String,
    },
    /// Counts the connection in Istio's standard metrics.
    Stats,
    /// Bounds the connections that are open at once.
    Limit(Arc<Limit>),
    /// Bounds the connections that come in a time.
    Rate(Arc<Rate>),
    /// Asks a service whether the connection passes.
    Authz(Arc<Authz>),
    /// Has a service count the connection.
    Count(Arc<Count>),
    /// Counts the first bytes.
    Opaque(Arc<Opaque>),
    /// Chooses the cluster of the server name.
    SniCluster,
    /// Chooses this port of the host of the server name, unless something chose one before.
    SniForward {
        /// The port.
        port: u16,
    },
    /// Keeps objects beside the connection.
    States(Arc<States>),
    /// Closes the connection: the settings of a filter have not arrived.
    Missing,
}

impl NetworkStep {
    /// Compiles the filters of a chain; those that `previous` had already keep what they count.
    ///
    /// # Errors
    /// When a format is not usable.
    pub(crate) fn compile(
        filters: &[NetworkFilter],
        previous: &[Self],
        shared: &Shared,
    ) -> Result<Vec<Self>, LogError> {
        let step = |filter: &NetworkFilter| {
            Ok(Some(match filter {
                NetworkFilter::Rbac(rbac) => Self::Rbac(Arc::new(Access::new(rbac, &shared.stats))),
                NetworkFilter::MetadataExchange { protocol } => {
                    Self::MetadataExchange { protocol: protocol.clone() }
                }
                NetworkFilter::Stats(_) => Self::Stats,
                NetworkFilter::ConnectionLimit(config) => {
                    Self::Limit(Limit::compile(config, previous, &shared.stats))
                }
                NetworkFilter::RateLimit(config) => {
                    Self::Rate(Rate::compile(config, previous, shared))
                }
                NetworkFilter::ExtAuthz(config) => {
                    Self::Authz(Arc::new(Authz::compile(config, shared)))
                }
                NetworkFilter::GlobalRateLimit(config) => {
                    Self::Count(Arc::new(Count::compile(config, shared)?))
                }
                NetworkFilter::Opaque(config) => {
                    Self::Opaque(Arc::new(Opaque::compile(config, &shared.stats)))
                }
                NetworkFilter::SniCluster => Self::SniCluster,
                NetworkFilter::SniForward(config) => Self::SniForward { port: config.port },
                NetworkFilter::SetState(config) => Self::States(Arc::new(States::compile(config)?)),
                NetworkFilter::Discovered(_) => Self::Missing,
                NetworkFilter::Unsupported(_) => return Ok(None),
            }))
        };
        filters.iter().filter_map(|filter| step(filter).transpose()).collect()
    }

    /// Whether it waits for the first bytes of the client.
    fn waits(&self) -> bool {
        match self {
            Self::Rbac(_) | Self::Authz(_) => true,
            Self::States(states) => states.waits(),
            Self::MetadataExchange { .. }
            | Self::Stats
            | Self::Limit(_)
            | Self::Rate(_)
            | Self::Count(_)
            | Self::Opaque(_)
            | Self::SniCluster
            | Self::SniForward { .. }
            | Self::Missing => false,
        }
    }
}

/// Why a filter ends a connection, for logs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Ending {
    /// `%CONNECTION_TERMINATION_DETAILS%`.
    pub(crate) details: Option<String>,
    /// `%DOWNSTREAM_LOCAL_CLOSE_REASON%`.
    pub(crate) reason: Option<&'static str>,
    /// `%RESPONSE_CODE_DETAILS%`.
    pub(crate) code_details: Option<&'static str>,
    /// `%RESPONSE_FLAGS%`.
    pub(crate) flag: Option<ResponseFlag>,
}

impl Ending {
    /// The handshake took too long.
    pub(super) fn of_handshake_time() -> Self {
        let details = Some("transport socket timeout was reached".to_owned());
        Self { details, ..Self::because("transport_socket_timeout") }
    }

    const fn because(reason: &'static str) -> Self {
        Self { details: None, reason: Some(reason), code_details: None, flag: None }
    }
}

/// Runs what a chain's filters do when the connection is there, in order.
///
/// # Errors
/// When one of them ends the connection.
pub(super) async fn at_connection(
    worker: &Rc<Worker>,
    downstream: &mut Downstream,
) -> Result<(), Ending> {
    let chain = Arc::clone(&downstream.chain);
    for step in &chain.steps {
        match step {
            NetworkStep::Rbac(_) | NetworkStep::Authz(_) | NetworkStep::Stats => {}
            NetworkStep::MetadataExchange { protocol } => {
                exchange_metadata(worker, downstream, protocol).await?;
            }
            NetworkStep::Limit(limit) => downstream.held.push(limit.admit().await?),
            NetworkStep::Rate(rate) => rate.admit()?,
            NetworkStep::Opaque(opaque) => opaque.begun(),
            NetworkStep::Count(count) => count.admit(worker, downstream).await?,
            NetworkStep::SniCluster => {
                let name = downstream.info.server_name.clone();
                if !name.is_empty() {
                    keep(downstream, CLUSTER_STATE, name);
                }
            }
            NetworkStep::SniForward { port } => {
                if downstream.info.metadata.state(PORT_STATE).is_none() {
                    keep(downstream, PORT_STATE, port.to_string());
                }
            }
            NetworkStep::States(states) => states.at_connection(downstream),
            NetworkStep::Missing => {
                downstream.place.settings.stats.network_config_missing.inc();
                return Err(Ending::default());
            }
        }
    }
    if chain.steps.iter().any(NetworkStep::waits) {
        downstream.gate = Some(Box::new(Gate::new(chain, Rc::clone(worker))));
    }
    Ok(())
}

/// What looks at the first bytes of a connection of this chain; mostly nothing.
pub(crate) fn first_bytes(chain: &Chain) -> Box<[FirstBytes]> {
    let opaque = |step: &NetworkStep| {
        #[expect(clippy::wildcard_enum_match_arm, reason = "one step is looked for")]
        match step {
            NetworkStep::Opaque(opaque) => Some(FirstBytes::new(Arc::clone(opaque))),
            _ => None,
        }
    };
    chain.steps.iter().filter_map(opaque).collect()
}

fn keep(downstream: &mut Downstream, key: &str, value: String) {
    Arc::make_mut(&mut downstream.info).metadata.set_state(key, value);
}

async fn exchange_metadata(
    worker: &Worker,
    downstream: &mut Downstream,
    protocol: &str,
) -> Result<(), Ending> {
    if downstream.info.tls.as_ref().is_none_or(|tls| tls.alpn != protocol) {
        return Ok(());
    }
    let frame = &worker.shared.node.metadata_frame;
    let exchange = metadata_exchange::exchange(&mut downstream.stream, frame);
    match tokio::time::timeout(METADATA_TIMEOUT, exchange).await {
        Ok(Ok(peer)) => {
            downstream.peer_workload = peer.map(Arc::new);
            Ok(())
        }
        Ok(Err(_)) | Err(_) => {
            let details = Some("metadata_exchange_failed".to_owned());
            Err(Ending { details, ..Ending::default() })
        }
    }
}
