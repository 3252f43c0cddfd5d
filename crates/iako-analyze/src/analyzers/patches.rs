//! EnvoyFilters: whether their patches can be applied, and always in the same order.

use iako_registry::MeshSnapshot;
use iako_resources::{
    Code, Kind, Resource,
    istio::envoy_filter::{ApplyTo, ConfigPatch, PatchOperation},
};

use super::findings::{Findings, Part};

/// Patches that Istio passes over, and patches that need others before them.
pub(super) fn patches(snapshot: &MeshSnapshot, findings: &mut Findings) {
    for resource in &snapshot.waiting {
        let Resource::EnvoyFilter(object) = resource else { continue };
        for (at, patch) in object.spec.patches.iter().enumerate() {
            let path = &format!("spec.configPatches[{at}].patch.operation");
            let part = Part { path, line: patch.line };
            let of = (Kind::EnvoyFilter, object.as_ref());
            if let Some(message) = ignored(patch) {
                let help = "use MERGE, or another applyTo";
                findings.add(Code::PatchIgnored, of, &part, (message.to_owned(), help));
            } else if object.spec.priority == 0 && is_relative(patch.operation) {
                let version = patch
                    .proxy
                    .version
                    .as_ref()
                    .map_or("", |_| ", and during an upgrade it holds for some proxies only");
                let message = format!(
                    "it applies only where its neighbour is there already; without a priority, \
                     other EnvoyFilters may come after it{version}"
                );
                let help = "set spec.priority, or use INSERT_FIRST or ADD";
                findings.add(Code::PatchOrder, of, &part, (message, help));
            }
        }
    }
}

/// Why Istio passes a patch over.
fn ignored(patch: &ConfigPatch) -> Option<&'static str> {
    let routes = matches!(patch.apply_to, ApplyTo::RouteConfiguration | ApplyTo::HttpRoute);
    let replaceable = matches!(
        patch.apply_to,
        ApplyTo::NetworkFilter | ApplyTo::HttpFilter | ApplyTo::VirtualHost
    );
    match patch.operation {
        PatchOperation::Add if patch.apply_to == ApplyTo::RouteConfiguration => {
            Some("ADD has no effect on a ROUTE_CONFIGURATION")
        }
        PatchOperation::Remove if routes => {
            Some("REMOVE has no effect on a ROUTE_CONFIGURATION or an HTTP_ROUTE")
        }
        PatchOperation::Replace if !replaceable => {
            Some("REPLACE is for HTTP_FILTER, NETWORK_FILTER and VIRTUAL_HOST")
        }
        PatchOperation::Merge
        | PatchOperation::MergeAndReplaceList
        | PatchOperation::Add
        | PatchOperation::Remove
        | PatchOperation::InsertBefore
        | PatchOperation::InsertAfter
        | PatchOperation::InsertFirst
        | PatchOperation::Replace => None,
    }
}

/// Whether an operation needs something that is there already.
const fn is_relative(operation: PatchOperation) -> bool {
    match operation {
        PatchOperation::InsertBefore
        | PatchOperation::InsertAfter
        | PatchOperation::Replace
        | PatchOperation::Remove => true,
        PatchOperation::Merge
        | PatchOperation::MergeAndReplaceList
        | PatchOperation::Add
        | PatchOperation::InsertFirst => false,
    }
}
