//! What is told: resources, sets of them, and the place where they are published.

use std::{collections::BTreeMap, fmt, sync::Arc};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::watch;
use xxhash_rust::xxh64::{Xxh64, xxh64};

use crate::TypeUrl;

/// A version of a resource or of a list; compared for equality only.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Version(Arc<str>);

impl Version {
    /// The version as it stands in messages.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A number that stands for it, as Envoy shows it among its statistics.
    #[must_use]
    pub fn number(&self) -> u64 {
        xxh64(self.0.as_bytes(), 0)
    }

    /// The version of a list: changes whenever a name or a version in it does.
    pub(crate) fn of_list<'a>(list: impl Iterator<Item = (&'a str, &'a Self)>) -> Self {
        let mut hash = Xxh64::new(0);
        for (name, version) in list {
            // Neither names nor versions hold zero octets in valid messages.
            for part in [name.as_bytes(), &[0], version.0.as_bytes(), &[0]] {
                hash.update(part);
            }
        }
        Self::of_hash(hash.digest())
    }

    fn of_hash(hash: u64) -> Self {
        Self(format!("{hash:016x}").into())
    }
}

impl From<&str> for Version {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One resource: an encoded message of its type. Cheap to clone.
#[derive(Clone, PartialEq, Eq)]
pub struct Resource {
    /// Its name, unique within its type.
    pub name: Arc<str>,
    /// Its version.
    pub version: Version,
    /// The encoded message, as the value of a `google.protobuf.Any`.
    pub body: Bytes,
    /// For a cluster whose endpoints have another name than itself: that name. A changed cluster
    /// waits for them, so they are pushed after it.
    pub endpoints: Option<Arc<str>>,
}

impl Resource {
    /// A resource whose version is a hash of its bytes, so that every replica of a control plane
    /// gives equal content an equal version.
    #[must_use]
    pub fn new(name: impl Into<Arc<str>>, body: Bytes) -> Self {
        let version = Version::of_hash(xxh64(&body, 0));
        Self { name: name.into(), version, body, endpoints: None }
    }

    /// Says which endpoints belong to this cluster.
    #[must_use]
    pub fn with_endpoints(mut self, name: impl Into<Arc<str>>) -> Self {
        self.endpoints = Some(name.into());
        self
    }
}

impl fmt::Debug for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The bytes may be a secret, and are no use to a reader anyway.
        write!(f, "{}@{} ({} bytes)", self.name, self.version, self.body.len())
    }
}

/// All resources of one type that a client may know, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ResourceSet {
    by_name: BTreeMap<Arc<str>, Resource>,
}

impl ResourceSet {
    /// The resource of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Resource> {
        self.by_name.get(name)
    }

    /// All of them, in order of their names.
    pub fn iter(&self) -> impl Iterator<Item = &Resource> {
        self.by_name.values()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_name.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }
}

/// Of several resources of one name the last counts.
impl FromIterator<Resource> for ResourceSet {
    fn from_iter<I: IntoIterator<Item = Resource>>(resources: I) -> Self {
        let named = resources.into_iter().map(|one| (Arc::clone(&one.name), one));
        Self { by_name: named.collect() }
    }
}

/// Everything that one client may know at one moment, published whole. Sets that several clients
/// share are shared in memory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Snapshot {
    sets: BTreeMap<TypeUrl, Arc<ResourceSet>>,
}

impl Snapshot {
    /// A snapshot without resources.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The same with `set` as all resources of a type.
    #[must_use]
    pub fn with(mut self, type_url: TypeUrl, set: impl Into<Arc<ResourceSet>>) -> Self {
        self.sets.insert(type_url, set.into());
        self
    }

    /// The resources of a type.
    #[must_use]
    pub fn set(&self, type_url: &TypeUrl) -> Option<&Arc<ResourceSet>> {
        self.sets.get(type_url)
    }
}

/// The newest snapshot of every node. Cheap to clone; clones share their content.
///
/// The control plane publishes, streams watch. A slow stream sees the newest state when it is
/// ready for it, never a queue of old ones.
#[derive(Debug, Clone, Default)]
pub struct Cache {
    nodes: Arc<Mutex<BTreeMap<Arc<str>, Published>>>,
}

type Published = watch::Sender<Option<Arc<Snapshot>>>;

impl Cache {
    /// A cache without nodes.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Replaces what `node` may know. Streams are woken only when it differs from before.
    /// Returns whether it did.
    pub fn publish(&self, node: &str, snapshot: impl Into<Arc<Snapshot>>) -> bool {
        let snapshot = snapshot.into();
        self.sender(node).send_if_modified(|current| {
            if current.as_ref() == Some(&snapshot) {
                return false;
            }
            *current = Some(snapshot);
            true
        })
    }

    /// What `node` may know now; none before the first publication.
    #[must_use]
    pub fn published(&self, node: &str) -> Option<Arc<Snapshot>> {
        let nodes = self.nodes.lock();
        nodes.get(node)?.borrow().clone()
    }

    /// Watches what `node` may know.
    pub(crate) fn watch(&self, node: &str) -> watch::Receiver<Option<Arc<Snapshot>>> {
        self.sender(node).subscribe()
    }

    /// Forgets `node` unless a stream of it is still open. Returns whether it did.
    pub fn forget_unwatched(&self, node: &str) -> bool {
        let mut nodes = self.nodes.lock();
        let unwatched = nodes.get(node).is_some_and(|sender| sender.receiver_count() == 0);
        if unwatched {
            nodes.remove(node);
        }
        unwatched
    }

    fn sender(&self, node: &str) -> Published {
        let mut nodes = self.nodes.lock();
        let new = || watch::Sender::new(None);
        nodes.entry(node.into()).or_insert_with(new).clone()
    }
}
