//! HTTP/1.1 as a server of requests without bodies.

/// The whole answer.
pub(super) fn answer(body_bytes: usize) -> Vec<u8> {
    let mut answer = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ndate: Sat, 21 Nov 2026 12:00:00 GMT\r\n\
         content-length: {body_bytes}\r\n\r\n"
    )
    .into_bytes();
    answer.resize(answer.len() + body_bytes, b'x');
    answer
}

/// Answers every request whose head is there, and says how many bytes those were.
pub(super) fn receive(input: &[u8], out: &mut Vec<u8>, answer: &[u8]) -> usize {
    let mut taken = 0;
    while let Some(end) = crate::load::end_of_head(input.get(taken..).unwrap_or_default()) {
        out.extend_from_slice(answer);
        taken += end;
    }
    taken
}
