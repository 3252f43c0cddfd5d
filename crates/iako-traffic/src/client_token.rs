//! Tokens that authorization servers give. Source: RFC 6749, sections 4.4 and 5.1.

use iako_proxy_config::ClientCredentials;
use serde_json::Value;

use crate::percent_encoded;

/// What an authorization server answered.
#[derive(Clone, PartialEq, Eq)]
pub struct TokenAnswer {
    /// What is shown to servers.
    pub access_token: String,
    /// Who the user is; empty when the server does not say.
    pub id_token: String,
    /// What another token can be had for; empty when there is none.
    pub refresh_token: String,
    /// Seconds that the token lives; none when the server does not say.
    pub expires_in: Option<u64>,
}

impl std::fmt::Debug for TokenAnswer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenAnswer").field("expires_in", &self.expires_in).finish_non_exhaustive()
    }
}

/// Why an answer gives no token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenProblem {
    /// It is no JSON object, or a field of it has another type.
    #[error("the answer of the authorization server cannot be read")]
    Unreadable,
    /// It has no `access_token`.
    #[error("the answer of the authorization server has no token")]
    NoToken,
}

impl TokenAnswer {
    /// Reads an answer of status 200.
    ///
    /// # Errors
    /// When it gives no token.
    pub fn read(content: &[u8]) -> Result<Self, TokenProblem> {
        let answer: Value =
            serde_json::from_slice(content).map_err(|_no_json| TokenProblem::Unreadable)?;
        let fields = answer.as_object().ok_or(TokenProblem::Unreadable)?;
        let text = |name: &str| match fields.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(_) => Err(TokenProblem::Unreadable),
        };
        let (id_token, refresh_token) = (text("id_token")?, text("refresh_token")?);
        let expires_in = match fields.get("expires_in") {
            None | Some(Value::Null) => None,
            Some(seconds) => Some(whole(seconds).ok_or(TokenProblem::Unreadable)?),
        };
        Ok(Self {
            access_token: text("access_token")?.ok_or(TokenProblem::NoToken)?,
            id_token: id_token.unwrap_or_default(),
            refresh_token: refresh_token.unwrap_or_default(),
            expires_in,
        })
    }
}

/// A whole number as JSON of protobuf messages has it: as a number or as text.
fn whole(value: &Value) -> Option<u64> {
    match value {
        Value::String(digits) => digits.parse().ok(),
        Value::Number(number) => number.as_u64().or_else(|| {
            // `3600.0` is the same number.
            let digits = number.to_string();
            let (whole, rest) = digits.split_once('.')?;
            rest.bytes().all(|digit| digit == b'0').then(|| whole.parse().ok())?
        }),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

/// The content that asks for a token in the proxy's own name.
#[must_use]
pub fn client_credentials_form(settings: &ClientCredentials, secret: &[u8]) -> String {
    let mut form = String::from("grant_type=client_credentials");
    push(&mut form, "client_id", settings.client_id.as_bytes());
    push(&mut form, "client_secret", secret);
    if !settings.scopes.is_empty() {
        push(&mut form, "scope", settings.scopes.join(" ").as_bytes());
    }
    for (name, value) in &settings.parameters {
        push(&mut form, &percent_encoded(name), value.as_bytes());
    }
    form
}

/// Adds a parameter; its name is encoded already.
pub(crate) fn push(form: &mut String, name: &str, value: &[u8]) {
    if !form.is_empty() {
        form.push('&');
    }
    form.push_str(name);
    form.push('=');
    form.push_str(&percent_encoded(value));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_gives_tokens() {
        let answer = br#"{"access_token":"a","expires_in":"60","id_token":"i","more":[1]}"#;
        let answer = TokenAnswer::read(answer).unwrap();
        assert_eq!((answer.access_token.as_str(), answer.expires_in), ("a", Some(60)));
        assert_eq!((answer.id_token.as_str(), answer.refresh_token.as_str()), ("i", ""));
        let unwritten = TokenAnswer::read(br#"{"access_token":"a"}"#).unwrap();
        assert_eq!(unwritten.expires_in, None);
    }

    #[test]
    fn an_answer_without_a_token_is_none() {
        let read = |text: &str| TokenAnswer::read(text.as_bytes());
        assert_eq!(read("{}"), Err(TokenProblem::NoToken));
        for broken in
            ["no", "[]", r#"{"access_token":1}"#, r#"{"access_token":"a","expires_in":-1}"#]
        {
            assert_eq!(read(broken), Err(TokenProblem::Unreadable), "{broken}");
        }
    }

    #[test]
    fn tokens_are_not_printed() {
        let answer = TokenAnswer::read(br#"{"access_token":"hidden"}"#).unwrap();
        assert!(!format!("{answer:?}").contains("hidden"));
    }
}
