//! What a proxy writes down and counts, as Telemetry objects and the mesh's settings say.

use iako_proxy_config::{
    AccessLog, AccessLogFilter, AccessLogSink, JsonFormat, LogFormat, StatsFilter,
    StatsMetricOverride, TraceSampling, Tracing,
};
use iako_resources::istio::{
    mesh_config::{AccessLogEncoding, AccessLogFile, AccessLogFormat, ExtensionProviderKind},
    telemetry::{MetricSelector, TelemetryMode},
};
use iako_types::{Fraction, FractionDenominator};

use crate::outlook::Outlook;

/// Which side of an exchange a listener is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// The client's: requests of the local application.
    Outbound,
    /// The server's: requests to the local application.
    Inbound,
    /// The edge; it reports as a client.
    Gateway,
}

impl Side {
    const fn is_in(self, mode: TelemetryMode) -> bool {
        match mode {
            TelemetryMode::ClientAndServer => true,
            TelemetryMode::Client => matches!(self, Self::Outbound | Self::Gateway),
            TelemetryMode::Server => matches!(self, Self::Inbound),
        }
    }
}

/// Istio's keys of a JSON line with their operators; its text line has the same ones in this order.
const ISTIO_JSON: [(&str, &str); 24] = [
    ("start_time", "%START_TIME%"),
    ("method", "%REQ(:METHOD)%"),
    ("path", "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%"),
    ("protocol", "%PROTOCOL%"),
    ("response_code", "%RESPONSE_CODE%"),
    ("response_flags", "%RESPONSE_FLAGS%"),
    ("response_code_details", "%RESPONSE_CODE_DETAILS%"),
    ("connection_termination_details", "%CONNECTION_TERMINATION_DETAILS%"),
    ("upstream_transport_failure_reason", "%UPSTREAM_TRANSPORT_FAILURE_REASON%"),
    ("bytes_received", "%BYTES_RECEIVED%"),
    ("bytes_sent", "%BYTES_SENT%"),
    ("duration", "%DURATION%"),
    ("upstream_service_time", "%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)%"),
    ("x_forwarded_for", "%REQ(X-FORWARDED-FOR)%"),
    ("user_agent", "%REQ(USER-AGENT)%"),
    ("request_id", "%REQ(X-REQUEST-ID)%"),
    ("authority", "%REQ(:AUTHORITY)%"),
    ("upstream_host", "%UPSTREAM_HOST%"),
    ("upstream_cluster", "%UPSTREAM_CLUSTER_RAW%"),
    ("upstream_local_address", "%UPSTREAM_LOCAL_ADDRESS%"),
    ("downstream_local_address", "%DOWNSTREAM_LOCAL_ADDRESS%"),
    ("downstream_remote_address", "%DOWNSTREAM_REMOTE_ADDRESS%"),
    ("requested_server_name", "%REQUESTED_SERVER_NAME%"),
    ("route_name", "%ROUTE_NAME%"),
];

/// Operators that Istio's text line puts in quotes; the first three of a line share one pair.
const QUOTED: [&str; 6] = [
    "upstream_transport_failure_reason",
    "x_forwarded_for",
    "user_agent",
    "request_id",
    "authority",
    "upstream_host",
];

/// The logs of requests and connections on one side.
pub(crate) fn access_logs(outlook: &Outlook<'_>, side: Side) -> Vec<AccessLog> {
    let mesh = outlook.mesh();
    let by_name = |names: &[String]| -> Vec<AccessLog> {
        names.iter().filter_map(|name| provider_log(outlook, name)).collect()
    };
    let of_mesh = || {
        let defaults = &mesh.default_providers.access_logging;
        if defaults.is_empty() {
            mesh.access_log.iter().map(file_log).collect()
        } else {
            by_name(defaults)
        }
    };
    let Some(entries) = &outlook.telemetry().access_logging else { return of_mesh() };
    let mut logs: Vec<AccessLog> = Vec::new();
    for entry in entries.iter().filter(|entry| side.is_in(entry.mode)) {
        if entry.disabled == Some(true) {
            continue;
        }
        let found = if entry.providers.is_empty() { of_mesh() } else { by_name(&entry.providers) };
        logs.extend(found.into_iter().filter(|log| !logs.contains(log)).collect::<Vec<_>>());
    }
    logs
}

/// The logs of connections that no filter chain took.
pub(crate) fn listener_logs(outlook: &Outlook<'_>, side: Side) -> Vec<AccessLog> {
    let mut logs = access_logs(outlook, side);
    for log in &mut logs {
        log.filter = Some(AccessLogFilter::ResponseFlags(vec!["NR".to_owned()]));
    }
    logs
}

fn provider_log(outlook: &Outlook<'_>, name: &str) -> Option<AccessLog> {
    match &outlook.mesh().provider(name)?.kind {
        ExtensionProviderKind::FileAccessLog { path, format } => {
            let format = match format {
                None => istio_text(),
                Some(AccessLogFormat::Text(text)) => LogFormat::Text(text.clone()),
                Some(AccessLogFormat::Json(fields)) if fields.is_empty() => istio_json(),
                Some(AccessLogFormat::Json(fields)) => LogFormat::json(fields.iter().cloned()),
            };
            Some(AccessLog { sink: sink(path), format, filter: None })
        }
        ExtensionProviderKind::Prometheus | ExtensionProviderKind::Unsupported(_) => None,
    }
}

