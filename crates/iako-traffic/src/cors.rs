//! Answers to browsers about other origins.

use iako_proxy_config::CorsPolicy;

use crate::RequestHead;

/// What is done about a request's origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CorsDecision {
    /// Nothing.
    Pass,
    /// 200 without a body, with these headers; details `cors_response`.
    Respond(Vec<(&'static str, String)>),
    /// The request goes on; the response gets these headers, in place of any of those names.
    Annotate(Vec<(&'static str, String)>),
}

/// Decides about a request. `draw` decides on the policy's share.
#[must_use]
pub fn cors(policy: &CorsPolicy, head: &RequestHead<'_>, draw: u64) -> CorsDecision {
    let Some(origin) = head.text("origin").filter(|origin| !origin.is_empty()) else {
        return CorsDecision::Pass;
    };
    if !policy.enabled.takes(draw) {
        return CorsDecision::Pass;
    }
    let asked = head.text("access-control-request-method").unwrap_or_default();
    let preflight = head.method == "OPTIONS" && !asked.is_empty();
    if !policy.allow_origins.iter().any(|matcher| matcher.matches(&origin)) {
        return if preflight && !policy.forward_unmatched_preflights {
            CorsDecision::Respond(Vec::new())
        } else {
            CorsDecision::Pass
        };
    }
    let mut headers = vec![("access-control-allow-origin", origin.into_owned())];
    let mut add = |name, value: &str| {
        if !value.is_empty() {
            headers.push((name, value.to_owned()));
        }
    };
    if policy.allow_credentials {
        add("access-control-allow-credentials", "true");
    }
    if preflight {
        add("access-control-allow-methods", &policy.allow_methods);
        add("access-control-allow-headers", &policy.allow_headers);
        add("access-control-max-age", &policy.max_age);
    }
    add("access-control-expose-headers", &policy.expose_headers);
    if preflight { CorsDecision::Respond(headers) } else { CorsDecision::Annotate(headers) }
}

#[cfg(test)]
mod tests {
    use iako_proxy_config::StringMatch;

    use super::*;
    use crate::HeaderList;

    fn ask(policy: &CorsPolicy, method: &str, headers: &[(&str, &str)]) -> CorsDecision {
        let headers: HeaderList = headers.iter().copied().collect();
        let head = RequestHead {
            method,
            scheme: "http",
            authority: "a.test",
            path_and_query: "/",
            headers: &headers,
        };
        cors(policy, &head, 0)
    }

    // Cases cors and cors-nofwd; fact 23.
    #[test]
    fn browsers_are_answered_as_envoy_does() {
        let policy = CorsPolicy {
            allow_origins: vec![StringMatch::exact("https://ok.test")],
            allow_methods: "GET, POST".to_owned(),
            allow_headers: "x-a".to_owned(),
            expose_headers: "x-e".to_owned(),
            max_age: "600".to_owned(),
            allow_credentials: true,
            ..CorsPolicy::default()
        };
        let (ok, bad) = (("origin", "https://ok.test"), ("origin", "https://bad.test"));
        let asked = ("access-control-request-method", "GET");
        let CorsDecision::Respond(headers) = ask(&policy, "OPTIONS", &[ok, asked]) else {
            panic!("a preflight is answered here")
        };
        let text: Vec<String> =
            headers.iter().map(|(name, value)| format!("{name}: {value}")).collect();
        assert_eq!(
            text.join("\n"),
            "access-control-allow-origin: https://ok.test\n\
             access-control-allow-credentials: true\n\
             access-control-allow-methods: GET, POST\n\
             access-control-allow-headers: x-a\n\
             access-control-max-age: 600\n\
             access-control-expose-headers: x-e"
        );
        let CorsDecision::Annotate(headers) = ask(&policy, "GET", &[ok]) else {
            panic!("a simple request goes on")
        };
        assert_eq!(headers.len(), 3);
        assert!(matches!(ask(&policy, "OPTIONS", &[ok]), CorsDecision::Annotate(_)));
        assert_eq!(ask(&policy, "GET", &[bad]), CorsDecision::Pass);
        assert_eq!(ask(&policy, "OPTIONS", &[bad, asked]), CorsDecision::Pass);
        let strict = CorsPolicy { forward_unmatched_preflights: false, ..policy };
        assert_eq!(ask(&strict, "OPTIONS", &[bad, asked]), CorsDecision::Respond(Vec::new()));
    }
}
