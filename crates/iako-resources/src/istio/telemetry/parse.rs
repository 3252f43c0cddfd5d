//! Reads a `Telemetry`.

use super::{
    AccessLogging, CustomTag, MetricSelector, Metrics, MetricsOverride, Telemetry, TelemetryMode,
    Tracing,
};
use crate::{
    Code,
    document::Context,
    istio::refer,
    reader::{Cursor, Fields},
};

/// Words of `match.metric` and the Prometheus names that they stand for.
const METRICS: [(&str, &str); 10] = [
    ("REQUEST_COUNT", "istio_requests_total"),
    ("REQUEST_DURATION", "istio_request_duration_milliseconds"),
    ("REQUEST_SIZE", "istio_request_bytes"),
    ("RESPONSE_SIZE", "istio_response_bytes"),
    ("TCP_OPENED_CONNECTIONS", "istio_tcp_connections_opened_total"),
    ("TCP_CLOSED_CONNECTIONS", "istio_tcp_connections_closed_total"),
    ("TCP_SENT_BYTES", "istio_tcp_sent_bytes_total"),
    ("TCP_RECEIVED_BYTES", "istio_tcp_received_bytes_total"),
    ("GRPC_REQUEST_MESSAGES", "istio_request_messages_total"),
    ("GRPC_RESPONSE_MESSAGES", "istio_response_messages_total"),
];

/// Reads the specification.
pub(crate) fn parse(cursor: &Cursor<'_>, _context: &Context<'_>) -> Option<Telemetry> {
    let fields = cursor.fields();
    let selector = refer::policy_selector(&fields, "selector");
    let tracing = fields.list_of("tracing", read_tracing);
    if tracing.len() > 1 {
        fields.report("tracing", Code::NoEffect, "only the first entry of tracing counts");
    }
    let metrics = fields.list_of("metrics", read_metrics);
    let access_logging = fields.list_of("accessLogging", read_access_logging);
    let targets = refer::targets(&fields, "selector");
    let tracing = tracing.into_iter().next();
    Some(Telemetry { selector, tracing, metrics, access_logging, targets })
}

fn read_providers(fields: &Fields<'_>) -> Vec<String> {
    let names = fields.list_of("providers", |cursor| {
        let fields = cursor.fields();
        let name = fields.text("name");
        if name.is_none() {
            fields.report("name", Code::EmptyValue, "the name of a provider is empty");
        }
        name
    });
    names.into_iter().flatten().collect()
}

fn mode_of(fields: &Fields<'_>) -> TelemetryMode {
    let Some(cursor) = fields.get("mode") else { return TelemetryMode::ClientAndServer };
    let mode = cursor.word(&[
        ("CLIENT_AND_SERVER", TelemetryMode::ClientAndServer),
        ("CLIENT", TelemetryMode::Client),
        ("SERVER", TelemetryMode::Server),
    ]);
    mode.unwrap_or_default()
}

fn read_mode(fields: &Fields<'_>) -> TelemetryMode {
    fields.get("match").map(|cursor| mode_of(&cursor.fields())).unwrap_or_default()
}

fn read_tracing(cursor: &Cursor<'_>) -> Tracing {
    let fields = cursor.fields();
    if let Some(cursor) = fields.get("providers") {
        let message =
            "spans are not sent yet; trace context and the decision to sample are passed on";
        cursor.report(Code::FieldIgnored, message);
    }
    let ignored = [
        ("disableSpanReporting", "spans are not sent yet"),
        ("disableContextPropagation", "trace context is always passed on"),
        ("customTags", "they are read and checked, not yet applied: spans have Istio's tags only"),
        ("useRequestIdForTraceSampling", "the sampling decision travels in the trace context"),
        ("enableIstioTags", "spans always have Istio's tags"),
    ];
    for (name, why) in ignored {
        if fields.has(name) {
            let message = format!("{name} has no effect here: {why}");
            fields.report(name, Code::FieldIgnored, message);
        }
    }
    let flag = |name: &'static str| fields.get(name).and_then(|cursor| cursor.boolean());
    let tags = fields.get("customTags").map(|cursor| cursor.entries()).unwrap_or_default();
    let tags = tags.into_iter().filter_map(|(name, cursor)| {
        if name.is_empty() {
            cursor.report(Code::EmptyValue, "the name of a tag is empty");
        }
        Some((name.to_owned(), read_tag(&cursor)?))
    });
    Tracing {
        providers: read_providers(&fields),
        mode: read_mode(&fields),
        random_sampling: fields.get("randomSamplingPercentage").and_then(|c| c.percent()),
        disable_span_reporting: flag("disableSpanReporting"),
        disable_context_propagation: flag("disableContextPropagation").unwrap_or(false),
        custom_tags: tags.collect(),
        use_request_id_for_sampling: flag("useRequestIdForTraceSampling"),
        enable_istio_tags: flag("enableIstioTags"),
    }
}

