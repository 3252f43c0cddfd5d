//! Parts of a dump: `resource`, `mask` and `name_regex` of `/config_dump`.

use http::StatusCode;
use iako_proxy_config::Pattern;
use serde_json::{Map, Value, json};

use super::text::Query;

/// Names of fields.
type Names = &'static [&'static str];

/// Each kind of dump, with its lists and other fields.
const SHAPES: &[(&str, Names, Names)] = &[
    ("BootstrapConfigDump", &[], &["bootstrap", "last_updated"]),
    (
        "ClustersConfigDump",
        &["static_clusters", "dynamic_active_clusters", "dynamic_warming_clusters"],
        &["version_info"],
    ),
    ("EndpointsConfigDump", &["static_endpoint_configs", "dynamic_endpoint_configs"], &[]),
    ("ListenersConfigDump", &["static_listeners", "dynamic_listeners"], &["version_info"]),
    (
        "ScopedRoutesConfigDump",
        &["inline_scoped_route_configs", "dynamic_scoped_route_configs"],
        &[],
    ),
    ("RoutesConfigDump", &["static_route_configs", "dynamic_route_configs"], &[]),
    (
        "SecretsConfigDump",
        &["static_secrets", "dynamic_active_secrets", "dynamic_warming_secrets"],
        &[],
    ),
];

/// The type of the entries of a list.
fn entry_type(list: &str) -> &'static str {
    match list {
        "static_clusters" => "ClustersConfigDump.StaticCluster",
        "dynamic_active_clusters" | "dynamic_warming_clusters" => {
            "ClustersConfigDump.DynamicCluster"
        }
        "static_endpoint_configs" => "EndpointsConfigDump.StaticEndpointConfig",
        "dynamic_endpoint_configs" => "EndpointsConfigDump.DynamicEndpointConfig",
        "static_listeners" => "ListenersConfigDump.StaticListener",
        "dynamic_listeners" => "ListenersConfigDump.DynamicListener",
        "inline_scoped_route_configs" => "ScopedRoutesConfigDump.InlineScopedRouteConfigs",
        "dynamic_scoped_route_configs" => "ScopedRoutesConfigDump.DynamicScopedRouteConfigs",
        "static_route_configs" => "RoutesConfigDump.StaticRouteConfig",
        "dynamic_route_configs" => "RoutesConfigDump.DynamicRouteConfig",
        "static_secrets" => "SecretsConfigDump.StaticSecret",
        _ => "SecretsConfigDump.DynamicSecret",
    }
}

/// What entries of lists have, of any kind.
const ENTRY_FIELDS: Names = &[
    "name",
    "version_info",
    "cluster",
    "listener",
    "route_config",
    "secret",
    "endpoint_config",
    "scoped_route_configs",
    "active_state",
    "warming_state",
    "draining_state",
    "error_state",
    "client_status",
    "last_updated",
];

const TYPES: &str = "type.googleapis.com/envoy.admin.v3.";

/// A dump that was asked for in a way that cannot be answered.
pub(super) type Refused = (StatusCode, String);

/// What of the dump is asked for.
pub(super) fn select(mut configs: Vec<Value>, query: &Query) -> Result<Vec<Value>, Refused> {
    let bad = |text: String| (StatusCode::BAD_REQUEST, text);
    let expression = query.value("name_regex").filter(|text| !text.is_empty());
    let names = expression.map(Pattern::parse).transpose();
    let names = names.map_err(|error| bad(format!("name_regex is no expression: {error}")))?;
    if let Some(names) = &names {
        configs.iter_mut().for_each(|config| keep_named(config, names));
    }
    let mask: Vec<&str> = query
        .value("mask")
        .map(|mask| mask.split(',').filter(|path| !path.is_empty()).collect())
        .unwrap_or_default();
    if let Some(resource) = query.value("resource").filter(|resource| !resource.is_empty()) {
        return of_resource(&configs, resource, &mask);
    }
    if mask.is_empty() {
        return Ok(configs);
    }
    let masked: Vec<Value> =
        configs.iter().filter_map(|config| masked_dump(config, &mask)).collect();
    if masked.is_empty() {
        let mask = mask.join(",");
        return Err(bad(format!("the mask {mask} fits none of the configurations")));
    }
    Ok(masked)
}

/// Drops the entries of all lists whose resource has another name.
fn keep_named(config: &mut Value, names: &Pattern) {
    let Value::Object(members) = config else { return };
    for list in members.values_mut() {
        if let Value::Array(entries) = list {
            entries.retain(|entry| name_of(entry).is_some_and(|name| names.is_match(name)));
        }
    }
}

/// The name of the resource in an entry of a dump.
fn name_of(entry: &Value) -> Option<&str> {
    let inner = ["cluster", "listener", "route_config", "secret", "endpoint_config"];
    let inner = inner.iter().find_map(|kind| entry.get(kind)).unwrap_or(entry);
    let name = inner.get("name").or_else(|| inner.get("cluster_name"));
    name.or_else(|| entry.get("name"))?.as_str()
}

fn shape_of(config: &Value) -> Option<(Names, Names)> {
    let name = config.get("@type")?.as_str()?.strip_prefix(TYPES)?;
    let (_, lists, fields) = SHAPES.iter().find(|(kind, _, _)| *kind == name)?;
    Some((lists, fields))
}

