//! `HTTPRoute`.

use std::time::Duration;

use iako_types::HostPattern;

use super::{
    BackendRef, ObjectRef, ParentRef, SERVICE, ValueMatch, read_backend, read_hostnames,
    read_object, read_parents, read_values,
};
use crate::{
    Code,
    document::Context,
    istio::{Pattern, refer, virtual_service::HeaderEdits},
    reader::{Cursor, Fields},
};

/// Routing of requests. Source: `gateway.networking.k8s.io/v1.HTTPRoute`.
#[derive(Debug, Clone, PartialEq)]
pub struct HttpRoute {
    /// What it is attached to.
    pub parents: Vec<ParentRef>,
    /// Hosts it is for; none is those of the parent.
    pub hostnames: Vec<HostPattern>,
    /// The rules. Which of two counts is decided by how exact their matches are, not by their order.
    pub rules: Vec<HttpRule>,
}

/// One rule.
#[derive(Debug, Clone, PartialEq)]
pub struct HttpRule {
    /// Its name.
    pub name: Option<String>,
    /// One of these must match; none is every request.
    pub matches: Vec<RequestMatch>,
    /// What is done with a request.
    pub filters: Vec<RouteFilter>,
    /// Where it goes, by weight, and what is done on the way to each.
    pub backends: Vec<(BackendRef, Vec<RouteFilter>)>,
    /// Longest time for the whole exchange; `None` and zero are unlimited.
    pub request_timeout: Option<Duration>,
    /// Longest time for one try.
    pub backend_timeout: Option<Duration>,
    /// Line in its file, from 1.
    pub line: u32,
}

/// What a request must be like; every part given must hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestMatch {
    /// The path. Default: every path.
    pub path: PathMatch,
    /// Headers.
    pub headers: Vec<(String, ValueMatch)>,
    /// Query parameters.
    pub query_params: Vec<(String, ValueMatch)>,
    /// `:method`.
    pub method: Option<String>,
    /// Line in its file, from 1.
    pub line: u32,
}

/// How a path is compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathMatch {
    /// The same path.
    Exact(String),
    /// The path starts with these segments: `/a` takes `/a` and `/a/b`, not `/ab`.
    Prefix(String),
    /// The whole path matches.
    Regex(Pattern),
}

/// What is done with a request, or its response.
#[derive(Debug, Clone, PartialEq)]
pub enum RouteFilter {
    /// Headers of the request are changed.
    RequestHeaders(HeaderEdits),
    /// Headers of the response are changed.
    ResponseHeaders(HeaderEdits),
    /// The client is sent elsewhere.
    Redirect(Redirect),
    /// The server sees another path or host.
    Rewrite(Rewrite),
    /// A copy goes elsewhere, and nobody waits for it.
    Mirror(Mirror),
    /// Cross-origin rules for browsers.
    Cors(Cors),
    /// Something that an object of another kind says.
    Extension(ObjectRef),
    /// A service is asked whether the request may pass.
    ExternalAuth(Option<BackendRef>),
}

/// Where a client is sent. Source: `HTTPRequestRedirectFilter`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redirect {
    /// `http` or `https`; `None` is that of the request.
    pub scheme: Option<String>,
    /// The host; `None` is that of the request.
    pub hostname: Option<String>,
    /// The path; `None` is that of the request.
    pub path: Option<PathChange>,
    /// The port; `None` is that of the scheme, or of the listener.
    pub port: Option<u16>,
    /// 301, 302, 303, 307 or 308. Default: 302.
    pub status: u16,
}

/// What a server sees. Source: `HTTPURLRewriteFilter`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rewrite {
    /// The host.
    pub hostname: Option<String>,
    /// The path.
    pub path: Option<PathChange>,
}

/// How a path is changed. Source: `HTTPPathModifier`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathChange {
    /// This path instead.
    Full(String),
    /// These segments instead of those that the rule matched.
    Prefix(String),
}

/// Source: `HTTPRequestMirrorFilter`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirror {
    /// Where the copies go.
    pub backend: BackendRef,
    /// So many of so many requests are copied. Default: 100 of 100.
    pub share: (u32, u32),
}

/// Source: `HTTPCORSFilter`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cors {
    /// Origins that may call; a star may stand for a part of the host, or for all.
    pub allow_origins: Vec<String>,
    /// `access-control-allow-methods`.
    pub allow_methods: Vec<String>,
    /// `access-control-allow-headers`.
    pub allow_headers: Vec<String>,
    /// `access-control-expose-headers`.
    pub expose_headers: Vec<String>,
    /// `access-control-allow-credentials`.
    pub allow_credentials: bool,
    /// `access-control-max-age`, seconds. Default: 5.
    pub max_age: u32,
}

