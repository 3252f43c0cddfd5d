//! Everything that the proxy was told, in Envoy's form.

use std::{collections::BTreeMap, sync::Arc};

use iako_proxy_config::{EndpointSet, Listener, RouteSource, ScopeSource, Terminal};
use iako_xds_codec as xds;
use rustls_pki_types::CertificateDer;
use serde_json::{Map, Value, json};

use super::{
    Page, selection,
    text::{Query, timestamp},
};
use crate::{
    config_task::{Inventory, Refusal, ResourceKind, Told},
    shared::Shared,
    transport::material::Material,
};

/// What stands in place of a private key: `[redacted]`, base64, as Envoy writes it.
const REDACTED: &str = "W3JlZGFjdGVkXQ==";

/// The answer to `/config_dump`; endpoints with `include_eds`, as Envoy does.
pub(super) fn page(shared: &Shared, query: &Query) -> Page {
    let inventory = shared.inventory.load();
    let mut configs = vec![bootstrap(shared), clusters(&inventory)];
    configs.extend(extensions(&inventory));
    if query.has("include_eds") {
        configs.push(endpoints(shared, &inventory));
    }
    configs.extend([
        listeners(&inventory),
        scopes(&inventory),
        routes(&inventory),
        secrets(&inventory),
    ]);
    for config in &mut configs {
        redact(config);
    }
    match selection::select(configs, query) {
        // What was refused is told where nothing in particular is asked for.
        Ok(configs) if query.value("resource").is_none() && query.value("mask").is_none() => {
            Page::json(&json!({"configs": configs, "refused": refusals(&inventory)}))
        }
        Ok(configs) => Page::json(&json!({"configs": configs})),
        Err((status, text)) => Page { content_type: "text/plain", ..Page::text(text).with(status) },
    }
}

/// Takes private keys out, wherever the configuration holds them.
fn redact(value: &mut Value) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                if matches!(name.as_str(), "private_key" | "password" | "session_ticket_keys") {
                    *member = json!({"inline_bytes": REDACTED});
                } else {
                    redact(member);
                }
            }
        }
        Value::Array(values) => values.iter_mut().for_each(redact),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn bootstrap(shared: &Shared) -> Value {
    let node = &shared.node.node;
    json!({
        "@type": "type.googleapis.com/envoy.admin.v3.BootstrapConfigDump",
        "bootstrap": {"node": {
            "id": node.id,
            "cluster": node.cluster,
            "metadata": node.metadata,
            "locality": {
                "region": node.locality.region,
                "zone": node.locality.zone,
                "sub_zone": node.locality.sub_zone,
            },
        }},
        "last_updated": timestamp(shared.started_at),
    })
}

fn clusters(inventory: &Inventory) -> Value {
    let show = |told: &Told<_>| {
        let json = xds::to_json(&xds::encode::cluster(&told.value));
        with_error(
            dated(told, "cluster", &json),
            inventory,
            ResourceKind::Cluster,
            &told.value.name,
        )
    };
    let (fixed, sent): (Vec<_>, Vec<_>) =
        inventory.clusters.iter().partition(|told| told.is_static());
    dump(
        "ClustersConfigDump",
        &inventory.cluster_version,
        [
            ("static_clusters", fixed.into_iter().map(show).collect()),
            ("dynamic_active_clusters", sent.into_iter().map(show).collect()),
            ("dynamic_warming_clusters", inventory.warming_clusters.iter().map(show).collect()),
        ],
    )
}

/// Settings of filters that were sent on their own; nothing where there are none.
fn extensions(inventory: &Inventory) -> Option<Value> {
    let show =
        |told: &Told<xds::RawResource>| dated(told, "ecds_filter", &xds::to_json(&told.value));
    let all: Vec<Value> = inventory.extensions.iter().map(show).collect();
    (!all.is_empty()).then(|| dump("EcdsConfigDump", "", [("ecds_filters", all)]))
}

