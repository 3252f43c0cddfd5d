//! The chain of filters around content: what each does to a request before it goes on, and, the last
//! one first, to a response before the client has it.

mod instead;
mod observe;
mod web;

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use iako_http::{BodyEvent, BodyLength, FieldValue, Known, RequestHead, ResponseHead};
use iako_proxy_config::CompressorOverride;
use iako_traffic::{CodingChoice, EffectiveOverrides, Offer, RouteMatchResult, choose_coding};

use super::content::{ContentStep, DelayUse, Gathered, Throttle, TimedBucket, WebFrames, WebText};
use super::downstream::h1::content_of;
use super::downstream::{Content, Downstream};
use super::exchange::{Exchange, Step};
use super::failure::Failure;
use super::filters::content::compressor::{CompressorStep, Message, joined};
use super::filters::content::{ContentFilter, buffered_max};
use super::filters::{Filter, FilterKind};
use super::grpc_web::Coding;
use super::pump::{PumpError, UploadLength};

use instead::Instead;
pub(super) use observe::Ends;

/// How often a response that a fault holds back is looked at.
const FAULT_INTERVAL: Duration = Duration::from_millis(50);

/// A response on its way through the chain.
#[derive(Debug)]
pub(super) struct Passing {
    pub(super) head: ResponseHead,
    /// What follows the head.
    pub(super) content: Content,
    /// Its content, when it is not an upstream's.
    pub(super) own: Option<Bytes>,
}

/// Where a filter stands in its chain, and what the route says of it.
#[derive(Debug)]
pub(super) struct ChainPlace<'c, 't> {
    pub(super) place: usize,
    pub(super) name: &'c str,
    pub(super) overrides: Option<&'c EffectiveOverrides<'t>>,
}

impl<'t> ChainPlace<'_, 't> {
    fn compressor(&self) -> Option<&'t CompressorOverride> {
        compressor_override(self.overrides?, self.name)
    }
}

fn compressor_override<'t>(
    overrides: &EffectiveOverrides<'t>,
    name: &str,
) -> Option<&'t CompressorOverride> {
    overrides.settings(name)?.compressor()
}

/// Whether content follows the head of a request.
fn has_content(head: &RequestHead) -> bool {
    matches!(head.length(), BodyLength::Exact(1..) | BodyLength::Chunked)
        || (head.length() == BodyLength::UntilClose)
}

