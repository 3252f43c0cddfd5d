//! The pages that show what the proxy does now.

use std::{
    fmt::Write as _,
    sync::{Arc, atomic::Ordering::Relaxed},
};

use http::StatusCode;

use iako_identity::describe;
use iako_proxy_config::{EndpointAddress, HealthStatus, Pattern, PatternError, Thresholds};
use iako_rt::clock;
use iako_traffic::{BalancedEndpoint, HealthFlags};
use rustls_pki_types::CertificateDer;
use serde_json::{Value, json};

use super::{
    Page,
    text::{Query, timestamp},
};
use crate::{
    config_task::{BoundAddress, Told},
    proxy::Control,
    shared::{Shared, bytes_of},
    snapshot::UpstreamCluster,
    transport::{connect::name_of, material::Material},
};

/// Envoy's word for what the proxy is doing.
pub(super) fn state(control: &Control) -> &'static str {
    let shared = &control.shared;
    if shared.server.state.value() == 1 || shared.is_failed_by_operator() {
        "DRAINING"
    } else if control.is_ready() {
        "LIVE"
    } else {
        "PRE_INITIALIZING"
    }
}

pub(super) fn server_info(control: &Control) -> Value {
    let shared = &control.shared;
    let uptime = clock::now().saturating_duration_since(shared.started).as_secs();
    let node = &shared.node.node;
    json!({
        "version": concat!("iako/", env!("CARGO_PKG_VERSION")),
        "state": state(control),
        "uptime_current_epoch": format!("{uptime}s"),
        "uptime_all_epochs": format!("{uptime}s"),
        "hot_restart_version": restart_version(shared),
        "command_line_options": {
            "concurrency": shared.concurrency,
            "mode": "Serve",
            "restart_epoch": shared.server.hot_restart_epoch.value(),
        },
        "node": {
            "id": node.id,
            "cluster": node.cluster,
            "metadata": node.metadata,
            "locality": {
                "region": node.locality.region,
                "zone": node.locality.zone,
                "sub_zone": node.locality.sub_zone,
            },
            "user_agent_name": "iako",
        },
    })
}

/// What a process must speak that takes over from this one.
pub(super) fn restart_version(shared: &Shared) -> String {
    if shared.spares.are_kept() { crate::restart::version() } else { "disabled".to_owned() }
}

pub(super) fn services(shared: &Shared) -> Value {
    let summaries = shared.metrics.summaries();
    let services = summaries.iter().map(iako_telemetry::ServiceSummary::to_json);
    json!({"services": services.collect::<Vec<_>>()})
}

pub(super) fn listeners_text(shared: &Shared) -> String {
    let mut out = String::new();
    for (told, bound) in &shared.inventory.load().listeners {
        for address in bound {
            line(&mut out, format_args!("{}::{address}", told.value.name));
        }
    }
    out
}

pub(super) fn listeners_json(shared: &Shared) -> Value {
    let inventory = shared.inventory.load();
    let statuses = inventory.listeners.iter().filter_map(|(told, bound)| {
        let (first, others) = bound.split_first()?;
        let mut status = json!({"name": told.value.name, "local_address": socket(first)});
        if let (false, Some(status)) = (others.is_empty(), status.as_object_mut()) {
            let others = others.iter().map(socket).collect();
            status.insert("additional_local_addresses".to_owned(), Value::Array(others));
        }
        Some(status)
    });
    json!({"listener_statuses": statuses.collect::<Vec<_>>()})
}

fn socket(address: &BoundAddress) -> Value {
    match address {
        BoundAddress::Socket(address) => {
            let (ip, port) = (address.ip().to_string(), address.port());
            json!({"socket_address": {"address": ip, "port_value": port}})
        }
        BoundAddress::Pipe(path) => json!({"pipe": {"path": path}}),
    }
}

/// The clusters that serve, as text or JSON, of which names may be chosen by an expression.
pub(super) fn clusters(shared: &Shared, query: &Query) -> Page {
    let expression = query.value("filter").filter(|text| !text.is_empty());
    let Ok(filter) = expression.map(anywhere).transpose() else {
        return Page::text("filter is no valid expression\n").with(StatusCode::BAD_REQUEST);
    };
    let snapshot = shared.published.load_full();
    let admits = |cluster: &&Arc<UpstreamCluster>| {
        filter.as_ref().is_none_or(|filter| filter.is_match(&cluster.name))
    };
    let mut clusters: Vec<_> = snapshot.clusters().filter(admits).collect();
    clusters.sort_by(|a, b| a.name.cmp(&b.name));
    if query.is("format", "json") {
        return Page::json(&clusters_json(shared, clusters));
    }
    Page::text(clusters_text(shared, clusters))
}

