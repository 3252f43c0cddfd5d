//! What is written down about health: one JSON object a line, with Envoy's names.
//! Source: `envoy.data.core.v3.HealthCheckEvent`, `envoy.data.cluster.v3.OutlierDetectionEvent`.

use std::{sync::Arc, time::SystemTime};

use iako_proxy_config::{Endpoint, EndpointAddress, HealthCheck, HealthCheckKind};
use iako_telemetry::AccessLogSink;
use iako_traffic::{BalancedEndpoint, CheckEvent, Ejection, EjectionEffect, RateFacts, Return};
use iako_types::Locality;
use serde_json::{Value, json};

use crate::{admin::timestamp, transport::connect::name_of};

/// The files that events of one cluster go to.
#[derive(Debug, Default)]
pub(crate) struct HealthLogs {
    /// Of active checks. Source: `event_log_path` and `event_logger` of a check.
    pub(crate) checks: Vec<Arc<AccessLogSink>>,
    /// Of outlier detection. Source: `cluster_manager.outlier_detection.event_log_path`.
    pub(crate) outliers: Option<Arc<AccessLogSink>>,
}

/// Whose event it is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Subject<'a> {
    pub(super) cluster: &'a str,
    pub(super) endpoint: &'a Endpoint,
    pub(super) locality: &'a Locality,
    /// The HTTP status that a check failed by.
    pub(super) status: Option<u16>,
}

impl HealthLogs {
    pub(super) fn checked(
        &self,
        check: &HealthCheck,
        subject: Subject<'_>,
        events: &[CheckEvent],
        now: SystemTime,
    ) {
        for event in events {
            let line = check_event(check, subject, *event, now).to_string();
            self.checks.iter().for_each(|sink| sink.write_line(&line));
        }
    }

    pub(crate) fn ejected(
        &self,
        cluster: &str,
        endpoint: &BalancedEndpoint,
        (ejection, facts): (&Ejection, Option<&RateFacts>),
        now: SystemTime,
    ) {
        let Some(sink) = &self.outliers else { return };
        let (enforced, times, since) = match ejection.effect {
            EjectionEffect::Enforced { times, since_last, .. } => (true, times, since_last),
            EjectionEffect::NotEnforced => (false, endpoint.state.ejections(), None),
            // Nothing was done, and the counter of overflows says so.
            EjectionEffect::Overflow => return,
        };
        let mut event = json!({
            "type": ejection.cause.event(),
            "cluster_name": cluster,
            "upstream_url": name_of(&endpoint.endpoint.address),
            "action": "EJECT",
            "num_ejections": times,
            "enforced": enforced,
            "timestamp": timestamp(now),
        });
        add(&mut event, "secs_since_last_action", since.map(|since| json!(since.as_secs())));
        let (name, detail) = detail(ejection, facts);
        add(&mut event, name, Some(detail));
        sink.write_line(&event.to_string());
    }

    pub(crate) fn returned(
        &self,
        cluster: &str,
        endpoint: &BalancedEndpoint,
        back: &Return,
        now: SystemTime,
    ) {
        let Some(sink) = &self.outliers else { return };
        let event = json!({
            "type": "CONSECUTIVE_5XX",
            "cluster_name": cluster,
            "upstream_url": name_of(&endpoint.endpoint.address),
            "action": "UNEJECT",
            "num_ejections": back.times,
            "enforced": false,
            "timestamp": timestamp(now),
            "secs_since_last_action": back.away.as_secs().to_string(),
        });
        sink.write_line(&event.to_string());
    }
}

fn add(event: &mut Value, name: &str, value: Option<Value>) {
    if let (Some(fields), Some(value)) = (event.as_object_mut(), value) {
        fields.insert(name.to_owned(), value);
    }
}

fn detail(ejection: &Ejection, facts: Option<&RateFacts>) -> (&'static str, Value) {
    use iako_traffic::EjectionCause as Cause;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "rates are shares")]
    let whole = |rate: f64| rate as u64;
    let rate = facts.map_or(0, |facts| whole(facts.rate));
    match ejection.cause {
        Cause::SuccessRate | Cause::LocalOriginSuccessRate => {
            let average = facts.map_or(0, |facts| whole(facts.average));
            let threshold = facts.map_or(0, |facts| whole(facts.threshold));
            let detail = json!({
                "host_success_rate": rate,
                "cluster_average_success_rate": average,
                "cluster_success_rate_ejection_threshold": threshold,
            });
            ("eject_success_rate_event", detail)
        }
        Cause::FailurePercentage | Cause::FailurePercentageLocalOrigin => {
            ("eject_failure_percentage_event", json!({"host_success_rate": rate}))
        }
        Cause::Consecutive5xx
        | Cause::ConsecutiveGatewayFailure
        | Cause::ConsecutiveLocalOriginFailure => ("eject_consecutive_event", json!({})),
    }
}

fn check_event(
    check: &HealthCheck,
    subject: Subject<'_>,
    event: CheckEvent,
    now: SystemTime,
) -> Value {
    let kind = match check.kind {
        HealthCheckKind::Http(_) => "HTTP",
        HealthCheckKind::Grpc(_) => "GRPC",
        HealthCheckKind::Tcp(_) => "TCP",
    };
    let Subject { cluster, endpoint, locality, status } = subject;
    let mut written = json!({
        "health_checker_type": kind,
        "host": host(&endpoint.address),
        "cluster_name": cluster,
        "timestamp": timestamp(now),
        "locality": {
            "region": locality.region,
            "zone": locality.zone,
            "sub_zone": locality.sub_zone,
        },
    });
    let (name, mut detail) = match event {
        CheckEvent::Ejected(cause) => {
            ("eject_unhealthy_event", json!({"failure_type": cause.name()}))
        }
        CheckEvent::Added { first } => ("add_healthy_event", json!({"first_check": first})),
        CheckEvent::Passed => ("successful_health_check_event", json!({})),
        CheckEvent::Failed { cause, first } => (
            "health_check_failure_event",
            json!({"failure_type": cause.name(), "first_check": first}),
        ),
        CheckEvent::Degraded => ("degraded_healthy_host", json!({})),
        CheckEvent::NoLongerDegraded => ("no_longer_degraded_host", json!({})),
    };
    if matches!(event, CheckEvent::Ejected(_) | CheckEvent::Failed { .. }) {
        add(&mut detail, "http_status_code", status.map(|status| json!(status)));
    }
    add(&mut written, name, Some(detail));
    written
}

fn host(address: &EndpointAddress) -> Value {
    let socket = |address: &str, port: u16| {
        json!({"socket_address": {
            "protocol": "TCP",
            "address": address,
            "port_value": port,
            "resolver_name": "",
            "ipv4_compat": false,
            "network_namespace_filepath": "",
        }})
    };
    match address {
        EndpointAddress::Socket(address) => socket(&address.ip().to_string(), address.port()),
        EndpointAddress::Host { name, port } => socket(name, *port),
        EndpointAddress::Internal { listener, id } => json!({"envoy_internal_address": {
            "server_listener_name": listener,
            "endpoint_id": id,
        }}),
        EndpointAddress::Pipe(path) => {
            json!({"pipe": {"path": path.display().to_string(), "mode": 0}})
        }
    }
}
