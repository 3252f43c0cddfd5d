//! What comes back from an authorization server with a browser.

use iako_proxy_config::OAuth2;
use serde_json::{Value, json};

use super::address::{self, Address};
use super::cookies::Jar;
use super::seal::{Keys, is_same};
use crate::jwt::base64url;

/// What a browser carries to the server and back.
pub(super) fn encode(url: &str, csrf_token: &str, flow: &str) -> String {
    let state = json!({"url": url, "csrf_token": csrf_token, "flow_id": flow});
    base64url::encode(state.to_string().as_bytes())
}

/// What is shown by a browser that began the login `flow` itself.
pub(super) fn csrf_token(keys: &Keys, flow: &str) -> String {
    format!("{flow}.{}", keys.sign(flow))
}

/// A callback that is what it says.
#[derive(Debug)]
pub(super) struct Callback {
    /// What tokens are had for.
    pub(super) code: String,
    /// The page that the browser wanted.
    pub(super) url: String,
    /// Of which login it is.
    pub(super) flow: String,
}

/// A callback that is not.
#[derive(Debug)]
pub(super) struct Unfit {
    /// Why, as Envoy says it.
    pub(super) details: String,
    /// Of which login it is; empty when that is not certain.
    pub(super) flow: String,
}

impl Unfit {
    fn new(details: impl Into<String>) -> Self {
        Self { details: details.into(), flow: String::new() }
    }
}

/// Looks at what an authorization server sent a browser back with.
pub(super) fn callback(
    settings: &OAuth2,
    keys: &Keys,
    jar: &Jar,
    target: &str,
) -> Result<Callback, Unfit> {
    let all = address::parameters(target);
    let state = address::parameter(target, "state");
    if address::parameter(target, "error").is_some() {
        let flow = state.map(|state| match read(settings, keys, jar, state) {
            Ok(callback) => callback.flow,
            Err(unfit) => unfit.flow,
        });
        let details = format!("OAuth server returned an error: {}", address::shown(&all));
        return Err(Unfit { details, flow: flow.unwrap_or_default() });
    }
    let (Some(code), Some(state)) = (address::parameter(target, "code"), state) else {
        let told = address::shown(&all);
        return Err(Unfit::new(format!("Code or state query param does not exist: {told}")));
    };
    let callback = read(settings, keys, jar, state)?;
    Ok(Callback { code: code.to_owned(), ..callback })
}

fn read(settings: &OAuth2, keys: &Keys, jar: &Jar, state: &str) -> Result<Callback, Unfit> {
    let bytes = base64url::decode(state).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let Ok(Value::Object(fields)) = serde_json::from_str::<Value>(&text) else {
        return Err(Unfit::new(format!("State query param is not a valid JSON: {text}")));
    };
    let (Some(url), Some(csrf)) = (fields.get("url"), fields.get("csrf_token")) else {
        let problem = "State query param does not contain url or CSRF token";
        return Err(Unfit::new(format!("{problem}: {text}")));
    };
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (url, csrf) = (text(url), text(csrf));
    let flow = fields.get("flow_id").map(text).unwrap_or_default();
    // Who has the cookie began the login: without this, others could have a browser log in as them.
    // Source: RFC 6819, section 5.3.5.
    let kept = jar.of_flow(&settings.cookies.nonce, &flow);
    let is_own = kept.is_some_and(|kept| is_same(kept, &csrf));
    let is_signed =
        csrf.split_once('.').is_some_and(|(flow, signature)| is_same(&keys.sign(flow), signature));
    if !is_own || !is_signed {
        return Err(Unfit::new("CSRF token validation failed"));
    }
    if Address::read(&url).is_none() {
        return Err(Unfit { details: format!("State url can not be initialized: {url}"), flow });
    }
    if !address::is_allowed(&url, &settings.requests.allowed_hosts) {
        let problem = "State url host is not in the allowed redirect domains";
        return Err(Unfit { details: format!("{problem}: {url}"), flow });
    }
    Ok(Callback { code: String::new(), url, flow })
}
