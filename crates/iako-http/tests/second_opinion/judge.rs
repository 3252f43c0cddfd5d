//! What the `httparse` and `h2` crates make of the same bytes.

use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use iako_http::fuzz::{Translation, translate};
use iako_http::h2::{ConnectProtocol, Ends};
use iako_http::{BodyLength, Field, Known, Limits, RequestHead, SectionError, SectionReader};
use tokio::io::{AsyncWrite, DuplexStream, duplex};

use crate::differences::{DIFFERENCES, Protocol, View};

/// An HTTP/1 request: what `httparse` accepts we accept as the same, or we name why not; and what we
/// accept, the `h2` crate accepts from us.
///
/// Whether `httparse` takes it.
pub(crate) fn judge_http1(input: &[u8]) -> bool {
    let mut headers = [httparse::EMPTY_HEADER; 256];
    let mut theirs = httparse::Request::new(&mut headers);
    let is_whole = matches!(theirs.parse(input), Ok(httparse::Status::Complete(_)));
    match translate(input) {
        Translation::Partial => assert!(!is_whole, "we wait for more of a whole head"),
        Translation::Refused(error) if is_whole => {
            let view = view_of(&theirs);
            assert!(is_named(&view), "we refuse and name no difference: {error:?} {view:?}");
        }
        Translation::Refused(_) => {}
        Translation::Read { head, block } => {
            if is_whole {
                agree(&head, &view_of(&theirs));
            }
            if let Some(block) = block {
                ask_h2(&head, &block);
            }
        }
    }
    is_whole
}

fn is_named(view: &View<'_>) -> bool {
    DIFFERENCES.iter().any(|difference| (difference.shows)(view))
}

fn view_of<'a>(request: &httparse::Request<'_, 'a>) -> View<'a> {
    View {
        protocol: match request.version {
            Some(0) => Protocol::Http10,
            _ => Protocol::Http11,
        },
        method: request.method.unwrap_or_default().as_bytes(),
        target: request.path.map(str::as_bytes),
        fields: request
            .headers
            .iter()
            .map(|header| (header.name.as_bytes(), header.value))
            .collect(),
    }
}

