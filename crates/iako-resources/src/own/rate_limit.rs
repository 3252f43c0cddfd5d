//! `RateLimit`: how many requests may pass in a while, and who has a count of his own.

use std::num::NonZeroU32;
use std::time::Duration;

use super::{Described as _, described::described};
use crate::{Labels, Pattern, document::Context, reader::Cursor};

described! {
    /// How many requests the workloads that it is for let pass.
    /// What goes beyond is answered with 429 in place of them.
    pub struct RateLimit {
        /// Workloads of the namespace by their labels. Without it and without `targetRefs`, all
        /// workloads of the namespace.
        selector: Option<WorkloadSelector> = "selector";
        /// Routes, gateways or services of the namespace, in place of workloads by label.
        targets: Vec<Target> = "targetRefs" { "maxItems": 16 };
        /// Where requests are counted. `Local`: in each proxy alone. `Shared`: in a service that
        /// all proxies ask.
        counting: Counting = "counting" or [Counting::Local];
        /// The service that counts for all proxies.
        shared: Option<SharedCount> = "shared";
        /// What is limited. A request is held against every rule that it matches, and has to be
        /// within the limit of each.
        rules: Vec<Rule> = "rules" {
            "minItems": 1,
            "maxItems": 32,
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["name"]
        };
        /// What clients are told of their limits.
        headers: LimitHeaders = "responseHeaders" or [LimitHeaders::BOTH];
    }
    rules {
        "!(has(self.selector) && has(self.targetRefs) && self.targetRefs.size() > 0)"
            => "selector and targetRefs exclude each other";
        "has(self.rules)" => "a rate limit without rules limits nothing";
        "self.counting == 'Shared' ? has(self.shared) : !has(self.shared)"
            => "shared names the service of a shared count, and goes with counting Shared only";
        "self.counting == 'Local' || !has(self.rules) || self.rules.all(one, !has(one.burst))"
            => "a shared count has no burst";
        "self.counting == 'Local' || !has(self.rules) || self.rules.all(one, duration(one.interval) in [duration('1s'), duration('1m'), duration('1h'), duration('24h')])"
            => "a shared count is for a second, a minute, an hour or a day: 1s, 1m, 1h or 24h";
    }
}

described! {
    /// Workloads by their labels.
    pub struct WorkloadSelector {
        /// Labels that a workload has to have, all of them.
        labels: Labels = "matchLabels" { "minProperties": 1 };
    }
}

described! {
    /// An object in the namespace of the rate limit.
    pub struct Target {
        /// The group of its kind; empty for a Service.
        group: String = "group" { "minLength": 0 };
        /// Its kind.
        kind: String = "kind" { "maxLength": 63 };
        /// Its name.
        name: String = "name";
        /// A listener of a Gateway, or a rule of a route, by its name.
        section: Option<String> = "sectionName";
    }
    rules {
        "(self.group == '' && self.kind == 'Service') || (self.group == 'gateway.networking.k8s.io' && self.kind in ['Gateway', 'HTTPRoute', 'GRPCRoute']) || (self.group == 'networking.istio.io' && self.kind in ['Gateway', 'VirtualService', 'ServiceEntry'])"
            => "a target is a Service, a Gateway, HTTPRoute or GRPCRoute of the Gateway API, or a Gateway, VirtualService or ServiceEntry of Istio";
    }
}

described! {
    /// Where requests are counted.
    pub words Counting {
        /// In each proxy alone: nothing is asked, and every proxy lets as many pass.
        Local,
        /// In a service, for all proxies together.
        Shared,
    }
}

described! {
    /// A service of Envoy's rate limit protocol (`envoy.service.ratelimit.v3`).
    pub struct SharedCount {
        /// Its host, as a Service or ServiceEntry defines it.
        host: String = "host";
        /// Its port.
        port: u16 = "port";
        /// The name under which it counts. Without one: namespace and name of this object, joined
        /// by a slash.
        domain: Option<String> = "domain";
        /// How long to wait for its answer.
        timeout: Duration = "timeout" or [Duration::from_millis(100)];
        /// What becomes of a request when it does not answer.
        on_failure: OnFailure = "onFailure" or [OnFailure::Allow];
    }
}

