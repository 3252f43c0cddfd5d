//! Near instances first.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use arc_swap::ArcSwapOption;
use iako_proxy_config::{EndpointSet, LocalityBasis, ZoneAware};
use iako_types::{Locality, Percent};

/// Where this proxy stands, and how those that do the same work are spread over places. One for the
/// life of the process; balancers look at it.
#[derive(Debug)]
pub struct Neighbourhood {
    own: Locality,
    /// A number of this proxy's own, by which it differs from others.
    seed: u64,
    peers: ArcSwapOption<Peers>,
    version: AtomicU64,
}

/// The instances of the cluster that this proxy is a part of, by place.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Peers {
    all: u64,
    healthy: u64,
    degraded: u64,
    places: Vec<PeerPlace>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct PeerPlace {
    locality: Locality,
    all: u64,
    healthy: u64,
    weight: u64,
}

impl Neighbourhood {
    /// A proxy at a place, that knows no peers yet. `seed` is any number of its own.
    #[must_use]
    pub fn new(own: Locality, seed: u64) -> Arc<Self> {
        let peers = ArcSwapOption::empty();
        Arc::new(Self { own, seed, peers, version: AtomicU64::new(0) })
    }

    /// Takes the instances of the cluster that this proxy is a part of.
    /// Source: `cluster_manager.local_cluster_name`.
    pub fn set_peers(&self, set: &EndpointSet) {
        use iako_proxy_config::HealthStatus::Degraded;
        let mut peers = Peers { all: 0, healthy: 0, degraded: 0, places: Vec::new() };
        for place in set.localities.iter().filter(|place| place.priority == 0) {
            let count = |some: usize| u64::try_from(some).unwrap_or(u64::MAX);
            let healthy = || place.endpoints.iter().filter(|one| one.health.is_healthy());
            let degraded = place.endpoints.iter().filter(|one| one.health == Degraded).count();
            let found = PeerPlace {
                locality: place.locality.clone(),
                all: count(place.endpoints.len()),
                healthy: count(healthy().count()),
                weight: healthy().map(|one| u64::from(one.weight.get())).sum(),
            };
            peers.all = peers.all.saturating_add(found.all);
            peers.healthy = peers.healthy.saturating_add(found.healthy);
            peers.degraded = peers.degraded.saturating_add(count(degraded));
            peers.places.push(found);
        }
        if self.peers.load().as_deref() != Some(&peers) {
            self.peers.store(Some(Arc::new(peers)));
            self.version.fetch_add(1, Relaxed);
        }
    }

    /// Where this proxy stands.
    #[must_use]
    pub const fn own(&self) -> &Locality {
        &self.own
    }

    pub(super) const fn seed(&self) -> u64 {
        self.seed
    }

    pub(super) fn version(&self) -> u64 {
        self.version.load(Relaxed)
    }
}

impl Peers {
    fn place(&self, locality: &Locality) -> Option<&PeerPlace> {
        self.places.iter().find(|place| place.locality == *locality)
    }

    fn panics(&self, threshold: Percent) -> bool {
        let usable = self.healthy.saturating_add(self.degraded).saturating_mul(1_000_000);
        usable.checked_div(self.all).unwrap_or_default() < u64::from(threshold.parts_per_million())
    }
}

/// A place of the upstream cluster, and its healthy instances.
#[derive(Debug, Clone, Copy)]
pub(super) struct Upstream<'a> {
    pub(super) locality: &'a Locality,
    pub(super) healthy: u64,
    pub(super) weight: u64,
}

/// How requests are spread over the places of a cluster, of which the first may be the own one.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ZoneRouting {
    /// All stay in the own place.
    Direct,
    /// So many of ten thousand stay; the rest goes to places with capacity left, by these sums.
    Residual { local: u64, capacities: Vec<u64> },
    /// This proxy's own cluster is in such a state that places cannot count.
    Unsure,
}

/// Where a request goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Route {
    /// To the own place, as all do.
    Direct,
    /// To the own place, as a part does.
    Sampled,
    /// To this place.
    Cross(usize),
    /// To this place, by chance, for none has capacity left.
    NoCapacity(usize),
}

