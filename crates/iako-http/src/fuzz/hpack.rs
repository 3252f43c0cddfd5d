//! HPACK: decoding of anything, and encoding and decoding in step.

use bytes::BytesMut;

use crate::field::{Field, Sensitivity};
use crate::hpack::{DecodedField, Decoder, Encoder, FieldSink, Pseudo, Token, ValueKind};
use crate::known::Known;

const TABLE_BYTES: usize = 4096;

/// Reads the bytes as blocks of one connection: two octets of length before each. What the decoder says
/// about a field must be so wherever it came from.
pub fn fuzz_hpack_decode(input: &[u8]) {
    let mut decoder = Decoder::new(TABLE_BYTES);
    for block in blocks(input) {
        if decoder.decode(block, &mut Check).is_err() {
            return;
        }
        debug_assert!(decoder.table_bytes() <= TABLE_BYTES, "the table exceeds its bound");
    }
}

/// Blocks with two octets of length before each.
pub(super) fn blocks(input: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut left = input;
    std::iter::from_fn(move || {
        let (head, rest) = left.split_first_chunk::<2>()?;
        let len = usize::from(u16::from_be_bytes(*head)).min(rest.len());
        let (block, rest) = rest.split_at_checked(len)?;
        left = rest;
        Some(block)
    })
}

struct Check;

impl FieldSink for Check {
    fn field(&mut self, field: DecodedField<'_>) {
        debug_assert_eq!(field.token, Token::of(field.name), "{:?}", field.name);
        debug_assert_eq!(field.kind, ValueKind::of(field.value), "{:?}", field.value);
    }
}

/// Takes the bytes as fields and changes of the table's size, in blocks; what is encoded must be decoded
/// as it was, with both tables the same.
pub fn fuzz_hpack_round_trip(input: &[u8]) {
    let mut encoder = Encoder::new(TABLE_BYTES);
    let mut decoder = Decoder::new(TABLE_BYTES);
    let mut left = input;
    while !left.is_empty() {
        let mut block = Block { out: BytesMut::new(), sent: Vec::new() };
        while let Some(step) = Step::take(&mut left) {
            match step {
                Step::Resize(size) if block.sent.is_empty() => {
                    encoder.set_table_bytes_max(size);
                    decoder.set_table_bytes_max(size.min(TABLE_BYTES));
                }
                Step::Resize(_) | Step::End => break,
                Step::Field(field) => block.put(field, &mut encoder),
            }
        }
        let mut collect = Collect::default();
        let decoded = decoder.decode(&block.out, &mut collect);
        debug_assert_eq!(decoded, Ok(()), "what we encoded is not decoded");
        debug_assert_eq!(collect.0, block.sent, "fields changed");
        if !block.sent.is_empty() {
            debug_assert_eq!(decoder.table_bytes(), encoder.table_bytes(), "the tables differ");
        }
    }
}

type Sent = (Vec<u8>, Vec<u8>, Sensitivity);

struct Block {
    out: BytesMut,
    sent: Vec<Sent>,
}

impl Block {
    fn put(&mut self, step: FieldStep<'_>, encoder: &mut Encoder) {
        let FieldStep { name, value, sensitivity } = step;
        let text: &[u8] = match name {
            Name::Pseudo(pseudo) => {
                encoder.pseudo(pseudo, value, &mut self.out);
                let name = pseudo.as_str().as_bytes().to_vec();
                self.sent.push((name, value.to_vec(), Sensitivity::Plain));
                return;
            }
            Name::Known(known) => known.as_str().as_bytes(),
            Name::Other(text) => text,
        };
        let known = Known::lookup(text);
        let field = Field { known, name: text, original_name: text, value, sensitivity };
        encoder.field(&field, &mut self.out);
        self.sent.push((text.to_vec(), value.to_vec(), said(known, sensitivity)));
    }
}

#[derive(Default)]
struct Collect(Vec<Sent>);

impl FieldSink for Collect {
    fn field(&mut self, field: DecodedField<'_>) {
        let known = Known::lookup(field.name);
        let sensitivity = said(known, field.sensitivity);
        self.0.push((field.name.to_vec(), field.value.to_vec(), sensitivity));
    }
}

/// Some fields are sent as secrets whether their caller said so or not.
fn said(known: Option<Known>, sensitivity: Sensitivity) -> Sensitivity {
    match known {
        Some(
            Known::Authorization | Known::ProxyAuthorization | Known::SetCookie | Known::Cookie,
        ) => Sensitivity::Plain,
        Some(_) | None => sensitivity,
    }
}

enum Step<'a> {
    Resize(usize),
    End,
    Field(FieldStep<'a>),
}

struct FieldStep<'a> {
    name: Name<'a>,
    value: &'a [u8],
    sensitivity: Sensitivity,
}

enum Name<'a> {
    Pseudo(Pseudo),
    Known(Known),
    Other(&'a [u8]),
}

const PSEUDO: [Pseudo; 6] = [
    Pseudo::Method,
    Pseudo::Scheme,
    Pseudo::Authority,
    Pseudo::Path,
    Pseudo::Protocol,
    Pseudo::Status,
];

/// Names that the encoder treats differently from each other.
const KNOWN: [Known; 10] = [
    Known::AcceptEncoding,
    Known::Authorization,
    Known::ContentLength,
    Known::ContentType,
    Known::Cookie,
    Known::GrpcStatus,
    Known::SetCookie,
    Known::UserAgent,
    Known::XForwardedFor,
    Known::XRequestId,
];

impl<'a> Step<'a> {
    fn take(left: &mut &'a [u8]) -> Option<Self> {
        let (kind, rest) = left.split_first()?;
        *left = rest;
        Some(match kind {
            0 => Self::End,
            1 => {
                let (size, rest) = left.split_first_chunk::<2>()?;
                *left = rest;
                Self::Resize(usize::from(u16::from_be_bytes(*size)))
            }
            _ => {
                let name = match kind % 16 {
                    place @ 0..6 => Name::Pseudo(*PSEUDO.get(usize::from(place))?),
                    place @ 6..16 => Name::Known(*KNOWN.get(usize::from(place - 6))?),
                    _ => return None,
                };
                let name = if kind & 0x40 != 0 { Name::Other(text(left)) } else { name };
                let secret = kind & 0x80 != 0 && matches!(name, Name::Other(_));
                let sensitivity = if secret { Sensitivity::Sensitive } else { Sensitivity::Plain };
                Self::Field(FieldStep { name, value: text(left), sensitivity })
            }
        })
    }
}

/// A text with an octet of length before it.
fn text<'a>(left: &mut &'a [u8]) -> &'a [u8] {
    let Some((len, rest)) = left.split_first() else { return b"" };
    let len = usize::from(*len).min(rest.len());
    let (text, rest) = rest.split_at_checked(len).unwrap_or((rest, b""));
    *left = rest;
    text
}
