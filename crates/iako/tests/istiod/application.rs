//! Applications: they say who they are and what they saw, over HTTP or as plain bytes, and end TLS
//! where a sidecar would.

use std::{net::SocketAddr, sync::Arc};

use iako_rt::Scope;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{TlsAcceptor, rustls::ServerConfig};

/// Starts an application that listens here and is known by `name`.
pub(crate) async fn start(
    scope: &Scope,
    address: SocketAddr,
    name: String,
    tls: Option<Arc<ServerConfig>>,
) {
    let listener =
        TcpListener::bind(address).await.unwrap_or_else(|error| panic!("{address}: {error}"));
    let connections = scope.clone();
    scope.spawn("application", async move {
        while let Ok((socket, _)) = listener.accept().await {
            let (name, tls) = (name.clone(), tls.clone());
            connections.spawn("application connection", async move {
                // A client that goes away is part of some tests.
                let _gone = Box::pin(serve(socket, &name, tls)).await;
            });
        }
    });
}

async fn serve(
    socket: TcpStream,
    name: &str,
    tls: Option<Arc<ServerConfig>>,
) -> std::io::Result<()> {
    let mut first = [0];
    if socket.peek(&mut first).await? == 1 && first[0] == 0x16 {
        let Some(config) = tls else { return Ok(()) };
        let stream = TlsAcceptor::from(config).accept(socket).await?;
        let connection = stream.get_ref().1;
        let text = |bytes: Option<&[u8]>| bytes.map(|it| String::from_utf8_lossy(it).into_owned());
        let seen = json!({
            "sni": connection.server_name(),
            "alpn": text(connection.alpn_protocol()),
            "client": connection.peer_certificates().is_some(),
        });
        return Box::pin(answer(stream, name, &seen)).await;
    }
    Box::pin(answer(socket, name, &Value::Null)).await
}

/// Answers HTTP/1 requests, and everything else by its name and what was said.
async fn answer(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    name: &str,
    tls: &Value,
) -> std::io::Result<()> {
    let mut buffer = Vec::new();
    loop {
        let mut chunk = [0; 4096];
        let length = stream.read(&mut chunk).await?;
        if length == 0 {
            return Ok(());
        }
        buffer.extend_from_slice(&chunk[..length]);
        let text = String::from_utf8_lossy(&buffer).into_owned();
        if !text.contains(" HTTP/1.") {
            let said = format!("{name}:{text}");
            buffer.clear();
            stream.write_all(said.as_bytes()).await?;
            stream.flush().await?;
            continue;
        }
        let Some(end) = text.find("\r\n\r\n") else { continue };
        let seen = request(&text[..end], name, tls);
        buffer.drain(..end + 4);
        let status = seen["headers"]["x-answer"].as_str().unwrap_or("200 OK").to_owned();
        if let Some(pause) = seen["headers"]["x-pause"].as_str() {
            tokio::time::sleep(std::time::Duration::from_millis(pause.parse().unwrap())).await;
        }
        let body = seen.to_string();
        let head =
            format!("HTTP/1.1 {status}\r\nx-app: {name}\r\ncontent-length: {}\r\n\r\n", body.len());
        stream.write_all(format!("{head}{body}").as_bytes()).await?;
        stream.flush().await?;
    }
}

fn request(head: &str, name: &str, tls: &Value) -> Value {
    let mut lines = head.split("\r\n");
    let start = lines.next().unwrap_or_default();
    let headers = lines.filter_map(|line| line.split_once(": "));
    let headers: serde_json::Map<String, Value> =
        headers.map(|(name, value)| (name.to_ascii_lowercase(), Value::from(value))).collect();
    let mut words = start.split(' ');
    json!({
        "app": name,
        "method": words.next(),
        "path": words.next(),
        "headers": headers,
        "tls": tls,
    })
}
