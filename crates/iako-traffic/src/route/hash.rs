//! The hash of a request, for consistent balancing.

use iako_proxy_config::{HashPolicy, HashSource};
use smallvec::SmallVec;
use xxhash_rust::xxh64::xxh64;

use crate::{
    RequestFacts,
    matching::header_texts,
    text::{cookie_value, query_value},
};

/// The hash of a request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RequestHash {
    /// The hash; none when no policy gave one.
    pub hash: Option<u64>,
    /// Values of `set-cookie` for the response, for cookies that were made.
    pub set_cookies: SmallVec<[String; 1]>,
}

/// Hashes what the policies of a route or of a cluster name. Each further hash is mixed in as `rotl(hash, 1) ^ next`. Missing
/// cookies are made only with a `draw`.
#[must_use]
pub fn of_request(
    policies: &[HashPolicy],
    facts: &RequestFacts<'_>,
    draw: Option<u64>,
) -> RequestHash {
    let mut out = RequestHash::default();
    for policy in policies {
        if let Some(next) = of_source(&policy.source, facts, draw, &mut out.set_cookies) {
            out.hash = Some(out.hash.unwrap_or_default().rotate_left(1) ^ next);
        }
        if policy.terminal && out.hash.is_some() {
            break;
        }
    }
    out
}

fn of_source(
    source: &HashSource,
    facts: &RequestFacts<'_>,
    draw: Option<u64>,
    set_cookies: &mut SmallVec<[String; 1]>,
) -> Option<u64> {
    let head = &facts.head;
    match source {
        HashSource::Header { name, rewrite } => {
            let sent = (0..).map_while(|nth| head.value(name.as_str(), nth));
            match rewrite {
                None => of_values(sent.collect()),
                Some((pattern, substitution)) => of_values(
                    sent.map(|value| {
                        pattern.replace_all(&String::from_utf8_lossy(value), substitution)
                    })
                    .collect(),
                ),
            }
        }
        HashSource::Cookie { name, ttl, path, attributes } => {
            let sent = header_texts(head, "cookie").find_map(|header| {
                cookie_value(&header, name).map(|value| xxh64(value.as_bytes(), 0))
            });
            let ttl = match (sent, ttl) {
                (Some(hash), _) => return Some(hash),
                (None, ttl) => (*ttl)?,
            };
            let value = format!("{:016x}", draw?);
            let mut cookie = format!("{name}=\"{value}\"");
            if !ttl.is_zero() {
                cookie.push_str(&format!("; Max-Age={}", ttl.as_secs()));
            }
            if !path.is_empty() {
                cookie.push_str(&format!("; Path={path}"));
            }
            for attribute in attributes {
                cookie.push_str("; ");
                cookie.push_str(&attribute.name);
                if !attribute.value.is_empty() {
                    cookie.push('=');
                    cookie.push_str(&attribute.value);
                }
            }
            cookie.push_str("; HttpOnly");
            set_cookies.push(cookie);
            Some(xxh64(value.as_bytes(), 0))
        }
        HashSource::SourceIp => Some(of_ip(facts.client)),
        HashSource::QueryParameter(name) => {
            query_value(head.query(), name).map(|value| xxh64(value.as_bytes(), 0))
        }
        // No filter leaves an object that has a hash.
        HashSource::FilterState(_) => None,
    }
}

/// The hash of a text that an operator wrote, for datagrams.
#[must_use]
pub fn of_text(text: &str) -> u64 {
    xxh64(text.as_bytes(), 0)
}

/// The order of a header's lines must not matter.
fn of_values<V: AsRef<[u8]> + Ord>(mut values: SmallVec<[V; 4]>) -> Option<u64> {
    values.sort_unstable();
    let (first, rest) = values.split_first()?;
    Some(rest.iter().fold(xxh64(first.as_ref(), 0), |hash, value| xxh64(value.as_ref(), hash)))
}

/// The hash of a client's address, for TCP connections as for requests.
#[must_use]
pub fn of_ip(client: std::net::IpAddr) -> u64 {
    xxh64(client.to_string().as_bytes(), 0)
}
