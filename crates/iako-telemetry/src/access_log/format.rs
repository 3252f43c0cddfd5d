//! Compiling a format: text or JSON with command operators, checked when configuration arrives.

use serde_json::Value as Json;

use super::operator::{Fact, GrpcForm, HeaderNames, Operator};
use super::render;
use super::time::TimeFormat;
use super::{AccessRecord, ISTIO_JSON};

/// Why a format was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// An operator that this proxy does not know.
    #[error("the operator %{name}% is not known")]
    UnknownOperator {
        /// The name between the percent signs, without its argument.
        name: String,
    },
    /// An operator without the argument that it needs, or with one that it does not understand.
    #[error("the operator %{name}% does not accept the argument '{argument}'")]
    Argument {
        /// The operator.
        name: String,
        /// What stands between the parentheses.
        argument: String,
    },
    /// A percent sign that begins no operator; a literal one is written `%%`.
    #[error("the operator that begins with '{text}' has no end; write %% for a percent sign")]
    Unterminated {
        /// The text from the percent sign on, at most 20 characters.
        text: String,
    },
    /// The JSON format is no object.
    #[error("a JSON format is an object of names and formats")]
    NoObject,
}

/// Text with operators in it.
#[derive(Clone, Debug, Default)]
pub(super) struct Template(pub(super) Vec<Piece>);

#[derive(Clone, Debug)]
pub(super) enum Piece {
    Literal(String),
    Operator(Command),
}

/// An operator and the most bytes that it may show: `%REQ(USER-AGENT):40%`.
#[derive(Clone, Debug)]
pub(super) struct Command {
    pub(super) operator: Operator,
    pub(super) bytes_max: Option<usize>,
}

/// A value in a JSON format.
#[derive(Clone, Debug)]
pub(super) enum Node {
    /// Each name as it stands in the line, with its quotes and colon.
    Object(Vec<(String, Self)>),
    List(Vec<Self>),
    /// Exactly one operator: numbers stay numbers, what is absent is null.
    Command(Command),
    /// Text around or between operators: always a string.
    Template(Template),
    /// A number, boolean or null of the format itself.
    Constant(String),
}

#[derive(Clone, Debug)]
pub(super) enum Shape {
    Text(Template),
    Json(Node),
}

/// A compiled access-log format. Also serves other texts with operators, such as the body of a
/// local reply.
#[derive(Clone, Debug)]
pub struct AccessLogFormat {
    pub(super) shape: Shape,
    pub(super) omit_empty: bool,
}

impl AccessLogFormat {
    /// Compiles a text format. The line end is part of the text.
    ///
    /// # Errors
    /// The first operator that is unknown or malformed.
    pub fn text(format: &str) -> Result<Self, FormatError> {
        Ok(Self { shape: Shape::Text(template(format)?), omit_empty: false })
    }

    /// Compiles a JSON format: an object whose strings hold operators, nested as one likes. Each
    /// record becomes one line, its names in the order of the format.
    ///
    /// # Errors
    /// The first operator that is unknown or malformed; a format that is no object.
    pub fn json(format: &Json) -> Result<Self, FormatError> {
        if !format.is_object() {
            return Err(FormatError::NoObject);
        }
        Ok(Self { shape: Shape::Json(node(format)?), omit_empty: false })
    }

    /// Istio's JSON format: the 24 facts of [`ISTIO_JSON`].
    ///
    /// # Errors
    /// None in practice: the operators are constants of this crate, and a test compiles them.
    pub fn istio_json() -> Result<Self, FormatError> {
        let object = ISTIO_JSON.iter().map(|(name, format)| ((*name).to_owned(), (*format).into()));
        Self::json(&Json::Object(object.collect()))
    }

    /// Leaves out what is absent instead of writing `-` or `null`. Source: Envoy
    /// `SubstitutionFormatString.omit_empty_values`.
    #[must_use]
    pub fn omitting_empty(mut self) -> Self {
        self.omit_empty = true;
        self
    }

    /// Appends the line for `record` to `out`.
    pub fn render(&self, record: &AccessRecord<'_>, out: &mut Vec<u8>) {
        render::render(self, record, out);
    }
}

fn node(format: &Json) -> Result<Node, FormatError> {
    match format {
        Json::Object(members) => {
            let named = |name: &String| format!("{}:", Json::from(name.as_str()));
            let members = members.iter().map(|(name, value)| Ok((named(name), node(value)?)));
            Ok(Node::Object(members.collect::<Result<_, FormatError>>()?))
        }
        Json::Array(items) => Ok(Node::List(items.iter().map(node).collect::<Result<_, _>>()?)),
        Json::String(text) => {
            let template = template(text)?;
            match <[Piece; 1]>::try_from(template.0) {
                Ok([Piece::Operator(command)]) => Ok(Node::Command(command)),
                Ok(single) => Ok(Node::Template(Template(single.into()))),
                Err(pieces) => Ok(Node::Template(Template(pieces))),
            }
        }
        Json::Null | Json::Bool(_) | Json::Number(_) => Ok(Node::Constant(format.to_string())),
    }
}

