//! How a connection begins, and frames (RFC 9113 §3.4, §4, §5.5, §6.1, §6.2, §6.10).

use bytes::BytesMut;
use iako_http::h2::{
    Connection, ConnectionError, Ends, ErrorCode, Event, FloodKind, H2Limits, Violation,
};

use crate::rig::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, End, GET, GOAWAY, HEADERS, PADDED, PING,
    PREFACE, PRIORITIZED, PRIORITY, RST_STREAM, SETTINGS, WINDOW_UPDATE, block, data, frame,
    frames, get, headers, post, reset, settings, window_update, written,
};

fn server() -> End {
    End::server(H2Limits::default())
}

/// Each way to break the connection: what it is called, and the octets that do it.
fn assert_breaks(cases: &[(&str, Vec<u8>, Violation)]) {
    for (name, bytes, violation) in cases {
        let mut end = server();
        assert_eq!(end.broken_by(bytes), ConnectionError::Violation(*violation), "{name}");
        let sent = end.sent();
        let goaway = sent.last().expect(name);
        assert_eq!(goaway.kind, GOAWAY, "{name}");
        assert_eq!(goaway.payload[4..8], violation.code().get().to_be_bytes(), "{name}");
        assert_eq!(goaway.payload[8..], *violation.details().as_bytes(), "{name}");
        assert!(end.connection.is_finished(), "{name}");
        assert!(end.receive(&get(1)).is_empty(), "{name}: told once, then silent");
    }
}

#[test]
fn section_3_4_a_server_sends_its_settings_unasked() {
    let mut end = End::fresh_server(H2Limits::default());
    let sent = end.sent();
    assert_eq!((sent[0].kind, sent[0].flags, sent[0].stream), (SETTINGS, 0, 0));
    assert_eq!((sent[1].kind, sent[1].stream), (WINDOW_UPDATE, 0));
}

#[test]
fn section_3_4_a_client_sends_the_preface_first() {
    let mut client = Connection::client(H2Limits::default());
    let bytes = written(&mut client);
    assert!(bytes.starts_with(PREFACE));
    let sent = frames(&bytes);
    assert_eq!(sent[0].kind, SETTINGS);
    let push_off = [0, 2, 0, 0, 0, 0];
    assert!(sent[0].payload.as_chunks::<6>().0.contains(&push_off), "push is refused");
}

#[test]
fn section_3_4_the_preface_may_come_an_octet_at_a_time() {
    let mut end = End::fresh_server(H2Limits::default());
    for octet in PREFACE {
        assert!(end.receive(&[*octet]).is_empty());
    }
    assert!(matches!(end.receive(&settings(&[]))[..], [Event::Settings(_)]));
}

#[test]
fn section_3_4_another_preface_is_refused_at_its_first_wrong_octet() {
    for place in 0..PREFACE.len() {
        let mut preface = PREFACE.to_vec();
        preface[place] ^= 1;
        let mut end = End::fresh_server(H2Limits::default());
        assert!(end.receive(&preface[..place]).is_empty());
        assert_eq!(end.broken_by(&preface[place..=place]), Violation::Preface.into());
    }
}

#[test]
fn section_3_4_settings_come_first() {
    for first in [frame(PING, 0, 0, &[0; 8]), frame(SETTINGS, ACK, 0, &[]), get(1)] {
        let mut end = End::fresh_server(H2Limits::default());
        assert_eq!(end.broken_by(&[PREFACE, &first].concat()), Violation::Preface.into());
        let mut client = Connection::client(H2Limits::default());
        let error = client.receive(&mut BytesMut::from(&first[..])).unwrap_err();
        assert_eq!(error, Violation::Preface.into());
    }
}

#[test]
fn section_4_1_the_reserved_bit_and_unknown_flags_mean_nothing() {
    let mut bytes = frame(HEADERS, 0xc2 | END_HEADERS | END_STREAM, 1, &block(GET));
    bytes[5] |= 0x80;
    assert!(matches!(server().receive(&bytes)[..], [Event::Request { ends: Ends::Here, .. }]));
}

