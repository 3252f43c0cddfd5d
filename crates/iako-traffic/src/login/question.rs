//! What an authorization server is asked for tokens with, and how long they live.

use iako_proxy_config::{LoginSecretShown, OAuth2};
use serde_json::Value;

use crate::base64;
use crate::jwt::base64url;

/// A question to the token endpoint, by POST.
#[derive(Clone, PartialEq, Eq)]
pub struct LoginQuestion {
    /// Its content, a form.
    pub form: String,
    /// Its `authorization`.
    pub authorization: Option<String>,
}

impl std::fmt::Debug for LoginQuestion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LoginQuestion(hidden)")
    }
}

/// What a code is shown with.
pub(super) struct CodeFacts<'a> {
    pub(super) code: &'a str,
    pub(super) redirect_uri: &'a str,
    pub(super) verifier: &'a str,
}

/// Asks for tokens with the code that a browser brought.
pub(super) fn for_code(settings: &OAuth2, secret: &[u8], facts: &CodeFacts<'_>) -> LoginQuestion {
    let CodeFacts { code, redirect_uri, verifier } = facts;
    let begin = format!("grant_type=authorization_code&code={code}");
    let end = format!(
        "&redirect_uri={}&code_verifier={verifier}",
        encoded(redirect_uri.as_bytes(), &IN_FORM)
    );
    question(settings, secret, (&begin, &end))
}

/// Asks for other tokens.
pub(super) fn for_refresh(settings: &OAuth2, secret: &[u8], token: &str) -> LoginQuestion {
    let token = encoded(token.as_bytes(), &IN_FORM);
    question(settings, secret, (&format!("grant_type=refresh_token&refresh_token={token}"), ""))
}

fn question(settings: &OAuth2, secret: &[u8], (begin, end): (&str, &str)) -> LoginQuestion {
    let client = &settings.client;
    let id = encoded(client.id.as_bytes(), &IN_FORM);
    let (own, authorization) = match client.shown {
        LoginSecretShown::Content => {
            (format!("&client_id={id}&client_secret={}", encoded(secret, &IN_FORM)), None)
        }
        LoginSecretShown::Certificate => (format!("&client_id={id}"), None),
        LoginSecretShown::Basic => {
            let both = [client.id.as_bytes(), b":", secret].concat();
            (String::new(), Some(format!("Basic {}", base64::encode(&both))))
        }
    };
    LoginQuestion { form: format!("{begin}{own}{end}"), authorization }
}

/// What cannot stand in a form as it is. Envoy leaves `%`, `+` and spaces, which servers read as
/// something else.
const IN_FORM: [u8; 8] = *b":/=&?+% ";
/// What cannot stand in a query as it is.
const IN_QUERY: [u8; 7] = *b"&#%+ \"<";

/// A value of a query.
pub(super) fn in_query(value: &str) -> String {
    encoded(value.as_bytes(), &IN_QUERY)
}

fn encoded(bytes: &[u8], reserved: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for &byte in bytes {
        if !(b' '..b'~').contains(&byte) || reserved.contains(&byte) {
            text.push_str(&format!("%{byte:02X}"));
        } else {
            text.push(char::from(byte));
        }
    }
    text
}

/// Seconds that a token still lives, as far as it says so itself: 0 when it does not any more.
pub(super) fn own_lifetime(token: &str, now: u64) -> Option<u64> {
    let mut parts = token.split('.');
    let (header, payload) = (parts.next()?, parts.next()?);
    parts.next()?;
    if parts.next().is_some() {
        return None;
    }
    let object = |part| serde_json::from_slice::<Value>(&base64url::decode(part)?).ok();
    object(header)?.get("alg")?.as_str()?;
    let end = object(payload)?.get("exp")?.as_u64().filter(|end| *end > 0)?;
    Some(end.saturating_sub(now))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_says_how_long_it_lives() {
        let token = |payload: &str| {
            let part = |text: &str| base64url::encode(text.as_bytes());
            format!("{}.{}.c2ln", part(r#"{"alg":"RS256"}"#), part(payload))
        };
        assert_eq!(own_lifetime(&token(r#"{"exp":100}"#), 40), Some(60));
        assert_eq!(own_lifetime(&token(r#"{"exp":100}"#), 200), Some(0));
        assert_eq!(own_lifetime(&token(r#"{"sub":"a"}"#), 40), None);
        assert_eq!(own_lifetime("opaque", 40), None);
    }

    #[test]
    fn what_forms_and_queries_cannot_hold_is_encoded() {
        assert_eq!(encoded(b"a:b/c d+e%", &IN_FORM), "a%3Ab%2Fc%20d%2Be%25");
        assert_eq!(in_query("a:b/c&d e"), "a:b/c%26d%20e");
    }
}
