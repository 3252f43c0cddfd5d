//! One stream of an HTTP/2 client.

use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use iako_http::h2::{Answer, Ends, ErrorCode, ResetCause, StreamId};
use iako_http::{BodyEvent, Fields, HeaderEdits, RequestHead, ResponseEdits, ResponseHead};

use super::{Content, DownstreamError};
use crate::http2::{Ending, Link, Lost, Side, StreamHandle};
use crate::overload::{Account, Ledger};

/// The server's half of a stream.
#[derive(Debug)]
pub(crate) struct Http2Downstream {
    stream: StreamHandle,
    /// The client asked to be told `100 Continue`.
    waits_to_go_on: bool,
    /// The response is a tunnel.
    is_tunnel: bool,
    /// What it holds, where that is looked at.
    account: Option<Rc<Account>>,
}

impl Http2Downstream {
    /// Takes a stream over.
    pub(crate) fn new(link: &Rc<Link>, stream: StreamId, ends: Ends, head: &RequestHead) -> Self {
        Self {
            stream: StreamHandle::new(link, stream, ends, Side::Server),
            waits_to_go_on: head.expects_continue(),
            is_tunnel: false,
            account: None,
        }
    }

    /// The same, looked at for what it holds.
    pub(crate) fn tracked(mut self, ledger: &Ledger) -> Self {
        self.account = Some(ledger.open(self.stream.place()));
        self
    }

    /// What it holds, where that is looked at.
    pub(crate) fn account(&self) -> Option<&Account> {
        self.account.as_deref()
    }

    fn lost(&self, lost: Lost) -> DownstreamError {
        let is_cut = self.account.as_ref().is_some_and(|account| account.is_cut());
        if is_cut { DownstreamError::Overload } else { lost.into() }
    }

    /// Whether the client waits for `100 Continue`.
    pub(crate) fn waits_to_go_on(&self) -> bool {
        self.waits_to_go_on
    }

    /// Tells a client that waits for it to go on, at once, as Envoy does unless `proxy_100_continue`.
    pub(crate) fn tell_continue(&self) {
        let id = self.stream.id();
        let (fields, edits) = (Fields::default(), HeaderEdits::default());
        self.stream.link().with(|connection| connection.interim(id, 100, &fields, &edits));
    }

    pub(crate) fn poll_body(
        &mut self,
        context: &Context<'_>,
    ) -> Poll<Result<BodyEvent, DownstreamError>> {
        self.stream.poll_body(context).map_err(|lost| self.lost(lost))
    }

    pub(crate) fn poll_gone(&self, context: &Context<'_>) -> Poll<DownstreamError> {
        self.stream.poll_lost(context).map(|lost| self.lost(lost))
    }

    pub(crate) fn send_interim(&self, head: &ResponseHead) {
        let id = self.stream.id();
        let edits = HeaderEdits::default();
        self.stream
            .link()
            .with(|connection| connection.interim(id, head.status(), head.fields(), &edits));
    }

    pub(crate) fn send_head(
        &mut self,
        head: &ResponseHead,
        edits: &ResponseEdits,
        content: Content,
    ) {
        let (length, ends) = match content {
            Content::None => (None, Ends::Here),
            Content::Exact(0) => (Some(0), Ends::Here),
            Content::Exact(length) => (Some(length), Ends::Later),
            Content::Described(length) => (length, Ends::Here),
            Content::Streamed | Content::Tunnel => (None, Ends::Later),
        };
        self.is_tunnel = content == Content::Tunnel;
        let id = self.stream.id();
        let answer = Answer { head, edits, length };
        self.stream.link().with(|connection| connection.respond(id, answer, ends));
        if ends.here() {
            self.stream.end_sending();
        }
    }

    pub(crate) fn send_data(&self, data: Bytes) {
        self.stream.send_data(data);
    }

    pub(crate) fn send_end(&mut self, trailers: Option<(&Fields, &HeaderEdits)>) {
        self.stream.send_end(trailers);
    }

    pub(crate) fn queued(&self) -> usize {
        self.stream.queued()
    }

    pub(crate) fn poll_flush(&self, context: &Context<'_>) -> Poll<Result<(), DownstreamError>> {
        self.stream.poll_sent(context).map_err(|lost| self.lost(lost))
    }

    /// Ends the stream with a code that tells the client why the response is incomplete; of a tunnel
    /// that it broke (RFC 9113 §8.5).
    pub(crate) fn abort(&mut self, code: ErrorCode) {
        self.stream.reset(if self.is_tunnel { ErrorCode::CONNECT_ERROR } else { code });
    }
}

impl From<Lost> for DownstreamError {
    fn from(lost: Lost) -> Self {
        match lost {
            Lost::Reset(_, cause) => match cause {
                ResetCause::Violation(violation) => Self::Http2(violation.details()),
                ResetCause::Peer | ResetCause::GoAway => Self::Reset,
            },
            Lost::Connection(Ending::Refused(error)) => Self::Http2(error.details()),
            Lost::Connection(Ending::Broken(kind)) => Self::Gone(Some(kind.into())),
            Lost::Connection(Ending::Shed) => Self::Shed,
            Lost::Connection(Ending::Closed | Ending::Cut) => Self::Gone(None),
        }
    }
}