fn file_log(file: &AccessLogFile) -> AccessLog {
    let format = match (&file.format, file.encoding) {
        (Some(text), AccessLogEncoding::Text) => LogFormat::Text(text.clone()),
        (None, AccessLogEncoding::Text) => istio_text(),
        (None, AccessLogEncoding::Json) => istio_json(),
        (Some(text), AccessLogEncoding::Json) => json_format(text).unwrap_or_else(istio_json),
    };
    AccessLog { sink: sink(&file.path), format, filter: None }
}

/// `accessLogFormat` with JSON encoding is a JSON object of texts.
fn json_format(text: &str) -> Option<LogFormat> {
    let object: serde_json::Map<String, serde_json::Value> = serde_json::from_str(text).ok()?;
    Some(LogFormat::Json(JsonFormat { fields: object, ..JsonFormat::default() }))
}

fn sink(path: &str) -> AccessLogSink {
    match path {
        "/dev/stdout" => AccessLogSink::Stdout,
        "/dev/stderr" => AccessLogSink::Stderr,
        file => AccessLogSink::File(file.to_owned()),
    }
}

/// Istio's default line.
fn istio_text() -> LogFormat {
    let mut line = String::new();
    for (key, operator) in ISTIO_JSON {
        let piece = match key {
            "start_time" => format!("[{operator}]"),
            "method" => format!(" \"{operator}"),
            "protocol" => format!(" {operator}\""),
            quoted if QUOTED.contains(&quoted) => format!(" \"{operator}\""),
            _ => format!(" {operator}"),
        };
        line.push_str(&piece);
    }
    line.push('\n');
    LogFormat::Text(line)
}

fn istio_json() -> LogFormat {
    let fields = ISTIO_JSON.iter().map(|&(key, format)| (key.to_owned(), format.to_owned()));
    LogFormat::json(fields)
}

/// Settings of Istio's standard metrics on one side; none when no provider wants them.
pub(crate) fn stats(outlook: &Outlook<'_>, side: Side) -> Option<StatsFilter> {
    let telemetry = outlook.telemetry();
    let mesh = outlook.mesh();
    let named = if telemetry.metrics_providers.is_empty() {
        &mesh.default_providers.metrics
    } else {
        &telemetry.metrics_providers
    };
    let is_prometheus = |name: &String| {
        let kind = mesh.provider(name).map(|provider| &provider.kind);
        kind.map_or_else(|| name == "prometheus", |kind| *kind == ExtensionProviderKind::Prometheus)
    };
    if !named.is_empty() && !named.iter().any(is_prometheus) {
        return None;
    }
    let overrides = telemetry
        .metrics_overrides
        .iter()
        .filter(|change| side.is_in(change.mode))
        .map(|change| StatsMetricOverride {
            metric: match &change.metric {
                MetricSelector::All => String::new(),
                MetricSelector::Standard(name) => {
                    name.strip_prefix("istio_").unwrap_or(name).to_owned()
                }
                MetricSelector::Custom(name) => name.clone(),
            },
            drop: change.disabled.unwrap_or(false),
            tags_to_remove: change.removed_tags.clone(),
        })
        .collect();
    Some(StatsFilter { overrides, disable_host_header_fallback: side != Side::Outbound })
}

/// Which requests are traced; none without a provider for spans.
pub(crate) fn tracing(outlook: &Outlook<'_>, side: Side) -> Option<Tracing> {
    let tracing = &outlook.telemetry().tracing;
    let mesh = outlook.mesh();
    let wanted = !tracing.providers.is_empty() || !mesh.default_providers.tracing.is_empty();
    (wanted && side.is_in(tracing.mode)).then(|| {
        let share = tracing.random_sampling.unwrap_or(mesh.trace_sampling);
        let random = Fraction {
            numerator: share.parts_per_million() / 100,
            denominator: FractionDenominator::TenThousand,
        };
        let sampling = TraceSampling { random, ..TraceSampling::default() };
        Tracing { sampling, ..Tracing::default() }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_line_is_istios() {
        let LogFormat::Text(line) = istio_text() else { panic!("no text") };
        assert_eq!(
            line,
            "[%START_TIME%] \"%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%\" \
             %RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% \
             %CONNECTION_TERMINATION_DETAILS% \"%UPSTREAM_TRANSPORT_FAILURE_REASON%\" \
             %BYTES_RECEIVED% %BYTES_SENT% %DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% \
             \"%REQ(X-FORWARDED-FOR)%\" \"%REQ(USER-AGENT)%\" \"%REQ(X-REQUEST-ID)%\" \
             \"%REQ(:AUTHORITY)%\" \"%UPSTREAM_HOST%\" %UPSTREAM_CLUSTER_RAW% \
             %UPSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_REMOTE_ADDRESS% \
             %REQUESTED_SERVER_NAME% %ROUTE_NAME%\n"
        );
    }
}
