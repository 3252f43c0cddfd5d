//! A set of instances among which a policy chooses.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use iako_proxy_config::{ConsistentHashing, LbPolicy, LeastRequest, PeakEwma};

use super::{
    balancer::BalancedEndpoint,
    bounded::{Bounds, Busy},
    deadlines::Deadlines,
    edf,
    maglev::Maglev,
    measure::Moment,
    ring::Ring,
};

/// Instances that stand for each other, made ready for one policy.
#[derive(Debug, Default)]
pub(super) struct Group {
    /// Places in the balancer's list.
    members: Vec<u32>,
    /// Where weights differ: one cycle of weighted turns, as places in the balancer's list.
    turns: Vec<u32>,
    cursor: AtomicUsize,
    /// Turns by weights that change: with time, with open requests, with reports.
    deadlines: Option<Deadlines>,
    /// Until when new instances begin slowly.
    slow_until: Moment,
    /// Whether the weights that were configured differ.
    is_weighted: bool,
    table: Table,
}

#[derive(Debug, Default)]
enum Table {
    #[default]
    None,
    Ring(Ring, Vec<f64>),
    Maglev(Maglev, Vec<f64>),
}

/// What a choice looks at.
pub(super) struct Choice<'a> {
    pub(super) endpoints: &'a [BalancedEndpoint],
    pub(super) policy: &'a LbPolicy,
    pub(super) hash: Option<u64>,
    pub(super) excluded: &'a [u32],
    pub(super) tried_priorities: &'a [u32],
    pub(super) now: Moment,
}

/// What a group is compiled from.
#[derive(Clone, Copy)]
pub(super) struct Ingredients<'a> {
    pub(super) endpoints: &'a [BalancedEndpoint],
    pub(super) policy: &'a LbPolicy,
    /// Where turns begin, so that many proxies do not all begin with the same instance.
    pub(super) seed: u64,
    pub(super) now: Moment,
}

impl Choice<'_> {
    fn is_free(&self, place: u32) -> bool {
        !self.excluded.contains(&place)
    }

    fn active(&self, place: u32) -> u32 {
        find(self.endpoints, place).map_or(0, |endpoint| endpoint.state.active_requests())
    }

    /// The weight that an instance has in this moment.
    fn weight(&self, place: u32) -> f64 {
        find(self.endpoints, place)
            .map_or(1.0, |endpoint| weight_now(endpoint, self.policy, self.now))
    }
}

/// The weight that an instance has at a moment: by configuration or by reports, less while it is
/// new, less the more requests are open.
fn weight_now(endpoint: &BalancedEndpoint, policy: &LbPolicy, now: Moment) -> f64 {
    let measures = &endpoint.state.measures;
    let configured = endpoint.endpoint.weight.get();
    let weight = match policy {
        LbPolicy::ClientWeighted(_) => f64::from(measures.weight().unwrap_or(configured)),
        LbPolicy::LeastRequest(LeastRequest { active_request_bias, .. }) => {
            let open = f64::from(endpoint.state.active_requests()) + 1.0;
            f64::from(configured) / open.powf(active_request_bias.value)
        }
        LbPolicy::RoundRobin(_)
        | LbPolicy::Random
        | LbPolicy::RingHash(_)
        | LbPolicy::Maglev(_)
        | LbPolicy::PeakEwma(_)
        | LbPolicy::PickFirst(_)
        | LbPolicy::ClusterProvided => f64::from(configured),
    };
    policy.slow_start().map_or(weight, |slow| weight * measures.slow_factor(slow, now))
}

