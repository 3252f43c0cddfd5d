//! The definitions that were packed into the program.

use std::io::Read as _;
use std::sync::{Arc, OnceLock};

use flate2::read::DeflateDecoder;
use serde::de::DeserializeOwned;

use crate::raw::{Raw, RawDefinition};
use crate::schema::Schema;

/// A kind and its versions.
#[derive(Debug)]
pub struct Definition {
    /// The API group, such as `networking.istio.io`.
    pub group: String,
    /// The kind, such as `VirtualService`.
    pub kind: String,
    /// The resource in paths of the API, such as `virtualservices`.
    pub plural: String,
    /// Where the definition comes from.
    pub source: Source,
    /// Whether its objects stand in a namespace.
    pub is_namespaced: bool,
    /// The versions that are served, in the order of the definition.
    pub versions: Vec<Version>,
}

/// Where a definition comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// Istio or the Gateway API published it.
    Published,
    /// It is about a kind of Kubernetes' own, and names what a mesh reads of it. An API server warns
    /// about fields that such a kind does not have, and drops them.
    Kubernetes,
    /// It is about a kind of Iako's.
    Own,
}

/// A version of a kind that is served.
#[derive(Debug)]
pub struct Version {
    /// Such as `v1`.
    pub name: String,
    /// Whether objects are kept in this one.
    pub is_storage: bool,
    /// Whether it will go.
    pub is_deprecated: bool,
    /// The schema of a whole document, without metadata and status.
    pub root: Arc<Schema>,
}

impl Definition {
    /// A version by its name.
    #[must_use]
    pub fn version(&self, name: &str) -> Option<&Version> {
        self.versions.iter().find(|version| version.name == name)
    }
}

/// Every definition that is known.
#[must_use]
pub fn definitions() -> &'static [Definition] {
    static DEFINITIONS: OnceLock<Vec<Definition>> = OnceLock::new();
    DEFINITIONS.get_or_init(|| {
        let packed = unpacked::<Raw>(include_bytes!(concat!(env!("OUT_DIR"), "/schemas.bin")));
        let read = packed.and_then(build);
        debug_assert!(read.is_some(), "the build script packs what is read here");
        read.unwrap_or_default()
    })
}

/// The definition of a kind.
#[must_use]
pub fn definition(group: &str, kind: &str) -> Option<&'static Definition> {
    definitions().iter().find(|one| one.kind == kind && one.group == group)
}

/// A description by its place. Unpacked at the first question: most runs ask for none.
pub(crate) fn description(place: usize) -> &'static str {
    static TEXTS: OnceLock<Vec<String>> = OnceLock::new();
    let texts = TEXTS.get_or_init(|| {
        let packed = include_bytes!(concat!(env!("OUT_DIR"), "/texts.bin"));
        unpacked(packed).unwrap_or_default()
    });
    texts.get(place).map_or("", String::as_str)
}

fn unpacked<T: DeserializeOwned>(packed: &[u8]) -> Option<T> {
    let mut text = Vec::new();
    DeflateDecoder::new(packed).read_to_end(&mut text).ok()?;
    serde_json::from_slice(&text).ok()
}

fn build(raw: Raw) -> Option<Vec<Definition>> {
    let mut schemas: Vec<Arc<Schema>> = Vec::with_capacity(raw.schemas.len());
    for schema in raw.schemas {
        let schema = Schema::new(schema, &schemas)?;
        schemas.push(Arc::new(schema));
    }
    raw.definitions.into_iter().map(|one| definition_of(one, &schemas)).collect()
}

fn definition_of(raw: RawDefinition, schemas: &[Arc<Schema>]) -> Option<Definition> {
    let mut versions = Vec::with_capacity(raw.versions.len());
    for version in raw.versions {
        versions.push(Version {
            root: schemas.get(version.root).cloned()?,
            name: version.name,
            is_storage: version.storage,
            is_deprecated: version.deprecated,
        });
    }
    Some(Definition {
        group: raw.group,
        kind: raw.kind,
        plural: raw.plural,
        source: match raw.folder.as_str() {
            "kubernetes" => Source::Kubernetes,
            "iako" => Source::Own,
            _ => Source::Published,
        },
        is_namespaced: raw.scope == "Namespaced",
        versions,
    })
}
