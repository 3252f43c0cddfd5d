//! Compiling a format: text or JSON with command operators, checked when configuration arrives.

use iako_cel::{ExpressionError, Options};
use serde_json::Value as Json;

use super::operator::Operator;
use super::{AccessRecord, ISTIO_JSON, command, render};

/// Why a format was refused. Positions count bytes from the beginning of the text that holds the
/// operator.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// An operator that this proxy does not know.
    #[error("the operator %{name}% at position {position} is not known")]
    UnknownOperator {
        /// The name between the percent signs, without its argument.
        name: String,
        /// Where it stands.
        position: usize,
    },
    /// An operator without the argument that it needs, or with one that it does not understand.
    #[error(
        "the operator %{name}% at position {position} does not accept the argument '{argument}'"
    )]
    Argument {
        /// The operator.
        name: String,
        /// What stands between the parentheses.
        argument: String,
        /// Where it stands.
        position: usize,
    },
    /// An operator that shows nothing that could be shortened.
    #[error("the operator %{name}% at position {position} does not accept a length")]
    Length {
        /// The operator.
        name: String,
        /// Where it stands.
        position: usize,
    },
    /// A percent sign that begins no operator; a literal one is written `%%`.
    #[error(
        "the operator that begins with '{text}' at position {position} has no end; \
         write %% for a percent sign"
    )]
    Unterminated {
        /// The text from the percent sign on, at most 20 characters.
        text: String,
        /// Where it stands.
        position: usize,
    },
    /// An operator whose expression is none.
    #[error("the expression of the operator %{name}% at position {position} is not usable")]
    Expression {
        /// The operator.
        name: String,
        /// Where it stands.
        position: usize,
        /// Why.
        source: ExpressionError,
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
    tells_tries: bool,
}

impl AccessLogFormat {
    /// Compiles a text format. The line end is part of the text.
    ///
    /// # Errors
    /// The first operator that is unknown or malformed.
    pub fn text(format: &str) -> Result<Self, FormatError> {
        Self::text_with(format, Options::default())
    }

    /// The same, where expressions may call more than they otherwise may.
    ///
    /// # Errors
    /// The first operator that is unknown or malformed.
    pub fn text_with(format: &str, options: Options) -> Result<Self, FormatError> {
        let template = template(format, options)?;
        let tells_tries = template.tells_tries();
        Ok(Self { shape: Shape::Text(template), omit_empty: false, tells_tries })
    }

    /// Compiles a JSON format: an object whose strings hold operators, nested as one likes. Each
    /// record becomes one line, its names in the order of the format.
    ///
    /// # Errors
    /// The first operator that is unknown or malformed; a format that is no object.
    pub fn json(format: &Json) -> Result<Self, FormatError> {
        Self::json_with(format, Options::default())
    }

    /// The same, where expressions may call more than they otherwise may.
    ///
    /// # Errors
    /// The first operator that is unknown or malformed; a format that is no object.
    pub fn json_with(format: &Json, options: Options) -> Result<Self, FormatError> {
        if !format.is_object() {
            return Err(FormatError::NoObject);
        }
        let node = node(format, options)?;
        let tells_tries = node.tells_tries();
        Ok(Self { shape: Shape::Json(node), omit_empty: false, tells_tries })
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

    /// Whether a line tells every endpoint that was tried, which has to be remembered for it.
    #[must_use]
    pub const fn tells_tries(&self) -> bool {
        self.tells_tries
    }

    /// Appends the line for `record` to `out`.
    pub fn render(&self, record: &AccessRecord<'_>, out: &mut Vec<u8>) {
        render::render(self, record, out);
    }
}

impl Command {
    fn tells_tries(&self) -> bool {
        if let Operator::First(commands) = &self.operator {
            return commands.iter().any(Self::tells_tries);
        }
        matches!(&self.operator, Operator::Fact(fact) if fact.is_of_tries())
    }
}

impl Template {
    fn tells_tries(&self) -> bool {
        self.0.iter().any(|piece| match piece {
            Piece::Literal(_) => false,
            Piece::Operator(command) => command.tells_tries(),
        })
    }
}

impl Node {
    fn tells_tries(&self) -> bool {
        match self {
            Self::Object(members) => members.iter().any(|(_, node)| node.tells_tries()),
            Self::List(items) => items.iter().any(Self::tells_tries),
            Self::Command(command) => command.tells_tries(),
            Self::Template(template) => template.tells_tries(),
            Self::Constant(_) => false,
        }
    }
}

fn node(format: &Json, options: Options) -> Result<Node, FormatError> {
    match format {
        Json::Object(members) => {
            let named = |name: &String| format!("{}:", Json::from(name.as_str()));
            let members =
                members.iter().map(|(name, value)| Ok((named(name), node(value, options)?)));
            Ok(Node::Object(members.collect::<Result<_, FormatError>>()?))
        }
        Json::Array(items) => {
            let items = items.iter().map(|item| node(item, options));
            Ok(Node::List(items.collect::<Result<_, _>>()?))
        }
        Json::String(text) => {
            let template = template(text, options)?;
            match <[Piece; 1]>::try_from(template.0) {
                Ok([Piece::Operator(command)]) => Ok(Node::Command(command)),
                Ok(single) => Ok(Node::Template(Template(single.into()))),
                Err(pieces) => Ok(Node::Template(Template(pieces))),
            }
        }
        Json::Null | Json::Bool(_) | Json::Number(_) => Ok(Node::Constant(format.to_string())),
    }
}

fn template(format: &str, options: Options) -> Result<Template, FormatError> {
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
        let position = format.len().saturating_sub(after.len()).saturating_sub(1);
        let (command, after) = command::read(after, position, options)?;
        pieces.push(Piece::Operator(command));
        rest = after;
    }
    literal.push_str(rest);
    if !literal.is_empty() {
        pieces.push(Piece::Literal(literal));
    }
    Ok(Template(pieces))
}
