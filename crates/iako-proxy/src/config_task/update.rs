//! What a control plane tells, before it is looked into.

use std::collections::{BTreeMap, BTreeSet};

use iako_proxy_config::xds::decode;
use prost_types::Any;
use tokio::sync::oneshot;

use super::{ConfigTask, Told};

/// A kind of resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum ResourceKind {
    /// CDS.
    Cluster,
    /// EDS.
    Endpoints,
    /// LDS.
    Listener,
    /// RDS.
    Routes,
    /// SDS.
    Secret,
}

/// One response: what changed and what is gone.
#[derive(Debug)]
pub(crate) struct ResourceUpdate {
    /// Of which kind.
    pub(crate) kind: ResourceKind,
    /// Name, version and content.
    pub(crate) changed: Vec<(String, String, Any)>,
    /// Names that do not exist (any more).
    pub(crate) removed: Vec<String>,
    /// Where the verdict goes.
    pub(crate) verdict: oneshot::Sender<Verdict>,
}

/// What of a response was not taken, by name, and why. The rest of it was.
pub(crate) type Verdict = BTreeMap<String, String>;

/// What is asked of the control plane besides all clusters and listeners.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Subscriptions {
    /// EDS names.
    pub(crate) endpoints: BTreeSet<String>,
    /// RDS names.
    pub(crate) routes: BTreeSet<String>,
    /// SDS names.
    pub(crate) secrets: BTreeSet<String>,
}

impl ConfigTask {
    /// Takes what is good in a response and answers.
    pub(super) fn take_update(&mut self, update: ResourceUpdate) {
        let mut refused = Verdict::new();
        for (name, version, body) in update.changed {
            if let Err(error) = self.take_resource(update.kind, &name, &version, &body) {
                tracing::warn!(kind = ?update.kind, name, error, "resource refused");
                self.note_refusal(update.kind, &name, &error);
                refused.insert(name, error);
            }
        }
        for name in update.removed {
            self.remove_resource(update.kind, &name);
        }
        match update.kind {
            ResourceKind::Cluster => self.initial.clusters = true,
            ResourceKind::Listener => self.initial.listeners = true,
            ResourceKind::Secret => self.refresh_tls(),
            ResourceKind::Endpoints | ResourceKind::Routes => {}
        }
        // A stream that is gone needs no answer.
        drop(update.verdict.send(refused));
    }

    fn take_resource(
        &mut self,
        kind: ResourceKind,
        name: &str,
        version: &str,
        body: &Any,
    ) -> Result<(), String> {
        match kind {
            ResourceKind::Cluster => {
                let cluster = checked(decode::cluster(body))?;
                self.set_cluster(cluster, |value| Told::of_control_plane(value, version))
            }
            ResourceKind::Endpoints => {
                let endpoints = checked(decode::endpoints(body))?;
                self.set_endpoints(endpoints);
                Ok(())
            }
            ResourceKind::Listener => {
                let listener = checked(decode::listener(body))?;
                self.set_listener(listener, |value| Told::of_control_plane(value, version))
            }
            ResourceKind::Routes => {
                let routes = checked(decode::route_configuration(body))?;
                self.set_routes(Told::of_control_plane(routes, version));
                Ok(())
            }
            ResourceKind::Secret => {
                let secret = checked(decode::secret(body))?;
                self.secrets.set(secret).map_err(|error| format!("secret {name:?}: {error}"))
            }
        }
    }

    fn remove_resource(&mut self, kind: ResourceKind, name: &str) {
        match kind {
            ResourceKind::Cluster => self.remove_cluster(name),
            ResourceKind::Endpoints => self.endpoints_do_not_exist(name),
            ResourceKind::Listener => self.remove_listener(name),
            // In use they are kept, as Envoy does; else they are not asked for.
            ResourceKind::Routes => self.routes_do_not_exist(name),
            ResourceKind::Secret => {
                tracing::warn!(name, "the control plane has no such secret; the last one stays");
            }
        }
    }
}

/// The value, its warnings logged.
fn checked<T>(decoded: decode::Decoded<T>) -> Result<T, String> {
    let (value, warnings) = decoded.map_err(|invalid| invalid.to_string())?;
    for warning in warnings {
        tracing::warn!(%warning, "resource taken with a warning");
    }
    Ok(value)
}