#[test]
fn section_4_1_frames_may_be_split_anywhere() {
    let bytes = [
        settings(&[(4, 100_000)]),
        post(1),
        data(1, 0, &[7; 100]),
        frame(DATA, PADDED, 1, &[&[3][..], b"content", &[0; 3]].concat()),
        frame(PING, 0, 0, b"12345678"),
        frame(HEADERS, END_STREAM, 3, &block(GET)[..10]),
        frame(CONTINUATION, END_HEADERS, 3, &block(GET)[10..]),
        window_update(1, 77),
        headers(1, END_STREAM, &[("x", "y")]),
        reset(3, 8),
        frame(0x77, 0xff, 5, b"unknown"),
    ]
    .concat();
    let mut whole = server();
    let expected = format!("{:?}", whole.receive(&bytes));
    let expected_sent = whole.sent();
    for split in 0..bytes.len() {
        let mut end = server();
        let mut events = end.receive(&bytes[..split]);
        events.extend(end.receive(&bytes[split..]));
        assert_eq!(format!("{events:?}"), expected, "split at {split}");
        assert_eq!(end.sent(), expected_sent, "split at {split}");
    }
    let mut end = server();
    let events: Vec<_> = bytes.iter().flat_map(|octet| end.receive(&[*octet])).collect();
    assert_eq!(format!("{events:?}"), expected);
}

#[test]
fn section_4_2_a_frame_above_the_announced_size_is_refused_before_it_has_come() {
    for kind in [DATA, HEADERS, SETTINGS, 0x77] {
        let header = [0, 0x40, 1, kind, 0, 0, 0, 0, u8::from(kind < SETTINGS)];
        assert_breaks(&[("16,385 octets", header.to_vec(), Violation::FrameTooLarge)]);
    }
    let mut end = server();
    end.receive(&[post(1), data(1, END_STREAM, &[0; 16_384])].concat());
}

#[test]
fn section_5_5_frames_of_unknown_types_are_ignored() {
    let mut end = server();
    assert!(end.receive(&frame(0x16, 0xff, 0, &[9; 300])).is_empty());
    assert!(end.receive(&frame(0xff, 0, 12345, b"")).is_empty());
    assert_eq!(end.receive(&get(1)).len(), 1);
}

#[test]
fn section_6_frames_come_on_the_streams_that_their_types_allow() {
    assert_breaks(&[
        ("DATA on 0", data(0, 0, b"x"), Violation::StreamZero),
        ("HEADERS on 0", get(0), Violation::StreamZero),
        ("PRIORITY on 0", frame(PRIORITY, 0, 0, &[0; 5]), Violation::StreamZero),
        ("RST_STREAM on 0", reset(0, 0), Violation::StreamZero),
        ("CONTINUATION on 0", frame(CONTINUATION, 4, 0, &[]), Violation::StreamZero),
        ("SETTINGS on 1", frame(SETTINGS, 0, 1, &[]), Violation::StreamZero),
        ("PING on 1", frame(PING, 0, 1, &[0; 8]), Violation::StreamZero),
        ("GOAWAY on 1", frame(GOAWAY, 0, 1, &[0; 8]), Violation::StreamZero),
    ]);
}

#[test]
fn section_6_frames_of_fixed_length_have_it() {
    assert_breaks(&[
        ("RST_STREAM", [get(1), frame(RST_STREAM, 0, 1, &[0; 3])].concat(), Violation::FrameSize),
        ("RST_STREAM", [get(1), frame(RST_STREAM, 0, 1, &[0; 5])].concat(), Violation::FrameSize),
        ("SETTINGS", frame(SETTINGS, 0, 0, &[0; 5]), Violation::FrameSize),
        ("SETTINGS ack", frame(SETTINGS, ACK, 0, &[0; 6]), Violation::FrameSize),
        ("PING", frame(PING, 0, 0, &[0; 7]), Violation::FrameSize),
        ("GOAWAY", frame(GOAWAY, 0, 0, &[0; 7]), Violation::FrameSize),
        ("WINDOW_UPDATE", frame(WINDOW_UPDATE, 0, 0, &[0; 3]), Violation::FrameSize),
        ("padded DATA", [post(1), frame(DATA, PADDED, 1, &[])].concat(), Violation::FrameSize),
        ("padded HEADERS", frame(HEADERS, PADDED | 4, 1, &[]), Violation::FrameSize),
        ("HEADERS", frame(HEADERS, PRIORITIZED | 4, 1, &[0; 4]), Violation::FrameSize),
    ]);
}

#[test]
fn section_6_1_padding_is_not_content_and_not_longer_than_its_frame() {
    let mut end = server();
    end.receive(&post(1));
    let padded = frame(DATA, PADDED | END_STREAM, 1, &[&[5][..], b"abc", &[0; 5]].concat());
    let events = end.receive(&padded);
    let [Event::Data { bytes, ends: Ends::Here, .. }] = &events[..] else { panic!("{events:?}") };
    assert_eq!(bytes, "abc");
    let too_long = [post(1), frame(DATA, PADDED, 1, &[4, 0, 0, 0])].concat();
    assert_breaks(&[("padding of all and one more", too_long, Violation::Padding)]);
}

