//! A set of instances among which a policy chooses.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use iako_proxy_config::LbPolicy;

use super::{balancer::BalancedEndpoint, edf, maglev::Maglev, ring::Ring};

/// Instances that stand for each other, made ready for one policy.
#[derive(Debug, Default)]
pub(super) struct Group {
    /// Places in the balancer's list.
    members: Vec<u32>,
    /// One cycle of weighted turns, as places in the balancer's list.
    turns: Vec<u32>,
    cursor: AtomicUsize,
    table: Table,
}

#[derive(Debug, Default)]
enum Table {
    #[default]
    None,
    Ring(Ring),
    Maglev(Maglev),
}

/// What a choice looks at.
pub(super) struct Choice<'a> {
    pub(super) endpoints: &'a [BalancedEndpoint],
    pub(super) policy: &'a LbPolicy,
    pub(super) hash: Option<u64>,
    pub(super) excluded: &'a [u32],
    pub(super) tried_priorities: &'a [u32],
}

impl Group {
    /// Compiles the members with their weights. `seed` is where turns begin, so that many proxies
    /// do not all begin with the same instance.
    pub(super) fn compile(
        members: &[(u32, u64)],
        endpoints: &[BalancedEndpoint],
        policy: &LbPolicy,
        seed: u64,
    ) -> Self {
        let weights: Vec<u64> = members.iter().map(|(_, weight)| *weight).collect();
        let hashed = || {
            let total: u64 = weights.iter().sum();
            #[expect(clippy::cast_precision_loss, reason = "weights are far below 2^52")]
            let share = |weight: u64| weight as f64 / total.max(1) as f64;
            let key = |place: u32| find(endpoints, place).map_or("", |endpoint| &endpoint.hash_key);
            let with_key = |(place, weight): &(u32, u64)| (key(*place).to_owned(), share(*weight));
            members.iter().map(with_key).collect::<Vec<_>>()
        };
        let table = match policy {
            _ if members.is_empty() => Table::None,
            LbPolicy::RingHash(ring) => Table::Ring(Ring::build(&hashed(), ring)),
            LbPolicy::Maglev(maglev) => Table::Maglev(Maglev::build(&hashed(), maglev)),
            LbPolicy::RoundRobin(_)
            | LbPolicy::LeastRequest(_)
            | LbPolicy::Random
            | LbPolicy::ClientWeighted(_)
            | LbPolicy::PeakEwma(_)
            | LbPolicy::PickFirst(_)
            | LbPolicy::ClusterProvided => Table::None,
        };
        let members: Vec<u32> = members.iter().map(|(place, _)| *place).collect();
        let place = |position: u32| members.get(usize::try_from(position).ok()?).copied();
        let turns: Vec<u32> = match table {
            Table::None => edf::cycle(&weights).into_iter().filter_map(place).collect(),
            Table::Ring(_) | Table::Maglev(_) => Vec::new(),
        };
        let start = index(seed, turns.len());
        Self { members, turns, cursor: AtomicUsize::new(start), table }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// One of the members, not an excluded one as long as there is another.
    pub(super) fn choose(&self, choice: &Choice<'_>, draw: &mut dyn FnMut() -> u64) -> Option<u32> {
        let free = |place: &u32| !choice.excluded.contains(place);
        let chosen = match &self.table {
            Table::Ring(ring) => {
                let hash = choice.hash.unwrap_or_else(&mut *draw);
                self.first_free(ring.owners(hash), choice)
            }
            Table::Maglev(maglev) => {
                let hash = choice.hash.unwrap_or_else(&mut *draw);
                self.first_free(maglev.owners(hash), choice)
            }
            Table::None => match choice.policy {
                LbPolicy::LeastRequest(least) => self.least_busy(choice, least.choices.get(), draw),
                LbPolicy::Random => self.turns.get(index(draw(), self.turns.len())).copied(),
                LbPolicy::RoundRobin(_)
                | LbPolicy::RingHash(_)
                | LbPolicy::Maglev(_)
                | LbPolicy::ClientWeighted(_)
                | LbPolicy::PeakEwma(_)
                | LbPolicy::PickFirst(_)
                | LbPolicy::ClusterProvided => self.turns.get(self.next_turn()).copied(),
            },
        };
        // A retry prefers any instance that it has not tried over the policy's choice.
        match chosen {
            Some(place) if !free(&place) => {
                let start = index(draw(), self.turns.len());
                let (before, after) = self.turns.split_at_checked(start)?;
                after.iter().chain(before).copied().find(free).or(chosen)
            }
            Some(_) | None => chosen,
        }
    }

    fn next_turn(&self) -> usize {
        let turn = self.cursor.fetch_add(1, Relaxed);
        turn.checked_rem(self.turns.len()).unwrap_or_default()
    }

    fn first_free(
        &self,
        mut positions: impl Iterator<Item = u32>,
        choice: &Choice<'_>,
    ) -> Option<u32> {
        let place = |position: u32| self.members.get(usize::try_from(position).ok()?).copied();
        let owner = positions.next().and_then(place)?;
        if !choice.excluded.contains(&owner) {
            return Some(owner);
        }
        // With every member excluded the whole ring need not be walked.
        let all_excluded = self.members.iter().all(|place| choice.excluded.contains(place));
        if all_excluded {
            return Some(owner);
        }
        positions.filter_map(place).find(|place| !choice.excluded.contains(place)).or(Some(owner))
    }

    /// The least busy of a few drawn by weight; busy in proportion to the weight.
    fn least_busy(
        &self,
        choice: &Choice<'_>,
        choices: u32,
        draw: &mut dyn FnMut() -> u64,
    ) -> Option<u32> {
        let mut best: Option<(u32, u64, u64)> = None;
        for _ in 0..choices.max(2) {
            let place = *self.turns.get(index(draw(), self.turns.len()))?;
            if choice.excluded.contains(&place) && best.is_some() {
                continue;
            }
            let Some(endpoint) = find(choice.endpoints, place) else { continue };
            let active = u64::from(endpoint.state.active_requests());
            let weight = u64::from(endpoint.endpoint.weight.get());
            let less_busy = best.is_none_or(|(other, other_active, other_weight)| {
                active.saturating_mul(other_weight) < other_active.saturating_mul(weight)
                    || choice.excluded.contains(&other)
            });
            if less_busy {
                best = Some((place, active, weight));
            }
        }
        best.map(|(place, ..)| place)
    }
}

/// The endpoint at a place of the balancer's list.
pub(super) fn find(endpoints: &[BalancedEndpoint], place: u32) -> Option<&BalancedEndpoint> {
    endpoints.get(usize::try_from(place).ok()?)
}

/// A draw as an index below `length`; 0 when there is nothing.
fn index(draw: u64, length: usize) -> usize {
    let length = u64::try_from(length).unwrap_or_default();
    draw.checked_rem(length).and_then(|index| usize::try_from(index).ok()).unwrap_or_default()
}
