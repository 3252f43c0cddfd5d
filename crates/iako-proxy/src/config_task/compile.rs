//! From a listener as it was sent to one that connections can be served by.

use std::sync::Arc;

use iako_proxy_config::{self as config, DownstreamTransport, FilterChain, Listener, ListenerKind};
use iako_traffic::FilterChainTable;

use super::secrets::with_causes;
use crate::{
    access_log::AccessLogger,
    connection::steps::NetworkStep,
    drain::Drain,
    http::HttpService,
    listener::ListenerHandle,
    shared::Shared,
    snapshot::{
        Chain, ChainId, ChainTransport, InspectorStats, ListenerSettings, ListenerStats,
        ListenerWorkerStats, Terminal,
    },
    tcp::TcpService,
    transport::server::ServerTlsSlot,
    udp::UdpService,
};

/// Compiles a listener. Chains that `previous` had already keep their name, their connections and
/// their TLS settings; `take_id` names new ones.
pub(super) fn listener(
    listener: &Arc<Listener>,
    previous: Option<&ListenerSettings>,
    shared: &Shared,
    mut take_id: impl FnMut() -> u64,
) -> Result<ListenerSettings, String> {
    let pipe = || listener.pipes.first().map(|pipe| pipe.path.display().to_string());
    let first = || listener.addresses.first().map(ToString::to_string).or_else(pipe);
    let prefix = Some(&listener.stat_prefix).filter(|prefix| !prefix.is_empty()).cloned();
    let address = prefix.or_else(first).unwrap_or_default();
    let mut known: Vec<&Arc<Chain>> =
        previous.into_iter().flat_map(|settings| &settings.chains).collect();
    let mut chains = Vec::new();
    for chain in listener.chains.iter().chain(&listener.default_chain) {
        let same = known.iter().position(|old| is_same(old, chain));
        let same = same.map(|place| known.swap_remove(place));
        let place = (&**listener, address.as_str());
        chains.push(Arc::new(compile_chain((place, chain), same, shared, &mut take_id)?));
    }
    Ok(ListenerSettings {
        table: FilterChainTable::compile(Arc::clone(listener)),
        stats: ListenerStats::new(&shared.stats, &address),
        workers: ListenerWorkerStats::of_all(&shared.stats, &address, shared.crew.len()),
        connections_max: listener.connections_max,
        inspectors: InspectorStats::new(&shared.stats, listener),
        access_log: AccessLogger::open_all(&listener.access_log, shared)
            .map_err(|error| with_causes(&error))?,
        chains,
        datagrams: datagrams(listener, &address, shared)?,
        internal: internal(listener, previous),
        config: Arc::clone(listener),
    })
}

/// What carries datagrams.
fn datagrams(
    listener: &Listener,
    address: &str,
    shared: &Shared,
) -> Result<Option<Arc<UdpService>>, String> {
    let ListenerKind::Udp(proxy) = &listener.kind else { return Ok(None) };
    let service = UdpService::compile(Arc::clone(proxy), address, shared);
    Ok(Some(Arc::new(service.map_err(|error| with_causes(&error))?)))
}

/// What counts the connections of a listener within the proxy, over all of its versions.
fn internal(
    listener: &Listener,
    previous: Option<&ListenerSettings>,
) -> Option<Arc<ListenerHandle>> {
    if listener.kind != ListenerKind::Internal {
        return None;
    }
    let known = previous.and_then(|settings| settings.internal.clone());
    Some(known.unwrap_or_else(|| {
        let name = listener.name.as_str().into();
        Arc::new(ListenerHandle::new(name, &Arc::default(), listener.socket.balance))
    }))
}

/// Whether connections of `old` can live on under `new`: they were chosen by the same conditions,
/// and their bytes are protected in the same way.
fn is_same(old: &Chain, new: &FilterChain) -> bool {
    let transport = match (&old.transport, &new.transport) {
        (ChainTransport::Raw, DownstreamTransport::Raw) => true,
        (ChainTransport::Tls(slot), DownstreamTransport::Tls(tls)) => *slot.settings() == **tls,
        (ChainTransport::Raw | ChainTransport::Tls(_), _) => false,
    };
    let terminal = matches!(
        (&old.terminal, &new.terminal),
        (Terminal::Http(_), config::Terminal::Http(_))
            | (Terminal::Tcp(_), config::Terminal::Tcp(_))
            | (Terminal::Direct(_), config::Terminal::Direct(_))
            | (Terminal::Echo, config::Terminal::Echo)
    );
    transport && terminal && old.matcher == new.matcher
}

fn compile_chain(
    ((listener, address), chain): ((&Listener, &str), &FilterChain),
    same: Option<&Arc<Chain>>,
    shared: &Shared,
    take_id: &mut impl FnMut() -> u64,
) -> Result<Chain, String> {
    let transport = match (&chain.transport, same) {
        (_, Some(same)) => same.transport.clone(),
        (DownstreamTransport::Raw, None) => ChainTransport::Raw,
        (DownstreamTransport::Tls(tls), None) => {
            ChainTransport::Tls(Arc::new(ServerTlsSlot::new((**tls).clone())))
        }
    };
    let terminal = match &chain.terminal {
        config::Terminal::Http(manager) => {
            let service = HttpService::compile(
                Arc::clone(manager),
                (listener.kept_bytes_max, address),
                shared,
            );
            Terminal::Http(Arc::new(service.map_err(|error| with_causes(&error))?))
        }
        config::Terminal::Tcp(tcp) => {
            let service = TcpService::compile(Arc::clone(tcp), shared);
            Terminal::Tcp(Arc::new(service.map_err(|error| with_causes(&error))?))
        }
        config::Terminal::Direct(bytes) => Terminal::Direct(bytes.clone()),
        config::Terminal::Echo => Terminal::Echo,
    };
    let previous = same.map(|same| same.steps.as_slice()).unwrap_or_default();
    let steps = NetworkStep::compile(&chain.filters, previous, shared);
    Ok(Chain {
        metadata: chain.metadata.clone(),
        of_listener: listener.metadata.clone(),
        id: same.map_or_else(|| ChainId(take_id()), |same| same.id),
        name: chain.name.as_str().into(),
        listener: listener.name.as_str().into(),
        matcher: chain.matcher.clone(),
        transport,
        handshake_timeout: chain.handshake_timeout,
        steps: steps.map_err(|error| with_causes(&error))?,
        terminal,
        drain: same
            .map_or_else(|| Drain::beside(&shared.failed_by_operator), |same| same.drain.clone()),
    })
}
