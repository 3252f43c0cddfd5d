//! Who asks: sources and the conditions about the client and the request.

use iako_proxy_config::{MetadataMatch, MetadataValueMatch, Principal, StringMatch};
use iako_resources::{
    MeshConfig,
    istio::authorization_policy::{Condition, Source, ValueMatch, Values},
};
use iako_types::{Namespace, ServiceAccount};

use super::Layer;
use crate::text::{Case, header_text, pattern, value_match, wildcard};

/// The filter whose facts hold the claims of a verified token.
const JWT_FILTER: &str = "envoy.filters.http.jwt_authn";
/// The key under which it keeps them.
pub(crate) const JWT_PAYLOAD: &str = "payload";

/// Whether a source asks about a request, not only about a connection.
pub(super) const fn source_needs_http(source: &Source) -> bool {
    !source.request_principals.is_empty()
}

/// What is needed to read sources.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms<'a> {
    pub(super) layer: Layer,
    pub(super) mesh: &'a MeshConfig,
}

impl Terms<'_> {
    /// A source together with every condition about the client and the request.
    pub(super) fn of_source(self, source: &Source, conditions: &[Condition]) -> Principal {
        let mut all = Vec::new();
        push(&mut all, &source.principals, |value| self.identity(value));
        if self.layer == Layer::Http {
            push(&mut all, &source.request_principals, request_principal);
        }
        push(&mut all, &source.namespaces, namespace);
        push(&mut all, &source.service_accounts, service_account);
        push(&mut all, &source.trust_domains, trust_domain);
        push(&mut all, &source.ip_blocks, |range| Principal::DirectRemoteIp(*range));
        push(&mut all, &source.remote_ip_blocks, |range| Principal::RemoteIp(*range));
        for condition in conditions {
            if self.layer == Layer::Http || !condition.needs_http() {
                self.push_condition(&mut all, condition);
            }
        }
        match all.len() {
            0 => Principal::Any,
            1 => all.pop().unwrap_or(Principal::Any),
            _ => Principal::And(all),
        }
    }

    fn push_condition(self, all: &mut Vec<Principal>, condition: &Condition) {
        match condition {
            Condition::Header(name, values) => push(all, values, |value| header(name, value)),
            Condition::SourceIp(values) => {
                push(all, values, |range| Principal::DirectRemoteIp(*range));
            }
            Condition::RemoteIp(values) => push(all, values, |range| Principal::RemoteIp(*range)),
            Condition::SourceNamespace(values) => push(all, values, namespace),
            Condition::SourcePrincipal(values) => push(all, values, |value| self.identity(value)),
            Condition::SourceServiceAccount(values) => push(all, values, service_account),
            Condition::SourceTrustDomain(values) => push(all, values, trust_domain),
            Condition::RequestPrincipal(values) => push(all, values, request_principal),
            Condition::RequestAudiences(values) => {
                push(all, values, |value| claim(&["aud"], value));
            }
            Condition::RequestPresenter(values) => {
                push(all, values, |value| claim(&["azp"], value));
            }
            Condition::RequestClaim(path, values) => push(all, values, |value| claim(path, value)),
            Condition::DestinationIp(_)
            | Condition::DestinationPort(_)
            | Condition::ServerName(_)
            | Condition::FilterMetadata { .. } => {}
        }
    }

    /// A SPIFFE identity written without its scheme. A name in the mesh's own trust domain, or in
    /// one of its aliases, stands for the same name in all of them.
    fn identity(self, value: &ValueMatch) -> Principal {
        match value {
            ValueMatch::Present => authenticated_regex(".+"),
            ValueMatch::Suffix(text) => {
                authenticated_regex(&format!("spiffe://.*{}", regex::escape(text)))
            }
            ValueMatch::Exact(text) => any_of(self.in_all_domains(text).map(|name| {
                Principal::Authenticated(Some(StringMatch::exact(format!("spiffe://{name}"))))
            })),
            ValueMatch::Prefix(text) => any_of(self.in_all_domains(text).map(|name| {
                Principal::Authenticated(Some(StringMatch::prefix(format!("spiffe://{name}"))))
            })),
        }
    }

    fn in_all_domains(self, name: &str) -> impl Iterator<Item = String> {
        let own = self.mesh.trust_domain.as_str();
        let aliases = self.mesh.trust_domain_aliases.iter().map(iako_types::TrustDomain::as_str);
        let domains: Vec<&str> = std::iter::once(own).chain(aliases).collect();
        let names = match name.split_once('/') {
            Some((domain, rest)) if domains.contains(&domain) || domain == "cluster.local" => {
                domains.iter().map(|domain| format!("{domain}/{rest}")).collect()
            }
            _ => vec![name.to_owned()],
        };
        names.into_iter()
    }
}

fn any_of(principals: impl Iterator<Item = Principal>) -> Principal {
    let mut all: Vec<Principal> = principals.collect();
    match all.len() {
        1 => all.pop().unwrap_or(Principal::Any),
        _ => Principal::Or(all),
    }
}