impl Group {
    /// Compiles members, given with their part of the whole: for consistent hashing, in which only
    /// these parts count.
    pub(super) fn compile(members: &[(u32, f64)], from: Ingredients<'_>) -> Self {
        let places: Vec<u32> = members.iter().map(|(place, _)| *place).collect();
        let hashed = || {
            let key = |place: u32| find(from.endpoints, place).map_or("", |one| &one.hash_key);
            let with_key = |(place, share): &(u32, f64)| (key(*place).to_owned(), *share);
            members.iter().map(with_key).collect::<Vec<_>>()
        };
        let shares = || members.iter().map(|(_, share)| *share).collect();
        let table = match from.policy {
            _ if members.is_empty() => Table::None,
            LbPolicy::RingHash(ring) => Table::Ring(Ring::build(&hashed(), ring), shares()),
            LbPolicy::Maglev(maglev) => Table::Maglev(Maglev::build(&hashed(), maglev), shares()),
            LbPolicy::RoundRobin(_)
            | LbPolicy::LeastRequest(_)
            | LbPolicy::Random
            | LbPolicy::ClientWeighted(_)
            | LbPolicy::PeakEwma(_)
            | LbPolicy::PickFirst(_)
            | LbPolicy::ClusterProvided => Table::None,
        };
        let mut group = Self { members: places, table, ..Self::default() };
        group.order(from);
        group
    }

    /// Prepares turns.
    fn order(&mut self, from: Ingredients<'_>) {
        let one = |place: &u32| find(from.endpoints, *place);
        let weights: Vec<u64> = self
            .members
            .iter()
            .map(|place| one(place).map_or(1, |one| u64::from(one.endpoint.weight.get())))
            .collect();
        self.is_weighted = weights.windows(2).any(|pair| pair.first() != pair.last());
        let in_turn = matches!(from.policy, LbPolicy::RoundRobin(_) | LbPolicy::ClusterProvided);
        if in_turn && self.is_weighted {
            let place = |position: u32| self.members.get(usize::try_from(position).ok()?).copied();
            self.turns = edf::cycle(&weights).into_iter().filter_map(place).collect();
        }
        if let LbPolicy::PickFirst(policy) = from.policy
            && policy.shuffle
        {
            self.members.sort_by_key(|place| mixed(from.seed, *place));
        }
        if let Some(slow) = from.policy.slow_start() {
            let until = self.members.iter().filter_map(one);
            let until = until.map(|one| one.state.measures.slow_until(slow)).max();
            self.slow_until = until.unwrap_or_default();
        }
        let changes = match from.policy {
            LbPolicy::ClientWeighted(_) => true,
            LbPolicy::LeastRequest(_) => self.is_weighted || self.slow_until > from.now,
            LbPolicy::RoundRobin(_) => self.slow_until > from.now,
            LbPolicy::Random
            | LbPolicy::RingHash(_)
            | LbPolicy::Maglev(_)
            | LbPolicy::PeakEwma(_)
            | LbPolicy::PickFirst(_)
            | LbPolicy::ClusterProvided => false,
        };
        if changes {
            let deadlines = Deadlines::new(self.weights(from));
            // As if some had been chosen already: proxies begin at different places.
            for _ in 0..index(from.seed, self.members.len()) {
                let weight = |at| self.weight_at(at, from);
                let _chosen: Option<usize> = deadlines.take(|_| true, weight);
            }
            self.deadlines = Some(deadlines);
        }
        self.cursor = AtomicUsize::new(index(from.seed, self.turns().len()));
    }

    fn weights(&self, from: Ingredients<'_>) -> impl Iterator<Item = f64> {
        (0..self.members.len()).map(move |at| self.weight_at(at, from))
    }

    fn weight_at(&self, at: usize, from: Ingredients<'_>) -> f64 {
        let place = self.members.get(at).copied();
        let one = place.and_then(|place| find(from.endpoints, place));
        one.map_or(1.0, |one| weight_now(one, from.policy, from.now))
    }

