//! Messages (RFC 9113 §8): heads, content and its length, trailers, interim responses, CONNECT.

use bytes::Bytes;
use iako_http::h2::{
    Ends, ErrorCode, Event, H2Limits, InvalidMessage, ResetCause, StreamId, Violation,
};
use iako_http::{BodyLength, FieldsBuilder, HeaderEdits, Known, Method};

use crate::rig::{
    DATA, END_HEADERS, END_STREAM, End, GET, HEADERS, POST, RST_STREAM, data, get, headers, open,
    post, request, respond, trailers, window_update, with,
};

fn server() -> End {
    End::server(H2Limits::default())
}

fn lenient() -> H2Limits {
    H2Limits { invalid_message: InvalidMessage::ResetStream, ..H2Limits::default() }
}

/// A client with an open request.
fn asking(method: Method, ends: Ends) -> (End, StreamId) {
    let mut end = End::client(lenient(), &[]);
    let stream = open(&mut end.connection, &request(method, BodyLength::Empty), ends).unwrap();
    end.sent();
    (end, stream)
}

fn reset_by(end: &mut End, bytes: &[u8], violation: Violation) {
    let events = end.receive(bytes);
    let Some(Event::Reset { code, cause, .. }) = events.last() else { panic!("{events:?}") };
    assert_eq!((*code, *cause), (violation.code(), ResetCause::Violation(violation)));
    assert!(end.sent().iter().any(|frame| frame.kind == RST_STREAM));
}

#[test]
fn section_8_1_1_a_malformed_request_ends_the_connection_as_in_envoy_unless_told_otherwise() {
    let malformed = [
        with(GET, &[("X-Upper", "1")]),
        with(GET, &[("connection", "close")]),
        with(GET, &[("te", "gzip")]),
        with(GET, &[(":path", "/again")]),
        with(GET, &[("x", "a\nb")]),
        GET[..3].to_vec(),
    ];
    for (place, fields) in malformed.iter().enumerate() {
        let bytes = headers(1, END_STREAM, fields);
        let error = server().broken_by(&bytes);
        assert_eq!(error.code(), ErrorCode::PROTOCOL_ERROR);
        let details = if place == 5 {
            "http2.violation.of.messaging.rule"
        } else {
            "http2.invalid.header.field"
        };
        assert_eq!(error.details(), details, "{fields:?}");

        let mut end = End::server(lenient());
        let events = end.receive(&bytes);
        let [Event::Refused { number: 1, code: ErrorCode::PROTOCOL_ERROR, violation }] =
            &events[..]
        else {
            panic!("{events:?}")
        };
        assert_eq!(violation.details(), details);
        assert_eq!(end.sent()[0].number(), ErrorCode::PROTOCOL_ERROR.get());
        assert_eq!(end.receive(&get(3)).len(), 1);
    }
}

#[test]
fn section_10_5_1_too_many_fields_cost_the_stream_whatever_is_configured() {
    let mut fields = GET.to_vec();
    fields.extend(std::iter::repeat_n(("x", "y"), 120));
    for limits in [H2Limits::default(), lenient()] {
        let mut end = End::server(limits);
        let events = end.receive(&headers(1, END_STREAM, &fields));
        let [Event::Refused { code: ErrorCode::INTERNAL_ERROR, violation, .. }] = &events[..]
        else {
            panic!("{events:?}")
        };
        assert_eq!(violation.details(), "http2.too_many_headers");
        assert_eq!(end.receive(&get(3)).len(), 1);
    }
}

#[test]
fn section_8_1_1_content_is_as_long_as_its_head_says() {
    let post = headers(1, 0, &with(POST, &[("content-length", "5")]));
    for wrong in [
        data(1, END_STREAM, b"four"),
        data(1, 0, b"sixsix"),
        [data(1, 0, b"thr"), data(1, END_STREAM, b"")].concat(),
        [data(1, 0, b"thr"), headers(1, END_STREAM, &[("x", "y")])].concat(),
    ] {
        let mut end = server();
        end.receive(&post);
        reset_by(&mut end, &wrong, Violation::ContentLength);
    }
    let mut end = server();
    end.receive(&post);
    end.receive(&[data(1, 0, b"two"), data(1, END_STREAM, b"22")].concat());
    let none = headers(1, END_STREAM, &with(POST, &[("content-length", "5")]));
    let events = server().receive(&none);
    assert!(
        matches!(events[..], [Event::Refused { violation: Violation::ContentLength, .. }]),
        "{events:?}"
    );
}

#[test]
fn section_8_1_1_answers_to_head_announce_and_have_no_content() {
    let (mut end, _) = asking(Method::Head, Ends::Here);
    let head = headers(1, 0, &[(":status", "200"), ("content-length", "100")]);
    end.receive(&head);
    end.receive(&data(1, END_STREAM, b""));
    let (mut end, _) = asking(Method::Head, Ends::Here);
    end.receive(&head);
    reset_by(&mut end, &data(1, 0, b"content"), Violation::ContentLength);
    let (mut end, _) = asking(Method::Get, Ends::Here);
    end.receive(&headers(1, END_STREAM, &[(":status", "304"), ("content-length", "100")]));
}

