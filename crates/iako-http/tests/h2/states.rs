//! States of streams and their identifiers (RFC 9113 §5.1).

use iako_http::h2::{
    ConnectionError, Ends, ErrorCode, Event, H2Limits, ResetCause, StreamId, Violation,
};

use crate::rig::{
    DATA, END_HEADERS, END_STREAM, End, Frame, GET, HEADERS, PRIORITIZED, PRIORITY, RST_STREAM,
    block, data, frame, get, headers, open, post, request, reset, respond, settings, trailers,
    window_update,
};

fn server() -> End {
    End::server(H2Limits::default())
}

fn begun(end: &mut End, bytes: &[u8]) -> StreamId {
    let events = end.receive(bytes);
    let [Event::Request { stream, .. }] = &events[..] else { panic!("{events:?}") };
    *stream
}

/// A server on whose stream 1 everything has been said.
fn with_closed_stream() -> End {
    let mut end = server();
    let stream = begun(&mut end, &get(1));
    respond(&mut end.connection, stream, 200, Ends::Here);
    end.sent();
    assert!(!end.connection.is_open(stream));
    end
}

/// A server that has reset stream 1 while the client might still send.
fn with_reset_stream() -> End {
    let mut end = server();
    let stream = begun(&mut end, &post(1));
    end.connection.reset(stream, ErrorCode::CANCEL);
    let sent = end.sent();
    assert_eq!((sent[0].kind, sent[0].stream, sent[0].number()), (RST_STREAM, 1, 8));
    end
}

fn breaks(mut end: End, bytes: &[u8], violation: Violation) {
    assert_eq!(end.broken_by(bytes), ConnectionError::Violation(violation));
}

/// The bytes cost the stream and not the connection.
fn resets(mut end: End, bytes: &[u8], violation: Violation) {
    let events = end.receive(bytes);
    let Some(Event::Reset { code, cause, .. }) = events.last() else { panic!("{events:?}") };
    assert_eq!((*code, *cause), (violation.code(), ResetCause::Violation(violation)));
    let sent = end.sent();
    let reset = sent.iter().find(|frame| frame.kind == RST_STREAM).expect("it is told");
    assert_eq!(reset.number(), violation.code().get());
    assert_eq!(end.receive(&get(101)).len(), 1, "the connection goes on");
}

#[test]
fn section_5_1_idle_streams_take_nothing_but_heads_and_priorities() {
    breaks(server(), &data(1, 0, b"x"), Violation::IdleStream);
    breaks(server(), &reset(1, 8), Violation::IdleStream);
    breaks(server(), &window_update(1, 1), Violation::IdleStream);
    let mut end = server();
    assert!(end.receive(&frame(PRIORITY, 0, 7, &[0, 0, 0, 3, 16])).is_empty());
    begun(&mut end, &get(1));
}

#[test]
fn section_5_1_half_closed_remote_takes_no_more_of_the_message() {
    let ended = || {
        let mut end = server();
        begun(&mut end, &get(1));
        end
    };
    resets(ended(), &data(1, END_STREAM, b"x"), Violation::ClosedStream);
    resets(ended(), &get(1), Violation::ClosedStream);
    let mut end = ended();
    assert!(end.receive(&window_update(1, 5)).is_empty());
    assert!(end.receive(&frame(PRIORITY, 0, 1, &[0, 0, 0, 3, 16])).is_empty());
    assert!(matches!(
        end.receive(&reset(1, 8))[..],
        [Event::Reset { cause: ResetCause::Peer, .. }]
    ));
}

#[test]
fn section_5_1_half_closed_local_still_listens() {
    let mut end = server();
    let stream = begun(&mut end, &post(1));
    respond(&mut end.connection, stream, 200, Ends::Here);
    let events = end.receive(&data(1, END_STREAM, b"more"));
    assert!(matches!(events[..], [Event::Data { ends: Ends::Here, .. }]), "{events:?}");
    assert!(!end.connection.is_open(stream));
}

