//! HTTP/1.1 as a client that sends one request at a time and looks at status and length alone.

use std::io;
use std::rc::Rc;

use super::Answers;
use crate::wire::broken;

/// Heads of answers larger than this are no heads.
const HEAD_BYTES_MAX: usize = 16 << 10;

pub(super) fn get(path: &str) -> Rc<[u8]> {
    let head = format!(
        "GET {path} HTTP/1.1\r\nhost: bench.test\r\nuser-agent: iako-bench\r\naccept: */*\r\n\r\n"
    );
    Rc::from(head.into_bytes())
}

/// One connection.
#[derive(Debug)]
pub(super) struct Client {
    request: Rc<[u8]>,
    /// When the request that is under way was due.
    due: Option<u64>,
    body: Option<Body>,
}

/// What is still to come of an answer.
#[derive(Debug, Clone, Copy)]
struct Body {
    left: usize,
    is_success: bool,
}

impl Client {
    pub(super) fn new(request: Rc<[u8]>) -> Self {
        Self { request, due: None, body: None }
    }

    pub(super) fn has_room(&self) -> bool {
        self.due.is_none()
    }

    pub(super) fn request(&mut self, due: u64, out: &mut Vec<u8>) {
        self.due = Some(due);
        out.extend_from_slice(&self.request);
    }

    pub(super) fn receive(&mut self, input: &[u8], answers: &mut Answers) -> io::Result<usize> {
        let mut taken = 0;
        loop {
            let rest = input.get(taken..).unwrap_or_default();
            if rest.is_empty() {
                return Ok(taken);
            }
            let body = match self.body.take() {
                Some(body) => body,
                None => {
                    let Some((length, body)) = head(rest)? else { return Ok(taken) };
                    taken += length;
                    body
                }
            };
            let here = body.left.min(input.len() - taken);
            taken += here;
            if here < body.left {
                self.body = Some(Body { left: body.left - here, ..body });
                continue;
            }
            let due = self.due.take().ok_or_else(|| broken("an answer to no request"))?;
            match body.is_success {
                true => answers.due.push(due),
                false => answers.failed += 1,
            }
        }
    }
}

/// A head and its length; `None` until all of it is there.
fn head(input: &[u8]) -> io::Result<Option<(usize, Body)>> {
    let Some(end) = end_of_head(input) else {
        return match input.len() {
            0..HEAD_BYTES_MAX => Ok(None),
            _ => Err(broken("a head without an end")),
        };
    };
    let head = input.get(..end).unwrap_or_default();
    let is_success = head.starts_with(b"HTTP/1.1 200");
    let left = content_length(head).ok_or_else(|| broken("an answer without content-length"))?;
    Ok(Some((end, Body { left, is_success })))
}

/// Where the body begins.
pub(crate) fn end_of_head(input: &[u8]) -> Option<usize> {
    input.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4)
}

fn content_length(head: &[u8]) -> Option<usize> {
    const NAME: &[u8] = b"content-length:";
    let line = head.split(|byte| *byte == b'\n').find_map(|line| {
        let (name, value) = line.split_at_checked(NAME.len())?;
        name.eq_ignore_ascii_case(NAME).then_some(value)
    })?;
    str::from_utf8(line).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_counts_when_its_last_byte_came() {
        let mut client = Client::new(get("/"));
        let (mut out, mut answers) = (Vec::new(), Answers::default());
        client.request(7, &mut out);
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc";
        assert_eq!(client.receive(&answer[..20], &mut answers).unwrap(), 0);
        assert_eq!(client.receive(&answer[..39], &mut answers).unwrap(), 39);
        assert!(answers.due.is_empty() && !client.has_room());
        assert_eq!(client.receive(&answer[39..], &mut answers).unwrap(), 2);
        assert_eq!((answers.due.as_slice(), answers.failed), (&[7][..], 0));

        client.request(8, &mut out);
        let refusal = b"HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n";
        client.receive(refusal, &mut answers).unwrap();
        assert_eq!((answers.due.len(), answers.failed), (1, 1));
    }
}
