//! Reads an `EnvoyFilter`.

use super::{
    ApplyTo, ClusterMatch, ConfigPatch, EnvoyFilter, FilterChainMatch, FilterClass, ListenerMatch,
    ObjectMatch, PatchContext, PatchOperation, ProxyMatch, RouteConfigurationMatch, names, value,
};
use crate::{
    Code, Severity,
    document::Context,
    istio::{Pattern, extension::json_of, refer},
    reader::{Cursor, Fields},
};

const CONNECTION_MANAGERS: [&str; 2] =
    ["envoy.filters.network.http_connection_manager", "envoy.http_connection_manager"];

/// Reads the specification.
pub(crate) fn parse(cursor: &Cursor<'_>, _context: &Context<'_>) -> Option<EnvoyFilter> {
    let message = "an EnvoyFilter reaches into what proxies are told, which changes without notice; \
                   use another kind where there is one";
    cursor.report_as(Severity::Warning, Code::Deprecated, message);
    let fields = cursor.fields();
    let selector = refer::workload_selector(&fields);
    let targets = refer::targets(&fields, "workloadSelector");
    let bounds = (i64::from(i32::MIN), i64::from(i32::MAX));
    let priority = fields.get("priority").and_then(|cursor| cursor.integer(bounds.0, bounds.1));
    let patches = fields.list_of("configPatches", read_patch);
    Some(EnvoyFilter {
        selector,
        targets,
        priority: priority.unwrap_or(0),
        patches: patches.into_iter().flatten().collect(),
    })
}

fn read_patch(cursor: &Cursor<'_>) -> Option<ConfigPatch> {
    let fields = cursor.fields();
    let apply_to = fields.required("applyTo").and_then(|cursor| read_apply_to(&cursor));
    let matched = fields.get("match").map(|cursor| read_match(&cursor, apply_to));
    let (context, proxy, object) = matched.unwrap_or_default();
    let patch = fields.required("patch");
    let (operation, filter_class, value) = {
        let fields = patch?.fields();
        let operation = fields.required("operation").and_then(|cursor| read_operation(&cursor));
        let class = fields.get("filterClass").and_then(|cursor| {
            cursor.word(&[
                ("UNSPECIFIED", FilterClass::Unspecified),
                ("AUTHN", FilterClass::Authentication),
                ("AUTHZ", FilterClass::Authorization),
                ("STATS", FilterClass::Statistics),
            ])
        });
        let value = fields.get("value");
        let needs_value = operation.is_some_and(|one| one != PatchOperation::Remove);
        if needs_value && value.is_none() {
            let message = "every operation but REMOVE needs a value";
            fields.report("value", Code::MissingField, message);
        }
        (operation?, class.unwrap_or_default(), value)
    };
    let apply_to = apply_to?;
    if let Some(value) = &value {
        value::check(value, apply_to);
    }
    Some(ConfigPatch {
        apply_to,
        context,
        proxy,
        object,
        operation,
        value: value.map(|cursor| json_of(cursor.node())),
        filter_class,
        line: cursor.line(),
    })
}

fn read_apply_to(cursor: &Cursor<'_>) -> Option<ApplyTo> {
    cursor.word(&[
        ("LISTENER", ApplyTo::Listener),
        ("LISTENER_FILTER", ApplyTo::ListenerFilter),
        ("FILTER_CHAIN", ApplyTo::FilterChain),
        ("NETWORK_FILTER", ApplyTo::NetworkFilter),
        ("HTTP_FILTER", ApplyTo::HttpFilter),
        ("ROUTE_CONFIGURATION", ApplyTo::RouteConfiguration),
        ("VIRTUAL_HOST", ApplyTo::VirtualHost),
        ("HTTP_ROUTE", ApplyTo::HttpRoute),
        ("CLUSTER", ApplyTo::Cluster),
        ("EXTENSION_CONFIG", ApplyTo::ExtensionConfig),
        ("BOOTSTRAP", ApplyTo::Bootstrap),
    ])
}

