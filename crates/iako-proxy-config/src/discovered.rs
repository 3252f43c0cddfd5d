//! Filters whose settings are sent on their own.

use std::collections::BTreeSet;

use crate::SourcedName;

/// A filter whose settings come as a resource of their own, and change without its listener.
///
/// Whoever compiles a listener writes what has arrived in the place of this; where it is still there
/// nothing has, and connections or requests that come to it are refused.
/// Source: `envoy.config.core.v3.ExtensionConfigSource`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Discovered<Kind> {
    /// The filter's name, which is that of the resource, and where that comes from.
    pub name: SourcedName,
    /// Full names of the messages that the settings may be; others are refused. At least one.
    /// Source: `type_urls`.
    pub type_names: BTreeSet<String>,
    /// What the filter does until settings arrive, and when they are removed; none when it then does
    /// not let anything pass.
    pub default: Option<Box<Kind>>,
    /// Whether the listener serves before anything arrived. Only with a default.
    /// Source: `apply_default_config_without_warming`. Envoy default: false.
    pub serves_at_once: bool,
}
