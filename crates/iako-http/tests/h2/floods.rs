//! What a peer may do too often, and what happens then: each bound with Envoy's name for it.

use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use iako_http::h2::{
    Connection, ConnectionError, Ends, ErrorCode, Event, FloodKind, H2Limits, InvalidMessage,
};

use crate::rig::{
    CONTINUATION, DATA, END_STREAM, End, GET, GOAWAY, HEADERS, PADDED, PING, PREFACE, PRIORITY,
    content, data, frame, get, headers, open, post, request, reset, respond, settings,
    window_update, with, written,
};

fn server() -> End {
    End::server(H2Limits::default())
}

/// Feeds the frame again and again, without reading the answers; how many were taken before the end.
fn taken(
    end: &mut End,
    most: u32,
    frame: impl Fn(u32) -> Vec<u8>,
) -> (u32, Option<ConnectionError>) {
    for round in 0..most {
        if let (_, Some(error)) = end.feed(&frame(round)) {
            return (round, Some(error));
        }
    }
    (most, None)
}

fn flood(kind: FloodKind) -> Option<ConnectionError> {
    Some(ConnectionError::Flood(kind))
}

#[test]
fn max_outbound_control_frames_pings_whose_answers_are_not_read() {
    let mut end = server();
    let ping = frame(PING, 0, 0, &[0; 8]);
    assert_eq!(taken(&mut end, 5000, |_| ping.clone()), (1000, flood(FloodKind::OutboundControl)));
    let sent = end.sent();
    let goaway = sent.last().unwrap();
    assert_eq!(goaway.kind, GOAWAY);
    assert_eq!(goaway.payload[4..8], ErrorCode::ENHANCE_YOUR_CALM.get().to_be_bytes());
    assert_eq!(goaway.payload[8..], *b"http2.outbound_control_flood");
}

#[test]
fn pings_whose_answers_are_read_are_answered() {
    let mut end = server();
    for _ in 0..5000 {
        end.receive(&frame(PING, 0, 0, &[0; 8]));
        assert_eq!(end.sent().len(), 1);
    }
}

#[test]
fn pings_that_come_all_at_once_are_answered_when_the_answers_are_read() {
    let mut end = server();
    let mut answered = 0;
    end.receive(&frame(PING, 0, 0, &[0; 8]).repeat(3000));
    loop {
        let sent = end.sent().len();
        if sent == 0 {
            break;
        }
        assert!(sent <= 1000, "{sent} at once");
        answered += sent;
        end.receive(b"");
    }
    assert_eq!(answered, 3000);
}

#[test]
fn max_outbound_control_frames_settings_whose_answers_are_not_read() {
    let mut end = End::server(H2Limits { settings_frames_max: 5000, ..H2Limits::default() });
    let (count, error) = taken(&mut end, 5000, |_| settings(&[(4, 70_000)]));
    assert_eq!((count, error), (1000, flood(FloodKind::OutboundControl)));
}

#[test]
fn settings_frames_are_bounded_even_when_their_answers_are_read() {
    let mut end = server();
    let mut count = 0;
    let error = loop {
        if let (_, Some(error)) = end.feed(&settings(&[(4, 70_000)])) {
            break error;
        }
        end.sent();
        count += 1;
    };
    assert_eq!((count, error), (999, FloodKind::Settings.into()));
}

#[test]
fn max_outbound_control_frames_resets_that_are_not_read() {
    let limits = H2Limits { concurrent_streams_max: 1, ..H2Limits::default() };
    let mut end = End::server(limits);
    end.receive(&post(1));
    let (count, error) = taken(&mut end, 5000, |round| get(3 + 2 * round));
    assert_eq!((count, error), (1000, flood(FloodKind::OutboundControl)));
}

#[test]
fn max_outbound_frames_answers_that_are_not_read() {
    let mut end = server();
    let mut number = 1;
    let error = loop {
        let (mut events, error) = end.feed(&get(number));
        if let Some(error) = error {
            break error;
        }
        if events.is_empty() {
            // It would rather write first; nothing can be written.
            events = end.receive(b"");
        }
        let [Event::Request { stream, .. }] = &events[..] else { panic!("{events:?}") };
        respond(&mut end.connection, *stream, 200, Ends::Here);
        number += 2;
    };
    assert_eq!(error, FloodKind::Outbound.into());
    assert_eq!(error.details(), "http2.outbound_frames_flood");
    assert!((9_990..=10_002).contains(&(number / 2)), "{number}");
}

