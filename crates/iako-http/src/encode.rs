//! Writing messages: heads with their edits into a buffer, framing around content that is not copied.

use bytes::{BufMut, BytesMut};

use crate::edits::{HeaderEdits, RequestEdits, ResponseEdits, edited_fields, is_written_apart};
use crate::head::{Fields, RequestHead, ResponseHead, Version};
use crate::known::Known;
use crate::method::reason;
use crate::scan::is_visible;

/// What a written head says about the content that follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// Nothing: there is no content, or it lasts until the connection closes.
    Silent,
    /// `content-length`.
    Length(u64),
    /// `transfer-encoding: chunked`.
    Chunked,
}

/// What a written head says about the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionField<'a> {
    /// Nothing: HTTP/1.1 stays open.
    Omit,
    /// `connection: close`.
    Close,
    /// `connection: keep-alive`, which HTTP/1.0 needs to stay open.
    KeepAlive,
    /// `connection: upgrade` and `upgrade` with this protocol.
    Upgrade(&'a [u8]),
}

/// How a head is put on the wire, apart from what it says.
#[derive(Clone, Copy, Debug)]
pub struct Wire<'a> {
    /// About the content.
    pub framing: Framing,
    /// About the connection.
    pub connection: ConnectionField<'a>,
}

/// Room at the end of a buffer that is made at once: the many small pieces of a head then cost a copy
/// each, and no look at the capacity.
struct Room<'a> {
    out: &'a mut BytesMut,
    at: usize,
}

impl<'a> Room<'a> {
    fn new(out: &'a mut BytesMut, bytes: usize) -> Self {
        let at = out.len();
        out.resize(at + bytes, 0);
        Self { out, at }
    }

    /// Room for a head with its changes, and for what is written beside the fields.
    fn for_head(out: &'a mut BytesMut, fields: &Fields, edits: &HeaderEdits) -> Self {
        const FRAMING_BYTES: usize = 128;
        Self::new(out, fields.written_bytes() + edits.added_bytes() + FRAMING_BYTES)
    }

    fn put(&mut self, text: &[u8]) {
        let end = self.at + text.len();
        if end > self.out.len() {
            self.out.resize(end * 2, 0);
        }
        if let Some(room) = self.out.get_mut(self.at..end) {
            room.copy_from_slice(text);
        }
        self.at = end;
    }

    /// A line of a name and a value.
    fn line(&mut self, name: &[u8], value: &[u8]) {
        let end = self.at + name.len() + value.len() + 4;
        if end > self.out.len() {
            self.out.resize(end * 2, 0);
        }
        let room = self.out.get_mut(self.at..end).unwrap_or_default();
        if let Some((named, rest)) = room.split_at_mut_checked(name.len())
            && let Some((colon, rest)) = rest.split_first_chunk_mut::<2>()
            && let Some((valued, line_end)) = rest.split_last_chunk_mut::<2>()
        {
            named.copy_from_slice(name);
            *colon = *b": ";
            valued.copy_from_slice(value);
            *line_end = *b"\r\n";
        }
        self.at = end;
    }
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        self.out.truncate(self.at);
    }
}

/// Appends a request head. The target is in origin form, or authority form for CONNECT: this is how a
/// server behind us is asked, whatever form came in. Names go out in the letters in which they came where
/// whoever read the head kept those ([`crate::NameCase::Preserve`]).
pub fn write_request_head(
    head: &RequestHead,
    edits: &RequestEdits,
    wire: Wire<'_>,
    out: &mut BytesMut,
) {
    let authority = edits.authority(head).as_bytes();
    let path = edits.path(head).as_bytes();
    let mut room = Room::for_head(out, &head.fields, &edits.fields);
    room.put(edits.method(head).as_bytes());
    room.put(b" ");
    write_visible(if path.is_empty() { authority } else { path }, &mut room);
    room.put(b" HTTP/1.1\r\n");
    room.put(head.host_name.as_ref().unwrap_or(b"host"));
    room.put(b": ");
    write_visible(authority, &mut room);
    room.put(b"\r\n");
    write_fields(&head.fields, &edits.fields, wire, &mut room);
}

/// Appends a target or authority. An edit may have made it of what a client said, so blanks and control
/// characters, which would end the request line early, are percent-encoded.
fn write_visible(text: &[u8], room: &mut Room<'_>) {
    if is_visible(text) {
        room.put(text);
        return;
    }
    for byte in text {
        if is_visible(std::slice::from_ref(byte)) {
            room.put(&[*byte]);
        } else {
            room.put(format!("%{byte:02X}").as_bytes());
        }
    }
}

/// Appends a response head, in the version that the client understands.
pub fn write_response_head(
    head: &ResponseHead,
    edits: &ResponseEdits,
    to: Version,
    wire: Wire<'_>,
    out: &mut BytesMut,
) {
    let mut room = Room::for_head(out, &head.fields, &edits.fields);
    write_status_line(edits.status(head), to, &mut room);
    write_fields(&head.fields, &edits.fields, wire, &mut room);
}

/// Writes the names of a head that was just written, from `start` on, with a capital at the start of
/// each word: `Content-Type`.
pub fn capitalize_names(start: usize, out: &mut BytesMut) {
    let Some(head) = out.get_mut(start..) else { return };
    let mut lines = head.split_mut(|byte| *byte == b'\n');
    // The line of the request or status has no name.
    lines.next();
    for line in lines {
        let mut begins = true;
        for byte in line.iter_mut().take_while(|byte| **byte != b':') {
            if begins {
                byte.make_ascii_uppercase();
            }
            begins = !byte.is_ascii_alphanumeric();
        }
    }
}

