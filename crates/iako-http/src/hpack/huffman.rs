//! The Huffman code of strings (RFC 7541 §5.2, Appendix B).
//!
//! The code is canonical: ordered by length and then by symbol, each code is the one before plus one. So
//! the lengths are all that has to be written down; the tables are made of them at compile time.

use bytes::{BufMut, BytesMut};

use super::HpackError;

/// Number of symbols: the octets and the end of string.
const SYMBOLS: usize = 257;
/// Lengths of the codes in bits, by symbol.
#[rustfmt::skip]
const LENGTHS: [u8; SYMBOLS] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28,
    28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
    6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6,
    5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
    13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5,
    6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28,
    20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23,
    24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23,
    21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25,
    19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
    20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23,
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
    30,
];
const LENGTH_MAX: usize = 30;

/// Symbols in the order of their codes.
const ORDER: [u16; SYMBOLS] = ordered();
/// Codes of the octets, right-aligned.
const CODES: [u32; SYMBOLS] = codes();
/// For each first octet of the input whose code has at most eight bits: the symbol, and in the high octet
/// the length. 0 stands for a longer code. These are all letters, digits and usual punctuation.
static SHORT: [u16; 256] = short_codes();
/// For each length: the end of its codes as the highest bits of 32, their first code likewise, and the
/// place of their first symbol in [`ORDER`].
static LONG: [Span; LENGTH_MAX + 1] = spans();

#[derive(Clone, Copy)]
struct Span {
    end: u64,
    first: u64,
    place: u16,
}

#[expect(clippy::indexing_slicing, reason = "evaluated at compile time")]
#[expect(clippy::cast_possible_truncation, reason = "symbols count to 256")]
const fn ordered() -> [u16; SYMBOLS] {
    let mut order = [0; SYMBOLS];
    let (mut place, mut length) = (0, 1);
    while length <= LENGTH_MAX {
        let mut symbol = 0;
        while symbol < SYMBOLS {
            if LENGTHS[symbol] as usize == length {
                order[place] = symbol as u16;
                place += 1;
            }
            symbol += 1;
        }
        length += 1;
    }
    order
}

#[expect(clippy::indexing_slicing, reason = "evaluated at compile time")]
const fn codes() -> [u32; SYMBOLS] {
    let mut codes = [0; SYMBOLS];
    let (mut place, mut next, mut length) = (0, 0_u32, LENGTHS[ORDER[0] as usize]);
    while place < SYMBOLS {
        let symbol = ORDER[place] as usize;
        next <<= LENGTHS[symbol] - length;
        length = LENGTHS[symbol];
        codes[symbol] = next;
        next += 1;
        place += 1;
    }
    codes
}

#[expect(clippy::indexing_slicing, reason = "evaluated at compile time")]
const fn short_codes() -> [u16; 256] {
    let mut table = [0; 256];
    let mut place = 0;
    while LENGTHS[ORDER[place] as usize] <= 8 {
        let symbol = ORDER[place];
        let length = LENGTHS[symbol as usize] as u16;
        let first = (CODES[symbol as usize] << (8 - length)) as usize;
        let mut behind = 0;
        while behind < 1 << (8 - length) {
            table[first + behind] = (length << 8) | symbol;
            behind += 1;
        }
        place += 1;
    }
    table
}

#[expect(clippy::indexing_slicing, reason = "evaluated at compile time")]
#[expect(clippy::cast_possible_truncation, reason = "symbols count to 256")]
const fn spans() -> [Span; LENGTH_MAX + 1] {
    let mut spans = [Span { end: 0, first: 0, place: 0 }; LENGTH_MAX + 1];
    let mut place = 0;
    while place < SYMBOLS {
        let symbol = ORDER[place] as usize;
        let length = LENGTHS[symbol] as usize;
        let aligned = (CODES[symbol] as u64) << (32 - length);
        if spans[length].end == 0 {
            spans[length].first = aligned;
            spans[length].place = place as u16;
        }
        spans[length].end = aligned + (1 << (32 - length));
        place += 1;
    }
    spans
}

