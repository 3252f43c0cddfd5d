//! Tokens that several filters take from.

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
};

use iako_proxy_config::ConnectionTokens;
use iako_traffic::TokenBucket;
use parking_lot::Mutex;

/// The buckets of filters that share them, by key and settings. Asked only when configuration is
/// compiled; one that nobody uses any more is forgotten.
#[derive(Debug, Default)]
pub(crate) struct SharedTokens {
    buckets: Mutex<HashMap<Place, Weak<TokenBucket>>>,
}

/// The key, and what the tokens are.
type Place = (String, ConnectionTokens);

impl SharedTokens {
    /// The bucket of this key, a new one where there is none.
    pub(crate) fn find(
        &self,
        key: &str,
        tokens: &ConnectionTokens,
        new: impl FnOnce() -> Arc<TokenBucket>,
    ) -> Arc<TokenBucket> {
        let mut buckets = self.buckets.lock();
        buckets.retain(|_, bucket| bucket.strong_count() > 0);
        let place = (key.to_owned(), *tokens);
        if let Some(bucket) = buckets.get(&place).and_then(Weak::upgrade) {
            return bucket;
        }
        let bucket = new();
        buckets.insert(place, Arc::downgrade(&bucket));
        bucket
    }
}
