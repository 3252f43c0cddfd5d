//! `%GRPC_STATUS%`.

use std::borrow::Cow;

use serde_json::Value as Json;

use super::operator::Value;
use super::record::AccessRecord;

/// How a gRPC status is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum GrpcForm {
    Camel,
    Snake,
    Number,
}

const NAMES: [(&str, &str); 17] = [
    ("OK", "OK"),
    ("Canceled", "CANCELLED"),
    ("Unknown", "UNKNOWN"),
    ("InvalidArgument", "INVALID_ARGUMENT"),
    ("DeadlineExceeded", "DEADLINE_EXCEEDED"),
    ("NotFound", "NOT_FOUND"),
    ("AlreadyExists", "ALREADY_EXISTS"),
    ("PermissionDenied", "PERMISSION_DENIED"),
    ("ResourceExhausted", "RESOURCE_EXHAUSTED"),
    ("FailedPrecondition", "FAILED_PRECONDITION"),
    ("Aborted", "ABORTED"),
    ("OutOfRange", "OUT_OF_RANGE"),
    ("Unimplemented", "UNIMPLEMENTED"),
    ("Internal", "INTERNAL"),
    ("Unavailable", "UNAVAILABLE"),
    ("DataLoss", "DATA_LOSS"),
    ("Unauthenticated", "UNAUTHENTICATED"),
];

/// The status of a gRPC request, as Envoy shows it.
pub(super) fn status<'a>(record: &AccessRecord<'_>, form: GrpcForm) -> Option<Value<'a>> {
    let content_type = record.request_headers.first_value("content-type")?;
    let rest = content_type.strip_prefix(b"application/grpc".as_slice())?;
    if !matches!(rest.first(), None | Some(b'+')) || code(record).is_none() && !has_code(record) {
        return None;
    }
    let Some(number) = code(record) else {
        return Some(match form {
            GrpcForm::Number => Value::Json(Cow::Owned(Json::from(-1))),
            GrpcForm::Camel | GrpcForm::Snake => Value::Text(Cow::Borrowed("-1")),
        });
    };
    let names = usize::try_from(number).ok().and_then(|index| NAMES.get(index));
    Some(match (form, names) {
        (GrpcForm::Camel, Some((camel, _))) => Value::Text(Cow::Borrowed(camel)),
        (GrpcForm::Snake, Some((_, snake))) => Value::Text(Cow::Borrowed(snake)),
        (GrpcForm::Number, _) => Value::Number(number),
        (GrpcForm::Camel | GrpcForm::Snake, None) => Value::Text(number.to_string().into()),
    })
}

fn told<'a>(record: &'a AccessRecord<'_>) -> Option<&'a [u8]> {
    let in_trailers = record.response_trailers.first_value("grpc-status");
    in_trailers.or_else(|| record.response_headers.first_value("grpc-status"))
}

fn has_code(record: &AccessRecord<'_>) -> bool {
    told(record).is_some()
}

/// The gRPC code of a response: in its trailers or head, else what its HTTP status stands for. None
/// where there was no response, or what it says is no number.
#[must_use]
pub fn code(record: &AccessRecord<'_>) -> Option<u64> {
    match told(record) {
        Some(bytes) => std::str::from_utf8(bytes).ok()?.parse().ok(),
        None => record.response_code.map(of_http),
    }
}

/// Source: gRPC "HTTP to gRPC status code mapping".
const fn of_http(code: u16) -> u64 {
    match code {
        400 => 13,
        401 => 16,
        403 => 7,
        404 => 12,
        429 | 502..=504 => 14,
        _ => 2,
    }
}
