//! From `RequestAuthentication` objects to the checking of tokens.
//!
//! A token that is there must be good; a missing one passes, for it is the duty of an
//! AuthorizationPolicy to ask for it.

use std::collections::BTreeMap;

use iako_proxy_config::{
    ClaimToHeader, Cluster, Discovery, Endpoint, EndpointAddress, EndpointMetadata, EndpointSet,
    HealthStatus, Jwks, JwtAuthn, JwtHeader, JwtProvider, JwtRequirement, JwtRule,
    LocalityEndpoints, RouteMatch, Trust, UpstreamTls, UpstreamTransport,
};
use iako_registry::select;
use iako_resources::{
    Code, Diagnostic, Object, RequestAuthentication,
    istio::request_authentication::{JwtKeys, JwtRule as SourceRule},
};
use iako_types::Locality;

use crate::{Plan, ProxyRole, access_log::Side, names::outbound_cluster, outlook::Outlook};

/// Time between fetches of keys. Source: Istio's default for keys that proxies fetch.
const KEYS_CACHE: std::time::Duration = std::time::Duration::from_secs(300);
/// A set without keys: no token is good. Stands in where keys cannot be had, so that the door
/// stays shut.
const NO_KEYS: &str = r#"{"keys":[]}"#;
/// Claims that are lists with spaces between. Source: Istio.
const SPACE_DELIMITED: [&str; 2] = ["scope", "permission"];

/// Where keys are fetched from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct KeySource {
    host: String,
    port: u16,
    tls: bool,
}

