//! Buckets for values that are not known before requests bring them.

use std::{
    collections::HashMap,
    hash::BuildHasher as _,
    num::NonZeroU32,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Instant,
};

use arc_swap::ArcSwap;
use iako_proxy_config::{ConnectionTokens, LocalDescriptor};

use super::LocalBucket;

/// Buckets that are kept together. A new one costs a copy of their list, so that lists stay short.
const TOGETHER_MAX: u32 = 256;

/// The buckets of one entry without all values: as many as there are values, up to a bound. What was
/// used longest ago makes room, among those that are kept together.
#[derive(Debug)]
pub(super) struct DynamicBuckets {
    entries: Vec<(String, String)>,
    tokens: ConnectionTokens,
    shadow: bool,
    begun: Instant,
    lists: Box<[ArcSwap<Made>]>,
    /// Buckets in each list.
    list_max: usize,
    hasher: foldhash::fast::RandomState,
}

type Made = HashMap<Arc<[(String, String)]>, Arc<LocalBucket>, foldhash::fast::RandomState>;

impl DynamicBuckets {
    pub(super) fn new(descriptor: &LocalDescriptor, max: NonZeroU32, now: Instant) -> Self {
        let lists = max.get().div_ceil(TOGETHER_MAX);
        let list_max = usize::try_from(max.get().div_ceil(lists)).unwrap_or(usize::MAX);
        Self {
            entries: descriptor.entries.clone(),
            tokens: descriptor.tokens,
            shadow: descriptor.shadow,
            begun: now,
            lists: (0..lists).map(|_| ArcSwap::default()).collect(),
            list_max,
            hasher: foldhash::fast::RandomState::default(),
        }
    }

    /// Whether it is about what counts as this: the same keys, and the values that are given.
    pub(super) fn is_for(&self, asked: &[(String, String)]) -> bool {
        let mut pairs = self.entries.iter().zip(asked);
        self.entries.len() == asked.len()
            && pairs.all(|((key, value), (own, told))| {
                key == own && (value.is_empty() || value == told)
            })
    }

    /// The bucket of these values; a new, full one where there is none.
    pub(super) fn bucket(&self, asked: &[(String, String)], now: Instant) -> Arc<LocalBucket> {
        let made = || {
            let bucket = LocalBucket::new(&self.tokens, now);
            Arc::new(LocalBucket { shadow: self.shadow, ..bucket })
        };
        let Some(list) = self.list(asked) else { return made() };
        let bucket = list.load().get(asked).map(Arc::clone);
        let bucket = bucket.unwrap_or_else(|| {
            let bucket = made();
            list.rcu(|known| self.with(known, asked, &bucket));
            list.load().get(asked).map_or(bucket, Arc::clone)
        });
        let since = now.saturating_duration_since(self.begun).as_nanos();
        bucket.used.store(u64::try_from(since).unwrap_or(u64::MAX), Relaxed);
        bucket
    }

    fn list(&self, asked: &[(String, String)]) -> Option<&ArcSwap<Made>> {
        let hash = usize::try_from(self.hasher.hash_one(asked) >> 32).unwrap_or(0);
        self.lists.get(hash.checked_rem(self.lists.len())?)
    }

    /// A list with one bucket more, in the place of another where it was full.
    fn with(&self, known: &Made, asked: &[(String, String)], bucket: &Arc<LocalBucket>) -> Made {
        let mut made = Made::clone(known);
        if made.contains_key(asked) {
            return made;
        }
        if made.len() >= self.list_max {
            let oldest = made.iter().min_by_key(|(_, bucket)| bucket.used.load(Relaxed));
            if let Some(oldest) = oldest.map(|(entries, _)| Arc::clone(entries)) {
                made.remove(&oldest);
            }
        }
        made.insert(asked.into(), Arc::clone(bucket));
        made
    }
}
