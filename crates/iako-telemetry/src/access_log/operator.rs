//! The command operators of Envoy's formats: what each stands for.
//!
//! Source: Envoy "substitution formatter", command operators.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, SystemTime};

use iako_cel::Expression;
use serde_json::Value as Json;

use super::fact::Fact;
use super::format::Command;
use super::further::{MetadataOf, Side, TimePoint, Validity};
use super::grpc::{self, GrpcForm};
use super::record::AccessRecord;
use super::render;
use super::target::{self, HostSource, NameOrder, PathSource, Query, QueryForm};
use super::time::TimeFormat;
use crate::flags::ResponseFlags;
use crate::headers::HeaderLookup;

/// One operator of a format, compiled.
#[derive(Clone, Debug)]
pub(super) enum Operator {
    Fact(Fact),
    StartTime(TimeFormat),
    /// `%EMIT_TIME%`: when the line is written.
    EmitTime(TimeFormat),
    Validity(Side, Validity, TimeFormat),
    Duration(Option<[TimePoint; 2]>, Precision),
    /// `%REQ(A?B)%`: the first header, else the second.
    Request(HeaderNames),
    /// `%REQ_WITHOUT_QUERY(A?B)%`.
    RequestWithoutQuery(HeaderNames),
    Response(HeaderNames),
    Trailer(HeaderNames),
    GrpcStatus(GrpcForm),
    /// `%RESPONSE_CODE_DETAILS(ALLOW_WHITESPACES)%`.
    DetailsAsTheyAre,
    /// An address without its port, as the network of so many bits.
    Network(Fact, u8),
    ServerName(NameOrder, HostSource),
    Path(Query, PathSource),
    QueryParameter(String),
    Query(QueryForm),
    /// `%ENVIRONMENT(X)%`: known when the format is compiled.
    Constant(String),
    Metadata(MetadataOf, Vec<String>),
    State(Side, StateForm),
    /// `%CEL(…)%` and `%TYPED_CEL(…)%`.
    Expression(Box<Expression>, ExpressionForm),
    /// The first of these that has a value.
    First(Vec<Command>),
}

/// What is shown of an expression's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ExpressionForm {
    /// Its text.
    Text,
    /// The value with its type.
    Typed,
}

/// What is shown of an object of filters.
#[derive(Clone, Debug)]
pub(super) struct StateForm {
    pub(super) key: String,
    pub(super) form: StateText,
}

/// Source: Envoy `FILTER_STATE(KEY:F)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StateText {
    /// As it prints.
    Plain,
    /// As JSON: a string in quotes.
    Typed,
    /// A field of it; the objects that are kept here have none.
    Field,
}

/// The unit of a duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Precision {
    Milliseconds,
    Microseconds,
    Nanoseconds,
}

impl Precision {
    fn count(self, duration: Duration) -> u64 {
        let number = match self {
            Self::Milliseconds => duration.as_millis(),
            Self::Microseconds => duration.as_micros(),
            Self::Nanoseconds => duration.as_nanos(),
        };
        u64::try_from(number).unwrap_or(u64::MAX)
    }
}

/// A header and the one to use when it is absent, lower case.
#[derive(Clone, Debug)]
pub(super) struct HeaderNames {
    pub(super) first: String,
    pub(super) otherwise: Option<String>,
}

impl HeaderNames {
    fn find<'a>(&self, headers: &'a dyn HeaderLookup) -> Option<&'a [u8]> {
        let first = headers.first_value(&self.first);
        first.or_else(|| headers.first_value(self.otherwise.as_deref()?))
    }
}

