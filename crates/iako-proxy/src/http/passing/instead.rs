//! Responses in place of an upstream's: those that policies name, and those that were kept.

use std::sync::Arc;

use bytes::Bytes;
use iako_http::{
    BodyLength, FieldName, FieldValue, Fields, Known, Method, ResponseEdits, ResponseHead, Version,
};
use iako_proxy_config::{CustomResponse, FilterSettings, ResponseDetails, ResponsePolicy};
use iako_rt::clock;
use iako_telemetry::ResponseFlag;
use iako_traffic::{CachedPart, ResponseFacts, RouteMatchResult, cached_part, choose_action};

use super::{ChainPlace, Ends, Passing};
use crate::http::content::ContentStep;
use crate::http::downstream::{Content, Downstream};
use crate::http::error_response::Reply;
use crate::http::exchange::{Exchange, Step};
use crate::http::failure::Failure;
use crate::http::filters::content::cache::{
    Arriving, CacheMark, CacheStep, Kept, Lookup, ask, range_of,
};
use crate::http::filters::content::custom_response::{Replacement, settings_of};
use crate::http::reply::Written;
use crate::http::request::ResponseView;

/// What came of looking for a response in place of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Instead {
    /// The response stays.
    Own,
    /// One was written in its place.
    Written,
    /// Another request is made, and its response stands in its place.
    Elsewhere,
}

/// What the log says of a response that was kept.
const FROM_CACHE: &str = "cache.response_from_cache_filter";

