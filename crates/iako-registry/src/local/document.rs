//! A local pod as the `Pod` document that a kubelet would keep of it.

use std::net::IpAddr;

use iako_resources::{
    Object, ObjectMeta, Pod,
    kubernetes::pod::{Container, PodSpec},
};
use serde_json::{Value, json};

use super::{LocalPod, LocalPodRole};
use crate::{APP_ADDRESS_ANNOTATION, GATEWAY_ANNOTATION, OWNER_ANNOTATION};

/// Whether a pod takes traffic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readiness {
    /// It does.
    Ready,
    /// It does not: it starts, or ends.
    NotReady,
}

impl Readiness {
    /// The status of the condition `Ready`.
    const fn status(self) -> &'static str {
        match self {
            Self::Ready => "True",
            Self::NotReady => "False",
        }
    }
}

impl LocalPod {
    /// The pod as an object, as if its document had been read.
    #[must_use]
    pub fn to_object(&self, readiness: Readiness) -> Object<Pod> {
        let container =
            Container { name: "app".to_owned(), ports: self.ports.clone(), ..Container::default() };
        Object {
            meta: ObjectMeta {
                namespace: self.namespace.clone(),
                name: self.name.clone(),
                labels: self.labels.clone(),
                annotations: self.all_annotations(),
                ..ObjectMeta::default()
            },
            origin: self.origin.clone(),
            spec: Pod {
                spec: PodSpec {
                    service_account: self.service_account.clone(),
                    containers: vec![container],
                    ..PodSpec::default()
                },
                ip: Some(IpAddr::V4(self.address)),
                ready: readiness == Readiness::Ready,
                terminating: false,
                owner: None,
            },
        }
    }

    /// The pod as a document of Kubernetes, in JSON.
    #[must_use]
    pub fn to_json(&self, readiness: Readiness) -> Value {
        let ports: Vec<Value> = self
            .ports
            .iter()
            .map(|port| json!({"name": port.name, "containerPort": port.port}))
            .collect();
        json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": self.name,
                "namespace": self.namespace.as_str(),
                "labels": self.labels,
                "annotations": self.all_annotations(),
            },
            "spec": {
                "serviceAccountName": self.service_account.as_str(),
                "containers": [{"name": "app", "ports": ports}],
            },
            "status": {
                "phase": "Running",
                "podIP": self.address.to_string(),
                "conditions": [{"type": "Ready", "status": readiness.status()}],
            },
        })
    }

    fn all_annotations(&self) -> iako_resources::Labels {
        let mut annotations = self.annotations.clone();
        let owner = format!("{}/{}", self.owner.kind, self.owner.name);
        annotations.insert(OWNER_ANNOTATION.to_owned(), owner);
        match self.role {
            LocalPodRole::Application(_) => {
                annotations.insert(APP_ADDRESS_ANNOTATION.to_owned(), self.app_address.to_string())
            }
            LocalPodRole::Gateway => {
                annotations.insert(GATEWAY_ANNOTATION.to_owned(), "true".to_owned())
            }
        };
        annotations
    }
}