/// Appends what the code says.
pub(super) fn decode(code: &[u8], out: &mut Vec<u8>) -> Result<(), HpackError> {
    // The shortest code has five bits.
    out.reserve(code.len() * 8 / 5 + 1);
    let mut input = code;
    // Bits that were read and not used stand at the top.
    let (mut bits, mut held) = (0_u64, 0_u32);
    loop {
        refill(&mut input, &mut bits, &mut held);
        // Seven codes of at most eight bits each need no look at how many bits are held.
        let mut octets = [0; 7];
        let mut count = 0;
        if held >= 56 {
            for octet in &mut octets {
                let entry = short(bits);
                if entry == 0 {
                    break;
                }
                *octet = u8::try_from(entry & 0xff).unwrap_or_default();
                bits <<= entry >> 8;
                held -= u32::from(entry >> 8);
                count += 1;
            }
            out.extend_from_slice(octets.get(..count).unwrap_or_default());
            if count == octets.len() {
                continue;
            }
        }
        // One code of any length, or the end.
        let entry = short(bits);
        let (symbol, length) =
            if entry == 0 { long(bits >> 32) } else { (entry & 0xff, u32::from(entry >> 8)) };
        if length > held {
            if input.is_empty() {
                return padding(bits, held);
            }
            continue;
        }
        let Ok(octet) = u8::try_from(symbol) else { return Err(HpackError::Huffman) };
        out.push(octet);
        bits <<= length;
        held -= length;
    }
}

/// The entry of the next code when it has at most eight bits.
fn short(bits: u64) -> u16 {
    SHORT.get((bits >> 56) as usize).copied().unwrap_or_default()
}

/// Takes as many octets as fit.
fn refill(input: &mut &[u8], bits: &mut u64, held: &mut u32) {
    if let Some((word, _)) = input.split_first_chunk::<8>() {
        let octets = (64 - *held) / 8;
        // What does not fit as a whole octet is cleared, or it would be there twice.
        let word = u64::from_be_bytes(*word) & (u64::MAX << (64 - octets * 8));
        *bits |= word >> *held;
        *held += octets * 8;
        *input = input.get(octets as usize..).unwrap_or_default();
        return;
    }
    while *held <= 56
        && let Some((octet, rest)) = input.split_first()
    {
        *bits |= u64::from(*octet) << (56 - *held);
        *held += 8;
        *input = rest;
    }
}

/// The symbol of a code of more than eight bits, and its length.
#[cold]
fn long(top: u64) -> (u16, u32) {
    for length in 10..=30_u32 {
        let Some(span) = LONG.get(length as usize) else { break };
        if top < span.end {
            let behind = usize::try_from((top - span.first) >> (32 - length)).unwrap_or_default();
            let symbol = ORDER.get(usize::from(span.place) + behind);
            return (symbol.copied().unwrap_or(256), length);
        }
    }
    (256, 30)
}

/// What is left must be fewer than eight bits, all set.
fn padding(bits: u64, held: u32) -> Result<(), HpackError> {
    let is_padding = held < 8 && (held == 0 || bits == !(u64::MAX >> held));
    if is_padding { Ok(()) } else { Err(HpackError::Huffman) }
}

/// Length of the code for a text in octets.
pub(super) fn encoded_len(text: &[u8]) -> usize {
    let bits: usize = text
        .iter()
        .map(|octet| usize::from(LENGTHS.get(usize::from(*octet)).copied().unwrap_or_default()))
        .sum();
    bits.div_ceil(8)
}

