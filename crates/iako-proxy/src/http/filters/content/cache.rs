//! Responses that are kept in memory. Looking one up and keeping one take no lock: a slot is a pointer
//! that is exchanged.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use arc_swap::ArcSwapOption;
use bytes::{Bytes, BytesMut};
use foldhash::fast::FixedState;
use iako_http::{BodyEvent, Fields, FieldsBuilder, HeaderEdits, Known, NameRef, edited_fields};
use iako_proxy_config::Cache;
use iako_traffic::{
    CacheControl, CacheLookup, CachedHead, Headers, RequestHead, cache_key, cache_lookup,
};

use super::compressor::joined;

/// Responses that one filter keeps.
const SLOTS: usize = 4096;

/// Slots in which a response may lie; of those the one that was used least lately makes room.
const WAYS: usize = 4;

/// Bytes of what one filter keeps. Envoy's simple cache has no bound.
pub(crate) const STORE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Content of one response that is kept, unless the filter sets less.
pub(crate) const KEPT_CONTENT_BYTES_MAX: usize = 8 * 1024 * 1024;

/// A response that is kept, or the mark that there are several for one resource.
#[derive(Debug)]
pub(crate) struct Kept {
    key: String,
    /// Fields of requests by which there are several; this is only the mark then.
    varies: Vec<String>,
    pub(crate) status: u16,
    pub(crate) fields: Fields,
    pub(crate) body: Bytes,
    /// Whether the length of its content was announced.
    pub(crate) has_length: bool,
    /// When it came, in seconds of Unix time.
    pub(crate) received: u64,
    /// When it was used last, on the store's own count.
    used: AtomicU64,
}

impl Kept {
    fn bytes(&self) -> u64 {
        let fields = self.fields.iter().map(|field| field.name.len() + field.value.len());
        let all = self.key.len() + self.body.len() + fields.sum::<usize>() + size_of::<Self>();
        u64::try_from(all).unwrap_or(u64::MAX)
    }

    /// The head, as decisions look at it.
    pub(crate) fn head(&self) -> CachedHead<'_> {
        CachedHead { status: self.status, headers: self }
    }
}

impl Headers for Kept {
    fn value(&self, name: &str, nth: usize) -> Option<&[u8]> {
        let name = NameRef::from(name);
        self.fields.iter().filter(|field| field.is(name)).nth(nth).map(|field| field.value)
    }

    fn each(&self, visit: &mut dyn FnMut(&str, &[u8])) {
        for field in self.fields.iter() {
            if let Ok(name) = std::str::from_utf8(field.name) {
                visit(name, field.value);
            }
        }
    }
}

/// What one filter keeps.
struct Store {
    slots: Box<[ArcSwapOption<Kept>]>,
    bytes: AtomicU64,
    uses: AtomicU64,
    hand: AtomicUsize,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

impl Store {
    fn new() -> Self {
        Self {
            slots: (0..SLOTS).map(|_| ArcSwapOption::empty()).collect(),
            bytes: AtomicU64::new(0),
            uses: AtomicU64::new(0),
            hand: AtomicUsize::new(0),
        }
    }

    fn ways(&self, key: &str) -> &[ArcSwapOption<Kept>] {
        use std::hash::BuildHasher as _;
        let hash = usize::try_from(FixedState::default().hash_one(key)).unwrap_or(usize::MAX);
        let first = hash % (SLOTS / WAYS) * WAYS;
        self.slots.get(first..first + WAYS).unwrap_or_default()
    }

