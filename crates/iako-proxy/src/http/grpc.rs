//! What a proxy knows of gRPC: messages counted, statuses named.

use iako_http::Fields;
use iako_http::Known;

/// Counts messages in the content of a gRPC request or response: each is a flag byte, four bytes of
/// length and so many bytes. Source: gRPC over HTTP/2, `Length-Prefixed-Message`.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct MessageCounter {
    enabled: bool,
    header: [u8; 5],
    header_len: usize,
    left: usize,
    messages: u64,
}

impl MessageCounter {
    /// Starts counting; content of other protocols is not looked at.
    pub(crate) fn enable(&mut self) {
        self.enabled = true;
    }

    /// Complete heads of messages so far.
    pub(crate) fn messages(&self) -> u64 {
        self.messages
    }

    /// Looks at a piece of content.
    pub(crate) fn count(&mut self, mut data: &[u8]) {
        if !self.enabled {
            return;
        }
        while !data.is_empty() {
            let skip = self.left.min(data.len());
            self.left -= skip;
            data = data.get(skip..).unwrap_or_default();
            if self.left > 0 {
                return;
            }
            let wanted = self.header.len() - self.header_len;
            let taken = wanted.min(data.len());
            let (head, rest) = data.split_at_checked(taken).unwrap_or_default();
            let room = self.header.iter_mut().skip(self.header_len);
            room.zip(head).for_each(|(place, byte)| *place = *byte);
            self.header_len += taken;
            data = rest;
            if self.header_len == self.header.len() {
                let [_, a, b, c, d] = self.header;
                self.left = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
                self.header_len = 0;
                self.messages += 1;
            }
        }
    }
}

/// `grpc-status` of trailers or of a head that is all there is.
pub(crate) fn status(fields: &Fields) -> Option<u16> {
    fields.text(Known::GrpcStatus)?.trim().parse().ok()
}

/// The gRPC status that stands for an HTTP status. Source: gRPC, "HTTP to gRPC status code mapping",
/// with Envoy's difference that 429 and 503 are both UNAVAILABLE.
pub(crate) const fn status_of_http(status: u16) -> u16 {
    match status {
        400 => 13,
        401 => 16,
        403 => 7,
        404 => 12,
        429 | 502..=504 => 14,
        _ => 2,
    }
}

/// A `grpc-message`: bytes outside of visible ASCII, and the percent sign, are escaped.
/// Source: gRPC over HTTP/2, `Status-Message`.
pub(crate) fn message(text: &[u8]) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text {
        if (0x20..0x7f).contains(byte) && *byte != b'%' {
            out.push(char::from(*byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_counted_however_content_is_cut() {
        let mut content = Vec::new();
        for len in [0_u8, 3, 200, 1] {
            content.extend_from_slice(&[0, 0, 0, 0, len]);
            content.extend(std::iter::repeat_n(7, usize::from(len)));
        }
        for cut in 1..20 {
            let mut counter = MessageCounter::default();
            counter.enable();
            content.chunks(cut).for_each(|piece| counter.count(piece));
            assert_eq!(counter.messages(), 4, "pieces of {cut}");
        }
    }

    #[test]
    fn a_message_is_escaped() {
        assert_eq!(message("100% ä\n".as_bytes()), "100%25 %C3%A4%0A");
    }
}