    /// Has turns begin anew, after weights have changed.
    pub(super) fn restart(&self, from: Ingredients<'_>) {
        if let Some(deadlines) = &self.deadlines {
            deadlines.restart(self.weights(from));
        }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Each member as often as its weight says, where turns are taken without regard to time.
    const fn turns(&self) -> &[u32] {
        if self.turns.is_empty() { self.members.as_slice() } else { self.turns.as_slice() }
    }

    /// One of the members, not an excluded one as long as there is another.
    pub(super) fn choose(&self, choice: &Choice<'_>, draw: &mut dyn FnMut() -> u64) -> Option<u32> {
        let chosen = self.by_policy(choice, draw)?;
        if choice.is_free(chosen) {
            return Some(chosen);
        }
        // A retry prefers any instance that it has not tried over the policy's choice.
        let turns = self.turns();
        let (before, after) = turns.split_at_checked(index(draw(), turns.len()))?;
        let free = after.iter().chain(before).copied().find(|place| choice.is_free(*place));
        free.or(Some(chosen))
    }

    fn by_policy(&self, choice: &Choice<'_>, draw: &mut dyn FnMut() -> u64) -> Option<u32> {
        match choice.policy {
            LbPolicy::RingHash(_) | LbPolicy::Maglev(_) => self.by_hash(choice, draw),
            LbPolicy::LeastRequest(policy) => match &self.deadlines {
                Some(deadlines) if self.is_weighted || choice.now < self.slow_until => {
                    self.due(deadlines, choice)
                }
                Some(_) | None if policy.full_scan => self.least_busy(choice, draw),
                Some(_) | None => self.less_busy(choice, policy.choices.get(), draw),
            },
            LbPolicy::Random => self.any(draw()),
            LbPolicy::PeakEwma(policy) => self.faster(choice, policy, draw()),
            LbPolicy::PickFirst(_) => {
                let free = self.members.iter().find(|place| choice.is_free(**place));
                free.or_else(|| self.members.first()).copied()
            }
            LbPolicy::ClientWeighted(_) => {
                self.deadlines.as_ref().and_then(|deadlines| self.due(deadlines, choice))
            }
            LbPolicy::RoundRobin(_) | LbPolicy::ClusterProvided => match &self.deadlines {
                Some(deadlines) if choice.now < self.slow_until => self.due(deadlines, choice),
                Some(_) | None => self.next_turn(),
            },
        }
    }

    fn next_turn(&self) -> Option<u32> {
        let turns = self.turns();
        let turn = self.cursor.fetch_add(1, Relaxed).checked_rem(turns.len())?;
        turns.get(turn).copied()
    }

    fn any(&self, draw: u64) -> Option<u32> {
        self.members.get(index(draw, self.members.len())).copied()
    }

    fn member(&self, position: usize) -> Option<u32> {
        self.members.get(position).copied()
    }

    fn due(&self, deadlines: &Deadlines, choice: &Choice<'_>) -> Option<u32> {
        let all_excluded = self.members.iter().all(|place| !choice.is_free(*place));
        let free = |at| all_excluded || self.member(at).is_some_and(|place| choice.is_free(place));
        let weight = |at| self.member(at).map_or(1.0, |place| choice.weight(place));
        self.member(deadlines.take(free, weight)?)
    }

    /// The least busy of a few taken by chance; the first of equals.
    fn less_busy(
        &self,
        choice: &Choice<'_>,
        choices: u32,
        draw: &mut dyn FnMut() -> u64,
    ) -> Option<u32> {
        let mut best: Option<(u32, u32)> = None;
        for _ in 0..choices {
            let place = self.any(draw())?;
            let active = choice.active(place);
            let is_better = best.is_none_or(|(other, least)| {
                (active < least && choice.is_free(place)) || !choice.is_free(other)
            });
            if is_better {
                best = Some((place, active));
            }
        }
        best.map(|(place, _)| place)
    }

    /// The least busy of all; any of equals.
    fn least_busy(&self, choice: &Choice<'_>, draw: &mut dyn FnMut() -> u64) -> Option<u32> {
        let mut best: Option<(u32, u32)> = None;
        let mut equals = 1_u64;
        for &place in self.members.iter().filter(|place| choice.is_free(**place)) {
            let active = choice.active(place);
            match best {
                Some((_, least)) if active > least => continue,
                Some((_, least)) if active == least => {
                    equals = equals.saturating_add(1);
                    // Each of so many equals is kept with the same chance.
                    if draw().checked_rem(equals) != Some(0) {
                        continue;
                    }
                }
                Some(_) | None => equals = 1,
            }
            best = Some((place, active));
        }
        best.map_or_else(|| self.any(draw()), |(place, _)| Some(place))
    }

    /// The faster of two taken by chance.
    fn faster(&self, choice: &Choice<'_>, policy: &PeakEwma, draw: u64) -> Option<u32> {
        let count = self.members.len();
        let first = index(draw, count);
        let step = index(draw >> 32, count.saturating_sub(1)).saturating_add(1);
        let second = first.saturating_add(step).checked_rem(count)?;
        let (first, second) = (self.member(first)?, self.member(second)?);
        let cost = |place: u32| {
            let one = find(choice.endpoints, place)?;
            Some(one.state.measures.cost(one.state.active_requests(), policy))
        };
        let takes_second =
            !choice.is_free(first) || (choice.is_free(second) && cost(second)? < cost(first)?);
        Some(if takes_second { second } else { first })
    }

    fn by_hash(&self, choice: &Choice<'_>, draw: &mut dyn FnMut() -> u64) -> Option<u32> {
        let hash = choice.hash.unwrap_or_else(draw);
        let hashing = choice.policy.hashing()?;
        match &self.table {
            Table::Ring(ring, shares) => {
                self.owner(ring.owners(hash), (hashing, shares, hash), choice)
            }
            Table::Maglev(table, shares) => {
                self.owner(table.owners(hash), (hashing, shares, hash), choice)
            }
            Table::None => None,
        }
    }

    fn owner(
        &self,
        mut owners: impl Iterator<Item = u32>,
        (hashing, shares, hash): (&ConsistentHashing, &[f64], u64),
        choice: &Choice<'_>,
    ) -> Option<u32> {
        let mut position = usize::try_from(owners.next()?).ok()?;
        if let Some(factor) = hashing.balance_factor {
            let states = choice.endpoints.iter().map(|one| one.state.active_requests());
            let active = states.fold(0, u32::saturating_add);
            let busy = |at: usize| Busy {
                active: self.member(at).map_or(0, |place| choice.active(place)),
                share: shares.get(at).copied().unwrap_or_default(),
            };
            let bounds = Bounds { factor: factor.get(), active };
            position = bounds.choose((position, hash), self.members.len(), busy);
        }
        let owner = self.member(position)?;
        // With every member excluded the whole ring need not be walked.
        let all_excluded = || self.members.iter().all(|place| !choice.is_free(*place));
        if choice.is_free(owner) || all_excluded() {
            return Some(owner);
        }
        let mut others = owners.filter_map(|position| self.member(usize::try_from(position).ok()?));
        others.find(|place| choice.is_free(*place)).or(Some(owner))
    }
}

/// The endpoint at a place of the balancer's list.
pub(super) fn find(endpoints: &[BalancedEndpoint], place: u32) -> Option<&BalancedEndpoint> {
    endpoints.get(usize::try_from(place).ok()?)
}

/// A draw as an index below `length`; 0 when there is nothing.
pub(super) fn index(draw: u64, length: usize) -> usize {
    let length = u64::try_from(length).unwrap_or_default();
    draw.checked_rem(length).and_then(|index| usize::try_from(index).ok()).unwrap_or_default()
}

/// A number that is spread evenly, for an order of one's own.
pub(super) fn mixed(seed: u64, place: u32) -> u64 {
    xxhash_rust::xxh64::xxh64(&place.to_le_bytes(), seed)
}
