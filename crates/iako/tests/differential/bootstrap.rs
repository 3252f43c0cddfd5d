//! The bootstrap of a case, and what it becomes in a world of its own.

use std::{net::Ipv4Addr, path::Path};

use serde_json::{Value, json};

use crate::{
    case::{Config, PlanForm, XdsPlan},
    chains, pki, plane,
};

/// Where cases are written for; every world replaces the address by one of its own.
pub(crate) const WRITTEN: &str = "127.0.0.1";
pub(crate) const LISTENER_PORT: u16 = 22100;
pub(crate) const ADMIN_PORT: u16 = 22101;

/// The bootstrap that a case means, still with the addresses that are written in it.
pub(crate) fn of(config: &Config) -> Value {
    let mut whole = json!({
        "static_resources": {"listeners": listeners(config), "clusters": clusters(config)},
        "admin": {"address": socket(ADMIN_PORT)},
    });
    for (field, file) in [("lds_config", "lds.json"), ("cds_config", "cds.json")] {
        if config.files.contains_key(file) {
            whole["dynamic_resources"][field] = source(file);
            // Envoy wants a name before it asks for anything.
            whole["node"] = json!({"id": "n", "cluster": "c"});
        }
    }
    if let Some(plan) = &config.xds {
        of_plan(&mut whole, plan);
    }
    merge(&mut whole, &config.bootstrap);
    let mut plain = manager(config);
    merge(&mut plain, &config.hcm);
    chains::expand(&mut whole, &plain);
    if config.xds.is_some() { expanded(&whole) } else { whole }
}

/// Has a bootstrap ask the control plane.
fn of_plan(whole: &mut Value, plan: &XdsPlan) {
    whole["node"] = json!({"id": "n", "cluster": "c"});
    let api_type = match plan.form {
        PlanForm::Delta => "DELTA_GRPC",
        PlanForm::State => "GRPC",
    };
    whole["dynamic_resources"]["ads_config"] = json!({
        "api_type": api_type,
        "transport_api_version": "V3",
        "set_node_on_first_message_only": true,
        "grpc_services": [{"envoy_grpc": {"cluster_name": "xds"}}],
    });
    for (name, kind) in [("lds", "Listener"), ("cds", "Cluster")] {
        let asks = match &plan.asks {
            Some(asks) => asks.iter().any(|one| one == name),
            None => tells(plan, kind),
        };
        if asks {
            let source = json!({"ads": {}, "resource_api_version": "V3"});
            whole["dynamic_resources"][format!("{name}_config")] = source;
        }
    }
    let options = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
    let mut xds = cluster();
    xds["name"] = Value::from("xds");
    xds["load_assignment"] = json!({
        "cluster_name": "xds",
        "endpoints": [{"lb_endpoints": [{"endpoint": {"address": socket(plane::PORT)}}]}],
    });
    xds["typed_extension_protocol_options"] = json!({options: {
        "@type": format!("type.googleapis.com/{options}"),
        "explicit_http_config": {"http2_protocol_options": {}},
    }});
    whole["static_resources"]["clusters"].as_array_mut().unwrap().push(xds);
}

/// Whether a plan tells everybody something of a type.
fn tells(plan: &XdsPlan, kind: &str) -> bool {
    let is_of = |resource: &Value| {
        let resource = expanded(resource);
        resource["@type"].as_str().is_some_and(|name| name.ends_with(&format!(".{kind}")))
    };
    plan.resources.iter().any(|planned| !planned.asked_only && is_of(&planned.resource))
}

fn source(file: &str) -> Value {
    let path = json!({"path": format!("@file/{file}")});
    json!({"path_config_source": path, "resource_api_version": "V3"})
}

