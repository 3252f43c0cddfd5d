//! What chooses the cluster of a request in place of a name.

use std::collections::BTreeMap;
use std::sync::Arc;

use iako_xds_api::envoy::config::core::v3::TypedExtensionConfig;
use iako_xds_api::envoy::config::route::v3 as pb;
use iako_xds_api::envoy::extensions::router::cluster_specifiers::matcher::v3 as ext;
use prost::{Message as _, Name as _};
use prost_types::Any;

use super::{match_tree, wire};
use crate::pool;
use crate::problem::{At, Fault};
use iako_proxy_config::{ClusterTarget, MatchTree};

/// The specifiers that routes of a table refer to by name.
#[derive(Debug, Default)]
pub(super) struct Specifiers {
    trees: BTreeMap<String, Arc<MatchTree<String>>>,
    /// What they were read from: a route that refers to one is not the same when this differs.
    bytes: Vec<u8>,
}

impl Specifiers {
    pub(super) fn read(config: &pb::RouteConfiguration, at: &At<'_>) -> Result<Self, Fault> {
        let mut value = Self::default();
        let at = at.field("cluster_specifier_plugins");
        for (index, plugin) in config.cluster_specifier_plugins.iter().enumerate() {
            let at = at.index(index);
            let at = at.field("extension");
            let extension = plugin.extension.as_ref();
            let extension = extension.ok_or_else(|| at.missing("write a name and settings"))?;
            let tree = tree(extension, &at)?;
            if value.trees.insert(extension.name.clone(), tree).is_some() {
                let problem = format!("`{}` stands twice", extension.name);
                return Err(at.field("name").invalid(problem, "give each its own name"));
            }
            plugin.encode_length_delimited(&mut value.bytes).unwrap_or_default();
        }
        Ok(value)
    }

    /// What routes are read by besides their own bytes.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The specifier of this name.
    pub(super) fn find(&self, name: &str, at: &At<'_>) -> Result<ClusterTarget, Fault> {
        let tree = self.trees.get(name).ok_or_else(|| {
            let help = "write it in cluster_specifier_plugins of the route configuration";
            at.invalid(format!("there is no `{name}`"), help)
        })?;
        Ok(ClusterTarget::Tree(Arc::clone(tree)))
    }
}

/// A specifier that is written in its route.
pub(super) fn inline(
    plugin: &pb::ClusterSpecifierPlugin,
    at: &At<'_>,
) -> Result<ClusterTarget, Fault> {
    let at = at.field("extension");
    let extension = plugin.extension.as_ref();
    let extension = extension.ok_or_else(|| at.missing("write a name and settings"))?;
    tree(extension, &at).map(ClusterTarget::Tree)
}

fn tree(extension: &TypedExtensionConfig, at: &At<'_>) -> Result<Arc<MatchTree<String>>, Fault> {
    let at = at.field("typed_config");
    let any = extension.typed_config.as_ref();
    let any = any.ok_or_else(|| at.missing("write settings with `@type`"))?;
    let name = pool::full_name(&any.type_url);
    if name != ext::MatcherClusterSpecifier::full_name() {
        let help = "write a MatcherClusterSpecifier";
        return Err(at.invalid(format!("`{name}` is not supported"), help));
    }
    let config: ext::MatcherClusterSpecifier = wire::unpack(any, &at)?;
    let at = at.field("cluster_matcher");
    let tree = config.cluster_matcher.as_ref().ok_or_else(|| at.missing("write the tree"))?;
    match_tree::tree(tree, &at, &cluster).map(Arc::new)
}

/// The cluster that an action of the tree names.
fn cluster(any: &Any, at: &At<'_>) -> Result<String, Fault> {
    let name = pool::full_name(&any.type_url);
    if name != ext::ClusterAction::full_name() {
        return Err(at.invalid(format!("`{name}` is not supported"), "write a ClusterAction"));
    }
    let action: ext::ClusterAction = wire::unpack(any, at)?;
    if action.cluster.is_empty() {
        return Err(at.field("cluster").missing("name the cluster"));
    }
    Ok(action.cluster)
}
