//! Whether a request has a token. Source: Envoy `envoy.filters.http.local_ratelimit`.

mod dynamic;

use std::{
    collections::HashMap,
    sync::{Arc, atomic::AtomicU64},
    time::Instant,
};

use iako_proxy_config::{ConnectionTokens, LocalBuckets, RateDescriptor};

use crate::TokenBucket;
use dynamic::DynamicBuckets;

/// Keys and values that a request counts as.
type Entries = Vec<(String, String)>;

/// The buckets of one filter, route or connection.
#[derive(Debug)]
pub struct LocalLimiter {
    default: Option<Arc<LocalBucket>>,
    fixed: HashMap<Entries, Arc<LocalBucket>, foldhash::fast::RandomState>,
    /// For what counts as something with any value.
    dynamic: Vec<DynamicBuckets>,
    always_default: bool,
}

/// A bucket that requests take from.
#[derive(Debug)]
pub struct LocalBucket {
    tokens: TokenBucket,
    shadow: bool,
    /// When it was used last, where buckets that are not used make room.
    used: AtomicU64,
}

/// What is asked of the buckets for one request.
#[derive(Debug, Clone, Copy)]
pub struct LocalQuestion<'q> {
    /// What the request counts as.
    pub descriptors: &'q [RateDescriptor],
    /// How many instances share the tokens; at least 1.
    pub instances: u32,
    /// The time.
    pub now: Instant,
}

/// What the buckets say of a request.
#[derive(Debug)]
pub struct LocalAnswer {
    /// Whether it has its tokens.
    pub allowed: bool,
    /// The bucket that decided; none where nothing is limited.
    pub bucket: Option<Arc<LocalBucket>>,
    /// Whether the response tells what is left; as the filter says when absent.
    pub headers: Option<bool>,
}

/// What responses tell of a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LocalLeft {
    /// The most that there are.
    pub limit: u64,
    /// How many there are.
    pub remaining: u64,
    /// Seconds until there is one.
    pub reset: u64,
}

/// A bucket that a request takes from, and by what.
struct Taken<'q> {
    bucket: Arc<LocalBucket>,
    descriptor: &'q RateDescriptor,
}

impl LocalLimiter {
    /// Full buckets.
    #[must_use]
    pub fn new(buckets: &LocalBuckets, now: Instant) -> Self {
        let is_dynamic = |entries: &Entries| entries.iter().any(|(_, value)| value.is_empty());
        let (dynamic, fixed): (Vec<_>, Vec<_>) =
            buckets.descriptors.iter().partition(|one| is_dynamic(&one.entries));
        let fixed = fixed.into_iter().map(|one| {
            let bucket = LocalBucket { shadow: one.shadow, ..LocalBucket::new(&one.tokens, now) };
            (one.entries.clone(), Arc::new(bucket))
        });
        let dynamic =
            dynamic.into_iter().map(|one| DynamicBuckets::new(one, buckets.dynamic_max, now));
        Self {
            default: buckets.default.as_ref().map(|tokens| Arc::new(LocalBucket::new(tokens, now))),
            fixed: fixed.collect(),
            dynamic: dynamic.collect(),
            always_default: buckets.always_default,
        }
    }

    /// Takes the tokens of a request: of the buckets of what it counts as, the slowest first, then of
    /// the bucket of all. What was taken before a bucket refused is not given back, and one that only
    /// counts does not spare those that follow.
    #[must_use]
    pub fn ask(&self, asked: &LocalQuestion<'_>) -> LocalAnswer {
        let found = asked.descriptors.iter().filter_map(|descriptor| {
            let bucket = self.bucket(descriptor, asked.now)?;
            Some(Taken { bucket, descriptor })
        });
        let mut found: Vec<Taken<'_>> = found.collect();
        found.sort_by(|one, other| one.rate().total_cmp(&other.rate()));
        let mut shadowed = None;
        for taken in &found {
            let hits = taken.descriptor.hits.unwrap_or(1);
            if taken.bucket.take(hits, asked) {
                continue;
            }
            let refused = LocalAnswer { allowed: false, ..taken.answer() };
            if !taken.bucket.shadow {
                return refused;
            }
            shadowed.get_or_insert(refused);
        }
        let open = self.ask_default(found.first(), asked);
        if open.allowed { shadowed.unwrap_or(open) } else { open }
    }