/// A file as a case means it: `{"@listener": {…}}` is the plain listener with changes, `@hcm` in it
/// changes its connection manager, `{"@cluster": {…}}` is the plain cluster with changes, and
/// `{"@source": NAME}` says that a resource comes from a file.
pub(crate) fn expanded(value: &Value) -> Value {
    let kind = "type.googleapis.com/envoy.config";
    match value {
        Value::Object(fields) if fields.contains_key("@listener") => {
            let mut patch = fields["@listener"].clone();
            let mut config = Config::default();
            if let Some(hcm) = patch.as_object_mut().and_then(|patch| patch.remove("@hcm")) {
                config.hcm = hcm;
            }
            config.listener = patch;
            let mut listener = listener(&config);
            listener["@type"] = Value::from(format!("{kind}.listener.v3.Listener"));
            expanded(&listener)
        }
        Value::Object(fields) if fields.contains_key("@cluster") => {
            let mut cluster = cluster();
            merge(&mut cluster, &fields["@cluster"]);
            cluster["@type"] = Value::from(format!("{kind}.cluster.v3.Cluster"));
            expanded(&cluster)
        }
        Value::Object(fields) if fields.contains_key("@ads") => {
            let mut source = json!({"ads": {}, "resource_api_version": "V3"});
            merge(&mut source, &fields["@ads"]);
            source
        }
        Value::Object(fields) if fields.contains_key("@source") => {
            source(fields["@source"].as_str().unwrap())
        }
        Value::Object(fields) => {
            fields.iter().map(|(name, value)| (name.clone(), expanded(value))).collect()
        }
        Value::Array(items) => items.iter().map(expanded).collect(),
        scalar => scalar.clone(),
    }
}

fn listener(config: &Config) -> Value {
    let mut hcm = manager(config);
    merge(&mut hcm, &config.hcm);
    let mut filter =
        json!({"name": "envoy.filters.network.http_connection_manager", "typed_config": hcm});
    if let Some(tcp) = &config.tcp_proxy {
        filter = json!({"name": "envoy.filters.network.tcp_proxy", "typed_config": carrier(
            "filters.network.tcp_proxy.v3.TcpProxy",
            tcp,
            &json!({"cluster": "be"}),
        )});
    }
    let mut filters = config.network_filters.clone();
    filters.push(config.terminal.clone().unwrap_or(filter));
    let mut listener = json!({
        "name": "l",
        "address": socket(LISTENER_PORT),
        "filter_chains": [{"filters": filters}],
    });
    if let Some(udp) = &config.udp_proxy {
        let kind = "filters.udp.udp_proxy.v3.UdpProxyConfig";
        let proxy = carrier(kind, udp, &json!({"cluster": "be"}));
        let address = json!({"address": WRITTEN, "port_value": LISTENER_PORT, "protocol": "UDP"});
        listener = json!({
            "name": "l",
            "address": {"socket_address": address},
            "listener_filters": [
                {"name": "envoy.filters.udp_listener.udp_proxy", "typed_config": proxy},
            ],
        });
    }
    merge(&mut listener, &config.listener);
    listener
}

fn listeners(config: &Config) -> Value {
    let told = config.xds.as_ref().is_some_and(|plan| tells(plan, "Listener"));
    if told || config.files.contains_key("lds.json") {
        return json!([]);
    }
    let mut listeners = vec![listener(config)];
    listeners.extend(config.listeners.iter().cloned());
    Value::Array(listeners)
}

fn clusters(config: &Config) -> Value {
    let told = config.xds.as_ref().is_some_and(|plan| tells(plan, "Cluster"));
    if told || config.files.contains_key("cds.json") {
        return json!([]);
    }
    let mut clusters = config.clusters.clone().unwrap_or_else(|| {
        let mut cluster = cluster();
        merge(&mut cluster, &config.cluster);
        json!([cluster])
    });
    for (services, speaks_grpc) in [(&config.grpc_services, true), (&config.http_services, false)] {
        let services = services.iter().map(|(name, port)| service(name, *port, speaks_grpc));
        clusters.as_array_mut().unwrap().extend(services);
    }
    clusters
}

/// A cluster of one upstream that answers questions of filters.
#[expect(clippy::fn_params_excessive_bools, reason = "a test's own")]
fn service(name: &str, port: u16, speaks_grpc: bool) -> Value {
    let mut service = cluster();
    let endpoint = json!({"endpoint": {"address": socket(port)}});
    merge(
        &mut service,
        &json!({"name": name, "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [endpoint]}],
        }}),
    );
    if speaks_grpc {
        let options = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
        service["typed_extension_protocol_options"] = json!({options: {
            "@type": format!("type.googleapis.com/{options}"),
            "explicit_http_config": {"http2_protocol_options": {}},
        }});
    }
    service
}

