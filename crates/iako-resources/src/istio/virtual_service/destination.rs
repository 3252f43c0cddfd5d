//! Reads destinations and changes to headers.

use super::{Destination, HeaderEdits, HeaderOperations, RouteDestination};
use crate::{
    Code,
    document::Context,
    istio::refer,
    reader::{Cursor, Fields},
};

/// Reads `route`: destinations with weights.
pub(super) fn read_weighted(fields: &Fields<'_>, context: &Context<'_>) -> Vec<RouteDestination> {
    let routes = fields.list_of("route", |cursor| {
        let fields = cursor.fields();
        let destination = fields.required("destination");
        let weight = fields.get("weight").and_then(|cursor| cursor.count()).unwrap_or(0);
        let headers = read_headers(&fields);
        Some(RouteDestination {
            destination: destination.and_then(|cursor| read_one(&cursor, context))?,
            weight,
            headers,
            line: cursor.line(),
        })
    });
    let routes: Vec<RouteDestination> = routes.into_iter().flatten().collect();
    let several = routes.len() > 1;
    if several && routes.iter().all(|route| route.weight == 0) {
        let message = "the weights of the destinations are all 0";
        fields.report("route", Code::BadValue, message);
    }
    routes
}

/// Reads a destination.
pub(crate) fn read_one(cursor: &Cursor<'_>, context: &Context<'_>) -> Option<Destination> {
    let fields = cursor.fields();
    let host = fields.required("host");
    let subset = fields.get("subset");
    let port = fields.get("port").and_then(|cursor| {
        let fields = cursor.fields();
        let number = fields.required("number");
        number.and_then(|cursor| cursor.port())
    });
    let subset = subset.and_then(|cursor| {
        let text = cursor.text()?;
        if !text.is_empty() && !refer::is_dns_label(&text) {
            cursor.report(Code::BadValue, format!("{text:?} is no name of a subset"));
        }
        Some(text).filter(|text| !text.is_empty())
    });
    Some(Destination { host: refer::host(&host?, context)?, subset, port })
}

/// Reads `headers`.
pub(super) fn read_headers(fields: &Fields<'_>) -> HeaderOperations {
    let Some(cursor) = fields.get("headers") else { return HeaderOperations::default() };
    let fields = cursor.fields();
    let request = fields.get("request").map(|cursor| read_edits(&cursor, Side::Request));
    let response = fields.get("response").map(|cursor| read_edits(&cursor, Side::Response));
    HeaderOperations {
        request: request.unwrap_or_default(),
        response: response.unwrap_or_default(),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Request,
    Response,
}

fn read_edits(cursor: &Cursor<'_>, side: Side) -> HeaderEdits {
    let fields = cursor.fields();
    let set = read_pairs(&fields, "set", side);
    let add = read_pairs(&fields, "add", side);
    let remove = fields.list_of("remove", |cursor| {
        let name = cursor.text()?.to_ascii_lowercase();
        check_name(&name, cursor);
        if is_authority(&name) || name.starts_with(':') {
            cursor.report(Code::BadValue, format!("the header {name} cannot be removed"));
        }
        Some(name)
    });
    let sets_authority =
        |pairs: &[(String, String)]| pairs.iter().any(|(name, _)| is_authority(name));
    if side == Side::Request && sets_authority(&set) && sets_authority(&add) {
        let message = "the authority is set and added; one is enough";
        fields.report("add", Code::Conflict, message);
    }
    HeaderEdits { set, add, remove: remove.into_iter().flatten().collect() }
}

fn read_pairs(fields: &Fields<'_>, name: &'static str, side: Side) -> Vec<(String, String)> {
    let entries = fields.get(name).map(|cursor| cursor.entries()).unwrap_or_default();
    let mut pairs = Vec::new();
    for (name, cursor) in entries {
        let Some(value) = cursor.text() else { continue };
        let name = name.to_ascii_lowercase();
        let allowed_pseudo = side == Side::Request && name == ":authority";
        if name.starts_with(':') && !allowed_pseudo {
            cursor.report(Code::BadValue, format!("the header {name} cannot be set"));
        } else if !allowed_pseudo {
            check_name(&name, &cursor);
        }
        check_value(&value, &cursor);
        pairs.push((name, value));
    }
    pairs.sort();
    pairs
}

fn is_authority(name: &str) -> bool {
    matches!(name, "host" | ":authority")
}

/// Whether a text is the name of a header. Source: RFC 9110 §5.1.
pub(crate) fn is_header_name(name: &str) -> bool {
    let token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    !name.is_empty() && name.chars().all(token)
}

fn check_name(name: &str, cursor: &Cursor<'_>) {
    if !is_header_name(name) {
        cursor.report(Code::BadValue, format!("{name:?} is no name of a header"));
    }
}

/// A value goes on the wire; `%` starts a command of Envoy's format strings.
fn check_value(value: &str, cursor: &Cursor<'_>) {
    if value.chars().any(|c| c.is_control() && c != '\t') {
        cursor.report(Code::BadValue, "the value of a header has a control character");
    }
    if !percents_are_paired(value) {
        let message = "a lone % starts no variable; write %% for the character itself";
        cursor.report(Code::BadValue, message);
    }
}

/// Whether every `%` is doubled or encloses a variable such as `%REQ(x-id)%`.
fn percents_are_paired(value: &str) -> bool {
    let mut rest = value;
    while let Some((_, after)) = rest.split_once('%') {
        if let Some(next) = after.strip_prefix('%') {
            rest = next;
            continue;
        }
        let Some((variable, next)) = after.split_once('%') else { return false };
        if !variable.starts_with(|c: char| c.is_ascii_uppercase()) {
            return false;
        }
        rest = next;
    }
    true
}
