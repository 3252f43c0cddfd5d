//! Reads a `Telemetry`.

use super::{
    AccessLogging, MetricSelector, Metrics, MetricsOverride, Telemetry, TelemetryMode, Tracing,
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
        cursor.report(Code::NoEffect, "only the first entry of tracing counts");
    }
    let metrics = fields.list_of("metrics", read_metrics);
    let access_logging = fields.list_of("accessLogging", read_access_logging);
    Some(Telemetry { selector, tracing: tracing.into_iter().next(), metrics, access_logging })
}

fn read_providers(fields: &Fields<'_>) -> Vec<String> {
    let names = fields.list_of("providers", |cursor| {
        let fields = cursor.fields();
        let name = fields.text("name");
        if name.is_none() {
            cursor.report(Code::EmptyValue, "the name of a provider is empty");
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
    Tracing {
        providers: read_providers(&fields),
        mode: read_mode(&fields),
        random_sampling: fields.get("randomSamplingPercentage").and_then(|c| c.percent()),
    }
}

fn read_metrics(cursor: &Cursor<'_>) -> Metrics {
    let fields = cursor.fields();
    let providers = read_providers(&fields);
    let overrides = fields.list_of("overrides", read_override);
    Metrics { providers, overrides: overrides.into_iter().flatten().collect() }
}

fn read_override(cursor: &Cursor<'_>) -> Option<MetricsOverride> {
    let fields = cursor.fields();
    let matched = fields.get("match").map(|cursor| read_metric(&cursor));
    let disabled = fields.get("disabled").and_then(|cursor| cursor.boolean());
    let tags = fields.get("tagOverrides").map(|cursor| cursor.entries()).unwrap_or_default();
    let mut removed_tags = Vec::new();
    for (tag, cursor) in tags {
        if read_removes(&cursor) {
            removed_tags.push(tag.to_owned());
        }
    }
    let (metric, mode) =
        matched.unwrap_or(Some((MetricSelector::All, TelemetryMode::ClientAndServer)))?;
    Some(MetricsOverride { metric, mode, disabled, removed_tags })
}

fn read_removes(cursor: &Cursor<'_>) -> bool {
    let fields = cursor.fields();
    let operation = fields
        .get("operation")
        .and_then(|cursor| cursor.word(&[("UPSERT", false), ("REMOVE", true)]));
    let removes = operation.unwrap_or(false);
    if removes && fields.has("value") {
        cursor.report(Code::Conflict, "a label that is removed has no value");
    }
    removes
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
    }
}
