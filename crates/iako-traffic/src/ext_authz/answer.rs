//! What an answer means.

use iako_proxy_config::{
    AppendAction, AuthzHttp, CheckAnswer, CheckDetails, CheckPass, CheckRefusal, ExtAuthz,
    ServiceHeader, StringMatch,
};
use serde_json::{Map, Value};

use crate::{
    Headers,
    mutation_rules::{MutationKind, MutationVerdict, may_mutate},
};

/// What the service decided.
#[derive(Debug, Clone, PartialEq)]
pub enum AuthzVerdict {
    /// The request goes on, changed.
    Pass(Box<AuthzChanges>),
    /// It is answered.
    Refuse(Box<AuthzRefusal>),
}

/// Changes of a request that passes. Names are in lower case.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuthzChanges {
    /// Headers that replace those of the same name.
    pub set: Vec<(String, Vec<u8>)>,
    /// Headers that are added beside those of the same name.
    pub add: Vec<(String, Vec<u8>)>,
    /// Values that go behind a comma after the one that is there.
    pub append: Vec<(String, Vec<u8>)>,
    /// Headers that go.
    pub remove: Vec<String>,
    /// Path and query, where the query changes.
    pub path: Option<String>,
    /// Headers of the response.
    pub response: Vec<(String, Vec<u8>, AppendAction)>,
}

impl AuthzChanges {
    /// Whether anything of the request changes.
    #[must_use]
    pub const fn is_any(&self) -> bool {
        let Self { set, add, append, remove, path, response: _ } = self;
        !(set.is_empty() && add.is_empty() && append.is_empty() && remove.is_empty())
            || path.is_some()
    }
}

/// What is answered in place of the request's server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthzRefusal {
    /// Why.
    pub kind: AuthzRefusalKind,
    /// The status.
    pub status: u16,
    /// Fields.
    pub headers: Vec<(String, Vec<u8>)>,
    /// Content.
    pub body: Vec<u8>,
}

/// Why a request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthzRefusalKind {
    /// The service says so.
    Denied,
    /// The service failed.
    Error,
    /// The service passes it with changes that cannot be made.
    Invalid,
    /// The service refuses it in words that cannot be sent.
    InvalidDenied,
}

impl AuthzRefusal {
    fn of(kind: AuthzRefusalKind, status: u16) -> Box<Self> {
        Box::new(Self { kind, status, headers: Vec::new(), body: Vec::new() })
    }

    /// What is answered when the service does not say anything.
    #[must_use]
    pub fn of_failure(settings: &ExtAuthz) -> Box<Self> {
        Self::of(AuthzRefusalKind::Error, settings.status_on_error)
    }
}

/// The status of a request that cannot be changed as the service says.
const INVALID: u16 = 500;
const DENIED: u16 = 403;

/// What an answer of a gRPC service means for a request to `path`.
#[must_use]
pub fn authz_verdict(settings: &ExtAuthz, answer: CheckAnswer, path: &str) -> AuthzVerdict {
    let invalid = || AuthzVerdict::Refuse(AuthzRefusal::of(AuthzRefusalKind::Invalid, INVALID));
    match (answer.status, answer.details) {
        (0, CheckDetails::Ok(pass)) => changes(settings, &pass, path)
            .map_or_else(invalid, |changes| AuthzVerdict::Pass(Box::new(changes))),
        (0, CheckDetails::None | CheckDetails::Denied(_) | CheckDetails::Error(_)) => {
            AuthzVerdict::Pass(Box::default())
        }
        (_, CheckDetails::Error(error)) => {
            let status = usual(error.status, settings.status_on_error);
            refusal(settings, AuthzRefusalKind::Error, status, &error)
        }
        (_, CheckDetails::Denied(denied)) => {
            refusal(settings, AuthzRefusalKind::Denied, usual(denied.status, DENIED), &denied)
        }
        (_, CheckDetails::None | CheckDetails::Ok(_)) => {
            AuthzVerdict::Refuse(AuthzRefusal::of(AuthzRefusalKind::Denied, DENIED))
        }
    }
}

/// The status that was named, if it can be sent.
fn usual(named: u32, otherwise: u16) -> u16 {
    u16::try_from(named).ok().filter(|status| (200..600).contains(status)).unwrap_or(otherwise)
}

