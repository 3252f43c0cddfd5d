//! Showing a request.

use std::cell::RefCell;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use iako_http::{BodyLength, Version};
use iako_proxy_config::{BodyMode, PartReply, ProcessPart, RouteCacheAction};
use iako_rt::clock;
use iako_traffic::EffectiveOverrides;

use super::attributes::Seen;
use super::call::Way;
use super::pass::{EndTold, ProcessPass};
use super::response::Answered;
use super::talk::{self, Waiting};
use super::{
    Asked, Head, HeaderChanges, HeldHead, MISMATCH, ProcessStep, Processing, Question, Shared,
    Shown,
};
use crate::http::content::{ContentStep, Gathered};
use crate::http::downstream::{Content, Downstream};
use crate::http::error_response::Reply;
use crate::http::exchange::{Exchange, Step};
use crate::http::failure::Failure;
use crate::http::pump::UploadLength;

/// What goes on while an answer is waited for.
pub(super) enum Meanwhile<'m, 'r> {
    /// Nothing.
    Nothing,
    /// The content of the request is shown.
    ShowRequest,
    /// The content of the request flows on to the server.
    Upload(&'m mut Answered<'r>),
    /// The same, and the content of the response is shown.
    ShowResponse(&'m mut Answered<'r>),
}

impl Exchange<'_> {
    /// Shows a request to the service of a filter.
    pub(in crate::http) async fn process_request(
        &mut self,
        step: &Arc<ProcessStep>,
        overrides: Option<&EffectiveOverrides<'_>>,
        downstream: &mut Downstream<'_>,
    ) -> Result<Step, Failure> {
        let processing = Processing::new(step, overrides, self);
        let shared = Rc::new(RefCell::new(processing));
        // Known from here on: a failure amid content leaves its answer there.
        self.said.get_or_insert_default().processing.push(Rc::clone(&shared));
        let mut reroutes = false;
        if let Some(reply) = self.show_request(&shared, &mut reroutes, downstream).await? {
            return Ok(Step::Reply(reply));
        }
        Ok(if reroutes { Step::Reroute } else { Step::Continue })
    }

    async fn show_request(
        &mut self,
        shared: &Shared,
        reroutes: &mut bool,
        downstream: &mut Downstream<'_>,
    ) -> Result<Option<Box<Reply>>, Failure> {
        let comes = self.may_gather() && !self.upload.is_read_whole();
        let (configured, watches) = {
            let processing = shared.borrow();
            (processing.mode, processing.watches())
        };
        let early = comes && shared.borrow().shows_early(configured.request_body);
        if comes && configured.request_body.is_in_pieces() && !watches {
            self.said.get_or_insert_default().content = Some(Content::Streamed);
        }
        let passes_early = early || (watches && comes);
        if passes_early && shared.borrow().shows_passing(Way::Request) {
            let pass = self.request_pass(shared);
            self.upload.push_step(step_of(pass), UploadLength::Announced);
        }
        if configured.request_headers {
            let message = {
                let headers = self.told_headers();
                let shown = shared.borrow().shown(&headers);
                self.head_message(shared, ProcessPart::RequestHeaders(shown, !comes), Seen::Request)
            };
            if watches {
                // Who only looks on does not hold anything up, and cannot fail it either.
                drop(shared.borrow_mut().send(message, Way::Request));
            } else {
                let meanwhile = if early { Meanwhile::ShowRequest } else { Meanwhile::Nothing };
                let question = Question { asked: Asked::RequestHeaders, message };
                match self.show(shared, question, meanwhile, downstream).await? {
                    Shown::Passed => return Ok(None),
                    Shown::Answer(reply) => return Ok(Some(reply)),
                    Shown::Reply(reply) => {
                        let taken = self.take_request_head(shared, *reply, downstream).await?;
                        match taken {
                            Ok(rerouted) => *reroutes = rerouted,
                            Err(details) => {
                                return Ok(Some(shared.borrow_mut().refused(500, details)));
                            }
                        }
                    }
                }
            }
        }
        if !comes || watches {
            return Ok(None);
        }
        let mode = shared.borrow().mode;
        let is_over = shared.borrow().is_over;
        if matches!(mode.request_body, BodyMode::Buffered | BodyMode::BufferedPartial)
            && !is_over
            && let Some(reply) = self.show_content(shared, downstream).await?
        {
            return Ok(Some(reply));
        }
        if !passes_early && shared.borrow().shows_passing(Way::Request) {
            let head = Head::of(&configured, Way::Request);
            self.pass_request(shared, head, downstream).await?;
        }
        Ok(None)
    }

    /// Takes what the service said of the head; whether the route is chosen again.
    async fn take_request_head(
        &mut self,
        shared: &Shared,
        reply: PartReply,
        downstream: &mut Downstream<'_>,
    ) -> Result<Result<bool, &'static str>, Failure> {
        let rerouted = self.take_request_headers(shared, &reply);
        if rerouted.is_ok() && reply.replaces {
            if self.may_gather() {
                // What the client says is read, so that its connection can go on.
                self.gather_as_announced(self.service.kept_bytes_max, downstream).await?;
            }
            self.replace_content(reply.body.unwrap_or_default().into());
            let mode = &mut shared.borrow_mut().mode;
            mode.request_body = BodyMode::None;
            mode.request_trailers = false;
        }
        Ok(rerouted)
    }

    fn request_pass(&self, shared: &Shared) -> ProcessPass {
        let end_told = match self.request.head.version() {
            Version::Http2 => EndTold::WithLast,
            Version::Http10 | Version::Http11 => EndTold::Alone,
        };
        let told = self.told_metadata(&shared.borrow().forwarded);
        ProcessPass::new(shared, Way::Request, end_told, told)
    }

    /// Has the service see what passes from here on. What came while it looked at the head is settled
    /// before the head goes on, so that it may still be changed.
    async fn pass_request(
        &mut self,
        shared: &Shared,
        head: Head,
        downstream: &mut Downstream<'_>,
    ) -> Result<(), Failure> {
        let pass = self.request_pass(shared);
        if head == Head::Skipped {
            self.upload.push_step(step_of(pass), UploadLength::Announced);
            return Ok(());
        }
        let is_streamed =
            self.said.as_ref().is_some_and(|said| said.content == Some(Content::Streamed));
        let announced = match self.request.head.length() {
            BodyLength::Exact(length) if !is_streamed => Some(length),
            BodyLength::Exact(_)
            | BodyLength::Chunked
            | BodyLength::Empty
            | BodyLength::UntilClose
            | BodyLength::Tunnel => None,
        };
        shared.borrow_mut().held_head = Some(HeldHead { announced, changes: Vec::new() });
        self.upload.push_step(step_of(pass.in_burst()), UploadLength::Announced);
        poll_fn(|context| {
            let before = self.upload.bytes;
            let settled = self.upload.poll_settle(context, downstream);
            if self.upload.bytes != before {
                self.deadlines.touch();
            }
            match settled {
                Poll::Ready(settled) => Poll::Ready(settled.map_err(Failure::Client)),
                Poll::Pending => self.poll_deadline(context).map(|expired| Err(expired.failure())),
            }
        })
        .await?;
        self.now = clock::now();
        let held = shared.borrow_mut().held_head.take();
        for changes in held.into_iter().flat_map(|held| held.changes) {
            self.change_head(changes);
        }
        Ok(())
    }

    /// Changes the head of the request; whether the route is chosen again.
    fn take_request_headers(
        &mut self,
        shared: &Shared,
        reply: &PartReply,
    ) -> Result<bool, &'static str> {
        let changes = shared.borrow().changes(reply)?;
        self.change_head(changes);
        if reply.set.is_empty() && reply.remove.is_empty() {
            return Ok(false);
        }
        let processing = shared.borrow();
        Ok(match processing.step.settings.route_cache {
            RouteCacheAction::AsTold => reply.clear_route,
            RouteCacheAction::Always => true,
            RouteCacheAction::Never => {
                if reply.clear_route {
                    processing.step.stats.clear_route_cache_disabled.inc();
                }
                false
            }
        })
    }

    fn change_head(&mut self, changes: HeaderChanges) {
        for name in changes.remove {
            if let Ok(name) = iako_http::FieldName::parse(name.as_bytes()) {
                self.request.edits.fields.remove(name);
            }
        }
        for (name, value, adds) in changes.set {
            if adds {
                self.request.add_field(&name, value);
            } else {
                self.request.set_field(&name, value);
            }
        }
    }

    /// The content becomes another one, of a length that is not announced.
    fn replace_content(&mut self, content: Bytes) {
        self.upload.replace_held(content, Gathered::Whole);
        self.said.get_or_insert_default().content = Some(Content::Streamed);
    }

    /// Shows the content of the request.
    async fn show_content(
        &mut self,
        shared: &Shared,
        downstream: &mut Downstream<'_>,
    ) -> Result<Option<Box<Reply>>, Failure> {
        let gathered = self.gather_as_announced(self.service.kept_bytes_max, downstream).await?;
        let is_partial = shared.borrow().mode.request_body == BodyMode::BufferedPartial;
        if gathered == Gathered::Beyond && !is_partial {
            shared.borrow_mut().close();
            return Err(Failure::TooLarge);
        }
        if is_partial {
            self.said.get_or_insert_default().content = Some(Content::Streamed);
        }
        let content = self.upload.held();
        let ends = gathered == Gathered::Whole && !self.upload.holds_trailers();
        let message = self.part_message(shared, ProcessPart::RequestBody(&content, ends));
        let question = Question { asked: Asked::RequestBody, message };
        let shown = self.show(shared, question, Meanwhile::Nothing, downstream).await?;
        let reply = match shown {
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
        self.change_head(changes);
        if let Some(body) = reply.body {
            let announced = match self.request.head.length() {
                BodyLength::Exact(announced) => Some(length.unwrap_or(announced)),
                BodyLength::Chunked
                | BodyLength::Empty
                | BodyLength::UntilClose
                | BodyLength::Tunnel => None,
            };
            if !is_partial && announced.is_some_and(|announced| announced != body.len() as u64) {
                return Ok(Some(shared.borrow_mut().refused(500, MISMATCH)));
            }
            let content = match announced.filter(|_| !is_partial) {
                Some(length) => Content::Exact(length),
                None => Content::Streamed,
            };
            self.said.get_or_insert_default().content = Some(content);
            self.upload.replace_held(body.into(), gathered);
        }
        Ok(None)
    }

    /// Shows a part and waits for what the service says.
    pub(super) async fn show(
        &mut self,
        shared: &Shared,
        question: Question,
        mut meanwhile: Meanwhile<'_, '_>,
        downstream: &mut Downstream<'_>,
    ) -> Result<Shown, Failure> {
        let Question { asked, message } = question;
        let (way, body) = {
            let mode = &shared.borrow().mode;
            match asked {
                Asked::RequestHeaders | Asked::RequestBody => (Way::Request, mode.request_body),
                Asked::ResponseHeaders | Asked::ResponseBody => (Way::Response, mode.response_body),
            }
        };
        let is_hurried = match (&meanwhile, body) {
            (Meanwhile::ShowRequest | Meanwhile::ShowResponse(_), BodyMode::Duplex) => false,
            (
                Meanwhile::Nothing
                | Meanwhile::ShowRequest
                | Meanwhile::Upload(_)
                | Meanwhile::ShowResponse(_),
                _,
            ) => true,
        };
        let answer = match talk::send(shared, way, message).await {
            Err(failure) => Err(failure),
            Ok(()) => {
                let mut waiting = is_hurried.then(|| shared.borrow().waiting());
                poll_fn(|context| {
                    let answer = poll_answer(shared, way, waiting.as_mut(), context);
                    if answer.is_ready() {
                        return answer.map(Ok);
                    }
                    self.poll_meanwhile(context, &mut meanwhile, downstream).map(Err)
                })
                .await?
            }
        };
        self.now = clock::now();
        let shown = shared.borrow_mut().answered(asked, answer);
        self.take_left(shared);
        Ok(shown)
    }

    /// Takes over the facts that answers left.
    pub(super) fn take_left(&mut self, shared: &Shared) {
        for (name, kept) in shared.borrow_mut().take_left() {
            for (key, value) in kept {
                self.request.metadata.set(&name, &key, value);
            }
        }
    }

    fn poll_meanwhile(
        &mut self,
        context: &mut Context<'_>,
        meanwhile: &mut Meanwhile<'_, '_>,
        downstream: &mut Downstream<'_>,
    ) -> Poll<Failure> {
        match meanwhile {
            Meanwhile::Nothing => self.poll_interrupted(context, downstream),
            Meanwhile::ShowRequest => {
                let before = self.upload.bytes;
                let fed = self.upload.poll_feed(context, downstream);
                if self.upload.bytes != before {
                    self.deadlines.touch();
                }
                match fed {
                    Poll::Ready(Ok(())) => self.poll_interrupted(context, downstream),
                    Poll::Ready(Err(error)) => Poll::Ready(Failure::Client(error)),
                    Poll::Pending => self.poll_deadline(context).map(|expired| expired.failure()),
                }
            }
            Meanwhile::Upload(answered) => self.poll_beside(context, answered, downstream),
            Meanwhile::ShowResponse(answered) => {
                if let Poll::Ready(Err(failure)) = self.poll_feed_response(context, answered) {
                    return Poll::Ready(failure);
                }
                self.poll_beside(context, answered, downstream)
            }
        }
    }
}

fn poll_answer(
    shared: &Shared,
    way: Way,
    waiting: Option<&mut Waiting>,
    context: &mut Context<'_>,
) -> Poll<Result<iako_proxy_config::ProcessAnswer, talk::TalkFailure>> {
    let mut processing = shared.borrow_mut();
    match waiting {
        Some(waiting) => waiting.poll(context, &mut processing, way),
        None => processing.poll_answer(context, way),
    }
}

fn step_of(pass: ProcessPass) -> ContentStep {
    ContentStep::Process(Box::new(pass))
}
