//! Which pool a request belongs to.

use std::borrow::Cow;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::rc::Rc;
use std::sync::Arc;

use iako_http::Version;
use iako_proxy_config::{HttpProtocol, RoutePriority};

use super::Want;
use super::endpoint::EndpointPool;

/// Pools of one worker whose connections differ by the host of the request (`auto_sni`) or by the client.
/// Clients choose them, so they are bounded.
pub(crate) const HOST_POOLS_MAX: usize = 1024;

/// What tells pools apart, as numbers: version of the cluster, endpoint, and what a connection is opened
/// with. A pool keeps its endpoint's state alive, so that its address stays its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct PoolKey {
    cluster: u64,
    endpoint: usize,
    traits: u64,
}

impl PoolKey {
    pub(super) fn of(want: &Want<'_>) -> Self {
        let by_client = want.cluster.config.http.protocol == HttpProtocol::Downstream
            && want.version == Version::Http2;
        let high = want.priority == RoutePriority::High;
        let transport = want.cluster.transport_number(want.endpoint);
        let traits = transport << 3
            | u64::from(by_client)
            | u64::from(high) << 1
            | u64::from(want.istio_alpn) << 2;
        Self { cluster: want.cluster.id, endpoint: Arc::as_ptr(want.state).addr(), traits }
    }
}

/// Mixes the three numbers of a key. Nobody outside chooses them, so no secret is needed.
#[derive(Debug, Default)]
struct KeyHasher(u64);

impl Hasher for KeyHasher {
    fn finish(&self) -> u64 {
        // The table takes its bits from both ends.
        self.0 ^ (self.0 >> 32)
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(u64::from(*byte)));
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = (self.0.rotate_left(23) ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn write_usize(&mut self, number: usize) {
        self.write_u64(number as u64);
    }
}

type ByKey<T> = HashMap<PoolKey, T, BuildHasherDefault<KeyHasher>>;

/// The pools of one worker.
#[derive(Debug, Default)]
pub(super) struct PoolTable {
    plain: ByKey<Rc<EndpointPool>>,
    /// Where the host of the request is the server name, or servers are told of clients.
    by_host: ByKey<HashMap<Box<str>, Rc<EndpointPool>>>,
    hosts: usize,
}

/// Requests name too many hosts at once.
#[derive(Debug)]
pub(super) struct TableFull;

/// Whether connections differ by what clients choose.
fn is_split(want: &Want<'_>) -> bool {
    want.cluster.sends_hosts() || want.client.is_some() || want.owner.is_some()
}

/// What connections differ by besides their key.
fn distinction<'a>(want: &Want<'a>) -> Cow<'a, str> {
    match (want.client, want.owner) {
        (None, None) => Cow::Borrowed(want.host),
        (client, owner) => {
            let owner = owner.map(|owner| owner.id());
            Cow::Owned(format!("{} {client:?} {owner:?}", want.host))
        }
    }
}

impl PoolTable {
    pub(super) fn find(&self, key: PoolKey, want: &Want<'_>) -> Option<&Rc<EndpointPool>> {
        if is_split(want) {
            return self.by_host.get(&key)?.get(&*distinction(want));
        }
        self.plain.get(&key)
    }

    pub(super) fn insert(
        &mut self,
        key: PoolKey,
        want: &Want<'_>,
        pool: Rc<EndpointPool>,
    ) -> Result<Rc<EndpointPool>, TableFull> {
        if !is_split(want) {
            self.plain.insert(key, Rc::clone(&pool));
            return Ok(pool);
        }
        if self.hosts >= HOST_POOLS_MAX {
            drop(self.remove_unused());
        }
        if self.hosts >= HOST_POOLS_MAX {
            return Err(TableFull);
        }
        self.hosts += 1;
        let distinction = distinction(want).into();
        self.by_host.entry(key).or_default().insert(distinction, Rc::clone(&pool));
        Ok(pool)
    }

    pub(super) fn pools(&self) -> impl Iterator<Item = &Rc<EndpointPool>> {
        self.plain.values().chain(self.by_host.values().flat_map(HashMap::values))
    }

    /// Takes out the pools that hold nothing and that nobody waits at.
    pub(super) fn remove_unused(&mut self) -> Vec<Rc<EndpointPool>> {
        let mut unused = Vec::new();
        let mut keep = |pool: &Rc<EndpointPool>| {
            let is_used = Rc::strong_count(pool) > 1 || !pool.is_unused();
            if !is_used {
                unused.push(Rc::clone(pool));
            }
            is_used
        };
        self.plain.retain(|_, pool| keep(pool));
        self.by_host.retain(|_, hosts| {
            hosts.retain(|_, pool| keep(pool));
            !hosts.is_empty()
        });
        self.hosts = self.by_host.values().map(HashMap::len).sum();
        unused
    }
}
