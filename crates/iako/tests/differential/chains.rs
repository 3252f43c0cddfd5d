//! Filter chains in short: what most cases about listeners would write again and again.

use serde_json::{Map, Value, json};

const TYPES: &str = "type.googleapis.com/envoy.extensions";

/// Replaces in a bootstrap, wherever it stands:
///
/// - in a filter chain, `"@says": "name"` by the chain's name and filters that answer 200 with it;
/// - in a filter chain, `"@forwards": true` by the plain connection manager;
/// - in a filter chain, `"@tls": {…}` by a transport socket that terminates TLS, with these fields
///   beside `common_tls_context`; those of the latter are `certificate` (names of leaves), `trust`
///   (a validation context) and everything else under their own names in `common`;
/// - `{"@network": "echo.v3.Echo", …}` by the network filter of this type with these settings;
/// - `{"@lines": "name"}` by a log of connections that writes `@out/name`;
/// - `{"@inspector": "tls_inspector", …}` by the listener filter of this name with these settings and
///   `filter_disabled`.
pub(crate) fn expand(value: &mut Value, manager: &Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| expand(item, manager)),
        Value::Object(fields) => {
            if let Some(Value::String(name)) = fields.remove("@says") {
                fields.insert("filters".to_owned(), answering(&name));
                fields.insert("name".to_owned(), Value::from(name));
            }
            if fields.remove("@forwards").is_some() {
                let filter = "envoy.filters.network.http_connection_manager";
                fields.insert(
                    "filters".to_owned(),
                    json!([{"name": filter, "typed_config": manager}]),
                );
            }
            if let Some(Value::Object(tls)) = fields.remove("@tls") {
                fields.insert("transport_socket".to_owned(), terminating(tls));
            }
            if let Some(Value::String(kind)) = fields.remove("@network") {
                let kind = format!("{TYPES}.filters.network.{kind}");
                let mut settings = std::mem::take(fields);
                settings.insert("@type".to_owned(), Value::from(kind.as_str()));
                fields.insert("name".to_owned(), Value::from(kind));
                fields.insert("typed_config".to_owned(), Value::Object(settings));
            }
            if let Some(Value::String(name)) = fields.remove("@lines") {
                *fields = lines(&name);
            }
            if let Some(Value::String(name)) = fields.remove("@inspector") {
                *fields = inspector(&name, std::mem::take(fields));
            }
            fields.values_mut().for_each(|field| expand(field, manager));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn answering(name: &str) -> Value {
    let route = json!({
        "match": {"prefix": "/"},
        "direct_response": {"status": 200, "body": {"inline_string": name}},
    });
    json!([{
        "name": "envoy.filters.network.http_connection_manager",
        "typed_config": {
            "@type": format!("{TYPES}.filters.network.http_connection_manager.v3.HttpConnectionManager"),
            "stat_prefix": "says",
            "http_filters": [{
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": format!("{TYPES}.filters.http.router.v3.Router")},
            }],
            "route_config": {
                "name": "says",
                "virtual_hosts": [{"name": "v", "domains": ["*"], "routes": [route]}],
            },
        },
    }])
}

fn terminating(mut tls: Map<String, Value>) -> Value {
    let mut common = match tls.remove("common") {
        Some(Value::Object(common)) => common,
        _ => Map::new(),
    };
    let names = tls.remove("certificate").unwrap_or_else(|| json!(["server"]));
    let certificates = names.as_array().unwrap().iter().map(|name| {
        let name = name.as_str().unwrap();
        json!({
            "certificate_chain": {"inline_string": format!("@pki/{name}.pem")},
            "private_key": {"inline_string": format!("@pki/{name}.key")},
        })
    });
    common.insert("tls_certificates".to_owned(), certificates.collect());
    if let Some(trust) = tls.remove("trust") {
        common.insert("validation_context".to_owned(), trust);
    }
    let kind = format!("{TYPES}.transport_sockets.tls.v3.DownstreamTlsContext");
    tls.insert("@type".to_owned(), Value::from(kind));
    tls.insert("common_tls_context".to_owned(), Value::Object(common));
    json!({"name": "envoy.transport_sockets.tls", "typed_config": tls})
}

/// A log with everything that a listener knows of a connection but its times.
fn lines(name: &str) -> Map<String, Value> {
    let format = json!({
        "attempts": "%UPSTREAM_REQUEST_ATTEMPT_COUNT%",
        "brx": "%BYTES_RECEIVED%",
        "btx": "%BYTES_SENT%",
        "cluster": "%UPSTREAM_CLUSTER%",
        "code": "%RESPONSE_CODE%",
        "details": "%RESPONSE_CODE_DETAILS%",
        "failure": "%DOWNSTREAM_TRANSPORT_FAILURE_REASON%",
        "flags": "%RESPONSE_FLAGS%",
        "host": "%UPSTREAM_HOST%",
        "local": "%DOWNSTREAM_LOCAL_ADDRESS%",
        "proto": "%PROTOCOL%",
        "sni": "%REQUESTED_SERVER_NAME%",
        "term": "%CONNECTION_TERMINATION_DETAILS%",
    });
    let log = json!({
        "name": "envoy.access_loggers.file",
        "typed_config": {
            "@type": format!("{TYPES}.access_loggers.file.v3.FileAccessLog"),
            "path": format!("@out/{name}"),
            "log_format": {"json_format": format},
        },
    });
    log.as_object().cloned().unwrap_or_default()
}

fn inspector(name: &str, mut settings: Map<String, Value>) -> Map<String, Value> {
    let words = name.split('_').map(|word| {
        let (first, rest) = word.split_at(1);
        format!("{}{rest}", first.to_uppercase())
    });
    let kind = format!("{TYPES}.filters.listener.{name}.v3.{}", words.collect::<String>());
    let disabled = settings.remove("filter_disabled");
    settings.insert("@type".to_owned(), Value::from(kind));
    let mut filter = Map::new();
    filter.insert("name".to_owned(), Value::from(format!("envoy.filters.listener.{name}")));
    filter.insert("typed_config".to_owned(), Value::Object(settings));
    if let Some(disabled) = disabled {
        filter.insert("filter_disabled".to_owned(), disabled);
    }
    filter
}
