//! A token, read but not yet believed.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jsonwebtoken::Algorithm;
use serde_json::{Map, Value};

use super::{base64url, reject::JwtRejection};

/// The parts of a JSON Web Token. Source: RFC 7515, RFC 7519.
#[derive(Debug)]
pub(super) struct Token<'t> {
    /// All of it as it was sent.
    pub(super) text: &'t str,
    /// What the signature covers: header and payload as they were sent.
    pub(super) signed: &'t str,
    /// The payload as it was sent, base64url.
    pub(super) payload_text: &'t str,
    /// The signature as it was sent, base64url.
    pub(super) signature: &'t str,
    pub(super) algorithm: Algorithm,
    /// The algorithm's name in the header.
    pub(super) algorithm_name: String,
    /// The key's name; empty when the header has none.
    pub(super) key_id: String,
    pub(super) payload: Map<String, Value>,
}

impl<'t> Token<'t> {
    /// Reads a token. Errors come in the order in which Envoy's reader finds them.
    pub(super) fn parse(text: &'t str) -> Result<Self, JwtRejection> {
        let mut parts = text.split('.');
        let (Some(header), Some(payload_text), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(JwtRejection::BadFormat);
        };
        let signed_length = text.len().saturating_sub(signature.len()).saturating_sub(1);
        let signed = text.get(..signed_length).ok_or(JwtRejection::BadFormat)?;
        let bytes = base64url::decode(header).ok_or(JwtRejection::HeaderBase64)?;
        let header: Map<String, Value> =
            serde_json::from_slice(&bytes).map_err(|_not_json| JwtRejection::HeaderJson)?;
        let algorithm_name = header.get("alg").and_then(Value::as_str);
        let algorithm_name = algorithm_name.ok_or(JwtRejection::HeaderAlgorithm)?.to_owned();
        let algorithm =
            algorithm_name.parse().map_err(|_unknown| JwtRejection::AlgorithmUnsupported)?;
        let key_id = match header.get("kid") {
            None => String::new(),
            Some(Value::String(key_id)) => key_id.clone(),
            Some(_) => return Err(JwtRejection::HeaderKeyId),
        };
        let bytes = base64url::decode(payload_text).ok_or(JwtRejection::PayloadBase64)?;
        let payload: Map<String, Value> =
            serde_json::from_slice(&bytes).map_err(|_not_json| JwtRejection::PayloadJson)?;
        let token = Self {
            text,
            signed,
            payload_text,
            signature,
            algorithm,
            algorithm_name,
            key_id,
            payload,
        };
        token.check_types()?;
        if base64url::decode(signature).is_none() {
            return Err(JwtRejection::SignatureBase64);
        }
        Ok(token)
    }

    /// The claim `iss`; empty when it is missing.
    pub(super) fn issuer(&self) -> &str {
        self.payload.get("iss").and_then(Value::as_str).unwrap_or_default()
    }

    /// Whether the token is valid at a time, clocks being off by at most `skew`.
    pub(super) fn check_time(&self, now: SystemTime, skew: Duration) -> Result<(), JwtRejection> {
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let seconds = |claim| self.payload.get(claim).and_then(seconds);
        if seconds("nbf").is_some_and(|from| now.saturating_add(skew.as_secs()) < from) {
            return Err(JwtRejection::NotYetValid);
        }
        let expired = |end: u64| end > 0 && now > end.saturating_add(skew.as_secs());
        if seconds("exp").is_some_and(expired) {
            return Err(JwtRejection::Expired);
        }
        Ok(())
    }

    /// Whether the claim `aud` holds one of `allowed`; anything does when there are none. Scheme
    /// and final slash do not count, as in Envoy.
    pub(super) fn check_audience(&self, allowed: &[String]) -> Result<(), JwtRejection> {
        let wanted = |audience: &str| allowed.iter().any(|own| bare(own) == bare(audience));
        let held = match self.payload.get("aud") {
            Some(Value::String(audience)) => wanted(audience),
            Some(Value::Array(list)) => list.iter().filter_map(Value::as_str).any(wanted),
            Some(_) | None => false,
        };
        if allowed.is_empty() || held { Ok(()) } else { Err(JwtRejection::Audience) }
    }

    fn check_types(&self) -> Result<(), JwtRejection> {
        let text = |claim| self.payload.get(claim).is_none_or(Value::is_string);
        let number = |claim| self.payload.get(claim).is_none_or(|value| seconds(value).is_some());
        let audience = |value: &Value| match value {
            Value::String(_) => true,
            Value::Array(list) => list.iter().all(Value::is_string),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => false,
        };
        if let Some(claim) = ["iss", "sub", "jti"].into_iter().find(|claim| !text(*claim)) {
            return Err(JwtRejection::ClaimNotText(claim));
        }
        if let Some(claim) = ["iat", "nbf", "exp"].into_iter().find(|claim| !number(*claim)) {
            return Err(JwtRejection::ClaimNotNumber(claim));
        }
        if self.payload.get("aud").is_none_or(audience) {
            Ok(())
        } else {
            Err(JwtRejection::AudienceNotText)
        }
    }
}

/// Seconds since 1970; a fraction is cut off.
fn seconds(value: &Value) -> Option<u64> {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the cast saturates, and negative numbers were filtered out"
    )]
    let whole = |number: f64| number as u64;
    value.as_u64().or_else(|| value.as_f64().filter(|number| *number >= 0.0).map(whole))
}

fn bare(audience: &str) -> &str {
    let rest = audience.strip_prefix("https://").or_else(|| audience.strip_prefix("http://"));
    let rest = rest.unwrap_or(audience);
    rest.strip_suffix('/').unwrap_or(rest)
}