/// Both have read the same: method, and fields but for what `host` and `te` become.
fn agree(head: &RequestHead, view: &View<'_>) {
    assert_eq!(head.method().as_bytes(), view.method);
    let apart = |known: Option<Known>| matches!(known, Some(Known::Host | Known::Te));
    let ours: Vec<(Vec<u8>, &[u8])> = head
        .fields()
        .iter_all()
        .filter(|field: &Field<'_>| !apart(field.known))
        .map(|field| (field.name.to_vec(), field.value))
        .collect();
    let theirs: Vec<(Vec<u8>, &[u8])> = view
        .fields
        .iter()
        .map(|(name, value)| (name.to_ascii_lowercase(), *value))
        .filter(|(name, _)| !apart(Known::lookup(name)))
        .collect();
    assert_eq!(ours, theirs);
}

/// What we translated must be taken by the `h2` crate, unless its idea of a URI is narrower.
fn ask_h2(head: &RequestHead, block: &[u8]) {
    let ends = match head.length() {
        BodyLength::Empty | BodyLength::Exact(0) => Ends::Here,
        BodyLength::Exact(_)
        | BodyLength::Chunked
        | BodyLength::UntilClose
        | BodyLength::Tunnel => Ends::Later,
    };
    let plain = |text: &str, more: &[u8]| {
        text.bytes().all(|byte| byte.is_ascii_alphanumeric() || more.contains(&byte))
    };
    let host = head.authority().split(':').next().unwrap_or_default();
    let is_plain = plain(host, b"-.")
        && !host.is_empty()
        && head.authority().split(':').count() <= 2
        && head.authority().split(':').nth(1).is_none_or(|port| port.parse::<u16>().is_ok())
        && plain(head.path(), b"-._~/?=&%+:@!$,;*");
    match theirs(block, ends) {
        Some(request) => {
            assert_eq!(request.method.as_str().as_bytes(), head.method().as_bytes());
            let authority = request.uri.authority().map(http::uri::Authority::as_str);
            assert_eq!(authority, Some(head.authority()));
        }
        None => assert!(!is_plain, "h2 refuses what we send: {head:?}"),
    }
}

/// A field section of HTTP/2, given as texts with an octet of length before each, name and value in turn;
/// the first octet says whether the stream ends. What the `h2` crate accepts we accept, or name why not.
///
/// Whether the `h2` crate takes it.
pub(crate) fn judge_http2(input: &[u8]) -> bool {
    let Some((kind, texts)) = input.split_first() else { return false };
    let ends = if kind & 1 == 0 { Ends::Later } else { Ends::Here };
    let mut fields: Vec<(&[u8], &[u8])> = Vec::new();
    let mut left = texts;
    while let (Some(name), Some(value)) = (text(&mut left), text(&mut left)) {
        fields.push((name, value));
    }
    let block = block_of(&fields);
    let mut reader = SectionReader::new(Limits::default(), 4096);
    let ours = reader.request(&block, ends, ConnectProtocol::Accept);
    let Some(request) = theirs(&block, ends) else { return false };
    match ours {
        Ok(head) => {
            assert_eq!(request.method.as_str().as_bytes(), head.method().as_bytes());
            if let Some(path) = request.uri.path_and_query() {
                let without_fragment = head.path().split('#').next().unwrap_or_default();
                assert_eq!(path.as_str(), without_fragment);
            }
        }
        Err(error) => {
            assert!(!matches!(error, SectionError::Compression(_)), "the block is sound");
            let first = |name: &[u8]| fields.iter().find(|field| field.0 == name);
            let view = View {
                protocol: Protocol::Http2,
                method: first(b":method").map_or(&b""[..], |field| field.1),
                target: first(b":path").map(|field| field.1),
                fields: fields.clone(),
            };
            assert!(is_named(&view), "we refuse and name no difference: {error:?} {view:?}");
        }
    }
    true
}

fn text<'a>(left: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (len, rest) = left.split_first()?;
    let (text, rest) = rest.split_at_checked(usize::from(*len % 127).min(rest.len()))?;
    *left = rest;
    Some(text)
}

/// Literals without indexing.
fn block_of(fields: &[(&[u8], &[u8])]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            block.push(u8::try_from(text.len()).unwrap_or_default());
            block.extend_from_slice(text);
        }
    }
    block
}

/// The request that a server of the `h2` crate makes of a block, if it does.
fn theirs(block: &[u8], ends: Ends) -> Option<http::request::Parts> {
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec();
    if block.len() > 16_384 {
        return None;
    }
    let len = u32::try_from(block.len()).unwrap_or_default();
    bytes.extend(len.to_be_bytes().into_iter().skip(1));
    bytes.extend_from_slice(&[1, if ends.here() { 5 } else { 4 }, 0, 0, 0, 1]);
    bytes.extend_from_slice(block);
    let (mut ours, server) = duplex(64 * 1024);
    let mut context = Context::from_waker(Waker::noop());
    let written = Pin::new(&mut ours).poll_write(&mut context, &bytes);
    assert!(matches!(written, Poll::Ready(Ok(count)) if count == bytes.len()));
    let mut connection = handshake(server, &mut context)?;
    // All bytes are there: what it does not take now it never takes.
    for _ in 0..4 {
        match connection.poll_accept(&mut context) {
            Poll::Ready(Some(Ok((request, _)))) => return Some(request.into_parts().0),
            Poll::Ready(_) => return None,
            Poll::Pending => {}
        }
    }
    None
}

fn handshake(
    server: DuplexStream,
    context: &mut Context<'_>,
) -> Option<h2::server::Connection<DuplexStream, Bytes>> {
    let mut builder = h2::server::Builder::new();
    let mut handshake = pin!(builder.enable_connect_protocol().handshake(server));
    for _ in 0..4 {
        if let Poll::Ready(connection) = handshake.as_mut().poll(context) {
            return connection.ok();
        }
    }
    None
}
