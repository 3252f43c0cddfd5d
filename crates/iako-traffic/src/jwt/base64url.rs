//! Base64 with the URL alphabet. Source: RFC 4648 §5, RFC 7515 §2.

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// The bytes of a text without padding, or with all of it. None when it is something else.
pub(crate) fn decode(text: &str) -> Option<Vec<u8>> {
    let digits = text.trim_end_matches('=').as_bytes();
    if digits.len() != text.len() && !text.len().is_multiple_of(4) {
        return None;
    }
    let mut out = Vec::with_capacity(digits.len().saturating_mul(3) / 4);
    for chunk in digits.chunks(4) {
        let mut bits = 0_u32;
        for digit in chunk {
            bits = bits << 6 | u32::from(value(*digit)?);
        }
        match chunk.len() {
            4 => out.extend_from_slice(bits.to_be_bytes().get(1..)?),
            3 => out.extend_from_slice((bits >> 2).to_be_bytes().get(2..)?),
            2 => out.extend_from_slice((bits >> 4).to_be_bytes().get(3..)?),
            _ => return None,
        }
    }
    Some(out)
}

/// A text without padding.
pub(crate) fn encode(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len().div_ceil(3).saturating_mul(4));
    for chunk in bytes.chunks(3) {
        let mut bits = [0_u8; 4];
        for (to, from) in bits.iter_mut().skip(1).zip(chunk) {
            *to = *from;
        }
        let bits = u32::from_be_bytes(bits);
        for digit in 0..=chunk.len() {
            let shift = 18_u32.saturating_sub(6 * u32::try_from(digit).unwrap_or_default());
            let index = usize::try_from(bits >> shift & 0x3f).unwrap_or_default();
            out.extend(ALPHABET.get(index).map(|digit| char::from(*digit)));
        }
    }
    out
}

fn value(digit: u8) -> Option<u8> {
    match digit {
        b'A'..=b'Z' => Some(digit - b'A'),
        b'a'..=b'z' => Some(digit - b'a' + 26),
        b'0'..=b'9' => Some(digit - b'0' + 52),
        b'-' => Some(62),
        b'_' => Some(63),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_encoded_is_decoded() {
        proptest::proptest!(|(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..40))| {
            proptest::prop_assert_eq!(decode(&encode(&bytes)), Some(bytes));
        });
        assert_eq!(encode(b"\xff\xfe?"), "__4_");
        assert_eq!(decode("a+b"), None);
        assert_eq!(decode("a"), None);
        assert_eq!(decode("YQ=="), Some(b"a".to_vec()));
        assert_eq!((decode("YQ="), decode("YWI==")), (None, None));
    }
}
