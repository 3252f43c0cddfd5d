//! What services said about a response, until there is one.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use iako_http::{FieldName, FieldValue, Fields, HeaderEdits, KnownSet, NameRef};
use iako_proxy_config::{AppendAction, GrpcService};
use iako_rt::clock;
use iako_traffic::{LocalBucket, Metadata};

use super::admission::Admitted;
use super::concurrency::UnderWay;
use super::global_limit::count_done;
use super::local_limit;
use super::processing::Shared;
use crate::http::downstream::Content;
use crate::http::error_response::Reply;
use crate::http::record::Outcome;
use crate::worker::Worker;

/// What services said about a response.
#[derive(Debug, Default)]
pub(crate) struct Said {
    headers: Vec<(FieldName, FieldValue, AppendAction)>,
    /// Headers that go.
    removed: Vec<FieldName>,
    /// The status in place of the server's.
    pub(crate) status: Option<u16>,
    /// What follows the head of the request, in place of what the client announced.
    pub(crate) content: Option<Content>,
    /// The same of the response.
    pub(crate) response_content: Option<Content>,
    /// Services that see the exchange, in the order of their filters.
    pub(crate) processing: Vec<Shared>,
    /// Buckets that the response tells of.
    pub(super) buckets: Vec<Arc<LocalBucket>>,
    /// What became of the request is told to these.
    pub(super) admitted: Vec<Admitted>,
    /// It counts as under way here.
    pub(super) under_way: Vec<UnderWay>,
    /// Questions that are sent when the request is done.
    later: Vec<(GrpcService, Vec<u8>)>,
}

impl Said {
    /// Remembers a header; one that cannot be sent is forgotten.
    pub(crate) fn header(&mut self, name: &str, value: &[u8], action: AppendAction) {
        if let Ok(name) = FieldName::parse(name.as_bytes())
            && let Ok(value) = FieldValue::parse(value.to_vec())
        {
            self.headers.push((name, value, action));
        }
    }

    /// Remembers that a header goes.
    pub(crate) fn removal(&mut self, name: &str) {
        self.removed.extend(FieldName::parse(name.as_bytes()));
    }

    /// Whether a service wants to see the response.
    pub(crate) fn sees_response(&self) -> bool {
        self.processing.iter().any(|one| one.borrow().sees_response())
    }

    /// Has a request counted when it is done.
    pub(crate) fn count_later(&mut self, service: &GrpcService, message: Vec<u8>) {
        self.later.push((service.clone(), message));
    }

    /// The request is done.
    pub(crate) fn done(&mut self, worker: &Rc<Worker>, metadata: &mut Metadata) {
        for processing in &self.processing {
            let mut processing = processing.borrow_mut();
            for (name, kept) in processing.take_left() {
                for (key, value) in kept {
                    metadata.set(&name, &key, value);
                }
            }
            processing.close();
        }
        for (service, message) in self.later.drain(..) {
            count_done(worker, service, message);
        }
    }

    /// Whether somebody wants to know what became of the request.
    pub(crate) const fn awaits_outcome(&self) -> bool {
        !self.admitted.is_empty() || !self.under_way.is_empty()
    }

    /// Tells what became of the request.
    pub(crate) fn tell_outcome(&mut self, outcome: &Outcome, now: Instant, draw: u64) {
        self.admitted.drain(..).for_each(|one| one.tell(*outcome, now));
        // Requests without an answer tell nothing, and are not under way any more either.
        for one in self.under_way.drain(..).filter(|_| *outcome != Outcome::None) {
            one.answered(now, draw);
        }
    }

    /// The answer that a service left which ended the exchange amid content.
    pub(crate) fn take_reply(&self) -> Option<Box<Reply>> {
        self.processing.iter().find_map(|one| one.borrow_mut().take_reply())
    }

    /// What is said so far was done to the response.
    pub(crate) fn forget_changes(&mut self) {
        self.buckets.clear();
        self.headers.clear();
        self.removed.clear();
        self.status = None;
        self.response_content = None;
    }

    /// Changes the response.
    pub(crate) fn apply(&self, fields: &Fields, edits: &mut HeaderEdits) {
        // Responses pass the last filter first.
        for bucket in self.buckets.iter().rev() {
            local_limit::tell(bucket, clock::now(), edits);
        }
        self.removed.iter().for_each(|name| edits.remove(name.clone()));
        for (name, value, action) in &self.headers {
            let (name, value) = (name.clone(), value.clone());
            match action {
                AppendAction::AppendOrAdd => {
                    edits.add(fields, name, value, KnownSet::JOINED_IN_RESPONSES);
                }
                AppendAction::AddIfAbsent => {
                    if edits.get(fields, NameRef::from(&name)).is_none() {
                        edits.append(name, value);
                    }
                }
                AppendAction::OverwriteOrAdd => edits.set(name, value),
                AppendAction::OverwriteIfExists => {
                    if edits.get(fields, NameRef::from(&name)).is_some() {
                        edits.set(name, value);
                    }
                }
            }
        }
    }
}
