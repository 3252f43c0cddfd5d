//! Connections that go nowhere: answered at once, or given back what they send.

use bytes::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::Downstream;

/// Bytes that are given back in one go.
const ECHO_BYTES: usize = 4096;

/// Says something and ends the connection.
pub(super) async fn say(mut downstream: Downstream, bytes: Bytes) {
    downstream.note(|log| log.details = Some("direct_response"));
    let drain = downstream.drain().clone();
    let stream = &mut downstream.stream;
    let saying = async {
        if stream.write_all(&bytes).await.is_ok() {
            // A client that is gone hears nothing.
            drop(stream.shutdown().await);
        }
    };
    tokio::select! {
        () = saying => {}
        () = drain.closing() => {}
    }
}

/// Gives back what comes, until the client has ended.
pub(super) async fn echo(mut downstream: Downstream) {
    if let Err(denied) = downstream.pass_gate().await {
        return downstream.denied(denied.ending, denied.received);
    }
    let drain = downstream.drain().clone();
    let stream = &mut downstream.stream;
    let echoing = async {
        let mut buffer = vec![0; ECHO_BYTES];
        while let Ok(read @ 1..) = stream.read(&mut buffer).await {
            let bytes = buffer.get(..read).unwrap_or_default();
            if stream.write_all(bytes).await.is_err() || stream.flush().await.is_err() {
                return;
            }
        }
        drop(stream.shutdown().await);
    };
    tokio::select! {
        () = echoing => {}
        () = drain.closing() => {}
    }
}
