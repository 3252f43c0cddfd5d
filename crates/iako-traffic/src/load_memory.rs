//! How much load came to clusters from one report to the next.
//!
//! Source: load reporting service (`envoy.service.load_stats.v3`), with Envoy's rules of what is told.

use std::{
    collections::{BTreeMap, HashMap},
    sync::atomic::Ordering::Relaxed,
    time::Instant,
};

use iako_proxy_config::{ClusterLoad, EndpointAddress, EndpointLoad, LoadDetail, LocalityLoad};
use iako_types::Locality;

use crate::{BalancedEndpoint, EndpointState};

/// What was counted of clusters when they were last told of.
#[derive(Debug, Default)]
pub struct LoadMemory {
    clusters: BTreeMap<String, Since>,
}

#[derive(Debug)]
struct Since {
    began: Instant,
    endpoints: HashMap<EndpointAddress, EndpointLoad>,
    refused: u64,
    dropped: u64,
}

/// What is counted of a cluster now, all of it since the cluster is known.
#[derive(Debug, Clone, Copy)]
pub struct ClusterCounts<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its name at the service that tells its instances; empty where there is none.
    pub service: &'a str,
    /// Its instances.
    pub endpoints: &'a [BalancedEndpoint],
    /// Requests that were refused in its name.
    pub refused: u64,
    /// Those of them that the control plane wanted refused.
    pub dropped: u64,
    /// Why it did.
    pub category: &'a str,
}

impl LoadMemory {
    /// Forgets clusters that are not told of any more.
    pub fn keep(&mut self, is_told: impl Fn(&str) -> bool) {
        self.clusters.retain(|name, _| is_told(name));
    }

    /// Begins with a cluster, unless it was begun with already: what came before is not told.
    pub fn begin(&mut self, counts: &ClusterCounts<'_>, now: Instant) {
        if !self.clusters.contains_key(counts.name) {
            self.clusters.insert(counts.name.to_owned(), Since::of(counts, now));
        }
    }

    /// The load of a cluster since it was last told of; none when it was not begun with.
    pub fn tell(
        &mut self,
        counts: &ClusterCounts<'_>,
        detail: LoadDetail,
        now: Instant,
    ) -> Option<ClusterLoad> {
        let before = self.clusters.get_mut(counts.name)?;
        let localities = localities(before, counts.endpoints, detail);
        let dropped = counts.dropped.saturating_sub(before.dropped);
        let load = ClusterLoad {
            name: counts.name.to_owned(),
            service: counts.service.to_owned(),
            localities,
            refused: counts.refused.saturating_sub(before.refused),
            dropped: (dropped > 0).then(|| (counts.category.to_owned(), dropped)),
            interval: now.saturating_duration_since(before.began),
        };
        *before = Since::of(counts, now);
        Some(load)
    }
}

/// Load by priority and place, in this order. A place where nothing happens is left out.
fn localities(
    before: &Since,
    endpoints: &[BalancedEndpoint],
    detail: LoadDetail,
) -> Vec<LocalityLoad> {
    let mut places: BTreeMap<(u32, &Locality), LocalityLoad> = BTreeMap::new();
    for endpoint in endpoints {
        let address = &endpoint.endpoint.address;
        let load = since(before.endpoints.get(address), counted(&endpoint.state));
        if load.is_none() {
            continue;
        }
        let place = places.entry((endpoint.priority, &endpoint.locality));
        let place = place.or_insert_with(|| LocalityLoad {
            locality: endpoint.locality.clone(),
            priority: endpoint.priority,
            load: EndpointLoad::default(),
            endpoints: Vec::new(),
        });
        place.load = place.load.and(load);
        if detail == LoadDetail::Endpoints {
            place.endpoints.push((address.clone(), load));
        }
    }
    places.into_values().collect()
}

impl Since {
    fn of(counts: &ClusterCounts<'_>, now: Instant) -> Self {
        let all = counts.endpoints.iter();
        Self {
            began: now,
            endpoints: all.map(|one| (one.endpoint.address.clone(), counted(&one.state))).collect(),
            refused: counts.refused,
            dropped: counts.dropped,
        }
    }
}

fn counted(state: &EndpointState) -> EndpointLoad {
    let counters = &state.counters;
    EndpointLoad {
        issued: counters.requests.load(Relaxed),
        succeeded: counters.successes.load(Relaxed),
        failed: counters.errors.load(Relaxed),
        active: state.active_requests().into(),
    }
}

