//! A client that does no more than a test asks of it.

use std::{
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use serde_json::Value;

/// Longest time for an answer. A test that waits so long has failed.
const LIMIT: Duration = Duration::from_secs(10);

/// What came back.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    /// The body as JSON; null when it is none.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_default()
    }
}

/// A connection that is kept.
#[derive(Debug)]
pub(crate) struct Connection(BufReader<TcpStream>);

impl Connection {
    pub(crate) fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, LIMIT)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(LIMIT))?;
        stream.set_write_timeout(Some(LIMIT))?;
        Ok(Self(BufReader::new(stream)))
    }

    /// Sends a request without a body and reads the whole answer. `start` is `GET /path`.
    pub(crate) fn ask(&mut self, start: &str, headers: &[(&str, &str)]) -> io::Result<Answer> {
        let mut request = format!("{start} HTTP/1.1\r\n");
        for (name, value) in headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        request.push_str("content-length: 0\r\n\r\n");
        self.0.get_mut().write_all(request.as_bytes())?;
        self.read()
    }

    fn read(&mut self) -> io::Result<Answer> {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if self.0.read_line(&mut head)? == 0 {
                let text = format!("closed after {head:?}");
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, text));
            }
        }
        let strange = || io::Error::new(io::ErrorKind::InvalidData, head.clone());
        let status = head.split(' ').nth(1).and_then(|it| it.parse().ok()).ok_or_else(strange)?;
        let field = |name: &str| {
            let mut lines = head.lines().filter_map(|line| line.split_once(':'));
            lines.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
        };
        let mut body = Vec::new();
        if let Some(length) = field("content-length") {
            body.resize(length.parse().map_err(|_not_a_number| strange())?, 0);
            self.0.read_exact(&mut body)?;
        } else if field("transfer-encoding") == Some("chunked") {
            while self.read_chunk(&mut body)? {}
        }
        let body = String::from_utf8_lossy(&body).into_owned();
        Ok(Answer { status, head, body })
    }

    /// False at the last one.
    fn read_chunk(&mut self, body: &mut Vec<u8>) -> io::Result<bool> {
        let mut line = String::new();
        self.0.read_line(&mut line)?;
        let size = usize::from_str_radix(line.trim(), 16).map_err(io::Error::other)?;
        let begin = body.len();
        body.resize(begin + size, 0);
        self.0.read_exact(&mut body[begin..])?;
        self.0.read_line(&mut line)?;
        Ok(size > 0)
    }
}

/// One request on a connection of its own.
pub(crate) fn ask(
    address: SocketAddr,
    start: &str,
    headers: &[(&str, &str)],
) -> io::Result<Answer> {
    Connection::open(address)?.ask(start, headers)
}