    fn find(&self, key: &str) -> Option<Arc<Kept>> {
        let found = self
            .ways(key)
            .iter()
            .find_map(|slot| slot.load().as_ref().filter(|kept| kept.key == key).map(Arc::clone))?;
        found.used.store(self.uses.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
        Some(found)
    }

    fn remove(&self, key: &str) {
        for slot in self.ways(key) {
            let is_meant = slot.load().as_ref().is_some_and(|kept| kept.key == key);
            if is_meant {
                self.let_go(slot.swap(None));
            }
        }
    }

    fn let_go(&self, kept: Option<Arc<Kept>>) {
        if let Some(kept) = kept {
            self.bytes.fetch_sub(kept.bytes(), Ordering::Relaxed);
        }
    }

    fn keep(&self, kept: Kept) {
        let bytes = kept.bytes();
        if bytes > STORE_BYTES_MAX as u64 / 2 {
            return;
        }
        kept.used.store(self.uses.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
        let ways = self.ways(&kept.key);
        let rank = |slot: &&ArcSwapOption<Kept>| match slot.load().as_ref() {
            Some(old) if old.key == kept.key => 0,
            None => 1,
            Some(old) => old.used.load(Ordering::Relaxed).saturating_add(2),
        };
        let Some(slot) = ways.iter().min_by_key(rank) else { return };
        self.let_go(slot.swap(None));
        // Slots are emptied in turn until there is room.
        for _ in 0..SLOTS {
            if self.bytes.load(Ordering::Relaxed).saturating_add(bytes) <= STORE_BYTES_MAX as u64 {
                break;
            }
            let hand = self.hand.fetch_add(1, Ordering::Relaxed) % SLOTS;
            self.let_go(self.slots.get(hand).and_then(|slot| slot.swap(None)));
        }
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.let_go(slot.swap(Some(Arc::new(kept))));
    }
}

/// A cache, compiled.
#[derive(Debug)]
pub(crate) struct CacheStep {
    pub(crate) settings: Cache,
    store: Arc<Store>,
}

/// What a cache has for a request.
#[derive(Debug)]
pub(crate) enum Lookup {
    /// It has nothing to do with it.
    Pass,
    /// It changes the resource.
    Changes(String),
    /// Nothing; the response may be kept.
    Miss(String),
    /// Nothing, and the server is not to be asked.
    Forbidden,
    /// This, so many seconds old.
    Fresh(Arc<Kept>, u64),
    /// This, if the server agrees.
    Ask(Arc<Kept>, String),
}

/// What a cache remembers of a request.
#[derive(Debug)]
pub(crate) enum CacheMark {
    /// The response may be kept under this key.
    Keep(String),
    /// The server was asked about this.
    Asked(Arc<Kept>, String),
    /// What is kept under this key is let go when the server agrees.
    Changes(String),
}

impl CacheStep {
    pub(crate) fn compile(settings: &Cache) -> Self {
        Self { settings: settings.clone(), store: Arc::new(Store::new()) }
    }

    /// Looks for a response.
    pub(crate) fn look(&self, head: &RequestHead<'_>, now: u64) -> Lookup {
        let wishes = match cache_lookup(&self.settings, head) {
            CacheLookup::Pass => return Lookup::Pass,
            CacheLookup::Changes => return Lookup::Changes(cache_key(&self.settings.key, head)),
            CacheLookup::Look(wishes) => wishes,
        };
        let key = cache_key(&self.settings.key, head);
        let Some(kept) = self.find(&key, head) else { return missed(wishes, key) };
        let age = kept.head().age(kept.received, now);
        if !kept.head().needs_validation(&wishes, age) {
            return Lookup::Fresh(kept, age);
        }
        if wishes.only_if_cached { Lookup::Forbidden } else { Lookup::Ask(kept, key) }
    }

    fn find(&self, key: &str, head: &RequestHead<'_>) -> Option<Arc<Kept>> {
        let found = self.store.find(key)?;
        if found.varies.is_empty() {
            return Some(found);
        }
        self.store.find(&varied(key, &found.varies, head.headers))
    }

    /// Lets go of what is kept of a resource.
    pub(crate) fn forget(&self, key: &str) {
        self.store.remove(key);
    }

    /// Begins to keep a response, if it may be.
    pub(crate) fn keep(
        &self,
        key: &str,
        request: &dyn Headers,
        response: Arriving<'_>,
    ) -> Option<Keep> {
        let head = CachedHead { status: response.status, headers: response.view };
        let varies = head.vary(&self.settings.vary_allowed).filter(|_| head.may_be_kept())?;
        let own = u64::from(self.settings.body_bytes_max);
        let bytes_max = if own == 0 { KEPT_CONTENT_BYTES_MAX as u64 } else { own };
        if response.length.is_some_and(|length| length > bytes_max) {
            return None;
        }
        let own_key =
            if varies.is_empty() { key.to_owned() } else { varied(key, &varies, request) };
        if !varies.is_empty() {
            self.store.keep(mark(key.to_owned(), varies));
        }
        Some(Keep {
            store: Arc::clone(&self.store),
            kept: Some(Kept {
                key: own_key,
                varies: Vec::new(),
                status: response.status,
                fields: fields_of(response.sent, response.edits),
                body: Bytes::new(),
                has_length: response.length.is_some(),
                received: response.now,
                used: AtomicU64::new(0),
            }),
            body: BytesMut::new(),
            bytes_max,
        })
    }

    /// What is kept, after the server said that it still holds (RFC 9111 §4.3.4).
    pub(crate) fn renewed(
        &self,
        old: &Kept,
        sent: &Fields,
        edits: &HeaderEdits,
        now: u64,
    ) -> Arc<Kept> {
        let mut fields = FieldsBuilder::with_capacity(1024);
        let spared = [Known::ContentLength, Known::ContentEncoding, Known::TransferEncoding];
        let is_spared = |known: Option<Known>| known.is_some_and(|known| spared.contains(&known));
        let news: Vec<_> =
            edited_fields(sent, edits).filter(|field| !is_spared(field.known)).collect();
        for field in old.fields.iter() {
            if !news.iter().any(|new| new.name == field.name) {
                fields.push(NameRef::from(field.name), field.value);
            }
        }
        for field in news {
            fields.push(NameRef::from(field.name), field.value);
        }
        let kept = |fields| Kept {
            key: old.key.clone(),
            varies: Vec::new(),
            status: old.status,
            fields,
            body: old.body.clone(),
            has_length: old.has_length,
            received: now,
            used: AtomicU64::new(0),
        };
        let fields = fields.build();
        self.store.keep(kept(fields.clone()));
        Arc::new(kept(fields))
    }
}

fn missed(wishes: CacheControl, key: String) -> Lookup {
    if wishes.only_if_cached {
        return Lookup::Forbidden;
    }
    if wishes.no_store { Lookup::Pass } else { Lookup::Miss(key) }
}

fn mark(key: String, varies: Vec<String>) -> Kept {
    Kept {
        key,
        varies,
        status: 200,
        fields: Fields::default(),
        body: Bytes::new(),
        has_length: true,
        received: 0,
        used: AtomicU64::new(0),
    }
}

/// The key of one of several responses.
fn varied(key: &str, varies: &[String], request: &dyn Headers) -> String {
    let mut key = key.to_owned();
    for name in varies {
        key.push('\n');
        key.push_str(name);
        for value in (0..).map_while(|nth| request.value(name, nth)) {
            key.push('\r');
            key.push_str(&String::from_utf8_lossy(value));
        }
    }
    key
}

fn fields_of(sent: &Fields, edits: &HeaderEdits) -> Fields {
    let mut fields = FieldsBuilder::with_capacity(1024);
    for field in
        edited_fields(sent, edits).filter(|field| field.known != Some(Known::ContentLength))
    {
        fields.push(NameRef::from(field.name), field.value);
    }
    fields.build()
}

/// A response that comes.
#[derive(Clone, Copy)]
pub(crate) struct Arriving<'a> {
    pub(crate) status: u16,
    pub(crate) sent: &'a Fields,
    pub(crate) edits: &'a HeaderEdits,
    pub(crate) view: &'a dyn Headers,
    /// How much content was announced.
    pub(crate) length: Option<u64>,
    /// Seconds of Unix time.
    pub(crate) now: u64,
}

/// Keeps content while it passes.
pub(crate) struct Keep {
    store: Arc<Store>,
    /// What it becomes; none once it is given up.
    kept: Option<Kept>,
    body: BytesMut,
    bytes_max: u64,
}

impl fmt::Debug for Keep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keep").field("bytes", &self.body.len()).finish_non_exhaustive()
    }
}