fn refusal(
    settings: &ExtAuthz,
    kind: AuthzRefusalKind,
    status: u16,
    words: &CheckRefusal,
) -> AuthzVerdict {
    if settings.validate_mutations && !words.headers.iter().all(is_sendable) {
        return AuthzVerdict::Refuse(AuthzRefusal::of(AuthzRefusalKind::InvalidDenied, INVALID));
    }
    let headers = words.headers.iter().filter(|header| is_sendable(header));
    AuthzVerdict::Refuse(Box::new(AuthzRefusal {
        kind,
        status,
        headers: headers.map(|one| (one.name.to_ascii_lowercase(), one.value.clone())).collect(),
        body: limited(settings, words.body.as_bytes()),
    }))
}

fn limited(settings: &ExtAuthz, body: &[u8]) -> Vec<u8> {
    let limit = settings.refusal_bytes_max.and_then(|limit| usize::try_from(limit).ok());
    limit.and_then(|limit| body.get(..limit)).unwrap_or(body).to_vec()
}

/// Whether a header can be sent at all. Source: RFC 9110 §5.1, §5.5.
fn is_sendable(header: &ServiceHeader) -> bool {
    is_name(&header.name) && is_value(&header.value)
}

fn is_name(name: &str) -> bool {
    name.parse::<iako_proxy_config::HeaderName>().is_ok()
}

fn is_value(value: &[u8]) -> bool {
    value.iter().all(|byte| *byte == b'\t' || (*byte >= b' ' && *byte != 0x7f))
}

/// The changes of a request; none when one of them cannot be made and has to be.
fn changes(settings: &ExtAuthz, pass: &CheckPass, path: &str) -> Option<AuthzChanges> {
    let mut changes = AuthzChanges::default();
    let rules = settings.rules.as_deref();
    for header in &pass.headers {
        let name = header.name.to_ascii_lowercase();
        if !is_sendable(header) {
            if settings.validate_mutations {
                return None;
            }
            continue;
        }
        match may_mutate(rules, MutationKind::Set, &name) {
            MutationVerdict::Fails => return None,
            MutationVerdict::Left => {}
            MutationVerdict::Made => {
                // The old field says whether a value is appended; Envoy looks at no other here.
                let appends = header.named && header.action == AppendAction::AppendOrAdd;
                let list = if appends { &mut changes.append } else { &mut changes.set };
                list.push((name, header.value.clone()));
            }
        }
    }
    for name in &pass.remove {
        let name = name.to_ascii_lowercase();
        if !is_name(&name) {
            if settings.validate_mutations {
                return None;
            }
            continue;
        }
        match may_mutate(rules, MutationKind::Remove, &name) {
            MutationVerdict::Fails => return None,
            MutationVerdict::Left => {}
            MutationVerdict::Made => changes.remove.push(name),
        }
    }
    for header in &pass.response_headers {
        if is_sendable(header) {
            let name = header.name.to_ascii_lowercase();
            changes.response.push((name, header.value.clone(), header.action));
        } else if settings.validate_mutations {
            return None;
        }
    }
    if !pass.query_set.is_empty() || !pass.query_remove.is_empty() {
        changes.path = Some(with_query(path, &pass.query_set, &pass.query_remove));
    }
    Some(changes)
}

/// A path with other parameters. As Envoy, they come out ordered by name; unlike there, what cannot
/// stand in a target is escaped.
fn with_query(path_and_query: &str, set: &[(String, String)], remove: &[String]) -> String {
    let (path, query) = path_and_query.split_once('?').unwrap_or((path_and_query, ""));
    let mut parameters: Vec<(String, String)> = query
        .split('&')
        .filter(|parameter| !parameter.is_empty())
        .map(|parameter| {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            (name.to_owned(), value.to_owned())
        })
        .collect();
    for (name, value) in set {
        parameters.retain(|(own, _)| own != name);
        parameters.push((escaped(name), escaped(value)));
    }
    parameters.retain(|(own, _)| !remove.contains(own));
    parameters.sort_by(|(left, _), (right, _)| left.cmp(right));
    let parameters: Vec<String> =
        parameters.iter().map(|(name, value)| format!("{name}={value}")).collect();
    if parameters.is_empty() { path.to_owned() } else { format!("{path}?{}", parameters.join("&")) }
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_graphic() && !matches!(byte, b'&' | b'#') {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// What a service answered by HTTP.
#[derive(Clone, Copy)]
pub struct HttpAnswer<'a> {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: &'a dyn Headers,
    /// The content.
    pub body: &'a [u8],
}

impl std::fmt::Debug for HttpAnswer<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "HttpAnswer({})", self.status)
    }
}