/// Reads the specification.
pub(crate) fn parse(cursor: &Cursor<'_>, context: &Context<'_>) -> Option<HttpRoute> {
    let fields = cursor.fields();
    let parents = read_parents(&fields, context);
    let hostnames = read_hostnames(&fields);
    let rules = fields.list_of("rules", |cursor| read_rule(cursor, context));
    fields.ignore_rest();
    Some(HttpRoute { parents, hostnames, rules })
}

fn read_rule(cursor: &Cursor<'_>, context: &Context<'_>) -> HttpRule {
    let fields = cursor.fields();
    let name = fields.text("name");
    let matches = fields.list_of("matches", read_match);
    let filters = read_filters(&fields, context);
    let backends = read_filtered_backends(&fields, context);
    let timeouts = fields.get("timeouts").map(|cursor| {
        let fields = cursor.fields();
        let of = |name: &'static str| fields.get(name).and_then(|c| c.duration_or_zero());
        let timeouts = (of("request"), of("backendRequest"));
        fields.ignore_rest();
        timeouts
    });
    fields.ignore_rest();
    let (request_timeout, backend_timeout) = timeouts.unwrap_or_default();
    HttpRule {
        name,
        matches: matches.into_iter().flatten().collect(),
        filters,
        backends,
        request_timeout,
        backend_timeout,
        line: cursor.line(),
    }
}

fn read_match(cursor: &Cursor<'_>) -> Option<RequestMatch> {
    let fields = cursor.fields();
    let path = match fields.get("path") {
        Some(cursor) => read_path(&cursor),
        None => Some(PathMatch::Prefix("/".to_owned())),
    };
    let headers = read_values(&fields, "headers");
    let query_params = read_values(&fields, "queryParams");
    let method = fields.text("method");
    fields.ignore_rest();
    Some(RequestMatch { path: path?, headers, query_params, method, line: cursor.line() })
}

fn read_path(cursor: &Cursor<'_>) -> Option<PathMatch> {
    let fields = cursor.fields();
    let kind = fields.text("type").unwrap_or_else(|| "PathPrefix".to_owned());
    let value = fields.get("value");
    fields.ignore_rest();
    let Some(value) = value else { return Some(PathMatch::Prefix("/".to_owned())) };
    match kind.as_str() {
        "RegularExpression" => refer::pattern(&value).map(PathMatch::Regex),
        "Exact" => value.text().map(PathMatch::Exact),
        _ => value.text().map(PathMatch::Prefix),
    }
}

/// Reads where a rule sends requests, and what is done on the way to each.
pub(super) fn read_filtered_backends(
    fields: &Fields<'_>,
    context: &Context<'_>,
) -> Vec<(BackendRef, Vec<RouteFilter>)> {
    let backends = fields.list_of("backendRefs", |cursor| {
        let fields = cursor.fields();
        let backend = read_backend(&fields, context);
        let filters = read_filters(&fields, context);
        fields.ignore_rest();
        Some((backend?, filters))
    });
    backends.into_iter().flatten().collect()
}

/// Reads `filters`.
pub(super) fn read_filters(fields: &Fields<'_>, context: &Context<'_>) -> Vec<RouteFilter> {
    let filters = fields.list_of("filters", |cursor| {
        let fields = cursor.fields();
        let filter = read_filter(&fields, context);
        fields.ignore_rest();
        filter
    });
    filters.into_iter().flatten().collect()
}

