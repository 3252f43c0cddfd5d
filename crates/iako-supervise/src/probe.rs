//! Whether somebody listens.

use std::{net::SocketAddr, time::Duration};

use tokio::{net::TcpStream, time};

/// Time between two looks.
const INTERVAL: Duration = Duration::from_millis(20);

/// Whether a connection to `address` is taken within a second.
pub async fn accepts_connections(address: SocketAddr) -> bool {
    let attempt = time::timeout(Duration::from_secs(1), TcpStream::connect(address));
    matches!(attempt.await, Ok(Ok(_)))
}

/// Looks until every address accepts connections or `limit` is over; whether all do.
pub async fn wait_until_accepts(addresses: &[SocketAddr], limit: Duration) -> bool {
    let all = async {
        for &address in addresses {
            while !accepts_connections(address).await {
                time::sleep(INTERVAL).await;
            }
        }
    };
    time::timeout(limit, all).await.is_ok()
}
