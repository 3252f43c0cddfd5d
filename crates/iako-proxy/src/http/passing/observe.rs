//! What filters read of content on its way, and what they make of it.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use iako_http::{BodyEvent, FieldValue, Known, ResponseEdits};
use iako_rt::clock;
use iako_telemetry::ResponseFlag;
use iako_traffic::{
    RouteMatchResult, is_framed_content_type, json_facts, json_is_read, json_unread,
};

use super::{ChainPlace, Passing, has_content};
use crate::http::content::{ContentStep, Gathered};
use crate::http::downstream::{Content, Downstream};
use crate::http::error_response::Reply;
use crate::http::exchange::{Exchange, Step};
use crate::http::failure::Failure;
use crate::http::filters::content::compressor::joined;
use crate::http::filters::content::grpc_stats::{
    CountMessages, CountedExchange, GrpcStatsStep, MessageSide,
};
use crate::http::filters::content::health::{HealthStep, KeptAnswer};
use crate::http::filters::content::json::JsonStep;
use crate::http::pump::{PumpError, UploadLength};
use crate::http::reply::Written;
use crate::upstream::Upstream;

/// The two ends between which a response passes.
#[derive(Debug)]
pub(in crate::http) struct Ends<'a, 'd, 't> {
    /// The route of the request.
    pub(in crate::http) route: Option<&'a RouteMatchResult<'t>>,
    /// Where its content comes from; nowhere when it is ours.
    pub(in crate::http) upstream: Option<&'a mut Upstream>,
    pub(in crate::http) downstream: &'a mut Downstream<'d>,
}

/// Whether content follows the head of a response.
pub(super) const fn flows(content: Content) -> bool {
    matches!(content, Content::Exact(1..) | Content::Streamed)
}

