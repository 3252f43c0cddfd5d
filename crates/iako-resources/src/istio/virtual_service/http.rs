//! Reads one rule for requests.

use iako_types::Percent;

use super::{
    Delegate, DirectResponse, HttpAction, HttpMatch, HttpRoute, Mirror, PathRewrite, Redirect,
    RedirectPath, RedirectPort, Rewrite, destination, matches, policy,
};
use crate::{
    Code, Severity, StringMatch,
    document::Context,
    istio::{Pattern, refer},
    reader::{Cursor, Fields},
};

/// Longest body of a direct response, in bytes. Source: Istio's admission check.
const BODY_BYTES_MAX: usize = 1 << 20;
/// Above this a body slows the control plane down.
const BODY_BYTES_WARN: usize = 100 << 10;

/// What kind of object a rule stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner {
    /// One with hosts.
    Root,
    /// One without, whose rules another object takes over.
    Delegate,
}

/// Reads a rule.
pub(super) fn read_route(
    cursor: &Cursor<'_>,
    context: &Context<'_>,
    owner: Owner,
) -> Option<HttpRoute> {
    let fields = cursor.fields();
    let name = fields.text("name");
    let matches = fields.list_of("match", |cursor| matches::read_match(cursor, context));
    let route = destination::read_weighted(&fields, context);
    let redirect = fields.get("redirect").and_then(|cursor| read_redirect(&cursor, &matches));
    let response = fields.get("directResponse").and_then(|cursor| read_response(&cursor));
    let delegate = fields.get("delegate").and_then(|cursor| read_delegate(&cursor, context, owner));
    let headers = destination::read_headers(&fields);
    let rewrite = fields.get("rewrite").and_then(|cursor| read_rewrite(&cursor));
    let timeout = fields.get("timeout").and_then(|cursor| cursor.duration_or_zero());
    let retries = fields.get("retries").and_then(|cursor| policy::read_retries(&cursor));
    let fault = fields.get("fault").and_then(|cursor| policy::read_fault(&cursor));
    let mirrors = read_mirrors(&fields, context);
    let cors = fields.get("corsPolicy").and_then(|cursor| policy::read_cors(&cursor));
    exclude(
        &fields,
        &[
            ("redirect", "route"),
            ("redirect", "directResponse"),
            ("redirect", "fault"),
            ("redirect", "rewrite"),
            ("redirect", "delegate"),
            ("directResponse", "route"),
            ("directResponse", "fault"),
            ("directResponse", "rewrite"),
            ("mirror", "mirrors"),
            ("delegate", "route"),
            ("delegate", "directResponse"),
        ],
    );
    let action = redirect
        .map(HttpAction::Redirect)
        .or_else(|| response.map(HttpAction::DirectResponse))
        .or_else(|| delegate.map(HttpAction::Delegate))
        .or_else(|| (!route.is_empty()).then_some(HttpAction::Route(route)));
    let says_something =
        ["redirect", "directResponse", "delegate"].iter().any(|name| fields.has(name))
            || fields.has_elements("route");
    if !says_something {
        let message = "the rule has none of route, redirect, directResponse and delegate";
        fields.report("route", Code::MissingField, message);
    }
    Some(HttpRoute {
        name,
        matches: matches.into_iter().flatten().collect(),
        action: action?,
        headers,
        rewrite,
        timeout,
        retries,
        fault,
        mirrors,
        cors,
        line: cursor.line(),
    })
}

fn read_delegate(cursor: &Cursor<'_>, context: &Context<'_>, owner: Owner) -> Option<Delegate> {
    let fields = cursor.fields();
    let name = fields.required("name").and_then(|cursor| cursor.text());
    let namespace = fields.get("namespace").map(|cursor| refer::namespace(&cursor));
    if owner == Owner::Delegate {
        let message = "a delegate cannot delegate again; write the routes here";
        cursor.report(Code::Conflict, message);
    } else {
        let message = "delegation is read and checked, not yet applied: the whole object waits";
        cursor.report(Code::FieldIgnored, message);
    }
    Some(Delegate {
        name: name?,
        namespace: namespace.unwrap_or_else(|| Some(context.namespace.clone()))?,
    })
}

fn exclude(fields: &Fields<'_>, pairs: &[(&'static str, &'static str)]) {
    for (one, other) in pairs {
        if fields.has(one) && fields.has(other) {
            let message = format!("a rule has {one} or {other}, not both");
            fields.report(other, Code::Conflict, message);
        }
    }
}