/// Appends the code for a text.
pub(super) fn encode(text: &[u8], out: &mut BytesMut) {
    let (mut bits, mut held) = (0_u64, 0_u32);
    for octet in text {
        let place = usize::from(*octet);
        let code = CODES.get(place).copied().unwrap_or_default();
        let length = u32::from(LENGTHS.get(place).copied().unwrap_or_default());
        bits = (bits << length) | u64::from(code);
        held += length;
        if held >= 32 {
            held -= 32;
            out.put_u32(u32::try_from((bits >> held) & 0xffff_ffff).unwrap_or_default());
        }
    }
    let pad = (8 - held % 8) % 8;
    bits = (bits << pad) | ((1 << pad) - 1);
    held += pad;
    while held >= 8 {
        held -= 8;
        out.put_u8(u8::try_from((bits >> held) & 0xff).unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip(text: &[u8]) -> Vec<u8> {
        let mut code = BytesMut::new();
        encode(text, &mut code);
        assert_eq!(code.len(), encoded_len(text));
        let mut decoded = Vec::new();
        decode(&code, &mut decoded).unwrap();
        decoded
    }

    #[test]
    fn rfc7541_appendix_b_codes_are_what_the_lengths_make_them() {
        for (symbol, code) in [
            (b'0', 0x0),
            (b' ', 0x14),
            (b'X', 0xfc),
            (b'\\', 0x7fff0),
            (0, 0x1ff8),
            (255, 0x3ff_ffee),
        ] {
            assert_eq!(CODES[usize::from(symbol)], code, "{symbol}");
        }
        assert_eq!(CODES[256], 0x3fff_ffff);
    }

    /// The same by the definition: one bit after the other.
    fn decode_by_bits(code: &[u8]) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        let (mut value, mut length) = (0_u32, 0_u8);
        for bit in code.iter().flat_map(|octet| (0..8).rev().map(move |place| octet >> place & 1)) {
            (value, length) = (value << 1 | u32::from(bit), length + 1);
            let symbol =
                (0..SYMBOLS).find(|symbol| LENGTHS[*symbol] == length && CODES[*symbol] == value);
            if let Some(symbol) = symbol {
                out.push(u8::try_from(symbol).ok()?);
                (value, length) = (0, 0);
            }
        }
        (length < 8 && value == (1 << length) - 1).then_some(out)
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(150))]

        #[test]
        fn any_octets_are_decoded_as_bit_by_bit(
            mut code in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..40),
            padding in 0_u32..12,
        ) {
            // Mostly the last octets are made to end as a code may.
            if let Some(last) = code.last_mut() {
                *last |= u8::try_from((1_u32 << padding.min(8)) - 1).unwrap();
            }
            let mut out = Vec::new();
            let decoded = decode(&code, &mut out).ok().map(|()| out);
            assert_eq!(decoded, decode_by_bits(&code));
        }

        #[test]
        fn any_text_is_decoded_as_bit_by_bit(text in "[ -~]{0,40}|[\\x00-\\xff]{0,20}") {
            let mut code = BytesMut::new();
            encode(text.as_bytes(), &mut code);
            assert_eq!(decode_by_bits(&code).as_deref(), Some(text.as_bytes()));
            assert_eq!(round_trip(text.as_bytes()), text.as_bytes());
        }
    }

    #[test]
    fn every_pair_of_octets_survives() {
        for first in 0..=255_u8 {
            for second in 0..=255_u8 {
                let text = [first, second, first, second, b'a'];
                assert_eq!(round_trip(&text), text);
            }
        }
        assert_eq!(round_trip(b""), b"");
    }

    #[test]
    fn rfc7541_5_2_padding_is_the_beginning_of_the_end_of_string() {
        let mut out = Vec::new();
        // "a" is 00011; three bits of padding.
        assert_eq!(decode(&[0b0001_1111], &mut out), Ok(()));
        assert_eq!(decode(&[0b0001_1110], &mut out), Err(HpackError::Huffman));
        assert_eq!(decode(&[0b0001_1000], &mut out), Err(HpackError::Huffman));
        // A whole octet of padding.
        assert_eq!(decode(&[0b0001_1111, 0xff], &mut out), Err(HpackError::Huffman));
        assert_eq!(decode(&[0xff], &mut out), Err(HpackError::Huffman));
        // The end of string itself.
        assert_eq!(decode(&[0xff; 4], &mut out), Err(HpackError::Huffman));
        assert_eq!(decode(&[0xff; 9], &mut out), Err(HpackError::Huffman));
        // A code that is cut off.
        assert_eq!(decode(&[0xff, 0xfe], &mut out), Err(HpackError::Huffman));
    }
}