fn read_filter(fields: &Fields<'_>, context: &Context<'_>) -> Option<RouteFilter> {
    let kind = fields.text("type")?;
    match kind.as_str() {
        "RequestHeaderModifier" => {
            fields.get("requestHeaderModifier").map(|c| RouteFilter::RequestHeaders(read_edits(&c)))
        }
        "ResponseHeaderModifier" => fields
            .get("responseHeaderModifier")
            .map(|cursor| RouteFilter::ResponseHeaders(read_edits(&cursor))),
        "RequestRedirect" => {
            fields.get("requestRedirect").map(|c| RouteFilter::Redirect(read_redirect(&c)))
        }
        "URLRewrite" => fields.get("urlRewrite").map(|cursor| {
            let fields = cursor.fields();
            let hostname = fields.text("hostname");
            let path = fields.get("path").and_then(|cursor| read_change(&cursor));
            fields.ignore_rest();
            RouteFilter::Rewrite(Rewrite { hostname, path })
        }),
        "RequestMirror" => read_mirror(&fields.get("requestMirror")?, context),
        "CORS" => fields.get("cors").map(|cursor| RouteFilter::Cors(read_cors(&cursor))),
        "ExtensionRef" => {
            let cursor = fields.get("extensionRef")?;
            let fields = cursor.fields();
            let object = read_object(&fields, context, ("", ""));
            fields.ignore_rest();
            let message = "filters of other kinds are not known here";
            cursor.report(Code::FieldIgnored, message);
            object.map(RouteFilter::Extension)
        }
        "ExternalAuth" => {
            let cursor = fields.get("externalAuth")?;
            let fields = cursor.fields();
            let backend = fields.get("backendRef").and_then(|cursor| {
                let fields = cursor.fields();
                let backend = read_backend(&fields, context);
                fields.ignore_rest();
                backend
            });
            fields.ignore_rest();
            Some(RouteFilter::ExternalAuth(backend))
        }
        _ => None,
    }
}

fn read_edits(cursor: &Cursor<'_>) -> HeaderEdits {
    let fields = cursor.fields();
    let pairs = |name: &'static str| {
        let pairs = fields.list_of(name, |cursor| {
            let fields = cursor.fields();
            let (name, value) = (fields.text("name"), fields.text("value"));
            fields.ignore_rest();
            Some((name?.to_ascii_lowercase(), value.unwrap_or_default()))
        });
        pairs.into_iter().flatten().collect()
    };
    let (set, add) = (pairs("set"), pairs("add"));
    let remove = fields.texts("remove").iter().map(|name| name.to_ascii_lowercase()).collect();
    fields.ignore_rest();
    HeaderEdits { set, add, remove }
}

fn read_redirect(cursor: &Cursor<'_>) -> Redirect {
    let fields = cursor.fields();
    let status = fields.get("statusCode").and_then(|cursor| cursor.integer(300, 399));
    let redirect = Redirect {
        scheme: fields.text("scheme"),
        hostname: fields.text("hostname"),
        path: fields.get("path").and_then(|cursor| read_change(&cursor)),
        port: fields.get("port").and_then(|cursor| cursor.port()),
        status: status.and_then(|status| u16::try_from(status).ok()).unwrap_or(302),
    };
    fields.ignore_rest();
    redirect
}

fn read_change(cursor: &Cursor<'_>) -> Option<PathChange> {
    let fields = cursor.fields();
    let kind = fields.text("type");
    let full = fields.get("replaceFullPath").and_then(|cursor| cursor.text());
    let prefix = fields.get("replacePrefixMatch").and_then(|cursor| cursor.text());
    fields.ignore_rest();
    match kind.as_deref() {
        Some("ReplaceFullPath") => full.map(PathChange::Full),
        Some("ReplacePrefixMatch") => prefix.map(PathChange::Prefix),
        _ => None,
    }
}

fn read_mirror(cursor: &Cursor<'_>, context: &Context<'_>) -> Option<RouteFilter> {
    let fields = cursor.fields();
    let backend = fields.get("backendRef").and_then(|cursor| {
        let fields = cursor.fields();
        let object = read_object(&fields, context, SERVICE);
        let port = fields.get("port").and_then(|cursor| cursor.port());
        fields.ignore_rest();
        Some(BackendRef { object: object?, port, weight: 1, line: cursor.line() })
    });
    let percent = fields.get("percent").and_then(|cursor| cursor.count()).map(|part| (part, 100));
    let fraction = fields.get("fraction").map(|cursor| {
        let fields = cursor.fields();
        let part = fields.get("numerator").and_then(|cursor| cursor.count()).unwrap_or(0);
        let whole = fields.get("denominator").and_then(|cursor| cursor.count()).unwrap_or(100);
        fields.ignore_rest();
        (part, whole)
    });
    fields.ignore_rest();
    let share = percent.or(fraction).unwrap_or((100, 100));
    Some(RouteFilter::Mirror(Mirror { backend: backend?, share }))
}

fn read_cors(cursor: &Cursor<'_>) -> Cors {
    let fields = cursor.fields();
    let cors = Cors {
        allow_origins: fields.texts("allowOrigins"),
        allow_methods: fields.texts("allowMethods"),
        allow_headers: fields.texts("allowHeaders"),
        expose_headers: fields.texts("exposeHeaders"),
        allow_credentials: fields.flag("allowCredentials"),
        max_age: fields.get("maxAge").and_then(|cursor| cursor.count()).unwrap_or(5),
    };
    fields.ignore_rest();
    cors
}
