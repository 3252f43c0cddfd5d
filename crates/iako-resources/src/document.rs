//! From a document to an object: which kind it is, what it is called, who reads it.

mod annotations;
mod kinds;
mod mesh;
mod metadata;
mod published;
mod source;

use std::fmt;

use iako_types::Namespace;

use crate::{Diagnostic, Labels, Object, PassedOver, Resource, ResourceKey, reader::Cursor};

pub(crate) use mesh::{mesh_text, networks_text};
pub use source::read_text;

/// What a document needs to know of its surroundings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadOptions {
    /// Namespace of objects that name none. Default: `default`.
    pub default_namespace: Namespace,
    /// The DNS domain below `svc`. Default: `cluster.local`.
    pub cluster_domain: String,
    /// How the text came to us. Default: by its name.
    pub asked: Asked,
}

impl Default for ReadOptions {
    fn default() -> Self {
        Self {
            default_namespace: Namespace::default(),
            cluster_domain: "cluster.local".to_owned(),
            asked: Asked::ByName,
        }
    }
}

/// How a text came to us: whether it is ours to judge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// The user named it: what is not ours is told.
    ByName,
    /// It lies in a directory that the user named: what is not ours is passed over.
    InDirectory,
}

/// What the reader of a specification knows of its object.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Context<'a> {
    pub(crate) namespace: &'a Namespace,
    pub(crate) name: &'a str,
    pub(crate) labels: &'a Labels,
    pub(crate) annotations: &'a Labels,
    pub(crate) cluster_domain: &'a str,
}

impl fmt::Display for Context<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// What one document became.
#[derive(Debug, Clone, Default)]
pub(crate) struct Read {
    pub(crate) resource: Option<Resource>,
    /// The object, when its name could be read but it has an error.
    pub(crate) refused: Option<ResourceKey>,
    pub(crate) diagnostics: Vec<Diagnostic>,
    /// Why nothing was made of it, when it is not ours.
    pub(crate) passed: Option<PassedOver>,
}

/// How the specification of a kind is read: the `spec`, or the whole document for kinds without.
pub(crate) type SpecReader<T> = fn(&Cursor<'_>, &Context<'_>) -> Option<T>;

/// Wraps a read specification.
pub(crate) type Wrap<T> = fn(std::sync::Arc<Object<T>>) -> Resource;
