//! Names that requests bring, resolved when they are asked for and held for a while.
//!
//! A worker keeps what it found ([`ForwardCache::known`] takes no lock that anybody waits for); the
//! first request for a name waits for its resolution, and so do those that come meanwhile.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::Instant,
};

use arc_swap::ArcSwap;
use iako_proxy_config::{DnsCache, DnsFamily, DnsOptions};
use iako_rt::{Scope, clock};
use iako_telemetry::{Counter, Gauge, StatsRegistry};
use parking_lot::Mutex;
use tokio::sync::watch;

use super::{Resolver, Schedule};

/// Why a name has no address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unresolved {
    /// The servers know none.
    Failed,
    /// As many names are held as may be.
    Full,
    /// As many requests wait as may.
    Pending,
}

/// The addresses of a name, as far as they are known.
type Known = Result<Arc<[IpAddr]>, Unresolved>;

/// One host with its port.
#[derive(Debug)]
struct Host {
    addresses: watch::Receiver<Option<Known>>,
    /// When it was last asked for, in seconds of the cache's time.
    used: Arc<AtomicU32>,
}

/// The names of one cluster, and what they stand for.
#[derive(Debug)]
pub(crate) struct ForwardCache {
    config: DnsCache,
    options: DnsOptions,
    resolver: Resolver,
    begun: Instant,
    /// Replaced as a whole when a name comes or goes; requests only read it.
    hosts: ArcSwap<HashMap<String, Arc<Host>>>,
    changing: Mutex<()>,
    pending: AtomicU32,
    scope: Scope,
    stats: Stats,
}

#[derive(Debug, Clone)]
struct Stats {
    query_attempt: Counter,
    query_success: Counter,
    query_failure: Counter,
    host_added: Counter,
    host_removed: Counter,
    host_overflow: Counter,
    num_hosts: Gauge,
    pending_overflow: Counter,
}

impl Stats {
    fn new(stats: &StatsRegistry, name: &str) -> Self {
        let scope = stats.scope(&format!("dns_cache.{name}"));
        Self {
            query_attempt: scope.counter("dns_query_attempt"),
            query_success: scope.counter("dns_query_success"),
            query_failure: scope.counter("dns_query_failure"),
            host_added: scope.counter("host_added"),
            host_removed: scope.counter("host_removed"),
            host_overflow: scope.counter("host_overflow"),
            num_hosts: scope.gauge("num_hosts"),
            pending_overflow: scope.counter("dns_rq_pending_overflow"),
        }
    }
}

impl ForwardCache {
    pub(crate) fn new(
        config: DnsCache,
        options: DnsOptions,
        resolver: Resolver,
        stats: &StatsRegistry,
    ) -> Arc<Self> {
        Arc::new(Self {
            stats: Stats::new(stats, &config.name),
            config,
            options,
            resolver,
            begun: clock::now(),
            hosts: ArcSwap::default(),
            changing: Mutex::default(),
            pending: AtomicU32::new(0),
            scope: Scope::new(),
        })
    }

    /// The addresses of a name; waits for its resolution where nobody asked for it yet.
    ///
    /// # Errors
    /// When it has none, or when there is no room for it.
    pub(crate) async fn addresses(
        self: &Arc<Self>,
        name: &str,
        port: u16,
    ) -> Result<Vec<SocketAddr>, Unresolved> {
        let name = name.trim_matches(['[', ']']);
        // A host at another port is another host.
        let key = format!("{}:{port}", name.to_ascii_lowercase());
        let host = match self.hosts.load().get(&key) {
            Some(host) => Arc::clone(host),
            None => self.ask(name, &key)?,
        };
        host.used.store(self.seconds(), Relaxed);
        let mut watched = host.addresses.clone();
        if watched.borrow().is_none() {
            let _waiting = Waiting::enter(self)?;
            // Its task has ended only with the cache.
            if watched.wait_for(Option::is_some).await.is_err() {
                return Err(Unresolved::Failed);
            }
        }
        let known = watched.borrow().clone().unwrap_or(Err(Unresolved::Failed));
        known.map(|ips| ips.iter().map(|ip| SocketAddr::new(*ip, port)).collect())
    }

