//! What a service is asked.

use std::{borrow::Cow, collections::BTreeMap, time::SystemTime};

use iako_proxy_config::{
    AskedHeader, AuthzBody, AuthzHttp, CheckPeer, CheckQuestion, CheckedRequest, ExtAuthz,
    StringMatch,
};

use crate::{RequestFacts, client::percent_encoded};

/// Says whether the content that is told is only a part of it.
const PARTIAL: &str = "x-envoy-auth-partial-body";

/// What is known of a request besides its head when the service is asked.
#[derive(Debug, Clone, Default)]
pub struct AuthzMoment<'a> {
    /// When the request began.
    pub time: Option<SystemTime>,
    /// A number of its own.
    pub id: u64,
    /// `HTTP/1.1` and the like.
    pub protocol: &'a str,
    /// The content as far as it was read, and how it is told; none when it is not.
    pub content: Option<(&'a [u8], AuthzBody)>,
    /// Bytes of content that came so far.
    pub received: u64,
    /// Labels of this proxy.
    pub labels: Option<&'a BTreeMap<String, String>>,
}

impl<'a> AuthzMoment<'a> {
    /// The content that is told, and whether it is only a part.
    fn told(&self) -> Option<(&'a [u8], &'static str)> {
        let (content, body) = self.content?;
        let limit = usize::try_from(body.bytes_max).unwrap_or(usize::MAX);
        let told = content.get(..limit).unwrap_or(content);
        Some((told, if content.len() > limit { "true" } else { "false" }))
    }
}

/// What a gRPC service is asked about a request.
#[must_use]
pub fn authz_question<'a>(
    settings: &'a ExtAuthz,
    contexts: &'a [&'a BTreeMap<String, String>],
    facts: &RequestFacts<'a>,
    moment: &AuthzMoment<'a>,
    headers: &'a [(String, Vec<u8>)],
) -> CheckQuestion<'a> {
    let connection = facts.connection;
    let told = moment.told();
    let mut asked: Vec<AskedHeader<'a>> = Vec::with_capacity(headers.len().saturating_add(5));
    for (name, value) in headers {
        if name != PARTIAL && is_told(settings, name) {
            asked.push((name, value));
        }
    }
    if let Some((_, partial)) = told {
        asked.push((PARTIAL, partial.as_bytes()));
    }
    let peer = connection.peer();
    let principal = peer.map_or("", |peer| super::principal(&peer.uris, &peer.dns, &peer.subject));
    let tls = connection.tls.as_ref();
    let own = tls.and_then(|tls| tls.local_uris.first());
    let as_bytes = moment.content.is_some_and(|(_, body)| body.as_bytes);
    CheckQuestion {
        source: CheckPeer {
            address: Some(connection.remote),
            service: text_of(headers, "x-envoy-downstream-service-cluster"),
            principal,
            certificate: if settings.include_peer_certificate {
                peer.map_or_else(String::new, |peer| percent_encoded(&peer.pem))
            } else {
                String::new()
            },
            labels: BTreeMap::new(),
        },
        destination: CheckPeer {
            address: Some(connection.original_destination),
            principal: own.map_or("", String::as_str),
            labels: moment.labels.cloned().unwrap_or_default(),
            ..CheckPeer::default()
        },
        request: Some(CheckedRequest {
            id: moment.id.to_string(),
            method: facts.head.method,
            headers: asked,
            raw_headers: settings.raw_headers,
            path: facts.head.path_and_query,
            host: facts.head.authority,
            scheme: facts.head.scheme,
            size: i64::try_from(moment.received).unwrap_or(i64::MAX),
            protocol: moment.protocol,
            body: told.map_or(&[], |(body, _)| body),
            body_as_bytes: as_bytes,
        }),
        time: moment.time,
        context: contexts,
        metadata: facts
            .metadata
            .iter()
            .filter(|(name, _)| settings.metadata_namespaces.iter().any(|own| own == name))
            .collect(),
        server_name: (settings.include_tls_session && tls.is_some())
            .then_some(connection.server_name.as_str()),
    }
}

fn text_of<'a>(headers: &'a [(String, Vec<u8>)], wanted: &str) -> &'a str {
    let found = headers.iter().find(|(name, _)| name == wanted);
    found.and_then(|(_, value)| std::str::from_utf8(value).ok()).unwrap_or_default()
}

fn is_told(settings: &ExtAuthz, name: &str) -> bool {
    let meets = |patterns: &[StringMatch]| patterns.iter().any(|one| one.matches(name));
    settings.allowed_headers.as_deref().is_none_or(meets) && !meets(&settings.disallowed_headers)
}

/// What a service is asked by HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpQuestion<'a> {
    /// Path and query.
    pub path: Cow<'a, str>,
    /// Fields, in order.
    pub headers: Vec<(&'a str, Cow<'a, [u8]>)>,
    /// Content.
    pub body: &'a [u8],
}

/// What an HTTP service is asked about a request: the same method and host; `authorization` is always
/// told.
#[must_use]
pub fn http_authz_question<'a>(
    settings: &'a ExtAuthz,
    service: &'a AuthzHttp,
    path: &'a str,
    moment: &AuthzMoment<'a>,
    headers: &'a [(String, Vec<u8>)],
) -> HttpQuestion<'a> {
    let allowed = settings.allowed_headers.as_ref().unwrap_or(&service.allowed_headers);
    let meets = |patterns: &[StringMatch], name: &str| patterns.iter().any(|it| it.matches(name));
    let is_told = |name: &str| {
        let is_ours = name.starts_with(':') || matches!(name, "host" | "content-length" | PARTIAL);
        !is_ours
            && (name == "authorization" || meets(allowed, name))
            && !meets(&settings.disallowed_headers, name)
            && service.add.iter().all(|(own, _)| own.as_str() != name)
    };
    let mut asked: Vec<(&str, Cow<'_, [u8]>)> = Vec::new();
    for (name, value) in headers.iter().filter(|(name, _)| is_told(name)) {
        asked.push((name, Cow::Borrowed(value)));
    }
    let told = moment.told();
    if let Some((_, partial)) = told {
        asked.push((PARTIAL, Cow::Borrowed(partial.as_bytes())));
    }
    for (name, value) in &service.add {
        asked.push((name.as_str(), Cow::Borrowed(value.as_bytes())));
    }
    let path = if !service.path_override.is_empty() {
        Cow::Borrowed(service.path_override.as_str())
    } else if service.path_prefix.is_empty() {
        Cow::Borrowed(path)
    } else {
        Cow::Owned(format!("{}{path}", service.path_prefix))
    };
    HttpQuestion { path, headers: asked, body: told.map_or(&[], |(body, _)| body) }
}