/// The entries of one list, each by itself.
fn of_resource(configs: &[Value], resource: &str, mask: &[&str]) -> Result<Vec<Value>, Refused> {
    for config in configs {
        let Some((lists, fields)) = shape_of(config) else { continue };
        if fields.contains(&resource) {
            let text = format!("{resource} is no list; ask for it with ?mask={resource}");
            return Err((StatusCode::BAD_REQUEST, text));
        }
        if !lists.contains(&resource) {
            continue;
        }
        let is_known = |path: &&str| {
            let first = path.split('.').next().unwrap_or_default();
            ENTRY_FIELDS.contains(&first)
        };
        if !mask.iter().all(is_known) {
            let text = format!("the mask {} does not fit {resource}", mask.join(","));
            return Err((StatusCode::BAD_REQUEST, text));
        }
        let entries = config.get(resource).and_then(Value::as_array);
        let kind = format!("{TYPES}{}", entry_type(resource));
        let shown = entries.into_iter().flatten().map(|entry| {
            let mut shown = Map::new();
            shown.insert("@type".to_owned(), json!(kind));
            if let Value::Object(members) = masked(entry, mask) {
                shown.extend(members);
            }
            Value::Object(shown)
        });
        return Ok(shown.collect());
    }
    Err((StatusCode::NOT_FOUND, format!("{resource} not found in config dump")))
}

/// The fields of an entry that a mask names; all without one.
fn masked(entry: &Value, mask: &[&str]) -> Value {
    if mask.is_empty() {
        return entry.clone();
    }
    let mut kept = Value::Object(Map::new());
    for path in mask {
        let segments: Vec<&str> = path.split('.').collect();
        keep(entry, &segments, &mut kept);
    }
    kept
}

/// Copies what a path leads to.
fn keep(from: &Value, path: &[&str], into: &mut Value) {
    let (Some((first, rest)), Value::Object(into)) = (path.split_first(), into) else { return };
    let Some(inner) = from.get(*first) else { return };
    if rest.is_empty() {
        into.insert((*first).to_owned(), inner.clone());
        return;
    }
    let place = into.entry((*first).to_owned()).or_insert_with(|| {
        let mut place = Map::new();
        // A resource is shown with its type, whatever is left of it.
        if let Some(kind) = inner.get("@type") {
            place.insert("@type".to_owned(), kind.clone());
        }
        Value::Object(place)
    });
    keep(inner, rest, place);
}

/// A dump with what a mask names; none where the mask does not fit it.
fn masked_dump(config: &Value, mask: &[&str]) -> Option<Value> {
    let (lists, fields) = shape_of(config)?;
    let fits = |path: &&str| match path.split_once('.') {
        None => lists.contains(path) || fields.contains(path),
        // A path cannot lead through a list.
        Some((first, _)) => fields.contains(&first),
    };
    if !mask.iter().all(fits) {
        return None;
    }
    let mut shown = masked(config, mask);
    if let (Value::Object(members), Some(kind)) = (&mut shown, config.get("@type")) {
        members.insert("@type".to_owned(), kind.clone());
    }
    Some(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn configs() -> Vec<Value> {
        let cluster = |name: &str| json!({"cluster": {"@type": "c", "name": name, "x": 1}});
        vec![
            json!({
                "@type": "type.googleapis.com/envoy.admin.v3.BootstrapConfigDump",
                "bootstrap": {"node": {"id": "n", "cluster": "c"}},
            }),
            json!({
                "@type": "type.googleapis.com/envoy.admin.v3.ClustersConfigDump",
                "version_info": "3",
                "static_clusters": [cluster("be"), cluster("other")],
            }),
        ]
    }

    fn ask(query: &str) -> Result<Value, u16> {
        let selected = select(configs(), &Query::parse(query));
        selected.map(Value::Array).map_err(|(status, _)| status.as_u16())
    }

    #[test]
    fn a_list_is_shown_entry_by_entry_and_masked() {
        let kind = "type.googleapis.com/envoy.admin.v3.ClustersConfigDump.StaticCluster";
        assert_eq!(
            ask("resource=static_clusters&mask=cluster.name&name_regex=b.*"),
            Ok(json!([{"@type": kind, "cluster": {"@type": "c", "name": "be"}}]))
        );
        assert_eq!(ask("resource=dynamic_active_clusters"), Ok(json!([])));
    }

    #[test]
    fn a_mask_alone_leads_through_no_list() {
        let kind = "type.googleapis.com/envoy.admin.v3.BootstrapConfigDump";
        let id = json!([{"@type": kind, "bootstrap": {"node": {"id": "n"}}}]);
        assert_eq!(ask("mask=bootstrap.node.id"), Ok(id));
        assert_eq!(ask("mask=static_clusters.cluster.name"), Err(400));
        assert_eq!(ask("mask=nope"), Err(400));
    }

    #[test]
    fn what_is_no_list_is_refused() {
        assert_eq!(ask("resource=bootstrap"), Err(400));
        assert_eq!(ask("resource=version_info"), Err(400));
        assert_eq!(ask("resource=nope"), Err(404));
        assert_eq!(ask("name_regex=("), Err(400));
    }
}
