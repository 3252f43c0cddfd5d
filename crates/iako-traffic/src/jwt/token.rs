//! A token, read but not yet believed.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use iako_proxy_config::StringMatch;
use jsonwebtoken::Algorithm;
use serde::{
    Deserialize, Deserializer,
    de::{Error as _, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Value};

use super::{base64url, reject::JwtRejection};

/// The first number of seconds that is no time.
const SECONDS_MAX: f64 = 18_446_744_073_709_551_615.0;

/// The parts of a JSON Web Token. Source: RFC 7515, RFC 7519.
#[derive(Debug)]
pub(super) struct Token {
    /// All of it as it was sent.
    text: Box<str>,
    /// Where its header ends in the text.
    header_end: usize,
    /// Where its payload ends in the text.
    payload_end: usize,
    pub(super) algorithm: Algorithm,
    /// The algorithm's name in the header.
    pub(super) algorithm_name: String,
    /// The key's name; empty when the header has none.
    pub(super) key_id: String,
    pub(super) header: Map<String, Value>,
    pub(super) payload: Map<String, Value>,
}

impl Token {
    /// Reads a token. Errors come in the order in which Envoy's reader finds them.
    pub(super) fn parse(text: &str) -> Result<Self, JwtRejection> {
        let mut parts = text.split('.');
        let (Some(header), Some(payload_text), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(JwtRejection::BadFormat);
        };
        if [header, payload_text, signature].contains(&"") {
            return Err(JwtRejection::BadFormat);
        }
        let header_end = header.len();
        let payload_end = text.len().saturating_sub(signature.len()).saturating_sub(1);
        let bytes = base64url::decode(header).ok_or(JwtRejection::HeaderBase64)?;
        let header: Map<String, Value> = unambiguous(&bytes).ok_or(JwtRejection::HeaderJson)?;
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
        let payload: Map<String, Value> = unambiguous(&bytes).ok_or(JwtRejection::PayloadJson)?;
        let token = Self {
            text: text.into(),
            header_end,
            payload_end,
            algorithm,
            algorithm_name,
            key_id,
            header,
            payload,
        };
        token.check_types()?;
        if base64url::decode(signature).is_none() {
            return Err(JwtRejection::SignatureBase64);
        }
        Ok(token)
    }

    /// All of it as it was sent.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// What the signature covers: header and payload as they were sent.
    pub(super) fn signed(&self) -> &str {
        self.text.get(..self.payload_end).unwrap_or_default()
    }

    /// The payload as it was sent, base64url.
    pub(super) fn payload_text(&self) -> &str {
        self.signed().get(self.header_end..).map_or("", |rest| rest.trim_start_matches('.'))
    }

    /// The signature, base64url without padding.
    pub(super) fn signature(&self) -> &str {
        let rest = self.text.get(self.payload_end..).unwrap_or_default();
        rest.trim_start_matches('.').trim_end_matches('=')
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

    /// Whether the claim `sub` is one of those that are wanted; an absent one is empty.
    pub(super) fn check_subject(&self, wanted: Option<&StringMatch>) -> Result<(), JwtRejection> {
        let subject = self.payload.get("sub").and_then(Value::as_str).unwrap_or_default();
        match wanted {
            Some(wanted) if !wanted.matches(subject) => Err(JwtRejection::Signature),
            Some(_) | None => Ok(()),
        }
    }

    /// Whether the token ends, and soon enough.
    pub(super) fn check_lifetime(
        &self,
        now: SystemTime,
        must_end: MustEnd,
        longest: Option<Duration>,
    ) -> Result<(), JwtRejection> {
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        let end = self.payload.get("exp").and_then(seconds).filter(|end| *end > 0);
        let is_good = match (end, longest) {
            (None, None) => must_end == MustEnd::No,
            (None, Some(_)) => false,
            (Some(_), None) => true,
            (Some(end), Some(longest)) => Duration::from_secs(end).saturating_sub(now) <= longest,
        };
        if is_good { Ok(()) } else { Err(JwtRejection::Signature) }
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
        let times = ["iat", "nbf", "exp"].map(|claim| (claim, self.payload.get(claim)));
        let audience = |value: &Value| match value {
            Value::String(_) => true,
            Value::Array(list) => list.iter().all(Value::is_string),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => false,
        };
        if let Some(claim) = ["iss", "sub", "jti"].into_iter().find(|claim| !text(*claim)) {
            return Err(JwtRejection::ClaimNotText(claim));
        }
        for (claim, value) in times.into_iter().filter_map(|(claim, value)| Some((claim, value?))) {
            if !value.is_number() {
                return Err(JwtRejection::ClaimNotNumber(claim));
            }
            if seconds(value).is_none() {
                return Err(JwtRejection::ClaimOutOfRange(claim));
            }
        }
        if self.payload.get("aud").is_none_or(audience) {
            Ok(())
        } else {
            Err(JwtRejection::AudienceNotText)
        }
    }
}

/// Whether a token has to have an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MustEnd {
    Yes,
    No,
}

/// A JSON object of which every name stands once, on every level: what is said twice can be read
/// differently by whoever reads the token next.
fn unambiguous(bytes: &[u8]) -> Option<Map<String, Value>> {
    match serde_json::from_slice(bytes).ok()? {
        Unambiguous(Value::Object(fields)) => Some(fields),
        Unambiguous(_) => None,
    }
}

/// JSON that names nothing twice.
struct Unambiguous(Value);

impl<'de> Deserialize<'de> for Unambiguous {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        source.deserialize_any(UnambiguousVisitor).map(Self)
    }
}

struct UnambiguousVisitor;

impl<'de> Visitor<'de> for UnambiguousVisitor {
    type Value = Value;

    fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("JSON in which no name stands twice")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(Unambiguous(item)) = items.next_element()? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut fields = Map::new();
        while let Some((name, Unambiguous(value))) = entries.next_entry::<String, _>()? {
            if fields.insert(name, value).is_some() {
                return Err(A::Error::custom("a name stands twice"));
            }
        }
        Ok(Value::Object(fields))
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
    let in_range = |number: &f64| (0.0..SECONDS_MAX).contains(number);
    value.as_u64().or_else(|| value.as_f64().filter(in_range).map(whole))
}

fn bare(audience: &str) -> &str {
    let rest = audience.strip_prefix("https://").or_else(|| audience.strip_prefix("http://"));
    let rest = rest.unwrap_or(audience);
    rest.strip_suffix('/').unwrap_or(rest)
}
