//! Tunnels between HTTP/1.1, where they are upgrades, and HTTP/2, where they are extended CONNECTs
//! (RFC 8441).

use iako_http::{Known, Method, ResponseHead, Version, websocket_accept, websocket_key};

use super::downstream::Content;
use super::exchange::Exchange;

impl Exchange<'_> {
    /// Whether an HTTP/2 client asked for a tunnel in a way that HTTP/1 says otherwise.
    pub(super) fn tunnel_method(&self, content: Content, to: Version) -> Option<Method> {
        let head = &self.request.head;
        let extended = content == Content::Tunnel
            && *head.method() == Method::Connect
            && head.version() == Version::Http2
            && head.upgrade().is_some();
        (extended && to != Version::Http2).then_some(Method::Get)
    }

    /// Adds what a server of HTTP/1.1 wants before it opens a WebSocket, and clients of HTTP/2 leave out.
    pub(super) fn ask_for_websocket(&mut self) {
        if self.wants_websocket() {
            let draw = || u128::from(self.connection.draw());
            let key = websocket_key(draw() << 64 | draw());
            self.request.edits.fields.add_if_absent(Known::SecWebsocketKey, key);
        }
    }

    fn wants_websocket(&self) -> bool {
        let asked = self.request.head.upgrade();
        asked.is_some_and(|protocol| protocol.eq_ignore_ascii_case(b"websocket"))
    }

    /// Whether a server of HTTP/1.1 that switched protocols has answered the key that it was asked with,
    /// where that was ours: its client of HTTP/2 cannot tell, so that we have to (RFC 6455 §4.1).
    pub(super) fn is_key_answered(&self, head: &ResponseHead) -> bool {
        let Some(key) = self.own_key(head) else { return true };
        let told = head.fields().get(Known::SecWebsocketAccept).map(<[u8]>::trim_ascii);
        told == Some(websocket_accept(key).as_bytes().as_ref())
    }

    /// The key of a handshake that was not the client's.
    fn own_key(&self, head: &ResponseHead) -> Option<&[u8]> {
        let sent = self.request.head.fields();
        let is_ours = head.version() != Version::Http2
            && self.request.head.version() == Version::Http2
            && self.wants_websocket()
            && sent.get(Known::SecWebsocketKey).is_none();
        self.request.get(Known::SecWebsocketKey).filter(|_| is_ours)
    }

    /// Ends the handshake in the words of the client's protocol.
    pub(super) fn finish_handshake(&mut self, head: &ResponseHead) {
        if self.own_key(head).is_some() {
            // It answers what the client never said (RFC 8441 §5).
            self.response_edits.fields.remove(Known::SecWebsocketAccept);
        }
        if !self.switches_protocols(head) {
            return;
        }
        self.response_edits.status = Some(101);
        if let Some(key) =
            self.request.get(Known::SecWebsocketKey).filter(|_| self.wants_websocket())
        {
            let accept = websocket_accept(key);
            self.response_edits.fields.set(Known::SecWebsocketAccept, accept);
        }
    }

    /// Whether the client hears 101 where the server said 200: HTTP/2 has no 101 (RFC 8441 §5).
    fn switches_protocols(&self, head: &ResponseHead) -> bool {
        let request = &self.request.head;
        head.version() == Version::Http2
            && request.version() != Version::Http2
            && request.upgrade().is_some()
    }
}
