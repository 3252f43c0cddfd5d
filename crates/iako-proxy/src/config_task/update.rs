//! What a control plane or a file tells, before it is looked into.

use std::collections::{BTreeMap, BTreeSet};

use iako_proxy_config::{ConfigOrigin, SourcedName};
use iako_xds::TypeUrl;
use iako_xds_codec::decode;
use prost_types::Any;
use tokio::sync::oneshot;

use super::{ConfigTask, Told, source_stats::Reception};

/// A kind of resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum ResourceKind {
    /// CDS.
    Cluster,
    /// EDS.
    Endpoints,
    /// LDS.
    Listener,
    /// SRDS.
    Scopes,
    /// RDS.
    Routes,
    /// VHDS.
    VirtualHost,
    /// SDS.
    Secret,
    /// ECDS.
    Extension,
    /// RTDS.
    Runtime,
}

impl ResourceKind {
    /// Every kind.
    pub(crate) const ALL: [Self; 9] = [
        Self::Cluster,
        Self::Endpoints,
        Self::Listener,
        Self::Scopes,
        Self::Routes,
        Self::VirtualHost,
        Self::Secret,
        Self::Extension,
        Self::Runtime,
    ];

    /// The type of its resources.
    #[must_use]
    pub(crate) const fn type_url(self) -> TypeUrl {
        match self {
            Self::Cluster => TypeUrl::CLUSTER,
            Self::Endpoints => TypeUrl::ENDPOINTS,
            Self::Listener => TypeUrl::LISTENER,
            Self::Scopes => TypeUrl::SCOPED_ROUTES,
            Self::Routes => TypeUrl::ROUTES,
            Self::VirtualHost => TypeUrl::VIRTUAL_HOST,
            Self::Secret => TypeUrl::SECRET,
            Self::Extension => TypeUrl::EXTENSION,
            Self::Runtime => TypeUrl::RUNTIME,
        }
    }

    /// The kind whose resources have this type; none when nothing here asks for it.
    #[must_use]
    pub(crate) fn of(type_url: &TypeUrl) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.type_url() == *type_url)
    }
}

/// One response: what changed and what is gone.
#[derive(Debug)]
pub(crate) struct ResourceUpdate {
    /// Of which kind.
    pub(crate) kind: ResourceKind,
    /// Who tells it.
    pub(crate) origin: ConfigOrigin,
    /// The version of the whole.
    pub(crate) version: String,
    /// Name, version and content.
    pub(crate) changed: Vec<(String, String, Any)>,
    /// Names that do not exist (any more).
    pub(crate) removed: Vec<String>,
    /// Names that were asked for and are answered by a resource of another name.
    pub(crate) aliases: BTreeMap<String, String>,
    /// Where the verdict goes.
    pub(crate) verdict: oneshot::Sender<Verdict>,
}

/// What of a response was not taken, by name, and why. The rest of it was.
pub(crate) type Verdict = BTreeMap<String, String>;

/// Which resources of a kind are wanted of one origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// All that there are.
    Everything,
    /// All that there are, and these, which are told to nobody who does not name them.
    EverythingAnd(BTreeSet<String>),
    /// These.
    Names(BTreeSet<String>),
}

/// What is wanted of one origin.
pub(crate) type WantedOfOrigin = BTreeMap<ResourceKind, Wanted>;

/// Everything that is wanted, by who tells it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Subscriptions(pub(crate) BTreeMap<ConfigOrigin, WantedOfOrigin>);

impl Subscriptions {
    /// Wants all resources of a kind.
    pub(super) fn want_all(&mut self, kind: ResourceKind, origin: &ConfigOrigin) {
        let of_origin = self.0.entry(origin.clone()).or_default();
        let wanted = of_origin.entry(kind).or_insert(Wanted::Everything);
        if let Wanted::Names(names) = wanted {
            *wanted = Wanted::EverythingAnd(std::mem::take(names));
        }
    }

