//! Documents held against the published schema of their kind.

use std::fmt::Display;

use iako_schema::{Definition, Finding, Instance, Problem, Shape, Source, Spelling};

use crate::{
    Code, Diagnostic, Origin, Patch, Severity, Span,
    reader::{closest, only_near},
    text::{Node, Value},
};

impl Instance for Node {
    fn shape(&self) -> Shape<'_, Self> {
        match &self.value {
            Value::Null => Shape::Null,
            Value::Bool(value) => Shape::Bool(*value),
            Value::Int(value, _) => Shape::Int(*value),
            Value::Float(value, _) => Shape::Float(*value),
            Value::Text(text) => Shape::Text(text),
            Value::List(nodes) => Shape::List(nodes),
            Value::Map(entries) => {
                Shape::Map(entries.iter().map(|entry| (entry.key.as_str(), &entry.node)).collect())
            }
        }
    }
}

/// Adds what the published schema of a kind does not allow in a document. What a reader of the kind
/// has said of the same place is not said twice.
pub(super) fn check(
    node: &Node,
    (definition, version): (&'static Definition, &str),
    place: (&str, &Origin),
    said: &mut Vec<Diagnostic>,
) {
    let Some(published) = definition.version(version) else { return };
    // Istio reads its objects as protocol buffers read JSON.
    let is_protobuf = definition.group.ends_with(".istio.io");
    let spelling = if is_protobuf { Spelling::AlsoSnakeCase } else { Spelling::Exact };
    let findings = iako_schema::check(&published.root, node, spelling);
    let told: Vec<Diagnostic> = findings
        .iter()
        .filter(|finding| !is_said(finding, said))
        .map(|finding| {
            let mut found = diagnostic(finding, place);
            // Kubernetes drops such fields of its own kinds, and warns.
            if found.code == Code::UnknownField && definition.source == Source::Kubernetes {
                found.severity = Severity::Warning;
            }
            found
        })
        .collect();
    said.extend(told);
    if published.is_deprecated {
        said.push(deprecated(node, (definition, version), place));
    }
}

fn deprecated(
    node: &Node,
    (definition, version): (&Definition, &str),
    (subject, origin): (&str, &Origin),
) -> Diagnostic {
    let Definition { group, kind, versions, .. } = definition;
    let successor = versions.iter().find(|one| one.is_storage && !one.is_deprecated);
    let message = format!("{version} of {kind} is deprecated");
    let span = node.get("apiVersion").map_or(node.span, |found| found.span);
    let found = located(Code::Deprecated, subject, (origin, span), message).at("apiVersion");
    match successor {
        Some(one) => found.with_help(format!("write apiVersion: {group}/{}", one.name)),
        None => found,
    }
}

fn located(
    code: Code,
    subject: impl Display,
    (origin, span): (&Origin, Span),
    message: String,
) -> Diagnostic {
    let mut diagnostic = Diagnostic::new(code, subject, origin.at(span), message);
    diagnostic.length = span.length;
    diagnostic
}

/// Whether a reader has said something of the same: an error at the place, right above it, or, of a
/// rule about several fields, inside it.
fn is_said(finding: &Finding<'_, Node>, said: &[Diagnostic]) -> bool {
    let path = finding.path.as_str();
    let is_whole = matches!(
        finding.problem,
        Problem::Rule | Problem::Conflict | Problem::Missing | Problem::BadValue
    );
    said.iter().any(|one| {
        let own = one.path.as_str();
        match finding.problem {
            // A reader that warns about a field has seen it.
            Problem::UnknownField => own == path || is_within(path, own) && one.is_error(),
            Problem::WrongType
            | Problem::Missing
            | Problem::BadValue
            | Problem::UnknownWord
            | Problem::Conflict
            | Problem::Duplicate
            | Problem::Rule => {
                one.is_error()
                    && (own == path
                        || (is_whole && is_within(own, path))
                        || parent(path).is_some_and(|above| above == own))
            }
        }
    })
}

/// Whether a path is below another.
fn is_within(path: &str, above: &str) -> bool {
    !above.is_empty() && path.strip_prefix(above).is_some_and(|rest| rest.starts_with(['.', '[']))
}

fn parent(path: &str) -> Option<&str> {
    let end = path.rfind(['.', '['])?;
    path.get(..end).filter(|above| above.contains('.'))
}

fn diagnostic(finding: &Finding<'_, Node>, (subject, origin): (&str, &Origin)) -> Diagnostic {
    let code = match finding.problem {
        Problem::UnknownField => Code::UnknownField,
        Problem::WrongType => Code::WrongType,
        Problem::Missing => Code::MissingField,
        Problem::BadValue => Code::BadValue,
        Problem::UnknownWord => Code::UnknownEnum,
        Problem::Conflict => Code::Conflict,
        Problem::Duplicate => Code::Duplicate,
        Problem::Rule => Code::RuleBroken,
    };
    let span = span_of(finding);
    let found = located(code, subject, (origin, span), finding.message.clone()).at(&finding.path);
    advised(found, finding)
}

/// With what was probably meant.
fn advised(found: Diagnostic, finding: &Finding<'_, Node>) -> Diagnostic {
    let names = finding.candidates.as_slice();
    match (finding.problem, finding.key, &finding.node.value) {
        (Problem::UnknownField, Some(key), _) => match closest(key, names) {
            Some(name) => {
                let sure = only_near(key, names) == Some(name);
                let patch = sure.then(|| Patch::rename(found.path.clone(), name));
                let found = found.with_help(format!("did you mean {name}?"));
                match patch {
                    Some(patch) => found.with_patch(patch),
                    None => found,
                }
            }
            None if names.is_empty() => found,
            None => found.with_help(format!("the fields here are {}", names.join(", "))),
        },
        (Problem::UnknownWord, _, Value::Text(word)) => match closest(word, names) {
            Some(name) => found.with_help(format!("did you mean {name}?")),
            None => found,
        },
        (Problem::WrongType, _, Value::Int(_, text) | Value::Float(_, text))
            if found.message.starts_with("expected a text") =>
        {
            found.with_help(format!("write \"{text}\" in quotes"))
        }
        (Problem::WrongType, _, Value::Bool(value))
            if found.message.starts_with("expected a text") =>
        {
            found.with_help(format!("write \"{value}\" in quotes"))
        }
        _ => found,
    }
}

fn span_of(finding: &Finding<'_, Node>) -> Span {
    let node = finding.node;
    let Some(key) = finding.key else { return node.span };
    let Value::Map(entries) = &node.value else { return node.span };
    entries.iter().find(|entry| entry.key == key).map_or(node.span, |entry| entry.key_span)
}
