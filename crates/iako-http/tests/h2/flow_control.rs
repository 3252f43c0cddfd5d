//! Flow control (RFC 9113 §5.2, §6.9).

use iako_http::h2::{Ends, ErrorCode, Event, H2Limits, ResetCause, StreamId, Violation};

use crate::rig::{
    ACK, DATA, END_STREAM, End, Frame, PADDED, SETTINGS, WINDOW_UPDATE, content, data, frame, get,
    post, respond, settings, window_update,
};

/// What a new stream's window is.
const START: u32 = 256 << 10;

fn begun(end: &mut End, bytes: &[u8]) -> StreamId {
    let events = end.receive(bytes);
    let [Event::Request { stream, .. }] = &events[..] else { panic!("{events:?}") };
    *stream
}

fn answering(end: &mut End, number: u32, length: usize) -> StreamId {
    let stream = begun(end, &get(number));
    respond(&mut end.connection, stream, 200, Ends::Later);
    end.connection.data(stream, content(length, 0), Ends::Here);
    stream
}

/// Octets of content by stream, in the order of their frames.
fn content_sent(end: &mut End) -> Vec<(u32, usize)> {
    end.sent()
        .into_iter()
        .filter(|frame| frame.kind == DATA)
        .map(|frame| (frame.stream, frame.payload.len()))
        .collect()
}

/// Growth of windows told to the peer: of the connection, and of a stream.
fn updates(end: &mut End, stream: u32) -> (u32, u32) {
    let sent = end.sent();
    let sum = |of: u32| {
        sent.iter()
            .filter(|frame| frame.kind == WINDOW_UPDATE && frame.stream == of)
            .map(Frame::number)
            .sum()
    };
    (sum(0), sum(stream))
}

fn server() -> End {
    End::server(H2Limits::default())
}

#[test]
fn section_6_9_updates_by_zero_cost_the_stream_or_the_connection() {
    let mut end = server();
    begun(&mut end, &post(1));
    let events = end.receive(&window_update(1, 0));
    let cause = ResetCause::Violation(Violation::WindowZero);
    assert!(
        matches!(events[..], [Event::Reset { code: ErrorCode::PROTOCOL_ERROR, cause: c, .. }] if c == cause),
        "{events:?}"
    );
    assert_eq!(end.broken_by(&window_update(0, 0)), Violation::WindowZero.into());
}

#[test]
fn section_6_9_1_a_window_never_exceeds_31_bits() {
    let mut end = server();
    begun(&mut end, &post(1));
    let events = end.receive(&window_update(1, 0x7fff_ffff));
    assert!(
        matches!(events[..], [Event::Reset { code: ErrorCode::FLOW_CONTROL_ERROR, .. }]),
        "{events:?}"
    );
    assert_eq!(end.broken_by(&window_update(0, 0x7fff_ffff)), Violation::WindowOverflow.into());
    let mut end = server();
    begun(&mut end, &post(1));
    end.receive(&window_update(1, 0x7fff_ffff - 65_535));
    assert_eq!(end.broken_by(&settings(&[(4, 65_536)])), Violation::WindowOverflow.into());
}

#[test]
fn section_6_9_1_content_waits_for_the_streams_window() {
    let mut end = End::greeted_server(H2Limits::default(), &[(4, 100)]);
    let stream = answering(&mut end, 1, 250);
    assert_eq!(content_sent(&mut end), [(1, 100)]);
    assert_eq!(end.connection.queued(stream), 150);
    end.receive(&window_update(1, 1));
    assert_eq!(content_sent(&mut end), [(1, 1)]);
    end.receive(&window_update(1, 1000));
    assert_eq!(content_sent(&mut end), [(1, 149)]);
    assert_eq!(end.connection.queued(stream), 0);
}

