//! Passing a response on.

use std::future::poll_fn;
use std::task::{Context, Poll};

use iako_http::{BodyLength, FieldValue, Known, Method, ResponseEdits, ResponseHead, Version};
use iako_telemetry::ResponseFlag;
use iako_traffic::RouteMatchResult;

use super::downstream::{Content, Downstream};
use super::exchange::Exchange;
use super::failure::{Failure, Side};
use super::filters::FilterKind;
use super::filters::processing::Origin;
use super::headers::finish_response;
use super::mutations;
use super::passing::{Ends, Passing};
use super::pump::{PumpError, Repeatable, Upload};
use crate::upstream::pool::Lease;
use crate::upstream::{Upstream, UpstreamError};

/// How a server answers a request for a tunnel.
struct Answer {
    /// It goes over to another protocol.
    switches: bool,
    /// The tunnel begins.
    is_tunnel: bool,
    /// It answers an upgrade as if there had been none.
    is_misunderstood: bool,
}

impl Exchange<'_> {
    /// What a response makes of a request for a tunnel.
    fn read_answer(&self, head: &ResponseHead) -> Answer {
        let switches = head.length() == BodyLength::Tunnel
            || (self.wants_tunnel() && head.version() == Version::Http2 && head.status() == 200);
        let is_tunnel = switches && self.is_key_answered(head);
        let is_misunderstood = !is_tunnel
            && self.wants_tunnel()
            && ((head.status() == 200 && *self.request.head.method() != Method::Connect)
                || self.looks_accepted(head)
                || switches);
        Answer { switches, is_tunnel, is_misunderstood }
    }

    /// Sends the head of a response and relays its content, while the request's may still flow.
    pub(super) async fn respond(
        &mut self,
        route: &RouteMatchResult<'_>,
        mut head: ResponseHead,
        lease: &mut Lease,
        downstream: &mut Downstream<'_>,
    ) -> Result<(), Failure> {
        self.deadlines.end_wait();
        self.upload.forget();
        if self.said.as_ref().is_some_and(|said| said.sees_response()) {
            let origin = Origin::Upstream(&mut lease.upstream);
            let shown = Box::pin(self.process_response(&head, origin, downstream)).await?;
            if let Some(reply) = shown {
                return Box::pin(self.reply(*reply, Some(route), downstream)).await;
            }
        }
        let Answer { switches, is_tunnel, is_misunderstood } = self.read_answer(&head);
        let details =
            if is_misunderstood { "websocket_handshake_unsuccessful" } else { "via_upstream" };
        self.record.details = details.into();
        if is_tunnel {
            self.upload = Upload::new(Repeatable::No);
            self.deadlines.response = None;
        } else if self.wants_tunnel() {
            // Nothing was said after the head, and nothing will be.
            lease.upstream.send_end(None).map_err(Failure::Upstream)?;
        }
        self.change_response(route, &head);
        let mut content = if is_tunnel { Content::Tunnel } else { self.response_content(&head) };
        if self.service.traits.filters_responses && !is_tunnel && !is_misunderstood {
            let passing = Passing { head, content, own: None };
            let upstream = Some(&mut lease.upstream);
            let mut ends = Ends { route: Some(route), upstream, downstream };
            let passed = Box::pin(self.filter_response(passing, &mut ends)).await?;
            if passed.own.is_some() {
                cancel(lease);
                return Box::pin(self.deliver(passed, downstream)).await;
            }
            Passing { head, content, .. } = passed;
        }
        self.finish_head(&head);
        if is_misunderstood {
            if switches || self.looks_accepted(&head) {
                self.response_edits.status = Some(502);
            }
            return self.send_without_content(head, downstream).await;
        }
        if is_tunnel {
            self.finish_handshake(&head);
        }
        let sent = downstream.send_head(&head, &self.response_edits, content);
        self.response = Some(head);
        sent.map_err(Failure::Client)?;
        if is_tunnel {
            self.tell_tunnel();
        }
        let mut relay = Relay { is_tunnel, ..Relay::default() };
        let relayed = poll_fn(|context| {
            self.poll_relay(context, &mut relay, &mut lease.upstream, downstream)
        })
        .await;
        if let Err(failure) = relayed {
            if let Failure::BrokenOff(error) = &failure {
                self.note_broken_off(error, lease);
            }
            cancel(lease);
            return Err(failure);
        }
        if is_tunnel {
            self.note_tunnel_end(relay.ended_by, lease, downstream);
        }
        if !self.upload.is_told_whole() {
            cancel(lease);
        }
        Ok(())
    }

    /// Notes that a server did not end its response.
    fn note_broken_off(&self, error: &UpstreamError, lease: &Lease) {
        lease.note_end(error);
        let cluster = self.record.cluster.as_ref();
        if let Some(cluster) = cluster.filter(|_| matches!(error, UpstreamError::Reset(_))) {
            cluster.stats.rq_rx_reset.inc();
        }
    }

    /// Puts a head in order, whoever made it.
    pub(super) fn finish_head(&mut self, head: &ResponseHead) {
        finish_response(self.service, &self.request, head, &mut self.response_edits);
        if self.service.traced.is_some() {
            self.decorate_response(head);
        }
    }

    /// Sends a head, and nothing of what the server has sent behind it.
    async fn send_without_content(
        &mut self,
        head: ResponseHead,
        downstream: &mut Downstream<'_>,
    ) -> Result<(), Failure> {
        self.response_edits.fields.remove(Known::ContentType);
        let sent = downstream.send_head(&head, &self.response_edits, Content::None);
        self.response = Some(head);
        sent.map_err(Failure::Client)?;
        downstream.send_end(None).map_err(Failure::Client)?;
        self.flush(downstream).await
    }

    /// Writes down who ended a tunnel first. HTTP/1 has no other end of one than that of its
    /// connection.
    fn note_tunnel_end(
        &mut self,
        ended_by: Option<Side>,
        lease: &Lease,
        downstream: &Downstream<'_>,
    ) {
        let (flag, details) = match (ended_by, downstream, &lease.upstream) {
            (Some(Side::Downstream), Downstream::Http1(_), _) => {
                (ResponseFlag::DownstreamConnectionTermination, "downstream_remote_disconnect")
            }
            (Some(Side::Upstream), _, Upstream::Http1(_)) => (
                ResponseFlag::UpstreamConnectionTermination,
                "upstream_reset_after_response_started{connection_termination}",
            ),
            _ => return,
        };
        self.record.flags.insert(flag);
        self.record.details = details.into();
    }

    /// Whether a client of extended CONNECT would take the response for the tunnel that it asked for
    /// (RFC 8441 §5), whatever it was to the server.
    fn looks_accepted(&self, head: &ResponseHead) -> bool {
        let request = &self.request.head;
        *request.method() == Method::Connect
            && request.upgrade().is_some()
            && (200..300).contains(&head.status())
    }

    fn wants_tunnel(&self) -> bool {
        let head = &self.request.head;
        head.length() == BodyLength::Tunnel
            || head.upgrade().is_some_and(|protocol| !protocol.eq_ignore_ascii_case(b"h2c"))
    }

    fn change_response(&mut self, route: &RouteMatchResult<'_>, head: &ResponseHead) {
        self.response_edits = ResponseEdits::default();
        let fields = &mut self.response_edits.fields;
        let service = self.service;
        let sent = head.fields();
        for filter in service.filters.iter().filter(|filter| !filter.is_off(None)) {
            if let FilterKind::PeerMetadata(step) = &filter.kind {
                let told = sent.get(Known::XEnvoyPeerMetadata);
                self.record.destination = step.server(told, fields);
                step.tell_client(self.record.source.as_ref(), fields);
            }
        }
        // Only once the request is whole: of a tunnel it never is.
        if !self.service.traits.suppresses_envoy_headers
            && !self.wants_tunnel()
            && let Some(since) = self.record.request_at
        {
            let took = self.now.saturating_duration_since(since).as_millis();
            let took = FieldValue::from(u64::try_from(took).unwrap_or(u64::MAX));
            self.response_edits.fields.set(Known::XEnvoyUpstreamServiceTime, took);
        }
        if let Some(said) = &self.said {
            said.apply(sent, &mut self.response_edits.fields);
            self.response_edits.status = said.status;
        }
        self.tell_attempts(route);
        self.record.status = Some(self.response_edits.status(head));
        self.edit_response(route, sent);
        let mut cookies = Vec::new();
        for (name, value) in std::mem::take(&mut self.annotations) {
            if name == "set-cookie" {
                cookies.push(value);
            } else {
                mutations::set(&mut self.response_edits.fields, name, value);
            }
        }
        for cookie in cookies {
            self.response_edits.fields.append(Known::SetCookie, FieldValue::sanitized(cookie));
        }
        if self.steering.is_some() {
            self.mark_session(head);
        }
    }

    /// Tells the client how often the request was tried, where that is wanted.
    pub(super) fn tell_attempts(&mut self, route: &RouteMatchResult<'_>) {
        if route.virtual_host.attempt_count_in_response
            && !self.service.traits.suppresses_envoy_headers
            && self.record.attempts > 0
        {
            let attempts = FieldValue::from(u64::from(self.record.attempts));
            self.response_edits.fields.set(Known::XEnvoyAttemptCount, attempts);
        }
    }

    fn response_content(&self, head: &ResponseHead) -> Content {
        let announced =
            || head.fields().text(Known::ContentLength).and_then(|text| text.parse().ok());
        let status = head.status();
        if let Some(content) = self.said.as_ref().and_then(|said| said.response_content) {
            return content;
        }
        if *self.request.head.method() == Method::Head || status == 304 {
            return Content::Described(announced());
        }
        match head.length() {
            BodyLength::Empty => Content::None,
            BodyLength::Exact(length) => Content::Exact(length),
            BodyLength::Chunked | BodyLength::UntilClose | BodyLength::Tunnel => Content::Streamed,
        }
    }

    fn poll_relay(
        &mut self,
        context: &mut Context<'_>,
        relay: &mut Relay,
        upstream: &mut Upstream,
        downstream: &mut Downstream<'_>,
    ) -> Poll<Result<(), Failure>> {
        let before = (self.upload.bytes, self.download.pieces);
        if !relay.uploaded {
            match self.upload.poll(context, downstream, upstream) {
                // When the server takes no more, its response tells what it thinks of the rest.
                Poll::Ready(Ok(()) | Err(PumpError::Upstream(_))) => {
                    relay.uploaded = true;
                    relay.ended_by.get_or_insert(Side::Downstream);
                }
                Poll::Ready(Err(PumpError::Downstream(error))) => {
                    return Poll::Ready(Err(Failure::Client(error)));
                }
                Poll::Ready(Err(PumpError::Content(error))) => {
                    return Poll::Ready(Err(Failure::ResponseContent(error)));
                }
                Poll::Pending => {}
            }
        }
        if !relay.downloaded {
            match self.download.poll(context, upstream, downstream) {
                Poll::Ready(Ok(())) => {
                    relay.downloaded = true;
                    relay.ended_by.get_or_insert(Side::Upstream);
                }
                Poll::Ready(Err(PumpError::Upstream(error))) => {
                    return Poll::Ready(Err(Failure::BrokenOff(error)));
                }
                Poll::Ready(Err(PumpError::Downstream(error))) => {
                    return Poll::Ready(Err(Failure::Client(error)));
                }
                Poll::Ready(Err(PumpError::Content(error))) => {
                    return Poll::Ready(Err(Failure::ResponseContent(error)));
                }
                Poll::Pending => {
                    if !relay.flushing && self.download.is_told_whole() {
                        relay.flushing = true;
                        self.deadlines.begin_flush();
                    }
                }
            }
        }
        if relay.downloaded && (relay.uploaded || !relay.is_tunnel) {
            return Poll::Ready(Ok(()));
        }
        if before != (self.upload.bytes, self.download.pieces) {
            self.deadlines.touch();
        }
        if let Poll::Ready(expired) = self.poll_deadline(context) {
            return Poll::Ready(Err(expired.failure()));
        }
        if relay.uploaded && self.upload.is_read_whole() && !relay.is_tunnel {
            return downstream.poll_gone(context).map(|error| Err(Failure::Client(error)));
        }
        Poll::Pending
    }
}

/// Gives up the stream of a response that nobody reads further.
fn cancel(lease: &mut Lease) {
    if let Upstream::Http2(stream) = &mut lease.upstream {
        stream.cancel();
    }
}

/// How far a relay is.
#[derive(Debug, Default)]
struct Relay {
    uploaded: bool,
    downloaded: bool,
    is_tunnel: bool,
    /// All of the response waits for the client.
    flushing: bool,
    /// Who had nothing more to say first.
    ended_by: Option<Side>,
}
