//! Reads the settings of the mesh, a YAML text inside a ConfigMap.

use super::{
    AccessLogEncoding, AccessLogFile, AccessLogFormat, DefaultProviders, ExtensionProvider,
    ExtensionProviderKind, MeshConfig, PathNormalization, checks,
};
use crate::{
    Code, Severity, Visibility,
    document::Context,
    istio::{refer, sidecar, virtual_service},
    reader::{Cursor, Fields},
};

/// Reads the settings; what they do not say is Istio's default.
pub(crate) fn parse(cursor: &Cursor<'_>, context: &Context<'_>) -> MeshConfig {
    let fields = cursor.fields();
    let mut mesh =
        MeshConfig { cluster_domain: context.cluster_domain.to_owned(), ..MeshConfig::default() };
    let aliases = fields.list_of("trustDomainAliases", |c| c.parsed(Code::BadValue));
    mesh.trust_domain_aliases = aliases.into_iter().flatten().collect();
    set(&mut mesh.trust_domain, fields.get("trustDomain").and_then(|c| c.parsed(Code::BadValue)));
    set(&mut mesh.root_namespace, fields.get("rootNamespace").and_then(|c| refer::namespace(&c)));
    set(&mut mesh.enable_auto_mtls, fields.get("enableAutoMtls").and_then(|c| c.boolean()));
    set(&mut mesh.connect_timeout, fields.get("connectTimeout").and_then(|c| c.duration()));
    let detection = fields.get("protocolDetectionTimeout").and_then(|c| c.duration_or_zero());
    mesh.protocol_detection_timeout = detection.filter(|timeout| !timeout.is_zero());
    if let Some(cursor) = fields.get("outboundTrafficPolicy") {
        let fields = cursor.fields();
        let mode = fields.get("mode").and_then(|cursor| sidecar::read_policy(&cursor));
        set(&mut mesh.outbound_traffic_policy, mode);
    }
    read_access_log(&fields, &mut mesh);
    if let Some(cursor) = fields.get("pathNormalization") {
        set(&mut mesh.path_normalization, read_normalization(&cursor));
    }
    mesh.default_http_retry_policy = fields
        .get("defaultHttpRetryPolicy")
        .and_then(|cursor| virtual_service::read_retries(&cursor));
    let visibility = |name| read_visibility(&fields, name, context);
    set(&mut mesh.default_service_export_to, visibility("defaultServiceExportTo"));
    set(&mut mesh.default_virtual_service_export_to, visibility("defaultVirtualServiceExportTo"));
    set(&mut mesh.default_destination_rule_export_to, visibility("defaultDestinationRuleExportTo"));
    read_providers(&fields, &mut mesh);
    if let Some(cursor) = fields.get("localityLbSetting") {
        let fields = cursor.fields();
        let enabled = fields.get("enabled").and_then(|cursor| cursor.boolean());
        for ignored in ["distribute", "failover", "failoverPriority"] {
            if let Some(cursor) = fields.get(ignored) {
                cursor.report(Code::FieldIgnored, "set it in a DestinationRule");
            }
        }
        set(&mut mesh.locality_lb_enabled, enabled);
    }
    if fields.get_or_null("defaultConfig").is_some_and(|cursor| cursor.node().is_null()) {
        let message = "the settings of proxies cannot be nothing; remove defaultConfig";
        fields.report("defaultConfig", Code::MissingField, message);
    }
    if let Some(cursor) = fields.get("defaultConfig") {
        read_default_config(&cursor, &mut mesh);
    }
    checks::report(&fields);
    mesh
}

fn set<T>(target: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *target = value;
    }
}

fn read_visibility(
    fields: &Fields<'_>,
    name: &'static str,
    context: &Context<'_>,
) -> Option<Visibility> {
    let list = fields.get(name)?.list();
    let words: Vec<String> = list.iter().filter_map(Cursor::text).collect();
    refer::visibility_of(words.iter().map(String::as_str), list.first(), context)
}

fn read_normalization(cursor: &Cursor<'_>) -> Option<PathNormalization> {
    let fields = cursor.fields();
    fields.get("normalization")?.word(&[
        ("DEFAULT", PathNormalization::Base),
        ("NONE", PathNormalization::None),
        ("BASE", PathNormalization::Base),
        ("MERGE_SLASHES", PathNormalization::MergeSlashes),
        ("DECODE_AND_MERGE_SLASHES", PathNormalization::DecodeAndMergeSlashes),
    ])
}

fn read_access_log(fields: &Fields<'_>, mesh: &mut MeshConfig) {
    let path = fields.text("accessLogFile");
    let format = fields.text("accessLogFormat");
    let encoding = fields.get("accessLogEncoding").and_then(|cursor| {
        cursor.word(&[("TEXT", AccessLogEncoding::Text), ("JSON", AccessLogEncoding::Json)])
    });
    mesh.access_log =
        path.map(|path| AccessLogFile { path, format, encoding: encoding.unwrap_or_default() });
}