    fn seconds(&self) -> u32 {
        let age = clock::now().saturating_duration_since(self.begun);
        u32::try_from(age.as_secs()).unwrap_or(u32::MAX)
    }

    /// Begins to resolve a name.
    fn ask(self: &Arc<Self>, name: &str, key: &str) -> Result<Arc<Host>, Unresolved> {
        let changing = self.changing.lock();
        let hosts = self.hosts.load();
        if let Some(host) = hosts.get(key) {
            return Ok(Arc::clone(host));
        }
        let most = usize::try_from(self.config.hosts_max.get()).unwrap_or(usize::MAX);
        if hosts.len() >= most {
            self.stats.host_overflow.inc();
            return Err(Unresolved::Full);
        }
        let (told, addresses) = watch::channel(None);
        let used = Arc::new(AtomicU32::new(self.seconds()));
        let host = Arc::new(Host { addresses, used: Arc::clone(&used) });
        self.change(|hosts| drop(hosts.insert(key.to_owned(), Arc::clone(&host))));
        self.stats.host_added.inc();
        drop(changing);
        let cache = Arc::downgrade(self);
        let (name, key, options) = (name.to_owned(), key.to_owned(), self.options.clone());
        let (resolver, attempts) = (self.resolver.clone(), self.stats.query_attempt.clone());
        self.scope.spawn("dns cache", async move {
            let mut schedule = Schedule::new();
            loop {
                attempts.inc();
                let found = resolver.resolve(&name, &options).await;
                let Some(cache) = cache.upgrade() else { return };
                let valid_for = cache.take(found, &told);
                if cache.is_over(&used) {
                    return cache.forget(&key);
                }
                drop(cache);
                tokio::time::sleep(schedule.next(&options, valid_for)).await;
            }
        });
        Ok(host)
    }

    /// Publishes what was found; for how long it holds.
    fn take(
        &self,
        found: Option<(Vec<IpAddr>, Instant)>,
        told: &watch::Sender<Option<Known>>,
    ) -> Option<std::time::Duration> {
        match found.filter(|(addresses, _)| !addresses.is_empty()) {
            Some((mut addresses, until)) => {
                self.stats.query_success.inc();
                let v4_first =
                    matches!(self.options.family, DnsFamily::V4Only | DnsFamily::V4Preferred);
                addresses.sort_unstable_by_key(|ip| (ip.is_ipv4() != v4_first, *ip));
                told.send_replace(Some(Ok(addresses.into())));
                Some(until.saturating_duration_since(clock::now()))
            }
            None => {
                self.stats.query_failure.inc();
                // The last good ones are kept.
                told.send_if_modified(|known| {
                    let has = matches!(known, Some(Ok(_)));
                    if !has {
                        *known = Some(Err(Unresolved::Failed));
                    }
                    !has
                });
                None
            }
        }
    }

    /// Whether nobody has asked for a name for long.
    fn is_over(&self, used: &AtomicU32) -> bool {
        let idle = self.seconds().saturating_sub(used.load(Relaxed));
        u64::from(idle) >= self.config.host_ttl.as_secs().max(1)
    }

    fn forget(&self, key: &str) {
        let _changing = self.changing.lock();
        self.change(|hosts| drop(hosts.remove(key)));
        self.stats.host_removed.inc();
    }

    fn change(&self, change: impl FnOnce(&mut HashMap<String, Arc<Host>>)) {
        let mut hosts = HashMap::clone(&self.hosts.load());
        change(&mut hosts);
        self.stats.num_hosts.set(u64::try_from(hosts.len()).unwrap_or(u64::MAX));
        self.hosts.store(Arc::new(hosts));
    }
}

/// A request that waits for a resolution.
struct Waiting<'a>(&'a AtomicU32);

impl<'a> Waiting<'a> {
    fn enter(cache: &'a ForwardCache) -> Result<Self, Unresolved> {
        if cache.pending.fetch_add(1, Relaxed) >= cache.config.pending_max {
            cache.pending.fetch_sub(1, Relaxed);
            cache.stats.pending_overflow.inc();
            return Err(Unresolved::Pending);
        }
        Ok(Self(&cache.pending))
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}