/// What was added, and what is under way.
fn since(before: Option<&EndpointLoad>, now: EndpointLoad) -> EndpointLoad {
    let before = before.copied().unwrap_or_default();
    EndpointLoad {
        issued: now.issued.saturating_sub(before.issued),
        succeeded: now.succeeded.saturating_sub(before.succeeded),
        failed: now.failed.saturating_sub(before.failed),
        active: now.active,
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use iako_proxy_config::{Cluster, Discovery, Endpoint, EndpointSet, LocalityEndpoints};

    use super::*;
    use crate::{Balancer, ClusterState, Neighbourhood, Setting};

    fn balancer(now: Instant) -> Balancer {
        let place = |region: &str, priority, ports: &[u16]| LocalityEndpoints {
            locality: Locality { region: region.to_owned(), ..Locality::default() },
            priority,
            endpoints: ports
                .iter()
                .map(|port| Endpoint::at(([192, 0, 2, 1], *port).into()))
                .collect(),
            ..LocalityEndpoints::default()
        };
        let set = EndpointSet::new("c", vec![place("a", 0, &[1, 2]), place("b", 1, &[3])]);
        let cluster = Cluster::new("c", Discovery::Static(set.clone()));
        let neighbourhood = Neighbourhood::new(Locality::default(), 0);
        let setting = Setting { neighbourhood, seed: 0, now };
        Balancer::new(Arc::new(cluster), Arc::new(set), ClusterState::new(now), setting)
    }

    fn counts(balancer: &Balancer, refused: u64, dropped: u64) -> ClusterCounts<'_> {
        let endpoints = balancer.endpoints();
        ClusterCounts { name: "c", service: "s", endpoints, refused, dropped, category: "why" }
    }

    #[test]
    fn what_came_since_the_last_word_is_told_by_priority_and_place() {
        #[expect(clippy::disallowed_methods, reason = "any time to count from")]
        let now = Instant::now();
        let later = now + Duration::from_secs(3);
        let balancer = balancer(now);
        let [one, two, far] = balancer.endpoints() else { panic!("three instances") };
        drop(one.state.begin());
        let mut memory = LoadMemory::default();
        let detail = LoadDetail::Endpoints;
        assert_eq!(memory.tell(&counts(&balancer, 0, 0), detail, now), None);
        memory.begin(&counts(&balancer, 2, 1), now);
        let open = one.state.begin();
        drop(two.state.begin());
        two.state.counters.errors.fetch_add(1, Relaxed);
        // What is begun with twice goes on.
        memory.begin(&counts(&balancer, 2, 1), later);
        let told = memory.tell(&counts(&balancer, 7, 4), detail, later).unwrap();
        assert_eq!((told.interval, told.refused), (Duration::from_secs(3), 5));
        assert_eq!(told.dropped, Some(("why".to_owned(), 3)));
        let [place] = &*told.localities else { panic!("{told:?}") };
        assert_eq!((&*place.locality.region, place.priority), ("a", 0));
        assert_eq!(place.load, EndpointLoad { issued: 2, succeeded: 0, failed: 1, active: 1 });
        let each: Vec<_> = place.endpoints.iter().map(|(_, load)| load.issued).collect();
        assert_eq!(each, [1, 1]);
        // A request that goes on is told again, what has ended is not.
        drop(far.state.begin());
        far.state.counters.successes.fetch_add(1, Relaxed);
        let told = memory.tell(&counts(&balancer, 7, 4), LoadDetail::Localities, later).unwrap();
        assert_eq!(told.dropped, None);
        let loads: Vec<_> = told.localities.iter().map(|place| place.load).collect();
        let active = EndpointLoad { active: 1, ..EndpointLoad::default() };
        let ended = EndpointLoad { issued: 1, succeeded: 1, ..EndpointLoad::default() };
        assert_eq!(loads, [active, ended]);
        assert!(told.localities.iter().all(|place| place.endpoints.is_empty()));
        drop(open);
        let told = memory.tell(&counts(&balancer, 7, 4), detail, later).unwrap();
        assert_eq!(told.localities, []);
    }

    #[test]
    fn a_cluster_that_is_not_wanted_any_more_begins_anew_when_it_is() {
        #[expect(clippy::disallowed_methods, reason = "any time to count from")]
        let now = Instant::now();
        let balancer = balancer(now);
        let mut memory = LoadMemory::default();
        memory.begin(&counts(&balancer, 0, 0), now);
        memory.keep(|name| name != "c");
        assert_eq!(memory.tell(&counts(&balancer, 0, 0), LoadDetail::Localities, now), None);
    }
}