impl Exchange<'_> {
    /// Takes the step of a filter that looks at the content of a request.
    pub(super) async fn content_step(
        &mut self,
        filter: &ContentFilter,
        at: &ChainPlace<'_, '_>,
        route: Option<&RouteMatchResult<'_>>,
        downstream: &mut Downstream<'_>,
    ) -> Result<Step, Failure> {
        // Content that is on its way already was changed before a redirect.
        let comes = has_content(&self.request.head) && !self.upload.is_read_whole();
        match filter {
            ContentFilter::Buffer(buffer) => {
                let bytes_max = buffered_max(*buffer, at.name, at.overrides);
                if comes && self.gather(bytes_max, downstream).await? == Gathered::Beyond {
                    return Err(Failure::TooLarge);
                }
            }
            ContentFilter::Csrf(step) => {
                let view = self.request.view();
                let facts = self.request.facts(&view, &self.connection.info);
                let mut draw = || self.connection.draw();
                step.check(at.name, at.overrides, &facts, &mut draw)?;
            }
            ContentFilter::Compressor(step) => self.compress_request(step, at),
            ContentFilter::Decompressor(step) => {
                let message = self.request_message();
                let request = &mut *self.request;
                let sent = request.head.fields();
                let message = Message { sent, content: message };
                if let Some(read) = step.request(message, &mut request.edits.fields) {
                    let read = ContentStep::Decompress(Box::new(read));
                    self.upload.push_step(read, UploadLength::Unknown);
                }
            }
            ContentFilter::Bandwidth(step) => {
                let delays = &self.remembered.get_or_insert_default().delays;
                let held = step.request(at.name, at.overrides, delays);
                if let Some(held) = held.filter(|_| comes) {
                    let held = ContentStep::Throttle(Box::new(held));
                    self.upload.push_step(held, UploadLength::Announced);
                }
            }
            ContentFilter::Cache(step) => {
                return self.look_in_cache(step, at.place, route, downstream).await;
            }
            ContentFilter::Json(step) => return self.read_json(step, at, route, downstream).await,
            ContentFilter::GrpcStats(step) => self.count_call(step, at.place),
            ContentFilter::Health(step) => {
                return self.answer_check(step, at.place, downstream).await;
            }
            ContentFilter::CustomResponse(_) => {}
        }
        Ok(Step::Continue)
    }

    /// What follows the head of the request, as far as filters have left it.
    fn request_message(&self) -> Content {
        if self.upload.is_read_whole() || !has_content(&self.request.head) {
            return Content::None;
        }
        match self.upload.length() {
            UploadLength::Announced => content_of(self.request.head.length()),
            UploadLength::Known(length) => Content::Exact(length),
            UploadLength::Unknown => Content::Streamed,
        }
    }

    fn compress_request(&mut self, step: &CompressorStep, at: &ChainPlace<'_, '_>) {
        let content = self.request_message();
        let request = &mut *self.request;
        let (sent, edits) = (request.head.fields(), &mut request.edits.fields);
        if let Some(accepts) = joined(edits, sent, Known::AcceptEncoding) {
            self.remembered.get_or_insert_default().accepts.push((at.place, accepts));
        }
        let route = at.compressor();
        if step.hides_accept_encoding(route) {
            edits.remove(Known::AcceptEncoding);
        }
        if let Some(written) = step.request(route, Message { sent, content }, edits) {
            let written = ContentStep::Compress(Box::new(written));
            self.upload.push_step(written, UploadLength::Unknown);
        }
    }

    /// Reads the content of the request and keeps it until it is whole, or more than `bytes_max` came.
    /// It goes on from there, after what filters behind this one do.
    pub(super) async fn gather(
        &mut self,
        bytes_max: u64,
        downstream: &mut Downstream<'_>,
    ) -> Result<Gathered, Failure> {
        self.upload.push_step(ContentStep::Held(VecDeque::new()), UploadLength::Announced);
        poll_fn(|context| {
            let before = self.upload.bytes;
            let gathered = self.upload.poll_gather(context, bytes_max, downstream);
            if self.upload.bytes != before {
                self.deadlines.touch();
            }
            match gathered {
                Poll::Ready(gathered) => Poll::Ready(gathered.map_err(Failure::Client)),
                Poll::Pending => self.poll_deadline(context).map(|expired| Err(expired.failure())),
            }
        })
        .await
    }

    /// A call of a browser goes on as gRPC.
    pub(super) fn begin_web_call(&mut self) {
        self.request.begin_web_call();
        let Some(web) = self.request.web else { return };
        if has_content(&self.request.head) && !self.upload.is_read_whole() {
            // Even where it is not recoded: gRPC has no length of its content.
            match web.request {
                Coding::Text => {
                    let step = ContentStep::WebText(WebText::default());
                    self.upload.push_step(step, UploadLength::Unknown);
                }
                Coding::Binary => self.upload.forget_length(),
            }
        }
    }

    /// Runs a response through the chain, the last filter first. What goes on then.
    pub(super) async fn filter_response(
        &mut self,
        mut passing: Passing,
        ends: &mut Ends<'_, '_, '_>,
    ) -> Result<Passing, Failure> {
        let route = ends.route;
        let overrides = route.map(RouteMatchResult::overrides);
        let overrides = overrides.as_ref();
        let service = self.service;
        let chain = service.filters.iter().enumerate().rev();
        for (place, filter) in chain.filter(|(_, filter)| filter.responds) {
            if filter.is_off(overrides) || !self.was_chosen(filter) {
                continue;
            }
            let at = ChainPlace { place, name: &filter.name, overrides };
            if let FilterKind::Content(step) = &filter.kind {
                match &**step {
                    ContentFilter::CustomResponse(own) => {
                        match self.answer_instead(own, &at, route, &mut passing) {
                            Instead::Own => continue,
                            // Nobody else is asked about it, in Envoy either.
                            Instead::Written => return Ok(passing),
                            Instead::Elsewhere => return Err(Failure::Elsewhere),
                        }
                    }
                    ContentFilter::Cache(step) => {
                        self.note_response(step, place, &mut passing);
                        continue;
                    }
                    ContentFilter::Json(step) => {
                        let read = self.read_json_response(step, &at, &mut passing, ends);
                        if read.await? == Gathered::Beyond {
                            return Ok(passing);
                        }
                        continue;
                    }
                    ContentFilter::GrpcStats(_) => {
                        if let Some(step) = self.count_answer(place, &passing) {
                            self.download.push_step(step);
                        }
                        continue;
                    }
                    ContentFilter::Health(step) => {
                        self.tell_health(step, place, &passing);
                        continue;
                    }
                    ContentFilter::Buffer(_)
                    | ContentFilter::Compressor(_)
                    | ContentFilter::Decompressor(_)
                    | ContentFilter::Bandwidth(_)
                    | ContentFilter::Csrf(_) => {}
                }
            }
            if matches!(filter.kind, FilterKind::GrpcWeb) && self.is_foreign_to_web(&passing.head) {
                if self.answer_web_call(&mut passing, ends).await? == Gathered::Beyond {
                    return Ok(passing);
                }
                continue;
            }
            let step = self.response_step(filter, &at, &passing.head, passing.content);
            let Some(step) = step else { continue };
            if !matches!(step, ContentStep::Throttle(_))
                && matches!(passing.content, Content::Exact(_))
            {
                passing.content = Content::Streamed;
            }
            self.download.push_step(step);
        }
        Ok(passing)
    }

    fn response_step(
        &mut self,
        filter: &Filter,
        at: &ChainPlace<'_, '_>,
        head: &ResponseHead,
        content: Content,
    ) -> Option<ContentStep> {
        let flows = matches!(content, Content::Exact(1..) | Content::Streamed);
        match &filter.kind {
            FilterKind::GrpcWeb => self.encode_web(content),
            FilterKind::Fault(_) => {
                let rate = self.remembered.as_ref()?.response_rate.filter(|_| flows)?;
                let bucket = Arc::new(TimedBucket::new(rate, FAULT_INTERVAL));
                let held = Throttle::new(bucket, FAULT_INTERVAL, None, DelayUse::Forget);
                Some(ContentStep::Throttle(Box::new(held)))
            }
            FilterKind::Content(step) => match &**step {
                ContentFilter::Compressor(step) => self.compress_response(step, at, head, content),
                ContentFilter::Decompressor(step) => {
                    let message = Message { sent: head.fields(), content };
                    let read = step.response(message, &mut self.response_edits.fields)?;
                    Some(ContentStep::Decompress(Box::new(read)))
                }
                ContentFilter::Bandwidth(step) => {
                    let delays = &self.remembered.get_or_insert_default().delays;
                    let held = step.response(at.name, at.overrides, delays)?;
                    flows.then(|| ContentStep::Throttle(Box::new(held)))
                }
                ContentFilter::Buffer(_)
                | ContentFilter::Csrf(_)
                | ContentFilter::CustomResponse(_)
                | ContentFilter::Cache(_)
                | ContentFilter::Json(_)
                | ContentFilter::GrpcStats(_)
                | ContentFilter::Health(_) => None,
            },
            FilterKind::Head(filter) => {
                self.head_response_step(filter, at.name, at.overrides, head);
                None
            }
            FilterKind::Authz(_)
            | FilterKind::Limit(_)
            | FilterKind::LocalLimit(_)
            | FilterKind::Admission(_)
            | FilterKind::Concurrency(_)
            | FilterKind::Credential(_)
            | FilterKind::Login(_)
            | FilterKind::Process(_)
            | FilterKind::Forward(_)
            | FilterKind::PeerMetadata(_)
            | FilterKind::Jwt(_)
            | FilterKind::Rbac(_)
            | FilterKind::Cors(_)
            | FilterKind::StatefulSession(_)
            | FilterKind::OnDemand(_)
            | FilterKind::Missing
            | FilterKind::Alpn
            | FilterKind::Stats
            | FilterKind::Router
            | FilterKind::Other => None,
        }
    }

    /// The response of a server of gRPC, as a browser reads it.
    fn encode_web(&mut self, content: Content) -> Option<ContentStep> {
        let web = self.request.web?;
        let fields = &mut self.response_edits.fields;
        fields.set(Known::ContentType, FieldValue::from_static(web.content_type()));
        let flows = matches!(content, Content::Exact(1..) | Content::Streamed);
        flows.then(|| ContentStep::WebFrames(WebFrames::new(web.response)))
    }

    fn compress_response(
        &mut self,
        step: &CompressorStep,
        at: &ChainPlace<'_, '_>,
        head: &ResponseHead,
        content: Content,
    ) -> Option<ContentStep> {
        let message = Message { sent: head.fields(), content };
        let status = self.response_edits.status(head);
        let service = self.service;
        let mut remembered = self.remembered.as_deref_mut();
        let mut choose = |content_type: Option<&str>| -> Option<CodingChoice> {
            let remembered = remembered.as_deref_mut()?;
            let accepts = remembered.accepts.iter().find(|(place, _)| *place == at.place);
            let (_, accepts) = accepts?;
            let made = || choose_coding(accepts, &offers(&service.filters, at, content_type));
            let choice = remembered.choice.unwrap_or_else(made);
            remembered.choice = Some(choice);
            Some(choice)
        };
        let edits = &mut self.response_edits.fields;
        let written = step.response(at.compressor(), status, message, edits, &mut choose)?;
        Some(ContentStep::Compress(Box::new(written)))
    }

    /// Sends content of our own through the steps of its way.
    pub(super) async fn send_own(
        &mut self,
        body: Bytes,
        downstream: &mut Downstream<'_>,
    ) -> Result<(), Failure> {
        let mut own = VecDeque::from([BodyEvent::Data(body)]);
        poll_fn(|context| {
            if let Poll::Ready(sent) = self.download.poll_own(context, &mut own, downstream) {
                return Poll::Ready(sent.map_err(|error| match error {
                    PumpError::Downstream(error) => Failure::Client(error),
                    PumpError::Upstream(error) => Failure::BrokenOff(error),
                    PumpError::Content(error) => Failure::ResponseContent(error),
                }));
            }
            self.poll_deadline(context).map(|expired| Err(expired.failure()))
        })
        .await
    }
}

/// What the compressors of a chain offer for content of a type, in their order.
fn offers(filters: &[Filter], at: &ChainPlace<'_, '_>, content_type: Option<&str>) -> Vec<Offer> {
    let mut offers: Vec<Offer> = Vec::new();
    for filter in filters.iter().filter(|filter| !filter.is_off(at.overrides)) {
        let FilterKind::Content(content) = &filter.kind else { continue };
        let ContentFilter::Compressor(step) = &**content else { continue };
        let route = at.overrides.and_then(|overrides| compressor_override(overrides, &filter.name));
        let Some(offer) = step.offer(route, content_type) else { continue };
        if !offers.iter().any(|other| other.token == offer.token) {
            offers.push(offer);
        }
    }
    offers
}
