//! Showing a response to the services that saw its request, the last one first.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::task::{Context, Poll};

use iako_http::{BodyEvent, BodyLength, HeaderEdits, Known, Method, ResponseHead, Version};
use iako_proxy_config::{AppendAction, BodyMode, PartReply, ProcessPart};
use iako_rt::clock;

use super::attributes::Seen;
use super::call::Way;
use super::pass::{EndTold, ProcessPass};
use super::request::Meanwhile;
use super::{Asked, Head, HeaderChanges, HeldHead, MISMATCH, Question, Shared, Shown};
use crate::http::content::{ContentStep, Gathered};
use crate::http::downstream::{Content, Downstream};
use crate::http::error_response::Reply;
use crate::http::exchange::Exchange;
use crate::http::failure::Failure;
use crate::http::pump::PumpError;
use crate::upstream::Upstream;

/// Whose response it is.
pub(crate) enum Origin<'r> {
    /// A server's.
    Upstream(&'r mut Upstream),
    /// Ours, and what is left of its content.
    Own(VecDeque<BodyEvent>),
}

impl Origin<'_> {
    fn poll_body(&mut self, context: &mut Context<'_>) -> Poll<Result<BodyEvent, PumpError>> {
        match self {
            Self::Upstream(upstream) => upstream.poll_body(context).map_err(PumpError::Upstream),
            Self::Own(events) => Poll::Ready(Ok(events.pop_front().unwrap_or(BodyEvent::End))),
        }
    }
}

/// A response that is shown.
pub(super) struct Answered<'r> {
    head: &'r ResponseHead,
    origin: Origin<'r>,
    has_content: bool,
}