    /// Wants one resource.
    pub(super) fn want(&mut self, kind: ResourceKind, name: &SourcedName) {
        self.want_name(kind, &name.source().origin, name.name());
    }

    /// Wants one resource of an origin.
    pub(super) fn want_name(&mut self, kind: ResourceKind, origin: &ConfigOrigin, name: &str) {
        let of_origin = self.0.entry(origin.clone()).or_default();
        let wanted = of_origin.entry(kind).or_insert_with(|| Wanted::Names(BTreeSet::new()));
        match wanted {
            Wanted::Names(names) | Wanted::EverythingAnd(names) => {
                names.insert(name.to_owned());
            }
            Wanted::Everything => *wanted = Wanted::EverythingAnd([name.to_owned()].into()),
        }
    }
}

impl ConfigTask {
    /// Takes what is good in a response and answers.
    pub(super) fn take_update(&mut self, update: ResourceUpdate) {
        self.reloaded = false;
        if update.kind == ResourceKind::VirtualHost {
            let refused = self.take_virtual_hosts(&update);
            // A stream that is gone needs no answer.
            drop(update.verdict.send(refused));
            return;
        }
        let mut refused = Verdict::new();
        let (kind, origin) = (update.kind, &update.origin);
        for (name, version, body) in update.changed {
            let told = Incoming { kind, origin, name: &name, version: &version, body: &body };
            let taken = self.take_resource(&told);
            if !kind.type_url().is_full_state() {
                let key = SourcedName::key_of(&name, origin);
                let one = if taken.is_ok() {
                    Reception::Taken(update.version.clone())
                } else {
                    Reception::Refused
                };
                self.note_reception(kind, origin, Some(&key), &one);
            }
            match taken {
                Ok(()) => self.forget_refusal(kind, &name),
                Err(error) => {
                    tracing::warn!(?kind, name, error, "resource refused");
                    self.note_refusal(&told, &error);
                    refused.insert(name, error);
                }
            }
        }
        for name in &update.removed {
            self.forget_resource(kind, origin, name, &update.version);
        }
        match kind {
            ResourceKind::Cluster => {
                refused.keys().for_each(|name| self.demand.refuse(name));
                self.initial.clusters |= self.tells_all_clusters(origin);
            }
            ResourceKind::Listener => self.initial.listeners = true,
            ResourceKind::Secret => self.refresh_tls(),
            ResourceKind::Scopes => {
                self.scopes.heard(origin);
                self.rewrite_scopes(origin);
            }
            ResourceKind::Runtime => self.runtime.heard(origin),
            ResourceKind::Endpoints
            | ResourceKind::Routes
            | ResourceKind::VirtualHost
            | ResourceKind::Extension => {}
        }
        if kind.type_url().is_full_state() {
            let all = if refused.is_empty() {
                Reception::Taken(update.version.clone())
            } else {
                Reception::Refused
            };
            self.note_reception(kind, origin, None, &all);
            if std::mem::take(&mut self.reloaded)
                && refused.is_empty()
                && let Some(stats) = self.source_stats.of(kind)
            {
                stats.reloaded();
            }
            if refused.is_empty()
                && (kind != ResourceKind::Cluster || self.tells_all_clusters(origin))
            {
                self.note_version(kind, &update.version);
            }
        }
        // A stream that is gone needs no answer.
        drop(update.verdict.send(refused));
    }

    /// Takes away what does not exist any more.
    fn forget_resource(
        &mut self,
        kind: ResourceKind,
        origin: &ConfigOrigin,
        name: &str,
        version: &str,
    ) {
        self.remove_resource(kind, origin, name);
        if !kind.type_url().is_full_state() {
            let key = SourcedName::key_of(name, origin);
            let taken = Reception::Taken(version.to_owned());
            self.note_reception(kind, origin, Some(&key), &taken);
        }
        self.forget_refusal(kind, name);
    }

