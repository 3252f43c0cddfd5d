//! Virtual hosts that come on their own: they become a part of the tables that ask for them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Instant,
};

use iako_proxy_config::{ConfigOrigin, ConfigSource, RouteConfiguration, VirtualHost};
use iako_rt::clock;
use iako_xds_codec::decode;
use tokio::sync::oneshot;

use super::{
    ConfigTask, ResourceKind, ResourceUpdate, Told,
    demand::{Waiting, answer_all, forget_gone},
    routes::RouteEntry,
    source_stats::{Reception, SourceStats},
    update::{Incoming, Verdict, checked},
};
use crate::on_demand::{Found, NAMES_MAX};

/// The virtual hosts of one table that come on their own.
#[derive(Debug)]
pub(super) struct Hosts {
    source: ConfigSource,
    /// Since when the first word is waited for.
    since: Instant,
    /// Whether it came, or is not waited for any longer.
    pub(super) heard: bool,
    /// What was told, by the names of the resources.
    told: BTreeMap<String, Arc<VirtualHost>>,
    /// What was asked for by name, and who waits for it.
    asked: BTreeMap<String, Waiting>,
    /// Who waits for what was told, and is not yet published.
    ready: Waiting,
    stats: SourceStats,
}

impl Hosts {
    pub(super) fn new(source: &ConfigSource, stats: SourceStats) -> Self {
        stats.asked(&source.origin);
        Self {
            source: source.clone(),
            since: clock::now(),
            heard: false,
            told: BTreeMap::new(),
            asked: BTreeMap::new(),
            ready: Waiting::new(),
            stats,
        }
    }

    /// Who tells them.
    pub(super) const fn source(&self) -> &ConfigSource {
        &self.source
    }

    /// What is asked for by name.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.asked.keys().map(String::as_str)
    }

    /// When the first word is not waited for any longer.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let longest = self.source.initial_fetch_timeout.filter(|_| !self.heard);
        longest.map(|longest| self.since + longest)
    }

    /// Gives up waiting when that time is over.
    pub(super) fn look(&mut self, now: Instant) {
        if self.deadline().is_some_and(|at| at <= now) {
            self.heard = true;
            self.stats.gave_up();
        }
    }

    /// A table with these hosts besides its own.
    pub(super) fn written_into(
        &self,
        base: &Arc<RouteConfiguration>,
    ) -> Result<Arc<RouteConfiguration>, String> {
        merged(base, &self.told)
    }

    /// Counts how something was received.
    pub(super) fn note(&self, reception: &Reception) {
        self.stats.note(reception);
    }

    /// Tells who waits for what is published now, and how many wait on.
    pub(super) fn answer_needs(&mut self, is_published: impl FnOnce() -> bool) -> usize {
        if !self.ready.is_empty() && is_published() {
            answer_all(&mut self.ready, Found::Here);
        }
        self.asked.values_mut().for_each(forget_gone);
        let waiting = self.asked.values().map(Vec::len).fold(0, usize::saturating_add);
        waiting.saturating_add(self.ready.len())
    }

    fn answer(&mut self, name: &str, found: Found) {
        let Some(waiting) = self.asked.get_mut(name) else { return };
        if found == Found::Here {
            self.ready.append(waiting);
        } else {
            answer_all(waiting, found);
        }
    }
}

fn merged(
    base: &Arc<RouteConfiguration>,
    hosts: &BTreeMap<String, Arc<VirtualHost>>,
) -> Result<Arc<RouteConfiguration>, String> {
    if hosts.is_empty() {
        return Ok(Arc::clone(base));
    }
    let table = decode::with_virtual_hosts(base, hosts.values().map(Arc::clone));
    table.map(Arc::new).map_err(|invalid| invalid.to_string())
}

/// What a response says about one table.
#[derive(Debug, Default)]
struct Changes {
    hosts: BTreeMap<String, Arc<VirtualHost>>,
    gone: BTreeSet<String>,
    /// Names that were asked for and are answered by a resource of another name.
    aliases: BTreeSet<String>,
}

impl ConfigTask {
    /// Asks for the virtual host of a host.
    pub(super) fn need_host(&mut self, key: &str, host: &str, answer: oneshot::Sender<Found>) {
        let Some(entry) = self.routes.get_mut(key) else { return };
        let (Some(base), Some(hosts)) = (&entry.base, &mut entry.hosts) else { return };
        let name = format!("{}/{host}", base.value.name);
        if hosts.told.contains_key(&name) {
            hosts.ready.push(answer);
        } else if let Some(waiting) = hosts.asked.get_mut(&name) {
            waiting.push(answer);
        } else if hosts.asked.len() < NAMES_MAX {
            hosts.asked.insert(name, vec![answer]);
        } else {
            tracing::warn!(name, "too many virtual hosts are asked for on demand");
        }
    }