#[test]
fn section_8_1_trailers_end_their_message() {
    let mut end = server();
    end.receive(&post(1));
    let events = end.receive(&[data(1, 0, b"x"), headers(1, END_STREAM, &[("x", "y")])].concat());
    let [Event::Data { ends: Ends::Later, .. }, Event::Trailers { fields, .. }] = &events[..]
    else {
        panic!("{events:?}")
    };
    assert_eq!(fields.get("x"), Some(&b"y"[..]));
    let mut end = server();
    end.receive(&post(1));
    reset_by(&mut end, &headers(1, 0, &[("x", "y")]), Violation::UnendedTrailers);
}

#[test]
fn section_8_1_trailers_have_no_pseudo_header_fields() {
    let mut end = End::server(lenient());
    end.receive(&post(1));
    reset_by(&mut end, &headers(1, END_STREAM, &[(":path", "/")]), Violation::Message);
}

#[test]
fn section_8_1_interim_responses_come_before_the_response() {
    let (mut end, stream) = asking(Method::Get, Ends::Here);
    let events = end.receive(
        &[
            headers(1, 0, &[(":status", "100")]),
            headers(1, 0, &[(":status", "103"), ("link", "</a>")]),
            headers(1, END_STREAM, &[(":status", "200")]),
        ]
        .concat(),
    );
    let statuses: Vec<_> = events
        .iter()
        .map(|event| {
            let Event::Response { stream: of, head, ends } = event else { panic!("{event:?}") };
            assert_eq!(*of, stream);
            (head.status(), head.is_interim(), ends.here())
        })
        .collect();
    assert_eq!(statuses, [(100, true, false), (103, true, false), (200, false, true)]);
}

#[test]
fn section_8_1_an_interim_response_ends_nothing_and_there_is_no_101() {
    for status in ["100", "101"] {
        let (mut end, _) = asking(Method::Get, Ends::Here);
        let events = end.receive(&headers(1, END_STREAM, &[(":status", status)]));
        assert!(matches!(events[..], [Event::Reset { .. }]), "{status}: {events:?}");
    }
}

#[test]
fn interim_responses_are_bounded() {
    let (mut end, _) = asking(Method::Get, Ends::Here);
    for _ in 0..64 {
        assert_eq!(end.receive(&headers(1, 0, &[(":status", "103")])).len(), 1);
    }
    reset_by(&mut end, &headers(1, 0, &[(":status", "103")]), Violation::TooManyInterim);
}

#[test]
fn section_8_1_content_does_not_come_before_its_head() {
    let (mut end, _) = asking(Method::Get, Ends::Here);
    end.receive(&headers(1, 0, &[(":status", "100")]));
    reset_by(&mut end, &data(1, 0, b"x"), Violation::Message);
}

#[test]
fn section_8_1_the_end_stands_on_the_last_frame_that_is_not_written_yet() {
    let mut end = server();
    let events = end.receive(&[get(1), get(3), get(5)].concat());
    let streams: Vec<_> = events
        .iter()
        .map(|event| {
            let Event::Request { stream, .. } = event else { panic!("{event:?}") };
            *stream
        })
        .collect();
    // Said apart, sent together.
    respond(&mut end.connection, streams[0], 200, Ends::Later);
    end.connection.data(streams[0], Bytes::new(), Ends::Here);
    respond(&mut end.connection, streams[1], 200, Ends::Later);
    end.connection.data(streams[1], "content".into(), Ends::Later);
    end.connection.data(streams[1], Bytes::new(), Ends::Here);
    respond(&mut end.connection, streams[2], 200, Ends::Later);
    let sent = end.sent();
    let seen: Vec<_> = sent.iter().map(|frame| (frame.kind, frame.stream, frame.flags)).collect();
    let expected = [
        (HEADERS, 1, END_HEADERS | END_STREAM),
        (HEADERS, 3, END_HEADERS),
        (DATA, 3, END_STREAM),
        (HEADERS, 5, END_HEADERS),
    ];
    assert_eq!(seen, expected);
    // That frame has gone: the end takes one of its own.
    end.connection.data(streams[2], Bytes::new(), Ends::Here);
    let sent = end.sent();
    assert_eq!((sent[0].kind, sent[0].flags, sent[0].payload.len()), (DATA, END_STREAM, 0));
    assert_eq!(end.connection.streams(), 0);
}

