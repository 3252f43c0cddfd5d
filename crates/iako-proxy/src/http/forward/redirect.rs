//! Redirects of the server that are followed here, in place of the client.

use iako_http::{FieldName, FieldValue, Known, Method, ResponseEdits, ResponseHead, Scheme};
use iako_proxy_config::InternalRedirectPolicy;
use iako_rt::clock;
use iako_traffic::{RedirectTarget, RouteMatchResult, RouteOutcome};

use super::Plan;
use crate::http::exchange::Exchange;
use crate::http::pump::Download;
use crate::http::record::Place;
use crate::http::record::Record;
use crate::snapshot::Tally;

impl Exchange<'_> {
    /// Whether the request goes where the server sent it. Then it was changed for that, and its first
    /// way was written down; if not, the client hears of the redirect.
    pub(super) fn redirects(
        &mut self,
        plan: &Plan<'_>,
        policy: &InternalRedirectPolicy,
        head: &ResponseHead,
    ) -> bool {
        let is_followed = self.redirect(policy, head);
        if is_followed {
            plan.counted().stats.redirect_succeeded.inc();
            self.begin_again(head);
        } else {
            plan.counted().stats.redirect_failed.inc();
        }
        is_followed
    }

    fn redirect(&mut self, policy: &InternalRedirectPolicy, head: &ResponseHead) -> bool {
        let stats = &self.service.stats;
        // Only a request that is here as a whole can be sent again as a whole.
        if !self.upload.is_read_whole() || !self.upload.can_repeat() {
            return false;
        }
        let Some(location) = head.fields().get(Known::Location) else { return false };
        let location = std::str::from_utf8(location).unwrap_or_default();
        let Some(target) = RedirectTarget::parse(location) else {
            stats.redirect_bad_location.inc();
            return false;
        };
        let was_https = self.request.scheme == Scheme::Https;
        if !policy.cross_scheme && was_https != target.is_https {
            stats.redirect_unsafe_scheme.inc();
            return false;
        }
        if self.redirects.count() >= policy.redirects_max {
            stats.redirect_too_many.inc();
            return false;
        }
        let before = self.request.edits.clone();
        let from = self.record.route.clone();
        self.aim(policy, head, &target);
        if !self.is_accepted(policy, &from, was_https, &target) {
            self.request.edits = before;
            return false;
        }
        let to = self.record.route.clone();
        self.redirects.follow(&from, &to);
        let old_scheme = if was_https { "https" } else { "http" };
        let (host, path) = (before.authority(&self.request.head), before.path(&self.request.head));
        let original = FieldValue::sanitized(format!("{old_scheme}://{host}{path}"));
        if let Ok(name) = FieldName::parse(b"x-envoy-original-url") {
            self.request.edits.fields.set(name, original);
        }
        if head.status() == 303 {
            self.become_get();
        }
        true
    }

    /// Turns the request to its new target.
    fn aim(
        &mut self,
        policy: &InternalRedirectPolicy,
        head: &ResponseHead,
        target: &RedirectTarget<'_>,
    ) {
        let edits = &mut self.request.edits;
        for name in &policy.copied_headers {
            let text = name.as_str();
            let parsed = || FieldName::parse(text.as_bytes()).ok();
            let Some(first) = parsed() else { continue };
            let mut values =
                head.fields().values(text).map(|value| FieldValue::sanitized(value.to_vec()));
            match values.next() {
                None => edits.fields.remove(first),
                Some(value) => edits.fields.set(first, value),
            }
            for value in values {
                if let Some(name) = parsed() {
                    edits.fields.append(name, value);
                }
            }
        }
        edits.scheme = Some(if target.is_https { Scheme::Https } else { Scheme::Http });
        edits.authority = Some(target.authority.into());
        edits.path = Some(target.path().into());
    }

    /// Whether the new target has a route that the policy lets pass. The record tells of that route.
    #[expect(clippy::fn_params_excessive_bools, reason = "a scheme, as that of the target")]
    fn is_accepted(
        &mut self,
        policy: &InternalRedirectPolicy,
        from: &str,
        was_https: bool,
        target: &RedirectTarget<'_>,
    ) -> bool {
        let stats = &self.service.stats;
        let table = self.service.routes(self.snapshot, &self.request);
        let outcome = self.route(table, self.connection.draw());
        let RouteOutcome::Matched(RouteMatchResult { route, .. }) = outcome else {
            stats.redirect_no_route.inc();
            self.place = Place::of(&outcome);
            self.record.route.clear();
            self.record.cluster = None;
            return false;
        };
        self.note_route(outcome);
        let is_accepted = policy.predicates.iter().all(|predicate| {
            self.redirects.accepts(predicate, (from, &route.name), was_https, target)
        });
        if !is_accepted {
            stats.redirect_predicate.inc();
        }
        is_accepted
    }

    /// 303 means that the answer is elsewhere, whatever was sent (RFC 9110 §15.4.4).
    fn become_get(&mut self) {
        let method = self.request.edits.method(&self.request.head);
        if !matches!(method, Method::Get | Method::Head) {
            self.request.edits.method = Some(Method::Get);
            self.request.without_content = true;
            self.upload.drop_content();
        }
    }

    /// The first way is written down as one of its own, and the second one begins.
    pub(in crate::http) fn begin_again(&mut self, head: &ResponseHead) {
        self.record.status = Some(head.status());
        self.record.details = "internal_redirect".into();
        let now = clock::now();
        self.response_edits = ResponseEdits::default();
        self.response = Some(head.clone());
        // An answer that is followed counts as none.
        self.record.tally = Tally::default();
        self.finish(now);
        self.response = None;
        self.service.count_request(self.request.head.version());
        let (route, cluster) = (std::mem::take(&mut self.record.route), self.record.cluster.take());
        self.record = Record::new(now, clock::wall());
        self.record.route = route;
        self.record.cluster = cluster;
        self.now = now;
        self.deadlines.restart(&self.service.manager, now);
        self.download = Download::default();
        self.annotations.clear();
    }
}
