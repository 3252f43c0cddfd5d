//! Reading one command operator: its name, argument and length.

use iako_cel::{Expression, Options};
use serde_json::Value as Json;

use super::environment;
use super::fact::Fact;
use super::format::{Command, FormatError};
use super::further::{MetadataOf, Side, TimePoint, Validity};
use super::grpc::GrpcForm;
use super::operator::{ExpressionForm, HeaderNames, Operator, Precision, StateForm, StateText};
use super::target::{HostSource, NameOrder, PathSource, Query, QueryForm};
use super::time::{TimeFormat, Zone};

/// A command as it is written.
#[derive(Clone, Copy, Debug)]
struct Written<'t> {
    name: &'t str,
    argument: Option<&'t str>,
    length: Option<usize>,
    /// Where it begins, in bytes from the beginning of the format.
    position: usize,
    /// What expressions may call.
    options: Options,
}

/// Commands that take a length behind their argument.
const SHORTENED: [&str; 18] = [
    "REQ",
    "REQUEST_HEADER",
    "REQ_WITHOUT_QUERY",
    "RESP",
    "RESPONSE_HEADER",
    "TRAILER",
    "RESPONSE_TRAILER",
    "DYNAMIC_METADATA",
    "METADATA",
    "FILTER_STATE",
    "UPSTREAM_FILTER_STATE",
    "ENVIRONMENT",
    "PATH",
    "QUERY_PARAM",
    "QUERY_PARAMS",
    "COALESCE",
    "CEL",
    "TYPED_CEL",
];

/// Reads `NAME`, `NAME(argument)` or `NAME(argument):length` up to the closing percent sign; `text`
/// begins behind the opening one. What is left comes with it.
pub(super) fn read(
    text: &str,
    position: usize,
    options: Options,
) -> Result<(Command, &str), FormatError> {
    let unterminated = || FormatError::Unterminated {
        text: std::iter::once('%').chain(text.chars().take(19)).collect(),
        position,
    };
    let is_name = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    let name_end = text.find(|c: char| !is_name(c)).ok_or_else(unterminated)?;
    let (name, rest) = text.split_at_checked(name_end).ok_or_else(unterminated)?;
    let (argument, length, rest) = match rest.strip_prefix('(') {
        Some(rest) => {
            let closed = |at: usize| {
                let (argument, rest) = rest.split_at_checked(at)?;
                let (length, rest) = tail(rest.strip_prefix(')')?)?;
                Some((Some(argument), length, rest))
            };
            let mut ends = rest.match_indices(')').map(|(at, _)| at);
            ends.find_map(closed).ok_or_else(unterminated)?
        }
        None => {
            let (length, rest) = tail(rest).ok_or_else(unterminated)?;
            (None, length, rest)
        }
    };
    if name.is_empty() {
        return Err(unterminated());
    }
    Ok((compile(&Written { name, argument, length, position, options })?, rest))
}

/// `:length%` or `%`, and what is behind.
fn tail(text: &str) -> Option<(Option<usize>, &str)> {
    if let Some(rest) = text.strip_prefix('%') {
        return Some((None, rest));
    }
    let (length, rest) = text.strip_prefix(':')?.split_once('%')?;
    Some((Some(length.parse().ok()?), rest))
}

fn compile(written: &Written<'_>) -> Result<Command, FormatError> {
    let operator = written.operator()?;
    if written.length.is_some() && !SHORTENED.contains(&written.name) {
        return Err(FormatError::Length {
            name: written.name.to_owned(),
            position: written.position,
        });
    }
    Ok(Command { operator, bytes_max: written.length })
}

impl<'t> Written<'t> {
    fn refused(&self) -> FormatError {
        FormatError::Argument {
            name: self.name.to_owned(),
            argument: self.argument.unwrap_or_default().to_owned(),
            position: self.position,
        }
    }