impl Exchange<'_> {
    /// How much content of the request filters may read; a route may allow more than the listener.
    fn kept_max(&self, route: Option<&RouteMatchResult<'_>>) -> u64 {
        let of_route = route.and_then(RouteMatchResult::body_bytes_kept_max);
        of_route.unwrap_or(0).max(self.service.kept_bytes_max)
    }

    /// Reads the JSON of a request.
    pub(super) async fn read_json(
        &mut self,
        step: &JsonStep,
        at: &ChainPlace<'_, '_>,
        route: Option<&RouteMatchResult<'_>>,
        downstream: &mut Downstream<'_>,
    ) -> Result<Step, Failure> {
        // What a redirect sends on was read before it.
        let Some(rules) = step
            .settings(at.name, at.overrides)
            .request
            .as_ref()
            .filter(|_| !self.upload.is_read_whole())
        else {
            return Ok(Step::Continue);
        };
        let (sent, edits) = (self.request.head.fields(), &self.request.edits.fields);
        let media_type = joined(edits, sent, Known::ContentType).unwrap_or_default();
        if !json_is_read(rules, &media_type) {
            step.request.mismatched.inc();
            let left = json_unread(rules, &mut self.request.metadata);
            return Ok(if left > 0 { Step::Reroute } else { Step::Continue });
        }
        let mut content = Bytes::new();
        if has_content(&self.request.head) {
            // It is announced as it was.
            let length = self.upload.length();
            if self.gather(self.kept_max(route), downstream).await? == Gathered::Beyond {
                return Err(Failure::TooLarge);
            }
            self.upload.set_length(length);
            content = self.upload.held();
        }
        let (finding, left) = json_facts(rules, &content, &mut self.request.metadata);
        step.request.count(finding);
        Ok(if left > 0 { Step::Reroute } else { Step::Continue })
    }

    /// Reads the JSON of a response; beyond what is kept it is answered in the response's place.
    pub(super) async fn read_json_response(
        &mut self,
        step: &JsonStep,
        at: &ChainPlace<'_, '_>,
        passing: &mut Passing,
        ends: &mut Ends<'_, '_, '_>,
    ) -> Result<Gathered, Failure> {
        let Some(rules) = &step.settings(at.name, at.overrides).response else {
            return Ok(Gathered::Whole);
        };
        let (sent, edits) = (passing.head.fields(), &self.response_edits.fields);
        let media_type = joined(edits, sent, Known::ContentType).unwrap_or_default();
        if !json_is_read(rules, &media_type) {
            json_unread(rules, &mut self.request.metadata);
            step.response.mismatched.inc();
            return Ok(Gathered::Whole);
        }
        let mut content = Bytes::new();
        if flows(passing.content) {
            let gathered = self.gather_answer(self.service.kept_bytes_max, passing, ends).await?;
            if gathered == Gathered::Beyond {
                self.refuse_response(passing);
                return Ok(Gathered::Beyond);
            }
            content = self.download.held();
        }
        let (finding, _) = json_facts(rules, &content, &mut self.request.metadata);
        step.response.count(finding);
        Ok(Gathered::Whole)
    }

    /// Answers in place of a response with more content than is kept. Nobody else is asked about it,
    /// in Envoy either.
    pub(super) fn refuse_response(&mut self, passing: &mut Passing) {
        self.service.stats.rs_too_large.inc();
        self.download.drop_steps();
        self.record.details = "response_payload_too_large".into();
        self.response_edits = ResponseEdits::default();
        let body = Bytes::from_static(b"Internal Server Error");
        let written = Written { status: 500, body, grpc_status: None, keeps_status: false };
        *passing = self.written(written);
    }

    /// Reads the content of a response and keeps it until it is whole, or more than `bytes_max` came.
    /// It goes on from there, after what filters behind this one do.
    pub(super) async fn gather_answer(
        &mut self,
        bytes_max: u64,
        passing: &mut Passing,
        ends: &mut Ends<'_, '_, '_>,
    ) -> Result<Gathered, Failure> {
        self.download.push_step(ContentStep::Held(VecDeque::new()));
        let failed = |error| match error {
            PumpError::Downstream(error) => Failure::Client(error),
            PumpError::Upstream(error) => Failure::BrokenOff(error),
            PumpError::Content(error) => Failure::ResponseContent(error),
        };
        let Ends { upstream: Some(upstream), downstream, .. } = ends else {
            let own = passing.own.replace(Bytes::new()).unwrap_or_default();
            let mut own = VecDeque::from([BodyEvent::Data(own)]);
            let mut source =
                |_: &mut Context<'_>| Poll::Ready(Ok(own.pop_front().unwrap_or(BodyEvent::End)));
            return poll_fn(|context| self.download.poll_gather(context, bytes_max, &mut source))
                .await
                .map_err(failed);
        };
        let mut uploads = !self.upload.is_told_whole();
        let gathered = poll_fn(|context| {
            // The server may wait for the rest of the request.
            if uploads {
                uploads = match self.upload.poll(context, downstream, upstream) {
                    Poll::Ready(Ok(()) | Err(PumpError::Upstream(_))) => false,
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(failed(error))),
                    Poll::Pending => true,
                };
            }
            let mut source = |context: &mut Context<'_>| {
                let event = upstream.poll_body(context).map_err(PumpError::Upstream);
                if event.is_ready() {
                    self.deadlines.touch();
                }
                event
            };
            if let Poll::Ready(gathered) =
                self.download.poll_gather(context, bytes_max, &mut source)
            {
                return Poll::Ready(gathered.map_err(failed));
            }
            if let Poll::Ready(expired) = self.poll_deadline(context) {
                return Poll::Ready(Err(expired.failure()));
            }
            if uploads {
                return Poll::Pending;
            }
            downstream.poll_gone(context).map(|error| Err(Failure::Client(error)))
        })
        .await?;
        self.now = clock::now();
        Ok(gathered)
    }

    /// Begins to count a gRPC call.
    pub(super) fn count_call(&mut self, step: &GrpcStatsStep, place: usize) {
        if !self.request.get(Known::ContentType).is_some_and(is_framed_content_type) {
            return;
        }
        let cluster = self.record.cluster.as_ref();
        let stats =
            cluster.and_then(|cluster| step.call(cluster.config.stat_name(), self.request.path()));
        let call = CountedExchange {
            place,
            stats,
            messages: Rc::default(),
            emits: step.settings.emits_state,
            measures: step.settings.measures_time,
        };
        if has_content(&self.request.head) && !self.upload.is_read_whole() {
            let count = CountMessages::new(&call, MessageSide::Request);
            let count = ContentStep::CountMessages(Box::new(count));
            self.upload.push_step(count, UploadLength::Announced);
        }
        self.remembered.get_or_insert_default().calls.push(call);
    }

    /// Goes on counting a call with its response.
    pub(super) fn count_answer(&self, place: usize, passing: &Passing) -> Option<ContentStep> {
        let calls = &self.remembered.as_ref()?.calls;
        let call = calls.iter().rev().find(|call| call.place == place)?;
        let sent = passing.head.fields();
        let edits = &self.response_edits.fields;
        if let Some(stats) = &call.stats {
            stats.ended(edits.get(sent, Known::GrpcStatus));
        }
        let is_grpc = self.response_edits.status(&passing.head) == 200
            && edits.get(sent, Known::ContentType).is_some_and(is_framed_content_type);
        flows(passing.content).then(|| {
            let side = if is_grpc { MessageSide::Response } else { MessageSide::Other };
            ContentStep::CountMessages(Box::new(CountMessages::new(call, side)))
        })
    }

    /// Answers a request that is a health check, unless it goes on.
    pub(super) async fn answer_check(
        &mut self,
        step: &HealthStep,
        place: usize,
        downstream: &mut Downstream<'_>,
    ) -> Result<Step, Failure> {
        let is_check = {
            let view = self.request.view();
            step.is_check(&self.request.head(&view))
        };
        if !is_check {
            return Ok(Step::Continue);
        }
        self.record.is_health_check = true;
        self.remembered.get_or_insert_default().checks.push(place);
        let shared = &self.connection.worker.shared;
        let Some(answer) = step.answer(self.snapshot, shared, self.now) else {
            return Ok(Step::Continue);
        };
        if has_content(&self.request.head) && !self.upload.is_read_whole() {
            // It is answered when it is whole.
            self.gather(self.service.kept_bytes_max, downstream).await?;
        }
        if !(200..300).contains(&answer.status) {
            self.record.flags.insert(ResponseFlag::FailedLocalHealthCheck);
        }
        let mut reply = Reply::new(answer.status, answer.details);
        if answer.degraded {
            reply = reply.with_field(Known::XEnvoyDegraded, FieldValue::from_static(""));
        }
        Ok(Step::Reply(Box::new(reply)))
    }

    /// Tells whoever asks for this proxy's health who it is, and everybody when it is out of service.
    pub(super) fn tell_health(&mut self, step: &HealthStep, place: usize, passing: &Passing) {
        let checks = self.remembered.as_ref().map(|remembered| remembered.checks.as_slice());
        if checks.is_some_and(|checks| checks.contains(&place)) {
            let fields = &self.response_edits.fields;
            let degraded = fields.get(passing.head.fields(), Known::XEnvoyDegraded).is_some();
            let status = self.response_edits.status(&passing.head);
            step.keep(KeptAnswer { status, degraded }, self.now);
            let fields = &mut self.response_edits.fields;
            fields.set(Known::XEnvoyUpstreamHealthCheckedCluster, step.own_cluster.clone());
        }
        if self.connection.worker.shared.is_failed_by_operator() {
            let fields = &mut self.response_edits.fields;
            fields.set(Known::XEnvoyImmediateHealthCheckFail, FieldValue::from_static("true"));
        }
    }

    /// What is counted when a call is over.
    pub(in crate::http) fn finish_calls(&mut self) {
        let Some(remembered) = &self.remembered else { return };
        let took = self.record.response_at.and(self.record.request_at);
        for call in &remembered.calls {
            if let (true, Some(stats), Some(since)) = (call.measures, &call.stats, took) {
                stats.took(clock::now().saturating_duration_since(since));
            }
            let [requests, responses] = call.messages.get();
            if call.emits && requests + responses > 0 {
                let text = format!("{requests},{responses}");
                self.request.metadata.set_state(iako_proxy_config::GRPC_STATS_STATE, text);
            }
        }
    }
}
