//! Plans every connected proxy whenever the mesh changes, and publishes what they are told.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use iako_proxy_config::{Pem, PrivateKey, Secret, SecretKind, Trust, Validation};
use iako_registry::MeshSnapshot;
use iako_resources::Diagnostic;
use iako_translate::{Plan, ProxyScope, plan};
use iako_types::Namespace;
use iako_xds::{Cache, Resource, ResourceSet, Snapshot, TypeUrl};
use iako_xds_codec::encode;
use parking_lot::Mutex;
use prost_types::Any;
use tokio::sync::watch;

use crate::proxies::Proxies;

/// How gateways name certificates that the control plane keeps. Source: Istio, `credentialName`.
const SECRET_SCHEME: &str = "kubernetes://";
/// What stands behind the name when only the roots of the secret are meant.
const ROOTS_SUFFIX: &str = "-cacert";

/// Plans proxies; one task.
#[derive(Debug)]
pub(crate) struct Planner {
    proxies: Arc<Proxies>,
    cache: Cache,
    planned: BTreeMap<Arc<str>, Planned>,
    findings: Arc<Findings>,
}

/// What the plans of all proxies complain about.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    version: AtomicU64,
    by_node: Mutex<BTreeMap<Arc<str>, Vec<Diagnostic>>>,
}

impl Findings {
    /// The version of the mesh that every connected proxy is planned for.
    pub(crate) fn planned_version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// Every complaint once.
    pub(crate) fn all(&self) -> Vec<Diagnostic> {
        let mut all: Vec<Diagnostic> = Vec::new();
        for finding in self.by_node.lock().values().flatten() {
            if !all.contains(finding) {
                all.push(finding.clone());
            }
        }
        all
    }
}

/// For whom and of what the newest plan was made.
#[derive(Debug)]
struct Planned {
    scope: Arc<ProxyScope>,
    version: u64,
}

impl Planner {
    pub(crate) fn new(proxies: Arc<Proxies>, cache: Cache, findings: Arc<Findings>) -> Self {
        Self { proxies, cache, planned: BTreeMap::new(), findings }
    }

    /// Plans until the mesh's owner is gone.
    pub(crate) async fn run(mut self, mut mesh: watch::Receiver<Arc<MeshSnapshot>>) {
        loop {
            let snapshot = Arc::clone(&mesh.borrow_and_update());
            self.plan_all(&snapshot);
            tokio::select! {
                changed = mesh.changed() => if changed.is_err() { return },
                () = self.proxies.changed.notified() => {}
            }
        }
    }

    fn plan_all(&mut self, snapshot: &MeshSnapshot) {
        let connected = self.proxies.connected();
        self.planned.retain(|node, _| connected.contains_key(node));
        for (node, scope) in connected {
            let current = self.planned.get(&node).is_some_and(|planned| {
                planned.version == snapshot.version && planned.scope == scope
            });
            if current {
                continue;
            }
            let plan = plan(snapshot, &scope);
            let changed = self.cache.publish(&node, resources(&plan, snapshot, &scope.namespace));
            tracing::debug!(%node, version = snapshot.version, changed, "planned");
            self.findings.by_node.lock().insert(Arc::clone(&node), plan.diagnostics);
            self.planned.insert(node, Planned { scope, version: snapshot.version });
        }
        let planned = &self.planned;
        self.findings.by_node.lock().retain(|node, _| planned.contains_key(node));
        self.findings.version.store(snapshot.version, Ordering::Release);
    }
}

/// A plan on the wire.
pub(crate) fn resources(plan: &Plan, mesh: &MeshSnapshot, namespace: &Namespace) -> Snapshot {
    let secrets = plan.secrets.iter().filter_map(|name| secret(name, mesh, namespace));
    Snapshot::new()
        .with(TypeUrl::CLUSTER, set(&plan.clusters, |it| (&it.name, encode::cluster(it))))
        .with(TypeUrl::ENDPOINTS, set(&plan.endpoints, |it| (&it.name, encode::endpoints(it))))
        .with(TypeUrl::LISTENER, set(&plan.listeners, |it| (&it.name, encode::listener(it))))
        .with(TypeUrl::ROUTES, set(&plan.routes, |it| (&it.name, encode::route_configuration(it))))
        .with(
            TypeUrl::SECRET,
            secrets
                .map(|it| {
                    let body = encode::secret(&it).value;
                    Resource::new(it.name, body.into())
                })
                .collect::<ResourceSet>(),
        )
}

fn set<T>(values: &[T], encoded: impl Fn(&T) -> (&String, Any)) -> ResourceSet {
    values
        .iter()
        .map(|value| {
            let (name, any) = encoded(value);
            Resource::new(name.as_str(), any.value.into())
        })
        .collect()
}

/// A certificate that a gateway shows or believes, out of a secret of its own namespace.
///
/// A missing or unusable secret is not sent: the listener waits for it, and never serves another.
pub(crate) fn secret(name: &str, mesh: &MeshSnapshot, namespace: &Namespace) -> Option<Secret> {
    let key = name.strip_prefix(SECRET_SCHEME)?;
    let (key, roots_only) = match key.strip_suffix(ROOTS_SUFFIX) {
        Some(key) => (key, true),
        None => (key, false),
    };
    let object = mesh.secrets.get(&(namespace.clone(), key.to_owned()))?;
    let text = |names: [&str; 3]| {
        let value = names.iter().find_map(|name| object.spec.data.get(*name))?;
        std::str::from_utf8(value.reveal()).ok().map(str::to_owned)
    };
    let kind = if roots_only {
        let roots = text(["ca.crt", "cacert", "tls.crt"])?;
        let trust = Trust::Inline(Pem(roots.into()));
        SecretKind::Trust(Box::new(Validation { trust, ..Validation::default() }))
    } else {
        let chain = text(["tls.crt", "cert", "tls.crt"])?;
        let key = text(["tls.key", "key", "tls.key"])?;
        SecretKind::Certificate {
            chain: Pem(chain.into()),
            key: PrivateKey::new(key),
            staple: None,
        }
    };
    Some(Secret { name: name.to_owned(), kind })
}
