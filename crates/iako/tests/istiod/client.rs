//! A client that says what it is told, over plain bytes or TLS.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_rustls::{
    TlsConnector,
    rustls::{ClientConfig, pki_types::ServerName},
};

/// Longest wait for an answer.
const WAIT: Duration = Duration::from_secs(10);

/// An answer; `seen` is what the application says that it saw.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
    pub(crate) seen: Value,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }

    /// Who answered; empty when the proxy did.
    pub(crate) fn app(&self) -> &str {
        self.header("x-app").unwrap_or_default()
    }
}

/// A request.
#[derive(Debug, Clone)]
pub(crate) struct Get<'a> {
    pub(crate) method: &'a str,
    pub(crate) host: &'a str,
    pub(crate) path: &'a str,
    pub(crate) headers: &'a [(&'a str, &'a str)],
}

pub(crate) fn get<'a>(host: &'a str, path: &'a str) -> Get<'a> {
    Get { method: "GET", host, path, headers: &[] }
}

impl<'a> Get<'a> {
    pub(crate) const fn with(self, headers: &'a [(&'a str, &'a str)]) -> Self {
        Self { headers, ..self }
    }

    pub(crate) const fn method(self, method: &'a str) -> Self {
        Self { method, ..self }
    }

    /// Sends it on a connection of its own; why there is no answer, else.
    pub(crate) async fn try_send(&self, to: SocketAddr) -> Result<Answer, String> {
        let stream = TcpStream::connect(to).await.map_err(|error| error.to_string())?;
        exchange(stream, self).await
    }

    pub(crate) async fn send(&self, to: SocketAddr) -> Answer {
        self.try_send(to).await.unwrap_or_else(|error| panic!("{self:?} to {to}: {error}"))
    }

    /// Sends it through TLS.
    pub(crate) async fn send_tls(
        &self,
        to: SocketAddr,
        config: ClientConfig,
        sni: &str,
    ) -> Result<Answer, String> {
        exchange(tls(to, config, sni).await?, self).await
    }
}

pub(crate) async fn tls(
    to: SocketAddr,
    config: ClientConfig,
    sni: &str,
) -> Result<tokio_rustls::client::TlsStream<TcpStream>, String> {
    let stream = TcpStream::connect(to).await.map_err(|error| error.to_string())?;
    let name = ServerName::try_from(sni.to_owned()).unwrap();
    let connected = TlsConnector::from(Arc::new(config)).connect(name, stream);
    let connected = tokio::time::timeout(WAIT, connected).await.map_err(|_late| "silence")?;
    connected.map_err(|error| error.to_string())
}

async fn exchange(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    request: &Get<'_>,
) -> Result<Answer, String> {
    let mut text = format!(
        "{} {} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n",
        request.method, request.path, request.host
    );
    for (name, value) in request.headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str("\r\n");
    stream.write_all(text.as_bytes()).await.map_err(|error| error.to_string())?;
    let mut heard = Vec::new();
    let end = tokio::time::timeout(WAIT, stream.read_to_end(&mut heard)).await;
    let text = String::from_utf8_lossy(&heard).into_owned();
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return Err(format!("{end:?} after {text:?}"));
    };
    let mut lines = head.split("\r\n");
    let start = lines.next().unwrap_or_default();
    let status = start.split(' ').nth(1).and_then(|it| it.parse().ok());
    let headers = lines.filter_map(|line| line.split_once(": "));
    Ok(Answer {
        status: status.ok_or_else(|| format!("no status in {start:?}"))?,
        headers: headers.map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect(),
        seen: serde_json::from_str(body).unwrap_or_default(),
        body: body.to_owned(),
    })
}

/// Says something as plain bytes; what is answered, empty when the connection is ended.
pub(crate) async fn say(to: SocketAddr, words: &str) -> String {
    let Ok(stream) = TcpStream::connect(to).await else { return "refused".to_owned() };
    say_on(stream, words).await
}

pub(crate) async fn say_on(mut stream: impl AsyncRead + AsyncWrite + Unpin, words: &str) -> String {
    // Whoever is turned away hears of it by reading.
    let _gone = stream.write_all(words.as_bytes()).await;
    let mut heard = [0; 256];
    let length = tokio::time::timeout(WAIT, stream.read(&mut heard)).await;
    let length = length.unwrap_or_else(|_late| panic!("silence after {words:?}")).unwrap_or(0);
    String::from_utf8_lossy(&heard[..length]).into_owned()
}
