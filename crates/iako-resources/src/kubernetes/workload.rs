//! `Deployment` and the other kinds that make pods.

mod parse;

use super::pod::PodSpec;
use crate::{Kind, Labels};

pub(crate) use parse::parse;

/// What makes pods. Source: Kubernetes `apps.v1.Deployment` and its kin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkloadTemplate {
    /// Which kind it is.
    pub kind: WorkloadKind,
    /// How many pods; a `DaemonSet` makes one here. Default: 1.
    pub replicas: u32,
    /// Labels of the pods.
    pub labels: Labels,
    /// Annotations of the pods.
    pub annotations: Labels,
    /// What runs in them.
    pub pod: PodSpec,
}

/// Kinds that make pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the names are the kinds' own")]
pub enum WorkloadKind {
    Deployment,
    StatefulSet,
    DaemonSet,
    ReplicaSet,
    Job,
}

impl WorkloadKind {
    /// The kind of the object.
    #[must_use]
    pub const fn kind(self) -> Kind {
        match self {
            Self::Deployment => Kind::Deployment,
            Self::StatefulSet => Kind::StatefulSet,
            Self::DaemonSet => Kind::DaemonSet,
            Self::ReplicaSet => Kind::ReplicaSet,
            Self::Job => Kind::Job,
        }
    }
}