#[test]
fn section_6_2_headers_may_have_padding_and_a_priority() {
    let payload = [&[2, 0x80, 0, 0, 0, 16][..], &block(GET), &[0; 2]].concat();
    let flags = PADDED | PRIORITIZED | END_HEADERS | END_STREAM;
    let events = server().receive(&frame(HEADERS, flags, 1, &payload));
    assert!(matches!(events[..], [Event::Request { .. }]), "{events:?}");
    let mut payload = block(GET);
    payload.insert(0, 200);
    let too_long = frame(HEADERS, PADDED | END_HEADERS, 1, &payload);
    assert_breaks(&[("padding", too_long, Violation::Padding)]);
}

#[test]
fn section_6_10_a_block_may_come_in_many_fragments() {
    let block = block(GET);
    let third = block.len() / 3;
    let mut end = server();
    end.receive(&frame(HEADERS, END_STREAM, 1, &block[..third]));
    end.receive(&frame(CONTINUATION, 0, 1, &block[third..2 * third]));
    let events = end.receive(&frame(CONTINUATION, END_HEADERS, 1, &block[2 * third..]));
    assert!(matches!(events[..], [Event::Request { ends: Ends::Here, .. }]), "{events:?}");
}

#[test]
fn section_6_10_nothing_comes_between_the_fragments_of_a_block() {
    let begun = frame(HEADERS, END_STREAM, 1, &block(GET)[..5]);
    let after = |bytes: Vec<u8>| [begun.clone(), bytes].concat();
    assert_breaks(&[
        ("DATA", after(data(1, 0, b"x")), Violation::BlockInterrupted),
        ("another HEADERS", after(get(3)), Violation::BlockInterrupted),
        ("PING", after(frame(PING, 0, 0, &[0; 8])), Violation::BlockInterrupted),
        ("an unknown type", after(frame(0x99, 0, 1, &[])), Violation::BlockInterrupted),
        (
            "CONTINUATION of another",
            after(frame(CONTINUATION, 4, 3, &[])),
            Violation::BlockInterrupted,
        ),
    ]);
}

#[test]
fn section_6_10_a_continuation_continues_something() {
    assert_breaks(&[
        ("alone", frame(CONTINUATION, 4, 1, &[]), Violation::UnexpectedContinuation),
        (
            "after END_HEADERS",
            [get(1), frame(CONTINUATION, 4, 1, &[])].concat(),
            Violation::UnexpectedContinuation,
        ),
    ]);
}

#[test]
fn section_6_10_a_block_is_bounded_in_fragments_and_octets() {
    let mut end = server();
    end.receive(&frame(HEADERS, 0, 1, &block(GET)[..1]));
    let mut error = None;
    for _ in 0..100 {
        error = error.or_else(|| end.feed(&frame(CONTINUATION, 0, 1, b"x")).1);
    }
    assert_eq!(error, Some(FloodKind::Continuation.into()));

    let limits = H2Limits { continuation_frames_max: 1000, ..H2Limits::default() };
    let mut end = End::server(limits);
    end.receive(&frame(HEADERS, 0, 1, &[0; 16_384]));
    let mut fed = 16_384;
    let error = loop {
        if let Some(error) = end.feed(&frame(CONTINUATION, 0, 1, &[0; 16_384])).1 {
            break error;
        }
        fed += 16_384;
    };
    assert_eq!(error, Violation::BlockTooLarge.into());
    assert_eq!(error.code(), ErrorCode::ENHANCE_YOUR_CALM);
    assert!(fed <= 2 * limits.head.head_bytes_max);
}

#[test]
fn section_6_10_long_blocks_of_ours_are_continued() {
    use iako_http::{BodyLength, FieldsBuilder, ResponseEdits, ResponseHead, Version};
    let mut end = server();
    let events = end.receive(&get(1));
    let [Event::Request { stream, .. }] = &events[..] else { panic!("{events:?}") };
    let mut fields = FieldsBuilder::default();
    let long = [b'a'; 40_000];
    fields.push("x-long", &long);
    let head = ResponseHead::new(200, Version::Http2, BodyLength::Empty, fields.build());
    let edits = ResponseEdits::default();
    let answer = iako_http::h2::Answer { head: &head, edits: &edits, length: None };
    end.connection.respond(*stream, answer, Ends::Here);
    let sent = end.sent();
    assert_eq!((sent[0].kind, sent[0].flags, sent[0].payload.len()), (HEADERS, 1, 16_384));
    assert!(sent.len() >= 3);
    for (place, frame) in sent.iter().enumerate().skip(1) {
        let last = place + 1 == sent.len();
        assert_eq!((frame.kind, frame.stream), (CONTINUATION, 1));
        assert_eq!(frame.flags, if last { END_HEADERS } else { 0 });
    }
}