#[test]
fn section_5_1_closed_streams_take_late_window_updates_and_resets_only() {
    let mut end = with_closed_stream();
    assert!(end.receive(&window_update(1, 5)).is_empty());
    assert!(end.receive(&reset(1, 8)).is_empty());
    assert!(end.receive(&frame(PRIORITY, 0, 1, &[0, 0, 0, 3, 16])).is_empty());
    breaks(with_closed_stream(), &data(1, 0, b"x"), Violation::ClosedStream);
    breaks(with_closed_stream(), &get(1), Violation::ClosedStream);
}

#[test]
fn section_5_1_after_the_peers_reset_nothing_may_come() {
    let mut end = server();
    begun(&mut end, &post(1));
    end.receive(&reset(1, 8));
    assert_eq!(end.broken_by(&data(1, 0, b"x")), Violation::ClosedStream.into());
}

#[test]
fn section_5_1_after_our_reset_frames_on_their_way_are_dropped() {
    let mut end = with_reset_stream();
    assert!(end.receive(&data(1, 0, b"late")).is_empty());
    assert!(end.receive(&window_update(1, 5)).is_empty());
    assert!(end.receive(&headers(1, END_STREAM, &[("x", "y")])).is_empty());
    assert!(end.receive(&reset(1, 8)).is_empty());
    begun(&mut end, &get(3));
}

#[test]
fn section_5_4_2_a_stream_is_reset_once_and_a_reset_answered_by_nothing() {
    let mut end = with_reset_stream();
    for late in [data(1, 0, b"late"), headers(1, END_STREAM, &[("x", "y")]), reset(1, 8)] {
        end.receive(&late);
        assert_eq!(end.sent(), []);
    }
    let mut end = server();
    begun(&mut end, &post(1));
    end.receive(&reset(1, 2));
    assert_eq!(end.sent(), []);
}

#[test]
fn section_7_a_code_that_nobody_knows_resets_as_others_do() {
    let mut end = server();
    begun(&mut end, &post(1));
    let events = end.receive(&reset(1, 0xdead_beef));
    let [Event::Reset { code, cause: ResetCause::Peer, .. }] = &events[..] else {
        panic!("{events:?}")
    };
    assert_eq!(code.get(), 0xdead_beef);
    begun(&mut end, &get(3));
}

#[test]
fn section_5_1_blocks_of_dropped_streams_still_change_the_compressions_table() {
    let mut end = with_reset_stream();
    // A literal that enters the table, on a stream that nobody wants.
    let entering = [&[0x40, 4][..], b"x-in", &[2], b"it"].concat();
    end.receive(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &entering));
    // 62 is the first entry of the dynamic table.
    let block = [&block(GET)[..], &[0x80 | 62]].concat();
    let events = end.receive(&frame(HEADERS, END_HEADERS | END_STREAM, 3, &block));
    let [Event::Request { head, .. }] = &events[..] else { panic!("{events:?}") };
    assert_eq!(head.fields().get("x-in"), Some(&b"it"[..]));
}

#[test]
fn section_5_1_content_of_dropped_streams_is_given_back_to_the_connection() {
    let limits = H2Limits {
        connection_window_bytes_start: 65_535,
        stream_window_bytes_start: 65_535,
        ..H2Limits::default()
    };
    let mut end = End::server(limits);
    let stream = begun(&mut end, &post(1));
    end.connection.reset(stream, ErrorCode::CANCEL);
    end.sent();
    let mut returned = 0;
    for _ in 0..40 {
        end.receive(&data(1, 0, &[0; 10_000]));
        let sent = end.sent();
        returned += sent.iter().filter(|frame| frame.stream == 0).map(Frame::number).sum::<u32>();
    }
    assert!(returned > 400_000 - 65_535, "{returned}");
}

#[test]
fn section_5_1_1_clients_use_odd_identifiers_that_rise() {
    breaks(server(), &get(2), Violation::StreamNumber);
    let mut end = server();
    begun(&mut end, &get(5));
    assert_eq!(end.broken_by(&get(3)), Violation::StreamNumber.into());
}

#[test]
fn section_5_1_1_a_client_takes_no_streams_of_servers() {
    for bytes in [headers(2, 4, &[(":status", "200")]), headers(1, 4, &[(":status", "200")])] {
        let mut end = End::client(H2Limits::default(), &[]);
        assert_eq!(end.broken_by(&bytes), Violation::StreamNumber.into());
    }
}