impl KeySource {
    fn parse(uri: &str) -> Option<Self> {
        let (scheme, rest) = uri.split_once("://")?;
        let tls = match scheme {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        let authority = rest.split(['/', '?', '#']).next().filter(|text| !text.is_empty())?;
        let default = if tls { 443 } else { 80 };
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) => (host, port.parse().ok()?),
            None => (authority, default),
        };
        Some(Self { host: host.to_ascii_lowercase(), port, tls })
    }

    /// The cluster that reaches it: that of a service which this proxy knows, else one of its own.
    fn cluster(&self, outlook: &Outlook<'_>) -> (String, KeyCluster) {
        let service = self.host.parse().ok().and_then(|host| outlook.service(&host));
        match service.filter(|service| service.port(self.port).is_some()) {
            Some(service) => {
                let name = outbound_cluster(self.port, "", &service.host.to_string());
                (name, KeyCluster::OfService)
            }
            None => (outbound_cluster(self.port, "", &self.host), KeyCluster::Own),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum KeyCluster {
    OfService,
    Own,
}

fn rules<'a>(
    outlook: &'a Outlook<'a>,
) -> impl Iterator<Item = (&'a Object<RequestAuthentication>, &'a SourceRule)> {
    select::request_authentications(outlook.snapshot, outlook.scope.subject())
        .into_iter()
        .flat_map(|object| object.spec.rules.iter().map(move |rule| (object.as_ref(), rule)))
}

/// The checking of tokens for the local workload; none when no object asks for it.
pub(crate) fn authentication(outlook: &Outlook<'_>, side: Side) -> Option<JwtAuthn> {
    let mut providers = BTreeMap::new();
    let mut names = Vec::new();
    for (index, (_, rule)) in rules(outlook).enumerate() {
        let name = format!("origins-{index}");
        let mut provider = provider(outlook, rule);
        provider.clear_route_cache = side == Side::Gateway;
        providers.insert(name.clone(), provider);
        names.push(name);
    }
    if names.is_empty() {
        return None;
    }
    let rule = JwtRule { matcher: RouteMatch::any(), requirement: Some(requirement(&names)) };
    Some(JwtAuthn {
        providers,
        rules: vec![rule],
        bypass_cors_preflight: true,
        ..JwtAuthn::default()
    })
}

/// One token of any issuer, or none at all; a bad token is never as good as none.
fn requirement(names: &[String]) -> JwtRequirement {
    let of = |name: &String| JwtRequirement::Provider { name: name.clone(), audiences: Vec::new() };
    let or_missing =
        |name: &String| JwtRequirement::Any(vec![of(name), JwtRequirement::AllowMissing]);
    match names {
        [only] => or_missing(only),
        several => {
            let mut any: Vec<JwtRequirement> = several.iter().map(of).collect();
            any.push(JwtRequirement::All(several.iter().map(or_missing).collect()));
            JwtRequirement::Any(any)
        }
    }
}

fn provider(outlook: &Outlook<'_>, rule: &SourceRule) -> JwtProvider {
    let issuer = rule.issuer.clone().unwrap_or_default();
    let mut provider = JwtProvider::new(issuer, keys(outlook, rule));
    provider.audiences.clone_from(&rule.audiences);
    provider.forward = rule.forward_original_token;
    provider.from_headers = rule
        .from_headers
        .iter()
        .filter_map(|header| {
            Some(JwtHeader { name: header.name.parse().ok()?, prefix: header.prefix.clone() })
        })
        .collect();
    provider.from_params.clone_from(&rule.from_params);
    provider.from_cookies.clone_from(&rule.from_cookies);
    provider.payload_header =
        rule.output_payload_to_header.as_ref().and_then(|name| name.parse().ok());
    provider.claim_to_headers = rule
        .output_claim_to_headers
        .iter()
        .filter_map(|(header, claim)| {
            Some(ClaimToHeader {
                header: header.parse().ok()?,
                claim: claim.split('.').map(str::to_owned).collect(),
            })
        })
        .collect();
    "payload".clone_into(&mut provider.payload_in_metadata);
    let listed = SPACE_DELIMITED.iter().map(|&claim| claim.to_owned());
    provider.space_delimited_claims =
        listed.chain(rule.space_delimited_claims.iter().cloned()).collect();
    provider
}

fn keys(outlook: &Outlook<'_>, rule: &SourceRule) -> Jwks {
    match &rule.keys {
        JwtKeys::Inline(keys) => Jwks::Inline(keys.clone()),
        JwtKeys::Uri(uri) => match KeySource::parse(uri) {
            Some(source) => Jwks::Remote {
                uri: uri.clone(),
                cluster: source.cluster(outlook).0,
                timeout: rule.timeout,
                cache: KEYS_CACHE,
                retry: None,
            },
            None => Jwks::Inline(NO_KEYS.to_owned()),
        },
        JwtKeys::Discovery => Jwks::Inline(NO_KEYS.to_owned()),
    }
}

/// Adds clusters for keys that no service of the mesh holds, and says where keys cannot be had.
pub(crate) fn add_key_clusters(outlook: &Outlook<'_>, plan: &mut Plan) {
    let has_http = outlook.scope.role == ProxyRole::Gateway || !plan.listeners.is_empty();
    for (object, rule) in rules(outlook).filter(|_| has_http) {
        let problem = match &rule.keys {
            JwtKeys::Inline(_) => continue,
            JwtKeys::Uri(uri) => match KeySource::parse(uri) {
                Some(source) => {
                    let (name, kind) = source.cluster(outlook);
                    if kind == KeyCluster::Own && plan.cluster(&name).is_none() {
                        plan.clusters.push(key_cluster(outlook, &source, &name));
                    }
                    continue;
                }
                None => format!("the address {uri:?} of the keys is not http:// or https://"),
            },
            JwtKeys::Discovery => "finding keys by the issuer's discovery document is not carried \
                 yet; every token of this issuer is refused"
                .to_owned(),
        };
        let subject =
            format!("RequestAuthentication {}/{}", object.meta.namespace, object.meta.name);
        let diagnostic =
            Diagnostic::new(Code::FieldIgnored, subject, object.origin_at(rule.line), problem)
                .with_help(
                    "set jwksUri to the address of the keys, or jwks to the keys themselves",
                );
        plan.diagnostics.push(diagnostic);
    }
}

fn key_cluster(outlook: &Outlook<'_>, source: &KeySource, name: &str) -> Cluster {
    let address = match source.host.parse() {
        Ok(ip) => EndpointAddress::Socket(std::net::SocketAddr::new(ip, source.port)),
        Err(_not_an_address) => {
            EndpointAddress::Host { name: source.host.clone(), port: source.port }
        }
    };
    let endpoint = Endpoint {
        check: iako_proxy_config::EndpointCheck::default(),
        address,
        additional_addresses: Vec::new(),
        hostname: source.host.clone(),
        health: HealthStatus::Unknown,
        weight: std::num::NonZeroU32::MIN,
        metadata: EndpointMetadata::default(),
    };
    let place = LocalityEndpoints {
        locality: Locality::default(),
        endpoints: vec![endpoint],
        ..LocalityEndpoints::default()
    };
    let set = EndpointSet::new(name, vec![place]);
    let mut cluster = Cluster::new(name, Discovery::StrictDns(set));
    cluster.connect_timeout = outlook.mesh().connect_timeout;
    cluster.metadata.external = true;
    if source.tls {
        let mut tls = UpstreamTls { sni: Some(source.host.clone()), ..UpstreamTls::default() };
        tls.options.validation.trust = Trust::System;
        tls.auto_san_validation = true;
        cluster.transport = UpstreamTransport::Tls(Box::new(tls));
    }
    cluster
}