/// Headers of a refusal that reach the client where some are named.
const CLIENT_ALWAYS: [&str; 3] = ["location", "www-authenticate", "proxy-authenticate"];
/// Fields that are about the connection to the service, or written by whoever answers.
const NEVER: [&str; 8] = [
    "connection",
    "content-length",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// What an answer by HTTP means: 200 lets the request pass, a status of 500 or more is a failure. The
/// second is what is kept for other filters.
#[must_use]
pub fn http_authz_verdict(
    settings: &ExtAuthz,
    service: &AuthzHttp,
    answer: &HttpAnswer<'_>,
) -> (AuthzVerdict, Map<String, Value>) {
    let meets = |patterns: &[StringMatch], name: &str| patterns.iter().any(|it| it.matches(name));
    let mut kept = Map::new();
    answer.headers.each(&mut |name, value| {
        if meets(&service.metadata, name) {
            let text = String::from_utf8_lossy(value).into_owned();
            kept.insert(name.to_owned(), Value::String(text));
        }
    });
    if answer.status >= 500 {
        return (AuthzVerdict::Refuse(AuthzRefusal::of_failure(settings)), kept);
    }
    if answer.status == 200 {
        let mut changes = AuthzChanges::default();
        let mut is_left = false;
        answer.headers.each(&mut |name, value| {
            let field = || (name.to_owned(), value.to_vec());
            let verdict = may_mutate(settings.rules.as_deref(), MutationKind::Set, name);
            let mut change = |list: &mut Vec<(String, Vec<u8>)>| match verdict {
                MutationVerdict::Made => list.push(field()),
                MutationVerdict::Left => {}
                MutationVerdict::Fails => is_left = true,
            };
            if meets(&service.upstream, name) {
                change(&mut changes.set);
            }
            if meets(&service.upstream_append, name) {
                change(&mut changes.add);
            }
            if meets(&service.client_on_success, name) && !NEVER.contains(&name) {
                changes.response.push((name.to_owned(), value.to_vec(), AppendAction::AppendOrAdd));
            }
        });
        let verdict = if is_left {
            AuthzVerdict::Refuse(AuthzRefusal::of(AuthzRefusalKind::Invalid, INVALID))
        } else {
            AuthzVerdict::Pass(Box::new(changes))
        };
        return (verdict, kept);
    }
    let mut headers = Vec::new();
    answer.headers.each(&mut |name, value| {
        let is_wanted = service
            .client
            .as_ref()
            .is_none_or(|client| CLIENT_ALWAYS.contains(&name) || meets(client, name));
        if is_wanted && !NEVER.contains(&name) {
            headers.push((name.to_owned(), value.to_vec()));
        }
    });
    let body = limited(settings, answer.body);
    let kind = AuthzRefusalKind::Denied;
    let refusal = AuthzRefusal { kind, status: usual(answer.status.into(), DENIED), headers, body };
    (AuthzVerdict::Refuse(Box::new(refusal)), kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_set_removed_and_ordered() {
        let set = [("a".to_owned(), "new".to_owned()), ("n".to_owned(), "x y".to_owned())];
        let gone = ["gone".to_owned()];
        assert_eq!(with_query("/p?b=2&a=1&gone=3&a=4", &set, &gone), "/p?a=new&b=2&n=x%20y");
        assert_eq!(with_query("/p?gone", &[], &gone), "/p");
        assert_eq!(with_query("/p", &[], &gone), "/p");
    }

    #[test]
    fn what_cannot_be_sent_is_told_apart() {
        let header = |name: &str, value: &[u8]| ServiceHeader {
            name: name.to_owned(),
            value: value.to_vec(),
            action: AppendAction::default(),
            named: false,
            keep_empty: false,
        };
        assert!(is_sendable(&header("x-a", b"1")));
        for (name, value) in [("x a", &b"1"[..]), ("x-a", b"a\nb"), ("", b""), ("x-a", b"\0")] {
            assert!(!is_sendable(&header(name, value)), "{name:?}");
        }
    }
}
