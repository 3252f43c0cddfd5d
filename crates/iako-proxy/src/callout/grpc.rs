//! gRPC calls of the proxy's own. Source: gRPC over HTTP/2.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use iako_http::{
    BodyEvent, BodyLength, Fields, FieldsBuilder, Known, Method, NameRef, RequestHead,
    RequestParts, Scheme, Version,
};
use iako_proxy_config::GrpcService;
use iako_rt::clock;

use super::call::{Asked, Call};
use super::{CallError, own_address, within};
use crate::http::downstream::Content;
use crate::http::trace::CalloutSpan;
use crate::worker::Worker;

/// Longest message that is taken where the service's settings name no limit; that of most gRPC
/// libraries.
pub(crate) const MESSAGE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Flag byte and length before a message.
const FRAME_HEAD: usize = 5;

/// Calls a method with one message, within the service's own time-out; the answer's message.
///
/// # Errors
/// When there is nobody to ask, no answer in time, one that is too long, or a status that is not OK.
pub(crate) async fn unary(
    worker: &Rc<Worker>,
    service: &GrpcService,
    method: &str,
    message: &[u8],
) -> Result<Bytes, CallError> {
    unary_in(worker, (service, method), message, None).await
}

/// The same, as a part of a trace.
///
/// # Errors
/// Those of [`unary`].
pub(crate) async fn unary_in(
    worker: &Rc<Worker>,
    (service, method): (&GrpcService, &str),
    message: &[u8],
    trace: Option<&CalloutSpan>,
) -> Result<Bytes, CallError> {
    let began = clock::now();
    let opening = GrpcStream::open_in(worker, (service, method), service.timeout, trace);
    let mut stream = within(service.timeout, Box::pin(opening)).await?;
    let took = clock::now().saturating_duration_since(began);
    let left = service.timeout.map(|limit| limit.saturating_sub(took));
    let answered = within(left, Box::pin(stream.only(message))).await;
    if matches!(answered, Err(CallError::Late(_))) {
        stream.call.late();
    }
    answered
}

/// A call with messages both ways. Dropped before its end, it is cancelled.
#[derive(Debug)]
pub(crate) struct GrpcStream {
    call: Call,
    /// Bytes of messages that are not whole.
    received: BytesMut,
    message_bytes_max: usize,
    phase: Phase,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Head,
    Messages,
    Over,
}

impl GrpcStream {
    /// Begins a call of `/package.Service/Method`. `deadline` is told to the service; keeping it is the
    /// caller's business.
    ///
    /// # Errors
    /// When there is nobody to ask.
    pub(crate) async fn open(
        worker: &Rc<Worker>,
        service: &GrpcService,
        method: &str,
        deadline: Option<Duration>,
    ) -> Result<Self, CallError> {
        Self::open_in(worker, (service, method), deadline, None).await
    }

    /// The same, as a part of a trace.
    ///
    /// # Errors
    /// Those of [`GrpcStream::open`].
    pub(crate) async fn open_in(
        worker: &Rc<Worker>,
        (service, method): (&GrpcService, &str),
        deadline: Option<Duration>,
        trace: Option<&CalloutSpan>,
    ) -> Result<Self, CallError> {
        let head = head(service, method, deadline, trace);
        let asked = Asked {
            cluster: &service.cluster,
            version: Version::Http2,
            head: &head,
            content: Content::Streamed,
        };
        let call = Call::begin(worker, asked).await?;
        let limit = service.answer_bytes_max.and_then(|limit| usize::try_from(limit.get()).ok());
        Ok(Self {
            call,
            received: BytesMut::new(),
            message_bytes_max: limit.unwrap_or(MESSAGE_BYTES_MAX),
            phase: Phase::Head,
        })
    }

    /// Sends the only message of the call, and takes the only one of its answer.
    async fn only(&mut self, message: &[u8]) -> Result<Bytes, CallError> {
        self.send(message)?;
        self.end()?;
        let mut answer = None;
        while let Some(message) = poll_fn(|context| self.poll_next(context)).await? {
            answer = Some(message);
        }
        // OK without a message is no answer.
        answer.ok_or(CallError::Broken("no message"))
    }

    /// Queues a message, which goes out while the answer is waited for.
    ///
    /// # Errors
    /// When the service is gone.
    pub(crate) fn send(&mut self, message: &[u8]) -> Result<(), CallError> {
        let length =
            u32::try_from(message.len()).map_err(|_large| CallError::TooLong(usize::MAX))?;
        let mut framed = Vec::with_capacity(FRAME_HEAD.saturating_add(message.len()));
        framed.push(0);
        framed.extend_from_slice(&length.to_be_bytes());
        framed.extend_from_slice(message);
        Ok(self.call.upstream().send_data(framed.into())?)
    }

    /// Bytes that wait to be sent.
    pub(crate) fn queued(&mut self) -> usize {
        match self.call.upstream().queued() {
            // A connection that is not there yet.
            usize::MAX => 0,
            queued => queued,
        }
    }