#[test]
fn section_5_1_2_streams_above_the_limit_are_refused_and_may_be_tried_again() {
    let mut end = End::server(H2Limits { concurrent_streams_max: 2, ..H2Limits::default() });
    let first = begun(&mut end, &post(1));
    begun(&mut end, &get(3));
    let events = end.receive(&post(5));
    let [Event::Refused { number: 5, code: ErrorCode::REFUSED_STREAM, .. }] = events[..] else {
        panic!("{events:?}")
    };
    assert_eq!(end.sent()[0].number(), ErrorCode::REFUSED_STREAM.get());
    assert!(end.receive(&data(5, END_STREAM, b"on its way")).is_empty());
    end.connection.reset(first, ErrorCode::CANCEL);
    begun(&mut end, &get(7));
}

#[test]
fn section_5_1_2_a_client_keeps_to_the_servers_limit() {
    let mut end = End::client(H2Limits::default(), &[(3, 2)]);
    let head = request(iako_http::Method::Get, iako_http::BodyLength::Empty);
    assert_eq!(end.connection.room(), 2);
    let first = open(&mut end.connection, &head, Ends::Here).unwrap();
    open(&mut end.connection, &head, Ends::Here).unwrap();
    let third = open(&mut end.connection, &head, Ends::Here);
    assert_eq!(third, Err(iako_http::h2::OpenError::NoRoom));
    end.receive(&headers(first.number(), END_STREAM, &[(":status", "200")]));
    assert_eq!(open(&mut end.connection, &head, Ends::Here).map(StreamId::number), Ok(5));
}

#[test]
fn section_6_5_2_a_limit_of_no_streams_is_a_limit_as_others_are() {
    let mut end = End::client(H2Limits::default(), &[(3, 0)]);
    let head = request(iako_http::Method::Get, iako_http::BodyLength::Empty);
    assert_eq!(end.connection.room(), 0);
    let refused = open(&mut end.connection, &head, Ends::Here);
    assert_eq!(refused, Err(iako_http::h2::OpenError::NoRoom));
    end.receive(&settings(&[(3, 1)]));
    assert_eq!(open(&mut end.connection, &head, Ends::Here).map(StreamId::number), Ok(1));
}

#[test]
fn section_5_1_2_before_its_settings_a_server_is_taken_to_allow_100() {
    let mut client = iako_http::h2::Connection::client(H2Limits::default());
    assert_eq!(client.room(), 100);
    client.receive(&mut bytes::BytesMut::from(&settings(&[])[..])).unwrap();
    assert_eq!(client.room(), 1024);
}

#[test]
fn section_5_3_priorities_are_checked_and_not_followed() {
    let on_itself = [&[0, 0, 0, 1, 16][..], &block(GET)].concat();
    let bytes = frame(HEADERS, PRIORITIZED | END_HEADERS | END_STREAM, 1, &on_itself);
    let mut end = server();
    let events = end.receive(&bytes);
    assert!(
        matches!(events[..], [Event::Refused { violation: Violation::SelfDependency, .. }]),
        "{events:?}"
    );
    let with_stream = || {
        let mut end = server();
        begun(&mut end, &post(1));
        end
    };
    let on_itself = frame(PRIORITY, 0, 1, &[0x80, 0, 0, 1, 16]);
    resets(with_stream(), &on_itself, Violation::SelfDependency);
    resets(with_stream(), &frame(PRIORITY, 0, 1, &[0; 4]), Violation::FrameSize);
}

#[test]
fn calls_for_a_stream_that_is_gone_do_nothing() {
    let mut end = server();
    let stream = begun(&mut end, &post(1));
    end.receive(&reset(1, 8));
    let next = begun(&mut end, &post(3));
    assert_eq!(next.place(), stream.place(), "the place is used again");
    respond(&mut end.connection, stream, 200, Ends::Later);
    end.connection.data(stream, "late".into(), Ends::Here);
    end.connection.trailers(stream, &trailers(), &iako_http::HeaderEdits::default());
    end.connection.release(stream, 1 << 20);
    end.connection.refuse_rest(stream);
    end.connection.reset(stream, ErrorCode::CANCEL);
    assert_eq!(end.connection.queued(stream), 0);
    assert_eq!(end.sent(), []);
    assert!(end.connection.is_open(next));
}