    /// Whether clusters of this origin are the proxy's own list, and not such as were asked for.
    pub(super) fn tells_all_clusters(&self, origin: &ConfigOrigin) -> bool {
        self.sources.clusters.as_ref().is_none_or(|source| source.origin == *origin)
    }

    fn note_version(&mut self, kind: ResourceKind, version: &str) {
        match kind {
            ResourceKind::Cluster => self.versions.clusters = version.into(),
            ResourceKind::Listener => self.versions.listeners = version.into(),
            ResourceKind::Scopes
            | ResourceKind::Endpoints
            | ResourceKind::Routes
            | ResourceKind::VirtualHost
            | ResourceKind::Secret
            | ResourceKind::Extension
            | ResourceKind::Runtime => return,
        }
        self.publish_inventory();
    }

    fn take_resource(&mut self, told: &Incoming<'_>) -> Result<(), String> {
        let Incoming { kind, origin, name, version, body } = *told;
        let key = SourcedName::key_of(name, origin);
        match kind {
            ResourceKind::Cluster => {
                let cluster = checked(decode::cluster(body))?;
                self.set_cluster(cluster, |value| Told::of_control_plane(value, version))
            }
            ResourceKind::Endpoints => {
                let endpoints = checked(decode::endpoints(body))?;
                self.set_endpoints(&key, endpoints);
                Ok(())
            }
            ResourceKind::Listener => {
                let listener = checked(decode::listener(body))?;
                self.set_listener(listener, |value| Told::of_control_plane(value, version))
            }
            ResourceKind::Scopes => {
                let scope = checked(decode::scope(body))?;
                self.scopes.set(origin, scope)
            }
            ResourceKind::Routes => {
                let routes = checked(decode::route_configuration(body))?;
                self.set_routes(&key, Told::of_control_plane(routes, version))
            }
            // They are taken together.
            ResourceKind::VirtualHost => Ok(()),
            ResourceKind::Extension => {
                self.set_extension(&key, Told::of_control_plane(body.clone(), version))
            }
            ResourceKind::Secret => {
                let secret = checked(decode::secret(body))?;
                let taken = self.secrets.set(&key, &secret);
                taken.map_err(|error| format!("secret {name:?}: {error}"))
            }
            ResourceKind::Runtime => {
                let layer = checked(decode::runtime(body))?;
                self.set_layer(&key, Some(layer));
                Ok(())
            }
        }
    }

    fn remove_resource(&mut self, kind: ResourceKind, origin: &ConfigOrigin, name: &str) {
        let key = SourcedName::key_of(name, origin);
        match kind {
            ResourceKind::Cluster => {
                self.remove_cluster(name);
                self.demand.forget(name, origin);
            }
            ResourceKind::Endpoints => self.endpoints_do_not_exist(name, &key),
            ResourceKind::Listener => self.remove_listener(name),
            ResourceKind::Scopes => self.scopes.remove(origin, name),
            // In use they are kept, as Envoy does; else they are not asked for.
            ResourceKind::Routes => self.routes_do_not_exist(&key),
            // They are taken together.
            ResourceKind::VirtualHost => {}
            ResourceKind::Extension => self.extension_does_not_exist(&key),
            ResourceKind::Secret => {
                tracing::warn!(name, "the control plane has no such secret; the last one stays");
            }
            ResourceKind::Runtime => self.set_layer(&key, None),
        }
    }
}

/// One resource as it was told.
#[derive(Debug, Clone, Copy)]
pub(super) struct Incoming<'a> {
    pub(super) kind: ResourceKind,
    pub(super) origin: &'a ConfigOrigin,
    pub(super) name: &'a str,
    pub(super) version: &'a str,
    pub(super) body: &'a Any,
}

/// The value, its warnings logged.
pub(super) fn checked<T>(decoded: decode::Decoded<T>) -> Result<T, String> {
    let (value, warnings) = decoded.map_err(|invalid| invalid.to_string())?;
    for warning in warnings {
        tracing::warn!(%warning, "resource taken with a warning");
    }
    Ok(value)
}
