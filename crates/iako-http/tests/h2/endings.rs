//! How connections come to their end (RFC 9113 §6.8).

use bytes::Bytes;
use iako_http::h2::{
    Ends, ErrorCode, Event, H2Limits, OpenError, ResetCause, Shutdown, StreamId, Violation,
};
use iako_http::{BodyLength, Method};

use crate::rig::{
    ACK, END_HEADERS, END_STREAM, End, Frame, GET, GOAWAY, HEADERS, PING, block, data, frame, get,
    goaway, headers, open, post, request, respond,
};

fn begun(end: &mut End, bytes: &[u8]) -> StreamId {
    let events = end.receive(bytes);
    let [Event::Request { stream, .. }] = &events[..] else { panic!("{events:?}") };
    *stream
}

#[test]
fn section_6_8_a_graceful_end_serves_what_was_on_its_way() {
    let mut end = End::server(H2Limits::default());
    let first = begun(&mut end, &get(1));
    end.connection.shut_down(Shutdown::Graceful);
    end.connection.shut_down(Shutdown::Graceful);
    let sent = end.sent();
    assert_eq!(sent.len(), 2, "said once");
    assert_eq!((sent[0].kind, sent[0].number()), (GOAWAY, 0x7fff_ffff));
    assert_eq!(sent[1].kind, PING);

    let second = begun(&mut end, &get(3));
    end.receive(&frame(PING, ACK, 0, &sent[1].payload));
    let sent = end.sent();
    assert_eq!((sent[0].kind, sent[0].number()), (GOAWAY, 3));

    assert!(end.receive(&post(5)).is_empty(), "not looked at");
    assert!(end.receive(&data(5, END_STREAM, b"x")).is_empty());
    assert_eq!(end.sent(), []);
    for stream in [first, second] {
        assert!(!end.connection.is_finished());
        respond(&mut end.connection, stream, 200, Ends::Here);
    }
    assert!(!end.connection.is_finished(), "it is not written yet");
    assert_eq!(end.sent().len(), 2);
    assert!(end.connection.is_finished());
}

#[test]
fn section_6_8_a_final_end_names_the_last_stream_that_is_looked_at() {
    let mut end = End::server(H2Limits::default());
    begun(&mut end, &get(7));
    end.connection.shut_down(Shutdown::Final(ErrorCode::ENHANCE_YOUR_CALM));
    let sent = end.sent();
    assert_eq!((sent[0].kind, sent[0].number()), (GOAWAY, 7));
    assert_eq!(sent[0].payload[4..8], [0, 0, 0, 11]);
    assert!(end.receive(&get(9)).is_empty());
    assert_eq!(end.connection.streams(), 1);
}

#[test]
fn section_6_8_what_is_not_looked_at_counts_for_compression_and_window() {
    let limits = H2Limits {
        connection_window_bytes_start: 65_535,
        stream_window_bytes_start: 65_535,
        ..H2Limits::default()
    };
    let mut end = End::server(limits);
    begun(&mut end, &get(1));
    end.connection.shut_down(Shutdown::Final(ErrorCode::NO_ERROR));
    end.sent();
    // Its block enters the table, though nobody hears of it.
    let entering = [&block(GET)[..], &[0x40, 1, b'x', 1, b'y']].concat();
    assert!(end.receive(&frame(HEADERS, END_HEADERS, 3, &entering)).is_empty());
    let mut returned = 0;
    for _ in 0..8 {
        assert!(end.receive(&data(3, 0, &[0; 16_000])).is_empty());
        returned += end.sent().iter().map(Frame::number).sum::<u32>();
    }
    assert!(returned > 8 * 16_000 - 65_535, "{returned}");
    // An index into that entry is sound.
    let using = [&block(GET)[..], &[0x80 | 62]].concat();
    assert!(end.receive(&frame(HEADERS, END_HEADERS | END_STREAM, 5, &using)).is_empty());
}