impl ZoneRouting {
    /// None where places do not count. `places` are those of priority 0, the own one first.
    pub(super) fn compile(
        zones: &ZoneAware,
        neighbourhood: &Neighbourhood,
        places: &[Upstream<'_>],
        panic_threshold: Percent,
    ) -> Option<Self> {
        let peers = neighbourhood.peers.load();
        let peers = peers.as_deref()?;
        let healthy: u64 = places.iter().map(|place| place.healthy).sum();
        let is_known = peers.place(&neighbourhood.own).is_some_and(|own| own.all > 0);
        let few_peers = peers.places.len() < 2 && zones.force_local.is_none();
        if places.len() < 2 || few_peers || !is_known || healthy < zones.cluster_size_min {
            return None;
        }
        if peers.panics(panic_threshold) {
            return Some(Self::Unsure);
        }
        let parts = Self::parts(zones, peers, places);
        let own = places.first().filter(|first| *first.locality == neighbourhood.own);
        let own_part = own.and_then(|_| parts.first());
        let forced = own.is_some_and(|own| {
            zones.force_local.is_some_and(|least| own.healthy >= u64::from(least.max(1)))
        });
        if let Some((local, upstream)) = own_part
            && (forced || (*upstream > 0 && upstream >= local))
        {
            return Some(Self::Direct);
        }
        let local = own_part.map_or(0, |(local, upstream)| {
            upstream.saturating_mul(10_000).checked_div(*local).unwrap_or_default()
        });
        let mut sum = 0_u64;
        let capacities = parts.iter().enumerate().map(|(number, (local, upstream))| {
            if number > 0 || own.is_none() {
                sum = sum.saturating_add(upstream.saturating_sub(*local));
            }
            sum
        });
        Some(Self::Residual { local, capacities: capacities.collect() })
    }

    /// The parts of ten thousand that each place has of the peers and of the upstream cluster.
    fn parts(zones: &ZoneAware, peers: &Peers, places: &[Upstream<'_>]) -> Vec<(u64, u64)> {
        let here = |place: &PeerPlace| match zones.basis {
            LocalityBasis::Count => place.healthy,
            LocalityBasis::Weight => place.weight,
        };
        let there = |place: &Upstream<'_>| match zones.basis {
            LocalityBasis::Count => place.healthy,
            LocalityBasis::Weight => place.weight,
        };
        let all_here: u64 = peers.places.iter().map(here).sum();
        let all_there: u64 = places.iter().map(there).sum();
        let part =
            |some: u64, all: u64| some.saturating_mul(10_000).checked_div(all).unwrap_or_default();
        let parts = places.iter().map(|place| {
            if place.healthy == 0 {
                return (0, 0);
            }
            let local = peers.place(place.locality).map_or(0, here);
            (part(local, all_here), part(there(place), all_there))
        });
        parts.collect()
    }

    /// Where a request goes; none where places do not count for it.
    pub(super) fn route(&self, draw: &mut dyn FnMut() -> u64) -> Option<Route> {
        let (local, capacities) = match self {
            Self::Unsure => return None,
            Self::Direct => return Some(Route::Direct),
            Self::Residual { local, capacities } => (*local, capacities),
        };
        if draw() % 10_000 < local {
            return Some(Route::Sampled);
        }
        let all = capacities.last().copied().unwrap_or_default();
        let count = u64::try_from(capacities.len()).unwrap_or(u64::MAX);
        let Some(drawn) = draw().checked_rem(all) else {
            // Only rounding can lead here.
            let any = draw().checked_rem(count).unwrap_or_default();
            return Some(Route::NoCapacity(usize::try_from(any).unwrap_or_default()));
        };
        capacities.iter().position(|sum| drawn < *sum).map(Route::Cross)
    }
}

#[cfg(test)]
mod tests {
    use iako_proxy_config::{Endpoint, LocalityEndpoints};

    use super::*;

    fn neighbourhood(counts: &[(&str, usize)]) -> Arc<Neighbourhood> {
        let endpoint = Endpoint::at(([127, 0, 0, 1], 1).into());
        let places = counts.iter().map(|(name, count)| LocalityEndpoints {
            locality: name.parse().unwrap(),
            endpoints: vec![endpoint.clone(); *count],
            ..Default::default()
        });
        let neighbourhood = Neighbourhood::new("r/a".parse().unwrap(), 0);
        neighbourhood.set_peers(&EndpointSet::new("local", places.collect()));
        neighbourhood
    }

    fn routing(peers: &[(&str, usize)], upstream: &[(&str, u64)]) -> Option<ZoneRouting> {
        let localities: Vec<(Locality, u64)> =
            upstream.iter().map(|(name, count)| (name.parse().unwrap(), *count)).collect();
        let places: Vec<Upstream<'_>> = localities
            .iter()
            .map(|(locality, healthy)| Upstream { locality, healthy: *healthy, weight: *healthy })
            .collect();
        let half = Percent::from_whole(50).unwrap();
        ZoneRouting::compile(&ZoneAware::default(), &neighbourhood(peers), &places, half)
    }

    #[test]
    fn requests_stay_while_the_own_place_can_take_them() {
        let even = [("r/a", 2), ("r/b", 2)];
        assert_eq!(routing(&even, &[("r/a", 3), ("r/b", 3)]), Some(ZoneRouting::Direct));
        assert_eq!(routing(&even, &[("r/a", 3), ("r/b", 2)]), None, "too few to care");
        assert_eq!(routing(&[("r/b", 4)], &[("r/a", 3), ("r/b", 3)]), None, "who are we?");
    }

    #[test]
    fn what_the_own_place_cannot_take_goes_where_there_is_room() {
        // 40, 40 and 20 of a hundred here; 25, 50 and 25 there.
        let peers = [("r/a", 4), ("r/b", 4), ("r/c", 2)];
        let found = routing(&peers, &[("r/a", 2), ("r/b", 4), ("r/c", 2)]);
        let wanted = ZoneRouting::Residual { local: 6250, capacities: vec![0, 1000, 1500] };
        assert_eq!(found, Some(wanted));
        let wanted = ZoneRouting::Residual { local: 0, capacities: vec![1000, 2000] };
        let found = routing(&peers, &[("r/b", 5), ("r/c", 5)]);
        assert_ne!(found, Some(wanted), "places are compared with the peers there");
        let wanted = ZoneRouting::Residual { local: 0, capacities: vec![1000, 4000] };
        assert_eq!(found, Some(wanted));
    }
}
