//! A request on its way: the head as it came, and what has been changed since.

use std::net::IpAddr;
use std::sync::LazyLock;

use iako_http::{
    FieldName, FieldValue, Known, KnownSet, Method, NameRef, RequestEdits, RequestHead,
    ResponseEdits, ResponseHead, Scheme,
};
use iako_proxy_config::{HeaderName, Redirect, RedirectPath};
use iako_telemetry::HeaderLookup;
use iako_traffic::{ConnectionInfo, Headers, Metadata, RequestFacts};

use super::grpc_web::WebCall;
use crate::snapshot::RequestOrigin;

/// Text that can stand in a head.
fn text_of(value: &[u8]) -> Option<String> {
    FieldValue::parse(value.to_vec()).ok()?;
    let text = std::str::from_utf8(value).ok()?;
    let is_plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
    is_plain.then(|| text.to_owned())
}

/// A request as filters, routes and logs see it.
#[derive(Debug)]
pub(crate) struct Request {
    /// As it came.
    pub(crate) head: RequestHead,
    /// What is changed while it is sent on.
    pub(crate) edits: RequestEdits,
    /// `http` or `https`: what `x-forwarded-proto` says where it is trusted, else the connection.
    pub(crate) scheme: Scheme,
    /// The client, as far as `x-forwarded-for` is trusted.
    pub(crate) client: IpAddr,
    /// Whether the client counts as internal.
    pub(crate) internal: bool,
    /// What filters found out.
    pub(crate) metadata: Metadata,
    /// It goes on without its content: a redirect made a plain question of it.
    pub(crate) without_content: bool,
    /// It came as gRPC-Web and goes on as gRPC.
    pub(crate) web: Option<WebCall>,
}

impl Request {
    /// From where it came, for the statistics of its cluster.
    pub(crate) const fn origin(&self) -> RequestOrigin {
        if self.internal { RequestOrigin::Internal } else { RequestOrigin::External }
    }

    /// The first value of a field after the changes.
    pub(crate) fn get(&self, name: Known) -> Option<&[u8]> {
        self.edits.fields.get(self.head.fields(), name)
    }

    /// The first value of a field after the changes, when it is text.
    pub(crate) fn text(&self, name: Known) -> Option<&str> {
        std::str::from_utf8(self.get(name)?).ok()
    }

    /// The authority after the changes.
    pub(crate) fn authority(&self) -> &str {
        self.edits.authority(&self.head)
    }

    /// Path and query after the changes.
    pub(crate) fn path(&self) -> &str {
        self.edits.path(&self.head)
    }

    /// Logs tell a rewritten path of redirects too, as Envoy's do.
    pub(crate) fn note_redirect(&mut self, redirect: &Redirect, location: &str) {
        let rewrites = match &redirect.path {
            Some(RedirectPath::Prefix(prefix)) => !prefix.is_empty(),
            Some(RedirectPath::Regex { .. }) => true,
            Some(RedirectPath::Full(_) | RedirectPath::Format(_)) | None => false,
        };
        let after_scheme = location.split_once("://").map_or(location, |(_, rest)| rest);
        if let Some(at) = after_scheme.find('/').filter(|_| rewrites) {
            let path = after_scheme.split_at(at).1;
            let original = FieldValue::sanitized(self.path().to_owned());
            self.edits.fields.set(Known::XEnvoyOriginalPath, original);
            self.edits.path = Some(path.into());
        }
    }

    /// Sets a field, or what a pseudo-header stands for: the target, the host or the method.
    pub(crate) fn set_field(&mut self, name: &str, value: Vec<u8>) {
        match name {
            ":authority" | "host" => self.edits.authority = text_of(&value).map(Into::into),
            ":path" => self.edits.path = text_of(&value).map(Into::into),
            ":method" => self.edits.method = Method::parse(&value),
            name if name.starts_with(':') => {}
            name => {
                if let (Ok(name), Ok(value)) =
                    (FieldName::parse(name.as_bytes()), FieldValue::parse(value))
                {
                    self.edits.fields.set(name, value);
                }
            }
        }
    }

    /// Adds a field beside those of the same name.
    pub(crate) fn add_field(&mut self, name: &str, value: Vec<u8>) {
        if let (Ok(name), Ok(value)) = (FieldName::parse(name.as_bytes()), FieldValue::parse(value))
        {
            let joined = KnownSet::JOINED_IN_REQUESTS;
            self.edits.fields.add(self.head.fields(), name, value, joined);
        }
    }

    /// Puts a value behind a comma after the first one of a field that is there.
    pub(crate) fn append_to_field(&mut self, name: &str, value: &[u8]) {
        let Ok(own) = FieldName::parse(name.as_bytes()) else { return };
        let old: Vec<Vec<u8>> =
            self.edits.fields.values(self.head.fields(), name).map(<[u8]>::to_vec).collect();
        let Some((first, rest)) = old.split_first() else { return };
        self.edits.fields.remove(own);
        self.add_field(name, [first, b",".as_slice(), value].concat());
        rest.iter().for_each(|value| self.add_field(name, value.clone()));
    }

