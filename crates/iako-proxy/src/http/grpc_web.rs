//! gRPC as browsers can speak it: trailers as the last part of the content, base64 where asked for.
//!
//! Source: Envoy `envoy.filters.http.grpc_web`; gRPC, "gRPC Web", protocol differences from HTTP/2.

use bytes::{BufMut as _, Bytes, BytesMut};
use iako_http::{Fields, Known, NameRef, RequestEdits, RequestHead};

/// How the content of one direction is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Coding {
    /// As it is.
    Binary,
    /// In base64.
    Text,
}

/// A call of a browser that is told to the server as plain gRPC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WebCall {
    pub(crate) request: Coding,
    pub(crate) response: Coding,
}

/// The content of a request is no base64.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the content of the gRPC-Web request is no base64")]
pub(crate) struct NotBase64;

/// Marks the frame that holds the trailers.
const TRAILERS_FRAME: u8 = 0x80;

impl WebCall {
    /// Recognizes a call by its content type and turns its head into that of plain gRPC.
    pub(crate) fn begin(head: &RequestHead, edits: &mut RequestEdits) -> Option<Self> {
        let request = coding(edits.fields.get(head.fields(), Known::ContentType)?)?;
        let accept = edits.fields.get(head.fields(), Known::Accept).and_then(coding);
        let fields = &mut edits.fields;
        let value = iako_http::FieldValue::from_static;
        fields.set(Known::ContentType, value("application/grpc"));
        fields.set(Known::Te, value("trailers"));
        fields.remove(Known::ContentLength);
        if let Ok(name) = iako_http::FieldName::parse(b"grpc-accept-encoding") {
            fields.add_if_absent(name, value("identity"));
        }
        Some(Self { request, response: accept.unwrap_or(Coding::Binary) })
    }

    /// The content type of the response, when the server's is gRPC.
    pub(crate) const fn content_type(self) -> &'static str {
        match self.response {
            Coding::Binary => "application/grpc-web+proto",
            Coding::Text => "application/grpc-web-text+proto",
        }
    }
}

fn coding(content_type: &[u8]) -> Option<Coding> {
    match content_type {
        b"application/grpc-web" | b"application/grpc-web+proto" => Some(Coding::Binary),
        b"application/grpc-web-text" | b"application/grpc-web-text+proto" => Some(Coding::Text),
        _ => None,
    }
}

/// The last part of a response's content: its trailers, framed like a message.
pub(crate) fn trailers_frame(trailers: Option<&Fields>) -> Bytes {
    let mut text = BytesMut::new();
    for field in trailers.into_iter().flat_map(Fields::iter) {
        if field.is(NameRef::Known(Known::ContentLength)) {
            continue;
        }
        text.put_slice(field.name);
        text.put_slice(b":");
        text.put_slice(field.value);
        text.put_slice(b"\r\n");
    }
    let mut frame = BytesMut::with_capacity(text.len() + 5);
    frame.put_u8(TRAILERS_FRAME);
    frame.put_u32(u32::try_from(text.len()).unwrap_or(u32::MAX));
    frame.put_slice(&text);
    frame.freeze()
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Writes a piece in base64, padded to its end: a browser reads each piece as it comes, and a message
/// must not wait for the next one.
pub(crate) fn encode(piece: &[u8]) -> Bytes {
    let letter = |bits: u32| {
        let place = usize::try_from(bits & 63).unwrap_or_default();
        ALPHABET.get(place).copied().unwrap_or(b'A')
    };
    let mut out = BytesMut::with_capacity(piece.len().div_ceil(3) * 4);
    for group in piece.chunks(3) {
        let byte = |place: usize| u32::from(group.get(place).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        out.put_u8(letter(bits >> 18));
        out.put_u8(letter(bits >> 12));
        out.put_u8(if group.len() > 1 { letter(bits >> 6) } else { b'=' });
        out.put_u8(if group.len() > 2 { letter(bits) } else { b'=' });
    }
    out.freeze()
}

/// Reads base64 that comes in pieces cut anywhere. Padding may stand in the middle: clients encode
/// message by message.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Decoder {
    bits: u32,
    letters: u8,
    padding: u8,
}

impl Decoder {
    /// Reads one more piece.
    ///
    /// # Errors
    /// When it holds anything but the alphabet, or padding where none may be.
    pub(crate) fn decode(&mut self, piece: &[u8]) -> Result<Bytes, NotBase64> {
        let mut out = BytesMut::with_capacity(piece.len() / 4 * 3 + 3);
        for letter in piece {
            let value = match letter {
                b'A'..=b'Z' => letter - b'A',
                b'a'..=b'z' => letter - b'a' + 26,
                b'0'..=b'9' => letter - b'0' + 52,
                b'+' => 62,
                b'/' => 63,
                b'=' if self.letters >= 2 => {
                    self.padding += 1;
                    0
                }
                _ => return Err(NotBase64),
            };
            if self.padding > 0 && *letter != b'=' {
                return Err(NotBase64);
            }
            self.bits = self.bits << 6 | u32::from(value);
            self.letters += 1;
            if self.letters == 4 {
                let [_, bytes @ ..] = self.bits.to_be_bytes();
                let kept = bytes.len() - usize::from(self.padding);
                out.put_slice(bytes.get(..kept).unwrap_or_default());
                *self = Self::default();
            }
        }
        Ok(out.freeze())
    }

    /// Whether the text could end after so many more letters.
    pub(crate) const fn would_be_whole(self, more: usize) -> bool {
        (self.letters as usize + more).is_multiple_of(4)
    }

    /// Whether the text may end here.
    pub(crate) const fn is_whole(self) -> bool {
        self.letters == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // RFC 4648 §10.
    #[test]
    fn base64_is_that_of_the_standard() {
        for (plain, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(encode(plain.as_bytes()), text);
            let mut decoder = Decoder::default();
            assert_eq!(decoder.decode(text.as_bytes()), Ok(plain.into()));
            assert!(decoder.is_whole());
        }
        let every: Vec<u8> = (0..=255).collect();
        let mut decoder = Decoder::default();
        assert_eq!(decoder.decode(&encode(&every)), Ok(every.into()));
    }

    #[test]
    fn text_may_be_cut_anywhere_and_padded_in_the_middle() {
        let text = b"Zg==Zm8=Zm9vYmE=";
        for cut in 1..text.len() {
            let mut decoder = Decoder::default();
            let mut plain = Vec::new();
            for piece in text.chunks(cut) {
                plain.extend_from_slice(&decoder.decode(piece).unwrap());
            }
            assert_eq!(plain, b"ffofooba", "pieces of {cut}");
        }
        for wrong in ["Zg=g", "=Zgg", "Z===", "Zm 9", "Zm\n9"] {
            assert_eq!(Decoder::default().decode(wrong.as_bytes()), Err(NotBase64), "{wrong}");
        }
        let mut short = Decoder::default();
        short.decode(b"Zm9vZ").unwrap();
        assert!(!short.is_whole());
    }
}
