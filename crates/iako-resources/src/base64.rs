//! Base64 as Kubernetes and protobuf JSON write it. Source: RFC 4648 §4 and §5.

use crate::{Code, reader::Cursor};

/// Reads a text of base64; what is none is reported.
pub(crate) fn read(cursor: &Cursor<'_>) -> Option<Vec<u8>> {
    let text = cursor.text()?;
    let bytes = decode(&text);
    if bytes.is_none() {
        cursor.report(Code::BadValue, "the text is no base64");
    }
    bytes
}

/// Decodes base64, in the standard or the URL alphabet, padded or not; line breaks are skipped.
pub(crate) fn decode(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut count): (u32, u32) = (0, 0);
    let mut padding = false;
    for c in text.bytes().filter(|c| !c.is_ascii_whitespace()) {
        let value = match c {
            b'=' => {
                padding = true;
                continue;
            }
            _ if padding => return None,
            b'A'..=b'Z' => c - b'A',
            b'a'..=b'z' => c - b'a' + 26,
            b'0'..=b'9' => c - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            _ => return None,
        };
        bits = (bits << 6 | u32::from(value)) & 0xff_ffff;
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count & 0xff).to_le_bytes().first().copied()?);
        }
    }
    // A rest of six bits is half a byte.
    (count < 6).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::decode;

    #[test]
    fn padded_and_bare_texts_are_read() {
        assert_eq!(decode("aGVsbG8=").unwrap(), b"hello");
        assert_eq!(decode("aGVs\nbG8").unwrap(), b"hello");
        assert_eq!(decode("_-8").unwrap(), [0xff, 0xef]);
        assert!(decode("a").is_none());
        assert!(decode("a=b").is_none());
        assert!(decode("ä").is_none());
    }
}