    /// Takes of the bucket of all, where that is to be.
    fn ask_default(&self, first: Option<&Taken<'_>>, asked: &LocalQuestion<'_>) -> LocalAnswer {
        if let Some(default) =
            self.default.as_ref().filter(|_| self.always_default || first.is_none())
        {
            let bucket = Some(Arc::clone(default));
            let of_default = |allowed| LocalAnswer { allowed, bucket, headers: None };
            if !default.take(1, asked) {
                return of_default(false);
            }
            return first.map_or_else(|| of_default(true), Taken::answer);
        }
        let open = LocalAnswer { allowed: true, bucket: None, headers: None };
        first.map_or(open, Taken::answer)
    }

    fn bucket(&self, descriptor: &RateDescriptor, now: Instant) -> Option<Arc<LocalBucket>> {
        if let Some(bucket) = self.fixed.get(&descriptor.entries) {
            return Some(Arc::clone(bucket));
        }
        let dynamic = self.dynamic.iter().find(|one| one.is_for(&descriptor.entries))?;
        Some(dynamic.bucket(&descriptor.entries, now))
    }
}

impl Taken<'_> {
    fn rate(&self) -> f64 {
        self.bucket.tokens.rate()
    }

    fn answer(&self) -> LocalAnswer {
        let bucket = Some(Arc::clone(&self.bucket));
        LocalAnswer { allowed: true, bucket, headers: self.descriptor.headers }
    }
}

impl LocalBucket {
    fn new(tokens: &ConnectionTokens, now: Instant) -> Self {
        let (max, per_fill) = (tokens.max.get(), tokens.per_fill.get());
        let tokens = TokenBucket::new(max, per_fill, tokens.interval, now);
        Self { tokens, shadow: false, used: AtomicU64::new(0) }
    }

    /// Envoy the same: who wants nothing gets nothing.
    #[expect(clippy::cast_precision_loss, reason = "more than 2^52 tokens are never there")]
    fn take(&self, hits: u64, asked: &LocalQuestion<'_>) -> bool {
        let count = hits as f64 * f64::from(asked.instances);
        hits > 0 && self.tokens.take_part(count, asked.now)
    }

    /// Whether what it refuses is only counted.
    #[must_use]
    pub const fn is_shadow(&self) -> bool {
        self.shadow
    }

    /// What responses tell.
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "none is below zero; fractions are to be cut off"
    )]
    pub fn left(&self, now: Instant) -> LocalLeft {
        let left = self.tokens.left(now);
        let reset = if left >= 1.0 { 0.0 } else { ((1.0 - left) / self.tokens.rate()).ceil() };
        LocalLeft { limit: self.tokens.max() as u64, remaining: left as u64, reset: reset as u64 }
    }
}

#[cfg(test)]
mod tests {
    use std::{num::NonZeroU32, time::Duration};

    use iako_proxy_config::LocalDescriptor;

    use super::*;

    fn tokens(max: u32, seconds: u64) -> ConnectionTokens {
        let count = |count| NonZeroU32::new(count).unwrap();
        ConnectionTokens {
            max: count(max),
            per_fill: count(1),
            interval: Duration::from_secs(seconds),
        }
    }

