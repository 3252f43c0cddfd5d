//! Answers to browsers about other origins.

use iako_proxy_config::{CorsPolicy, StringMatch};

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

/// What policies make of a request's origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CorsAnswer {
    /// What is done.
    pub decision: CorsDecision,
    /// Whether its origin is one of those that may, where that was looked at.
    pub is_valid: Option<bool>,
}

impl From<CorsDecision> for CorsAnswer {
    fn from(decision: CorsDecision) -> Self {
        Self { decision, is_valid: None }
    }
}

/// Policies, the narrowest first: of each, what it leaves open is what a wider one says.
struct Policies<'p>(&'p [&'p CorsPolicy]);

impl<'p> Policies<'p> {
    fn text(&self, field: fn(&CorsPolicy) -> &str) -> &'p str {
        self.0.iter().map(|policy| field(policy)).find(|text| !text.is_empty()).unwrap_or("")
    }

    fn says(&self, field: fn(&CorsPolicy) -> Option<bool>) -> bool {
        self.0.iter().find_map(|policy| field(policy)) == Some(true)
    }

    fn ends_unmatched(&self) -> bool {
        let forwards = self.0.iter().find_map(|policy| policy.forward_unmatched_preflights);
        forwards == Some(false)
    }

    fn allows(&self, origin: &str) -> bool {
        let origins = self.0.iter().map(|policy| &policy.allow_origins);
        let origins = origins.into_iter().find(|origins| !origins.is_empty());
        let is_wanted = |wanted: &StringMatch| wanted.matches("*") || wanted.matches(origin);
        origins.is_some_and(|origins| origins.iter().any(is_wanted))
    }

    /// What a browser is told that asks before it asks for `method`. An asterisk is not passed on: one
    /// that sends credentials takes it for a name. It is told what it asked for.
    fn preflight(&self, head: &RequestHead<'_>, method: &str) -> Vec<(&'static str, String)> {
        let mut headers = Vec::new();
        let methods = self.text(|policy| &policy.allow_methods);
        let methods = if methods == "*" { method } else { methods };
        let names = self.text(|policy| &policy.allow_headers);
        let max_age = self.text(|policy| &policy.max_age);
        add(&mut headers, "access-control-allow-methods", methods);
        if names == "*" {
            let wanted = head.text("access-control-request-headers").unwrap_or_default();
            headers.push(("access-control-allow-headers", wanted.into_owned()));
        } else {
            add(&mut headers, "access-control-allow-headers", names);
        }
        add(&mut headers, "access-control-max-age", max_age);
        let private = head.text("access-control-request-private-network");
        if private.is_some_and(|asked| asked == "true")
            && self.says(|policy| policy.allow_private_network)
        {
            add(&mut headers, "access-control-allow-private-network", "true");
        }
        headers
    }
}

fn add(headers: &mut Vec<(&'static str, String)>, name: &'static str, value: &str) {
    if !value.is_empty() {
        headers.push((name, value.to_owned()));
    }
}

/// Decides about a request by policies, the narrowest first. `draw` decides on the share of the first.
#[must_use]
pub fn cors(policies: &[&CorsPolicy], head: &RequestHead<'_>, draw: u64) -> CorsAnswer {
    let Some(narrowest) = policies.first() else { return CorsDecision::Pass.into() };
    let Some(origin) = head.text("origin").filter(|origin| !origin.is_empty()) else {
        return CorsDecision::Pass.into();
    };
    let is_enabled = narrowest.enabled.value.takes(draw);
    if !is_enabled && !narrowest.shadow_enabled.value.takes(draw) {
        return CorsDecision::Pass.into();
    }
    let policies = Policies(policies);
    let asked = head.text("access-control-request-method").unwrap_or_default();
    let preflight = head.method == "OPTIONS" && !asked.is_empty();
    let is_valid = policies.allows(&origin);
    let answer = |decision| CorsAnswer { decision, is_valid: Some(is_valid) };
    let ends = preflight && (is_valid || policies.ends_unmatched());
    if !is_enabled || (!is_valid && !ends) {
        return answer(CorsDecision::Pass);
    }
    let mut headers = Vec::new();
    if is_valid {
        add(&mut headers, "access-control-allow-origin", &origin);
    }
    if policies.says(|policy| policy.allow_credentials) {
        add(&mut headers, "access-control-allow-credentials", "true");
    }
    if preflight {
        headers.extend(policies.preflight(head, &asked));
    }
    if is_valid {
        let exposed = policies.text(|policy| &policy.expose_headers);
        add(&mut headers, "access-control-expose-headers", exposed);
    }
    answer(if preflight { CorsDecision::Respond(headers) } else { CorsDecision::Annotate(headers) })
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
        cors(&[policy], &head, 0).decision
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
            allow_credentials: Some(true),
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
        let strict = CorsPolicy { forward_unmatched_preflights: Some(false), ..policy };
        let CorsDecision::Respond(headers) = ask(&strict, "OPTIONS", &[bad, asked]) else {
            panic!("a preflight of a strange origin ends here")
        };
        let is_told = |wanted| headers.iter().any(|(name, _)| *name == wanted);
        assert!(is_told("access-control-allow-methods"));
        assert!(!is_told("access-control-allow-origin"), "which is what counts");
    }
}
