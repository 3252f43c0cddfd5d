//! Reads a `DestinationRule`.

use super::{
    ClientTlsMode, ClientTlsSettings, DestinationRule, OutlierDetection, PortPolicy, RetryBudget,
    Subset, TrafficPolicy, checks, load_balancer, pool, tunnel,
};
use crate::{
    Code, Visibility,
    document::Context,
    istio::refer::{self, Hiding},
    reader::{Cursor, Fields},
};

/// Reads the specification.
pub(crate) fn parse(cursor: &Cursor<'_>, context: &Context<'_>) -> Option<DestinationRule> {
    let fields = cursor.fields();
    let host = fields.required("host");
    let workload_selector = fields
        .get("workloadSelector")
        .and_then(|_| refer::policy_selector(&fields, "workloadSelector"));
    let export_to = refer::visibility(&fields, context, Hiding::Refused);
    let policy = fields.get("trafficPolicy").map(|cursor| read_policy(&cursor));
    let subsets = fields.list_of("subsets", read_subset);
    if workload_selector.is_some() {
        let own = Visibility::Namespaces(vec![context.namespace.clone()]);
        if export_to.as_ref().is_some_and(|visibility| *visibility != own) {
            let message =
                "a rule with workloadSelector is for its own namespace; exportTo is [\".\"]";
            cursor.at("exportTo").report(Code::Conflict, message);
        }
    }
    let subsets: Vec<Subset> = subsets.into_iter().flatten().collect();
    for (index, subset) in subsets.iter().enumerate() {
        if subsets.iter().take(index).any(|other| other.name == subset.name) {
            let message = format!("the subset {} stands here twice", subset.name);
            cursor.at(&format!("subsets[{index}].name")).report(Code::Duplicate, message);
        }
    }
    Some(DestinationRule {
        host: host.and_then(|cursor| refer::host_pattern(&cursor, context))?,
        workload_selector,
        export_to,
        traffic_policy: policy.unwrap_or_default(),
        subsets,
    })
}

fn read_subset(cursor: &Cursor<'_>) -> Option<Subset> {
    let fields = cursor.fields();
    let name = fields.required("name");
    let labels = fields.get("labels").map(|cursor| refer::labels(&cursor)).unwrap_or_default();
    let policy = fields.get("trafficPolicy").map(|cursor| read_policy(&cursor));
    let name_cursor = name?;
    let name = name_cursor.text()?;
    if !refer::is_dns_label(&name) {
        let message =
            format!("{name:?} is no name of a subset; use lower-case letters, digits and -");
        name_cursor.report(Code::BadValue, message);
    }
    Some(Subset { name, labels, traffic_policy: policy.unwrap_or_default(), line: cursor.line() })
}

/// Reads a `trafficPolicy`.
fn read_policy(cursor: &Cursor<'_>) -> TrafficPolicy {
    let fields = cursor.fields();
    if fields.is_empty() {
        cursor.report(Code::EmptyValue, "the traffic policy has no field");
    }
    let policy = read_port_policy(&fields);
    let retry_budget = fields.get("retryBudget").map(|cursor| read_retry_budget(&cursor));
    let port_level = fields.list_of("portLevelSettings", |cursor| {
        let fields = cursor.fields();
        let port = fields.required("port").and_then(|cursor| {
            let fields = cursor.fields();
            let number = fields.required("number");
            number.and_then(|cursor| cursor.port())
        });
        let policy = read_port_policy(&fields);
        checks::report_contradictions(cursor, &policy);
        Some((port?, policy))
    });
    if fields.has("tunnel") && fields.has("proxyProtocol") {
        let message = "a policy has tunnel or proxyProtocol, not both";
        fields.report("proxyProtocol", Code::Conflict, message);
    }
    checks::report_contradictions(cursor, &policy);
    TrafficPolicy {
        policy,
        port_level: port_level.into_iter().flatten().collect(),
        retry_budget,
        tunnel: fields.get("tunnel").and_then(|cursor| tunnel::read_tunnel(&cursor)),
        proxy_protocol: fields
            .get("proxyProtocol")
            .and_then(|cursor| tunnel::read_proxy_protocol(&cursor)),
    }
}

fn read_port_policy(fields: &Fields<'_>) -> PortPolicy {
    PortPolicy {
        load_balancer: fields.get("loadBalancer").map(|cursor| load_balancer::read(&cursor)),
        connection_pool: fields
            .get("connectionPool")
            .map(|cursor| pool::read_connection_pool(&cursor)),
        outlier_detection: fields.get("outlierDetection").map(|cursor| read_outliers(&cursor)),
        tls: fields.get("tls").map(|cursor| read_tls(&cursor)),
    }
}

