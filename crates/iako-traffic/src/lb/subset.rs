//! Choosing among a part of the instances by their metadata.

use std::collections::HashMap;

use iako_proxy_config::{
    Endpoint, SelectorFallback, SubsetFallback, SubsetSelection, SubsetSelector,
};
use xxhash_rust::xxh64::xxh64;

use super::{
    balancer::BalancedEndpoint,
    group::Choice,
    pick::{PickNotes, PickRequest},
    view::{PlaceWeights, Source, View},
};

type Pair = (String, String);
type Found = Option<(u32, PickNotes)>;

/// The subsets of a cluster.
#[derive(Debug)]
pub(super) struct Subsets {
    selection: SubsetSelection,
    /// By a hash of keys and values that does not depend on their order.
    by_hash: HashMap<u64, Vec<Subset>>,
    /// Every instance, with the weights that places have in subsets.
    any: Option<View>,
    default: Option<View>,
}

#[derive(Debug)]
struct Subset {
    pairs: Vec<Pair>,
    members: Members,
}

#[derive(Debug)]
enum Members {
    /// Those of a view.
    Many(Box<View>),
    /// One, whatever its health.
    One(u32),
}

/// The metadata that a request asks for, or a part of it.
#[derive(Debug, Clone, Copy)]
struct Criteria<'a> {
    pairs: &'a [Pair],
    /// Only these keys count; all when absent.
    keys: Option<&'a [String]>,
}

impl<'a> Criteria<'a> {
    const fn all(pairs: &'a [Pair]) -> Self {
        Self { pairs, keys: None }
    }

    fn iter(self) -> impl Iterator<Item = &'a Pair> {
        let counts = move |(key, _): &&Pair| self.keys.is_none_or(|keys| keys.contains(key));
        self.pairs.iter().filter(counts)
    }

    fn has(self, key: &str) -> bool {
        self.iter().any(|(own, _)| own == key)
    }
}

impl Subsets {
    pub(super) fn compile(source: Source<'_>, selection: &SubsetSelection) -> Self {
        let weights = match (selection.locality_weight_aware, selection.scale_locality_weight) {
            (false, _) => PlaceWeights::Ignored,
            (true, false) => PlaceWeights::AsGiven,
            (true, true) => PlaceWeights::Scaled,
        };
        let mut by_hash: HashMap<u64, Vec<Subset>> = HashMap::new();
        for (pairs, is_single) in groups(source, selection) {
            let criteria = Criteria::all(&pairs);
            let belongs = |one: &BalancedEndpoint| fits(&one.endpoint, criteria, selection);
            let first = || (0..).zip(source.endpoints).find(|(_, one)| belongs(one));
            let members = match first().filter(|_| is_single) {
                Some((place, _)) => Members::One(place),
                None => Members::Many(Box::new(View::compile(source, weights, &belongs))),
            };
            by_hash.entry(hash(criteria)).or_default().push(Subset { pairs, members });
        }
        let falls_back = |general: SubsetFallback, own: &SelectorFallback| {
            let mut selectors = selection.selectors.iter();
            selection.fallback == general
                || selectors.any(|selector| selector.fallback.as_ref() == Some(own))
        };
        let needs_any = falls_back(SubsetFallback::AnyEndpoint, &SelectorFallback::Any)
            || selection.panic_mode_any;
        let any = needs_any.then(|| View::compile(source, weights, &|_| true));
        let needs_default = falls_back(SubsetFallback::Default, &SelectorFallback::Default);
        let default = needs_default.then(|| {
            let pairs: Vec<Pair> = selection.default_subset.clone().into_iter().collect();
            View::compile(source, weights, &|one| {
                fits(&one.endpoint, Criteria::all(&pairs), selection)
            })
        });
        Self { selection: selection.clone(), by_hash, any, default }
    }

    /// Every view.
    pub(super) fn views(&self) -> impl Iterator<Item = &View> {
        let subsets = self.by_hash.values().flatten();
        let own = subsets.filter_map(|subset| match &subset.members {
            Members::Many(view) => Some(view.as_ref()),
            Members::One(_) => None,
        });
        own.chain(&self.any).chain(&self.default)
    }

    pub(super) fn choose(
        &self,
        request: &PickRequest<'_>,
        choice: &Choice<'_>,
        draw: &mut dyn FnMut() -> u64,
    ) -> Found {
        match request.subset_fallbacks {
            [] => self.choose_by(Criteria::all(request.subset), choice, draw),
            wanted if self.selection.metadata_fallback => {
                wanted.iter().find_map(|pairs| self.choose_by(Criteria::all(pairs), choice, draw))
            }
            // The list is a value like others, that no instance has.
            _ => self.fall_back(choice, draw),
        }
    }