    /// All fields after the changes, pseudo-headers first, with names in lower case.
    pub(crate) fn listed(&self) -> Vec<(String, Vec<u8>)> {
        let mut fields: Vec<(String, Vec<u8>)> = [
            (":authority", self.authority()),
            (":path", self.path()),
            (":method", self.edits.method(&self.head).as_str()),
            (":scheme", self.scheme.as_str()),
        ]
        .map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec()))
        .into();
        for field in iako_http::edited_fields(self.head.fields(), &self.edits.fields) {
            if let Ok(name) = std::str::from_utf8(field.name) {
                fields.push((name.to_ascii_lowercase(), field.value.to_vec()));
            }
        }
        fields
    }

    /// Removes what only internal clients may send.
    pub(crate) fn clean(&mut self, internal_only: &[HeaderName]) {
        if self.internal {
            return;
        }
        for name in internal_only {
            if let Ok(name) = FieldName::parse(name.as_str().as_bytes()) {
                self.edits.fields.remove(name);
            }
        }
    }

    /// Whether this is a gRPC request.
    pub(crate) fn is_grpc(&self) -> bool {
        self.get(Known::ContentType).is_some_and(iako_traffic::is_grpc_content_type)
    }

    /// Turns a gRPC-Web call into a gRPC call. Source: Envoy `envoy.filters.http.grpc_web`.
    pub(crate) fn begin_web_call(&mut self) {
        self.web = WebCall::begin(&self.head, &mut self.edits);
    }

    /// The content type of our own gRPC replies.
    pub(crate) fn grpc_content_type(&self) -> &'static str {
        self.web.map_or("application/grpc", WebCall::content_type)
    }

    /// What decisions look at.
    pub(crate) fn facts<'a>(
        &'a self,
        view: &'a RequestView<'a>,
        connection: &'a ConnectionInfo,
    ) -> RequestFacts<'a> {
        RequestFacts {
            head: self.head(view),
            connection,
            metadata: &self.metadata,
            client: self.client,
            internal: self.internal,
        }
    }

    /// The head as decisions look at it.
    pub(crate) fn head<'a>(&'a self, view: &'a RequestView<'a>) -> iako_traffic::RequestHead<'a> {
        iako_traffic::RequestHead {
            method: self.edits.method(&self.head).as_str(),
            scheme: self.scheme.as_str(),
            authority: self.authority(),
            path_and_query: self.path(),
            headers: view,
        }
    }

    /// The fields after the changes.
    pub(crate) fn view(&self) -> RequestView<'_> {
        RequestView { request: self }
    }
}

/// The fields of a request after the changes, for those who look names up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RequestView<'a> {
    request: &'a Request,
}

impl Headers for RequestView<'_> {
    fn value(&self, name: &str, nth: usize) -> Option<&[u8]> {
        let Request { head, edits, .. } = self.request;
        edits.fields.nth(head.fields(), NameRef::from(name), nth)
    }

    fn each(&self, visit: &mut dyn FnMut(&str, &[u8])) {
        let Request { head, edits, .. } = self.request;
        for field in iako_http::edited_fields(head.fields(), &edits.fields) {
            if let Ok(name) = std::str::from_utf8(field.name) {
                visit(name, field.value);
            }
        }
    }
}

impl HeaderLookup for RequestView<'_> {
    fn first_value(&self, name: &str) -> Option<&[u8]> {
        let request = self.request;
        let text = match name {
            ":method" => request.edits.method(&request.head).as_str(),
            ":path" => request.path(),
            ":authority" | "host" => request.authority(),
            ":scheme" => request.scheme.as_str(),
            _ => return self.value(name, 0),
        };
        (!text.is_empty()).then_some(text.as_bytes())
    }

    fn nth_value(&self, name: &str, nth: usize) -> Option<&[u8]> {
        if nth == 0 { self.first_value(name) } else { self.value(name, nth) }
    }

    fn each_value(&self, visit: &mut dyn FnMut(&str, &[u8])) {
        self.each(visit);
    }
}

/// The fields of a response after the changes, for those who look names up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ResponseView<'a> {
    pub(crate) head: &'a ResponseHead,
    pub(crate) edits: &'a ResponseEdits,
}

impl Headers for ResponseView<'_> {
    fn value(&self, name: &str, nth: usize) -> Option<&[u8]> {
        self.edits.fields.nth(self.head.fields(), NameRef::from(name), nth)
    }

    fn each(&self, visit: &mut dyn FnMut(&str, &[u8])) {
        for field in iako_http::edited_fields(self.head.fields(), &self.edits.fields) {
            if let Ok(name) = std::str::from_utf8(field.name) {
                visit(name, field.value);
            }
        }
    }
}

impl HeaderLookup for ResponseView<'_> {
    fn first_value(&self, name: &str) -> Option<&[u8]> {
        if name == ":status" {
            return status_text(self.edits.status(self.head));
        }
        self.value(name, 0)
    }

    fn nth_value(&self, name: &str, nth: usize) -> Option<&[u8]> {
        if nth == 0 { self.first_value(name) } else { self.value(name, nth) }
    }

    fn each_value(&self, visit: &mut dyn FnMut(&str, &[u8])) {
        self.each(visit);
    }
}

/// The digits of a status.
fn status_text(status: u16) -> Option<&'static [u8]> {
    static TEXTS: LazyLock<Vec<String>> =
        LazyLock::new(|| (0..1_000_u16).map(|status| status.to_string()).collect());
    TEXTS.get(usize::from(status)).map(String::as_bytes)
}

/// Trailers, for those who look names up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TrailersView<'a>(pub(crate) &'a iako_http::Fields);

impl HeaderLookup for TrailersView<'_> {
    fn first_value(&self, name: &str) -> Option<&[u8]> {
        self.0.get(name)
    }

    fn nth_value(&self, name: &str, nth: usize) -> Option<&[u8]> {
        { self.0.iter() }
            .filter(|field| field.name == name.as_bytes())
            .nth(nth)
            .map(|field| field.value)
    }

    fn each_value(&self, visit: &mut dyn FnMut(&str, &[u8])) {
        for field in self.0.iter() {
            if let Ok(name) = std::str::from_utf8(field.name) {
                visit(name, field.value);
            }
        }
    }
}