fn template(format: &str) -> Result<Template, FormatError> {
    let mut pieces = Vec::new();
    let mut literal = String::new();
    let mut rest = format;
    while let Some((before, after)) = rest.split_once('%') {
        literal.push_str(before);
        if let Some(after) = after.strip_prefix('%') {
            literal.push('%');
            rest = after;
            continue;
        }
        if !literal.is_empty() {
            pieces.push(Piece::Literal(std::mem::take(&mut literal)));
        }
        let (command, after) = command(after)?;
        pieces.push(Piece::Operator(command));
        rest = after;
    }
    literal.push_str(rest);
    if !literal.is_empty() {
        pieces.push(Piece::Literal(literal));
    }
    Ok(Template(pieces))
}

/// Reads `NAME`, `NAME(argument)` or `NAME(argument):length` up to the closing percent sign.
fn command(text: &str) -> Result<(Command, &str), FormatError> {
    let unterminated = || FormatError::Unterminated {
        text: std::iter::once('%').chain(text.chars().take(19)).collect(),
    };
    let name_end = text
        .find(|c: char| !(c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_'))
        .ok_or_else(unterminated)?;
    let (name, rest) = text.split_at_checked(name_end).ok_or_else(unterminated)?;
    let (argument, rest) = match rest.strip_prefix('(') {
        Some(rest) => {
            let (argument, rest) = rest.split_once(')').ok_or_else(unterminated)?;
            (Some(argument), rest)
        }
        None => (None, rest),
    };
    let (length, rest) = rest.split_once('%').ok_or_else(unterminated)?;
    let bytes_max = match length.strip_prefix(':').map(str::parse) {
        Some(Ok(length)) => Some(length),
        None if length.is_empty() => None,
        Some(Err(_)) | None => return Err(unterminated()),
    };
    Ok((Command { operator: operator(name, argument)?, bytes_max }, rest))
}

fn operator(name: &str, argument: Option<&str>) -> Result<Operator, FormatError> {
    let refused = || FormatError::Argument {
        name: name.to_owned(),
        argument: argument.unwrap_or_default().to_owned(),
    };
    let headers = || header_names(argument.unwrap_or_default()).ok_or_else(refused);
    match name {
        "REQ" => Ok(Operator::Request(headers()?)),
        "REQ_WITHOUT_QUERY" => Ok(Operator::RequestWithoutQuery(headers()?)),
        "RESP" => Ok(Operator::Response(headers()?)),
        "TRAILER" => Ok(Operator::Trailer(headers()?)),
        "START_TIME" => match argument {
            None | Some("") => Ok(Operator::StartTime(TimeFormat::iso())),
            Some(format) => {
                let parsed = TimeFormat::parse(format);
                parsed
                    .map(Operator::StartTime)
                    .map_err(|argument| FormatError::Argument { name: name.to_owned(), argument })
            }
        },
        "GRPC_STATUS" => match argument {
            None | Some("" | "CAMEL_STRING") => Ok(Operator::GrpcStatus(GrpcForm::Camel)),
            Some("SNAKE_STRING") => Ok(Operator::GrpcStatus(GrpcForm::Snake)),
            Some("NUMBER") => Ok(Operator::GrpcStatus(GrpcForm::Number)),
            Some(_) => Err(refused()),
        },
        "GRPC_STATUS_NUMBER" => Ok(Operator::GrpcStatus(GrpcForm::Number)),
        _ => {
            let unknown = || FormatError::UnknownOperator { name: name.to_owned() };
            let fact = Fact::from_name(name).ok_or_else(unknown)?;
            if argument.is_some_and(|argument| !argument.is_empty()) {
                return Err(refused());
            }
            Ok(Operator::Fact(fact))
        }
    }
}

/// `A` or `A?B`.
fn header_names(argument: &str) -> Option<HeaderNames> {
    let (first, otherwise) = match argument.split_once('?') {
        Some((first, otherwise)) => (first, Some(otherwise)),
        None => (argument, None),
    };
    let valid = |name: &str| !name.is_empty() && !name.contains(char::is_whitespace);
    if !valid(first) || otherwise.is_some_and(|name| !valid(name)) {
        return None;
    }
    Some(HeaderNames {
        first: first.to_ascii_lowercase(),
        otherwise: otherwise.map(str::to_ascii_lowercase),
    })
}
