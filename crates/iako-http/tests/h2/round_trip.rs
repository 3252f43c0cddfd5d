//! Our client against our server, in memory.

use bytes::BytesMut;
use iako_http::h2::{Connection, Ends, Event, H2Limits, StreamId};
use iako_http::{BodyLength, HeaderEdits, Known, Method};
use proptest::prelude::*;

use crate::rig::{carry, content, open, request, respond, trailers};

/// What one message of the conversation is to carry.
#[derive(Clone, Debug, Default)]
struct Message {
    pieces: Vec<usize>,
    trailers: bool,
}

impl Message {
    fn ends(&self) -> Ends {
        if self.pieces.is_empty() && !self.trailers { Ends::Here } else { Ends::Later }
    }
}

#[derive(Clone, Debug, Default)]
struct Exchange {
    request: Message,
    response: Message,
}

/// What one end has heard of one stream.
#[derive(Debug, Default)]
struct Heard {
    stream: Option<StreamId>,
    has_head: bool,
    content: Vec<u8>,
    trailers: bool,
    ended: bool,
}

fn hear(heard: &mut Vec<Heard>, event: Event, lag: &mut Vec<(StreamId, usize)>) {
    let at = |stream: StreamId| (stream.number() / 2) as usize;
    let mut note = |stream: StreamId| {
        while heard.len() <= at(stream) {
            heard.push(Heard::default());
        }
        heard[at(stream)].stream = Some(stream);
        at(stream)
    };
    match event {
        Event::Request { stream, ends, .. } | Event::Response { stream, ends, .. } => {
            let place = note(stream);
            heard[place].has_head = true;
            heard[place].ended |= ends.here();
        }
        Event::Data { stream, bytes, ends } => {
            let place = note(stream);
            assert!(heard[place].has_head && !heard[place].ended);
            heard[place].content.extend_from_slice(&bytes);
            heard[place].ended = ends.here();
            lag.push((stream, bytes.len()));
        }
        Event::Trailers { stream, fields } => {
            let place = note(stream);
            assert_eq!(fields.get(Known::GrpcStatus), Some(&b"0"[..]));
            heard[place].trailers = true;
            heard[place].ended = true;
        }
        Event::Writable { .. } | Event::Settings(_) | Event::SettingsAcknowledged => {}
        Event::Reset { .. } | Event::Refused { .. } | Event::GoAway { .. } | Event::Pong { .. } => {
            panic!("{event:?}")
        }
    }
}

fn send(connection: &mut Connection, stream: StreamId, message: &Message) {
    let mut pieces = message.pieces.iter().peekable();
    while let Some(length) = pieces.next() {
        let last = pieces.peek().is_none() && !message.trailers;
        let bytes = content(*length, length.to_le_bytes()[0]);
        connection.data(stream, bytes, if last { Ends::Here } else { Ends::Later });
    }
    if message.trailers {
        connection.trailers(stream, &trailers(), &HeaderEdits::default());
    }
}

fn expected(pieces: &[usize]) -> Vec<u8> {
    pieces.iter().flat_map(|length| content(*length, length.to_le_bytes()[0])).collect()
}

/// Runs the exchanges all at once and checks that everything arrives.
fn converse(exchanges: &[Exchange], limits: H2Limits, step: usize) {
    let mut client = Connection::client(limits);
    let mut server = Connection::server(limits);
    let (mut to_server, mut to_client) = (BytesMut::new(), BytesMut::new());
    let (mut at_server, mut at_client) = (Vec::new(), Vec::new());
    let mut waiting = exchanges.iter();
    let mut answered = vec![false; exchanges.len()];
    let mut idle = 0;
    while idle < 4 {
        let mut moved = 0;
        if client.room() > 0
            && let Some(exchange) = waiting.next()
        {
            let head = request(Method::Post, BodyLength::Chunked);
            let stream = open(&mut client, &head, exchange.request.ends()).unwrap();
            send(&mut client, stream, &exchange.request);
            moved += 1;
        }
        moved += carry(&mut client, &mut to_server);
        let (mut server_lag, mut client_lag) = (Vec::new(), Vec::new());
        moved += deliver(&mut server, &mut to_server, step, &mut at_server, &mut server_lag);
        for (place, exchange) in exchanges.iter().enumerate() {
            let Some(Heard { stream: Some(stream), .. }) = at_server.get(place) else { continue };
            if !std::mem::replace(&mut answered[place], true) {
                respond(&mut server, *stream, 200, exchange.response.ends());
                send(&mut server, *stream, &exchange.response);
            }
        }
        moved += carry(&mut server, &mut to_client);
        moved += deliver(&mut client, &mut to_client, step, &mut at_client, &mut client_lag);
        idle = if moved == 0 { idle + 1 } else { 0 };
    }
    assert_eq!((client.streams(), server.streams()), (0, 0), "all streams end");
    for (place, exchange) in exchanges.iter().enumerate() {
        check(&at_server[place], &exchange.request);
        check(&at_client[place], &exchange.response);
    }
}

fn check(heard: &Heard, message: &Message) {
    assert!(heard.ended);
    assert_eq!(heard.trailers, message.trailers);
    assert!(heard.content == expected(&message.pieces), "the content is what was sent");
}

/// Gives the bytes in small portions.
fn deliver(
    connection: &mut Connection,
    bytes: &mut BytesMut,
    step: usize,
    heard: &mut Vec<Heard>,
    lag: &mut Vec<(StreamId, usize)>,
) -> usize {
    let total = bytes.len();
    let mut input = BytesMut::new();
    for portion in bytes.split().chunks(step.max(1)) {
        input.extend_from_slice(portion);
        while let Some(event) = connection.receive(&mut input).unwrap() {
            hear(heard, event, lag);
        }
    }
    assert!(input.is_empty() || step < 1 << 20, "whole frames leave nothing");
    bytes.unsplit(input);
    for (stream, bytes) in lag.drain(..) {
        connection.release(stream, bytes);
    }
    total
}

fn exchange() -> impl Strategy<Value = Exchange> {
    let message = || {
        (prop::collection::vec(1_usize..20_000, 0..6), any::<bool>())
            .prop_map(|(pieces, trailers)| Message { pieces, trailers })
    };
    (message(), message()).prop_map(|(request, response)| Exchange { request, response })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn everything_arrives_in_order_through_any_windows(
        exchanges in prop::collection::vec(exchange(), 1..12),
        window in 1_u32..70_000,
        streams in 1_u32..8,
        step in prop::sample::select(vec![1_usize, 7, 100, 4096, 1 << 20]),
    ) {
        let limits = H2Limits {
            stream_window_bytes_start: window,
            concurrent_streams_max: streams,
            window_updates_per_data_frame_max: 1000,
            ..H2Limits::default()
        };
        converse(&exchanges, limits, step);
    }
}

#[test]
fn a_request_and_its_response_without_content_are_one_frame_each() {
    converse(&[Exchange::default()], H2Limits::default(), 1);
}