fn authenticated_regex(expression: &str) -> Principal {
    Principal::Authenticated(Some(StringMatch::Regex(pattern(expression))))
}

fn nobody() -> Principal {
    Principal::Not(Box::new(Principal::Any))
}

fn namespace(value: &ValueMatch) -> Principal {
    let middle = match value {
        ValueMatch::Present => ".*".to_owned(),
        // A star in the middle counts in namespaces, and only there.
        ValueMatch::Exact(text) => wildcard(text),
        ValueMatch::Prefix(text) => format!("{}.*", wildcard(text)),
        ValueMatch::Suffix(text) => format!(".*{}", wildcard(text)),
    };
    authenticated_regex(&format!(".*/ns/{middle}/.*"))
}

fn service_account((namespace, account): &(Namespace, ServiceAccount)) -> Principal {
    let (namespace, account) = (regex::escape(namespace.as_str()), regex::escape(account.as_str()));
    authenticated_regex(&format!("spiffe://.+/ns/{namespace}/(.+/|)sa/{account}(/.+)?"))
}

fn trust_domain(value: &ValueMatch) -> Principal {
    match value {
        ValueMatch::Exact(text) => {
            Principal::Authenticated(Some(StringMatch::prefix(format!("spiffe://{text}/"))))
        }
        ValueMatch::Present => authenticated_regex("spiffe://[^/]+/.*"),
        ValueMatch::Prefix(text) => {
            authenticated_regex(&format!("spiffe://{}[^/]*/.*", regex::escape(text)))
        }
        ValueMatch::Suffix(text) => {
            authenticated_regex(&format!("spiffe://[^/]*{}/.*", regex::escape(text)))
        }
    }
}

fn header(name: &str, value: &ValueMatch) -> Principal {
    header_text(name, value_match(value, Case::Counts)).map_or_else(nobody, Principal::Header)
}

/// Issuer and subject of a token, written `<iss>/<sub>` and split at the last slash.
fn request_principal(value: &ValueMatch) -> Principal {
    let present = StringMatch::Regex(pattern(".+"));
    let both = |issuer: StringMatch, subject: StringMatch| {
        Principal::And(vec![text_claim("iss", issuer), text_claim("sub", subject)])
    };
    match value {
        ValueMatch::Present => both(present.clone(), present),
        ValueMatch::Exact(text) => match text.rsplit_once('/') {
            Some((issuer, subject)) => {
                both(StringMatch::exact(issuer), StringMatch::exact(subject))
            }
            None => nobody(),
        },
        ValueMatch::Prefix(text) => match text.rsplit_once('/') {
            Some((issuer, "")) => both(StringMatch::exact(issuer), present),
            Some((issuer, subject)) => {
                both(StringMatch::exact(issuer), StringMatch::prefix(subject))
            }
            None => both(StringMatch::prefix(text.clone()), present),
        },
        ValueMatch::Suffix(text) => match text.rsplit_once('/') {
            Some(("", subject)) => both(present, StringMatch::exact(subject)),
            Some((issuer, subject)) => {
                both(StringMatch::suffix(issuer), StringMatch::exact(subject))
            }
            None => both(present, StringMatch::suffix(text.clone())),
        },
    }
}

fn text_claim(name: &str, check: StringMatch) -> Principal {
    metadata(&[name], MetadataValueMatch::Text(check))
}

/// A claim that is a text, or a list one of whose elements matches.
fn claim<S: AsRef<str>>(path: &[S], value: &ValueMatch) -> Principal {
    metadata(path, claim_value(value_match(value, Case::Counts)))
}

pub(crate) fn claim_value(check: StringMatch) -> MetadataValueMatch {
    MetadataValueMatch::Or(vec![
        MetadataValueMatch::Text(check.clone()),
        MetadataValueMatch::ListContains(Box::new(MetadataValueMatch::Text(check))),
    ])
}

fn metadata<S: AsRef<str>>(path: &[S], value: MetadataValueMatch) -> Principal {
    Principal::Metadata(claim_match(path, value))
}

/// A condition on a claim of the verified token.
pub(crate) fn claim_match<S: AsRef<str>>(path: &[S], value: MetadataValueMatch) -> MetadataMatch {
    let path = std::iter::once(JWT_PAYLOAD)
        .chain(path.iter().map(AsRef::as_ref))
        .map(str::to_owned)
        .collect();
    MetadataMatch { filter: JWT_FILTER.to_owned(), path, value, invert: false }
}

fn push<T>(all: &mut Vec<Principal>, values: &Values<T>, of: impl Fn(&T) -> Principal) {
    if !values.any_of.is_empty() {
        all.push(any_of(values.any_of.iter().map(&of)));
    }
    if !values.none_of.is_empty() {
        all.push(Principal::Not(Box::new(any_of(values.none_of.iter().map(&of)))));
    }
}