    fn choose_by(
        &self,
        wanted: Criteria<'_>,
        choice: &Choice<'_>,
        draw: &mut dyn FnMut() -> u64,
    ) -> Found {
        let wanted = self.reduced(wanted);
        if let Some(subset) = self.find(wanted) {
            let found = match &subset.members {
                Members::One(place) => Some((*place, PickNotes::NONE)),
                Members::Many(view) => view.choose(choice, draw),
            };
            return found.map(|(place, notes)| (place, notes.and(PickNotes::SUBSET)));
        }
        let selector = self.selector(wanted);
        match selector.and_then(|selector| selector.fallback.as_ref()) {
            None => self.fall_back(choice, draw),
            Some(SelectorFallback::None) => None,
            Some(SelectorFallback::Any) => self.any.as_ref()?.choose(choice, draw),
            Some(SelectorFallback::Default) => self.default.as_ref()?.choose(choice, draw),
            // Fewer keys each time: this ends.
            Some(SelectorFallback::Keys(keys)) => {
                let fewer = Criteria { pairs: wanted.pairs, keys: Some(keys) };
                self.choose_by(fewer, choice, draw)
            }
        }
    }

    /// Only the keys of the first selector whose keys are all there, where more may be named.
    fn reduced<'c>(&'c self, wanted: Criteria<'c>) -> Criteria<'c> {
        if !self.selection.allow_redundant_keys {
            return wanted;
        }
        let mut selectors = self.selection.selectors.iter();
        let first = selectors.find(|one| one.keys.iter().all(|key| wanted.has(key)));
        first.map_or(wanted, |one| Criteria { pairs: wanted.pairs, keys: Some(&one.keys) })
    }

    fn find(&self, wanted: Criteria<'_>) -> Option<&Subset> {
        let count = wanted.iter().count();
        let same = |subset: &&Subset| {
            count > 0
                && subset.pairs.len() == count
                && wanted.iter().all(|pair| subset.pairs.contains(pair))
        };
        self.by_hash.get(&hash(wanted))?.iter().find(same)
    }

    /// The selector of exactly these keys.
    fn selector(&self, wanted: Criteria<'_>) -> Option<&SubsetSelector> {
        let count = wanted.iter().count();
        let same = |one: &&SubsetSelector| {
            one.keys.len() == count && one.keys.iter().all(|key| wanted.has(key))
        };
        self.selection.selectors.iter().find(same)
    }

    fn fall_back(&self, choice: &Choice<'_>, draw: &mut dyn FnMut() -> u64) -> Found {
        let view = match self.selection.fallback {
            SubsetFallback::None => return None,
            SubsetFallback::AnyEndpoint => self.any.as_ref(),
            SubsetFallback::Default => self.default.as_ref(),
        };
        if let Some((place, notes)) = view.and_then(|view| view.choose(choice, draw)) {
            return Some((place, notes.and(PickNotes::SUBSET_FALLBACK)));
        }
        let any = self.any.as_ref().filter(|_| self.selection.panic_mode_any)?;
        let (place, notes) = any.choose(choice, draw)?;
        Some((place, notes.and(PickNotes::SUBSET_PANIC)))
    }
}

/// Every group that a selector makes, once, and whether it is a single instance.
fn groups(source: Source<'_>, selection: &SubsetSelection) -> Vec<(Vec<Pair>, bool)> {
    let mut groups: Vec<(Vec<Pair>, bool)> = Vec::new();
    for selector in &selection.selectors {
        for one in source.endpoints {
            for pairs in pairs_of(&one.endpoint, selector, selection) {
                if !groups.iter().any(|(known, _)| *known == pairs) {
                    groups.push((pairs, selector.single_host));
                }
            }
        }
    }
    groups
}

/// The values that an instance has for a selector's keys; none when it lacks one. Lists stand for
/// each of their values where that is wanted.
fn pairs_of(
    endpoint: &Endpoint,
    selector: &SubsetSelector,
    selection: &SubsetSelection,
) -> Vec<Vec<Pair>> {
    let mut all: Vec<Vec<Pair>> = vec![Vec::new()];
    for key in &selector.keys {
        let values = values(endpoint, key, selection);
        all = all
            .iter()
            .flat_map(|known| {
                values.iter().map(move |value| {
                    let mut pairs = known.clone();
                    pairs.push((key.clone(), value.clone()));
                    pairs
                })
            })
            .collect();
    }
    all
}

fn values<'e>(endpoint: &'e Endpoint, key: &str, selection: &SubsetSelection) -> &'e [String] {
    let facts = &endpoint.metadata;
    match facts.lb.get(key) {
        Some(value) => std::slice::from_ref(value),
        None if selection.list_as_any => facts.lb_lists.get(key).map_or(&[], Vec::as_slice),
        None => &[],
    }
}

fn fits(endpoint: &Endpoint, wanted: Criteria<'_>, selection: &SubsetSelection) -> bool {
    wanted.iter().all(|(key, value)| values(endpoint, key, selection).contains(value))
}

fn hash(wanted: Criteria<'_>) -> u64 {
    let pairs = wanted.iter();
    pairs.fold(0, |hash, (key, value)| hash ^ xxh64(value.as_bytes(), xxh64(key.as_bytes(), 0)))
}
