//! What a client makes of responses, and what is written.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests may be blunt")]

use bytes::BytesMut;
use iako_http::{
    BodyEncoder, BodyEvent, BodyLength, ConnectionField, FieldName, FieldValue, FieldsBuilder,
    Framing, HeaderEdits, Known, LengthMismatch, Limits, Method, ParseError, Persistence,
    RequestDecoder, RequestEdits, RequestHead, RequestParts, ResponseDecoder, ResponseEdits,
    ResponseHead, ResponseTo, Scheme, Version, Wire, edited_fields, write_request_head,
    write_response_head,
};
use proptest::prelude::*;

fn head(input: &str, to: ResponseTo) -> Result<ResponseHead, ParseError> {
    let mut decoder = ResponseDecoder::new(Limits::default());
    decoder.expect(to);
    decoder.head(&mut BytesMut::from(input)).map(|head| head.expect("a whole head"))
}

fn length(input: &str, to: ResponseTo) -> Result<(BodyLength, Persistence), ParseError> {
    head(input, to).map(|head| (head.length(), head.persistence()))
}

#[test]
fn content_ends_where_status_request_and_fields_say() {
    use BodyLength::{Chunked, Empty, Exact, Tunnel, UntilClose};
    use Persistence::{Close, KeepAlive};
    use ResponseTo::{Connect, Head, Plain, Upgrade};
    let cases = [
        ("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n", Plain, (Exact(3), KeepAlive)),
        ("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n", Head, (Empty, KeepAlive)),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", Plain, (Chunked, KeepAlive)),
        ("HTTP/1.1 200 OK\r\n\r\n", Plain, (UntilClose, Close)),
        (
            "HTTP/1.1 200\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
            Plain,
            (Exact(0), Close),
        ),
        ("HTTP/1.1 204 No Content\r\n\r\n", Plain, (Empty, KeepAlive)),
        ("HTTP/1.1 304 Not Modified\r\ncontent-length: 9\r\n\r\n", Plain, (Empty, KeepAlive)),
        ("HTTP/1.1 103 Early Hints\r\n\r\n", Plain, (Empty, KeepAlive)),
        ("HTTP/1.1 101 Switching Protocols\r\n\r\n", Upgrade, (Tunnel, Close)),
        ("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n", Upgrade, (Exact(3), KeepAlive)),
        ("HTTP/1.1 200 OK\r\n\r\n", Connect, (Tunnel, Close)),
        ("HTTP/1.1 403 No\r\ncontent-length: 2\r\n\r\n", Connect, (Exact(2), KeepAlive)),
        ("HTTP/1.0 200 OK\r\ncontent-length: 3\r\n\r\n", Plain, (Exact(3), Close)),
    ];
    for (input, to, expected) in cases {
        assert_eq!(length(input, to), Ok(expected), "{input:?} to {to:?}");
    }
    for (input, error) in [
        ("HTTP/1.1 101 Switching\r\n\r\n", ParseError::UnexpectedSwitch),
        ("HTTP/1.1 20 OK\r\n\r\n", ParseError::StatusLine),
        ("HTTP/1.1 2000 OK\r\n\r\n", ParseError::StatusLine),
        ("ICY 200 OK\r\n\r\n", ParseError::StatusLine),
        ("HTTP/2.0 200 OK\r\n\r\n", ParseError::Version),
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n",
            ParseError::LengthAndChunked,
        ),
        ("HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", ParseError::TransferEncoding),
    ] {
        assert_eq!(length(input, Plain), Err(error), "{input:?}");
    }
}

#[test]
fn a_response_after_an_interim_one_and_one_until_close() {
    let mut decoder = ResponseDecoder::new(Limits::default());
    let mut buffer = BytesMut::from("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\nabc");
    assert!(decoder.head(&mut buffer).unwrap().unwrap().is_interim());
    assert_eq!(decoder.head(&mut buffer).unwrap().unwrap().status(), 200);
    let Some(BodyEvent::Data(data)) = decoder.body(&mut buffer).unwrap() else { panic!("no data") };
    assert_eq!(data, "abc");
    assert!(decoder.body(&mut buffer).unwrap().is_none());
    decoder.eof(&buffer).unwrap();
    assert!(matches!(decoder.body(&mut buffer), Ok(Some(BodyEvent::End))));
}

#[test]
fn closing_early_is_noticed() {
    for input in [
        "HTTP/1.1 200 OK\r\ncontent-le",
        "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nab",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n",
    ] {
        let mut decoder = ResponseDecoder::new(Limits::default());
        let mut buffer = BytesMut::from(input);
        if decoder.head(&mut buffer).unwrap().is_some() {
            while let Ok(Some(_)) = decoder.body(&mut buffer) {}
        }
        assert_eq!(decoder.eof(&buffer), Err(ParseError::Truncated), "{input:?}");
    }
}

