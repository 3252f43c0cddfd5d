//! A balancer in a test, and instances for it.

use std::{
    collections::BTreeMap,
    num::{NonZeroU32, NonZeroU64},
    sync::Arc,
    time::{Duration, Instant},
};

use iako_proxy_config::{
    Cluster, ConsistentHashing, Discovery, Endpoint, EndpointSet, HashFunction, HealthStatus,
    LbPolicy, LocalityEndpoints, MaglevTable, OutlierDetection, RingHash, SubsetSelection,
};
use iako_traffic::{
    Balancer, ClusterState, EjectionCause, EjectionEffect, Neighbourhood, Outcome, Pick,
    PickRequest, Setting,
};
use iako_types::{Locality, Percent};
use xxhash_rust::xxh64::xxh64;

pub(crate) const FIRST_PORT: u16 = 22001;

pub(crate) fn endpoint(number: u16) -> Endpoint {
    Endpoint::at(([127, 0, 0, 1], FIRST_PORT + number).into())
}

pub(crate) fn weighted(weights: &[u32]) -> Vec<Endpoint> {
    let weight = |(number, weight): (u16, &u32)| Endpoint {
        weight: NonZeroU32::new(*weight).unwrap(),
        ..endpoint(number)
    };
    (0..).zip(weights).map(weight).collect()
}

pub(crate) fn sick(numbers: &[(u16, HealthStatus)]) -> Vec<Endpoint> {
    let health =
        |(number, health): &(u16, HealthStatus)| Endpoint { health: *health, ..endpoint(*number) };
    numbers.iter().map(health).collect()
}

/// How an outlier was found, and for how many seconds it is set aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Found(pub(crate) EjectionCause, pub(crate) Result<u64, &'static str>);

impl Found {
    pub(crate) fn of(ejection: iako_traffic::Ejection) -> Self {
        let effect = match ejection.effect {
            EjectionEffect::Enforced { duration, .. } => Ok(duration.as_secs()),
            EjectionEffect::NotEnforced => Err("not enforced"),
            EjectionEffect::Overflow => Err("overflow"),
        };
        Self(ejection.cause, effect)
    }
}

/// A balancer with the endpoints of each priority.
pub(crate) struct Rig {
    pub(crate) balancer: Balancer,
    pub(crate) state: Arc<ClusterState>,
    pub(crate) start: Instant,
    pub(crate) chance: u64,
}

