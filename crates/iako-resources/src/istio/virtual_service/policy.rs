//! Reads retries, faults and cross-origin rules.

use iako_types::Percent;

use super::{
    AbortStatus, CorsPolicy, Fault, FaultAbort, FaultDelay, Retries, RetryOn,
    destination::is_header_name,
};
use crate::{
    Code,
    istio::refer::{self, Emptiness},
    reader::{Cursor, Fields},
};

/// Conditions of Envoy's router. Source: `x-envoy-retry-on`, `x-envoy-retry-grpc-on`.
const RETRY_CONDITIONS: [&str; 16] = [
    "5xx",
    "gateway-error",
    "reset",
    "reset-before-request",
    "connect-failure",
    "envoy-ratelimited",
    "retriable-4xx",
    "refused-stream",
    "retriable-status-codes",
    "retriable-headers",
    "http3-post-connect-failure",
    "cancelled",
    "deadline-exceeded",
    "internal",
    "resource-exhausted",
    "unavailable",
];

/// Names of gRPC statuses in the order of their numbers. Source: gRPC status codes.
const GRPC_STATUSES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

/// Reads `retries`.
pub(crate) fn read_retries(cursor: &Cursor<'_>) -> Option<Retries> {
    let fields = cursor.fields();
    let attempts = fields.get("attempts").map(|cursor| cursor.count());
    let per_try_timeout = fields.get("perTryTimeout").and_then(|cursor| cursor.duration());
    let retry_on = fields.get("retryOn").map(|cursor| read_retry_on(&cursor));
    let remote_localities = fields.flag("retryRemoteLocalities");
    let ignore_previous_hosts = fields.get("retryIgnorePreviousHosts").and_then(|c| c.boolean());
    let backoff = fields.get("backoff").and_then(|cursor| cursor.duration());
    let is_off = attempts == Some(Some(0));
    if is_off && (per_try_timeout.is_some() || retry_on.is_some() || backoff.is_some()) {
        let message = "attempts is 0, so the other settings of retries mean nothing";
        fields.report("attempts", Code::Conflict, message);
    }
    Some(Retries {
        // Istio's default when the block is there without a number.
        attempts: attempts.unwrap_or(Some(2))?,
        per_try_timeout,
        retry_on: retry_on.filter(|list| *list != RetryOn::default()),
        remote_localities,
        ignore_previous_hosts: ignore_previous_hosts.unwrap_or(true),
        backoff,
    })
}

fn read_retry_on(cursor: &Cursor<'_>) -> RetryOn {
    let mut retry_on = RetryOn::default();
    for word in cursor.text().unwrap_or_default().split(',').filter(|word| !word.is_empty()) {
        if RETRY_CONDITIONS.contains(&word) {
            retry_on.conditions.push(word.to_owned());
            continue;
        }
        match word.parse::<u16>() {
            Ok(code) if (100..=599).contains(&code) => retry_on.status_codes.push(code),
            _ if RETRY_CONDITIONS.contains(&word.trim()) => {
                let message = format!("{word:?} has a space; write the words with commas alone");
                cursor.report(Code::UnknownEnum, message);
            }
            _ => {
                let message = format!("{word:?} is no retry condition and no status");
                cursor.report_with_help(
                    Code::UnknownEnum,
                    message,
                    format!("conditions are {}", RETRY_CONDITIONS.join(", ")),
                );
            }
        }
    }
    retry_on
}

/// Reads `fault`.
pub(super) fn read_fault(cursor: &Cursor<'_>) -> Option<Fault> {
    let fields = cursor.fields();
    let delay = fields.get("delay").map(|cursor| read_delay(&cursor));
    let abort = fields.get("abort").map(|cursor| read_abort(&cursor));
    if delay.is_none() && abort.is_none() {
        cursor.report(Code::EmptyValue, "a fault needs delay or abort");
    }
    Some(Fault { delay: delay.flatten(), abort: abort.flatten() })
}

/// The share of a fault; none given is nothing, which is hardly meant.
fn read_share(fields: &Fields<'_>, old: Option<&Cursor<'_>>) -> Percent {
    let share = fields.get("percentage").map(|cursor| cursor.percent_message());
    if let Some(cursor) = old {
        cursor.report(Code::Deprecated, "percent is old; use percentage.value");
    }
    let old = old.map(|cursor| cursor.percent());
    match share.or(old) {
        Some(percent) => percent.unwrap_or(Percent::ZERO),
        None => {
            let message =
                "without percentage no request is touched; write percentage: {value: 100}";
            fields.cursor().report(Code::NoEffect, message);
            Percent::ZERO
        }
    }
}