fn read_operation(cursor: &Cursor<'_>) -> Option<PatchOperation> {
    cursor.word(&[
        ("MERGE", PatchOperation::Merge),
        ("MERGE_AND_REPLACE_LIST", PatchOperation::MergeAndReplaceList),
        ("ADD", PatchOperation::Add),
        ("REMOVE", PatchOperation::Remove),
        ("INSERT_BEFORE", PatchOperation::InsertBefore),
        ("INSERT_AFTER", PatchOperation::InsertAfter),
        ("INSERT_FIRST", PatchOperation::InsertFirst),
        ("REPLACE", PatchOperation::Replace),
    ])
}

fn read_match(
    cursor: &Cursor<'_>,
    apply_to: Option<ApplyTo>,
) -> (PatchContext, ProxyMatch, Option<ObjectMatch>) {
    let fields = cursor.fields();
    let context = fields.get("context").and_then(|cursor| {
        cursor.word(&[
            ("ANY", PatchContext::Any),
            ("SIDECAR_INBOUND", PatchContext::SidecarInbound),
            ("SIDECAR_OUTBOUND", PatchContext::SidecarOutbound),
            ("GATEWAY", PatchContext::Gateway),
            ("WAYPOINT", PatchContext::Waypoint),
        ])
    });
    let proxy = fields.get("proxy").map(|cursor| read_proxy(&cursor)).unwrap_or_default();
    let listener = fields
        .get("listener")
        .map(|cursor| ObjectMatch::Listener(read_listener(&cursor, apply_to)));
    let table = fields
        .get("routeConfiguration")
        .map(|cursor| ObjectMatch::RouteConfiguration(read_table(&cursor)));
    let cluster = fields.get("cluster").map(|cursor| ObjectMatch::Cluster(read_cluster(&cursor)));
    let waypoint = fields.get("waypoint");
    if let Some(cursor) = &waypoint {
        let message = "matches in waypoints are passed over";
        cursor.report(Code::FieldIgnored, message);
        cursor.fields().ignore_rest();
    }
    report_other(&fields, apply_to);
    let given: Vec<ObjectMatch> = [listener, table, cluster].into_iter().flatten().collect();
    if given.len() > 1 {
        let message = "a match has one of listener, routeConfiguration and cluster";
        cursor.report(Code::Conflict, message);
    }
    (context.unwrap_or_default(), proxy, given.into_iter().next())
}

/// Reports a match of another kind of thing than the patch is for.
fn report_other(fields: &Fields<'_>, apply_to: Option<ApplyTo>) {
    let fits = match apply_to {
        Some(
            ApplyTo::Listener
            | ApplyTo::FilterChain
            | ApplyTo::NetworkFilter
            | ApplyTo::HttpFilter
            | ApplyTo::ListenerFilter,
        ) => "listener",
        Some(ApplyTo::RouteConfiguration | ApplyTo::VirtualHost | ApplyTo::HttpRoute) => {
            "routeConfiguration"
        }
        Some(ApplyTo::Cluster) => "cluster",
        Some(ApplyTo::ExtensionConfig | ApplyTo::Bootstrap) | None => return,
    };
    for other in ["listener", "routeConfiguration", "cluster"] {
        if other != fits && fields.has(other) {
            let message = format!("a patch of this kind is matched by {fits}, not by {other}");
            fields.report(other, Code::Conflict, message);
        }
    }
}

fn read_proxy(cursor: &Cursor<'_>) -> ProxyMatch {
    let fields = cursor.fields();
    let version = fields.get("proxyVersion").and_then(|cursor| {
        let text = cursor.text().filter(|text| !text.is_empty())?;
        if text.len() > crate::istio::REGEX_CHARACTERS_MAX {
            cursor.report(Code::NoEffect, "the expression is too long, so Istio ignores it");
            return None;
        }
        match Pattern::searching(&text) {
            Ok(pattern) => Some(pattern),
            Err(error) => {
                cursor.report(Code::BadRegex, format!("{text:?} does not compile: {error}"));
                None
            }
        }
    });
    let metadata = fields.get("metadata").map(|cursor| cursor.entries()).unwrap_or_default();
    let metadata = metadata
        .into_iter()
        .filter_map(|(key, cursor)| Some((key.to_owned(), cursor.text()?)))
        .collect();
    ProxyMatch { version, metadata }
}

fn port_of(fields: &Fields<'_>, name: &'static str) -> Option<u16> {
    let number = fields.get(name)?.integer(0, i64::from(u16::MAX))?;
    u16::try_from(number).ok().filter(|port| *port != 0)
}