fn read_tag(cursor: &Cursor<'_>) -> Option<CustomTag> {
    let fields = cursor.fields();
    let literal = fields.get("literal").map(|cursor| {
        let fields = cursor.fields();
        text_of(&fields, "value").map(CustomTag::Literal)
    });
    let format = fields.get("formatter").map(|cursor| {
        let fields = cursor.fields();
        text_of(&fields, "value").map(CustomTag::Format)
    });
    let environment = fields.get("environment").map(|cursor| {
        let (name, default) = named(&cursor)?;
        Some(CustomTag::Environment { name, default })
    });
    let header = fields.get("header").map(|cursor| {
        let (name, default) = named(&cursor)?;
        Some(CustomTag::Header { name, default })
    });
    let given: Vec<Option<CustomTag>> =
        [literal, environment, header, format].into_iter().flatten().collect();
    if given.len() > 1 {
        let message = "a tag is one of literal, environment, header and formatter";
        cursor.report(Code::Conflict, message);
    }
    given.into_iter().next().flatten()
}

/// A text that must not be empty.
fn text_of(fields: &Fields<'_>, name: &'static str) -> Option<String> {
    let text = fields.text(name);
    if text.is_none() {
        fields.report(name, Code::EmptyValue, format!("the {name} is empty"));
    }
    text
}

/// `name` and `defaultValue`.
fn named(cursor: &Cursor<'_>) -> Option<(String, Option<String>)> {
    let fields = cursor.fields();
    let default = fields.text("defaultValue");
    Some((text_of(&fields, "name")?, default))
}

fn read_metrics(cursor: &Cursor<'_>) -> Metrics {
    let fields = cursor.fields();
    let providers = read_providers(&fields);
    let overrides = fields.list_of("overrides", read_override);
    let reporting_interval = fields.get("reportingInterval").and_then(|c| c.duration());
    if reporting_interval.is_some() {
        let message = "counters of open connections are always current";
        fields.report("reportingInterval", Code::FieldIgnored, message);
    }
    Metrics { providers, overrides: overrides.into_iter().flatten().collect(), reporting_interval }
}

fn read_override(cursor: &Cursor<'_>) -> Option<MetricsOverride> {
    let fields = cursor.fields();
    let matched = fields.get("match").map(|cursor| read_metric(&cursor));
    let disabled = fields.get("disabled").and_then(|cursor| cursor.boolean());
    let tags = fields.get("tagOverrides").map(|cursor| cursor.entries()).unwrap_or_default();
    let mut removed_tags = Vec::new();
    let mut set_tags = Vec::new();
    for (tag, cursor) in tags {
        match read_change(&cursor) {
            Change::Remove => removed_tags.push(tag.to_owned()),
            Change::Set(expression) => set_tags.push((tag.to_owned(), expression)),
        }
    }
    let (metric, mode) =
        matched.unwrap_or(Some((MetricSelector::All, TelemetryMode::ClientAndServer)))?;
    Some(MetricsOverride { metric, mode, disabled, removed_tags, set_tags })
}

/// What becomes of a label.
enum Change {
    Remove,
    Set(String),
}

fn read_change(cursor: &Cursor<'_>) -> Change {
    let fields = cursor.fields();
    let operation = fields
        .get("operation")
        .and_then(|cursor| cursor.word(&[("UPSERT", false), ("REMOVE", true)]));
    let value = fields.text("value");
    if operation.unwrap_or(false) {
        if value.is_some() {
            fields.report("value", Code::Conflict, "a label that is removed has no value");
        }
        return Change::Remove;
    }
    if value.is_some() {
        let message =
            "the expression is read, not yet applied: labels can be removed, not yet computed";
        fields.report("value", Code::FieldIgnored, message);
    } else {
        fields.report("value", Code::MissingField, "a label that is set needs a value");
    }
    Change::Set(value.unwrap_or_default())
}

fn read_metric(cursor: &Cursor<'_>) -> Option<(MetricSelector, TelemetryMode)> {
    let fields = cursor.fields();
    let mode = mode_of(&fields);
    let standard = fields.get("metric");
    let custom = fields.get("customMetric");
    if standard.is_some() && custom.is_some() {
        cursor.report(Code::Conflict, "a match has metric or customMetric, not both");
    }
    if let Some(cursor) = custom {
        let name = cursor.text()?;
        if name.is_empty() {
            cursor.report(Code::EmptyValue, "customMetric is empty");
        }
        return Some((MetricSelector::Custom(name), mode));
    }
    let Some(cursor) = standard else { return Some((MetricSelector::All, mode)) };
    let words: Vec<(&'static str, Option<&'static str>)> = std::iter::once(("ALL_METRICS", None))
        .chain(METRICS.iter().map(|(word, name)| (*word, Some(*name))))
        .collect();
    let metric = cursor.word(&words)?.map_or(MetricSelector::All, MetricSelector::Standard);
    Some((metric, mode))
}

fn read_access_logging(cursor: &Cursor<'_>) -> AccessLogging {
    let fields = cursor.fields();
    AccessLogging {
        providers: read_providers(&fields),
        mode: read_mode(&fields),
        disabled: fields.get("disabled").and_then(|cursor| cursor.boolean()),
        filter: fields.get("filter").and_then(|cursor| {
            let message = "the expression is read, not yet applied, so every request is logged";
            cursor.report(Code::FieldIgnored, message);
            cursor.fields().text("expression")
        }),
    }
}
