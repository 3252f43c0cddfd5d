//! Showing a response to the services that saw its request, the last one first.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::task::Poll;

use iako_http::{BodyEvent, BodyLength, HeaderEdits, Known, Method, ResponseHead, Version};
use iako_proxy_config::{AppendAction, BodyMode, ProcessPart};
use iako_rt::clock;

use super::{Asked, HeaderChanges, MISMATCH, Processing, Shown, Side};
use crate::http::content::{ContentStep, Gathered, content_of, replace};
use crate::http::downstream::{Content, Downstream};
use crate::http::error_response::Reply;
use crate::http::exchange::Exchange;
use crate::http::failure::Failure;
use crate::http::pump::KEPT_BYTES_MAX;
use crate::upstream::Upstream;

/// A response that is shown.
struct Answered<'r> {
    head: &'r ResponseHead,
    upstream: &'r mut Upstream,
    has_content: bool,
    /// Its content, once it was read.
    held: Option<(VecDeque<BodyEvent>, Gathered)>,
}

impl Exchange<'_> {
    /// Shows a response; what is answered in its place, where a service says so.
    pub(in crate::http) async fn process_response(
        &mut self,
        head: &ResponseHead,
        upstream: &mut Upstream,
        downstream: &mut Downstream<'_>,
    ) -> Result<Option<Box<Reply>>, Failure> {
        let mut all = match &mut self.said {
            Some(said) => std::mem::take(&mut said.processing),
            None => return Ok(None),
        };
        let has_content = head.length() != BodyLength::Empty
            && *self.request.head.method() != Method::Head
            && !matches!(head.status(), 204 | 304);
        let mut answered = Answered { head, upstream, has_content, held: None };
        let mut answer = None;
        for processing in all.iter_mut().rev().filter(|one| one.sees_response()) {
            answer = self.process_one(processing, &mut answered, downstream).await?;
            if answer.is_some() {
                break;
            }
        }
        if answer.is_none()
            && let Some((events, _)) = answered.held
        {
            self.download.push_step(ContentStep::Held(events));
        }
        self.said.get_or_insert_default().processing = all;
        Ok(answer)
    }

    async fn process_one(
        &mut self,
        processing: &mut Processing,
        answered: &mut Answered<'_>,
        downstream: &mut Downstream<'_>,
    ) -> Result<Option<Box<Reply>>, Failure> {
        let head = answered.head;
        let has_content = answered.has_content;
        if processing.mode.response_headers {
            let headers = self.response_headers(head);
            let part = ProcessPart::ResponseHeaders(processing.shown(&headers), !has_content);
            let message = self.message(processing, part, Side::Response(head));
            match self.show(processing, message, Asked::ResponseHeaders, downstream).await? {
                Shown::Passed => return Ok(None),
                Shown::Answer(reply) => return Ok(Some(reply)),
                Shown::Reply(reply) => match processing.changes(&reply) {
                    Ok(changes) => {
                        self.change_response_head(&changes);
                        if reply.replaces {
                            self.replace_response(reply.body.unwrap_or_default(), answered).await?;
                            return Ok(None);
                        }
                    }
                    Err(details) => return Ok(Some(processing.refused(500, details))),
                },
            }
        }
        if processing.is_over || !has_content || processing.mode.response_body == BodyMode::None {
            return Ok(None);
        }
        self.show_response_content(processing, answered, downstream).await
    }

    /// The head of a response as services see it.
    fn response_headers(&self, head: &ResponseHead) -> Vec<(String, Vec<u8>)> {
        let mut edits = HeaderEdits::default();
        let mut status = head.status();
        if let Some(said) = &self.said {
            said.apply(head.fields(), &mut edits);
            status = said.status.unwrap_or(status);
        }
        let mut headers = vec![(":status".to_owned(), status.to_string().into_bytes())];
        for field in iako_http::edited_fields(head.fields(), &edits) {
            if let Ok(name) = std::str::from_utf8(field.name) {
                headers.push((name.to_ascii_lowercase(), field.value.to_vec()));
            }
        }
        if let BodyLength::Exact(length) = head.length()
            && !head.fields().contains(Known::ContentLength)
        {
            headers.push(("content-length".to_owned(), length.to_string().into_bytes()));
        }
        if head.length() == BodyLength::Chunked
            && head.version() != Version::Http2
            && headers.iter().all(|(name, _)| name != "transfer-encoding")
        {
            headers.push(("transfer-encoding".to_owned(), b"chunked".to_vec()));
        }
        if !self.service.traits.suppresses_envoy_headers
            && let Some(since) = self.record.request_at
        {
            let took = self.now.saturating_duration_since(since).as_millis().to_string();
            headers.push(("x-envoy-upstream-service-time".to_owned(), took.into_bytes()));
        }
        headers
    }

    fn change_response_head(&mut self, changes: &HeaderChanges) {
        let said = self.said.get_or_insert_default();
        for name in &changes.remove {
            said.removal(name);
        }
        for (name, value, adds) in &changes.set {
            if name == ":status" {
                let text = std::str::from_utf8(value).ok();
                let status = text.and_then(|text| text.parse::<u16>().ok());
                said.status = status.filter(|status| (200..600).contains(status));
                continue;
            }
            let action =
                if *adds { AppendAction::AppendOrAdd } else { AppendAction::OverwriteOrAdd };
            said.header(name, value, action);
        }
    }

    /// The content of the response becomes another one; that of the server is read and dropped.
    async fn replace_response(
        &mut self,
        body: Vec<u8>,
        answered: &mut Answered<'_>,
    ) -> Result<(), Failure> {
        if answered.has_content {
            self.gather_response(answered).await?;
        }
        let (events, _) = answered.held.get_or_insert((VecDeque::new(), Gathered::Whole));
        replace(events, body.into(), Gathered::Whole);
        self.said.get_or_insert_default().response_content = Some(Content::Streamed);
        Ok(())
    }

    /// Reads the content of the response until it is whole, or too much to keep.
    async fn gather_response(&mut self, answered: &mut Answered<'_>) -> Result<Gathered, Failure> {
        if let Some((_, gathered)) = &answered.held {
            return Ok(*gathered);
        }
        let (mut events, mut bytes) = (VecDeque::new(), 0);
        let upstream = &mut *answered.upstream;
        let gathered = poll_fn(|context| {
            loop {
                if bytes > KEPT_BYTES_MAX {
                    return Poll::Ready(Ok(Gathered::Beyond));
                }
                let event = match upstream.poll_body(context) {
                    Poll::Ready(Ok(event)) => event,
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(Failure::Upstream(error))),
                    Poll::Pending => {
                        return self.deadlines.poll(context).map(|it| Err(it.failure()));
                    }
                };
                self.deadlines.touch();
                if let BodyEvent::Data(data) = &event {
                    bytes += data.len();
                }
                let ends = matches!(event, BodyEvent::End);
                events.push_back(event);
                if ends {
                    return Poll::Ready(Ok(Gathered::Whole));
                }
            }
        })
        .await?;
        self.now = clock::now();
        answered.held = Some((events, gathered));
        Ok(gathered)
    }

    async fn show_response_content(
        &mut self,
        processing: &mut Processing,
        answered: &mut Answered<'_>,
        downstream: &mut Downstream<'_>,
    ) -> Result<Option<Box<Reply>>, Failure> {
        let head = answered.head;
        let gathered = self.gather_response(answered).await?;
        let content = answered.held.as_ref().map(|(events, _)| content_of(events));
        let content = content.unwrap_or_default();
        let is_partial = processing.mode.response_body == BodyMode::BufferedPartial;
        if gathered == Gathered::Beyond && !is_partial {
            return Ok(Some(processing.refused(500, "response_payload_too_large")));
        }
        let part = ProcessPart::ResponseBody(&content, gathered == Gathered::Whole);
        let message = self.message(processing, part, Side::Response(head));
        let reply = match self.show(processing, message, Asked::ResponseBody, downstream).await? {
            Shown::Passed => return Ok(None),
            Shown::Answer(reply) => return Ok(Some(reply)),
            Shown::Reply(reply) => reply,
        };
        let changes = match processing.changes(&reply) {
            Ok(changes) => changes,
            Err(details) => return Ok(Some(processing.refused(500, details))),
        };
        let length = changes.length;
        self.change_response_head(&changes);
        let said = self.said.get_or_insert_default();
        if is_partial {
            said.response_content = Some(Content::Streamed);
        }
        if let Some(body) = reply.body {
            let announced = match head.length() {
                BodyLength::Exact(announced) => Some(length.unwrap_or(announced)),
                BodyLength::Chunked
                | BodyLength::Empty
                | BodyLength::UntilClose
                | BodyLength::Tunnel => None,
            };
            if !is_partial && announced.is_some_and(|announced| announced != body.len() as u64) {
                return Ok(Some(processing.refused(500, MISMATCH)));
            }
            said.response_content = Some(match announced.filter(|_| !is_partial) {
                Some(length) => Content::Exact(length),
                None => Content::Streamed,
            });
            if let Some((events, _)) = &mut answered.held {
                replace(events, body.into(), gathered);
            }
        }
        Ok(None)
    }
}
