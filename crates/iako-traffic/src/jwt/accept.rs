//! What an accepted token changes about its request.

use iako_proxy_config::{ClaimToHeader, JwtAuthn, JwtProvider};
use serde_json::{Map, Number, Value};

use super::{
    JWT_METADATA,
    place::{self, Found, Place},
    reject::JwtRejection,
    token::Token,
};
use crate::{Metadata, RequestHead, base64};

/// The largest number that is written as a whole one.
const WHOLE_MAX: f64 = 9_223_372_036_854_775_807.0;

/// What is changed about a request that passes, in this order.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct JwtChanges {
    /// Headers that are removed.
    pub remove_headers: Vec<String>,
    /// Headers that are set.
    pub set_headers: Vec<(String, String)>,
    /// The target, when a token was taken out of its query.
    pub path_and_query: Option<String>,
    /// What other filters may know, by key; see [`Self::keep`].
    pub kept: Vec<(String, Value)>,
    /// How many tokens were accepted.
    pub accepted: usize,
    /// Whether nothing was asked because it is a cross-origin preflight.
    pub is_preflight: bool,
    /// Whether the route is chosen again.
    pub clear_route_cache: bool,
}

impl JwtChanges {
    /// Leaves payloads and reasons where other filters look for them.
    pub fn keep(&mut self, metadata: &mut Metadata) {
        for (key, value) in self.kept.drain(..) {
            metadata.set(JWT_METADATA, &key, value);
        }
    }

    /// Leaves why a token was not accepted, where the provider wants that.
    pub(super) fn reject(&mut self, provider: &JwtProvider, rejection: JwtRejection) {
        let key = &provider.failed_status_in_metadata;
        if !key.is_empty() {
            let why = serde_json::json!({
                "code": rejection.code(),
                "message": rejection.to_string(),
            });
            self.kept.push((key.clone(), why));
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
        token: &Token,
        head: &RequestHead<'_>,
    ) {
        self.accepted = self.accepted.saturating_add(1);
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
            let mut payload = token.payload_text().trim_end_matches('=').to_owned();
            while provider.pad_payload_header && !payload.len().is_multiple_of(4) {
                payload.push('=');
            }
            self.set_headers.push((header.as_str().to_owned(), payload));
        }
        for ClaimToHeader { header, claim } in &provider.claim_to_headers {
            if let Some(text) = find_claim(&token.payload, claim).and_then(claim_text) {
                self.set_headers.push((header.as_str().to_owned(), text));
            }
        }
        if !provider.header_in_metadata.is_empty() {
            let header = Value::Object(token.header.clone());
            self.kept.push((provider.header_in_metadata.clone(), header));
        }
        if !provider.payload_in_metadata.is_empty() {
            let payload = with_lists(&token.payload, &provider.space_delimited_claims);
            self.kept.push((provider.payload_in_metadata.clone(), payload));
        }
        self.clear_route_cache |= provider.clear_route_cache;
    }
}

/// A claim by its name and those of the claims that it stands in.
fn find_claim<'p>(payload: &'p Map<String, Value>, path: &[String]) -> Option<&'p Value> {
    let (first, rest) = path.split_first()?;
    rest.iter().try_fold(payload.get(first)?, |value, name| value.get(name))
}

/// A claim as the value of a header, none when it would be empty; lists and objects as base64 of
/// their JSON.
fn claim_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => (!text.is_empty()).then(|| text.clone()),
        Value::Bool(_) => Some(value.to_string()),
        Value::Number(number) => Some(number_text(number)),
        Value::Array(_) | Value::Object(_) => Some(base64::encode(value.to_string().as_bytes())),
        Value::Null => None,
    }
}

/// A number as Envoy writes it, which knows only floating ones: whole positive ones as they are, all
/// others with six digits after the point.
fn number_text(number: &Number) -> String {
    #[expect(clippy::cast_precision_loss, reason = "as Envoy, which reads every number so")]
    let whole = number.as_u64().filter(|whole| *whole as f64 <= WHOLE_MAX);
    let floating = number.as_f64().unwrap_or_default();
    match whole {
        Some(_) => format!("{floating:.0}"),
        None => format!("{floating:.6}"),
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
