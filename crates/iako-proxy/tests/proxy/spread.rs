//! How connections spread over workers.

use std::net::SocketAddr;

use iako_proxy::{Proxy, ProxyHandle, ProxySettings};
use iako_proxy_config::{AdminAddress, ConnectionBalance, Listener, Terminal};
use tokio::net::TcpStream;

use crate::{
    admin::fetch,
    support::{any_port, ask, bootstrap, eventually, settings, tcp_listener},
};

const WORKERS: u32 = 4;

/// A proxy of four workers that gives clients back what they say.
async fn started(balance: ConnectionBalance) -> ProxyHandle {
    let mut listener: Listener = tcp_listener("in", "none");
    listener.chains[0].terminal = Terminal::Echo;
    listener.socket.balance = balance;
    listener.stat_prefix = "spread".to_owned();
    let mut bootstrap = bootstrap(vec![listener], Vec::new());
    bootstrap.admin = Some(AdminAddress::Socket(any_port()));
    let workers = usize::try_from(WORKERS).unwrap();
    let settings = ProxySettings { concurrency: Some(workers), ..settings(bootstrap) };
    let proxy = Proxy::start(settings).await.unwrap();
    proxy.ready().await;
    proxy
}

/// A statistic of the listener at each worker.
async fn of_workers(proxy: &ProxyHandle, leaf: &str) -> Vec<u32> {
    let page = format!("/stats?filter=listener.spread.worker_.*{leaf}");
    let (status, text) = fetch(proxy.admin_address().unwrap(), "GET", &page).await;
    assert_eq!(status, 200, "{text}");
    let numbers: Vec<u32> =
        text.lines().map(|line| line.rsplit(' ').next().unwrap().parse().unwrap()).collect();
    assert_eq!(numbers.len(), usize::try_from(WORKERS).unwrap(), "{text}");
    numbers
}

/// Opens a connection, which is with its worker when this returns.
async fn open(address: SocketAddr) -> TcpStream {
    let mut client = TcpStream::connect(address).await.unwrap();
    assert_eq!(ask(&mut client, "x", 1).await, "x");
    client
}

#[tokio::test]
async fn two_thousand_short_connections_reach_four_workers_evenly() {
    const ALL: u32 = 2000;
    let proxy = started(ConnectionBalance::Fair).await;
    let address = proxy.listener_address("in").unwrap();
    for _ in 0..ALL {
        drop(open(address).await);
    }
    let shares = of_workers(&proxy, "downstream_cx_total").await;
    assert_eq!(shares.iter().sum::<u32>(), ALL);
    // Where each connection goes to one of four by chance, a share has a deviation of
    // sqrt(2000 · ¼ · ¾) = 19.4. Six of these are passed by one run in 10⁸.
    let even = ALL / WORKERS;
    assert!(shares.iter().all(|share| share.abs_diff(even) <= 117), "{shares:?}");
    proxy.shutdown().await;
}

#[tokio::test]
async fn no_worker_carries_clearly_more_connections_that_stay_than_another() {
    let proxy = started(ConnectionBalance::Fair).await;
    let address = proxy.listener_address("in").unwrap();
    let mut clients = Vec::new();
    for _ in 0..200 {
        clients.push(open(address).await);
    }
    let shares = of_workers(&proxy, "downstream_cx_active").await;
    assert_eq!(shares.iter().sum::<u32>(), 200);
    let (least, most) = (shares.iter().min().unwrap(), shares.iter().max().unwrap());
    // A connection is handed over where its worker has an eighth and one more than the least busy one.
    assert!(*most <= least + least / 8 + 2, "{shares:?}");
    proxy.shutdown().await;
}

#[tokio::test]
async fn an_exact_balance_gives_each_worker_as_many_connections() {
    let proxy = started(ConnectionBalance::Exact).await;
    let address = proxy.listener_address("in").unwrap();
    let mut clients = Vec::new();
    for _ in 0..200 {
        clients.push(open(address).await);
    }
    assert_eq!(of_workers(&proxy, "downstream_cx_active").await, [50; 4]);
    // Who comes after others have gone takes their places.
    clients.truncate(100);
    eventually("half of them are gone", async || {
        of_workers(&proxy, "downstream_cx_active").await.iter().sum::<u32>() == 100
    })
    .await;
    while clients.len() < 200 {
        clients.push(open(address).await);
    }
    assert_eq!(of_workers(&proxy, "downstream_cx_active").await, [50; 4]);
    proxy.shutdown().await;
}
