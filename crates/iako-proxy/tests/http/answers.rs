//! Responses of HTTP/1 as a client reads them.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// A response as a client sees it.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) body: String,
    pub(crate) trailers: String,
}

impl Answer {
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }
}

/// Sends a request on a connection of its own answers.
pub(crate) async fn request(client: &mut TcpStream, text: &str) -> Answer {
    client.write_all(text.as_bytes()).await.unwrap();
    let method = text.split(' ').next().unwrap();
    Exchange::default().read(client, method).await
}

/// Reads the responses of one connection.
#[derive(Debug, Default)]
pub(crate) struct Exchange {
    buffer: Vec<u8>,
}

impl Exchange {
    /// Bytes that were read beyond the last response.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.buffer)
    }

    async fn until(&mut self, client: &mut TcpStream, wanted: &[u8]) -> Vec<u8> {
        loop {
            let found = self.buffer.windows(wanted.len()).position(|part| part == wanted);
            if let Some(found) = found {
                let rest = self.buffer.split_off(found + wanted.len());
                return std::mem::replace(&mut self.buffer, rest);
            }
            self.fill(client).await;
        }
    }

    async fn exactly(&mut self, client: &mut TcpStream, count: usize) -> Vec<u8> {
        while self.buffer.len() < count {
            self.fill(client).await;
        }
        let rest = self.buffer.split_off(count);
        std::mem::replace(&mut self.buffer, rest)
    }

    async fn fill(&mut self, client: &mut TcpStream) {
        let mut piece = vec![0; 64 * 1024];
        let read = tokio::time::timeout(Duration::from_secs(10), client.read(&mut piece)).await;
        let count = read.unwrap().unwrap();
        assert!(
            count > 0,
            "the proxy closed early after {:?}",
            String::from_utf8_lossy(&self.buffer)
        );
        self.buffer.extend_from_slice(&piece[..count]);
    }

    /// A head without what may follow it.
    pub(crate) async fn read_head(&mut self, client: &mut TcpStream) -> Answer {
        let head = String::from_utf8(self.until(client, b"\r\n\r\n").await).unwrap();
        let mut lines = head.trim_end().split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let fields: Vec<(String, String)> = lines
            .map(|line| line.split_once(": ").unwrap())
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        Answer { status, fields, ..Answer::default() }
    }

    pub(crate) async fn read(&mut self, client: &mut TcpStream, method: &str) -> Answer {
        let mut answer = self.read_head(client).await;
        if answer.field("transfer-encoding") == Some("chunked") {
            loop {
                let line = String::from_utf8(self.until(client, b"\r\n").await).unwrap();
                let size = usize::from_str_radix(line.trim(), 16).unwrap();
                if size == 0 {
                    break;
                }
                let piece = self.exactly(client, size + 2).await;
                answer.body += &String::from_utf8_lossy(&piece[..size]);
            }
            loop {
                let line = String::from_utf8(self.until(client, b"\r\n").await).unwrap();
                if line == "\r\n" {
                    return answer;
                }
                answer.trailers += &line;
            }
        }
        let length = answer.field("content-length").map(|length| length.parse().unwrap());
        if method != "HEAD"
            && let Some(length) = length
        {
            answer.body = String::from_utf8(self.exactly(client, length).await).unwrap();
        }
        answer
    }
}