fn read_retry_budget(cursor: &Cursor<'_>) -> RetryBudget {
    let fields = cursor.fields();
    let percent = fields.get("percent").and_then(|cursor| cursor.percent());
    let concurrency_min = fields.get("minRetryConcurrency").and_then(|cursor| cursor.number());
    let interval = fields.get("budgetInterval").and_then(|cursor| cursor.duration_or_zero());
    if interval.is_some() {
        let message = "budgetInterval is read, not yet applied: the budget is a share of the \
                       requests in flight";
        fields.report("budgetInterval", Code::FieldIgnored, message);
    }
    RetryBudget {
        interval: interval.filter(|interval| !interval.is_zero()),
        percent: percent.unwrap_or_else(pool::twenty_percent),
        concurrency_min: concurrency_min.unwrap_or(3),
    }
}

/// Reads `outlierDetection`.
pub(crate) fn read_outliers(cursor: &Cursor<'_>) -> OutlierDetection {
    let fields = cursor.fields();
    let number = |name: &'static str| fields.get(name).and_then(|cursor| cursor.number());
    let old = fields.get("consecutiveErrors");
    if let Some(cursor) = &old {
        cursor.report(
            Code::Deprecated,
            "consecutiveErrors is old; it counts gateway errors here. Use consecutiveGatewayErrors \
             or consecutive5xxErrors",
        );
    }
    let consecutive_5xx = number("consecutive5xxErrors");
    let gateway = number("consecutiveGatewayErrors");
    let local = number("consecutiveLocalOriginFailures");
    let split = fields.flag("splitExternalLocalOriginErrors");
    let interval = fields.get("interval").and_then(|cursor| cursor.duration());
    let base = fields.get("baseEjectionTime").and_then(|cursor| cursor.duration());
    let max_ejection = fields.get("maxEjectionPercent").and_then(|cursor| cursor.percent());
    let min_health = fields.get("minHealthPercent").and_then(|cursor| cursor.percent());
    if local.is_some() && !split {
        let message = "consecutiveLocalOriginFailures needs splitExternalLocalOriginErrors: true";
        cursor.report(Code::NoEffect, message);
    }
    OutlierDetection {
        error_statuses: read_error_statuses(&fields),
        consecutive_5xx,
        consecutive_gateway_errors: gateway.or_else(|| old.and_then(|cursor| cursor.number())),
        split_external_local_origin_errors: split,
        consecutive_local_origin_failures: local,
        interval,
        base_ejection_time: base,
        // Istio sends the limit only above zero, so that zero means Envoy's 10 %.
        max_ejection: max_ejection.filter(|percent| percent.parts_per_million() > 0),
        min_health: min_health.unwrap_or_default(),
    }
}

fn read_error_statuses(fields: &Fields<'_>) -> Vec<u16> {
    const FIELD: &str = "outlierDetectionHttpErrorCodes";
    let statuses = fields.list_of(FIELD, |cursor| {
        cursor.integer(100, 599).and_then(|number| u16::try_from(number).ok())
    });
    if !statuses.is_empty() {
        let message = "the statuses are read, not yet applied: every 5xx counts, and nothing else";
        fields.report(FIELD, Code::FieldIgnored, message);
    }
    statuses.into_iter().flatten().collect()
}

fn read_tls(cursor: &Cursor<'_>) -> ClientTlsSettings {
    let fields = cursor.fields();
    let mode = fields.get("mode").and_then(|cursor| {
        cursor.word(&[
            ("DISABLE", ClientTlsMode::Disable),
            ("SIMPLE", ClientTlsMode::Simple),
            ("MUTUAL", ClientTlsMode::Mutual),
            ("ISTIO_MUTUAL", ClientTlsMode::IstioMutual),
        ])
    });
    let settings = ClientTlsSettings {
        mode: mode.unwrap_or_default(),
        client_certificate: fields.text("clientCertificate"),
        private_key: fields.text("privateKey"),
        ca_certificates: fields.text("caCertificates"),
        credential_name: fields.text("credentialName"),
        subject_alt_names: fields.texts("subjectAltNames"),
        sni: fields.text("sni"),
        insecure_skip_verify: fields.flag("insecureSkipVerify"),
    };
    checks::report_tls(cursor, &settings);
    settings
}