#[test]
fn content_for_a_peer_that_does_not_read_stays_on_its_stream() {
    let mut end = End::greeted_server(H2Limits::default(), &[(4, 0x7fff_ffff)]);
    end.receive(&window_update(0, 0x7fff_ffff - 65_535));
    let events = end.receive(&get(1));
    let [Event::Request { stream, .. }] = &events[..] else { panic!("{events:?}") };
    respond(&mut end.connection, *stream, 200, Ends::Later);
    for _ in 0..20_000 {
        end.connection.data(*stream, content(1, 0), Ends::Later);
    }
    for _ in 0..100 {
        end.connection.data(*stream, content(100_000, 0), Ends::Later);
    }
    end.connection.prepare();
    assert!(end.connection.output_bytes() < 400 << 10, "{}", end.connection.output_bytes());
    assert!(end.receive(&frame(PING, 0, 0, &[0; 8])).is_empty(), "no flood of the peer's");
    assert!(end.connection.queued(*stream) > 9_000_000);
}

#[test]
fn max_consecutive_inbound_frames_with_empty_payload() {
    let mut end = server();
    end.receive(&post(1));
    assert_eq!(
        taken(&mut end, 100, |_| data(1, 0, b"")),
        (1, flood(FloodKind::EmptyFrames)),
        "Envoy's default takes one"
    );
    let mut end = server();
    end.receive(&post(1));
    for _ in 0..100 {
        end.receive(&[data(1, 0, b""), data(1, 0, b"x")].concat());
    }
    let padded = frame(DATA, PADDED, 1, &[9, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(taken(&mut end, 100, |_| padded.clone()), (1, flood(FloodKind::EmptyFrames)));
    let mut end = server();
    end.receive(&frame(HEADERS, 0, 1, b""));
    let (count, error) = taken(&mut end, 100, |_| frame(CONTINUATION, 0, 1, b""));
    assert_eq!((count, error), (0, flood(FloodKind::EmptyFrames)));
}

#[test]
fn max_inbound_priority_frames_per_stream() {
    let priority = frame(PRIORITY, 0, 1, &[0, 0, 0, 3, 0]);
    let mut end = server();
    assert_eq!(taken(&mut end, 5000, |_| priority.clone()), (100, flood(FloodKind::Priority)));
    let mut end = server();
    end.receive(&[get(1), get(3)].concat());
    assert_eq!(taken(&mut end, 5000, |_| priority.clone()), (300, flood(FloodKind::Priority)));
}

#[test]
fn max_inbound_window_update_frames_per_data_frame_sent() {
    let mut end = server();
    let (count, error) = taken(&mut end, 5000, |_| window_update(0, 1));
    assert_eq!((count, error), (5, flood(FloodKind::WindowUpdate)));
    let mut end = server();
    let events = end.receive(&get(1));
    let [Event::Request { stream, .. }] = &events[..] else { panic!("{events:?}") };
    respond(&mut end.connection, *stream, 200, Ends::Later);
    for _ in 0..10 {
        end.connection.data(*stream, content(300, 0), Ends::Later);
        end.sent();
    }
    let (count, error) = taken(&mut end, 5000, |_| window_update(1, 1));
    assert_eq!((count, error), (5 + 2 * (1 + 10 * 10), flood(FloodKind::WindowUpdate)));
}

#[test]
fn premature_resets_by_the_peer() {
    let mut end = server();
    let round = |round: u32| [get(1 + 2 * round), reset(1 + 2 * round, 8)].concat();
    assert_eq!(taken(&mut end, 5000, round), (249, flood(FloodKind::RapidReset)));
}

#[test]
fn premature_resets_that_the_peer_provokes() {
    // Each frame that breaks a rule of its stream makes the server give the stream up.
    type Provocation = fn(u32) -> Vec<u8>;
    let provocations: [Provocation; 4] = [
        |number| window_update(number, 0),
        |number| window_update(number, 0x7fff_ffff),
        |number| data(number, 0, b"after the end"),
        |number| frame(PRIORITY, 0, number, &[0; 4]),
    ];
    for provocation in provocations {
        let mut end = server();
        let mut count = 0;
        let error = loop {
            let number = 1 + 2 * count;
            let (_, error) = end.feed(&[get(number), provocation(number)].concat());
            if let Some(error) = error {
                break error;
            }
            end.sent();
            count += 1;
        };
        assert!(count <= 250, "{count}");
        assert!(
            error == FloodKind::RapidReset.into() || error == FloodKind::WindowUpdate.into(),
            "{error:?}"
        );
    }
}

#[test]
fn premature_resets_of_malformed_requests() {
    let limits = H2Limits { invalid_message: InvalidMessage::ResetStream, ..H2Limits::default() };
    let mut end = End::server(limits);
    let malformed = |round: u32| headers(1 + 2 * round, END_STREAM, &with(GET, &[("A", "b")]));
    assert_eq!(taken(&mut end, 5000, malformed), (249, flood(FloodKind::RapidReset)));
}

#[test]
#[expect(clippy::disallowed_methods, reason = "any instant will do")]
fn resets_of_streams_that_lived_a_second_are_not_premature() {
    let mut end = server();
    let mut now = Instant::now();
    end.connection.at(now);
    for number in (1..2001).step_by(2) {
        end.receive(&get(number));
        now += Duration::from_secs(1);
        end.connection.at(now);
        end.receive(&reset(number, 8));
    }
}

#[test]
fn resets_of_streams_that_were_answered_are_not_premature() {
    let mut end = server();
    for number in (1..2001).step_by(2) {
        let events = end.receive(&post(number));
        let [Event::Request { stream, .. }] = &events[..] else { panic!("{events:?}") };
        respond(&mut end.connection, *stream, 200, Ends::Here);
        end.sent();
        end.receive(&reset(number, 8));
    }
}

#[test]
fn servers_may_refuse_as_many_streams_as_they_like() {
    let mut end = End::client(H2Limits::default(), &[]);
    let head = request(iako_http::Method::Get, iako_http::BodyLength::Empty);
    for _ in 0..2000 {
        let stream = open(&mut end.connection, &head, Ends::Here).unwrap();
        end.sent();
        end.receive(&reset(stream.number(), 7));
    }
}

#[test]
fn tiny_frames_that_are_not_read() {
    let mut end = server();
    end.receive(&(1..201).step_by(2).flat_map(post).collect::<Vec<_>>());
    let (count, error) = taken(&mut end, 300_000, |round| data(1 + 2 * (round % 100), 0, b"x"));
    assert_eq!((count, error), (262_144, flood(FloodKind::TinyFrames)));
    assert_eq!(end.connection.streams(), 0);
}

#[test]
fn tiny_frames_of_a_server_cost_the_stream_that_has_most_of_them() {
    let limits = H2Limits { tiny_frames_max: 100, ..H2Limits::default() };
    let mut end = End::client(limits, &[]);
    let head = request(iako_http::Method::Get, iako_http::BodyLength::Empty);
    for _ in 0..2 {
        let stream = open(&mut end.connection, &head, Ends::Here).unwrap();
        end.receive(&headers(stream.number(), 0, &[(":status", "200")]));
    }
    end.receive(&data(1, 0, b"x").repeat(60));
    assert_eq!(end.receive(&data(3, 0, b"x").repeat(40)).len(), 40);
    let events = end.receive(&data(3, 0, b"x").repeat(2));
    let [
        Event::Data { .. },
        Event::Reset { stream, code: ErrorCode::ENHANCE_YOUR_CALM, .. },
        Event::Data { .. },
    ] = &events[..]
    else {
        panic!("{events:?}")
    };
    assert_eq!(stream.number(), 1);
    assert_eq!(end.receive(&data(3, 0, b"x").repeat(50)).len(), 50);
    let events = end.receive(&data(3, 0, b"x").repeat(20));
    assert!(matches!(events.last(), Some(Event::Reset { .. })), "{events:?}");
    assert_eq!(end.connection.streams(), 0);
}

#[test]
fn tiny_frames_that_are_read_are_welcome() {
    let mut end = server();
    let events = end.receive(&post(1));
    let [Event::Request { stream, .. }] = &events[..] else { panic!("{events:?}") };
    for _ in 0..100_000 {
        end.receive(&data(1, 0, b"x"));
        end.connection.release(*stream, 1);
        end.sent();
    }
}

#[test]
fn octets_of_a_stalled_stream_do_not_keep_read_buffers() {
    let mut connection = Connection::server(H2Limits::default());
    let mut kept = Vec::new();
    let mut input = BytesMut::from(&[PREFACE, &settings(&[]), &post(1), &post(3)].concat()[..]);
    for _ in 0..100 {
        while let Some(event) = connection.receive(&mut input).unwrap() {
            let Event::Data { stream, bytes, .. } = event else { continue };
            if stream.number() == 1 {
                kept.push(bytes);
            } else {
                connection.release(stream, bytes.len());
            }
        }
        written(&mut connection);
        input = BytesMut::with_capacity(32_768);
        input.extend_from_slice(&[data(1, 0, b"x"), data(3, 0, &[0; 16_000])].concat());
    }
    assert_eq!(kept.len(), 99);
    drop(input);
    // A piece that is all that is left of a read buffer still holds the whole of it.
    let holds_much = |piece: Bytes| piece.try_into_mut().map_or(true, |own| own.capacity() > 1024);
    let sharing = kept.into_iter().filter_map(|piece| holds_much(piece).then_some(())).count();
    assert!(sharing <= 4, "{sharing} pieces keep a whole buffer each");
}
