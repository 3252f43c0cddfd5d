//! One stream of an HTTP/2 client.

use std::task::{Context, Poll};

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{RecvStream, SendStream};
use iako_http::{BodyEvent, Fields, HeaderEdits, ResponseEdits, ResponseHead};

use super::{Content, DownstreamError};
use crate::http::convert;
use crate::http::stream::{Incoming, Outgoing, StreamError};

/// The server's half of a stream.
#[derive(Debug)]
pub(crate) struct Http2Downstream {
    incoming: Incoming,
    respond: SendResponse<Bytes>,
    outgoing: Option<Outgoing>,
}

impl Http2Downstream {
    /// Takes a stream over.
    pub(crate) fn new(body: RecvStream, respond: SendResponse<Bytes>) -> Self {
        Self { incoming: Incoming::new(body), respond, outgoing: None }
    }

    pub(crate) fn poll_body(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<BodyEvent, DownstreamError>> {
        self.incoming.poll_body(context).map_err(DownstreamError::from)
    }

    pub(crate) fn poll_gone(&mut self, context: &mut Context<'_>) -> Poll<DownstreamError> {
        let reset = match &mut self.outgoing {
            Some(outgoing) => outgoing.poll_reset(context),
            None => self.respond.poll_reset(context),
        };
        reset.map(|reset| match reset {
            Ok(_) => DownstreamError::Reset,
            Err(error) => DownstreamError::from(StreamError::from(error)),
        })
    }

    pub(crate) fn send_interim(&mut self, _head: &ResponseHead) {}

    pub(crate) fn send_head(
        &mut self,
        head: &ResponseHead,
        edits: &ResponseEdits,
        content: Content,
    ) -> Result<(), DownstreamError> {
        let ends = matches!(content, Content::None | Content::Described(_));
        let response = convert::response_to_h2(head, edits, content);
        let stream: SendStream<Bytes> =
            self.respond.send_response(response, ends).map_err(StreamError::from)?;
        let mut outgoing = Outgoing::new(stream);
        if ends {
            outgoing.already_ended();
        }
        self.outgoing = Some(outgoing);
        Ok(())
    }

    pub(crate) fn send_data(&mut self, data: Bytes) -> Result<(), DownstreamError> {
        if let Some(outgoing) = &mut self.outgoing {
            outgoing.send_data(data);
        }
        Ok(())
    }

    pub(crate) fn send_end(
        &mut self,
        trailers: Option<(&Fields, &HeaderEdits)>,
    ) -> Result<(), DownstreamError> {
        if let Some(outgoing) = &mut self.outgoing {
            outgoing.send_end(trailers.map(|(fields, edits)| convert::fields_to_h2(fields, edits)));
        }
        Ok(())
    }

    pub(crate) fn queued(&self) -> usize {
        self.outgoing.as_ref().map_or(0, Outgoing::queued)
    }

    pub(crate) fn poll_flush(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), DownstreamError>> {
        match &mut self.outgoing {
            Some(outgoing) => outgoing.poll_flush(context).map_err(DownstreamError::from),
            None => Poll::Ready(Ok(())),
        }
    }

    pub(crate) fn abort(&mut self) {
        match &mut self.outgoing {
            Some(outgoing) => outgoing.reset(h2::Reason::INTERNAL_ERROR),
            None => self.respond.send_reset(h2::Reason::INTERNAL_ERROR),
        }
    }

    /// Tells the client that the rest of its request is not wanted, after a whole response
    /// (RFC 9113 §8.1).
    pub(crate) fn refuse_rest(&mut self) {
        if !self.incoming.is_ended()
            && let Some(outgoing) = &mut self.outgoing
        {
            outgoing.reset(h2::Reason::NO_ERROR);
        }
    }
}

impl From<StreamError> for DownstreamError {
    fn from(error: StreamError) -> Self {
        match error {
            StreamError::Reset(_) => Self::Reset,
            StreamError::Connection(error) => Self::Gone(error.into_io()),
        }
    }
}
