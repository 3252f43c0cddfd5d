//! What an accepted token changes about its request.

use iako_proxy_config::{ClaimToHeader, JwtAuthn, JwtProvider};
use serde_json::{Map, Value};

use super::{
    JWT_METADATA, base64url,
    place::{self, Found, Place},
    token::Token,
};
use crate::{Metadata, RequestHead};

/// What is changed about a request that passes, in this order.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct JwtChanges {
    /// Headers that are removed.
    pub remove_headers: Vec<String>,
    /// Headers that are set.
    pub set_headers: Vec<(String, String)>,
    /// The target, when a token was taken out of its query.
    pub path_and_query: Option<String>,
    /// Payloads for other filters, by key; see [`Self::keep`].
    pub payloads: Vec<(String, Value)>,
    /// Whether the route is chosen again.
    pub clear_route_cache: bool,
}

impl JwtChanges {
    /// Leaves the payloads where other filters look for them.
    pub fn keep(&self, metadata: &mut Metadata) {
        for (key, payload) in &self.payloads {
            metadata.set(JWT_METADATA, key, payload.clone());
        }
    }

    /// Removes what a client sent in headers that only tokens may fill.
    pub(super) fn clear_client_headers(&mut self, settings: &JwtAuthn, head: &RequestHead<'_>) {
        for provider in settings.providers.values() {
            let claims = provider.claim_to_headers.iter().map(|claim| &claim.header);
            for name in provider.payload_header.iter().chain(claims) {
                if head.value(name.as_str(), 0).is_some() {
                    self.remove_headers.push(name.as_str().to_owned());
                }
            }
        }
    }

    pub(super) fn accept(
        &mut self,
        provider: &JwtProvider,
        found: &Found<'_>,
        token: &Token<'_>,
        head: &RequestHead<'_>,
    ) {
        if !provider.forward {
            match found.place {
                Place::Header(name) => self.remove_headers.push(name.to_owned()),
                Place::Parameter(name) => {
                    let target = self.path_and_query.as_deref().unwrap_or(head.path_and_query);
                    if let Some(target) = place::without_parameter(target, name) {
                        self.path_and_query = Some(target);
                    }
                }
                Place::Cookie => {}
            }
        }
        if let Some(header) = &provider.payload_header {
            self.set_headers.push((header.as_str().to_owned(), token.payload_text.to_owned()));
        }
        for ClaimToHeader { header, claim } in &provider.claim_to_headers {
            if let Some(text) = find_claim(&token.payload, claim).and_then(claim_text) {
                self.set_headers.push((header.as_str().to_owned(), text));
            }
        }
        if !provider.payload_in_metadata.is_empty() {
            let payload = with_lists(&token.payload, &provider.space_delimited_claims);
            self.payloads.push((provider.payload_in_metadata.clone(), payload));
        }
        self.clear_route_cache |= provider.clear_route_cache;
    }
}

/// A claim by its name, or by the names of nested ones with dots between.
fn find_claim<'p>(payload: &'p Map<String, Value>, claim: &str) -> Option<&'p Value> {
    payload.get(claim).or_else(|| {
        let mut names = claim.split('.');
        let first = payload.get(names.next()?)?;
        names.try_fold(first, |value, name| value.get(name))
    })
}

/// A claim as the value of a header; lists and objects as base64url of their JSON.
fn claim_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(_) | Value::Number(_) => Some(value.to_string()),
        Value::Array(_) | Value::Object(_) => Some(base64url::encode(value.to_string().as_bytes())),
        Value::Null => None,
    }
}

/// The payload with the named claims split at their spaces.
fn with_lists(payload: &Map<String, Value>, claims: &[String]) -> Value {
    let mut payload = payload.clone();
    for claim in claims {
        if let Some(value @ Value::String(_)) = payload.get_mut(claim) {
            let words = value.as_str().unwrap_or_default().split_ascii_whitespace();
            *value = words.map(Value::from).collect();
        }
    }
    Value::Object(payload)
}