    /// Takes what is good in a response.
    pub(super) fn take_virtual_hosts(&mut self, update: &ResourceUpdate) -> Verdict {
        let mut refused = Verdict::new();
        let mut tables: BTreeMap<String, Changes> = BTreeMap::new();
        for (name, _, body) in &update.changed {
            match checked(decode::virtual_host(body)) {
                Ok(host) => {
                    let host = Arc::new(host);
                    for key in self.tables_of(name, &update.origin) {
                        let changes = tables.entry(key).or_default();
                        changes.hosts.insert(name.clone(), Arc::clone(&host));
                    }
                }
                Err(error) => {
                    refused.insert(name.clone(), error);
                }
            }
        }
        for name in &update.removed {
            for key in self.tables_of(name, &update.origin) {
                tables.entry(key).or_default().gone.insert(name.clone());
            }
        }
        for (alias, name) in &update.aliases {
            for key in self.tables_of(alias, &update.origin) {
                let changes = tables.entry(key).or_default();
                if changes.hosts.contains_key(name) {
                    changes.aliases.insert(alias.clone());
                }
            }
        }
        for (key, changes) in tables {
            if let Err(error) = self.change_hosts(&key, &changes) {
                let names = changes.hosts.into_keys();
                refused.extend(names.map(|name| (name, error.clone())));
            }
        }
        self.note_hosts(update, &refused);
        refused
    }

    /// The tables that a name belongs to: those that are called what stands before its last stroke.
    fn tables_of(&self, name: &str, origin: &ConfigOrigin) -> Vec<String> {
        let Some((table, _host)) = name.rsplit_once('/') else { return Vec::new() };
        let asks = |entry: &RouteEntry| {
            entry.base.as_ref().is_some_and(|base| base.value.name == table)
                && entry.hosts.as_ref().is_some_and(|hosts| hosts.source.origin == *origin)
        };
        let tables = self.routes.iter().filter(|(_, entry)| asks(entry));
        tables.map(|(key, _)| key.clone()).collect()
    }

    fn change_hosts(&mut self, key: &str, changes: &Changes) -> Result<(), String> {
        let Some(entry) = self.routes.get_mut(key) else { return Ok(()) };
        let (Some(base), Some(hosts)) = (entry.base.clone(), &mut entry.hosts) else {
            return Ok(());
        };
        let mut told = hosts.told.clone();
        told.retain(|name, _| !changes.gone.contains(name));
        told.extend(changes.hosts.iter().map(|(name, host)| (name.clone(), Arc::clone(host))));
        let value = match merged(&base.value, &told) {
            Ok(value) => value,
            Err(error) => {
                changes.hosts.keys().for_each(|name| hosts.answer(name, Found::Missing));
                return Err(error);
            }
        };
        for name in changes.hosts.keys().chain(&changes.aliases) {
            hosts.answer(name, Found::Here);
        }
        for name in &changes.gone {
            hosts.answer(name, Found::Missing);
            // Who needs it later asks again.
            hosts.asked.remove(name);
        }
        if hosts.told != told {
            hosts.told = told;
            hosts.stats.reloaded();
            entry.install(Told { value, ..base }, self.runtime.now(), &self.shared.stats);
        }
        Ok(())
    }

    fn note_hosts(&mut self, update: &ResourceUpdate, refused: &Verdict) {
        let reception = if refused.is_empty() {
            Reception::Taken(update.version.clone())
        } else {
            Reception::Refused
        };
        let tables = self.routes.values_mut().filter_map(|entry| entry.hosts.as_deref_mut());
        for hosts in tables.filter(|hosts| hosts.source.origin == update.origin) {
            hosts.heard = true;
            hosts.note(&reception);
        }
        let kind = ResourceKind::VirtualHost;
        for (name, version, body) in &update.changed {
            let told = Incoming { kind, origin: &update.origin, name, version, body };
            match refused.get(name) {
                Some(error) => {
                    tracing::warn!(?kind, name, error, "resource refused");
                    self.note_refusal(&told, error);
                }
                None => self.forget_refusal(kind, name),
            }
        }
    }
}
