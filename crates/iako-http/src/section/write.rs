//! Writing: heads with their edits, compressed straight into a block.

use bytes::BytesMut;

use crate::edits::{HeaderEdits, RequestEdits, ResponseEdits, edited_fields, is_written_apart};
use crate::encode::decimal;
use crate::field::{Field, Sensitivity};
use crate::head::{Fields, RequestHead, ResponseHead, Scheme};
use crate::hpack::{Encoder, Pseudo};
use crate::known::Known;
use crate::method::Method;
use crate::scan::{is_visible, trim};

/// What the head of a request says beside what is in the head and its edits.
#[derive(Clone, Copy, Debug)]
pub struct RequestSection<'a> {
    /// The scheme when neither head nor edits name one.
    pub scheme: Scheme,
    /// `content-length`, when it is known.
    pub length: Option<u64>,
    /// The protocol that an HTTP/1.1 request wants to be upgraded to: it becomes an extended CONNECT
    /// (RFC 8441 §4). A head that is one already needs no word here.
    pub protocol: Option<&'a [u8]>,
}

/// Writes the field sections of one direction of one connection, in the order in which they are sent.
#[derive(Debug)]
pub struct SectionWriter {
    encoder: Encoder,
}

impl SectionWriter {
    /// A writer whose compression table holds at most so many bytes; see [`Encoder::new`].
    #[must_use]
    pub fn new(table_bytes_max: usize) -> Self {
        Self { encoder: Encoder::new(table_bytes_max) }
    }

    /// See [`Encoder::set_table_bytes_max`].
    pub fn set_table_bytes_max(&mut self, peer_max: usize) {
        self.encoder.set_table_bytes_max(peer_max);
    }

    /// Appends the block of a request.
    pub fn request(
        &mut self,
        head: &RequestHead,
        edits: &RequestEdits,
        section: RequestSection<'_>,
        out: &mut BytesMut,
    ) {
        let own_protocol = head.protocol.of(&head.fields.bytes);
        let own_protocol = (!own_protocol.is_empty()).then_some(own_protocol);
        let protocol = section.protocol.or(own_protocol);
        let method = edits.method(head);
        let is_plain_connect = *method == Method::Connect && protocol.is_none();
        let method = if protocol.is_some() { &Method::Connect } else { method };
        self.encoder.pseudo(Pseudo::Method, method.as_bytes(), out);
        if !is_plain_connect {
            let scheme = edits.scheme(head).unwrap_or(section.scheme);
            self.encoder.pseudo(Pseudo::Scheme, scheme.as_str().as_bytes(), out);
        }
        self.visible(Pseudo::Authority, edits.authority(head).as_bytes(), out);
        if !is_plain_connect {
            let path = edits.path(head);
            let path = if path.is_empty() { "/" } else { path };
            self.visible(Pseudo::Path, path.as_bytes(), out);
        }
        if let Some(protocol) = protocol {
            self.visible(Pseudo::Protocol, protocol, out);
        }
        self.fields(&head.fields, &edits.fields, out);
        self.content_length(section.length, out);
    }

    /// Appends the block of a response. 101 becomes 200: that is how HTTP/2 accepts an extended CONNECT
    /// (RFC 8441 §5).
    pub fn response(
        &mut self,
        head: &ResponseHead,
        edits: &ResponseEdits,
        length: Option<u64>,
        out: &mut BytesMut,
    ) {
        let status = match edits.status(head) {
            101 => 200,
            status => status,
        };
        self.status(status, out);
        self.fields(&head.fields, &edits.fields, out);
        self.content_length(length, out);
    }

    /// Appends the block of an interim response.
    pub fn interim(
        &mut self,
        status: u16,
        fields: &Fields,
        edits: &HeaderEdits,
        out: &mut BytesMut,
    ) {
        self.status(status, out);
        self.fields(fields, edits, out);
    }

    /// Appends the block of trailers. Fields that have no place there are left out, so the block may be
    /// empty.
    pub fn trailers(&mut self, fields: &Fields, edits: &HeaderEdits, out: &mut BytesMut) {
        for field in edited_fields(fields, edits) {
            if !matches!(field.known, Some(Known::Te | Known::Trailer)) {
                self.field(field, out);
            }
        }
    }

    fn status(&mut self, status: u16, out: &mut BytesMut) {
        let mut digits = [b'0'; 20];
        let digits = decimal(u64::from(status), &mut digits);
        self.encoder.pseudo(Pseudo::Status, digits, out);
    }

    fn content_length(&mut self, length: Option<u64>, out: &mut BytesMut) {
        let Some(length) = length else { return };
        let mut digits = [b'0'; 20];
        let digits = decimal(length, &mut digits);
        let name = Known::ContentLength.as_str().as_bytes();
        let field = Field {
            known: Some(Known::ContentLength),
            name,
            original_name: name,
            value: digits,
            sensitivity: Sensitivity::Plain,
        };
        self.encoder.field(&field, out);
    }

    fn fields(&mut self, fields: &Fields, edits: &HeaderEdits, out: &mut BytesMut) {
        edited_fields(fields, edits).for_each(|field| self.field(field, out));
    }

    fn field(&mut self, mut field: Field<'_>, out: &mut BytesMut) {
        match field.known {
            Some(known) if is_written_apart(known) => return,
            Some(Known::Te) if !field.value.eq_ignore_ascii_case(b"trailers") => return,
            // Some peers know it in lower case only.
            Some(Known::Te) => field.value = b"trailers",
            Some(_) | None => {}
        }
        // Values of edits may have blanks around them, which HTTP/2 forbids.
        if matches!(field.value, [b' ' | b'\t', ..] | [.., b' ' | b'\t']) {
            let (from, to) = trim(field.value);
            field.value = field.value.get(from..to).unwrap_or_default();
        }
        self.encoder.field(&field, out);
    }

    /// A target or authority. An edit may have made it of what a client said, so blanks and control
    /// characters are percent-encoded.
    fn visible(&mut self, pseudo: Pseudo, text: &[u8], out: &mut BytesMut) {
        if is_visible(text) {
            return self.encoder.pseudo(pseudo, text, out);
        }
        let mut encoded = Vec::with_capacity(text.len() + 16);
        for byte in text {
            if is_visible(std::slice::from_ref(byte)) {
                encoded.push(*byte);
            } else {
                encoded.extend_from_slice(format!("%{byte:02X}").as_bytes());
            }
        }
        self.encoder.pseudo(pseudo, &encoded, out);
    }
}