/// An expression that may be met by a part of a text.
pub(super) fn anywhere(expression: &str) -> Result<Pattern, PatternError> {
    Pattern::parse(&format!(".*(?:{expression}).*"))
}

/// What is not ready, and for whom it keeps the proxy waiting.
pub(super) fn unready(shared: &Shared, query: &Query) -> Value {
    let inventory = shared.inventory.load();
    let mut dumps = Vec::new();
    if query.value("mask").is_none() && !inventory.warming_clusters.is_empty() {
        let names =
            inventory.warming_clusters.iter().map(|told| format!("cluster {}", told.value.name));
        let names: Vec<String> = names.collect();
        dumps.push(json!({"name": "init manager Server", "target_names": names}));
    }
    for told in &inventory.warming_listeners {
        let name = &told.value.name;
        dumps.push(json!({
            "name": format!("init manager Listener-local-init-manager {name}"),
            "target_names": [format!("listener {name}")],
        }));
    }
    if dumps.is_empty() { json!({}) } else { json!({"unready_targets_dumps": dumps}) }
}

/// Bytes that the process holds, under Envoy's names.
pub(super) fn memory() -> Value {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let bytes = |name: &str| bytes_of(&status, name).unwrap_or(0).to_string();
    json!({
        "allocated": bytes("RssAnon:"),
        "heap_size": bytes("VmData:"),
        "pageheap_unmapped": "0",
        "pageheap_free": "0",
        "total_thread_cache": "0",
        "total_physical_bytes": bytes("VmRSS:"),
    })
}

/// `name::address::statistic::value`, one a line, as Envoy writes it.
fn clusters_text(shared: &Shared, clusters: Vec<&Arc<UpstreamCluster>>) -> String {
    let mut out = String::new();
    for cluster in clusters {
        cluster_text(shared, cluster, &mut out);
    }
    out
}

fn cluster_text(shared: &Shared, cluster: &UpstreamCluster, out: &mut String) {
    let name = &cluster.name;
    line(out, format_args!("{name}::observability_name::{}", cluster.config.stat_name()));
    for (priority, limits) in thresholds(cluster) {
        for (limit, value) in limits_of(&limits) {
            line(out, format_args!("{name}::{priority}_priority::{limit}::{value}"));
        }
    }
    line(out, format_args!("{name}::added_via_api::{}", !is_static(shared, name)));
    for endpoint in cluster.balancer().endpoints() {
        let address = name_of(&endpoint.endpoint.address);
        for (statistic, value) in numbers(endpoint) {
            line(out, format_args!("{name}::{address}::{statistic}::{value}"));
        }
        let facts = [
            ("hostname", endpoint.endpoint.hostname.clone()),
            ("health_flags", health_flags(endpoint)),
            ("weight", endpoint.endpoint.weight.to_string()),
            ("region", endpoint.locality.region.clone()),
            ("zone", endpoint.locality.zone.clone()),
            ("sub_zone", endpoint.locality.sub_zone.clone()),
            ("canary", "false".to_owned()),
            ("priority", endpoint.priority.to_string()),
            ("success_rate", rate(endpoint.state.success_rate())),
            ("local_origin_success_rate", rate(endpoint.state.local_success_rate())),
        ];
        for (fact, value) in facts {
            line(out, format_args!("{name}::{address}::{fact}::{value}"));
        }
    }
}

