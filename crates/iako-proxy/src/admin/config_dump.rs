//! Everything that the proxy was told, in Envoy's form.

use std::{collections::BTreeMap, sync::Arc};

use iako_proxy_config::{EndpointSet, Listener};
use iako_xds_codec as xds;
use rustls_pki_types::CertificateDer;
use serde_json::{Value, json};

use super::text::{Query, timestamp};
use crate::{
    config_task::{Inventory, Refusal, ResourceKind, Told},
    shared::Shared,
    transport::material::Material,
};

/// What stands in place of a private key: `[redacted]`, base64, as Envoy writes it.
const REDACTED: &str = "W3JlZGFjdGVkXQ==";

/// The answer to `/config_dump`; endpoints with `include_eds`, as Envoy does.
pub(super) fn dump(shared: &Shared, query: &Query) -> Value {
    let inventory = shared.inventory.load();
    let mut configs = vec![
        bootstrap(shared),
        clusters(&inventory),
        listeners(&inventory),
        routes(&inventory),
        secrets(&inventory),
    ];
    if query.has("include_eds") {
        configs.push(endpoints(&inventory));
    }
    for config in &mut configs {
        redact(config);
    }
    json!({"configs": configs, "refused": refusals(&inventory)})
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
            "id": node.id, "cluster": node.cluster, "metadata": node.metadata,
        }},
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
    json!({
        "@type": "type.googleapis.com/envoy.admin.v3.ClustersConfigDump",
        "version_info": &*inventory.cluster_version,
        "static_clusters": fixed.into_iter().map(show).collect::<Vec<_>>(),
        "dynamic_active_clusters": sent.into_iter().map(show).collect::<Vec<_>>(),
        "dynamic_warming_clusters": inventory.warming_clusters.iter().map(show).collect::<Vec<_>>(),
    })
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
    json!({
        "@type": "type.googleapis.com/envoy.admin.v3.ListenersConfigDump",
        "version_info": &*inventory.listener_version,
        "static_listeners": fixed.into_iter().map(show).collect::<Vec<_>>(),
        "dynamic_listeners": dynamic.into_values().collect::<Vec<_>>(),
    })
}

fn routes(inventory: &Inventory) -> Value {
    let show = |told: &Told<_>| {
        let json = xds::to_json(&xds::encode::route_configuration(&told.value));
        let dated = dated(told, "route_config", &json);
        with_error(dated, inventory, ResourceKind::Routes, &told.value.name)
    };
    json!({
        "@type": "type.googleapis.com/envoy.admin.v3.RoutesConfigDump",
        "dynamic_route_configs": inventory.routes.iter().map(show).collect::<Vec<_>>(),
    })
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

fn endpoints(inventory: &Inventory) -> Value {
    let show = |set: &Arc<EndpointSet>| json!({"endpoint_config": xds::to_json(&xds::encode::endpoints(set))});
    json!({
        "@type": "type.googleapis.com/envoy.admin.v3.EndpointsConfigDump",
        "dynamic_endpoint_configs": inventory.endpoints.iter().map(show).collect::<Vec<_>>(),
    })
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
        };
        all.push(json!({"name": name, "secret": secret}));
    }
    json!({
        "@type": "type.googleapis.com/envoy.admin.v3.SecretsConfigDump",
        "dynamic_active_secrets": all,
    })
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
