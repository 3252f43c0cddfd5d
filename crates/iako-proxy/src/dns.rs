//! Names of endpoints, resolved again and again.

use std::{
    collections::HashMap,
    future::Future,
    net::{IpAddr, SocketAddr},
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use hickory_resolver::{
    TokioResolver,
    config::{LookupIpStrategy, ResolverOpts},
};
use iako_proxy_config::{
    Cluster, Discovery, DnsFamily, Endpoint, EndpointAddress, EndpointSet, LocalityEndpoints,
};
use iako_rt::clock;

/// Shortest time between resolutions, whatever the configuration or a record says.
const REFRESH_MIN: Duration = Duration::from_secs(1);
/// Addresses used of one name; bounds a cluster that an attacker of DNS could grow.
const ADDRESSES_MAX: usize = 256;

/// The system's resolver, made when the first name has to be resolved. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Resolver {
    by_family: Arc<[OnceLock<Option<TokioResolver>>; 5]>,
}

impl Resolver {
    fn of(&self, family: DnsFamily) -> Option<&TokioResolver> {
        let (place, strategy) = match family {
            DnsFamily::Auto => (0, LookupIpStrategy::Ipv6thenIpv4),
            DnsFamily::V4Only => (1, LookupIpStrategy::Ipv4Only),
            DnsFamily::V6Only => (2, LookupIpStrategy::Ipv6Only),
            DnsFamily::V4Preferred => (3, LookupIpStrategy::Ipv4thenIpv6),
            DnsFamily::All => (4, LookupIpStrategy::Ipv4AndIpv6),
        };
        let built = self.by_family.get(place)?.get_or_init(|| {
            let mut builder = TokioResolver::builder_tokio()
                .inspect_err(|error| tracing::error!(%error, "no resolver"))
                .ok()?;
            let options: &mut ResolverOpts = builder.options_mut();
            options.ip_strategy = strategy;
            builder.build().inspect_err(|error| tracing::error!(%error, "no resolver")).ok()
        });
        built.as_ref()
    }

    /// The addresses of a name, and until when they hold.
    async fn resolve(&self, name: &str, family: DnsFamily) -> Option<(Vec<IpAddr>, Instant)> {
        if let Ok(address) = name.parse() {
            return Some((vec![address], clock::now() + Duration::from_secs(3600)));
        }
        match self.of(family)?.lookup_ip(name).await {
            Ok(found) => Some((found.iter().take(ADDRESSES_MAX).collect(), found.valid_until())),
            Err(error) => {
                tracing::warn!(name, %error, "name not resolved");
                None
            }
        }
    }
}

/// Resolves the names of a DNS cluster for ever, and hands over what they stand for whenever it
/// changed. Ends when `tell` says that nobody listens.
///
/// A name that cannot be resolved any more keeps its last addresses.
pub(crate) async fn keep_resolved<Tell, Telling>(
    resolver: Resolver,
    cluster: Arc<Cluster>,
    names: EndpointSet,
    tell: Tell,
) where
    Tell: Fn(EndpointSet) -> Telling,
    Telling: Future<Output = bool>,
{
    let mut known: HashMap<String, Vec<IpAddr>> = HashMap::new();
    let mut told: Option<EndpointSet> = None;
    loop {
        let mut valid_until = clock::now() + Duration::from_secs(3600);
        for name in hosts(&names) {
            if let Some((addresses, until)) = resolver.resolve(name, cluster.dns.family).await {
                valid_until = valid_until.min(until);
                known.insert(name.to_owned(), addresses);
            }
        }
        let resolved = substitute(&names, &known, &cluster);
        if told.as_ref() != Some(&resolved) {
            if !tell(resolved.clone()).await {
                return;
            }
            told = Some(resolved);
        }
        let pause = if cluster.dns.respect_ttl {
            valid_until.saturating_duration_since(clock::now())
        } else {
            cluster.dns.refresh_rate
        };
        tokio::time::sleep(pause.max(REFRESH_MIN)).await;
    }
}

fn hosts(names: &EndpointSet) -> impl Iterator<Item = &str> {
    names.endpoints().filter_map(|endpoint| match &endpoint.address {
        EndpointAddress::Host { name, .. } => Some(name.as_str()),
        EndpointAddress::Socket(_)
        | EndpointAddress::Pipe(_)
        | EndpointAddress::Internal { .. } => None,
    })
}

/// The set with addresses in place of names.
fn substitute(
    names: &EndpointSet,
    known: &HashMap<String, Vec<IpAddr>>,
    cluster: &Cluster,
) -> EndpointSet {
    let place = |locality: &LocalityEndpoints| {
        let endpoints = locality.endpoints.iter();
        let endpoints =
            endpoints.flat_map(|endpoint| addresses_of(endpoint, known, cluster)).collect();
        LocalityEndpoints { endpoints, ..locality.clone() }
    };
    EndpointSet { localities: names.localities.iter().map(place).collect(), ..names.clone() }
}