/// Appends an interim response without fields, such as `100 Continue`.
pub fn write_interim(status: u16, out: &mut BytesMut) {
    let mut room = Room::new(out, 64);
    write_status_line(status, Version::Http11, &mut room);
    room.put(b"\r\n");
}

fn write_status_line(status: u16, to: Version, room: &mut Room<'_>) {
    if status == 200 && to != Version::Http10 {
        return room.put(b"HTTP/1.1 200 OK\r\n");
    }
    room.put(if to == Version::Http10 { b"HTTP/1.0 " } else { b"HTTP/1.1 " });
    write_decimal(u64::from(status), room);
    room.put(b" ");
    room.put(reason(status).as_bytes());
    room.put(b"\r\n");
}

fn write_fields(fields: &Fields, edits: &HeaderEdits, wire: Wire<'_>, room: &mut Room<'_>) {
    edited_fields(fields, edits).for_each(|field| {
        if !field.known.is_some_and(is_written_apart) {
            room.line(field.original_name, field.value);
        }
    });
    match wire.framing {
        Framing::Silent => {}
        Framing::Length(length) => {
            room.put(fields.letters_of(Known::ContentLength));
            room.put(b": ");
            write_decimal(length, room);
            room.put(b"\r\n");
        }
        Framing::Chunked => {
            room.line(fields.letters_of(Known::TransferEncoding), b"chunked");
        }
    }
    match wire.connection {
        ConnectionField::Omit => {}
        ConnectionField::Close => room.put(b"connection: close\r\n"),
        ConnectionField::KeepAlive => room.put(b"connection: keep-alive\r\n"),
        ConnectionField::Upgrade(protocol) => {
            room.put(b"connection: upgrade\r\n");
            room.line(b"upgrade", protocol);
        }
    }
    room.put(b"\r\n");
}

fn write_decimal(number: u64, room: &mut Room<'_>) {
    let mut digits = [b'0'; 20];
    room.put(decimal(number, &mut digits));
}

/// The digits of a number, written to the end of `digits`.
pub(crate) fn decimal(number: u64, digits: &mut [u8; 20]) -> &[u8] {
    let mut left = number;
    let mut first = digits.len();
    for (place, digit) in digits.iter_mut().enumerate().rev() {
        *digit = b'0' + u8::try_from(left % 10).unwrap_or_default();
        left /= 10;
        first = place;
        if left == 0 {
            break;
        }
    }
    digits.get(first..).unwrap_or_default()
}

/// Puts framing around content that the caller writes itself, so that it is not copied.
///
/// For each piece: [`data`](Self::data), then the piece, then what `data` gave back; last
/// [`end`](Self::end).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyEncoder {
    /// The message has no content: what comes is refused.
    Empty,
    /// So many bytes are still owed.
    Exact(u64),
    /// Pieces of any number.
    Chunked,
    /// Raw bytes until the connection closes, or a tunnel.
    Raw,
}

/// The content does not fit what the head announced; the connection must not be used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LengthMismatch {
    /// More content than announced.
    #[error("the message has more content than its head announced")]
    TooLong,
    /// Less content than announced.
    #[error("the message has less content than its head announced")]
    TooShort,
}

impl BodyEncoder {
    /// The encoder that fits a head's framing when content follows.
    #[must_use]
    pub const fn new(framing: Framing) -> Self {
        match framing {
            Framing::Silent => Self::Raw,
            Framing::Length(length) => Self::Exact(length),
            Framing::Chunked => Self::Chunked,
        }
    }

    /// Appends what comes before a piece of `len` bytes and gives back what comes after it.
    ///
    /// # Errors
    /// [`LengthMismatch::TooLong`] when the piece exceeds what was announced.
    pub fn data(
        &mut self,
        len: usize,
        out: &mut BytesMut,
    ) -> Result<&'static [u8], LengthMismatch> {
        match self {
            // A chunk of size zero would end the message.
            _ if len == 0 => Ok(b""),
            Self::Empty => Err(LengthMismatch::TooLong),
            Self::Exact(left) => {
                *left = left.checked_sub(len as u64).ok_or(LengthMismatch::TooLong)?;
                Ok(b"")
            }
            Self::Chunked => {
                write_hexadecimal(len as u64, out);
                out.put_slice(b"\r\n");
                Ok(b"\r\n")
            }
            Self::Raw => Ok(b""),
        }
    }

    /// Appends what ends the message. Trailers are written only after chunks; otherwise HTTP/1.1 has no
    /// place for them and they are dropped.
    ///
    /// # Errors
    /// [`LengthMismatch::TooShort`] when content is still owed.
    pub fn end(
        &mut self,
        trailers: Option<(&Fields, &HeaderEdits)>,
        out: &mut BytesMut,
    ) -> Result<(), LengthMismatch> {
        match self {
            Self::Exact(1..) => Err(LengthMismatch::TooShort),
            Self::Empty | Self::Exact(0) | Self::Raw => Ok(()),
            Self::Chunked => {
                out.put_slice(b"0\r\n");
                if let Some((fields, edits)) = trailers {
                    write_trailers(fields, edits, out);
                }
                out.put_slice(b"\r\n");
                Ok(())
            }
        }
    }
}

fn write_trailers(fields: &Fields, edits: &HeaderEdits, out: &mut BytesMut) {
    let mut room = Room::for_head(out, fields, edits);
    for field in edited_fields(fields, edits) {
        if !field.known.is_some_and(is_written_apart) {
            room.line(field.original_name, field.value);
        }
    }
}

fn write_hexadecimal(number: u64, out: &mut BytesMut) {
    let digits = (16 - number.leading_zeros() / 4).max(1);
    for place in (0..digits).rev() {
        let digit = u32::try_from((number >> (place * 4)) & 0xf).unwrap_or_default();
        out.put_u8(char::from_digit(digit, 16).map_or(b'0', |digit| digit as u8));
    }
}
