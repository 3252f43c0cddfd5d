//! Asking servers for the addresses of a name.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use hickory_resolver::{
    TokioResolver,
    config::{ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolveHosts, ResolverConfig},
    net::runtime::TokioRuntimeProvider,
};
use iako_proxy_config::{DnsFamily, DnsOptions};
use iako_rt::clock;
use parking_lot::Mutex;

/// Addresses used of one name; bounds a cluster that an attacker of DNS could grow.
const ADDRESSES_MAX: usize = 256;
/// For how long an address that is no name holds.
const LITERAL_HOLDS: Duration = Duration::from_secs(3600);

/// What tells resolvers apart.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Way {
    family: DnsFamily,
    servers: Vec<SocketAddr>,
    tcp: bool,
    no_search: bool,
    timeout: Duration,
    tries: u32,
}

/// Resolvers, each made when it is first needed and shared by all that ask in its way. Cheap to
/// clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Resolver {
    by_way: Arc<Mutex<HashMap<Way, Option<TokioResolver>>>>,
}

impl Resolver {
    fn of(&self, options: &DnsOptions) -> Option<TokioResolver> {
        let way = Way {
            family: options.family,
            servers: options.resolvers.clone(),
            tcp: options.use_tcp,
            no_search: options.no_search,
            timeout: options.query_timeout,
            tries: options.query_tries.get(),
        };
        self.by_way.lock().entry(way.clone()).or_insert_with(|| build(&way)).clone()
    }

    /// The addresses of a name, and until when they hold; none when it cannot be resolved.
    pub(super) async fn resolve(
        &self,
        name: &str,
        options: &DnsOptions,
    ) -> Option<(Vec<IpAddr>, Instant)> {
        if let Ok(address) = name.parse() {
            return Some((vec![address], clock::now() + LITERAL_HOLDS));
        }
        match self.of(options)?.lookup_ip(name).await {
            Ok(found) => Some((found.iter().take(ADDRESSES_MAX).collect(), found.valid_until())),
            Err(error) => {
                tracing::warn!(name, %error, "name not resolved");
                None
            }
        }
    }
}

fn build(way: &Way) -> Option<TokioResolver> {
    let mut builder = if way.servers.is_empty() {
        TokioResolver::builder_tokio()
            .inspect_err(|error| tracing::error!(%error, "no resolver"))
            .ok()?
    } else {
        let servers = way.servers.iter().map(|server| name_server(*server, way));
        let config = ResolverConfig::from_parts(None, Vec::new(), servers.collect());
        TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
    };
    let options = builder.options_mut();
    options.ip_strategy = match way.family {
        DnsFamily::Auto => LookupIpStrategy::Ipv6thenIpv4,
        DnsFamily::V4Only => LookupIpStrategy::Ipv4Only,
        DnsFamily::V6Only => LookupIpStrategy::Ipv6Only,
        DnsFamily::V4Preferred => LookupIpStrategy::Ipv4thenIpv6,
        DnsFamily::All => LookupIpStrategy::Ipv4AndIpv6,
    };
    // Clusters keep what they need, and ask when they want to know.
    options.cache_size = 0;
    options.timeout = way.timeout;
    options.attempts = usize::try_from(way.tries).unwrap_or(usize::MAX);
    if !way.servers.is_empty() {
        options.use_hosts_file = ResolveHosts::Never;
    }
    if way.no_search {
        // Every name counts as whole.
        options.ndots = 0;
    }
    builder.build().inspect_err(|error| tracing::error!(%error, "no resolver")).ok()
}

fn name_server(server: SocketAddr, way: &Way) -> NameServerConfig {
    let mut connections = vec![ConnectionConfig::tcp()];
    if !way.tcp {
        connections.insert(0, ConnectionConfig::udp());
    }
    for connection in &mut connections {
        connection.port = server.port();
    }
    NameServerConfig::new(server.ip(), true, connections)
}