fn wire(framing: Framing, connection: ConnectionField<'_>) -> Wire<'_> {
    Wire { framing, connection }
}

fn request(input: &str) -> RequestHead {
    let mut decoder = RequestDecoder::new(Limits::default());
    decoder.head(&mut BytesMut::from(input)).unwrap().unwrap()
}

#[test]
fn edits_apply_while_writing() {
    let head = request(
        "GET http://a.test/old HTTP/1.1\r\nX-Drop: 1\r\nX-Keep: 1\r\nServer: x\r\nX-Keep: 2\r\n\
         connection: upgrade\r\nupgrade: websocket\r\n\r\n",
    );
    let value = FieldValue::from_static;
    let name = |text: &str| FieldName::parse(text.as_bytes()).unwrap();
    let mut edits = RequestEdits { path: Some("/new".into()), ..RequestEdits::default() };
    edits.fields.remove(name("X-Drop"));
    edits.fields.add_if_absent(name("x-drop"), value("again"));
    edits.fields.add_if_absent(name("x-keep"), value("never"));
    edits.fields.add_if_absent(name("x-new"), value("once"));
    edits.fields.append(name("x-keep"), value("3"));
    edits.fields.set(Known::Server, value("y"));
    edits.fields.set(Known::Server, value("z"));
    edits.fields.set(Known::TransferEncoding, value("never"));
    let mut out = BytesMut::new();
    let upgrade = head.upgrade().unwrap();
    write_request_head(
        &head,
        &edits,
        wire(Framing::Length(0), ConnectionField::Upgrade(upgrade)),
        &mut out,
    );
    assert_eq!(
        out,
        "GET /new HTTP/1.1\r\nhost: a.test\r\nx-keep: 1\r\nx-keep: 2\r\nx-drop: again\r\n\
         x-new: once\r\nx-keep: 3\r\nserver: z\r\ncontent-length: 0\r\nconnection: upgrade\r\n\
         upgrade: websocket\r\n\r\n"
    );
    let values: Vec<_> = edits.values(&head, "x-keep").collect();
    assert_eq!(values, [b"1", b"2", b"3"]);
    assert_eq!(edits.fields.get(head.fields(), Known::Server), Some(&b"z"[..]));
    edits.fields.clear();
    assert!(edits.fields.is_empty());
}

#[test]
fn values_cannot_break_out_of_their_line() {
    assert!(FieldValue::parse("a\r\nx-evil: 1").is_err());
    assert_eq!(FieldValue::sanitized("a\r\nb\0c").as_bytes(), "a  b c");
    let edits = RequestEdits {
        path: Some("/a HTTP/1.1\r\nx: 1".into()),
        authority: Some("a b".into()),
        ..RequestEdits::default()
    };
    let mut out = BytesMut::new();
    let head = request("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    write_request_head(&head, &edits, wire(Framing::Silent, ConnectionField::Omit), &mut out);
    assert_eq!(out, "GET /a%20HTTP/1.1%0D%0Ax:%201 HTTP/1.1\r\nhost: a%20b\r\n\r\n");
    assert!(FieldName::parse(b"x y").is_err() && FieldName::parse(b"").is_err());
}

#[test]
fn an_http2_head_is_written_as_http_1() {
    let mut fields = FieldsBuilder::with_capacity(64);
    fields.push(Known::ContentType, b"application/grpc");
    fields.push("te", b"trailers");
    fields.push("x-own", b"1");
    let head = RequestHead::from_parts(
        RequestParts {
            method: Method::Post,
            scheme: Some(Scheme::Http),
            authority: b"a.test",
            path: b"/s/m",
            protocol: b"",
            length: BodyLength::Chunked,
        },
        fields,
    );
    let mut out = BytesMut::new();
    let edits = RequestEdits::default();
    write_request_head(&head, &edits, wire(Framing::Chunked, ConnectionField::Omit), &mut out);
    assert_eq!(
        out,
        "POST /s/m HTTP/1.1\r\nhost: a.test\r\ncontent-type: application/grpc\r\nte: trailers\r\n\
         x-own: 1\r\ntransfer-encoding: chunked\r\n\r\n"
    );
    assert_eq!(edited_fields(head.fields(), &edits.fields).count(), 3);
}

#[test]
fn content_is_framed_and_checked_against_the_announcement() {
    let mut out = BytesMut::new();
    let mut chunked = BodyEncoder::new(Framing::Chunked);
    assert_eq!(chunked.data(26, &mut out), Ok(&b"\r\n"[..]));
    assert_eq!(chunked.data(0, &mut out), Ok(&b""[..]));
    assert_eq!(chunked.data(0x1_0000, &mut out), Ok(&b"\r\n"[..]));
    let mut trailers = FieldsBuilder::default();
    trailers.push(Known::GrpcStatus, b"0");
    chunked.end(Some((&trailers.build(), &HeaderEdits::default())), &mut out).unwrap();
    assert_eq!(out, "1a\r\n10000\r\n0\r\ngrpc-status: 0\r\n\r\n");
    let mut exact = BodyEncoder::new(Framing::Length(3));
    assert_eq!(exact.end(None, &mut out), Err(LengthMismatch::TooShort));
    assert!(exact.data(2, &mut out).is_ok());
    assert_eq!(exact.data(2, &mut out), Err(LengthMismatch::TooLong));
    assert_eq!(BodyEncoder::Empty.data(1, &mut out), Err(LengthMismatch::TooLong));
}

#[test]
fn interim_responses_to_one_request_are_bounded() {
    let mut decoder = ResponseDecoder::new(Limits::default());
    for _ in 0..2 {
        decoder.expect(ResponseTo::Plain);
        let mut buffer = BytesMut::from("HTTP/1.1 103 Early Hints\r\n\r\n".repeat(64).as_str());
        for _ in 0..64 {
            assert!(decoder.head(&mut buffer).unwrap().unwrap().is_interim());
        }
        buffer.extend_from_slice(b"HTTP/1.1 204 No Content\r\n\r\n");
        assert_eq!(decoder.head(&mut buffer).unwrap().unwrap().status(), 204);
    }
    let mut buffer = BytesMut::from("HTTP/1.1 103 Early Hints\r\n\r\n".repeat(65).as_str());
    decoder.expect(ResponseTo::Plain);
    let ended = (0..65).find_map(|_| decoder.head(&mut buffer).err());
    assert_eq!(ended, Some(ParseError::TooManyInterim));
}

proptest! {
    #[test]
    fn a_written_request_is_read_back_the_same(
        path in "/[!-~]{0,30}",
        fields in proptest::collection::vec(("[A-Za-z][A-Za-z0-9-]{0,12}", "([!-~]{1,5}( [!-~]{1,5})?)?"), 0..30),
        content in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..50), 0..4),
    ) {
        let mut builder = FieldsBuilder::default();
        for (name, value) in &fields {
            let name = format!("x-{}", name.to_ascii_lowercase());
            builder.push(name.as_str(), value.as_bytes());
        }
        let parts = RequestParts {
            method: Method::Put, scheme: None, authority: b"a.test:80", path: path.as_bytes(),
            protocol: b"", length: BodyLength::Chunked,
        };
        let head = RequestHead::from_parts(parts, builder);
        let mut out = BytesMut::new();
        write_request_head(&head, &RequestEdits::default(), wire(Framing::Chunked, ConnectionField::Omit), &mut out);
        let mut encoder = BodyEncoder::new(Framing::Chunked);
        for piece in &content {
            let after = encoder.data(piece.len(), &mut out).unwrap();
            out.extend_from_slice(piece);
            out.extend_from_slice(after);
        }
        encoder.end(None, &mut out).unwrap();

        let mut decoder = RequestDecoder::new(Limits::default());
        let again = decoder.head(&mut out).unwrap().unwrap();
        prop_assert_eq!(again.path(), path);
        let pairs = |head: &RequestHead| -> Vec<_> {
            head.fields().iter().map(|f| (f.name.to_vec(), f.value.to_vec())).collect()
        };
        prop_assert_eq!(pairs(&again), pairs(&head));
        let mut read = Vec::new();
        while let Some(BodyEvent::Data(data)) = decoder.body(&mut out).unwrap() {
            read.extend_from_slice(&data);
        }
        prop_assert_eq!(read, content.concat());
        prop_assert!(decoder.is_body_done() && out.is_empty());
    }

    #[test]
    fn a_written_response_is_read_back_the_same(status in 200_u16..600, value in "[!-~]{1,20}") {
        let mut builder = FieldsBuilder::default();
        builder.push(Known::Server, value.as_bytes());
        let head = ResponseHead::new(status, Version::Http2, BodyLength::Exact(0), builder.build());
        let mut out = BytesMut::new();
        write_response_head(&head, &ResponseEdits::default(), Version::Http11,
            wire(Framing::Length(0), ConnectionField::Close), &mut out);
        let mut decoder = ResponseDecoder::new(Limits::default());
        let again = decoder.head(&mut out).unwrap().unwrap();
        prop_assert_eq!(again.status(), status);
        prop_assert_eq!(again.fields().get(Known::Server), Some(value.as_bytes()));
        prop_assert_eq!(again.persistence(), Persistence::Close);
    }
}