fn clusters_json(shared: &Shared, clusters: Vec<&Arc<UpstreamCluster>>) -> Value {
    let statuses = clusters.into_iter().map(|cluster| {
        let thresholds = thresholds(cluster).map(|(priority, limits)| {
            // The first word of an enumeration is not written.
            let priority = (priority != "default").then(|| priority.to_uppercase());
            let mut shown = without_defaults(json!({"priority": priority}));
            if let Some(shown) = shown.as_object_mut() {
                let limits =
                    limits_of(&limits).map(|(limit, value)| (limit.to_owned(), json!(value)));
                shown.extend(limits);
            }
            shown
        });
        without_defaults(json!({
            "name": &*cluster.name,
            "added_via_api": !is_static(shared, &cluster.name),
            "observability_name": cluster.config.stat_name(),
            "circuit_breakers": {"thresholds": thresholds},
            "host_statuses":
                cluster.balancer().endpoints().iter().map(host_status).collect::<Vec<_>>(),
        }))
    });
    json!({"cluster_statuses": statuses.collect::<Vec<_>>()})
}

fn host_status(endpoint: &BalancedEndpoint) -> Value {
    let address = match &endpoint.endpoint.address {
        EndpointAddress::Socket(address) => socket(&BoundAddress::Socket(*address)),
        EndpointAddress::Host { name, port } => {
            json!({"socket_address": {"address": name, "port_value": port}})
        }
        EndpointAddress::Pipe(path) => json!({"pipe": {"path": path.display().to_string()}}),
        EndpointAddress::Internal { listener, id } => {
            json!({"envoy_internal_address": {"server_listener_name": listener, "endpoint_id": id}})
        }
    };
    let stats = numbers(endpoint).into_iter().map(|(name, value)| {
        let value = (value > 0).then(|| value.to_string());
        let kind = name.ends_with("_active").then_some("GAUGE");
        without_defaults(json!({"name": name, "value": value, "type": kind}))
    });
    let eds = match endpoint.endpoint.health {
        HealthStatus::Unknown | HealthStatus::Healthy => "HEALTHY",
        HealthStatus::Unhealthy => "UNHEALTHY",
        HealthStatus::Draining => "DRAINING",
        HealthStatus::Degraded => "DEGRADED",
    };
    let flags = endpoint.state.health();
    without_defaults(json!({
        "address": address,
        "stats": stats.collect::<Vec<_>>(),
        "health_status": {
            "eds_health_status": eds,
            "failed_active_health_check": flags.has(HealthFlags::FAILED_CHECK),
            "failed_active_degraded_check": flags.has(HealthFlags::DEGRADED_CHECK),
            "failed_outlier_check": endpoint.state.is_ejected(),
            "pending_dynamic_removal": flags.has(HealthFlags::PENDING_REMOVAL),
            "pending_active_hc": flags.has(HealthFlags::PENDING_CHECK),
            "active_hc_timeout": flags.has(HealthFlags::CHECK_TIMEOUT),
            "excluded_via_immediate_hc_fail": flags.has(HealthFlags::EXCLUDED),
        },
        "weight": endpoint.endpoint.weight,
        "hostname": endpoint.endpoint.hostname,
        "priority": endpoint.priority,
        "locality": {
            "region": endpoint.locality.region,
            "zone": endpoint.locality.zone,
            "sub_zone": endpoint.locality.sub_zone,
        },
    }))
}

/// A message as proto3 JSON writes it: what has its default is left out. Weights, rates and limits
/// are wrapped and stay.
fn without_defaults(mut message: Value) -> Value {
    if let Value::Object(members) = &mut message {
        members.retain(|name, value| match value {
            Value::Null => false,
            Value::Bool(set) => *set,
            Value::String(text) => !text.is_empty(),
            Value::Number(number) => name != "priority" || number.as_u64() != Some(0),
            Value::Array(_) | Value::Object(_) => true,
        });
        for value in members.values_mut() {
            if value.is_object() {
                *value = without_defaults(value.take());
            }
        }
    }
    message
}

