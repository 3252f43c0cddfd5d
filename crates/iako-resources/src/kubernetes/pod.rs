//! `Pod`, and the template of one.

mod parse;

use std::net::IpAddr;

use iako_types::ServiceAccount;

use super::service::Transport;

pub(crate) use parse::{parse, read_pod_spec};

/// An instance of a workload. Source: Kubernetes `v1.Pod`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pod {
    /// What runs.
    pub spec: PodSpec,
    /// Its address; `None` until it has one.
    pub ip: Option<IpAddr>,
    /// Condition `Ready`.
    pub ready: bool,
    /// Being deleted, or ended.
    pub terminating: bool,
    /// Kind and name of the controlling owner, such as `ReplicaSet`, `web-5d9`.
    pub owner: Option<(String, String)>,
}

/// What runs in a pod. Source: Kubernetes `v1.PodSpec`; what the mesh does not need is not read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PodSpec {
    /// Its account. Default: `default`.
    pub service_account: ServiceAccount,
    /// Its containers.
    pub containers: Vec<Container>,
    /// It uses the network of its node.
    pub host_network: bool,
    /// Where the scheduler put it.
    pub node: Option<String>,
    /// Fields that a local process does not get, such as `volumes`.
    pub unread: Vec<&'static str>,
}

/// One container. Source: Kubernetes `v1.Container`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Container {
    /// Its name.
    pub name: String,
    /// Its image; unused when it runs as a local process.
    pub image: String,
    /// The program; empty is the image's.
    pub command: Vec<String>,
    /// Arguments.
    pub args: Vec<String>,
    /// Environment.
    pub env: Vec<EnvVar>,
    /// Directory to start in.
    pub working_dir: Option<String>,
    /// Ports that it listens on.
    pub ports: Vec<ContainerPort>,
    /// Fields that a local process does not get, such as `envFrom`.
    pub unread: Vec<&'static str>,
}

/// One variable. Source: Kubernetes `v1.EnvVar`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnvVar {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: EnvValue,
}

/// The value of a variable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EnvValue {
    /// This text.
    Text(String),
    /// A field of the pod, such as `metadata.namespace` or `status.podIP`.
    Field(String),
    /// A key of a ConfigMap: name, key.
    ConfigMapKey(String, String),
    /// A key of a Secret: name, key.
    SecretKey(String, String),
}

/// A port of a container. Source: Kubernetes `v1.ContainerPort`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerPort {
    /// Its name; may be empty.
    pub name: String,
    /// Its number.
    pub port: u16,
    /// Transport.
    pub transport: Transport,
}
