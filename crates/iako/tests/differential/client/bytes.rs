//! Clients that speak no HTTP.

use std::{
    net::{SocketAddr, UdpSocket},
    time::Duration,
};

use serde_json::{Value, json};

use crate::{
    case::{self, Script},
    wire::http1::{Connection, End},
};

/// Plays a script, and tells everything that came and how it ended.
pub(super) fn stream(mut connection: Connection, script: &Script) -> Value {
    connection.play(script);
    while connection.fill() {}
    let end = match connection.end {
        Some(End::Closed) => "closed",
        Some(End::Reset | End::Refused) => "reset",
        Some(End::Silent) | None => "silent",
    };
    json!({"received": crate::upstream::told(&connection.seen), "end": end})
}

/// Sends datagrams from one socket, waits for an answer to each, and tells them.
pub(super) fn datagrams(sent: &[String], to: SocketAddr, wait: Duration) -> Value {
    let socket = UdpSocket::bind((to.ip(), 0)).unwrap();
    socket.connect(to).unwrap();
    socket.set_read_timeout(Some(wait)).unwrap();
    let mut buffer = [0; 65_535];
    let answers = sent.iter().map(|text| {
        socket.send(&case::bytes(text)).unwrap();
        match socket.recv(&mut buffer) {
            Ok(length) => crate::upstream::told(&buffer[..length]),
            Err(_) => Value::Null,
        }
    });
    json!({"datagrams": answers.collect::<Vec<_>>()})
}