#[test]
fn section_6_9_1_content_waits_for_the_connections_window() {
    let mut end = End::greeted_server(H2Limits::default(), &[(4, 1 << 20)]);
    answering(&mut end, 1, 70_000);
    assert_eq!(content_sent(&mut end).iter().map(|sent| sent.1).sum::<usize>(), 65_535);
    answering(&mut end, 3, 5);
    assert_eq!(content_sent(&mut end), [], "heads are free, content is not");
    end.receive(&window_update(0, 4_465));
    assert_eq!(content_sent(&mut end), [(1, 4_465)]);
    end.receive(&window_update(0, 10));
    assert_eq!(content_sent(&mut end), [(3, 5)]);
}

#[test]
fn section_6_9_1_frames_without_content_need_no_window() {
    let mut end = End::greeted_server(H2Limits::default(), &[(4, 0)]);
    let stream = begun(&mut end, &get(1));
    respond(&mut end.connection, stream, 200, Ends::Later);
    end.sent();
    end.connection.data(stream, bytes::Bytes::new(), Ends::Here);
    assert_eq!(content_sent(&mut end), [(1, 0)]);
}

#[test]
fn section_6_9_2_a_new_initial_window_moves_those_of_open_streams_below_zero_too() {
    let mut end = End::greeted_server(H2Limits::default(), &[(4, 100)]);
    answering(&mut end, 1, 300);
    assert_eq!(content_sent(&mut end), [(1, 100)]);
    end.receive(&settings(&[(4, 40)]));
    end.receive(&window_update(1, 60));
    assert_eq!(content_sent(&mut end), [], "the window is zero, after it was -60");
    end.receive(&window_update(1, 1));
    assert_eq!(content_sent(&mut end), [(1, 1)]);
    end.receive(&settings(&[(4, 100)]));
    assert_eq!(content_sent(&mut end), [(1, 60)]);
}

#[test]
fn section_6_9_1_more_than_the_streams_window_costs_the_stream() {
    let mut end = server();
    begun(&mut end, &post(1));
    let events = end.receive(&[data(1, 0, &[0; 16_384]).repeat(16), data(1, 0, b"x")].concat());
    assert!(
        matches!(events.last(), Some(Event::Reset { code: ErrorCode::FLOW_CONTROL_ERROR, .. })),
        "{:?}",
        events.last()
    );
}

#[test]
fn section_6_9_1_more_than_the_connections_window_costs_the_connection() {
    let limits = H2Limits {
        connection_window_bytes_start: 65_535,
        connection_window_bytes_max: 65_535,
        ..H2Limits::default()
    };
    let mut end = End::server(limits);
    for number in [1, 3] {
        begun(&mut end, &post(number));
    }
    end.receive(&data(1, 0, &[0; 16_384]).repeat(3));
    let bytes = [data(3, 0, &[0; 16_383]), data(3, 0, b"x")].concat();
    assert_eq!(end.broken_by(&bytes), Violation::WindowExceeded.into());
}

#[test]
fn section_6_9_padding_counts_and_is_given_back_unasked() {
    let mut end = server();
    let stream = begun(&mut end, &post(1));
    let padded = [&[255][..], &[1; 45], &[0; 255]].concat();
    for _ in 0..START / 301 {
        end.receive(&frame(DATA, PADDED, 1, &padded));
        end.connection.release(stream, 45);
    }
    let (_, grown) = updates(&mut end, 1);
    assert!(grown > 30_000, "{grown}");
}

#[test]
fn section_5_2_1_streams_take_turns() {
    let mut end = End::greeted_server(H2Limits::default(), &[(4, 1 << 20)]);
    end.receive(&window_update(0, 1 << 24));
    // The first fills the output; the others find it full and wait in line.
    for number in [1, 3, 5] {
        answering(&mut end, number, 600_000);
    }
    let order: Vec<_> = content_sent(&mut end).into_iter().map(|sent| sent.0).collect();
    let alone = order.iter().take_while(|number| **number == 1).count();
    assert!(alone <= 17, "no more than the output takes at once: {alone}");
    let shared = &order[alone..alone + 30];
    for number in [1, 3, 5] {
        let turns = shared.iter().filter(|turn| **turn == number).count();
        assert!((9..=11).contains(&turns), "{number} has {turns} of 30 turns");
    }
}