/// What an operator found; nothing at all is `None`.
#[derive(Clone, Debug)]
pub(super) enum Value<'a> {
    /// From the wire: any byte may be in it.
    Bytes(&'a [u8]),
    Text(Cow<'a, str>),
    Number(u64),
    Address(SocketAddr),
    Ip(IpAddr),
    /// An address and how many of its bits count.
    Network(IpAddr, u8),
    Flags(ResponseFlags),
    LongFlags(ResponseFlags),
    Time(SystemTime, &'a TimeFormat),
    /// A value with a type of its own.
    Json(Cow<'a, Json>),
}

impl<'a> Value<'a> {
    pub(super) fn text(text: Option<&'a str>) -> Option<Self> {
        text.filter(|text| !text.is_empty()).map(|text| Self::Text(Cow::Borrowed(text)))
    }

    pub(super) fn told(text: Option<Cow<'a, str>>) -> Option<Self> {
        text.filter(|text| !text.is_empty()).map(Self::Text)
    }

    /// A text without white space: each becomes an underscore.
    pub(super) fn joined(text: Option<&'a str>) -> Option<Self> {
        let text = text.filter(|text| !text.is_empty())?;
        let has_space = text.bytes().any(|byte| byte.is_ascii_whitespace());
        Some(Self::Text(if has_space {
            Cow::Owned(text.replace(|c: char| c.is_ascii_whitespace(), "_"))
        } else {
            Cow::Borrowed(text)
        }))
    }

    pub(super) fn millis(duration: Option<Duration>) -> Option<Self> {
        duration.map(|duration| Self::Number(Precision::Milliseconds.count(duration)))
    }

    pub(super) fn ip(address: Option<SocketAddr>) -> Option<Self> {
        address.map(|address| Self::Ip(address.ip()))
    }

    pub(super) fn port(address: Option<SocketAddr>) -> Option<Self> {
        address.map(|address| Self::Number(u64::from(address.port())))
    }

    /// At most so many bytes of a text; other values stay whole.
    fn cut(self, most: usize) -> Self {
        match self {
            Self::Bytes(bytes) => Self::Bytes(bytes.get(..most).unwrap_or(bytes)),
            Self::Text(text) => Self::Text(render::cut(&text, most).to_owned().into()),
            other @ (Self::Number(_)
            | Self::Address(_)
            | Self::Ip(_)
            | Self::Network(..)
            | Self::Flags(_)
            | Self::LongFlags(_)
            | Self::Time(..)
            | Self::Json(_)) => other,
        }
    }

    fn is_empty(&self) -> bool {
        match self {
            Self::Bytes(bytes) => bytes.is_empty(),
            Self::Text(text) => text.is_empty(),
            Self::Number(_)
            | Self::Address(_)
            | Self::Ip(_)
            | Self::Network(..)
            | Self::Flags(_)
            | Self::LongFlags(_)
            | Self::Time(..)
            | Self::Json(_) => false,
        }
    }
}

impl Operator {
    pub(super) fn value<'a>(&'a self, record: &'a AccessRecord<'_>) -> Option<Value<'a>> {
        match self {
            Self::Fact(fact) => fact.value(record),
            Self::StartTime(format) => Some(Value::Time(record.start_time, format)),
            Self::EmitTime(format) => {
                let now = record.start_time + record.duration.unwrap_or_default();
                Some(Value::Time(now, format))
            }
            Self::Validity(side, end, format) => {
                record.further.validity(*side, *end).map(|time| Value::Time(time, format))
            }
            Self::Duration(points, precision) => {
                let [from, to] = (*points)?.map(|point| record.further.time_point(point));
                let took = to?.checked_duration_since(from?)?;
                Some(Value::Number(precision.count(took)))
            }
            Self::Request(names) => names.find(record.request_headers).map(Value::Bytes),
            Self::RequestWithoutQuery(names) => {
                let path = names.find(record.request_headers)?;
                path.split(|byte| *byte == b'?').next().map(Value::Bytes)
            }
            Self::Response(names) => names.find(record.response_headers).map(Value::Bytes),
            Self::Trailer(names) => names.find(record.response_trailers).map(Value::Bytes),
            Self::GrpcStatus(form) => grpc::status(record, *form),
            Self::DetailsAsTheyAre => Value::text(record.response_code_details),
            Self::Network(fact, bits) => {
                let value = fact.value(record)?;
                let Value::Ip(ip) = value else { return Some(value) };
                Some(Value::Network(ip, *bits))
            }
            Self::ServerName(order, source) => target::server_name(record, *order, *source),
            Self::Path(query, source) => target::path(record, *query, *source),
            Self::QueryParameter(name) => target::query_parameter(record, name),
            Self::Query(form) => target::query(record, *form),
            Self::Constant(text) => Some(Value::Text(Cow::Borrowed(text))),
            Self::Metadata(of, path) => metadata(record, *of, path),
            Self::State(side, state) => state_text(record, *side, state),
            Self::Expression(expression, form) => expressed(record, expression, *form),
            Self::First(commands) => {
                let values = commands.iter().filter_map(|one| {
                    let value = one.operator.value(record)?;
                    Some(match one.bytes_max {
                        Some(most) => value.cut(most),
                        None => value,
                    })
                });
                { values }.find(|value| !value.is_empty())
            }
        }
    }
}

/// The value at a path, the namespace first; all of the namespace without more.
fn metadata<'a>(
    record: &'a AccessRecord<'_>,
    of: MetadataOf,
    path: &[String],
) -> Option<Value<'a>> {
    let (namespace, keys) = path.split_first()?;
    let found = record.further.metadata(of, namespace)?;
    let Some((first, rest)) = keys.split_first() else {
        return Some(Value::Json(Cow::Owned(Json::Object(found.into_owned()))));
    };
    let value = match found {
        Cow::Borrowed(map) => Cow::Borrowed(follow(map.get(first)?, rest)?),
        Cow::Owned(map) => Cow::Owned(follow(map.get(first)?, rest)?.clone()),
    };
    (!value.is_null()).then_some(Value::Json(value))
}

fn follow<'j>(value: &'j Json, keys: &[String]) -> Option<&'j Json> {
    keys.iter().try_fold(value, |value, key| value.get(key))
}

fn expressed<'a>(
    record: &'a AccessRecord<'_>,
    expression: &'a Expression,
    form: ExpressionForm,
) -> Option<Value<'a>> {
    let value = expression.evaluate(record).ok()?;
    Some(match (form, value) {
        (ExpressionForm::Text, iako_cel::Value::Text(text)) => Value::Text(text),
        (ExpressionForm::Text, value) => Value::Text(value.shown(record).into_owned().into()),
        (ExpressionForm::Typed, value) => Value::Json(Cow::Owned(value.to_json(record))),
    })
}

fn state_text<'a>(
    record: &'a AccessRecord<'_>,
    side: Side,
    state: &StateForm,
) -> Option<Value<'a>> {
    let text = record.further.state(side, &state.key)?;
    match state.form {
        StateText::Plain => Some(Value::Text(text)),
        StateText::Typed => Some(Value::Json(Cow::Owned(Json::from(text.into_owned())))),
        StateText::Field => None,
    }
}