    fn entries(entries: &[(&str, &str)]) -> Entries {
        entries.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    fn descriptor(of: &[(&str, &str)], max: u32, seconds: u64) -> LocalDescriptor {
        LocalDescriptor { entries: entries(of), tokens: tokens(max, seconds), shadow: false }
    }

    fn buckets(
        default: Option<ConnectionTokens>,
        descriptors: Vec<LocalDescriptor>,
    ) -> LocalBuckets {
        LocalBuckets {
            default,
            descriptors,
            always_default: true,
            dynamic_max: NonZeroU32::new(2).unwrap(),
            shared_by_cluster: false,
        }
    }

    struct Asker {
        limiter: LocalLimiter,
        now: Instant,
    }

    impl Asker {
        fn new(buckets: &LocalBuckets) -> Self {
            #[expect(clippy::disallowed_methods, reason = "any time to count from")]
            let now = Instant::now();
            Self { limiter: LocalLimiter::new(buckets, now), now }
        }

        fn asks(&mut self, of: &[&[(&str, &str)]]) -> LocalAnswer {
            self.now += Duration::from_millis(1);
            let descriptors: Vec<_> = of
                .iter()
                .map(|one| RateDescriptor { entries: entries(one), ..Default::default() })
                .collect();
            let asked = LocalQuestion { descriptors: &descriptors, instances: 1, now: self.now };
            self.limiter.ask(&asked)
        }

        fn passes(&mut self, of: &[&[(&str, &str)]]) -> bool {
            self.asks(of).allowed
        }
    }

    #[test]
    fn the_slowest_bucket_is_asked_first_and_spares_the_others() {
        let own = [("a", "1")];
        let other = [("b", "1")];
        let mut asker = Asker::new(&buckets(
            Some(tokens(9, 1000)),
            vec![descriptor(&other, 2, 1000), descriptor(&own, 1, 5000)],
        ));
        assert!(asker.passes(&[&other, &own]));
        let refused = asker.asks(&[&other, &own]);
        assert!(!refused.allowed);
        assert_eq!(refused.bucket.unwrap().left(asker.now).limit, 1);
        assert!(asker.passes(&[&other]), "the refusal took nothing of it");
        assert!(!asker.passes(&[&other]));
    }

    #[test]
    fn the_bucket_of_all_is_for_all_unless_told_otherwise() {
        let own = [("a", "1")];
        let mut settings = buckets(Some(tokens(1, 1000)), vec![descriptor(&own, 5, 1000)]);
        let mut asker = Asker::new(&settings);
        let first = asker.asks(&[&own]);
        assert_eq!(first.bucket.unwrap().left(asker.now).limit, 5);
        assert!(!asker.passes(&[&own]));
        assert!(!asker.passes(&[]));
        settings.always_default = false;
        let mut asker = Asker::new(&settings);
        assert!(asker.passes(&[&own]) && asker.passes(&[&own]));
        assert!(asker.passes(&[]) && !asker.passes(&[]));
    }

    #[test]
    fn any_value_has_a_bucket_and_the_one_used_longest_ago_makes_room() {
        let any = [("user", ""), ("path", "p")];
        let mut asker = Asker::new(&buckets(None, vec![descriptor(&any, 1, 1000)]));
        fn user(name: &str) -> [(&str, &str); 2] {
            [("user", name), ("path", "p")]
        }
        assert!(asker.passes(&[&user("a")]) && !asker.passes(&[&user("a")]));
        assert!(asker.passes(&[&user("b")]));
        assert!(!asker.passes(&[&user("a")]));
        assert!(asker.passes(&[&user("c")]), "takes the place of b");
        assert!(!asker.passes(&[&user("a")]));
        assert!(asker.passes(&[&user("b")]), "begins anew");
        let elsewhere = [("user", "a"), ("path", "other")];
        assert!(asker.asks(&[&elsewhere]).bucket.is_none());
    }

    #[test]
    fn instances_share_and_what_is_left_is_told() {
        let limiter = Asker::new(&buckets(Some(tokens(4, 10)), Vec::new()));
        let asked = LocalQuestion { descriptors: &[], instances: 3, now: limiter.now };
        let first = limiter.limiter.ask(&asked);
        assert!(first.allowed && !limiter.limiter.ask(&asked).allowed);
        let left = first.bucket.unwrap().left(limiter.now);
        assert_eq!(left, LocalLeft { limit: 4, remaining: 1, reset: 0 });
    }
}