fn thresholds(cluster: &UpstreamCluster) -> [(&'static str, Thresholds); 2] {
    let breakers = cluster.config.circuit_breakers;
    [("default", breakers.default), ("high", breakers.high)]
}

const fn limits_of(limits: &Thresholds) -> [(&'static str, u32); 4] {
    [
        ("max_connections", limits.connections_max),
        ("max_pending_requests", limits.pending_requests_max),
        ("max_requests", limits.requests_max),
        ("max_retries", limits.retries_max),
    ]
}

/// The numbers of an instance: what only grows, then what is now.
fn numbers(endpoint: &BalancedEndpoint) -> [(&'static str, u64); 9] {
    let counters = &endpoint.state.counters;
    [
        ("cx_connect_fail", counters.connect_failures.load(Relaxed)),
        ("cx_total", counters.connections.load(Relaxed)),
        ("rq_error", counters.errors.load(Relaxed)),
        ("rq_success", counters.successes.load(Relaxed)),
        ("rq_timeout", counters.timeouts.load(Relaxed)),
        ("rq_total", counters.requests.load(Relaxed)),
        ("cx_active", u64::from(counters.connections_active.load(Relaxed))),
        ("rq_active", u64::from(endpoint.state.active_requests())),
        ("rq_pending_active", u64::from(counters.pending_active.load(Relaxed))),
    ]
}

/// Envoy's words, `healthy` when none applies.
fn health_flags(endpoint: &BalancedEndpoint) -> String {
    let told = endpoint.endpoint.health;
    let found = endpoint.state.health();
    let all = [
        ("/failed_active_hc", found.has(HealthFlags::FAILED_CHECK)),
        ("/failed_outlier_check", endpoint.state.is_ejected()),
        ("/failed_eds_health", told == HealthStatus::Unhealthy),
        ("/degraded_active_hc", found.has(HealthFlags::DEGRADED_CHECK)),
        ("/degraded_eds_health", told == HealthStatus::Degraded),
        ("/pending_dynamic_removal", found.has(HealthFlags::PENDING_REMOVAL)),
        ("/pending_active_hc", found.has(HealthFlags::PENDING_CHECK)),
        ("/excluded_via_immediate_hc_fail", found.has(HealthFlags::EXCLUDED)),
        ("/active_hc_timeout", found.has(HealthFlags::CHECK_TIMEOUT)),
        ("/eds_status_draining", told == HealthStatus::Draining),
    ];
    let flags: String = all.iter().filter(|(_, set)| *set).map(|(name, _)| *name).collect();
    if flags.is_empty() { "healthy".to_owned() } else { flags }
}

/// A rate of success, as Envoy writes it; -1 when there were too few requests.
fn rate(rate: Option<f64>) -> String {
    rate.map_or_else(|| "-1".to_owned(), |rate| format!("{rate}"))
}

fn is_static(shared: &Shared, name: &str) -> bool {
    let inventory = shared.inventory.load();
    let told = inventory.clusters.iter().find(|told| told.value.name == name);
    told.is_some_and(Told::is_static)
}

/// Certificates by the secret that brought them. No private key can be here: nobody writes one.
pub(super) fn certificates(shared: &Shared) -> Value {
    let inventory = shared.inventory.load();
    let mut all = Vec::new();
    if let Some(identity) = &inventory.materials.identity {
        let (_, roots) = identity.bundles.iter().next().unzip();
        all.push(json!({
            "name": "default",
            "spiffe_id": identity.svid.id().as_str(),
            "ca_cert": roots.map_or_else(|| json!([]), |bundle| show_all(bundle.roots())),
            "cert_chain": show_all(identity.svid.certificate().chain()),
        }));
    }
    let mut secrets: Vec<_> = inventory.materials.secrets.iter().collect();
    secrets.sort_by_key(|(name, _)| name.as_str());
    for (name, material) in secrets {
        all.push(match material {
            Material::Certificate(certificate) => {
                json!({"name": name, "ca_cert": [], "cert_chain": show_all(certificate.chain())})
            }
            Material::Validation(_) => {
                json!({"name": name, "ca_cert": show_all(&material.roots()), "cert_chain": []})
            }
            Material::TicketKeys(_) | Material::Generic(_) => continue,
        });
    }
    json!({"certificates": all})
}

fn show_all(certificates: &[CertificateDer<'_>]) -> Value {
    let described = describe(certificates, clock::wall()).into_iter().map(|one| {
        let names = one.subject_alt_names.iter().map(|(kind, name)| json!({(*kind): name}));
        json!({
            "serial_number": one.serial_number,
            "subject_alt_names": names.collect::<Vec<_>>(),
            "valid_from": timestamp(one.valid_from),
            "expiration_time": timestamp(one.expiration_time),
            "days_until_expiration": one.days_until_expiration.to_string(),
        })
    });
    Value::Array(described.collect())
}

fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    if writeln!(out, "{text}").is_err() {
        // Writing to a string cannot fail.
        out.push('\n');
    }
}
