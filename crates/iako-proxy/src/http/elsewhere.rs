//! Requests that are made in place of a client's, because of the response that it had.

use iako_http::{BodyLength, Known, Method, ResponseHead, Scheme};
use iako_proxy_config::{HeaderMutations, RedirectedResponse, ResponseTarget};
use iako_traffic::{RedirectTarget, RouteOutcome, changed_location};

use super::exchange::Exchange;
use super::{mutations, record};

/// What becomes of the response to the request that was made.
#[derive(Debug)]
pub(crate) struct Elsewhere {
    status: u16,
    headers: HeaderMutations,
}

impl Exchange<'_> {
    /// Whether the request is one that was made in place of the client's.
    pub(super) fn is_elsewhere(&self) -> bool {
        self.remembered.as_ref().is_some_and(|remembered| remembered.elsewhere.is_some())
    }

    /// Makes another request of this one, unless it would go nowhere. Then the response stays.
    pub(super) fn go_elsewhere(
        &mut self,
        policy: &RedirectedResponse,
        head: &ResponseHead,
    ) -> bool {
        // What has not come yet would be taken for the next request.
        let has_content =
            !matches!(self.request.head.length(), BodyLength::Empty | BodyLength::Exact(0));
        if has_content && !self.upload.is_read_whole() {
            return false;
        }
        let address = match &policy.target {
            ResponseTarget::Uri(uri) => uri.clone(),
            ResponseTarget::Changed(redirect) => {
                let view = self.request.view();
                changed_location(redirect, &self.request.head(&view))
            }
        };
        let Some(target) = RedirectTarget::parse(&address) else { return false };
        let before = self.request.edits.clone();
        let edits = &mut self.request.edits;
        edits.scheme = Some(if target.is_https { Scheme::Https } else { Scheme::Http });
        edits.authority = Some(target.authority.into());
        edits.path = Some(target.path().into());
        self.add_to_request(policy);
        let table = self.service.routes(self.snapshot, &self.request);
        let outcome = self.route(table, self.connection.draw());
        if !matches!(outcome, RouteOutcome::Matched(_)) {
            self.request.edits.scheme = before.scheme;
            self.request.edits.authority = before.authority;
            self.request.edits.path = before.path;
            self.record.route.clear();
            self.record.cluster = None;
            return false;
        }
        self.note_route(outcome);
        let elsewhere = Elsewhere {
            status: policy.status.unwrap_or_else(|| self.response_edits.status(head)),
            headers: HeaderMutations {
                response_add: policy.response_headers.clone(),
                ..HeaderMutations::default()
            },
        };
        self.remembered.get_or_insert_default().elsewhere = Some(Box::new(elsewhere));
        // Who asks for a head cannot be given content.
        if *self.request.head.method() != Method::Head {
            self.request.edits.method = Some(Method::Get);
        }
        self.request.edits.fields.remove(Known::ContentLength);
        self.request.without_content = true;
        self.upload.drop_content();
        self.begin_again(head);
        true
    }

    fn add_to_request(&mut self, policy: &RedirectedResponse) {
        if policy.request_headers.is_empty() {
            return;
        }
        let added = {
            let view = self.request.view();
            let further = self.facts();
            let record = record::access_record(&further, &view);
            mutations::rendered(&policy.request_headers, &record)
        };
        mutations::add_to_request(&mut self.request, &added);
    }

    /// Changes the response to the request that was made.
    pub(super) fn end_elsewhere(&mut self, head: &ResponseHead) {
        let remembered = self.remembered.as_mut();
        let Some(elsewhere) = remembered.and_then(|remembered| remembered.elsewhere.take()) else {
            return;
        };
        self.edit_response_level(&elsewhere.headers, head.fields());
        self.response_edits.status = Some(elsewhere.status);
        self.record.status = Some(elsewhere.status);
        let remembered = self.remembered.get_or_insert_default();
        remembered.elsewhere = Some(elsewhere);
    }
}
