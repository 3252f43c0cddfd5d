//! Reads what a request must be like.

use super::{HeaderKey, HttpMatch};
use crate::{
    Code, StringMatch,
    document::Context,
    istio::refer::{self, Emptiness},
    reader::{Cursor, Fields},
};

const CLAIM_PREFIX: &str = "@request.auth.claims";

/// Reads a match of a rule.
pub(super) fn read_match(cursor: &Cursor<'_>, context: &Context<'_>) -> Option<HttpMatch> {
    let fields = cursor.fields();
    let text_match = |name: &'static str| {
        fields.get(name).and_then(|cursor| refer::string_match(&cursor, Emptiness::IsError))
    };
    let name = fields.text("name");
    let uri = text_match("uri");
    let ignore_uri_case = fields.flag("ignoreUriCase");
    let scheme = text_match("scheme");
    let method = text_match("method");
    let authority = text_match("authority");
    let headers = read_headers(&fields, "headers");
    let without_headers = read_headers(&fields, "withoutHeaders");
    let query_params = fields.get("queryParams").map(|cursor| cursor.entries()).unwrap_or_default();
    let query_params = query_params
        .into_iter()
        .filter_map(|(name, cursor)| {
            Some((name.to_owned(), refer::string_match(&cursor, Emptiness::IsPresence)?))
        })
        .collect();
    let port = fields.get("port").and_then(|cursor| cursor.port());
    let source_labels =
        fields.get("sourceLabels").map(|cursor| refer::labels(&cursor)).unwrap_or_default();
    let source_namespace =
        fields.get("sourceNamespace").and_then(|cursor| refer::namespace(&cursor));
    let gateways = refer::gateways(&fields, context);
    Some(HttpMatch {
        name,
        uri,
        ignore_uri_case,
        scheme,
        method,
        authority,
        headers,
        without_headers,
        query_params,
        port,
        source_labels,
        source_namespace,
        gateways,
        stat_prefix: None,
        line: cursor.line(),
    })
}

fn read_headers(fields: &Fields<'_>, name: &'static str) -> Vec<(HeaderKey, StringMatch)> {
    let entries = fields.get(name).map(|cursor| cursor.entries()).unwrap_or_default();
    let mut headers = Vec::new();
    for (name, cursor) in entries {
        if cursor.node().is_null() {
            cursor
                .report(Code::EmptyValue, "the match of a header is empty; write {} for any value");
            continue;
        }
        let key = header_key(name, &cursor);
        let value = refer::string_match(&cursor, Emptiness::IsPresence);
        if value == Some(StringMatch::Prefix(String::new())) {
            let message = "an empty prefix matches every value; write {} instead";
            cursor.at("prefix").report(Code::EmptyValue, message);
        }
        headers.extend(key.zip(value));
    }
    headers
}

fn header_key(name: &str, cursor: &Cursor<'_>) -> Option<HeaderKey> {
    if let Some(rest) = name.strip_prefix(CLAIM_PREFIX) {
        let path = claim_path(rest);
        if path.is_none() {
            let message = format!("{name:?} names no claim; write {CLAIM_PREFIX}.name");
            cursor.report(Code::BadValue, message);
        }
        return path.map(HeaderKey::Claim);
    }
    if name.is_empty() {
        cursor.report(Code::EmptyValue, "the name of a header is empty");
        return None;
    }
    Some(HeaderKey::Header(name.to_ascii_lowercase()))
}

/// `.a.b` or `[a][b]`.
fn claim_path(rest: &str) -> Option<Vec<String>> {
    let parts: Vec<String> = match rest.strip_prefix('[') {
        Some(inner) => inner.strip_suffix(']')?.split("][").map(str::to_owned).collect(),
        None => rest.strip_prefix('.')?.split('.').map(str::to_owned).collect(),
    };
    (!parts.iter().any(String::is_empty)).then_some(parts)
}
