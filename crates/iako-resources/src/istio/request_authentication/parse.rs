//! Reads a `RequestAuthentication`.

use std::time::Duration;

use super::{JwtHeader, JwtKeys, JwtRule, RequestAuthentication};
use crate::{
    Code, Severity,
    document::Context,
    istio::refer,
    reader::{Cursor, Fields},
};

/// Reads the specification.
pub(crate) fn parse(cursor: &Cursor<'_>, _context: &Context<'_>) -> Option<RequestAuthentication> {
    let fields = cursor.fields();
    let selector = refer::policy_selector(&fields, "selector");
    let rules = fields.list_of("jwtRules", read_rule);
    let targets = refer::targets(&fields, "selector");
    Some(RequestAuthentication { selector, rules: rules.into_iter().flatten().collect(), targets })
}

fn read_rule(cursor: &Cursor<'_>) -> Option<JwtRule> {
    let fields = cursor.fields();
    let issuer = fields.text("issuer");
    let audiences = read_names(&fields, "audiences");
    let keys = read_keys(&fields, issuer.as_deref());
    let from_headers = fields.list_of("fromHeaders", read_header);
    let from_params = read_names(&fields, "fromParams");
    let from_cookies = read_names(&fields, "fromCookies");
    let forward_original_token = fields.flag("forwardOriginalToken");
    let output_payload_to_header = fields.text("outputPayloadToHeader");
    let claims = fields.list_of("outputClaimToHeaders", read_claim);
    let timeout = fields.get("timeout").and_then(|cursor| cursor.duration());
    let space_delimited_claims = fields.texts("spaceDelimitedClaims");
    Some(JwtRule {
        issuer,
        audiences,
        keys: keys?,
        from_headers: from_headers.into_iter().flatten().collect(),
        from_params,
        from_cookies,
        forward_original_token,
        output_payload_to_header,
        output_claim_to_headers: claims.into_iter().flatten().collect(),
        timeout: timeout.unwrap_or(Duration::from_secs(5)),
        space_delimited_claims,
        line: cursor.line(),
    })
}

fn read_keys(fields: &Fields<'_>, issuer: Option<&str>) -> Option<JwtKeys> {
    let uri = fields.get("jwksUri");
    let inline = fields.get("jwks");
    if uri.is_some() && inline.is_some() {
        fields.report("jwks", Code::Conflict, "a rule has jwksUri or jwks, not both");
    }
    if issuer.is_none() && uri.is_none() {
        fields.report("issuer", Code::MissingField, "the field issuer is missing");
        return None;
    }
    if let Some(cursor) = uri {
        let text = cursor.text()?;
        let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
        if rest.is_none_or(|rest| rest.is_empty() || rest.starts_with('/')) {
            cursor.report(Code::BadValue, format!("{text:?} is no http or https address"));
        }
        return Some(JwtKeys::Uri(text));
    }
    let Some(cursor) = inline else { return Some(JwtKeys::Discovery) };
    let text = cursor.text()?;
    check_keys(&cursor, &text);
    Some(JwtKeys::Inline(text))
}

/// Source: RFC 7517.
fn check_keys(cursor: &Cursor<'_>, text: &str) {
    let set: Option<serde_json::Value> = serde_json::from_str(text).ok();
    let keys = set.as_ref().and_then(|set| set.get("keys")).and_then(serde_json::Value::as_array);
    let Some(keys) = keys else {
        cursor.report(Code::BadValue, "jwks is no JSON Web Key Set: an object with keys");
        return;
    };
    if !keys.iter().all(|key| key.get("kty").is_some_and(serde_json::Value::is_string)) {
        cursor.report(Code::BadValue, "a key of jwks has no kty");
    }
    if keys.iter().any(|key| key.get("d").is_some()) {
        let message = "jwks holds a private key, which everybody can read here";
        cursor.report_as(Severity::Warning, Code::BadValue, message);
    }
}

fn read_header(cursor: &Cursor<'_>) -> Option<JwtHeader> {
    let fields = cursor.fields();
    let name = fields.text("name");
    let prefix = fields.text("prefix").unwrap_or_default();
    if name.is_none() {
        fields.report("name", Code::EmptyValue, "the name of a header is empty");
    }
    Some(JwtHeader { name: name?, prefix })
}

fn read_names(fields: &Fields<'_>, name: &'static str) -> Vec<String> {
    let names = fields.list_of(name, |cursor| {
        let text = cursor.text()?;
        if text.is_empty() {
            cursor.report(Code::EmptyValue, "the name is empty");
        }
        Some(text)
    });
    names.into_iter().flatten().collect()
}

fn read_claim(cursor: &Cursor<'_>) -> Option<(String, String)> {
    let fields = cursor.fields();
    let header = fields.text("header");
    let claim = fields.text("claim");
    let (Some(header), Some(claim)) = (header, claim) else {
        let missing = if fields.text("header").is_none() { "header" } else { "claim" };
        let message = "outputClaimToHeaders needs header and claim";
        fields.report(missing, Code::MissingField, message);
        return None;
    };
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if !header.chars().all(allowed) {
        let message = format!("{header:?} is no header for a claim; use letters, digits, - and _");
        cursor.at("header").report(Code::BadValue, message);
    }
    Some((header, claim))
}