fn read_listener(cursor: &Cursor<'_>, apply_to: Option<ApplyTo>) -> ListenerMatch {
    let fields = cursor.fields();
    // An old field, which means the name of the port in route tables.
    let _port_name = fields.get("portName");
    ListenerMatch {
        name: fields.text("name"),
        port: port_of(&fields, "portNumber"),
        listener_filter: fields.text("listenerFilter"),
        filter_chain: fields.get("filterChain").map(|cursor| read_filter_chain(&cursor, apply_to)),
    }
}

fn read_filter_chain(cursor: &Cursor<'_>, apply_to: Option<ApplyTo>) -> FilterChainMatch {
    let fields = cursor.fields();
    let filter = fields.get("filter").map(|cursor| read_filter(&cursor, apply_to));
    let (filter, sub_filter) = filter.unwrap_or_default();
    FilterChainMatch {
        name: fields.text("name"),
        sni: fields.text("sni"),
        transport_protocol: fields.text("transportProtocol"),
        application_protocols: fields.text("applicationProtocols"),
        destination_port: port_of(&fields, "destinationPort"),
        filter,
        sub_filter,
    }
}

fn read_filter(cursor: &Cursor<'_>, apply_to: Option<ApplyTo>) -> (Option<String>, Option<String>) {
    let fields = cursor.fields();
    let name = fields.text("name");
    match &name {
        Some(name) => report_old_name(&cursor.at("name"), name),
        None => fields.report("name", Code::MissingField, "the filter has no name to match"),
    }
    if matches!(apply_to, Some(ApplyTo::Listener | ApplyTo::FilterChain)) {
        let message = "a patch of a listener or a filter chain does not look at filters";
        cursor.report(Code::NoEffect, message);
    }
    let Some(sub_filter) = fields.get("subFilter") else { return (name, None) };
    if apply_to.is_some_and(|kind| kind != ApplyTo::HttpFilter) {
        let message = "only patches of HTTP_FILTER are matched by subFilter";
        sub_filter.report(Code::Conflict, message);
    } else if name.as_deref().is_some_and(|name| !CONNECTION_MANAGERS.contains(&name)) {
        let message = "HTTP filters are in envoy.filters.network.http_connection_manager";
        fields.report("name", Code::Conflict, message);
    }
    let inner = sub_filter.fields();
    let sub_name = inner.text("name");
    match &sub_name {
        Some(name) => report_old_name(&sub_filter.at("name"), name),
        None => inner.report("name", Code::MissingField, "the filter has no name to match"),
    }
    (name, sub_name)
}

/// Warns about a name that filters had before Envoy 1.14.
pub(super) fn report_old_name(cursor: &Cursor<'_>, name: &str) {
    if let Some(new) = names::successor_of(name) {
        let message = format!("{name} is the old name of {new}");
        cursor.report_with_help(Code::Deprecated, message, format!("write {new}"));
    }
}

fn read_table(cursor: &Cursor<'_>) -> RouteConfigurationMatch {
    let fields = cursor.fields();
    let mut found = RouteConfigurationMatch {
        name: fields.text("name"),
        port: port_of(&fields, "portNumber"),
        port_name: fields.text("portName"),
        gateway: fields.text("gateway"),
        ..RouteConfigurationMatch::default()
    };
    let Some(cursor) = fields.get("vhost") else { return found };
    let fields = cursor.fields();
    found.virtual_host = fields.text("name");
    found.domain = fields.text("domainName");
    let Some(cursor) = fields.get("route") else { return found };
    let fields = cursor.fields();
    found.route = fields.text("name");
    found.action = fields
        .get("action")
        .and_then(|cursor| {
            cursor.word(&[
                ("ANY", None),
                ("ROUTE", Some("ROUTE")),
                ("REDIRECT", Some("REDIRECT")),
                ("DIRECT_RESPONSE", Some("DIRECT_RESPONSE")),
            ])
        })
        .flatten();
    found
}

fn read_cluster(cursor: &Cursor<'_>) -> ClusterMatch {
    let fields = cursor.fields();
    ClusterMatch {
        name: fields.text("name"),
        service: fields.text("service"),
        port: port_of(&fields, "portNumber"),
        subset: fields.text("subset"),
    }
}