described! {
    /// What becomes of a request when nobody counts it.
    pub words OnFailure {
        /// It passes.
        Allow,
        /// It is refused.
        Refuse,
    }
}

described! {
    /// One limit.
    pub struct Rule {
        /// Its name, in statistics and in the count of a service.
        name: String = "name" { "maxLength": 63, "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$" };
        /// Requests that are counted: those that one of these describes. Empty: all.
        matches: Vec<RequestMatch> = "matches" { "maxItems": 16 };
        /// Who has a count of his own: each combination of these values. A request without one
        /// of them is not counted. Empty: all requests share one count.
        per: Vec<Key> = "per" { "maxItems": 4 };
        /// Requests that may pass in an interval.
        requests: NonZeroU32 = "requests";
        /// The interval.
        interval: Duration = "interval" {
            "x-kubernetes-validations": [{
                "rule": "duration(self) >= duration('1s') && duration(self) <= duration('24h')",
                "message": "an interval is from 1s to 24h",
            }]
        };
        /// Requests that may pass at once after a while without any. Without it: as many as in an
        /// interval.
        burst: Option<NonZeroU32> = "burst";
    }
    rules {
        "!has(self.burst) || self.burst >= self.requests" => "burst is at least as large as requests";
    }
}

described! {
    /// A description of requests; all of it has to fit.
    pub struct RequestMatch {
        /// Name of the route, as in a VirtualService or a rule of an HTTPRoute.
        route: Option<String> = "route";
        /// The path, without the query.
        path: Option<TextMatch> = "path";
        /// The method: one of these. Empty: any.
        methods: Vec<String> = "methods" { "maxItems": 9 };
        /// Headers, all of them.
        headers: Vec<HeaderMatch> = "headers" { "maxItems": 16 };
    }
    rules {
        "has(self.route) || has(self.path) || (has(self.methods) && self.methods.size() > 0) || (has(self.headers) && self.headers.size() > 0)"
            => "a description has to say something; leave matches out to count all requests";
    }
}

described! {
    /// A header of a request.
    pub struct HeaderMatch {
        /// Its name; case does not matter.
        name: String = "name" { "maxLength": 256, "pattern": "^[A-Za-z0-9!#$%&'*+\\-.^_`|~]+$" };
        /// Its value. Without it: the header is there.
        value: Option<TextMatch> = "value";
    }
}

described! {
    /// How a text is compared.
    pub choice TextMatch {
        /// The same text.
        Exact(String) = "exact" { "maxLength": 1024 };
        /// The text starts so.
        Prefix(String) = "prefix" { "maxLength": 1024 };
        /// The whole text matches the expression, in RE2 syntax.
        Regex(Pattern) = "regex";
    }
}

described! {
    /// A value that tells clients apart.
    pub choice Key {
        /// The value of a header.
        Header(String) = "header" { "maxLength": 256 };
        /// A claim of a token that a RequestAuthentication has verified, nested ones with points.
        Claim(String) = "claim";
        /// Who sent the request.
        Source(SourceKey) = "source";
    }
}

described! {
    /// What of the sender tells clients apart.
    pub words SourceKey {
        /// The identity in its certificate.
        Identity,
        /// The namespace of that identity.
        Namespace,
        /// Its address, as the settings of trusted proxies say.
        Address,
    }
}

described! {
    /// Headers of responses that tell clients their limits.
    pub struct LimitHeaders {
        /// `RateLimit-Limit`, `RateLimit-Remaining` and `RateLimit-Reset`, on every response that was
        /// counted.
        rate_limit: Switch = "rateLimit" or [Switch::Send];
        /// `Retry-After`, on responses of refused requests.
        retry_after: Switch = "retryAfter" or [Switch::Send];
    }
}

impl LimitHeaders {
    /// What is sent when nothing is said.
    pub(crate) const BOTH: Self = Self { rate_limit: Switch::Send, retry_after: Switch::Send };
}

described! {
    /// Whether something is sent.
    pub words Switch {
        /// It is.
        Send,
        /// It is not.
        Omit,
    }
}

/// Reads the specification. What several fields mean together, the rules of the definition say.
pub(crate) fn parse(cursor: &Cursor<'_>, _context: &Context<'_>) -> Option<RateLimit> {
    RateLimit::read(cursor)
}

#[cfg(test)]
mod tests;
