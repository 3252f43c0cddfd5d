//! Names of endpoints, resolved again and again.

mod cache;
mod resolver;

use std::{
    collections::HashMap,
    future::Future,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use iako_proxy_config::{
    Cluster, Discovery, DnsFamily, DnsOptions, Endpoint, EndpointAddress, EndpointSet,
    LocalityEndpoints,
};
use iako_rt::{Rng, clock};

pub(crate) use cache::{ForwardCache, Unresolved};
pub(crate) use resolver::Resolver;

/// Shortest time between resolutions, whatever the configuration or a record says: no server is to
/// be flooded.
const REFRESH_MIN: Duration = Duration::from_millis(50);

/// When names are resolved next.
#[derive(Debug)]
struct Schedule {
    /// Failures in a row.
    failures: u32,
    rng: Rng,
}

impl Schedule {
    fn new() -> Self {
        Self { failures: 0, rng: Rng::from_system() }
    }

    /// The time until the next resolution. `valid_for` is how long the records say that they hold;
    /// none after a failure.
    fn next(&mut self, options: &DnsOptions, valid_for: Option<Duration>) -> Duration {
        let Some(valid_for) = valid_for else {
            let Some(rate) = options.failure_refresh else {
                return options.refresh_rate.max(REFRESH_MIN);
            };
            let steps = 1_u32.checked_shl(self.failures).unwrap_or(u32::MAX);
            self.failures = self.failures.saturating_add(1);
            // By chance, so that many proxies do not ask a sick server at the same time.
            let longest = rate.first.saturating_mul(steps).min(rate.max);
            return longest.mul_f64(self.rng.unit()).max(rate.first / 2).max(REFRESH_MIN);
        };
        self.failures = 0;
        let time = if options.respect_ttl && !valid_for.is_zero() {
            valid_for.max(options.refresh_min)
        } else {
            options.refresh_rate
        };
        time.saturating_add(options.jitter.mul_f64(self.rng.unit())).max(REFRESH_MIN)
    }
}

/// What became of one resolution of all names of a cluster.
#[derive(Debug)]
pub(crate) struct Resolution {
    /// The instances, where they are others than before.
    pub(crate) changed: Option<EndpointSet>,
    /// Whether every name was resolved.
    pub(crate) complete: bool,
}

/// Resolves the names of a DNS cluster for ever, and tells what became of it each time. Ends when
/// `tell` says that nobody listens.
///
/// A name that cannot be resolved any more keeps its last addresses.
pub(crate) async fn keep_resolved<Tell, Telling>(
    resolver: Resolver,
    cluster: Arc<Cluster>,
    names: EndpointSet,
    tell: Tell,
) where
    Tell: Fn(Resolution) -> Telling,
    Telling: Future<Output = bool>,
{
    let mut known: HashMap<String, Vec<IpAddr>> = HashMap::new();
    let mut told: Option<EndpointSet> = None;
    let mut schedule = Schedule::new();
    loop {
        let mut valid_until: Option<Instant> = None;
        let mut complete = true;
        for name in hosts(&names) {
            match resolver.resolve(name, &cluster.dns).await {
                Some((addresses, until)) => {
                    valid_until = Some(valid_until.map_or(until, |other| other.min(until)));
                    known.insert(name.to_owned(), addresses);
                }
                None => complete = false,
            }
        }
        let resolved = substitute(&names, &known, &cluster);
        let changed = (told.as_ref() != Some(&resolved)).then(|| resolved.clone());
        told = Some(resolved);
        if !tell(Resolution { changed, complete }).await {
            return;
        }
        let now = clock::now();
        let valid_for = match valid_until {
            _ if !complete => None,
            Some(until) => Some(until.saturating_duration_since(now)),
            // Nothing but addresses.
            None => Some(cluster.dns.refresh_rate),
        };
        tokio::time::sleep(schedule.next(&cluster.dns, valid_for)).await;
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
    let (name, port) = match &endpoint.address {
        EndpointAddress::Host { name, port } => (name, port),
        // As in Envoy, an address is its own name.
        EndpointAddress::Socket(address) if endpoint.hostname.is_empty() => {
            return vec![Endpoint { hostname: address.ip().to_string(), ..endpoint.clone() }];
        }
        EndpointAddress::Socket(_)
        | EndpointAddress::Pipe(_)
        | EndpointAddress::Internal { .. } => return vec![endpoint.clone()],
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

    #[test]
    fn records_are_asked_for_again_when_they_end_or_when_they_failed() {
        let second = Duration::from_secs(1);
        let mut options = DnsOptions { refresh_rate: 9 * second, ..DnsOptions::default() };
        let mut schedule = Schedule::new();
        assert_eq!(schedule.next(&options, Some(3 * second)), 9 * second);
        options.respect_ttl = true;
        assert_eq!(schedule.next(&options, Some(3 * second)), 3 * second);
        assert_eq!(schedule.next(&options, Some(Duration::ZERO)), 9 * second);
        options.refresh_min = 5 * second;
        assert_eq!(schedule.next(&options, Some(3 * second)), 5 * second);
        assert_eq!(schedule.next(&options, None), 9 * second);
        options.failure_refresh =
            Some(iako_proxy_config::DnsFailureRefresh { first: second, max: 4 * second });
        for most in [1, 2, 4, 4] {
            assert!(schedule.next(&options, None) <= most * second);
        }
    }

    #[tokio::test]
    async fn a_literal_address_needs_no_resolver() {
        let resolved = Resolver::default().resolve("192.0.2.1", &DnsOptions::default()).await;
        assert_eq!(resolved.unwrap().0, ["192.0.2.1".parse::<IpAddr>().unwrap()]);
    }
}
