//! Settings, pings and refused pushes (RFC 9113 §6.5 to §6.7, §8.4; RFC 8441 §3).

use iako_http::h2::{ConnectProtocol, ConnectionError, Ends, Event, H2Limits, Violation};
use iako_http::{BodyLength, Method};

use crate::rig::{
    ACK, DATA, END_HEADERS, END_STREAM, End, Frame, GET, GOAWAY, HEADERS, PING, PREFACE,
    PUSH_PROMISE, SETTINGS, block, content, frame, get, headers, open, request, respond, settings,
    window_update,
};

fn server() -> End {
    End::server(H2Limits::default())
}

#[test]
fn section_6_5_settings_are_acknowledged_once_each() {
    let mut end = server();
    end.receive(&[settings(&[(4, 1)]), settings(&[]), settings(&[(0xff, 7)])].concat());
    let sent = end.sent();
    assert_eq!(sent.len(), 3);
    assert!(sent.iter().all(|frame| (frame.kind, frame.flags) == (SETTINGS, ACK)));
}

#[test]
fn section_6_5_an_acknowledgement_of_nothing_is_harmless() {
    assert!(server().receive(&frame(SETTINGS, ACK, 0, &[])).is_empty());
}

#[test]
fn section_6_5_2_values_outside_their_range_end_the_connection() {
    for (id, value, violation) in [
        (2, 2, Violation::Setting),
        (4, 0x8000_0000, Violation::WindowOverflow),
        (5, 16_383, Violation::Setting),
        (5, 16_777_216, Violation::Setting),
        (8, 2, Violation::Setting),
    ] {
        let error = server().broken_by(&settings(&[(id, value)]));
        assert_eq!(error, ConnectionError::Violation(violation), "{id} {value}");
    }
    server().receive(&settings(&[(2, 1), (4, 0x7fff_ffff), (5, 16_777_215), (8, 1)]));
}

#[test]
fn section_6_5_2_a_server_may_not_push_and_says_so() {
    let mut end = End::client(H2Limits::default(), &[]);
    assert_eq!(end.broken_by(&settings(&[(2, 1)])), Violation::Setting.into());
}

#[test]
fn rfc_8441_section_3_extended_connect_once_allowed_stays_so() {
    let mut end = End::client(H2Limits::default(), &[(8, 1)]);
    assert!(end.connection.peer_settings().connect_protocol);
    assert_eq!(end.broken_by(&settings(&[(8, 0)])), Violation::Setting.into());
}

#[test]
fn rfc_8441_section_4_extended_connect_is_taken_when_it_was_offered() {
    let connect = [
        (":method", "CONNECT"),
        (":protocol", "websocket"),
        (":scheme", "https"),
        (":path", "/chat"),
        (":authority", "a.test"),
    ];
    let offering = H2Limits { connect_protocol: ConnectProtocol::Accept, ..H2Limits::default() };
    let mut end = End::fresh_server(offering);
    let sent = end.sent();
    assert!(sent[0].payload.as_chunks::<6>().0.contains(&[0, 8, 0, 0, 0, 1]));
    let events = End::server(offering).receive(&headers(1, 0, &connect));
    let [Event::Request { head, .. }] = &events[..] else { panic!("{events:?}") };
    assert_eq!(head.length(), BodyLength::Tunnel);
    assert_eq!(head.upgrade(), Some(&b"websocket"[..]));
    assert_eq!(server().broken_by(&headers(1, 0, &connect)), Violation::Message.into());
}

#[test]
fn section_6_5_2_content_goes_out_in_frames_that_every_peer_takes() {
    for told in [16_384, 20_000, 1 << 20] {
        let mut end = End::greeted_server(H2Limits::default(), &[(4, 1 << 20), (5, told)]);
        end.receive(&window_update(0, 1 << 20));
        let events = end.receive(&get(1));
        let [Event::Request { stream, .. }] = &events[..] else { panic!("{events:?}") };
        respond(&mut end.connection, *stream, 200, Ends::Later);
        end.connection.data(*stream, content(200_000, 1), Ends::Here);
        let lengths = end.sent().into_iter().skip(1).map(|frame| frame.payload.len());
        assert_eq!(lengths.clone().max(), Some(16_384));
        assert_eq!(lengths.sum::<usize>(), 200_000);
    }
}

#[test]
fn section_6_5_2_our_encoder_keeps_to_the_peers_table() {
    let mut end = End::greeted_server(H2Limits::default(), &[(1, 0)]);
    for number in [1, 3] {
        let events = end.receive(&get(number));
        let [Event::Request { stream, .. }] = &events[..] else { panic!("{events:?}") };
        respond(&mut end.connection, *stream, 200, Ends::Here);
        let sent = end.sent();
        let size_update = sent[0].payload[0] == 0x20;
        assert_eq!(size_update, number == 1, "told once, before the first block");
        assert!(sent[0].payload.contains(&b't'), "literals only");
    }
}