fn read_redirect(cursor: &Cursor<'_>, matches: &[Option<HttpMatch>]) -> Option<Redirect> {
    let fields = cursor.fields();
    let uri = fields.text("uri");
    let prefix = fields.get("prefixRewrite");
    let authority = fields.text("authority");
    let scheme = fields
        .get("scheme")
        .and_then(|cursor| cursor.word(&[("http", "http"), ("https", "https")]).map(str::to_owned));
    let port = fields.get("port").and_then(|cursor| cursor.port()).map(RedirectPort::Number);
    let derived = fields.get("derivePort").and_then(|cursor| {
        cursor.word(&[
            ("FROM_PROTOCOL_DEFAULT", RedirectPort::FromProtocolDefault),
            ("FROM_REQUEST_PORT", RedirectPort::FromRequest),
        ])
    });
    let status = fields.get("redirectCode").and_then(|cursor| cursor.number());
    if port.is_some() && derived.is_some() {
        fields.report("derivePort", Code::Conflict, "a redirect has port or derivePort, not both");
    }
    if uri.is_some() && prefix.is_some() {
        let message = "a redirect has uri or prefixRewrite, not both";
        fields.report("prefixRewrite", Code::Conflict, message);
    }
    let status = match status.unwrap_or(301) {
        status @ (301 | 302 | 303 | 307 | 308) => u16::try_from(status).ok()?,
        other => {
            let message = format!("redirectCode is 301, 302, 303, 307 or 308, not {other}");
            fields.report("redirectCode", Code::BadValue, message);
            return None;
        }
    };
    let prefix = prefix.and_then(|cursor| {
        let by_prefix = |one: &HttpMatch| {
            !matches!(one.uri, Some(StringMatch::Exact(_) | StringMatch::Regex(_)))
        };
        if !matches.iter().flatten().all(by_prefix) {
            let message = "prefixRewrite needs rules that match a prefix of the path";
            cursor.report(Code::Conflict, message);
        }
        cursor.text()
    });
    if fields.is_empty() {
        cursor.report(Code::EmptyValue, "a redirect without fields goes nowhere");
    }
    let path = uri.map(RedirectPath::Whole).or_else(|| prefix.map(RedirectPath::Prefix));
    Some(Redirect { path, authority, scheme, port: port.or(derived), status })
}

fn read_response(cursor: &Cursor<'_>) -> Option<DirectResponse> {
    let fields = cursor.fields();
    let status = fields.required("status").and_then(|cursor| cursor.integer(200, 599));
    let body = fields.get("body").map(|cursor| read_body(&cursor)).unwrap_or_default();
    if body.len() > BODY_BYTES_MAX {
        let message = format!("the body has {} bytes; at most 1 MiB is allowed", body.len());
        cursor.at("body").report(Code::BadValue, message);
    } else if body.len() > BODY_BYTES_WARN {
        let message = "a body of more than 100 KiB is sent to every proxy";
        cursor.at("body").report_as(Severity::Warning, Code::BadValue, message);
    }
    Some(DirectResponse { status: u16::try_from(status?).ok()?, body })
}

fn read_body(cursor: &Cursor<'_>) -> Vec<u8> {
    let fields = cursor.fields();
    let text = fields.get("string").and_then(|cursor| cursor.text());
    let bytes = fields.get("bytes").and_then(|cursor| crate::base64::read(&cursor));
    if text.is_some() && bytes.is_some() {
        cursor.report(Code::Conflict, "a body has string or bytes, not both");
    }
    bytes.or_else(|| text.map(String::into_bytes)).unwrap_or_default()
}

fn read_rewrite(cursor: &Cursor<'_>) -> Option<Rewrite> {
    let fields = cursor.fields();
    let uri = fields.text("uri");
    let authority = fields.text("authority");
    let regex = fields.get("uriRegexRewrite").and_then(|cursor| read_regex_rewrite(&cursor));
    if uri.is_some() && regex.is_some() {
        let message = "a rewrite has uri or uriRegexRewrite, not both";
        fields.report("uriRegexRewrite", Code::Conflict, message);
    }
    if uri.is_none() && regex.is_none() && authority.is_none() && !fields.has("uriRegexRewrite") {
        let message = "a rewrite needs one of uri, authority and uriRegexRewrite";
        cursor.report(Code::EmptyValue, message);
    }
    Some(Rewrite { path: uri.map(PathRewrite::Uri).or(regex), authority })
}

fn read_regex_rewrite(cursor: &Cursor<'_>) -> Option<PathRewrite> {
    let fields = cursor.fields();
    let find = fields.required("match");
    let replacement = fields.required("rewrite").and_then(|cursor| cursor.text());
    let find = find.and_then(|cursor| {
        let text = cursor.text()?;
        let compiled = Pattern::searching(&text);
        if let Err(error) = &compiled {
            cursor.report(Code::BadRegex, format!("{text:?} does not compile: {error}"));
        }
        compiled.ok()
    });
    Some(PathRewrite::Regex { find: find?, replacement: replacement? })
}

fn read_mirrors(fields: &Fields<'_>, context: &Context<'_>) -> Vec<Mirror> {
    let old = fields.get("mirrorPercent");
    if let Some(cursor) = &old {
        cursor.report(Code::Deprecated, "mirrorPercent is old; use mirrorPercentage");
    }
    let single = fields.get("mirror").and_then(|cursor| destination::read_one(&cursor, context));
    let percentage = fields.get("mirrorPercentage").and_then(|cursor| cursor.percent_message());
    let percentage = percentage.or_else(|| old.and_then(|cursor| cursor.percent()));
    let mut mirrors: Vec<Mirror> = single
        .map(|destination| Mirror {
            destination,
            percentage: percentage.unwrap_or(Percent::HUNDRED),
        })
        .into_iter()
        .collect();
    let several = fields.list_of("mirrors", |cursor| {
        let fields = cursor.fields();
        let destination = fields.required("destination");
        let percentage = fields.get("percentage").map(|cursor| cursor.percent_message());
        Some(Mirror {
            destination: destination.and_then(|cursor| destination::read_one(&cursor, context))?,
            percentage: percentage.unwrap_or(Some(Percent::HUNDRED))?,
        })
    });
    mirrors.extend(several.into_iter().flatten());
    mirrors
}