/// What a name stands for: one endpoint with all the addresses (logical DNS), or one endpoint an
/// address, which may be reached at one of the other family as well.
fn addresses_of(
    endpoint: &Endpoint,
    known: &HashMap<String, Vec<IpAddr>>,
    cluster: &Cluster,
) -> Vec<Endpoint> {
    let EndpointAddress::Host { name, port } = &endpoint.address else {
        return vec![endpoint.clone()];
    };
    let mut addresses = known.get(name).cloned().unwrap_or_default();
    // The order of answers turns round; an unchanged set must not look changed.
    let prefers_ipv4 = matches!(cluster.dns.family, DnsFamily::V4Only | DnsFamily::V4Preferred);
    addresses.sort_unstable_by_key(|address| (address.is_ipv4() != prefers_ipv4, *address));
    addresses.dedup();
    let at = |ip: IpAddr, others: Vec<IpAddr>| Endpoint {
        address: EndpointAddress::Socket(SocketAddr::new(ip, *port)),
        additional_addresses: others.iter().map(|ip| SocketAddr::new(*ip, *port)).collect(),
        hostname: if endpoint.hostname.is_empty() {
            name.clone()
        } else {
            endpoint.hostname.clone()
        },
        ..endpoint.clone()
    };
    if matches!(cluster.discovery, Discovery::LogicalDns(_)) {
        return addresses
            .split_first()
            .map(|(ip, others)| at(*ip, others.to_vec()))
            .into_iter()
            .collect();
    }
    let of_other_family = |place: usize, ip: IpAddr| {
        let others = || addresses.iter().filter(move |other| other.is_ipv4() != ip.is_ipv4());
        let turn = place.checked_rem(others().count())?;
        others().nth(turn).copied()
    };
    (0..)
        .zip(&addresses)
        .map(|(place, ip)| at(*ip, of_other_family(place, *ip).into_iter().collect()))
        .collect()
}

#[cfg(test)]
mod tests {
    use iako_proxy_config::HealthStatus;

    use super::*;

    #[test]
    fn names_become_addresses_and_the_rest_of_an_endpoint_stays() {
        let mut named = Endpoint::at("192.0.2.1:80".parse().unwrap());
        named.health = HealthStatus::Degraded;
        named.address = EndpointAddress::Host { name: "db.test".to_owned(), port: 5432 };
        let endpoints = vec![named, Endpoint::at("192.0.2.9:1".parse().unwrap())];
        let places = vec![LocalityEndpoints { endpoints, ..LocalityEndpoints::default() }];
        let names = EndpointSet::new("db", places);
        let addresses = ["192.0.2.7", "192.0.2.3"].map(|text| text.parse().unwrap());
        let set_of = |discovery: fn(EndpointSet) -> Discovery, addresses: &[IpAddr]| {
            let known = HashMap::from([("db.test".to_owned(), addresses.to_vec())]);
            substitute(&names, &known, &Cluster::new("db", discovery(names.clone())))
        };
        let shown = |discovery: fn(EndpointSet) -> Discovery| {
            let set = set_of(discovery, &addresses);
            let show =
                |endpoint: &Endpoint| format!("{:?} {}", endpoint.address, endpoint.hostname);
            set.endpoints().map(show).collect::<Vec<_>>()
        };
        let strict = shown(Discovery::StrictDns);
        assert_eq!(strict.len(), 3);
        assert_eq!(strict[0], "Socket(192.0.2.3:5432) db.test");
        assert_eq!(shown(Discovery::LogicalDns).len(), 2);

        let both = ["192.0.2.3", "2001:db8::1", "192.0.2.7"].map(|text| text.parse().unwrap());
        let addresses = |endpoint: &Endpoint| {
            let others: Vec<_> =
                endpoint.additional_addresses.iter().map(|other| other.ip().to_string()).collect();
            let EndpointAddress::Socket(first) = endpoint.address else { panic!("not resolved") };
            format!("{} {}", first.ip(), others.join(" "))
        };
        let set = set_of(Discovery::LogicalDns, &both);
        assert_eq!(addresses(set.endpoints().next().unwrap()), "2001:db8::1 192.0.2.3 192.0.2.7");
        let set = set_of(Discovery::StrictDns, &both);
        let strict: Vec<_> = set.endpoints().take(3).map(addresses).collect();
        let expected = ["2001:db8::1 192.0.2.3", "192.0.2.3 2001:db8::1", "192.0.2.7 2001:db8::1"];
        assert_eq!(strict, expected);
    }

    #[tokio::test]
    async fn a_literal_address_needs_no_resolver() {
        let resolved = Resolver::default().resolve("192.0.2.1", DnsFamily::Auto).await;
        assert_eq!(resolved.unwrap().0, ["192.0.2.1".parse::<IpAddr>().unwrap()]);
    }
}