#[test]
fn section_6_5_3_settings_count_in_their_order_and_are_acknowledged_before_anything_uses_them() {
    let mut end = End::greeted_server(H2Limits::default(), &[(4, 0)]);
    let events = end.receive(&get(1));
    let [Event::Request { stream, .. }] = &events[..] else { panic!("{events:?}") };
    respond(&mut end.connection, *stream, 200, Ends::Later);
    end.connection.data(*stream, content(100, 1), Ends::Here);
    assert_eq!(end.sent().len(), 1, "the window is zero");
    // The same setting three times, and one that nobody knows.
    end.receive(&settings(&[(4, 70), (0xff, 1), (4, 10), (4, 60)]));
    let sent = end.sent();
    let seen: Vec<_> = sent.iter().map(|frame| (frame.kind, frame.payload.len())).collect();
    assert_eq!(seen, [(SETTINGS, 0), (DATA, 60)]);
    assert_eq!(sent[0].flags, ACK);
    // One that is wrong spoils those ahead of it too: nothing is sent by them.
    let error = end.broken_by(&settings(&[(4, 100), (5, 1)]));
    assert_eq!(error, ConnectionError::Violation(Violation::Setting));
    assert!(end.sent().iter().all(|frame| frame.kind == GOAWAY));
}

#[test]
fn section_6_5_3_what_we_announce_counts_once_it_is_acknowledged() {
    let limits = H2Limits { header_table_bytes: 0, ..H2Limits::default() };
    let mut end = End::fresh_server(limits);
    end.receive(&[PREFACE, &settings(&[])[..]].concat());
    // A client that has not heard of it uses a table of the usual size.
    let entering = [&block(GET)[..], &[0x40, 1, b'x', 1, b'y']].concat();
    end.receive(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &entering));
    let using = [&block(GET)[..], &[0x80 | 62]].concat();
    let events = end.receive(&frame(HEADERS, END_HEADERS | END_STREAM, 3, &using));
    let [Event::Request { head, .. }] = &events[..] else { panic!("{events:?}") };
    assert_eq!(head.fields().get("x"), Some(&b"y"[..]));
    // Then it has to say that it makes its own smaller.
    end.receive(&frame(SETTINGS, ACK, 0, &[]));
    assert_eq!(end.broken_by(&get(5)), Violation::Compression.into());
}

#[test]
fn section_6_6_pushes_are_refused_in_both_roles() {
    let push = frame(PUSH_PROMISE, END_HEADERS, 1, &[&[0, 0, 0, 2][..], &block(GET)].concat());
    assert_eq!(server().broken_by(&push), Violation::PushPromise.into());
    let mut end = End::client(H2Limits::default(), &[]);
    open(&mut end.connection, &request(Method::Get, BodyLength::Empty), Ends::Here).unwrap();
    assert_eq!(end.broken_by(&push), Violation::PushPromise.into());
}

#[test]
fn section_6_7_a_ping_is_answered_with_what_it_carried() {
    let mut end = server();
    assert!(end.receive(&frame(PING, 0, 0, b"something")[..17]).is_empty());
    let mut end = server();
    end.receive(&frame(PING, 0, 0, b"12345678"));
    assert_eq!(
        end.sent(),
        [Frame { kind: PING, flags: ACK, stream: 0, payload: b"12345678".to_vec() }]
    );
}

#[test]
fn section_6_7_the_answer_to_our_ping_is_told() {
    let mut end = server();
    end.connection.ping(42);
    let sent = end.sent();
    assert_eq!((sent[0].kind, sent[0].flags), (PING, 0));
    let events = end.receive(&frame(PING, ACK, 0, &sent[0].payload));
    assert!(matches!(events[..], [Event::Pong { opaque: 42 }]), "{events:?}");
    assert_eq!(end.sent(), []);
}

#[test]
fn settings_of_an_upgraded_request_are_in_force_before_the_preface() {
    let mut end = End::fresh_server(H2Limits::default());
    let payload = settings(&[(4, 10)])[9..].to_vec();
    let stream = end.connection.upgraded(&payload).unwrap();
    assert_eq!(stream.number(), 1);
    respond(&mut end.connection, stream, 200, Ends::Later);
    end.connection.data(stream, content(30, 1), Ends::Here);
    let sent = end.sent();
    let lengths: Vec<_> =
        sent.iter().filter(|frame| frame.kind == DATA).map(|frame| frame.payload.len()).collect();
    assert_eq!(lengths, [10]);
    end.receive(&[PREFACE, &settings(&[(4, 30)])[..]].concat());
    assert!(!end.connection.is_open(stream) || !end.sent().is_empty());
    assert!(!end.connection.is_open(stream));
    let mut end = End::fresh_server(H2Limits::default());
    assert!(end.connection.upgraded(&[0, 4, 0]).is_err());
}