fn listeners(inventory: &Inventory) -> Value {
    let show = |told: &Told<Listener>| {
        dated(told, "listener", &xds::to_json(&xds::encode::listener(&told.value)))
    };
    let serving = inventory.listeners.iter().map(|(told, _)| told);
    let (fixed, sent): (Vec<_>, Vec<_>) = serving.partition(|told| told.is_static());
    // One entry for each name, whatever there is of it.
    let mut dynamic: BTreeMap<&str, Value> = BTreeMap::new();
    let mut add = |name, state: &str, shown: Value| {
        let entry = dynamic.entry(name).or_insert_with(|| json!({"name": name}));
        if let Value::Object(members) = entry {
            members.insert(state.to_owned(), shown);
        }
    };
    for told in sent {
        add(&told.value.name, "active_state", show(told));
    }
    for told in &inventory.warming_listeners {
        add(&told.value.name, "warming_state", show(told));
    }
    for refusal in inventory.refusals.iter().filter(|one| one.kind == ResourceKind::Listener) {
        add(&refusal.name, "error_state", error_state(refusal));
    }
    dump(
        "ListenersConfigDump",
        &inventory.listener_version,
        [
            ("static_listeners", fixed.into_iter().map(show).collect()),
            ("dynamic_listeners", dynamic.into_values().collect()),
        ],
    )
}

/// Tables that are written in listeners.
fn inline_tables(told: &Told<Listener>) -> Vec<Value> {
    let chains = told.value.chains.iter().chain(&told.value.default_chain);
    let tables = chains.filter_map(|chain| {
        let Terminal::Http(manager) = &chain.terminal else { return None };
        let RouteSource::Inline(table) = &manager.routes else { return None };
        let table = xds::to_json(&xds::encode::route_configuration(table));
        Some(json!({"route_config": table, "last_updated": timestamp(told.updated)}))
    });
    tables.collect()
}

fn routes(inventory: &Inventory) -> Value {
    let show = |told: &Told<_>| {
        let json = xds::to_json(&xds::encode::route_configuration(&told.value));
        let dated = dated(told, "route_config", &json);
        with_error(dated, inventory, ResourceKind::Routes, &told.value.name)
    };
    let listeners = inventory.listeners.iter().map(|(told, _)| told);
    let fixed: Vec<Value> = listeners.flat_map(inline_tables).collect();
    dump(
        "RoutesConfigDump",
        "",
        [
            ("static_route_configs", fixed),
            ("dynamic_route_configs", inventory.routes.iter().map(show).collect()),
        ],
    )
}

/// Scopes that are written in listeners.
fn scopes(inventory: &Inventory) -> Value {
    let mut inline = Vec::new();
    for (told, _) in &inventory.listeners {
        for chain in told.value.chains.iter().chain(&told.value.default_chain) {
            if let Terminal::Http(manager) = &chain.terminal
                && let RouteSource::Scoped(routes) = &manager.routes
                && let ScopeSource::Inline(scopes) = &routes.scopes
            {
                let show = |scope: &Arc<_>| xds::to_json(&xds::encode::scope(scope));
                inline.push(json!({
                    "name": routes.name,
                    "scoped_route_configs": scopes.iter().map(show).collect::<Vec<_>>(),
                    "last_updated": timestamp(told.updated),
                }));
            }
        }
    }
    dump("ScopedRoutesConfigDump", "", [("inline_scoped_route_configs", inline)])
}

/// A dump of a kind. What is empty is left out, as Envoy does.
fn dump<const N: usize>(kind: &str, version: &str, lists: [(&str, Vec<Value>); N]) -> Value {
    let mut dump = Map::new();
    dump.insert("@type".to_owned(), json!(format!("type.googleapis.com/envoy.admin.v3.{kind}")));
    if !version.is_empty() {
        dump.insert("version_info".to_owned(), json!(version));
    }
    for (name, entries) in lists {
        if !entries.is_empty() {
            dump.insert(name.to_owned(), Value::Array(entries));
        }
    }
    Value::Object(dump)
}