#[test]
fn section_8_1_an_interim_response_of_ours_never_carries_the_end() {
    let mut end = server();
    let events = end.receive(&get(1));
    let [Event::Request { stream, .. }] = &events[..] else { panic!("{events:?}") };
    let mut fields = FieldsBuilder::default();
    fields.push("link", b"</style.css>");
    let fields = fields.build();
    end.connection.interim(*stream, 103, &fields, &HeaderEdits::default());
    end.connection.data(*stream, Bytes::new(), Ends::Here);
    respond(&mut end.connection, *stream, 200, Ends::Here);
    let flags: Vec<_> = end.sent().iter().map(|frame| (frame.kind, frame.flags)).collect();
    assert_eq!(flags, [(HEADERS, END_HEADERS), (HEADERS, END_HEADERS | END_STREAM)]);
}

#[test]
fn section_8_1_trailers_of_ours_wait_for_content_that_waits() {
    let mut end = End::greeted_server(H2Limits::default(), &[(4, 5)]);
    let events = end.receive(&get(1));
    let [Event::Request { stream, .. }] = &events[..] else { panic!("{events:?}") };
    respond(&mut end.connection, *stream, 200, Ends::Later);
    end.connection.data(*stream, "ten octets".into(), Ends::Later);
    end.connection.trailers(*stream, &trailers(), &HeaderEdits::default());
    let kinds: Vec<_> = end.sent().iter().map(|frame| frame.kind).collect();
    assert_eq!(kinds, [HEADERS, DATA]);
    assert_eq!(end.connection.queued(*stream), 5);
    end.receive(&window_update(1, 5));
    let sent = end.sent();
    let seen: Vec<_> = sent.iter().map(|frame| (frame.kind, frame.flags)).collect();
    assert_eq!(seen, [(DATA, 0), (HEADERS, END_HEADERS | END_STREAM)]);
    assert!(!end.connection.is_open(*stream));
}

#[test]
fn section_8_1_trailers_without_fields_become_the_end_of_the_content() {
    let mut end = server();
    let events = end.receive(&get(1));
    let [Event::Request { stream, .. }] = &events[..] else { panic!("{events:?}") };
    respond(&mut end.connection, *stream, 200, Ends::Later);
    end.connection.data(*stream, "content".into(), Ends::Later);
    let none = FieldsBuilder::default().build();
    end.connection.trailers(*stream, &none, &HeaderEdits::default());
    let sent = end.sent();
    assert_eq!((sent[1].kind, sent[1].flags), (DATA, END_STREAM));
    assert_eq!(sent.len(), 2);
}

#[test]
fn section_8_5_a_tunnel_carries_content_both_ways_without_length() {
    let mut end = server();
    let connect = [(":method", "CONNECT"), (":authority", "a.test:443")];
    let events = end.receive(&headers(1, 0, &connect));
    let [Event::Request { stream, head, ends: Ends::Later }] = &events[..] else {
        panic!("{events:?}")
    };
    assert_eq!((head.method(), head.length()), (&Method::Connect, BodyLength::Tunnel));
    respond(&mut end.connection, *stream, 200, Ends::Later);
    end.connection.data(*stream, "down".into(), Ends::Later);
    let events = end.receive(&data(1, 0, b"up"));
    assert!(matches!(events[..], [Event::Data { ends: Ends::Later, .. }]), "{events:?}");
    assert_eq!(end.sent().len(), 2);

    let (mut end, _) = asking(Method::Connect, Ends::Later);
    let events = end.receive(&headers(1, 0, &[(":status", "200"), ("content-length", "3")]));
    let [Event::Response { head, .. }] = &events[..] else { panic!("{events:?}") };
    assert_eq!(head.length(), BodyLength::Tunnel);
    end.receive(&data(1, 0, b"more than three"));
}

#[test]
fn section_8_5_a_tunnel_carries_no_further_fields() {
    let connect = [(":method", "CONNECT"), (":authority", "a.test:443")];
    let fields = headers(1, END_STREAM, &[("x", "y")]);
    let mut end = server();
    end.receive(&headers(1, 0, &connect));
    reset_by(&mut end, &fields, Violation::Message);
    assert_eq!(end.receive(&get(3)).len(), 1, "the connection goes on");

    let (mut end, _) = asking(Method::Connect, Ends::Later);
    end.receive(&headers(1, 0, &[(":status", "200")]));
    reset_by(&mut end, &fields, Violation::Message);
    // A refusal is a response as others are.
    let (mut end, _) = asking(Method::Connect, Ends::Later);
    end.receive(&[headers(1, 0, &[(":status", "403")]), data(1, 0, b"no")].concat());
    let events = end.receive(&fields);
    assert!(matches!(events[..], [Event::Trailers { .. }]), "{events:?}");
}

#[test]
fn section_8_3_heads_say_what_they_said() {
    let mut end = server();
    let fields = with(POST, &[("x-a", "1"), ("cookie", "a=1"), ("cookie", "b=2")]);
    let events = end.receive(&headers(1, 0, &fields));
    let [Event::Request { head, .. }] = &events[..] else { panic!("{events:?}") };
    assert_eq!((head.path(), head.authority()), ("/", "a.test"));
    assert_eq!(head.fields().get(Known::Cookie), Some(&b"a=1; b=2"[..]));
    assert_eq!(head.length(), BodyLength::Chunked);
}