    /// Says that there are no more messages.
    ///
    /// # Errors
    /// When the service is gone.
    pub(crate) fn end(&mut self) -> Result<(), CallError> {
        Ok(self.call.upstream().send_end(None)?)
    }

    /// The next message of the service; none when it ended the call with OK.
    ///
    /// # Errors
    /// When the service ends the call otherwise, goes away, or breaks the protocol.
    pub(crate) fn poll_next(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<Option<Bytes>, CallError>> {
        loop {
            if let Some(message) = self.take_message()? {
                return Poll::Ready(Ok(Some(message)));
            }
            match self.phase {
                Phase::Over => return Poll::Ready(Ok(None)),
                Phase::Head => ready!(self.poll_head(context))?,
                Phase::Messages => {
                    if let Poll::Ready(Err(error)) = self.call.upstream().poll_flush(context) {
                        return Poll::Ready(Err(CallError::BrokenOff(error)));
                    }
                    let event = ready!(self.call.upstream().poll_body(context));
                    match event.map_err(CallError::BrokenOff)? {
                        BodyEvent::Data(data) => self.received.extend_from_slice(&data),
                        BodyEvent::Trailers(trailers) => {
                            self.phase = Phase::Over;
                            ended(&trailers)?;
                        }
                        BodyEvent::End => {
                            return Poll::Ready(Err(CallError::Broken("no status at the end")));
                        }
                    }
                }
            }
        }
    }

    /// What is queued goes out as far as it can.
    fn flush(&mut self, context: &mut Context<'_>) -> Result<(), CallError> {
        match self.call.upstream().poll_flush(context) {
            Poll::Ready(Err(error)) => Err(error.into()),
            Poll::Ready(Ok(())) | Poll::Pending => Ok(()),
        }
    }

    fn poll_head(&mut self, context: &mut Context<'_>) -> Poll<Result<(), CallError>> {
        self.flush(context)?;
        let head = ready!(self.call.upstream().poll_final_head(context));
        self.call.count(head.as_ref());
        let head = head?;
        self.phase = Phase::Messages;
        if head.fields().contains(Known::GrpcStatus) {
            self.phase = Phase::Over;
            ended(head.fields())?;
            return Poll::Ready(Ok(()));
        }
        if head.status() != 200 {
            let code = crate::http::grpc::status_of_http(head.status());
            let message = format!("HTTP status {}", head.status());
            return Poll::Ready(Err(CallError::Status { code: code.into(), message }));
        }
        Poll::Ready(Ok(()))
    }

    /// A whole message of those that were received.
    fn take_message(&mut self) -> Result<Option<Bytes>, CallError> {
        let Some(&[flags, a, b, c, d]) = self.received.first_chunk::<FRAME_HEAD>() else {
            return Ok(None);
        };
        if flags != 0 {
            return Err(CallError::Broken("a message is compressed"));
        }
        let length = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
        if length > self.message_bytes_max {
            return Err(CallError::TooLong(self.message_bytes_max));
        }
        let whole = FRAME_HEAD.saturating_add(length);
        if self.received.len() < whole {
            return Ok(None);
        }
        let mut message = self.received.split_to(whole).freeze();
        message.advance(FRAME_HEAD);
        Ok(Some(message))
    }
}

/// Whether a call ended with OK.
fn ended(fields: &Fields) -> Result<(), CallError> {
    match crate::http::grpc::status(fields) {
        Some(0) => Ok(()),
        Some(code) => {
            let message = fields.text(Known::GrpcMessage).unwrap_or_default().to_owned();
            Err(CallError::Status { code: code.into(), message })
        }
        None => Err(CallError::Broken("the status is no number")),
    }
}

fn head(
    service: &GrpcService,
    method: &str,
    deadline: Option<Duration>,
    trace: Option<&CalloutSpan>,
) -> RequestHead {
    let mut fields = FieldsBuilder::with_capacity(256);
    fields.push(Known::Te, b"trailers");
    if let Some(deadline) = deadline {
        fields.push(NameRef::from("grpc-timeout"), format!("{}m", deadline.as_millis()).as_bytes());
    }
    fields.push(Known::ContentType, b"application/grpc");
    if !service.skips_envoy_headers {
        if let Some(deadline) = deadline {
            let millis = deadline.as_millis().to_string();
            fields.push(Known::XEnvoyExpectedRequestTimeout, millis.as_bytes());
        }
        fields.push(Known::XEnvoyInternal, b"true");
        fields.push(Known::XForwardedFor, own_address().to_string().as_bytes());
    }
    for (name, value) in &service.metadata {
        fields.push(NameRef::from(name.as_str()), value.as_bytes());
    }
    for (name, value) in trace.map(CalloutSpan::headers).unwrap_or_default() {
        fields.push(NameRef::from(name), value.as_bytes());
    }
    let authority =
        if service.authority.is_empty() { &service.cluster } else { &service.authority };
    let parts = RequestParts {
        method: Method::Post,
        scheme: Some(Scheme::Http),
        authority: authority.as_bytes(),
        path: method.as_bytes(),
        protocol: b"",
        length: BodyLength::Chunked,
    };
    RequestHead::from_parts(parts, fields)
}