#[test]
fn section_6_8_a_connection_error_after_goaway_is_told_too() {
    let mut end = End::server(H2Limits::default());
    begun(&mut end, &post(1));
    end.connection.shut_down(Shutdown::Graceful);
    assert_eq!(end.sent()[0].number(), 0x7fff_ffff);
    assert_eq!(end.broken_by(&data(9, 0, b"x")), Violation::IdleStream.into());
    let sent = end.sent();
    assert_eq!((sent[0].kind, sent[0].number()), (GOAWAY, 1));
    assert_eq!(sent[0].payload[4..8], ErrorCode::PROTOCOL_ERROR.get().to_be_bytes());
    assert_eq!(sent.len(), 1);
}

#[test]
fn section_6_8_streams_that_the_server_will_not_look_at_may_go_elsewhere() {
    let mut end = End::client(H2Limits::default(), &[]);
    let head = request(Method::Get, BodyLength::Empty);
    for _ in 0..3 {
        open(&mut end.connection, &head, Ends::Here).unwrap();
    }
    let events = end.receive(&frame(
        GOAWAY,
        0,
        0,
        &[&[0, 0, 0, 1, 0, 0, 0, 0][..], b"enough for today"].concat(),
    ));
    let [Event::GoAway { last: 1, code: ErrorCode::NO_ERROR, debug }, rest @ ..] = &events[..]
    else {
        panic!("{events:?}")
    };
    assert_eq!(debug, "enough for today");
    let refused: Vec<_> =
        rest.iter()
            .map(|event| {
                let Event::Reset {
                    stream,
                    code: ErrorCode::REFUSED_STREAM,
                    cause: ResetCause::GoAway,
                } = event
                else {
                    panic!("{event:?}")
                };
                stream.number()
            })
            .collect();
    assert_eq!(refused, [3, 5]);
    assert_eq!(open(&mut end.connection, &head, Ends::Here), Err(OpenError::GoingAway));
    assert_eq!(end.connection.room(), 0);
    end.sent();
    assert!(!end.connection.is_finished());
    let events = end.receive(&headers(1, END_STREAM, &[(":status", "200")]));
    assert!(matches!(events[..], [Event::Response { .. }]), "{events:?}");
    assert!(end.connection.is_finished());
}

#[test]
fn section_6_8_the_last_stream_is_only_ever_lowered() {
    let mut end = End::client(H2Limits::default(), &[]);
    let head = request(Method::Get, BodyLength::Empty);
    for _ in 0..3 {
        open(&mut end.connection, &head, Ends::Here).unwrap();
    }
    assert_eq!(end.receive(&goaway(0x7fff_ffff, 0)).len(), 1);
    assert_eq!(end.receive(&goaway(3, 0)).len(), 2);
    let events = end.receive(&goaway(5, 0));
    assert!(matches!(events[..], [Event::GoAway { last: 3, .. }]), "{events:?}");
}

#[test]
fn section_6_8_what_a_peer_says_about_its_going_is_cut() {
    let mut end = End::client(H2Limits::default(), &[]);
    let events = end.receive(&frame(GOAWAY, 0, 0, &[b'a'; 16_000]));
    let [Event::GoAway { debug, .. }] = &events[..] else { panic!("{events:?}") };
    assert_eq!(debug.len(), 256);
}

#[test]
fn section_5_4_1_a_broken_connection_says_goaway_and_takes_nothing_more() {
    let mut end = End::server(H2Limits::default());
    let stream = begun(&mut end, &post(1));
    respond(&mut end.connection, stream, 200, Ends::Later);
    assert_eq!(end.broken_by(&data(3, 0, b"x")), Violation::IdleStream.into());
    assert!(!end.connection.is_open(stream));
    end.connection.data(stream, Bytes::from_static(b"late"), Ends::Here);
    end.connection.ping(1);
    end.connection.shut_down(Shutdown::Graceful);
    let sent = end.sent();
    assert_eq!(sent.iter().map(|frame| frame.kind).collect::<Vec<_>>(), [HEADERS, GOAWAY]);
    assert_eq!(sent[1].number(), 1, "the last stream that was looked at");
    assert!(end.connection.is_finished());
    assert!(end.connection.is_going_away());
}

#[test]
fn an_idle_connection_gives_its_memory_back_and_goes_on() {
    let mut end = End::server(H2Limits::default());
    for number in [1, 3, 5] {
        let stream = begun(&mut end, &get(number));
        end.connection.idle();
        respond(&mut end.connection, stream, 200, Ends::Here);
        end.sent();
        end.connection.idle();
    }
}
