//! Upstreams that speak no HTTP.

use std::{net::UdpSocket, sync::atomic::Ordering, time::Duration};

use serde_json::json;

use super::{Shared, told};
use crate::{case::Script, wire::http1::Connection};

/// Plays a script on a connection, and remembers everything that came.
pub(super) fn serve(connection: &mut Connection, script: &Script, port: u16, shared: &Shared) {
    let place = shared.note(json!({"backend": port}));
    connection.play(script);
    while connection.fill() {}
    if !connection.seen.is_empty() {
        shared.add(place, "received", told(&marked(&connection.seen)));
    }
}

/// What came, with marks for what differs from run to run in a PROXY protocol header: the client's port,
/// and in version 2 the addresses of the world.
fn marked(seen: &[u8]) -> Vec<u8> {
    let mut words: Vec<&[u8]> = seen.splitn(6, |byte| *byte == b' ').collect();
    if words.len() == 6 && words[0] == b"PROXY" {
        words[4] = b"<port>";
        return words.join(&b' ');
    }
    let mut marked = seen.to_vec();
    if seen.starts_with(b"\r\n\r\n\0\r\nQUIT\n!\x11") && seen.len() >= 26 {
        marked.splice(16..26, *b"AAAABBBBPP");
    }
    marked
}

/// Gives every datagram back behind the number of the port, and remembers it.
pub(super) fn echo(socket: &UdpSocket, port: u16, shared: &Shared) {
    socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    let mut buffer = [0; 65_535];
    while !shared.is_over.load(Ordering::SeqCst) {
        let Ok((length, client)) = socket.recv_from(&mut buffer) else { continue };
        let datagram = &buffer[..length];
        shared.note(json!({"backend": port, "datagram": told(datagram)}));
        let answer = [format!("{port}:").as_bytes(), datagram].concat();
        let _gone = socket.send_to(&answer, client);
    }
}
