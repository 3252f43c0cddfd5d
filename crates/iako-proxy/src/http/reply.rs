//! What the client is told by us: replies of routes and filters, and failures.

use std::future::poll_fn;
use std::task::Poll;

use bytes::Bytes;
use iako_http::{
    BodyEvent, BodyLength, FieldValue, Fields, HeaderEdits, Known, Method, ResponseEdits,
    ResponseHead, Version,
};
use iako_proxy_config::{DirectResponse, HeaderMutations};
use iako_traffic::RouteMatchResult;

use super::downstream::{Content, Downstream, DownstreamError};
use super::error_response::{self, Reply};
use super::exchange::Exchange;
use super::failure::Failure;
use super::filters::processing::Origin;
use super::local_reply::{BodyWriter, LocalReplies};
use super::passing::{Ends, Passing};
use super::{grpc, mutations, record};
use crate::access_log::FilterFacts;

/// What an answer of our own is made of.
pub(super) struct Written {
    pub(super) status: u16,
    pub(super) body: Bytes,
    /// The gRPC status for gRPC requests; by the HTTP status when absent.
    pub(super) grpc_status: Option<u32>,
    /// Whether a gRPC call hears the status of HTTP too.
    pub(super) keeps_status: bool,
}

impl Exchange<'_> {
    /// Answers the client ourselves, before there is a route.
    pub(super) async fn answer(&mut self, reply: Reply, downstream: &mut Downstream<'_>) {
        if let Err(failure) = self.reply(reply, None, downstream).await {
            self.fail(failure, None, downstream).await;
        }
    }

    /// Answers the client ourselves; the route's edits are applied to this response too.
    pub(super) async fn reply(
        &mut self,
        reply: Reply,
        route: Option<&RouteMatchResult<'_>>,
        downstream: &mut Downstream<'_>,
    ) -> Result<(), Failure> {
        let Reply {
            status,
            body,
            mut edits,
            details,
            grpc_status,
            closes,
            keeps_status,
            late_flag,
        } = reply;
        self.record.details = details;
        self.deadlines.response = None;
        self.deadlines.request = None;
        self.deadlines.end_try();
        self.annotate(&mut edits);
        self.response_edits = ResponseEdits { status: None, fields: edits };
        self.record.status = Some(status);
        if let Some(route) = route {
            self.tell_attempts(route);
            self.edit_response(route, &Fields::default());
        }
        let mut passing = self.written(Written { status, body, grpc_status, keeps_status });
        if let Some(flag) = late_flag {
            self.record.flags.insert(flag);
        }
        if self.said.as_ref().is_some_and(|said| said.sees_response())
            && let Some(other) = Box::pin(self.process_own(&mut passing, downstream)).await?
        {
            return Box::pin(self.reply(*other, route, downstream)).await;
        }
        if self.service.traits.filters_responses {
            let mut ends = Ends { route, upstream: None, downstream };
            passing = Box::pin(self.filter_response(passing, &mut ends)).await?;
        }
        if closes {
            downstream.close_after_response();
        }
        self.deliver(passing, downstream).await
    }

    /// Shows an answer of our own to the services that see the exchange; what one of them answers in
    /// its place.
    async fn process_own(
        &mut self,
        passing: &mut Passing,
        downstream: &mut Downstream<'_>,
    ) -> Result<Option<Box<Reply>>, Failure> {
        if let Some(said) = &mut self.said {
            said.forget_changes();
        }
        self.download.drop_steps();
        let own = passing.own.as_ref().filter(|own| !own.is_empty());
        let events = own.map(|own| BodyEvent::Data(own.clone())).into_iter();
        let origin = Origin::Own(events.collect());
        let shown = self.process_response(&passing.head, origin, downstream).await?;
        if let (Some(_), Some(said)) = (&shown, &mut self.said) {
            said.forget_changes();
        }
        if let (None, Some(said)) = (&shown, &self.said) {
            said.apply(&Fields::default(), &mut self.response_edits.fields);
            if let Some(status) = said.status {
                self.response_edits.status = Some(status);
                self.record.status = Some(status);
            }
            passing.content = said.response_content.unwrap_or(passing.content);
        }
        Ok(shown)
    }

    /// Writes an answer as the connection manager and the client's protocol want it; the edits so far
    /// are its fields.
    pub(super) fn written(&mut self, written: Written) -> Passing {
        let Written { status, body, grpc_status, keeps_status } = written;
        let is_grpc = self.request.is_grpc();
        let (status, mut body) = match &self.service.local_replies {
            Some(replies) => self.map_reply(replies, status, body),
            None => (status, body),
        };
        let mut edits = std::mem::take(&mut self.response_edits.fields);
        let mut sent_status = status;
        if is_grpc {
            sent_status = if keeps_status { status } else { 200 };
            let code = grpc_status.unwrap_or_else(|| u32::from(grpc::status_of_http(status)));
            edits
                .set(Known::ContentType, FieldValue::from_static(self.request.grpc_content_type()));
            edits.set(Known::GrpcStatus, FieldValue::from(u64::from(code)));
            if self.service.local_replies.is_some() && body.last() == Some(&b'\n') {
                body.truncate(body.len().saturating_sub(1));
            }
            if !body.is_empty() {
                let message = FieldValue::sanitized(grpc::message(&body));
                edits.set(Known::GrpcMessage, message);
            }
            body = Bytes::new();
        } else if !body.is_empty() {
            edits.add_if_absent(Known::ContentType, FieldValue::from_static("text/plain"));
        }
        let head = ResponseHead::new(
            sent_status,
            Version::Http11,
            BodyLength::Exact(body.len() as u64),
            Fields::default(),
        );
        self.response_edits = ResponseEdits { status: None, fields: edits };
        self.record.status = Some(sent_status);
        let length = body.len() as u64;
        let content = match length {
            _ if *self.request.head.method() == Method::Head => {
                Content::Described((length > 0).then_some(length))
            }
            0 => Content::None,
            length => Content::Exact(length),
        };
        Passing { head, content, own: Some(body) }
    }

    /// Sends a response whose content is ours.
    pub(super) async fn deliver(
        &mut self,
        passing: Passing,
        downstream: &mut Downstream<'_>,
    ) -> Result<(), Failure> {
        let Passing { head, content, own } = passing;
        self.finish_head(&head);
        let sent = downstream.send_head(&head, &self.response_edits, content);
        self.response = Some(head);
        sent.map_err(Failure::Client)?;
        let body = own.unwrap_or_default();
        if self.download.has_steps() && content != Content::None {
            return Box::pin(self.send_own(body, downstream)).await;
        }
        if matches!(content, Content::Exact(_) | Content::Streamed) && !body.is_empty() {
            self.record.reply_bytes = body.len() as u64;
            downstream.send_data(body).map_err(Failure::Client)?;
        }
        downstream.send_end(None).map_err(Failure::Client)?;
        self.flush(downstream).await
    }

    /// Adds what filters and services want on any response.
    fn annotate(&mut self, edits: &mut HeaderEdits) {
        for (name, value) in std::mem::take(&mut self.annotations) {
            mutations::set(edits, name, value);
        }
        if let Some(said) = &self.said {
            said.apply(&Fields::default(), edits);
        }
    }

    /// Changes an answer as the connection manager wants it.
    fn map_reply(&mut self, replies: &LocalReplies, status: u16, body: Bytes) -> (u16, Bytes) {
        let facts = FilterFacts { draw: self.connection.draw(), ..FilterFacts::default() };
        let (mapper, writer) = {
            let view = self.request.view();
            let further = self.facts();
            let record = record::access_record(&further, &view);
            replies.choose(&record, facts)
        };
        let status = mapper.and_then(|mapper| mapper.status).unwrap_or(status);
        let body = mapper.and_then(|mapper| mapper.body.clone()).unwrap_or(body);
        if let Some(mapper) = mapper {
            let headers = HeaderMutations {
                response_add: mapper.headers.clone(),
                ..HeaderMutations::default()
            };
            self.edit_response_level(&headers, &Fields::default());
        }
        self.record.status = Some(status);
        let Some(writer) = writer else { return (status, body) };
        let body = self.written_body(writer, status, &body);
        if !body.is_empty() {
            self.response_edits.fields.set(Known::ContentType, writer.content_type());
        }
        (status, body)
    }

    /// A body as a format writes it.
    pub(super) fn written_body(&self, writer: &BodyWriter, status: u16, body: &Bytes) -> Bytes {
        let text = String::from_utf8_lossy(body);
        let view = self.request.view();
        let further = self.facts();
        let mut record = record::access_record(&further, &view);
        record.local_reply_body = Some(&text);
        record.response_code = Some(status);
        writer.write(&record)
    }

    /// The answer of a route.
    pub(super) fn direct_response(
        &self,
        route: &RouteMatchResult<'_>,
        respond: &DirectResponse,
    ) -> Reply {
        let mut reply = Reply::new(respond.status, "direct_response");
        let view = self.request.view();
        let location = RouteMatchResult::own_location(respond.status, &self.request.head(&view));
        if let Some(location) = location {
            reply = reply.with_field(Known::Location, FieldValue::sanitized(location));
        }
        let served = respond.format.as_ref();
        let served = served.and_then(|_| self.service.routes(self.snapshot, &self.request));
        let Some(writer) = served.and_then(|served| served.body_writer(route)) else {
            return reply.with_body(respond.body.clone());
        };
        // Envoy the same: there is no status yet that could be written.
        let body = self.written_body(writer, 0, &respond.body);
        reply.with_body(body).with_field(Known::ContentType, writer.content_type())
    }

    pub(super) async fn flush(&mut self, downstream: &mut Downstream<'_>) -> Result<(), Failure> {
        poll_fn(|context| {
            if let Poll::Ready(flushed) = downstream.poll_flush(context) {
                return Poll::Ready(flushed.map_err(Failure::Client));
            }
            self.poll_deadline(context).map(|expired| Err(expired.failure()))
        })
        .await
    }

    /// Turns a failure into a response, if it is not too late for one.
    pub(super) async fn fail(
        &mut self,
        failure: Failure,
        route: Option<&RouteMatchResult<'_>>,
        downstream: &mut Downstream<'_>,
    ) {
        if failure.is_processed()
            && let Some(reply) = self.said.as_ref().and_then(|said| said.take_reply())
        {
            self.end_processed(*reply, &failure, route, downstream).await;
            return;
        }
        failure.note(&mut self.record.flags);
        if let Failure::Client(error) = &failure {
            self.client_failed(error);
        }
        tracing::debug!(%failure, side = ?failure.side(), "a request failed");
        let stats = &self.service.stats;
        if matches!(failure, Failure::NoCluster { .. }) {
            stats.no_cluster.inc();
        } else if matches!(failure, Failure::TooLarge) {
            stats.rq_too_large.inc();
        } else if matches!(failure, Failure::RequestTimeout) {
            stats.rq_timeout.inc();
        } else if matches!(failure, Failure::StreamIdle) {
            stats.rq_idle_timeout.inc();
        } else if matches!(failure, Failure::MaxDuration) {
            stats.rq_max_duration_reached.inc();
        } else if matches!(failure, Failure::UpgradeRefused) {
            stats.rq_no_upgrade.inc();
            // Whoever asked for it does not end its request.
            stats.rq_rx_reset.inc();
        } else if matches!(failure, Failure::Path) {
            stats.rq_failed_path.inc();
        }
        self.record.transport_failure = error_response::transport_reason(&failure);
        if self.response.is_some() {
            if let Failure::BrokenOff(error) = &failure {
                self.record.details = error_response::broken_off_details(error).into();
            } else if let Some(reply) = error_response::reply(&failure) {
                self.record.details = reply.details;
            }
            if !matches!(failure, Failure::Client(_)) {
                // A reset is one that came, too, in Envoy's count.
                stats.rq_rx_reset.inc();
                stats.rq_tx_reset.inc();
            }
            downstream.abort(&failure);
            return;
        }
        let Some(mut reply) = error_response::reply(&failure) else {
            downstream.abort(&failure);
            return;
        };
        if self.record.attempts > 1 {
            reply.tell_of_retries();
        }
        if self.wants_alt_response && failure.is_upstream_timeout() {
            reply.status = 204;
            reply.body = Bytes::new();
        }
        // Envoy the same: it is the client that is late.
        if matches!(failure, Failure::StreamIdle) && !self.upload.is_read_whole() {
            reply.status = 408;
        }
        if let Some(cluster) = self.record.cluster.as_ref().filter(|_| failure.is_of_cluster()) {
            cluster.count_response(reply.status, self.request.origin());
        }
        if let Err(failure) = self.reply(reply, route, downstream).await {
            if matches!(failure, Failure::Elsewhere) {
                return Box::pin(self.run(downstream)).await;
            }
            tracing::debug!(%failure, "the client did not take its error response");
            downstream.abort(&failure);
        }
    }

    /// Ends an exchange as a service wants it that saw its content.
    async fn end_processed(
        &mut self,
        reply: Reply,
        failure: &Failure,
        route: Option<&RouteMatchResult<'_>>,
        downstream: &mut Downstream<'_>,
    ) {
        if self.response.is_some() {
            self.record.details = reply.details;
            self.service.stats.rq_rx_reset.inc();
            downstream.abort(failure);
            return;
        }
        self.download.drop_steps();
        if let Err(failure) = Box::pin(self.reply(reply, route, downstream)).await {
            tracing::debug!(%failure, "the client did not take its response");
            downstream.abort(&failure);
        }
    }

    fn client_failed(&mut self, error: &DownstreamError) {
        self.service.stats.rq_rx_reset.inc();
        if matches!(error, DownstreamError::Gone(_)) {
            self.connection.fate.left();
        }
        let leaves = matches!(
            error,
            DownstreamError::Gone(_)
                | DownstreamError::Reset
                | DownstreamError::Overload
                | DownstreamError::Shed
        );
        if leaves || self.record.details.is_empty() || self.response.is_none() {
            self.record.details = error.details().into();
        }
    }
}
