//! The environment of a local pod's containers.

use iako_resources::kubernetes::pod::{Container, EnvValue};

use super::LocalPod;
use crate::MeshSnapshot;

impl LocalPod {
    /// The variables of a container, with fields of the pod and keys of ConfigMaps and Secrets
    /// looked up. Those without a known value are left out, as optional ones are in Kubernetes.
    ///
    /// Values of secrets are among them: they are for the process alone, not for a log.
    #[must_use]
    pub fn environment(
        &self,
        container: &Container,
        snapshot: &MeshSnapshot,
    ) -> Vec<(String, String)> {
        let known = container.env.iter().filter_map(|variable| {
            Some((variable.name.clone(), self.text(&variable.value, snapshot)?))
        });
        known.collect()
    }

    fn text(&self, value: &EnvValue, snapshot: &MeshSnapshot) -> Option<String> {
        let of = |name: &String| (self.namespace.clone(), name.clone());
        match value {
            EnvValue::Text(text) => Some(text.clone()),
            EnvValue::ConfigMapKey(name, key) => {
                snapshot.config_maps.get(&of(name))?.spec.data.get(key).cloned()
            }
            EnvValue::SecretKey(name, key) => {
                let bytes = snapshot.secrets.get(&of(name))?.spec.data.get(key)?.reveal();
                String::from_utf8(bytes.to_vec()).ok()
            }
            EnvValue::Field(path) => self.field(path),
        }
    }

    fn field(&self, path: &str) -> Option<String> {
        match path {
            "metadata.name" => Some(self.name.clone()),
            "metadata.namespace" => Some(self.namespace.to_string()),
            "spec.serviceAccountName" => Some(self.service_account.to_string()),
            "status.podIP" | "status.hostIP" => Some(self.address.to_string()),
            other => {
                let inside = |prefix: &str| other.strip_prefix(prefix)?.strip_suffix("']");
                let label = inside("metadata.labels['").and_then(|key| self.labels.get(key));
                let annotation =
                    inside("metadata.annotations['").and_then(|key| self.annotations.get(key));
                label.or(annotation).cloned()
            }
        }
    }
}