#[test]
fn section_5_2_1_a_stream_without_window_does_not_stall_its_neighbours() {
    let mut end = server();
    let stalled = answering(&mut end, 1, 1 << 20);
    end.receive(&window_update(0, 1 << 24));
    content_sent(&mut end);
    for number in (3..203).step_by(2) {
        answering(&mut end, number, 60_000);
        let sent = content_sent(&mut end).iter().map(|sent| sent.1).sum::<usize>();
        assert_eq!(sent, 60_000);
    }
    assert_eq!(end.connection.queued(stalled), (1 << 20) - 65_535);
}

#[test]
fn section_5_2_1_a_reader_that_stalls_does_not_stall_its_neighbours() {
    let mut end = server();
    // A hundred uploads whose readers take nothing.
    for number in (1..201).step_by(2) {
        begun(&mut end, &post(number));
        end.receive(&data(number, 0, &[0; 16_384]).repeat(4));
        end.sent();
    }
    let stream = begun(&mut end, &post(201));
    let mut window = START;
    let mut received = 0;
    while received < 10 << 20 {
        assert!(window >= 16_384, "after {received} octets");
        end.receive(&data(201, 0, &[0; 16_384]));
        end.connection.release(stream, 16_384);
        received += 16_384;
        window = window - 16_384 + updates(&mut end, 201).1;
    }
}

#[test]
fn memory_for_readers_that_stall_is_bounded_by_the_connection() {
    let limits = H2Limits {
        connection_window_bytes_start: 256 << 10,
        connection_window_bytes_max: 256 << 10,
        ..H2Limits::default()
    };
    let mut end = End::server(limits);
    let mut window = 256 << 10;
    let mut held = 0;
    for number in (1..201).step_by(2) {
        begun(&mut end, &post(number));
        if window < 16_384 {
            continue;
        }
        end.receive(&data(number, 0, &[0; 16_384]));
        held += 16_384;
        window = window - 16_384 + updates(&mut end, number).0;
    }
    assert_eq!(held, 256 << 10);
}

#[test]
fn windows_begin_modest_and_grow_while_the_peer_waits_for_a_reader_that_keeps_up() {
    let mut end = server();
    let stream = begun(&mut end, &post(1));
    let mut windows = Vec::new();
    let mut window = START;
    for _ in 0..10 {
        windows.push(window);
        let mut left = window;
        while left > 0 {
            let part = left.min(16_384);
            end.receive(&data(1, 0, &vec![0; part as usize]));
            left -= part;
        }
        end.connection.release(stream, window as usize);
        let (connection, grown) = updates(&mut end, 1);
        assert!(connection >= window / 2 || window < 1 << 20, "{connection} {window}");
        window = grown;
    }
    assert!(windows.is_sorted(), "{windows:?}");
    let half = 12 << 20;
    assert!(windows[8] > half / 2 && windows[9] <= half + START, "{windows:?}");
}

// A peer hears of an update one way later: what it sends meanwhile is what its windows had left.
#[test]
fn a_short_upload_waits_for_few_updates() {
    let mut end = server();
    let stream = begun(&mut end, &post(1));
    let mut left: u32 = 2 << 20;
    let (mut own, mut of_all) = (START, 1_u32 << 20);
    let mut ways = 0;
    while left > 0 {
        let mut sent = left.min(own).min(of_all);
        assert!(sent > 0, "{left} octets cannot be sent");
        (left, own, of_all) = (left - sent, own - sent, of_all - sent);
        while sent > 0 {
            let part = sent.min(16_384);
            end.receive(&data(1, 0, &vec![0; part as usize]));
            end.connection.release(stream, part as usize);
            sent -= part;
        }
        let (more_of_all, more) = updates(&mut end, 1);
        (own, of_all) = (own + more, of_all + more_of_all);
        ways += 1;
    }
    assert!(ways <= 4, "{ways}");
}