#[test]
fn section_6_9_a_window_update_by_zero_is_wrong_at_any_time() {
    let mut end = server();
    let stream = begun(&mut end, &get(1));
    respond(&mut end.connection, stream, 200, Ends::Here);
    end.sent();
    end.receive(&window_update(1, 0));
    let sent = end.sent();
    assert_eq!((sent[0].kind, sent[0].number()), (RST_STREAM, ErrorCode::PROTOCOL_ERROR.get()));
}

#[test]
fn section_8_1_an_answer_may_come_before_the_whole_request_and_stop_it() {
    let mut end = server();
    let stream = begun(&mut end, &post(1));
    respond(&mut end.connection, stream, 413, Ends::Later);
    end.connection.refuse_rest(stream);
    assert!(end.receive(&data(1, 0, &[0; 16_384])).is_empty(), "dropped, not told");
    let kinds = |end: &mut End| -> Vec<_> {
        end.sent().iter().map(|frame| (frame.kind, frame.flags)).collect()
    };
    assert_eq!(kinds(&mut end), [(HEADERS, END_HEADERS)], "the answer has not ended");
    end.connection.data(stream, "too large".into(), Ends::Here);
    let sent = end.sent();
    assert_eq!(sent.len(), 2, "{sent:?}");
    assert_eq!((sent[0].kind, sent[0].flags), (DATA, END_STREAM));
    assert_eq!((sent[1].kind, sent[1].number()), (RST_STREAM, ErrorCode::NO_ERROR.get()));
    // What was on its way is read and dropped.
    assert!(end.receive(&data(1, 0, &[0; 16_384])).is_empty());
    assert!(end.receive(&data(1, END_STREAM, &[0; 16_384])).is_empty());
    assert_eq!(kinds(&mut end), []);
}

#[test]
fn section_8_1_an_answer_that_waits_for_a_window_ends_before_the_request_is_stopped() {
    let mut end = server();
    let stream = begun(&mut end, &post(1));
    respond(&mut end.connection, stream, 413, Ends::Later);
    end.connection.data(stream, vec![b'x'; 70_000].into(), Ends::Here);
    end.connection.refuse_rest(stream);
    let content = |sent: &[Frame]| -> usize {
        sent.iter().filter(|frame| frame.kind == DATA).map(|frame| frame.payload.len()).sum()
    };
    let sent = end.sent();
    assert_eq!(content(&sent), 65_535);
    assert!(sent.iter().all(|frame| frame.kind != RST_STREAM), "{sent:?}");
    end.receive(&[window_update(0, 10_000), window_update(1, 10_000)].concat());
    let sent = end.sent();
    assert_eq!(content(&sent), 70_000 - 65_535);
    let last = sent.last().unwrap();
    assert_eq!((last.kind, last.number()), (RST_STREAM, ErrorCode::NO_ERROR.get()));
}

#[test]
fn section_8_1_a_request_that_ended_with_its_answer_is_not_reset() {
    let mut end = server();
    let stream = begun(&mut end, &post(1));
    respond(&mut end.connection, stream, 413, Ends::Later);
    end.connection.refuse_rest(stream);
    assert!(end.receive(&data(1, END_STREAM, b"all")).is_empty());
    end.connection.data(stream, "too large".into(), Ends::Here);
    assert!(end.sent().iter().all(|frame| frame.kind != RST_STREAM));
    assert!(!end.connection.is_open(stream));
}

#[test]
fn section_8_1_answers_before_the_whole_request_leave_room_for_requests() {
    let mut end = server();
    let mut reset = 0;
    for number in (1..4000).step_by(2) {
        let stream = begun(&mut end, &post(number));
        respond(&mut end.connection, stream, 401, Ends::Here);
        end.connection.refuse_rest(stream);
        reset += end.sent().iter().filter(|frame| frame.kind == RST_STREAM).count();
        assert_eq!(end.connection.streams(), 0);
    }
    assert_eq!(reset, 2000);
}
