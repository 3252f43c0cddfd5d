//! Instances by priority, health and place, as of one moment.

use std::{
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use iako_proxy_config::{Cluster, EndpointSet, LocalityBalancing, ZoneAware};
use iako_types::Locality;

use super::{
    balancer::{BalancedEndpoint, hashes},
    edf,
    group::{Choice, Group, Ingredients, index},
    measure::Moment,
    pick::PickNotes,
    priority::{Availability, Counts, Priorities},
    zone::{Neighbourhood, Route, Upstream, ZoneRouting},
};

/// What choices look at until the health of an instance changes.
#[derive(Debug, Default)]
pub(super) struct View {
    loads: Priorities,
    priorities: Vec<PriorityView>,
    on_panic: OnPanic,
}

/// What happens where too few instances are healthy.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum OnPanic {
    /// All are used, whatever their health.
    #[default]
    UseAll,
    /// Requests fail.
    Fail,
}

#[derive(Debug, Default)]
struct PriorityView {
    all: Arc<Group>,
    healthy: Arc<Group>,
    degraded: Group,
    places: Places,
}

/// How the places of a priority share its requests.
#[derive(Debug, Default)]
enum Places {
    /// They do not count.
    #[default]
    Ignored,
    /// By their weights.
    Weighted { healthy: WeightedPlaces, degraded: WeightedPlaces },
    /// Near ones first.
    Near(Box<NearPlaces>),
}

/// Places in turn, weighted.
#[derive(Debug, Default)]
struct WeightedPlaces {
    turns: Vec<u32>,
    cursor: AtomicUsize,
    groups: Vec<Group>,
}

#[derive(Debug)]
struct NearPlaces {
    zones: ZoneAware,
    routing: ZoneRouting,
    healthy: Vec<Group>,
    degraded: Vec<Group>,
}

/// What a view is compiled from.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    pub(super) cluster: &'a Cluster,
    pub(super) set: &'a EndpointSet,
    pub(super) endpoints: &'a [BalancedEndpoint],
    pub(super) neighbourhood: &'a Neighbourhood,
    pub(super) seed: u64,
    pub(super) now: Moment,
}

impl Source<'_> {
    /// What groups are compiled from.
    pub(super) fn ingredients(&self) -> Ingredients<'_> {
        let Self { cluster, endpoints, seed, now, .. } = *self;
        Ingredients { endpoints, policy: &cluster.lb, seed, now }
    }
}

/// Whether weights of places count in a view.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PlaceWeights {
    Ignored,
    AsGiven,
    /// By the part of a place's instances that the view has.
    Scaled,
}

impl View {
    /// Compiles the view of those instances that `belongs` keeps.
    pub(super) fn compile(
        source: Source<'_>,
        weights: PlaceWeights,
        belongs: &dyn Fn(&BalancedEndpoint) -> bool,
    ) -> Self {
        let levels = source.endpoints.iter().map(|endpoint| endpoint.priority).max();
        let levels = levels.map_or(0, |level| level.saturating_add(1));
        let factor = u64::from(source.set.overprovisioning_factor.get());
        let (mut counts, mut health) = (Vec::new(), Vec::new());
        let members: Vec<Vec<Member<'_>>> = (0..levels)
            .map(|level| {
                let all = (0..).zip(source.endpoints);
                let here = all.filter(|(_, one)| one.priority == level && one.is_used);
                let here = here.filter(|(_, endpoint)| belongs(endpoint));
                here.map(|(place, endpoint)| Member::new(place, endpoint)).collect()
            })
            .collect();
        for members in &members {
            counts.push(counted(members, |_| 1));
            let weighted = source.set.weighted_health;
            health.push(counted(members, |member| if weighted { member.weight } else { 1 }));
        }
        let threshold = source.cluster.panic_threshold;
        let loads = Priorities::new(&health, &counts, factor, threshold);
        let priorities = (0..).zip(&members).map(|(level, members)| {
            let pool = Pool::new(source, members, weights, level);
            PriorityView::compile(&pool, level, &loads)
        });
        let on_panic = match source.cluster.localities {
            LocalityBalancing::ZoneAware(zones) if zones.fail_on_panic => OnPanic::Fail,
            LocalityBalancing::ZoneAware(_) | LocalityBalancing::Weighted => OnPanic::UseAll,
        };
        let priorities = priorities.collect();
        Self { loads, priorities, on_panic }
    }