#[test]
fn windows_shrink_on_request_and_grow_again() {
    let mut end = server();
    let stream = begun(&mut end, &post(1));
    let upload = |end: &mut End, bytes: u32| {
        let mut left = bytes;
        while left > 0 {
            let part = left.min(16_384);
            end.receive(&data(1, 0, &vec![0; part as usize]));
            left -= part;
        }
        end.connection.release(stream, bytes as usize);
        updates(end, 1).1
    };
    let mut window = START;
    while window < 1 << 20 {
        window = upload(&mut end, window);
    }
    end.connection.window_ceilings(20_000, 100_000);
    let sent = end.sent();
    assert_eq!(sent[0].kind, SETTINGS);
    assert_eq!(sent[0].payload, [0, 4, 0, 0, 0x4e, 0x20]);
    let acknowledged = end.receive(&frame(SETTINGS, ACK, 0, &[]));
    assert!(matches!(acknowledged[..], [Event::SettingsAcknowledged]));
    // The peer subtracts what the setting took, and may use up what it has.
    let left = window - (START - 20_000);
    let after = upload(&mut end, left);
    assert!(after <= 20_000, "{after}");
    let other = begun(&mut end, &post(3));
    end.receive(&data(3, 0, &[0; 16_384]));
    end.connection.release(other, 16_384);
    end.connection.window_ceilings(u32::MAX, u32::MAX);
    let sent = end.sent();
    assert!(
        sent.iter().any(|frame| frame.kind == SETTINGS && frame.payload == [0, 4, 0, 4, 0, 0]),
        "{sent:?}"
    );
}

#[test]
fn a_stream_whose_queue_has_gone_can_take_more_and_says_so_once() {
    let mut end = End::greeted_server(H2Limits::default(), &[(4, 100)]);
    let stream = begun(&mut end, &get(1));
    respond(&mut end.connection, stream, 200, Ends::Later);
    end.connection.data(stream, content(50, 0), Ends::Later);
    assert_eq!(end.sent().len(), 2);
    assert!(end.receive(b"").is_empty(), "nothing waited");
    end.connection.data(stream, content(150, 0), Ends::Later);
    assert_eq!(end.connection.queued(stream), 100);
    end.sent();
    end.receive(&window_update(1, 99));
    end.sent();
    assert!(end.receive(b"").is_empty());
    end.receive(&window_update(1, 99));
    end.sent();
    let events = end.receive(b"");
    assert!(matches!(events[..], [Event::Writable { stream: s }] if s == stream), "{events:?}");
    assert!(end.receive(b"").is_empty());
}

#[test]
fn small_pieces_share_a_frame() {
    let mut end = End::greeted_server(H2Limits::default(), &[(4, 0)]);
    let stream = begun(&mut end, &get(1));
    respond(&mut end.connection, stream, 200, Ends::Later);
    for length in [10, 2000, 30, 4] {
        end.connection.data(stream, content(length, 0), Ends::Later);
    }
    end.connection.data(stream, bytes::Bytes::new(), Ends::Here);
    assert_eq!(content_sent(&mut end), []);
    end.receive(&window_update(1, 5000));
    let sent = end.sent();
    assert_eq!(sent.len(), 1);
    assert_eq!((sent[0].flags, sent[0].payload.len()), (END_STREAM, 2044));
    let expected: Vec<u8> = [10, 2000, 30, 4].into_iter().flat_map(|l| content(l, 0)).collect();
    assert_eq!(sent[0].payload, expected);
}

#[test]
fn a_peer_that_acknowledges_nothing_gets_no_more_settings() {
    let mut end = server();
    let mut sent = 0;
    for round in 0..100 {
        end.connection.window_ceilings(20_000 + 1000 * (round % 2), 100_000);
        sent += end.sent().iter().filter(|frame| frame.kind == SETTINGS).count();
    }
    assert_eq!(sent, 8);
}