    /// The argument; empty without one.
    fn argument(&self) -> &'t str {
        self.argument.unwrap_or_default()
    }

    fn operator(&self) -> Result<Operator, FormatError> {
        let refused = || self.refused();
        let argument = self.argument();
        Ok(match self.name {
            "REQ" | "REQUEST_HEADER" => Operator::Request(self.headers()?),
            "REQ_WITHOUT_QUERY" => Operator::RequestWithoutQuery(self.headers()?),
            "RESP" | "RESPONSE_HEADER" => Operator::Response(self.headers()?),
            "TRAILER" | "RESPONSE_TRAILER" => Operator::Trailer(self.headers()?),
            "START_TIME" => Operator::StartTime(self.time(Zone::Utc)?),
            "START_TIME_LOCAL" => Operator::StartTime(self.time(Zone::Local)?),
            "EMIT_TIME" => Operator::EmitTime(self.time(Zone::Utc)?),
            "EMIT_TIME_LOCAL" => Operator::EmitTime(self.time(Zone::Local)?),
            "DOWNSTREAM_PEER_CERT_V_START" => self.validity(Side::Downstream, Validity::Begin)?,
            "DOWNSTREAM_PEER_CERT_V_END" => self.validity(Side::Downstream, Validity::End)?,
            "UPSTREAM_PEER_CERT_V_START" => self.validity(Side::Upstream, Validity::Begin)?,
            "UPSTREAM_PEER_CERT_V_END" => self.validity(Side::Upstream, Validity::End)?,
            "COMMON_DURATION" => duration(argument).ok_or_else(refused)?,
            "GRPC_STATUS" => Operator::GrpcStatus(match argument {
                "" | "CAMEL_STRING" => GrpcForm::Camel,
                "SNAKE_STRING" => GrpcForm::Snake,
                "NUMBER" => GrpcForm::Number,
                _ => return Err(refused()),
            }),
            "GRPC_STATUS_NUMBER" => {
                self.alone()?;
                Operator::GrpcStatus(GrpcForm::Number)
            }
            "RESPONSE_CODE_DETAILS" => match argument {
                "ALLOW_WHITESPACES" => Operator::DetailsAsTheyAre,
                _ => Operator::Fact(Fact::ResponseCodeDetails),
            },
            "REQUESTED_SERVER_NAME" => server_name(argument).ok_or_else(refused)?,
            "PATH" => path(argument).ok_or_else(refused)?,
            "QUERY_PARAM" | "ENVIRONMENT" if argument.is_empty() => return Err(refused()),
            "QUERY_PARAM" => Operator::QueryParameter(argument.to_owned()),
            "QUERY_PARAMS" => Operator::Query(match argument {
                "" | "ORIG" => QueryForm::AsItIs,
                "DECODED" => QueryForm::Decoded,
                _ => return Err(refused()),
            }),
            "ENVIRONMENT" => Operator::Constant(
                environment::variable(argument).unwrap_or_else(|| "-".to_owned()),
            ),
            "DYNAMIC_METADATA" => self.metadata(MetadataOf::Dynamic, argument)?,
            "CLUSTER_METADATA" => self.metadata(MetadataOf::Cluster, argument)?,
            "UPSTREAM_METADATA" => self.metadata(MetadataOf::Endpoint, argument)?,
            "METADATA" => {
                let (of, path) = argument.split_once(':').unwrap_or((argument, ""));
                self.metadata(MetadataOf::from_name(of).ok_or_else(refused)?, path)?
            }
            "FILTER_STATE" => self.state(Side::Downstream)?,
            "UPSTREAM_FILTER_STATE" => self.state(Side::Upstream)?,
            "COALESCE" => self.coalesce()?,
            "CEL" => self.expression(ExpressionForm::Text)?,
            "TYPED_CEL" => self.expression(ExpressionForm::Typed)?,
            _ => self.fact()?,
        })
    }

    fn expression(&self, form: ExpressionForm) -> Result<Operator, FormatError> {
        let expression = Expression::parse(self.argument(), self.options);
        let expression = expression.map_err(|source| FormatError::Expression {
            name: self.name.to_owned(),
            position: self.position,
            source,
        })?;
        Ok(Operator::Expression(Box::new(expression), form))
    }

    /// An operator without an argument, or an address with the bits that count.
    fn fact(&self) -> Result<Operator, FormatError> {
        let unknown =
            || FormatError::UnknownOperator { name: self.name.to_owned(), position: self.position };
        let fact = Fact::from_name(self.name).ok_or_else(unknown)?;
        match self.argument {
            None | Some("") => Ok(Operator::Fact(fact)),
            // As Envoy does, what is no number masks nothing.
            Some(bits) if fact.is_plain_address() => match bits.parse() {
                Ok(bits) => Ok(Operator::Network(fact, bits)),
                Err(_) => Ok(Operator::Fact(fact)),
            },
            Some(_) => Err(self.refused()),
        }
    }

    fn alone(&self) -> Result<(), FormatError> {
        if self.argument().is_empty() { Ok(()) } else { Err(self.refused()) }
    }

    /// `A` or `A?B`.
    fn headers(&self) -> Result<HeaderNames, FormatError> {
        let argument = self.argument();
        let (first, otherwise) = match argument.split_once('?') {
            Some((first, otherwise)) => (first, Some(otherwise)),
            None => (argument, None),
        };
        let valid = |name: &str| {
            !name.is_empty() && !name.contains(|c: char| c.is_whitespace() || c == '?')
        };
        if !valid(first) || otherwise.is_some_and(|name| !valid(name)) {
            return Err(self.refused());
        }
        Ok(HeaderNames {
            first: first.to_ascii_lowercase(),
            otherwise: otherwise.map(str::to_ascii_lowercase),
        })
    }

    fn time(&self, zone: Zone) -> Result<TimeFormat, FormatError> {
        match self.argument {
            None | Some("") => Ok(TimeFormat::iso(zone)),
            Some(format) => {
                TimeFormat::parse(format, zone).map_err(|argument| FormatError::Argument {
                    name: self.name.to_owned(),
                    argument,
                    position: self.position,
                })
            }
        }
    }

    fn validity(&self, side: Side, end: Validity) -> Result<Operator, FormatError> {
        Ok(Operator::Validity(side, end, self.time(Zone::Utc)?))
    }

    fn metadata(&self, of: MetadataOf, path: &str) -> Result<Operator, FormatError> {
        if self.argument().is_empty() {
            return Err(self.refused());
        }
        Ok(Operator::Metadata(of, path.split(':').map(str::to_owned).collect()))
    }

    /// `KEY`, `KEY:PLAIN`, `KEY:TYPED` or `KEY:FIELD:name`.
    fn state(&self, side: Side) -> Result<Operator, FormatError> {
        let mut parts = self.argument().splitn(3, ':');
        let key = parts.next().filter(|key| !key.is_empty()).ok_or_else(|| self.refused())?;
        let form = match (parts.next(), parts.next()) {
            (None | Some("" | "TYPED"), None) => StateText::Typed,
            (Some("PLAIN"), None) => StateText::Plain,
            (Some("FIELD"), Some(field)) if !field.is_empty() => StateText::Field,
            _ => return Err(self.refused()),
        };
        Ok(Operator::State(side, StateForm { key: key.to_owned(), form }))
    }

    /// `{"operators": ["NAME", {"command": "NAME", "param": "X", "max_length": 9}]}`.
    fn coalesce(&self) -> Result<Operator, FormatError> {
        let refused = || self.refused();
        let config: Json =
            serde_json::from_str(self.argument()).map_err(|_no_json| self.refused())?;
        let operators = config.get("operators").and_then(Json::as_array).ok_or_else(refused)?;
        if operators.is_empty() {
            return Err(refused());
        }
        let one = |operator: &Json| match operator {
            Json::String(name) => compile(&Written {
                name,
                argument: None,
                length: None,
                position: self.position,
                options: self.options,
            }),
            Json::Object(fields) => {
                let name = fields.get("command").and_then(Json::as_str).ok_or_else(refused)?;
                let length = fields
                    .get("max_length")
                    .map(|length| length.as_u64().and_then(|length| usize::try_from(length).ok()));
                let argument = fields.get("param").and_then(Json::as_str);
                let length = match length {
                    Some(None) => return Err(refused()),
                    Some(length) => length,
                    None => None,
                };
                let (position, options) = (self.position, self.options);
                compile(&Written { name, argument, length, position, options })
            }
            Json::Null | Json::Bool(_) | Json::Number(_) | Json::Array(_) => Err(refused()),
        };
        Ok(Operator::First(operators.iter().map(one).collect::<Result<_, _>>()?))
    }
}