fn manager(config: &Config) -> Value {
    let kind = "type.googleapis.com/envoy.extensions.filters";
    let router = json!({
        "name": "envoy.filters.http.router",
        "typed_config": {"@type": format!("{kind}.http.router.v3.Router")},
    });
    let mut filters = config.filters.clone();
    filters.push(router);
    let routes = config
        .routes
        .clone()
        .unwrap_or_else(|| json!([{"match": {"prefix": "/"}, "route": {"cluster": "be"}}]));
    json!({
        "@type": format!("{kind}.network.http_connection_manager.v3.HttpConnectionManager"),
        "stat_prefix": "in",
        "access_log": [access_log()],
        "http_filters": filters,
        "route_config": {
            "name": "r",
            "virtual_hosts": [{"name": "v", "domains": ["*"], "routes": routes}],
        },
    })
}

/// What carries bytes or datagrams, with a log.
fn carrier(kind: &str, patch: &Value, target: &Value) -> Value {
    let mut value = json!({
        "@type": format!("type.googleapis.com/envoy.extensions.{kind}"),
        "stat_prefix": "in",
        "access_log": [access_log()],
    });
    let names_target = ["cluster", "weighted_clusters", "matcher"];
    if !names_target.iter().any(|name| patch.get(name).is_some()) {
        merge(&mut value, target);
    }
    merge(&mut value, patch);
    value
}

fn access_log() -> Value {
    json!({
        "name": "envoy.access_loggers.file",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog",
            "path": "@log",
            "log_format": {"json_format": {
                "code": "%RESPONSE_CODE%",
                "flags": "%RESPONSE_FLAGS%",
                "flags_long": "%RESPONSE_FLAGS_LONG%",
                "details": "%RESPONSE_CODE_DETAILS%",
                "route": "%ROUTE_NAME%",
                "cluster": "%UPSTREAM_CLUSTER%",
                "host": "%UPSTREAM_HOST%",
                "attempts": "%UPSTREAM_REQUEST_ATTEMPT_COUNT%",
                "proto": "%PROTOCOL%",
                "path": "%REQ(:PATH)%",
                "orig_path": "%REQ(X-ENVOY-ORIGINAL-PATH)%",
                "tfr": "%UPSTREAM_TRANSPORT_FAILURE_REASON%",
                "brx": "%BYTES_RECEIVED%",
                "btx": "%BYTES_SENT%",
                "term": "%CONNECTION_TERMINATION_DETAILS%",
                "xff": "%REQ(X-FORWARDED-FOR)%",
            }},
        },
    })
}

fn cluster() -> Value {
    let endpoint = json!({"endpoint": {"address": socket(22001)}});
    json!({
        "name": "be",
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": {
            "cluster_name": "be",
            "endpoints": [{"lb_endpoints": [endpoint]}],
        },
    })
}

fn socket(port: u16) -> Value {
    json!({"socket_address": {"address": WRITTEN, "port_value": port}})
}

/// RFC 7386.
fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        if !patch.is_null() {
            target.clone_from(patch);
        }
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    let target = target.as_object_mut().unwrap();
    for (name, value) in patch {
        if value.is_null() {
            target.remove(name);
        } else {
            merge(target.entry(name).or_insert(Value::Null), value);
        }
    }
}

/// The bootstrap with the addresses, certificates and log file of one world.
pub(crate) fn placed(written: &Value, address: Ipv4Addr, folder: &Path) -> Value {
    let mut value = written.clone();
    place(&mut value, &address.to_string(), folder);
    value
}

fn place(value: &mut Value, address: &str, folder: &Path) {
    match value {
        Value::String(text) => {
            if text == "@log" {
                *text = folder.join("access.log").display().to_string();
            } else if let Some(name) = text.strip_prefix("@file/") {
                *text = folder.join(name).display().to_string();
            } else if let Some(name) = text.strip_prefix("@out/") {
                *text = folder.join(name).display().to_string();
            } else if let Some(name) = text.strip_prefix("@pki/") {
                pki::pem(name).clone_into(text);
            } else if text == WRITTEN {
                address.clone_into(text);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| place(item, address, folder)),
        Value::Object(fields) => {
            fields.values_mut().for_each(|field| place(field, address, folder));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Every port that the bootstrap mentions.
pub(crate) fn ports(value: &Value) -> Vec<u16> {
    let mut ports = Vec::new();
    collect_ports(value, &mut ports);
    ports.sort_unstable();
    ports.dedup();
    ports
}

fn collect_ports(value: &Value, ports: &mut Vec<u16>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| collect_ports(item, ports)),
        Value::Object(fields) => {
            let port = fields.get("port_value").and_then(Value::as_u64);
            ports.extend(port.and_then(|port| u16::try_from(port).ok()));
            fields.values().for_each(|field| collect_ports(field, ports));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
