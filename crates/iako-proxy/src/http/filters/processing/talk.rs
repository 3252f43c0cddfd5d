//! One message to the service and its answer, and what becomes of a service that fails.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use iako_http::{FieldName, FieldValue};
use iako_proxy_config::{ImmediateReply, ProcessAnswer, ProcessReply};

use super::call::Way;
use super::{Processing, Shared, Shown};
use crate::callout::CallError;
use crate::http::error_response::{Reply, broken_off_details};

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum TalkFailure {
    /// The service has ended the call.
    Ended,
    /// It took too long.
    Late,
    /// It said what nobody asked for; why, for logs.
    Spurious(&'static str),
    /// It failed.
    Call(CallError),
}

/// Waits for an answer, for as long as the service has.
#[derive(Debug)]
pub(super) struct Waiting {
    sleep: Pin<Box<tokio::time::Sleep>>,
    is_extended: bool,
}

impl Waiting {
    pub(super) fn new(limit: Duration) -> Self {
        Self { sleep: Box::pin(tokio::time::sleep(limit)), is_extended: false }
    }

    /// Ready with an answer, or when it took too long. The service may ask for more time, once.
    pub(super) fn poll(
        &mut self,
        context: &mut Context<'_>,
        processing: &mut Processing,
        way: Way,
    ) -> Poll<Result<ProcessAnswer, TalkFailure>> {
        loop {
            let answer = match processing.poll_answer(context, way) {
                Poll::Ready(Ok(answer)) => answer,
                Poll::Ready(Err(failure)) => return Poll::Ready(Err(failure)),
                Poll::Pending => break,
            };
            let Some(wanted) = answer.timeout.filter(|_| answer.reply == ProcessReply::None) else {
                return Poll::Ready(Ok(answer));
            };
            let (settings, stats) = (&processing.step.settings, &processing.step.stats);
            let max = settings.message_timeout_max;
            let max = max.filter(|max| wanted <= *max && !self.is_extended);
            if max.is_some() && wanted.as_millis() >= 1 {
                stats.override_message_timeout_received.inc();
                *self = Self { is_extended: true, ..Self::new(wanted) };
            } else {
                stats.override_message_timeout_ignored.inc();
            }
        }
        self.sleep.as_mut().poll(context).map(|()| Err(TalkFailure::Late))
    }
}

/// Sends a message, after which an answer may be waited for.
pub(super) async fn send(shared: &Shared, way: Way, message: Vec<u8>) -> Result<(), TalkFailure> {
    let said = poll_fn(|context| Poll::Ready(shared.borrow_mut().poll_answer(context, way))).await;
    match said {
        Poll::Pending => shared.borrow_mut().send(message, way),
        Poll::Ready(Ok(_)) => Err(TalkFailure::Spurious("spurious_message")),
        Poll::Ready(Err(failure)) => Err(failure),
    }
}

impl TalkFailure {
    pub(super) fn of(error: CallError) -> Self {
        if matches!(error, CallError::Late(_)) { Self::Late } else { Self::Call(error) }
    }
}

/// Longest text that is told of why.
const DETAILS_MAX: usize = 256;

impl Processing {
    /// What becomes of a request whose service does not answer.
    pub(super) fn failed(&mut self, failure: &TalkFailure) -> Shown {
        let step = std::sync::Arc::clone(&self.step);
        if self.is_over {
            // The other way of the exchange has failed before.
            return self.reply.take().map_or(Shown::Passed, Shown::Answer);
        }
        match failure {
            TalkFailure::Ended => {
                step.stats.server_half_closed.inc();
                self.call.end_span(Ok(()));
                self.close();
                Shown::Passed
            }
            TalkFailure::Spurious(details) => self.spurious(details),
            TalkFailure::Late => {
                step.stats.message_timeouts.inc();
                if self.passes() {
                    return Shown::Passed;
                }
                Shown::Answer(self.refused(504, "ext_proc_error_per-message_timeout_exceeded"))
            }
            TalkFailure::Call(error) => {
                tracing::debug!(%error, "a service that sees requests failed");
                self.call.end_span(Err(error));
                step.stats.streams_failed.inc();
                step.stats.server_half_closed.inc();
                // Envoy counts the end of a call that it passes over once more.
                if self.failure_allow {
                    step.stats.server_half_closed.inc();
                }
                if self.passes() {
                    return Shown::Passed;
                }
                self.is_over = true;
                self.call.close();
                let code = error.grpc_status();
                let more = match error {
                    CallError::BrokenOff(error) => broken_off_details(error),
                    CallError::NoCluster(_)
                    | CallError::NoEndpoint
                    | CallError::Acquire(_)
                    | CallError::Upstream(_)
                    | CallError::Late(_)
                    | CallError::TooLong(_)
                    | CallError::Status { .. }
                    | CallError::Broken(_) => "via_upstream",
                };
                let details = format!("ext_proc_error_gRPC_error_{code}{{{more}}}");
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