/// `FROM:TO` or `FROM:TO:PRECISION`. A point that nobody keeps makes a duration without a value.
fn duration(argument: &str) -> Option<Operator> {
    let parts: Vec<&str> = argument.split(':').collect();
    let (from, to, precision) = match parts.as_slice() {
        [from, to] | [from, to, "ms"] => (from, to, Precision::Milliseconds),
        [from, to, "us"] => (from, to, Precision::Microseconds),
        [from, to, "ns"] => (from, to, Precision::Nanoseconds),
        _ => return None,
    };
    let points = TimePoint::from_name(from).zip(TimePoint::from_name(to));
    Some(Operator::Duration(points.map(|(from, to)| [from, to]), precision))
}

/// Two words with defaults, separated by a colon.
fn two_words(argument: &str) -> Option<(&str, &str)> {
    let mut parts = argument.split(':');
    let words = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    parts.next().is_none().then_some(words)
}

fn server_name(argument: &str) -> Option<Operator> {
    let (order, source) = two_words(argument)?;
    let order = match order {
        "" | "SNI_ONLY" => NameOrder::SniOnly,
        "SNI_FIRST" => NameOrder::SniFirst,
        "HOST_FIRST" => NameOrder::HostFirst,
        _ => return None,
    };
    let source = match source {
        "ORIG" => HostSource::Original,
        "HOST" => HostSource::Present,
        "" | "ORIG_OR_HOST" => HostSource::OriginalOrPresent,
        _ => return None,
    };
    Some(Operator::ServerName(order, source))
}

fn path(argument: &str) -> Option<Operator> {
    let (query, source) = two_words(argument)?;
    let query = match query {
        "" | "WQ" => Query::With,
        "NQ" => Query::Without,
        _ => return None,
    };
    let source = match source {
        "ORIG" => PathSource::Original,
        "PATH" => PathSource::Present,
        "" | "ORIG_OR_PATH" => PathSource::OriginalOrPresent,
        _ => return None,
    };
    Some(Operator::Path(query, source))
}