impl Exchange<'_> {
    /// Shows a response; what is answered in its place, where a service says so.
    pub(in crate::http) async fn process_response(
        &mut self,
        head: &ResponseHead,
        origin: Origin<'_>,
        downstream: &mut Downstream<'_>,
    ) -> Result<Option<Box<Reply>>, Failure> {
        let Some(said) = &self.said else { return Ok(None) };
        let all = said.processing.clone();
        let has_content = match head.length() {
            BodyLength::Empty | BodyLength::Exact(0) => false,
            BodyLength::Exact(_)
            | BodyLength::Chunked
            | BodyLength::UntilClose
            | BodyLength::Tunnel => true,
        } && *self.request.head.method() != Method::Head
            && !matches!(head.status(), 204 | 304);
        let mut answered = Answered { head, origin, has_content };
        for shared in all.iter().rev().filter(|one| one.borrow().sees_response()) {
            let answer = self.process_one(shared, &mut answered, downstream).await?;
            if answer.is_some() {
                self.download.drop_steps();
                return Ok(answer);
            }
        }
        Ok(None)
    }

    async fn process_one(
        &mut self,
        shared: &Shared,
        answered: &mut Answered<'_>,
        downstream: &mut Downstream<'_>,
    ) -> Result<Option<Box<Reply>>, Failure> {
        let comes = answered.has_content;
        let (configured, watches) = {
            let processing = shared.borrow();
            (processing.mode, processing.watches())
        };
        self.take_left(shared);
        let early = comes && shared.borrow().shows_early(configured.response_body);
        if comes && configured.response_body.is_in_pieces() && !watches {
            self.said.get_or_insert_default().response_content = Some(Content::Streamed);
        }
        let passes_early = early || (watches && comes);
        if configured.response_headers {
            let message = {
                let headers = self.response_headers(answered);
                let shown = shared.borrow().shown(&headers);
                let seen = Seen::Response(answered.head);
                self.head_message(shared, ProcessPart::ResponseHeaders(shown, !comes), seen)
            };
            if passes_early {
                self.pass_early(shared, answered);
            }
            if watches {
                // Who only looks on does not hold anything up, and cannot fail it either.
                drop(shared.borrow_mut().send(message, Way::Response));
                return Ok(None);
            }
            let meanwhile =
                if early { Meanwhile::ShowResponse(answered) } else { Meanwhile::Upload(answered) };
            let question = Question { asked: Asked::ResponseHeaders, message };
            match self.show(shared, question, meanwhile, downstream).await? {
                Shown::Passed => return Ok(None),
                Shown::Answer(reply) => return Ok(Some(reply)),
                Shown::Reply(reply) => {
                    if let Err(details) = self.take_response_head(shared, *reply, answered).await? {
                        return Ok(Some(shared.borrow_mut().refused(500, details)));
                    }
                }
            }
        } else if passes_early {
            self.pass_early(shared, answered);
        }
        if !comes || watches {
            return Ok(None);
        }
        let mode = shared.borrow().mode;
        let is_over = shared.borrow().is_over;
        if matches!(mode.response_body, BodyMode::Buffered | BodyMode::BufferedPartial)
            && !is_over
            && let Some(reply) = self.show_response_content(shared, answered, downstream).await?
        {
            return Ok(Some(reply));
        }
        if !passes_early && shared.borrow().shows_passing(Way::Response) {
            let head = Head::of(&configured, Way::Response);
            self.pass_response(shared, head, answered, downstream).await?;
        }
        Ok(None)
    }

    /// Takes what the service said of the head.
    async fn take_response_head(
        &mut self,
        shared: &Shared,
        reply: PartReply,
        answered: &mut Answered<'_>,
    ) -> Result<Result<(), &'static str>, Failure> {
        let changes = shared.borrow().changes(&reply);
        let changes = match changes {
            Ok(changes) => changes,
            Err(details) => return Ok(Err(details)),
        };
        self.change_response_head(&changes);
        if reply.replaces {
            // The content of the server is read and dropped.
            if answered.has_content {
                self.gather_response(answered).await?;
            } else {
                self.download.hold();
            }
            self.download.replace_held(reply.body.unwrap_or_default().into(), Gathered::Whole);
            self.said.get_or_insert_default().response_content = Some(Content::Streamed);
            let mode = &mut shared.borrow_mut().mode;
            mode.response_body = BodyMode::None;
            mode.response_trailers = false;
        }
        Ok(Ok(()))
    }

    fn response_pass(&self, shared: &Shared, answered: &Answered<'_>) -> ProcessPass {
        let end_told = match &answered.origin {
            Origin::Upstream(Upstream::Http2(_)) => EndTold::WithLast,
            Origin::Upstream(Upstream::Http1(_) | Upstream::Tcp(_)) | Origin::Own(_) => {
                EndTold::Alone
            }
        };
        let told = self.told_metadata(&shared.borrow().forwarded);
        ProcessPass::new(shared, Way::Response, end_told, told)
    }

    fn pass_early(&mut self, shared: &Shared, answered: &Answered<'_>) {
        if shared.borrow().shows_passing(Way::Response) {
            let pass = self.response_pass(shared, answered);
            self.download.push_step(ContentStep::Process(Box::new(pass)));
        }
    }

    /// Has the service see what passes from here on, as of requests.
    async fn pass_response(
        &mut self,
        shared: &Shared,
        head: Head,
        answered: &mut Answered<'_>,
        downstream: &mut Downstream<'_>,
    ) -> Result<(), Failure> {
        let pass = self.response_pass(shared, answered);
        if head == Head::Skipped {
            self.download.push_step(ContentStep::Process(Box::new(pass)));
            return Ok(());
        }
        let is_streamed =
            self.said.as_ref().is_some_and(|said| said.response_content == Some(Content::Streamed));
        let announced = announced(answered.head).filter(|_| !is_streamed);
        shared.borrow_mut().held_head = Some(HeldHead { announced, changes: Vec::new() });
        self.download.push_step(ContentStep::Process(Box::new(pass.in_burst())));
        poll_fn(|context| {
            let origin = &mut answered.origin;
            let settled =
                self.download.poll_settle(context, &mut |context| origin.poll_body(context));
            match settled {
                Poll::Ready(settled) => Poll::Ready(settled.map_err(failure_of)),
                Poll::Pending => self.poll_beside(context, answered, downstream).map(Err),
            }
        })
        .await?;
        self.now = clock::now();
        let held = shared.borrow_mut().held_head.take();
        for changes in held.into_iter().flat_map(|held| held.changes) {
            self.change_response_head(&changes);
        }
        Ok(())
    }

    /// Shows what comes of the response; ready when it cannot go on.
    pub(super) fn poll_feed_response(
        &mut self,
        context: &mut Context<'_>,
        answered: &mut Answered<'_>,
    ) -> Poll<Result<(), Failure>> {
        let origin = &mut answered.origin;
        let fed = self.download.poll_feed(context, &mut |context| origin.poll_body(context));
        fed.map_err(failure_of)
    }

    /// What flows while a response is held: the rest of the request.
    pub(super) fn poll_beside(
        &mut self,
        context: &mut Context<'_>,
        answered: &mut Answered<'_>,
        downstream: &mut Downstream<'_>,
    ) -> Poll<Failure> {
        let flows = !self.upload.is_told_whole() && !self.upload.has_failed();
        let Origin::Upstream(upstream) = &mut answered.origin else {
            return self.poll_interrupted(context, downstream);
        };
        if !flows {
            return self.poll_interrupted(context, downstream);
        }
        match self.upload.poll(context, downstream, upstream) {
            Poll::Ready(Err(PumpError::Upstream(_))) => self.upload.fail(),
            Poll::Ready(Err(PumpError::Downstream(error))) => {
                return Poll::Ready(Failure::Client(error));
            }
            Poll::Ready(Err(PumpError::Content(error))) => {
                return Poll::Ready(Failure::ResponseContent(error));
            }
            Poll::Ready(Ok(())) | Poll::Pending => {}
        }
        self.poll_deadline(context).map(|expired| expired.failure())
    }

    /// The head of a response as services see it.
    fn response_headers(&self, answered: &Answered<'_>) -> Vec<(String, Vec<u8>)> {
        let head = answered.head;
        let is_own = matches!(answered.origin, Origin::Own(_));
        let mut edits = HeaderEdits::default();
        if is_own {
            edits = self.response_edits.fields.clone();
        }
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
            && !(is_own && length == 0)
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
            && !is_own
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

    /// Reads the content of the response until it is whole, or too much to keep.
    async fn gather_response(&mut self, answered: &mut Answered<'_>) -> Result<Gathered, Failure> {
        self.download.hold();
        let bytes_max = self.service.kept_bytes_max;
        let gathered = poll_fn(|context| {
            let origin = &mut answered.origin;
            let mut source = |context: &mut Context<'_>| {
                let event = origin.poll_body(context);
                if event.is_ready() {
                    self.deadlines.touch();
                }
                event
            };
            match self.download.poll_gather(context, bytes_max, &mut source) {
                Poll::Ready(gathered) => Poll::Ready(gathered.map_err(failure_of)),
                Poll::Pending => self.poll_deadline(context).map(|it| Err(it.failure())),
            }
        })
        .await?;
        self.now = clock::now();
        Ok(gathered)
    }

    async fn show_response_content(
        &mut self,
        shared: &Shared,
        answered: &mut Answered<'_>,
        downstream: &mut Downstream<'_>,
    ) -> Result<Option<Box<Reply>>, Failure> {
        let gathered = self.gather_response(answered).await?;
        let content = self.download.held();
        let is_partial = shared.borrow().mode.response_body == BodyMode::BufferedPartial;
        if gathered == Gathered::Beyond && !is_partial {
            let refused = shared.borrow_mut().refused(500, "response_payload_too_large");
            return Ok(Some(refused));
        }
        let ends = gathered == Gathered::Whole && !self.download.holds_trailers();
        let message = self.part_message(shared, ProcessPart::ResponseBody(&content, ends));
        let question = Question { asked: Asked::ResponseBody, message };
        let meanwhile = Meanwhile::Upload(answered);
        let reply = match self.show(shared, question, meanwhile, downstream).await? {
            Shown::Passed => return Ok(None),
            Shown::Answer(reply) => return Ok(Some(reply)),
            Shown::Reply(reply) => reply,
        };
        let changes = shared.borrow().changes(&reply);
        let changes = match changes {
            Ok(changes) => changes,
            Err(details) => return Ok(Some(shared.borrow_mut().refused(500, details))),
        };
        let length = changes.length;
        self.change_response_head(&changes);
        let said = self.said.get_or_insert_default();
        if is_partial {
            said.response_content = Some(Content::Streamed);
        }
        if let Some(body) = reply.body {
            let announced = announced(answered.head).map(|announced| length.unwrap_or(announced));
            if !is_partial && announced.is_some_and(|announced| announced != body.len() as u64) {
                return Ok(Some(shared.borrow_mut().refused(500, MISMATCH)));
            }
            said.response_content = Some(match announced.filter(|_| !is_partial) {
                Some(length) => Content::Exact(length),
                None => Content::Streamed,
            });
            self.download.replace_held(body.into(), gathered);
        }
        Ok(None)
    }
}

/// The length that a head announces.
fn announced(head: &ResponseHead) -> Option<u64> {
    match head.length() {
        BodyLength::Exact(announced) => Some(announced),
        BodyLength::Chunked | BodyLength::Empty | BodyLength::UntilClose | BodyLength::Tunnel => {
            None
        }
    }
}

fn failure_of(error: PumpError) -> Failure {
    match error {
        PumpError::Upstream(error) => Failure::Upstream(error),
        PumpError::Downstream(error) => Failure::Client(error),
        PumpError::Content(error) => Failure::ResponseContent(error),
    }
}
