//! `Secret` and `ConfigMap`.

mod parse;

use std::{collections::BTreeMap, fmt};

use crate::{MeshConfig, istio::mesh_networks::MeshNetworks};

pub(crate) use parse::{parse_config_map, parse_secret};

/// Secret values. Source: Kubernetes `v1.Secret`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Secret {
    /// Its type, such as `kubernetes.io/tls`. Default: `Opaque`.
    pub secret_type: String,
    /// Its values.
    pub data: BTreeMap<String, SecretBytes>,
}

/// A value that is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretBytes(Vec<u8>);

impl SecretBytes {
    /// Takes a value.
    #[must_use]
    pub const fn new(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// The value. The name of this function is what a review looks for.
    #[must_use]
    pub fn reveal(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for SecretBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretBytes({} bytes)", self.0.len())
    }
}

/// Plain values. Source: Kubernetes `v1.ConfigMap`.
#[derive(Debug, Clone, PartialEq)]
pub struct ConfigMap {
    /// Its texts; binary values are not read.
    pub data: BTreeMap<String, String>,
    /// The settings of the mesh, when this is the ConfigMap `istio` of `istio-system`.
    pub mesh: Option<Box<MeshConfig>>,
    /// The networks of the mesh, when this is that ConfigMap. Not applied yet.
    pub networks: Option<Box<MeshNetworks>>,
}