fn read_providers(fields: &Fields<'_>, mesh: &mut MeshConfig) {
    let mut names = Vec::new();
    for cursor in fields.get("extensionProviders").map(|cursor| cursor.list()).unwrap_or_default() {
        let Some(provider) = read_provider(&cursor) else { continue };
        if names.contains(&provider.name) {
            let message = format!("the provider {} stands here twice", provider.name);
            cursor.at("name").report_as(Severity::Warning, Code::Duplicate, message);
        }
        names.push(provider.name.clone());
        // A provider of a built-in name takes its place.
        mesh.extension_providers.retain(|other| other.name != provider.name);
        mesh.extension_providers.push(provider);
    }
    let Some(cursor) = fields.get("defaultProviders") else { return };
    let fields = cursor.fields();
    mesh.default_providers = DefaultProviders {
        metrics: fields.texts("metrics"),
        access_logging: fields.texts("accessLogging"),
        tracing: fields.texts("tracing"),
    };
}

fn read_provider(cursor: &Cursor<'_>) -> Option<ExtensionProvider> {
    let fields = cursor.fields();
    let name = fields.text("name");
    let prometheus = fields.get("prometheus");
    let file = fields.get("envoyFileAccessLog").map(|cursor| read_file_log(&cursor));
    if name.is_none() {
        let message = "an extension provider needs a name";
        cursor.at("name").report_as(Severity::Warning, Code::MissingField, message);
    }
    let kind = if prometheus.is_some() {
        ExtensionProviderKind::Prometheus
    } else if let Some(file) = file {
        file
    } else {
        let other = cursor.entries().into_iter().map(|(key, _)| key).find(|key| *key != "name");
        let field = other.unwrap_or("nothing").to_owned();
        let message =
            format!("a provider of {field} is not carried yet; objects that name it warn");
        cursor.report(Code::FieldIgnored, message);
        check_numbers(cursor);
        checks::report_provider(cursor);
        ExtensionProviderKind::Unsupported(field)
    };
    fields.ignore_rest();
    Some(ExtensionProvider { name: name?, kind })
}

fn read_file_log(cursor: &Cursor<'_>) -> ExtensionProviderKind {
    let fields = cursor.fields();
    let path = fields.text("path").unwrap_or_else(|| "/dev/stdout".to_owned());
    let format = fields.get("logFormat").and_then(|cursor| {
        let fields = cursor.fields();
        let text = fields.text("text").map(AccessLogFormat::Text);
        let labels = fields.get("labels").map(|cursor| {
            let pairs = cursor.entries().into_iter();
            let pairs = pairs.filter_map(|(key, value)| Some((key.to_owned(), value.text()?)));
            AccessLogFormat::Json(pairs.collect())
        });
        text.or(labels)
    });
    if fields.get("omitEmptyValues").is_some() {
        cursor.report(Code::FieldIgnored, "empty values are always written");
    }
    ExtensionProviderKind::FileAccessLog { path, format }
}

fn read_default_config(cursor: &Cursor<'_>, mesh: &mut MeshConfig) {
    let fields = cursor.fields();
    checks::report_default_config(&fields);
    if let Some(cursor) = fields.get("discoveryAddress") {
        check_discovery_address(&cursor);
    }
    if let Some(cursor) = fields.get("gatewayTopology") {
        let fields = cursor.fields();
        set(&mut mesh.trusted_proxies, fields.get("numTrustedProxies").and_then(|c| c.number()));
    }
    if let Some(cursor) = fields.get("tracing") {
        let fields = cursor.fields();
        set(&mut mesh.trace_sampling, fields.get("sampling").and_then(|c| c.percent()));
    }
}

/// The address is not used, but Istio refuses settings in which it is none.
fn check_discovery_address(cursor: &Cursor<'_>) {
    let Some(text) = cursor.text() else { return };
    let parts = text.rsplit_once(':');
    let host = parts.map(|(host, _)| host.trim_start_matches('[').trim_end_matches(']'));
    let is_host = host.is_some_and(|host| {
        host.parse::<std::net::IpAddr>().is_ok() || host.parse::<iako_types::Hostname>().is_ok()
    });
    let is_port = parts.is_some_and(|(_, port)| port.parse::<u16>().is_ok_and(|port| port > 0));
    if is_host && is_port {
        cursor.report(Code::FieldIgnored, "proxies take this from their own command line");
    } else {
        let message = format!("{text:?} is no address of a control plane; write host:port");
        cursor.report(Code::BadValue, message);
    }
}

/// Numbers of a provider that is not carried are checked all the same.
fn check_numbers(provider: &Cursor<'_>) {
    for (_, settings) in provider.entries() {
        if !matches!(settings.node().value, crate::text::Value::Map(_)) {
            continue;
        }
        for (key, value) in settings.entries() {
            match key {
                "port" | "maxTagLength" => drop(value.number()),
                _ => {}
            }
        }
    }
}