/// Adds the newer version of a resource that was refused, if there is one.
fn with_error(mut shown: Value, inventory: &Inventory, kind: ResourceKind, name: &str) -> Value {
    let refusal = inventory.refusals.iter().find(|one| one.is_of(kind, name));
    if let (Some(refusal), Value::Object(members)) = (refusal, &mut shown) {
        members.insert("error_state".to_owned(), error_state(refusal));
    }
    shown
}

/// What was refused last. Source: `envoy.admin.v3.UpdateFailureState`.
fn error_state(refusal: &Refusal) -> Value {
    json!({
        "failed_configuration": xds::to_json(&refusal.body),
        "last_update_attempt": timestamp(refusal.at),
        "details": refusal.error,
        "version_info": refusal.version,
    })
}

/// Instances: those of clusters of the bootstrap, and those that were sent.
fn endpoints(shared: &Shared, inventory: &Inventory) -> Value {
    let show =
        |set: &EndpointSet| json!({"endpoint_config": xds::to_json(&xds::encode::endpoints(set))});
    let snapshot = shared.published.load_full();
    let (mut fixed, mut sent) = (Vec::new(), Vec::new());
    for told in &inventory.clusters {
        let cluster = snapshot.cluster(&told.value.name);
        let Some(set) = cluster.and_then(|cluster| cluster.told_endpoints()) else { continue };
        let is_sent = cluster.is_some_and(|cluster| cluster.eds_name().is_some());
        let to = if told.is_static() && !is_sent { &mut fixed } else { &mut sent };
        to.push(show(&set));
    }
    dump(
        "EndpointsConfigDump",
        "",
        [("static_endpoint_configs", fixed), ("dynamic_endpoint_configs", sent)],
    )
}

fn secrets(inventory: &Inventory) -> Value {
    let chain = |certificates: &[CertificateDer<'_>]| json!({"inline_string": iako_identity::certificates_to_pem(certificates)});
    let certificate = |certificates: &[CertificateDer<'_>]| json!({"certificate_chain": chain(certificates), "private_key": {"inline_bytes": REDACTED}});
    let mut all = Vec::new();
    if let Some(identity) = &inventory.materials.identity {
        let own = certificate(identity.svid.certificate().chain());
        all.push(json!({"name": "default", "secret": {"name": "default", "tls_certificate": own}}));
    }
    let mut secrets: Vec<_> = inventory.materials.secrets.iter().collect();
    secrets.sort_by_key(|(name, _)| name.as_str());
    for (name, material) in secrets {
        let secret = match material {
            Material::Certificate(one) => {
                json!({"name": name, "tls_certificate": certificate(one.chain())})
            }
            Material::Validation(_) => {
                json!({"name": name, "validation_context": {"trusted_ca": chain(&material.roots())}})
            }
            Material::TicketKeys(_) => {
                json!({"name": name, "session_ticket_keys": {"keys": [{"inline_bytes": REDACTED}]}})
            }
            Material::Generic(_) => {
                json!({"name": name, "generic_secret": {"secret": {"inline_bytes": REDACTED}}})
            }
        };
        all.push(json!({"name": name, "secret": secret}));
    }
    dump("SecretsConfigDump", "", [("dynamic_active_secrets", all)])
}

fn refusals(inventory: &Inventory) -> Value {
    let show = |refusal: &Refusal| {
        json!({
            "resource": format!("{:?} {}", refusal.kind, refusal.name),
            "error": refusal.error,
            "last_update_attempt": timestamp(refusal.at),
        })
    };
    Value::Array(inventory.refusals.iter().map(show).collect())
}

fn dated<T>(told: &Told<T>, kind: &str, resource: &Value) -> Value {
    json!({
        "version_info": &*told.version,
        (kind): resource,
        "last_updated": timestamp(told.updated),
    })
}
