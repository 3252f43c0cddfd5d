//! Secrets and the workload's own identity, and the TLS settings made of them.

use std::{collections::BTreeSet, sync::Arc, time::SystemTime};

use iako_identity::Identity;
use iako_proxy_config::{Secret, SourcedName};

use super::ConfigTask;
use crate::transport::{
    client::ClientTlsSlot,
    material::{Material, MaterialError, Materials, OWN_CERTIFICATE, OWN_ROOTS},
    server::ServerTlsSlot,
};

/// Everything secret, and which of it the bootstrap holds.
#[derive(Debug, Default)]
pub(super) struct SecretStore {
    materials: Arc<Materials>,
    of_bootstrap: BTreeSet<String>,
    /// Whether the workload has an identity of its own, issued already or not.
    has_identity: bool,
}

impl SecretStore {
    pub(super) const fn materials(&self) -> &Arc<Materials> {
        &self.materials
    }

    /// Says that the identity comes from this process, not from the control plane.
    pub(super) const fn await_identity(&mut self) {
        self.has_identity = true;
    }

    pub(super) fn set_identity(&mut self, identity: Option<Arc<Identity>>) {
        Arc::make_mut(&mut self.materials).identity = identity;
    }

    pub(super) fn set_static(&mut self, secret: &Secret) -> Result<(), String> {
        self.of_bootstrap.insert(secret.name.clone());
        self.insert(&secret.name, secret)
    }

    /// Takes a secret that was sent.
    pub(super) fn set(&mut self, key: &str, secret: &Secret) -> Result<(), String> {
        if self.of_bootstrap.contains(key) {
            return Err("it is the bootstrap's and cannot be changed".to_owned());
        }
        self.insert(key, secret)
    }

    fn insert(&mut self, key: &str, secret: &Secret) -> Result<(), String> {
        let material = Material::read(secret).map_err(|error| with_causes(&error))?;
        Arc::make_mut(&mut self.materials).secrets.insert(key.to_owned(), material);
        Ok(())
    }

    /// Whether nobody has to be asked for a secret.
    pub(super) fn is_own(&self, name: &SourcedName) -> bool {
        let by_identity = matches!(name.name(), OWN_CERTIFICATE | OWN_ROOTS);
        self.of_bootstrap.contains(name.key()) || (by_identity && self.has_identity)
    }

    /// Whether a secret is there that filters show or sign with.
    pub(super) fn has_generic(&self, name: &SourcedName) -> bool {
        self.materials.generic(name).is_some()
    }

    /// Builds TLS settings towards clients; waiting for a secret is no failure.
    pub(super) fn refresh_server(&self, slot: &ServerTlsSlot) -> Result<(), String> {
        unless_missing(slot.refresh(&self.materials))
    }

    /// Builds TLS settings towards upstreams; waiting for a secret is no failure.
    pub(super) fn refresh_client(&self, slot: &ClientTlsSlot) -> Result<(), String> {
        unless_missing(slot.refresh(&self.materials))
    }

    /// Whole days that the first certificate to expire still lives; none without certificates.
    pub(super) fn days_until_first_expiry(&self, now: SystemTime) -> Option<u64> {
        let own = self.materials.identity.iter().map(|identity| identity.svid.not_after());
        let others = self.materials.secrets.values().filter_map(|material| match material {
            Material::Certificate(certificate) => Some(certificate.facts().not_after),
            Material::Validation(_) | Material::TicketKeys(_) | Material::Generic(_) => None,
        });
        let first = own.chain(others).min()?;
        Some(first.duration_since(now).map_or(0, |left| left.as_secs() / 86_400))
    }
}

fn unless_missing(result: Result<(), MaterialError>) -> Result<(), String> {
    match result {
        Ok(()) | Err(MaterialError::Missing { .. }) => Ok(()),
        Err(error) => Err(with_causes(&error)),
    }
}

/// An error with its causes in one line.
pub(super) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

impl ConfigTask {
    /// Builds all TLS settings anew, for handshakes from now on.
    pub(super) fn refresh_tls(&self) {
        for (name, entry) in &self.clusters {
            for slot in entry.versions().flat_map(|cluster| cluster.tls_slots()) {
                if let Err(error) = self.secrets.refresh_client(slot) {
                    tracing::error!(cluster = %name, error, "TLS settings stay as they were");
                }
            }
        }
        for (name, entry) in &self.listeners {
            for slot in entry.tls_slots() {
                if let Err(error) = self.secrets.refresh_server(slot) {
                    tracing::error!(listener = %name, error, "TLS settings stay as they were");
                }
            }
        }
        self.publish_inventory();
    }
}