fn read_delay(cursor: &Cursor<'_>) -> Option<FaultDelay> {
    let fields = cursor.fields();
    let old = fields.get("percent");
    let percentage = read_share(&fields, old.as_ref());
    let duration = if fields.has("exponentialDelay") {
        fields.get("fixedDelay")
    } else {
        fields.required("fixedDelay")
    };
    Some(FaultDelay { duration: duration?.duration()?, percentage })
}

fn read_abort(cursor: &Cursor<'_>) -> Option<FaultAbort> {
    let fields = cursor.fields();
    let http = fields.get("httpStatus");
    let grpc = fields.get("grpcStatus");
    let percentage = read_share(&fields, None);
    if fields.has("http2Error") {
        return None;
    }
    let status = match (http, grpc) {
        (Some(_), Some(_)) => {
            let message = "an abort has httpStatus or grpcStatus, not both";
            fields.report("grpcStatus", Code::Conflict, message);
            None
        }
        (Some(cursor), None) => {
            cursor.integer(200, 600).and_then(|n| u16::try_from(n).ok()).map(AbortStatus::Http)
        }
        (None, Some(cursor)) => read_grpc_status(&cursor).map(AbortStatus::Grpc),
        (None, None) => {
            cursor.report(Code::NoEffect, "the abort names no error, so nothing is aborted");
            None
        }
    };
    Some(FaultAbort { status: status?, percentage })
}

fn read_grpc_status(cursor: &Cursor<'_>) -> Option<u8> {
    let text = cursor.text()?;
    let by_name = GRPC_STATUSES.iter().position(|name| *name == text);
    let number = by_name.and_then(|n| u8::try_from(n).ok()).or_else(|| text.parse().ok());
    let found = number.filter(|number| *number <= 16);
    if found.is_none() {
        let message = format!("{text:?} is no gRPC status; write a name such as UNAVAILABLE");
        cursor.report(Code::UnknownEnum, message);
    }
    found
}

/// Reads `corsPolicy`.
pub(super) fn read_cors(cursor: &Cursor<'_>) -> Option<CorsPolicy> {
    let fields = cursor.fields();
    let old = fields.list_of("allowOrigin", |cursor| {
        cursor.report(Code::Deprecated, "allowOrigin is old; use allowOrigins");
        cursor.text().map(crate::StringMatch::Exact)
    });
    let origins = fields.list_of("allowOrigins", |cursor| {
        let found = refer::string_match(cursor, Emptiness::IsError);
        let is_empty = found.as_ref().is_some_and(|found| match found {
            crate::StringMatch::Exact(text) | crate::StringMatch::Prefix(text) => text.is_empty(),
            crate::StringMatch::Regex(pattern) => pattern.source().is_empty(),
            crate::StringMatch::Present => false,
        });
        if is_empty {
            cursor.report(Code::EmptyValue, "an allowed origin is empty");
        }
        found
    });
    let allow_methods = fields.texts("allowMethods");
    let allow_headers = read_names(&fields, "allowHeaders");
    let expose_headers = read_names(&fields, "exposeHeaders");
    let max_age = fields.get("maxAge").and_then(|cursor| {
        let duration = cursor.duration_or_zero()?;
        if duration.subsec_nanos() != 0 {
            cursor.report(Code::BadDuration, "maxAge is a whole number of seconds");
        }
        Some(duration)
    });
    let allow_credentials = fields.get("allowCredentials").and_then(|cursor| cursor.boolean());
    let unmatched = fields.get("unmatchedPreflights").and_then(|cursor| {
        cursor.word(&[("UNSPECIFIED", true), ("FORWARD", true), ("IGNORE", false)])
    });
    Some(CorsPolicy {
        allow_origins: old.into_iter().chain(origins).flatten().collect(),
        allow_methods,
        allow_headers,
        expose_headers,
        max_age,
        allow_credentials,
        forward_unmatched_preflights: unmatched.unwrap_or(true),
    })
}

fn read_names(fields: &Fields<'_>, name: &'static str) -> Vec<String> {
    let names = fields.list_of(name, |cursor| {
        let name = cursor.text()?;
        if name != "*" && !is_header_name(&name) {
            cursor.report(Code::BadValue, format!("{name:?} is no name of a header"));
        }
        Some(name)
    });
    names.into_iter().flatten().collect()
}
