//! Where resources come from, and names of resources that come from somewhere.

use std::borrow::Cow;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Where resources come from. Source: `envoy.config.core.v3.ConfigSource`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigSource {
    /// Who tells them.
    pub origin: ConfigOrigin,
    /// How long whoever needs a resource waits for the first word about it, before it goes on
    /// without; for ever when absent. Envoy default: 15 s; 0 there is "for ever".
    /// Source: `ConfigSource.initial_fetch_timeout`.
    pub initial_fetch_timeout: Option<Duration>,
}

impl ConfigSource {
    /// How long is waited where nothing else is said. Envoy default: 15 s.
    pub const INITIAL_FETCH_TIMEOUT: Duration = Duration::from_secs(15);

    /// Resources of this origin, waited for as long as Envoy does by default.
    #[must_use]
    pub const fn new(origin: ConfigOrigin) -> Self {
        Self { origin, initial_fetch_timeout: Some(Self::INITIAL_FETCH_TIMEOUT) }
    }
}

/// From the control plane, on the stream that everything comes on.
impl Default for ConfigSource {
    fn default() -> Self {
        Self::new(ConfigOrigin::Ads)
    }
}

/// Who tells resources. Source: `envoy.config.core.v3.ConfigSource.config_source_specifier`.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum ConfigOrigin {
    /// The control plane of the bootstrap, on the stream that everything comes on. `self`, from
    /// whoever told the resource that asks, is this one too where that came over it.
    #[default]
    Ads,
    /// A server of its own, one stream for each type of resource.
    Grpc(GrpcSource),
    /// A file of this machine.
    File(FileSource),
}

/// What a person calls it.
impl fmt::Display for ConfigOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ads => f.write_str("the control plane"),
            Self::Grpc(grpc) => {
                let form = if grpc.delta { "delta" } else { "state of the world" };
                write!(f, "the server {} ({form})", grpc.clusters.join(" or "))
            }
            Self::File(file) => write!(f, "the file {}", file.path.display()),
        }
    }
}

/// A server of discovery services. Source: `envoy.config.core.v3.ApiConfigSource`.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct GrpcSource {
    /// Static clusters that reach it, the preferred one first; the next is tried when one cannot be
    /// reached. At least one. Source: `grpc_services[].envoy_grpc.cluster_name`.
    pub clusters: Vec<String>,
    /// Whether only differences are sent: `DELTA_GRPC`, else `GRPC`.
    pub delta: bool,
    /// Whether the node is told with the first message of a stream only. Envoy default: false.
    pub node_on_first_message_only: bool,
    /// How fast requests may be sent; not limited when absent.
    pub rate_limit: Option<RequestRate>,
}

/// How fast requests may be sent to a server.
/// Source: `envoy.config.core.v3.RateLimitSettings`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct RequestRate {
    /// Requests that may be sent at once. At least 1; Envoy default: 100.
    pub burst: u32,
    /// Milliseconds until one more may be sent. At least 1; Envoy default: 100 (10 a second).
    pub pause_ms: u32,
}

/// A file that holds resources: a `DiscoveryResponse` as JSON, YAML, or protobuf.
/// Source: `envoy.config.core.v3.PathConfigSource`.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct FileSource {
    /// The file. A new one has to be moved in its place; writing into it is not noticed.
    pub path: PathBuf,
    /// A directory in which any move makes the file be read again, in place of a move of the file
    /// itself. For the links of a Kubernetes `ConfigMap`.
    pub watched_directory: Option<PathBuf>,
    /// Whether writing into a file of that directory makes it be read again too. Envoy default:
    /// false. Source: `WatchedDirectory.watch_modify`.
    pub watch_modify: bool,
    /// How often it is read again although nothing was noticed, for file systems that tell
    /// nothing; never when absent. Source: `PathConfigSource.poll_interval`.
    pub poll_interval: Option<Duration>,
}

/// The name of a resource that comes from somewhere. Cheap to clone.
#[derive(Clone, PartialEq, Eq)]
pub struct SourcedName(Arc<Parts>);

#[derive(PartialEq, Eq)]
struct Parts {
    name: Box<str>,
    key: Box<str>,
    source: ConfigSource,
}

impl SourcedName {
    /// A resource of this name that comes from there.
    #[must_use]
    pub fn new(name: &str, source: ConfigSource) -> Self {
        let key = Self::key_of(name, &source.origin).into();
        Self(Arc::new(Parts { name: name.into(), key, source }))
    }

    /// The [key](Self::key) of a resource of this name that comes from there.
    #[must_use]
    pub fn key_of<'a>(name: &'a str, origin: &ConfigOrigin) -> Cow<'a, str> {
        match origin {
            ConfigOrigin::Ads => Cow::Borrowed(name),
            // No name holds a control character, and no file or cluster is called like another.
            ConfigOrigin::Grpc(_) | ConfigOrigin::File(_) => {
                Cow::Owned(format!("{name}\u{1}{origin}"))
            }
        }
    }

    /// Its name, as its server knows it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// A name of its own among resources of all sources; the name itself when it comes from the
    /// control plane.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.0.key
    }

    /// Where it comes from.
    #[must_use]
    pub fn source(&self) -> &ConfigSource {
        &self.0.source
    }
}

impl fmt::Debug for SourcedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.key(), f)
    }
}

/// From the control plane.
impl From<&str> for SourcedName {
    fn from(name: &str) -> Self {
        Self::new(name, ConfigSource::default())
    }
}

/// From the control plane.
impl From<String> for SourcedName {
    fn from(name: String) -> Self {
        Self::from(name.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_name_from_two_places_is_two_resources() {
        let file = |path: &str| {
            let file = FileSource { path: path.into(), ..FileSource::default() };
            SourcedName::new("r", ConfigSource::new(ConfigOrigin::File(file)))
        };
        let ads = SourcedName::from("r");
        assert_eq!(ads.key(), "r");
        assert_ne!(ads.key(), file("/a").key());
        assert_ne!(file("/a").key(), file("/b").key());
        assert_eq!(file("/a").name(), "r");
    }
}