    /// What all instances can take, healthy and degraded, in percent of all requests.
    pub(super) fn able(&self, tried: &[u32]) -> (u64, u64) {
        self.loads.able(tried)
    }

    /// Has turns begin anew, after weights have changed.
    pub(super) fn restart(&self, from: Ingredients<'_>) {
        for priority in &self.priorities {
            let own = [priority.all.as_ref(), priority.healthy.as_ref(), &priority.degraded];
            let placed: [&[Group]; 2] = match &priority.places {
                Places::Ignored => [&[], &[]],
                Places::Weighted { healthy, degraded } => [&healthy.groups, &degraded.groups],
                Places::Near(near) => [&near.healthy, &near.degraded],
            };
            let all = own.into_iter().chain(placed.into_iter().flatten());
            all.for_each(|group| group.restart(from));
        }
    }

    /// An instance, and what led to it.
    pub(super) fn choose(
        &self,
        choice: &Choice<'_>,
        draw: &mut dyn FnMut() -> u64,
    ) -> Option<(u32, PickNotes)> {
        // A client with a hash stays at its priority, too.
        let level = choice.hash.unwrap_or_else(&mut *draw);
        let (level, availability) = self.loads.choose(level, choice.tried_priorities)?;
        let priority = self.priorities.get(level)?;
        if availability == Availability::All {
            if self.on_panic == OnPanic::Fail {
                return None;
            }
            return priority.all.choose(choice, draw).map(|place| (place, PickNotes::PANIC));
        }
        let (group, notes) = priority.group(choice, (availability, self.on_panic), draw)?;
        let place = group.choose(choice, draw)?;
        // With one place tried, another one of the priority is better than the same again.
        let is_tried = choice.excluded.contains(&place);
        let other = if is_tried { priority.healthy.choose(choice, draw) } else { None };
        Some((other.unwrap_or(place), notes))
    }
}

impl PriorityView {
    fn compile(pool: &Pool<'_>, level: u32, loads: &Priorities) -> Self {
        let panics = usize::try_from(level).is_ok_and(|level| loads.panics(level));
        let able = |member: &Member<'_>| member.health == Some(Availability::Healthy);
        let healthy = Arc::new(pool.group(&able));
        // Usually all are healthy, and nobody panics; tables for consistent hashing are large.
        let all_able = pool.members.iter().all(able);
        let all = if all_able {
            Arc::clone(&healthy)
        } else if hashes(&pool.source.cluster.lb) && !panics {
            Arc::new(pool.unordered())
        } else {
            Arc::new(pool.group(&|_| true))
        };
        let degraded =
            pool.group(&|member: &Member<'_>| member.health == Some(Availability::Degraded));
        Self { all, healthy, degraded, places: pool.places(level) }
    }

    /// The instances among which a request chooses; none where it fails.
    fn group(
        &self,
        choice: &Choice<'_>,
        (availability, on_panic): (Availability, OnPanic),
        draw: &mut dyn FnMut() -> u64,
    ) -> Option<(&Group, PickNotes)> {
        let is_degraded = availability == Availability::Degraded;
        // Envoy's tables hold healthy instances only; degraded ones are better than nothing.
        let takes_healthy = !is_degraded || (hashes(choice.policy) && !self.healthy.is_empty());
        let whole = if takes_healthy { self.healthy.as_ref() } else { &self.degraded };
        let by_place = match &self.places {
            Places::Weighted { healthy, degraded } => {
                let places = if is_degraded { degraded } else { healthy };
                places.next().map(|group| (group, PickNotes::NONE))
            }
            Places::Near(near) if near.zones.enabled.takes(draw()) => {
                if near.routing == ZoneRouting::Unsure && on_panic == OnPanic::Fail {
                    return None;
                }
                near.next(availability, draw)
            }
            Places::Near(_) | Places::Ignored => None,
        };
        Some(by_place.unwrap_or((whole, PickNotes::NONE)))
    }
}

impl WeightedPlaces {
    fn next(&self) -> Option<&Group> {
        let turn = self.cursor.fetch_add(1, Relaxed).checked_rem(self.turns.len())?;
        self.groups.get(usize::try_from(*self.turns.get(turn)?).ok()?)
    }
}

impl NearPlaces {
    fn next(
        &self,
        availability: Availability,
        draw: &mut dyn FnMut() -> u64,
    ) -> Option<(&Group, PickNotes)> {
        let (place, notes) = match self.routing.route(draw)? {
            Route::Direct => (0, PickNotes::ZONE_DIRECT),
            Route::Sampled => (0, PickNotes::ZONE_SAMPLED),
            Route::Cross(place) => (place, PickNotes::ZONE_CROSS),
            Route::NoCapacity(place) => (place, PickNotes::ZONE_NO_CAPACITY),
        };
        let is_degraded = availability == Availability::Degraded;
        let groups = if is_degraded { &self.degraded } else { &self.healthy };
        Some((groups.get(place)?, notes))
    }
}

fn counted(members: &[Member<'_>], size: impl Fn(&Member<'_>) -> u64) -> Counts {
    let sum = |health: Option<Availability>| {
        let counts = |member: &&Member<'_>| match health {
            None => !member.excluded,
            some => member.health == some,
        };
        members.iter().filter(counts).map(&size).sum()
    };
    Counts {
        all: sum(None),
        healthy: sum(Some(Availability::Healthy)),
        degraded: sum(Some(Availability::Degraded)),
    }
}