/// Seconds of Unix time.
fn unix_seconds() -> u64 {
    let since = clock::wall().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

impl Exchange<'_> {
    /// Puts the response that a policy names in place of another one.
    pub(super) fn answer_instead(
        &mut self,
        own: &CustomResponse,
        at: &ChainPlace<'_, '_>,
        route: Option<&RouteMatchResult<'_>>,
        passing: &mut Passing,
    ) -> Instead {
        if self.is_elsewhere() {
            self.end_elsewhere(&passing.head);
            return Instead::Own;
        }
        let wider = at.overrides.and_then(|overrides| overrides.settings(at.name));
        let settings = settings_of(own, wider.and_then(FilterSettings::custom_response));
        let Some(policies) = &settings.policies else { return Instead::Own };
        let status = self.response_edits.status(&passing.head);
        let replacement = {
            let view = self.request.view();
            let facts = self.request.facts(&view, &self.connection.info);
            let headers = ResponseView { head: &passing.head, edits: &self.response_edits };
            let seen = ResponseFacts { request: &facts, status, headers: &headers };
            choose_action(policies, &seen)
        };
        let replacement = match replacement {
            None => return Instead::Own,
            Some(ResponsePolicy::Redirect(own)) => {
                let goes = self.go_elsewhere(own, &passing.head);
                return if goes { Instead::Elsewhere } else { Instead::Own };
            }
            Some(ResponsePolicy::Local(own)) => Replacement::compile(own),
        };
        // Formats speak of the response that was.
        let was = status;
        let status = replacement.status.unwrap_or(was);
        self.record.details = match replacement.details {
            ResponseDetails::Usual => "".into(),
            ResponseDetails::Kept => std::mem::take(&mut self.record.details),
            ResponseDetails::Told(told) => told.into(),
        };
        self.download.drop_steps();
        self.record.status = Some(status);
        self.response_edits = ResponseEdits::default();
        if let Some(route) = route {
            self.edit_response(route, &Fields::default());
        }
        self.edit_response_level(&replacement.headers, &Fields::default());
        let body = match &replacement.writer {
            Some(writer) => self.written_body(writer, was, &replacement.body),
            None => replacement.body,
        };
        *passing = self.written(Written { status, body, grpc_status: None, keeps_status: false });
        Instead::Written
    }

    /// Looks whether a response to the request is kept, and answers with it when it is fresh.
    pub(super) async fn look_in_cache(
        &mut self,
        step: &CacheStep,
        place: usize,
        route: Option<&RouteMatchResult<'_>>,
        downstream: &mut Downstream<'_>,
    ) -> Result<Step, Failure> {
        let now = unix_seconds();
        let found = {
            let view = self.request.view();
            let facts = self.request.facts(&view, &self.connection.info);
            step.look(&facts.head, now)
        };
        let mark = match found {
            Lookup::Pass => return Ok(Step::Continue),
            Lookup::Forbidden => {
                let reply = Reply::new(504, "cache.only_if_cached");
                return Ok(Step::Reply(Box::new(reply)));
            }
            Lookup::Fresh(kept, age) => {
                let mut passing = self.kept_response(&kept, Some(age));
                let mut ends = Ends { route, upstream: None, downstream };
                passing = Box::pin(self.filter_response(passing, &mut ends)).await?;
                Box::pin(self.deliver(passing, downstream)).await?;
                return Ok(Step::Answered);
            }
            Lookup::Changes(key) => CacheMark::Changes(key),
            Lookup::Miss(key) => CacheMark::Keep(key),
            Lookup::Ask(kept, key) => {
                ask(&kept, &mut self.request.edits.fields);
                CacheMark::Asked(kept, key)
            }
        };
        self.remembered.get_or_insert_default().cache = Some((place, mark));
        Ok(Step::Continue)
    }

    /// What a cache does with a response: keeps it, answers with what it has, or lets go of that.
    pub(super) fn note_response(&mut self, step: &CacheStep, place: usize, passing: &mut Passing) {
        let Some(remembered) = &mut self.remembered else { return };
        let mark = remembered.cache.take_if(|(own, _)| *own == place);
        let Some((_, mark)) = mark else { return };
        let status = self.response_edits.status(&passing.head);
        // What is ours says nothing about the resource.
        if passing.own.is_some() {
            return;
        }
        match mark {
            CacheMark::Changes(key) => {
                if (200..400).contains(&status) {
                    step.forget(&key);
                }
            }
            CacheMark::Asked(kept, _) if status == 304 => self.serve_renewed(step, &kept, passing),
            CacheMark::Asked(_, key) | CacheMark::Keep(key) => {
                self.begin_keeping(step, &key, status, passing);
            }
        }
    }

    fn begin_keeping(&mut self, step: &CacheStep, key: &str, status: u16, passing: &Passing) {
        let length = match passing.content {
            Content::Exact(length) => Some(length),
            Content::None => Some(0),
            Content::Streamed => None,
            // The answer to HEAD has no content that could be kept.
            Content::Described(_) | Content::Tunnel => return,
        };
        let request = self.request.view();
        let view = ResponseView { head: &passing.head, edits: &self.response_edits };
        let response = Arriving {
            status,
            sent: passing.head.fields(),
            edits: &self.response_edits.fields,
            view: &view,
            length,
            now: unix_seconds(),
        };
        if let Some(mut keep) = step.keep(key, &request, response) {
            if passing.content == Content::None {
                keep.note(&iako_http::BodyEvent::End);
            } else {
                self.download.push_step(ContentStep::Keep(Box::new(keep), None));
            }
        }
    }

    fn serve_renewed(&mut self, step: &CacheStep, kept: &Arc<Kept>, passing: &mut Passing) {
        let now = unix_seconds();
        let edits = &self.response_edits.fields;
        let kept = step.renewed(kept, passing.head.fields(), edits, now);
        self.download.drop_steps();
        // It was confirmed just now.
        *passing = self.kept_response(&kept, None);
    }

    /// A response that was kept, or the part of it that the request asks for.
    fn kept_response(&mut self, kept: &Kept, age: Option<u64>) -> Passing {
        self.record.flags.insert(ResponseFlag::ResponseFromCacheFilter);
        self.record.details = FROM_CACHE.into();
        let mut edits = ResponseEdits::default();
        let length = kept.body.len() as u64;
        let request = &self.request;
        let range = range_of(request.head.fields(), &request.edits.fields);
        let part = if kept.status == 200 {
            cached_part(range.as_deref(), length)
        } else {
            CachedPart::Whole
        };
        let mut set = |name: &[u8], value: String| {
            if let Ok(name) = FieldName::parse(name) {
                edits.fields.set(name, FieldValue::sanitized(value));
            }
        };
        if let Some(age) = age {
            set(b"age", age.to_string());
        }
        let (status, body) = match part {
            CachedPart::Whole => (kept.status, kept.body.clone()),
            CachedPart::Part(part) => {
                let last = part.end.saturating_sub(1);
                set(b"content-range", format!("bytes {}-{last}/{length}", part.start));
                let place = |at: u64| usize::try_from(at).unwrap_or(usize::MAX);
                (206, kept.body.slice(place(part.start)..place(part.end)))
            }
            CachedPart::Nothing => {
                set(b"content-range", format!("bytes */{length}"));
                (416, Bytes::new())
            }
        };
        self.response_edits = edits;
        self.record.status = Some(status);
        let own_length = body.len() as u64;
        let head = ResponseHead::new(
            status,
            Version::Http11,
            BodyLength::Exact(own_length),
            kept.fields.clone(),
        );
        let content = if *self.request.head.method() == Method::Head {
            Content::Described(Some(own_length))
        } else if kept.has_length || status != kept.status {
            Content::Exact(own_length)
        } else {
            Content::Streamed
        };
        self.request.edits.fields.remove(Known::Range);
        Passing { head, content, own: Some(body) }
    }
}
