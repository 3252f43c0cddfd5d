//! Whether somebody listens, and is well.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time,
};

/// Whether a connection to `address` is taken within a second.
pub async fn accepts_connections(address: SocketAddr) -> bool {
    let attempt = time::timeout(Duration::from_secs(1), TcpStream::connect(address));
    matches!(attempt.await, Ok(Ok(_)))
}

/// Whether `GET /healthz/ready` is answered with 200 within a second.
pub async fn is_healthy(address: SocketAddr) -> bool {
    let ask = async {
        let mut stream = TcpStream::connect(address).await?;
        let request =
            format!("GET /healthz/ready HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut start = [0; 12];
        stream.read_exact(&mut start).await?;
        Ok::<_, std::io::Error>(start.ends_with(b" 200"))
    };
    matches!(time::timeout(Duration::from_secs(1), ask).await, Ok(Ok(true)))
}
