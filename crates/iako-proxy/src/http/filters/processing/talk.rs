//! One message to the service and its answer, and what becomes of a service that fails.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;

use iako_http::{FieldName, FieldValue};
use iako_proxy_config::{ImmediateReply, ProcessAnswer, ProcessReply};
use iako_rt::clock;
use iako_xds_codec::service::processing;

use super::{Processing, Shown};
use crate::callout::grpc::GrpcStream;
use crate::callout::{CallError, within};
use crate::http::error_response::Reply;
use crate::worker::Worker;

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum TalkFailure {
    /// The service has ended the call.
    Ended,
    /// It took too long.
    Late,
    /// It failed.
    Call(CallError),
}

/// Sends a message and waits for its answer.
pub(super) async fn talk(
    worker: &Rc<Worker>,
    processing: &mut Processing,
    message: &[u8],
) -> Result<ProcessAnswer, TalkFailure> {
    let step = std::sync::Arc::clone(&processing.step);
    let (settings, stats) = (&step.settings, &step.stats);
    let mut deadline = clock::now() + settings.message_timeout;
    if processing.stream.is_none() {
        let opening = GrpcStream::open(worker, &processing.service, processing::METHOD, None);
        let opened = within(Some(settings.message_timeout), Box::pin(opening)).await;
        stats.streams_started.inc();
        processing.stream = Some(opened.map_err(TalkFailure::of)?);
    }
    let Some(stream) = processing.stream.as_mut() else { return Err(TalkFailure::Ended) };
    let said = poll_fn(|context| Poll::Ready(stream.poll_next(context))).await;
    match said {
        Poll::Pending => {}
        Poll::Ready(Ok(None)) => return Err(TalkFailure::Ended),
        Poll::Ready(Ok(Some(_))) => {
            return Err(TalkFailure::Call(CallError::Broken("an answer before the question")));
        }
        Poll::Ready(Err(error)) => return Err(TalkFailure::of(error)),
    }
    stream.send(message).map_err(TalkFailure::of)?;
    stats.stream_msgs_sent.inc();
    let mut is_extended = false;
    loop {
        let left = deadline.saturating_duration_since(clock::now());
        let next = poll_fn(|context| stream.poll_next(context));
        let Some(bytes) = within(Some(left), next).await.map_err(TalkFailure::of)? else {
            return Err(TalkFailure::Ended);
        };
        let answer = processing::answer(&bytes)
            .ok_or(TalkFailure::Call(CallError::Broken("the answer is no answer")))?;
        let Some(wanted) = answer.timeout.filter(|_| answer.reply == ProcessReply::None) else {
            return Ok(answer);
        };
        let max = settings.message_timeout_max.filter(|max| wanted <= *max && !is_extended);
        if max.is_some() && wanted.as_millis() >= 1 {
            stats.override_message_timeout_received.inc();
            deadline = clock::now() + wanted;
            is_extended = true;
        } else {
            stats.override_message_timeout_ignored.inc();
        }
    }
}

impl TalkFailure {
    fn of(error: CallError) -> Self {
        if matches!(error, CallError::Late(_)) { Self::Late } else { Self::Call(error) }
    }
}

/// Longest text that is told of why.
const DETAILS_MAX: usize = 256;

impl Processing {
    /// What becomes of a request whose service does not answer.
    pub(super) fn failed(&mut self, failure: &TalkFailure) -> Shown {
        let step = std::sync::Arc::clone(&self.step);
        match failure {
            TalkFailure::Ended => {
                self.close();
                Shown::Passed
            }
            TalkFailure::Late => {
                step.stats.message_timeouts.inc();
                if self.passes() {
                    return Shown::Passed;
                }
                Shown::Answer(self.refused(504, "ext_proc_error_per-message_timeout_exceeded"))
            }
            TalkFailure::Call(error) => {
                tracing::debug!(%error, "a service that sees requests failed");
                step.stats.streams_failed.inc();
                if self.passes() {
                    return Shown::Passed;
                }
                self.is_over = true;
                self.stream = None;
                let code = error.grpc_status();
                let details = format!("ext_proc_error_gRPC_error_{code}{{via_upstream}}");
                step.stats.immediate_responses_sent.inc();
                Shown::Answer(Box::new(Reply::new(step.settings.status_on_error, details)))
            }
        }
    }

    /// Whether a service that failed is passed over.
    fn passes(&mut self) -> bool {
        if self.failure_allow {
            self.step.stats.failure_mode_allowed.inc();
            self.close();
        }
        self.failure_allow
    }

    /// The answer where the service said what cannot be done.
    pub(super) fn refused(&mut self, status: u16, details: &'static str) -> Box<Reply> {
        self.close();
        self.step.stats.immediate_responses_sent.inc();
        Box::new(Reply::new(status, details))
    }

    /// The service said what was not asked.
    pub(super) fn spurious(&mut self, details: &'static str) -> Shown {
        self.step.stats.spurious_msgs_received.inc();
        if self.passes() {
            return Shown::Passed;
        }
        let status = self.step.settings.status_on_error;
        Shown::Answer(self.refused(status, details))
    }

    /// The service answers the client.
    pub(super) fn immediate(&mut self, reply: &ImmediateReply) -> Shown {
        if self.step.settings.disable_immediate {
            return self.spurious("unhandled_immediate_response_due_to_config_disabled_it");
        }
        self.step.stats.stream_msgs_received.inc();
        self.step.stats.immediate_responses_sent.inc();
        self.close();
        let status = u16::try_from(reply.status).ok();
        let status = status.filter(|status| (200..600).contains(status)).unwrap_or(200);
        let details: String = reply.details.chars().take(DETAILS_MAX).collect();
        let details: String =
            details.chars().map(|c| if c.is_ascii_graphic() { c } else { '_' }).collect();
        let mut answer = Reply::new(status, details).with_body(reply.body.clone());
        answer.grpc_status = reply.grpc_status;
        for header in &reply.set {
            let name = header.name.to_ascii_lowercase();
            let (Ok(name), false) =
                (FieldName::parse(name.as_bytes()), matches!(&*name, "content-length"))
            else {
                continue;
            };
            let value = FieldValue::sanitized(header.value.clone());
            let adds =
                header.named && header.action == iako_proxy_config::AppendAction::AppendOrAdd;
            if adds { answer.edits.append(name, value) } else { answer.edits.set(name, value) }
        }
        Shown::Answer(Box::new(answer))
    }
}