impl Rig {
    pub(crate) fn new(lb: LbPolicy, priorities: Vec<Vec<Endpoint>>) -> Self {
        Self::with(lb, priorities, |_, _| {})
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "an Instant cannot be made up; only its distance counts"
    )]
    pub(crate) fn with(
        lb: LbPolicy,
        priorities: Vec<Vec<Endpoint>>,
        change: impl FnOnce(&mut Cluster, &mut EndpointSet),
    ) -> Self {
        let places = (0..).zip(priorities);
        let place =
            |(priority, endpoints)| LocalityEndpoints { priority, endpoints, ..Default::default() };
        let mut set = EndpointSet::new("be", places.map(place).collect());
        let mut cluster = Cluster { lb, ..Cluster::new("be", Discovery::Eds("be".into())) };
        change(&mut cluster, &mut set);
        let start = Instant::now();
        let state = ClusterState::new(start);
        let balancer =
            Balancer::new(Arc::new(cluster), Arc::new(set), Arc::clone(&state), setting(start));
        Self { balancer, state, start, chance: 1 }
    }

    pub(crate) fn pick(&mut self, request: &PickRequest<'_>, after: Duration) -> Option<Pick<'_>> {
        let chance = &mut self.chance;
        let mut draw = || {
            // SplitMix64: well spread, and the same in every run.
            *chance = chance.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mixed = (*chance ^ (*chance >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            mixed ^ (mixed >> 31)
        };
        self.balancer.pick(request, self.start + after, &mut draw)
    }

    /// The number of the chosen instance, from 1; 0 for none.
    pub(crate) fn number(&mut self, request: &PickRequest<'_>) -> u32 {
        self.pick(request, Duration::ZERO).map_or(0, |pick| pick.place + 1)
    }

    pub(crate) fn numbers(&mut self, count: usize) -> String {
        (0..count).map(|_| self.number(&PickRequest::default()).to_string()).collect()
    }

    pub(crate) fn shares(&mut self, count: u32) -> BTreeMap<u32, u32> {
        let mut shares = BTreeMap::new();
        for _ in 0..count {
            *shares.entry(self.number(&PickRequest::default())).or_default() += 1;
        }
        shares
    }

    pub(crate) fn hashed(&mut self, keys: impl Iterator<Item = String>) -> String {
        let hash = |key: String| Some(xxh64(key.as_bytes(), 0));
        let requests = keys.map(|key| PickRequest { hash: hash(key), ..Default::default() });
        requests.map(|request| self.number(&request).to_string()).collect()
    }

    /// An answer of an instance; why it is an outlier now, and for how long it is set aside.
    pub(crate) fn answer(&self, place: usize, outcome: Outcome, after: Duration) -> Vec<Found> {
        let state = &self.balancer.endpoints()[place].state;
        let found = self.balancer.record(state, outcome, self.start + after, &mut || 0.5);
        found.into_iter().flatten().map(Found::of).collect()
    }

    pub(crate) fn fail(&self, place: usize, after: Duration) -> Vec<Found> {
        self.answer(place, Outcome::Response(500), after)
    }

    /// What a look at all instances finds: who came back, and who is an outlier.
    pub(crate) fn look(&self, after: Duration) -> (Vec<usize>, Vec<(usize, Found)>) {
        let look = self.balancer.look(self.start + after, &mut || 0.5);
        let found = look.ejections.iter().map(|(place, one, _)| (*place, Found::of(*one)));
        (look.returns.iter().map(|one| one.place).collect(), found.collect())
    }
}

pub(crate) fn setting(now: Instant) -> Setting {
    Setting { neighbourhood: Neighbourhood::new(Locality::default(), 0), seed: 0, now }
}

pub(crate) fn maglev() -> LbPolicy {
    LbPolicy::Maglev(MaglevTable {
        table_size: NonZeroU64::new(65_537).unwrap(),
        hashing: ConsistentHashing::default(),
    })
}

pub(crate) fn ring() -> LbPolicy {
    LbPolicy::RingHash(RingHash {
        ring_size_min: NonZeroU64::new(1024).unwrap(),
        ring_size_max: NonZeroU64::new(8_388_608).unwrap(),
        function: HashFunction::XxHash,
        hashing: ConsistentHashing::default(),
    })
}

pub(crate) fn users(count: u32) -> impl Iterator<Item = String> {
    (0..count).map(|number| format!("user-{number}"))
}

pub(crate) fn places(counts: &[(&str, u32, u16)]) -> Vec<LocalityEndpoints> {
    let mut number = 0;
    let place = |(name, weight, count): &(&str, u32, u16)| {
        let own = number..number + count;
        number += count;
        LocalityEndpoints {
            locality: name.parse().unwrap(),
            weight: NonZeroU32::new(*weight),
            endpoints: own.map(endpoint).collect(),
            ..Default::default()
        }
    };
    counts.iter().map(place).collect()
}

pub(crate) fn name_of(number: u16) -> String {
    format!("127.0.0.1:{}", FIRST_PORT + number)
}

pub(crate) fn labelled(labels: &[&[(&str, &str)]]) -> Vec<Endpoint> {
    let one = |(number, labels): (u16, &&[(&str, &str)])| {
        let mut endpoint = endpoint(number);
        let pairs = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        endpoint.metadata.lb = pairs.collect();
        endpoint
    };
    (0..).zip(labels).map(one).collect()
}

pub(crate) fn subset_rig(endpoints: Vec<Endpoint>, selection: SubsetSelection) -> Rig {
    Rig::with(LbPolicy::RoundRobin(None), vec![endpoints], |cluster, _| {
        cluster.subsets = Some(selection);
        cluster.panic_threshold = Percent::ZERO;
    })
}

/// The numbers of the instances that a request for these labels goes to.
pub(crate) fn asked(rig: &mut Rig, labels: &[(&str, &str)]) -> Vec<u32> {
    let subset: Vec<(String, String)> =
        labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    let request = PickRequest { subset: &subset, ..Default::default() };
    let mut numbers: Vec<u32> = (0..12).map(|_| rig.number(&request)).collect();
    numbers.sort_unstable();
    numbers.dedup();
    numbers
}

pub(crate) fn outliers(change: impl FnOnce(&mut OutlierDetection)) -> Rig {
    let mut policy = OutlierDetection {
        consecutive_5xx: NonZeroU32::new(3),
        ejection_max: Percent::from_whole(40).unwrap(),
        ..Default::default()
    };
    change(&mut policy);
    Rig::with(LbPolicy::RoundRobin(None), vec![weighted(&[1, 1, 1])], |cluster, _| {
        cluster.outlier_detection = Some(policy);
        cluster.panic_threshold = Percent::ZERO;
    })
}

pub(crate) const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Answers of three instances in one interval: how many of ten are good.
pub(crate) fn answers(rig: &Rig, good: [u32; 3]) {
    for (place, good) in good.into_iter().enumerate() {
        for number in 0..10 {
            let status = if number < good { 200 } else { 500 };
            rig.answer(place, Outcome::Response(status), seconds(1));
        }
    }
}