impl Keep {
    /// Looks at an event. What does not end is not kept.
    pub(crate) fn note(&mut self, event: &BodyEvent) {
        match event {
            BodyEvent::Data(data) => {
                if (self.body.len() + data.len()) as u64 > self.bytes_max {
                    self.kept = None;
                    self.body = BytesMut::new();
                } else if self.kept.is_some() {
                    self.body.extend_from_slice(data);
                }
            }
            // Trailers are not kept, and what has some is not whole without them.
            BodyEvent::Trailers(_) => self.kept = None,
            BodyEvent::End => {
                if let Some(kept) = self.kept.take() {
                    let body = std::mem::take(&mut self.body).freeze();
                    self.store.keep(Kept { body, ..kept });
                }
            }
        }
    }
}

/// Fields by which the server is asked whether what is kept still holds (RFC 9111 §4.3.1).
pub(crate) fn ask(kept: &Kept, edits: &mut HeaderEdits) {
    let value = |name: &str| kept.fields.shared(NameRef::from(name));
    let mut set = |name: &[u8], value: Bytes| {
        if let Ok(name) = iako_http::FieldName::parse(name) {
            edits.set(name, iako_http::FieldValue::sanitized(value));
        }
    };
    if let Some(etag) = value("etag") {
        set(b"if-none-match", etag);
    }
    if let Some(date) = value("last-modified").or_else(|| value("date")) {
        set(b"if-modified-since", date);
    }
}

/// What the request asks for as a list.
pub(crate) fn range_of(sent: &Fields, edits: &HeaderEdits) -> Option<String> {
    joined(edits, sent, Known::Range)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(key: &str, bytes: usize) -> Kept {
        Kept { body: vec![0; bytes].into(), ..mark(key.to_owned(), Vec::new()) }
    }

    #[test]
    fn a_store_keeps_no_more_than_its_bound() {
        let store = Store::new();
        let size = 1024 * 1024;
        for number in 0..200 {
            store.keep(kept(&format!("key {number}"), size));
            assert!(store.bytes.load(Ordering::Relaxed) <= STORE_BYTES_MAX as u64);
        }
        assert!(store.find("key 199").is_some());
        let found =
            (0..200).filter(|number| store.find(&format!("key {number}")).is_some()).count();
        assert!((32..64).contains(&found), "{found}");
        let held: u64 =
            store.slots.iter().filter_map(|slot| slot.load_full()).map(|it| it.bytes()).sum();
        assert_eq!(held, store.bytes.load(Ordering::Relaxed));
    }

    #[test]
    fn the_last_response_of_a_resource_counts_and_can_be_forgotten() {
        let store = Store::new();
        store.keep(kept("a", 1));
        store.keep(kept("a", 2));
        assert_eq!(store.find("a").map(|kept| kept.body.len()), Some(2));
        store.remove("a");
        assert!(store.find("a").is_none());
        assert_eq!(store.bytes.load(Ordering::Relaxed), 0);
    }
}
