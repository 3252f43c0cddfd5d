//! What WebSocket needs besides an upgrade when it passes between HTTP/1.1 and HTTP/2.

use crate::field::FieldValue;

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// What is put behind a key before it is hashed (RFC 6455 §1.3).
const MEANT: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// A value of `sec-websocket-key` from 16 random bytes (RFC 6455 §4.1).
///
/// A client that asks by extended CONNECT sends none (RFC 8441 §5), and no server of HTTP/1.1 opens a
/// WebSocket without.
#[must_use]
pub fn websocket_key(random: u128) -> FieldValue {
    base64(&random.to_be_bytes())
}

/// The value of `sec-websocket-accept` that answers a key (RFC 6455 §4.2.2): a client of HTTP/1.1 opens
/// no WebSocket without, and servers of extended CONNECT send none (RFC 8441 §5).
#[must_use]
pub fn websocket_accept(key: &[u8]) -> FieldValue {
    let mut message = key.trim_ascii().to_vec();
    message.extend_from_slice(MEANT);
    base64(&sha1(&message))
}

fn base64(bytes: &[u8]) -> FieldValue {
    let mut text = Vec::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let octet = |place: usize| u32::from(group.get(place).copied().unwrap_or(0));
        let bits = octet(0) << 16 | octet(1) << 8 | octet(2);
        for place in 0..4 {
            text.push(if place <= group.len() { digit(bits >> (18 - 6 * place)) } else { b'=' });
        }
    }
    FieldValue::sanitized(text)
}

fn digit(bits: u32) -> u8 {
    let place = usize::try_from(bits & 63).unwrap_or_default();
    BASE64.get(place).copied().unwrap_or(b'A')
}

/// SHA-1 (FIPS 180-4 §6.1), which guards nothing here: it shows that a server speaks WebSocket.
fn sha1(message: &[u8]) -> [u8; 20] {
    let mut padded = message.to_vec();
    padded.push(0x80);
    padded.resize(padded.len().next_multiple_of(64), 0);
    if padded.len() - message.len() < 9 {
        padded.resize(padded.len() + 64, 0);
    }
    let bits = (message.len() as u64).wrapping_mul(8).to_be_bytes();
    let (blocks, _) = padded.as_chunks_mut::<64>();
    if let Some([.., a, b, c, d, e, f, g, h]) = blocks.last_mut() {
        [*a, *b, *c, *d, *e, *f, *g, *h] = bits;
    }
    let start = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476, 0xc3d2_e1f0];
    let state = blocks.iter().fold(start, sha1_block);
    let mut digest = [0; 20];
    for (octets, word) in digest.chunks_mut(4).zip(state) {
        octets.copy_from_slice(&word.to_be_bytes());
    }
    digest
}

fn sha1_block(state: [u32; 5], block: &[u8; 64]) -> [u32; 5] {
    let (octets, _) = block.as_chunks::<4>();
    let mut schedule: Vec<u32> = octets.iter().map(|word| u32::from_be_bytes(*word)).collect();
    for _ in 16..80 {
        let before = |places: usize| schedule.iter().nth_back(places - 1).copied().unwrap_or(0);
        let word = before(3) ^ before(8) ^ before(14) ^ before(16);
        schedule.push(word.rotate_left(1));
    }
    let [mut a, mut b, mut c, mut d, mut e] = state;
    for (round, word) in schedule.into_iter().enumerate() {
        let (mixed, constant) = match round {
            0..20 => ((b & c) | (!b & d), 0x5a82_7999),
            20..40 => (b ^ c ^ d, 0x6ed9_eba1),
            40..60 => ((b & c) | (b & d) | (c & d), 0x8f1b_bcdc),
            _ => (b ^ c ^ d, 0xca62_c1d6_u32),
        };
        let sum = [mixed, e, constant, word]
            .iter()
            .fold(a.rotate_left(5), |sum, part| sum.wrapping_add(*part));
        (e, d, c, b, a) = (d, c, b.rotate_left(30), a, sum);
    }
    let [h0, h1, h2, h3, h4] = state;
    [
        h0.wrapping_add(a),
        h1.wrapping_add(b),
        h2.wrapping_add(c),
        h3.wrapping_add(d),
        h4.wrapping_add(e),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc6455_1_2_the_key_is_sixteen_bytes_in_base64() {
        let nonce = u128::from_be_bytes(*b"the sample nonce");
        assert_eq!(websocket_key(nonce).as_bytes(), "dGhlIHNhbXBsZSBub25jZQ==");
        assert_eq!(websocket_key(0).as_bytes(), "AAAAAAAAAAAAAAAAAAAAAA==");
        assert_eq!(websocket_key(u128::MAX).as_bytes(), "/////////////////////w==");
    }

    #[test]
    fn rfc6455_1_3_the_answer_to_a_key_is_its_hash() {
        let accept = websocket_accept(b"dGhlIHNhbXBsZSBub25jZQ==");
        assert_eq!(accept.as_bytes(), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert_eq!(websocket_accept(b" dGhlIHNhbXBsZSBub25jZQ== "), accept);
    }

    // FIPS 180-4, examples of one block, of two, and of a length that leaves no room for the count.
    #[test]
    fn the_hash_is_sha1() {
        let hex = |text: &[u8]| -> String {
            sha1(text).iter().map(|octet| format!("{octet:02x}")).collect()
        };
        assert_eq!(hex(b"abc"), "a9993e364706816aba3e25717850c26c9cd0d89d");
        assert_eq!(hex(b""), "da39a3ee5e6b4b0d3255bfef95601890afd80709");
        let two = b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
        assert_eq!(hex(two), "84983e441c3bd26ebaae4aa1f95129e5e54670f1");
        assert_eq!(hex(&[b'a'; 1_000_000]), "34aa973cd4c4daa4f61eeb2bdbad27316534016f");
    }
}
