//! What WebSocket needs besides an upgrade when it passes from HTTP/2 to HTTP/1.1.

use crate::field::FieldValue;

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// A value of `sec-websocket-key` from 16 random bytes (RFC 6455 §4.1).
///
/// A client that asks by extended CONNECT sends none (RFC 8441 §5), and no server of HTTP/1.1 opens a
/// WebSocket without.
#[must_use]
pub fn websocket_key(random: u128) -> FieldValue {
    // 22 digits of six bits hold 132, the lowest four of them empty; two signs pad the text to four.
    let mut text = Vec::with_capacity(24);
    text.push(digit(random >> 122));
    for place in 1..22 {
        let bits = if place < 21 { random >> (122 - place * 6) } else { random << 4 };
        text.push(digit(bits));
    }
    text.extend_from_slice(b"==");
    FieldValue::sanitized(text)
}

fn digit(bits: u128) -> u8 {
    let place = usize::try_from(bits & 63).unwrap_or_default();
    BASE64.get(place).copied().unwrap_or(b'A')
}

#[cfg(test)]
mod tests {
    use super::websocket_key;

    #[test]
    fn rfc6455_1_2_the_key_is_sixteen_bytes_in_base64() {
        let nonce = u128::from_be_bytes(*b"the sample nonce");
        assert_eq!(websocket_key(nonce).as_bytes(), "dGhlIHNhbXBsZSBub25jZQ==");
        assert_eq!(websocket_key(0).as_bytes(), "AAAAAAAAAAAAAAAAAAAAAA==");
        assert_eq!(websocket_key(u128::MAX).as_bytes(), "/////////////////////w==");
    }
}