struct Member<'a> {
    place: u32,
    weight: u64,
    /// None: it takes no traffic.
    health: Option<Availability>,
    /// It does not count when panic is decided.
    excluded: bool,
    locality: &'a Locality,
    locality_weight: Option<NonZeroU32>,
}

impl<'a> Member<'a> {
    fn new(place: u32, endpoint: &'a BalancedEndpoint) -> Self {
        Self {
            place,
            weight: u64::from(endpoint.endpoint.weight.get()),
            health: endpoint.availability(),
            excluded: endpoint.is_excluded(),
            locality: &endpoint.locality,
            locality_weight: endpoint.locality_weight,
        }
    }
}

/// The instances of one priority, by place: the own place first, the others in the order of their
/// names, as Envoy has them.
struct Pool<'a> {
    source: Source<'a>,
    members: &'a [Member<'a>],
    places: Vec<Place<'a>>,
}

struct Place<'a> {
    locality: &'a Locality,
    weight: u64,
    members: Vec<&'a Member<'a>>,
}

impl Place<'_> {
    fn count(&self, health: Option<Availability>) -> u64 {
        let some = self.members.iter().filter(|member| health.is_none() || member.health == health);
        u64::try_from(some.count()).unwrap_or(u64::MAX)
    }
}

impl<'a> Pool<'a> {
    fn new(
        source: Source<'a>,
        members: &'a [Member<'a>],
        weights: PlaceWeights,
        level: u32,
    ) -> Self {
        let mut places: Vec<Place<'a>> = Vec::new();
        for member in members {
            match places.iter_mut().find(|place| place.locality == member.locality) {
                Some(place) => place.members.push(member),
                None => places.push(Place {
                    locality: member.locality,
                    weight: member.locality_weight.map_or(0, |weight| u64::from(weight.get())),
                    members: vec![member],
                }),
            }
        }
        let own = source.neighbourhood.own();
        places.sort_by(|one, other| {
            let is_far = |place: &Place<'_>| place.locality != own;
            is_far(one).cmp(&is_far(other)).then_with(|| one.locality.cmp(other.locality))
        });
        for place in &mut places {
            place.weight = match weights {
                PlaceWeights::Ignored => 0,
                PlaceWeights::AsGiven => place.weight,
                PlaceWeights::Scaled => {
                    let is_here = |one: &&BalancedEndpoint| {
                        one.priority == level && one.locality == *place.locality
                    };
                    let all = source.endpoints.iter().filter(is_here).count();
                    let all = u64::try_from(all).unwrap_or(u64::MAX).max(1);
                    // Rounded to the nearest, a half upwards.
                    let part = place.weight.saturating_mul(place.count(None)).saturating_mul(2);
                    part.saturating_add(all).checked_div(all.saturating_mul(2)).unwrap_or_default()
                }
            };
        }
        Self { source, members, places }
    }

    fn group(&self, keep: &dyn Fn(&Member<'_>) -> bool) -> Group {
        let by_place = hashes(&self.source.cluster.lb)
            && self.source.cluster.localities == LocalityBalancing::Weighted;
        let weight: u64 = self.places.iter().map(|place| place.weight).sum();
        let parts = if by_place && weight > 0 {
            let places = self.places.iter().filter(|place| place.weight > 0);
            let part = |place: &Place<'_>| real(place.weight) / real(weight);
            let placed = places.map(|place| (part(place), kept(&place.members, keep)));
            placed.flat_map(|(part, members)| normalized(&members, part)).collect()
        } else {
            let all: Vec<&Member<'_>> = self.members.iter().collect();
            normalized(&kept(&all, keep), 1.0)
        };
        Group::compile(&parts, self.source.ingredients())
    }

    /// All instances without a table: there is somebody, but nobody is asked.
    fn unordered(&self) -> Group {
        let members: Vec<(u32, f64)> =
            self.members.iter().map(|member| (member.place, 1.0)).collect();
        let policy = &iako_proxy_config::LbPolicy::Random;
        Group::compile(&members, Ingredients { policy, ..self.source.ingredients() })
    }

    fn places(&self, level: u32) -> Places {
        if hashes(&self.source.cluster.lb) {
            return Places::Ignored;
        }
        match &self.source.cluster.localities {
            LocalityBalancing::Weighted => Places::Weighted {
                healthy: self.weighted(Availability::Healthy),
                degraded: self.weighted(Availability::Degraded),
            },
            LocalityBalancing::ZoneAware(zones) if level == 0 => self.near(zones),
            LocalityBalancing::ZoneAware(_) => Places::Ignored,
        }
    }

    fn placed(&self, health: Availability) -> Vec<Group> {
        let groups = self.places.iter().map(|place| {
            let able = |member: &Member<'_>| member.health == Some(health);
            Group::compile(
                &normalized(&kept(&place.members, &able), 1.0),
                self.source.ingredients(),
            )
        });
        groups.collect()
    }

    /// Places by their weights, less where less than the overprovisioning makes up for is healthy.
    fn weighted(&self, health: Availability) -> WeightedPlaces {
        let factor = u64::from(self.source.set.overprovisioning_factor.get());
        let weights: Vec<u64> = self
            .places
            .iter()
            .map(|place| {
                let able = factor.saturating_mul(10).saturating_mul(place.count(Some(health)));
                let able = able.checked_div(place.count(None)).unwrap_or_default().min(1000);
                place.weight.saturating_mul(able)
            })
            .collect();
        if weights.iter().all(|weight| *weight == 0) {
            return WeightedPlaces::default();
        }
        let turns = edf::cycle(&weights);
        let cursor = AtomicUsize::new(index(self.source.seed >> 7, turns.len()));
        WeightedPlaces { turns, cursor, groups: self.placed(health) }
    }

    fn near(&self, zones: &ZoneAware) -> Places {
        let healthy = Some(Availability::Healthy);
        let upstream: Vec<Upstream<'_>> = self
            .places
            .iter()
            .map(|place| Upstream {
                locality: place.locality,
                healthy: place.count(healthy),
                weight: kept(&place.members, &|member| member.health == healthy)
                    .iter()
                    .map(|member| member.weight)
                    .sum(),
            })
            .collect();
        let threshold = self.source.cluster.panic_threshold;
        let routing = ZoneRouting::compile(zones, self.source.neighbourhood, &upstream, threshold);
        let Some(routing) = routing else { return Places::Ignored };
        Places::Near(Box::new(NearPlaces {
            zones: *zones,
            routing,
            healthy: self.placed(Availability::Healthy),
            degraded: self.placed(Availability::Degraded),
        }))
    }
}

fn kept<'m, 'a>(
    members: &[&'m Member<'a>],
    keep: &dyn Fn(&Member<'_>) -> bool,
) -> Vec<&'m Member<'a>> {
    members.iter().copied().filter(|member| keep(member)).collect()
}

/// Each member with its part of `whole`, by weight.
fn normalized(members: &[&Member<'_>], whole: f64) -> Vec<(u32, f64)> {
    let sum: u64 = members.iter().map(|member| member.weight).sum();
    let part = |member: &&Member<'_>| (member.place, real(member.weight) * whole / real(sum));
    members.iter().map(part).collect()
}

#[expect(clippy::cast_precision_loss, reason = "weights and their sums are far below 2^52")]
const fn real(number: u64) -> f64 {
    number as f64
}
