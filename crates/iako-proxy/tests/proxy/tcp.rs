//! Bytes, carried.

use std::{net::SocketAddr, time::Duration};

use iako_proxy::{Proxy, StartError};
use iako_proxy_config::{
    FilterChainMatch, ListenerFilter, NetworkFilter, Permission, PipeAddress, Policy, Principal,
    Rbac, RbacAction, RbacRules, Terminal,
};
use iako_rt::Scope;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use crate::support::{
    any_port, ask, bootstrap, cluster, echo, is_served, settings, start, tcp_chain, tcp_listener,
};

#[tokio::test]
async fn bytes_go_both_ways_and_a_half_close_is_passed_on() {
    let scope = Scope::new();
    let server = echo(&scope, "a").await;
    let proxy = start(vec![tcp_listener("in", "be")], vec![cluster("be", &[server])]).await;
    let mut client = TcpStream::connect(proxy.listener_address("in").unwrap()).await.unwrap();
    assert_eq!(ask(&mut client, "hello", 7).await, "a:hello");
    client.shutdown().await.unwrap();
    let mut rest = String::new();
    client.read_to_string(&mut rest).await.unwrap();
    assert_eq!(rest, "");
    proxy.shutdown().await;
}

#[tokio::test]
async fn connections_work_whichever_worker_comes_to_carry_them() {
    let scope = Scope::new();
    let server = echo(&scope, "a").await;
    let proxy = start(vec![tcp_listener("in", "be")], vec![cluster("be", &[server])]).await;
    let address = proxy.listener_address("in").unwrap();
    let mut clients = Vec::new();
    for _ in 0..40 {
        let mut client = TcpStream::connect(address).await.unwrap();
        assert_eq!(ask(&mut client, "x", 3).await, "a:x");
        clients.push(client);
    }
    // Enough that some were handed over, however the system spread them; all live on.
    for client in &mut clients {
        assert_eq!(ask(client, "y", 3).await, "a:y");
    }
    proxy.shutdown().await;
}

#[tokio::test]
async fn megabytes_pass_a_slow_reader_whole() {
    let server = TcpListener::bind(any_port()).await.unwrap();
    let address = server.local_addr().unwrap();
    let proxy = start(vec![tcp_listener("in", "be")], vec![cluster("be", &[address])]).await;
    let mut client = TcpStream::connect(proxy.listener_address("in").unwrap()).await.unwrap();
    let (mut upstream, _) = server.accept().await.unwrap();
    let sent: Vec<u8> = (0..8_u32 << 20).map(|i| (i % 251).to_le_bytes()[0]).collect();
    let copy = sent.clone();
    let sending = async {
        upstream.write_all(&copy).await.unwrap();
        upstream.shutdown().await.unwrap();
    };
    let reading = async {
        // The upstream fills every buffer on the way before the first byte is taken.
        tokio::task::yield_now().await;
        let mut received = Vec::new();
        client.read_to_end(&mut received).await.unwrap();
        received
    };
    let ((), received) = tokio::join!(sending, reading);
    assert!(received == sent, "{} of {} bytes", received.len(), sent.len());
    proxy.shutdown().await;
}

#[tokio::test]
async fn another_instance_is_tried_when_one_refuses() {
    let scope = Scope::new();
    let closed = TcpListener::bind(any_port()).await.unwrap().local_addr().unwrap();
    let clusters = vec![cluster("be", &[closed, echo(&scope, "a").await])];
    let proxy = start(vec![tcp_listener("in", "be")], clusters).await;
    for _ in 0..4 {
        let mut client = TcpStream::connect(proxy.listener_address("in").unwrap()).await.unwrap();
        assert_eq!(ask(&mut client, "x", 3).await, "a:x");
    }
    proxy.shutdown().await;
}

#[tokio::test]
async fn silence_ends_at_the_idle_timeout() {
    let scope = Scope::new();
    let server = echo(&scope, "a").await;
    let mut listener = tcp_listener("in", "be");
    if let Terminal::Tcp(tcp) = &mut listener.chains[0].terminal {
        std::sync::Arc::make_mut(tcp).idle_timeout = Some(Duration::from_millis(50));
    }
    let proxy = start(vec![listener], vec![cluster("be", &[server])]).await;
    let mut client = TcpStream::connect(proxy.listener_address("in").unwrap()).await.unwrap();
    assert_eq!(ask(&mut client, "x", 3).await, "a:x");
    assert_eq!(client.read(&mut [0; 1]).await.unwrap(), 0);
    proxy.shutdown().await;
}

#[tokio::test]
async fn rbac_closes_connections_that_may_not_pass() {
    let scope = Scope::new();
    let server = echo(&scope, "a").await;
    let mut listener = tcp_listener("in", "be");
    let everybody = Policy {
        permissions: vec![Permission::Any],
        principals: vec![Principal::DirectRemoteIp("127.0.0.0/8".parse().unwrap())],
        ..Policy::default()
    };
    let policies = [("deny".to_owned(), everybody)].into();
    let rules = RbacRules { action: RbacAction::Deny, policies };
    let rbac = Rbac { rules: Some(rules), ..Rbac::default() };
    listener.chains[0].filters.push(NetworkFilter::Rbac(Box::new(rbac)));
    let proxy = start(vec![listener], vec![cluster("be", &[server])]).await;
    assert!(!is_served(proxy.listener_address("in").unwrap()).await);
    proxy.shutdown().await;
}

#[tokio::test]
async fn proxy_protocol_tells_who_the_client_is() {
    let scope = Scope::new();
    let clusters = vec![
        cluster("near", &[echo(&scope, "n").await]),
        cluster("far", &[echo(&scope, "f").await]),
    ];
    let mut listener = tcp_listener("in", "far");
    let near = FilterChainMatch {
        source_ranges: vec!["192.0.2.0/24".parse().unwrap()],
        ..FilterChainMatch::default()
    };
    listener.chains.push(tcp_chain(near, "near"));
    listener.inspectors.push(ListenerFilter::proxy_protocol());
    let proxy = start(vec![listener], clusters).await;
    let address = proxy.listener_address("in").unwrap();
    for (source, expected) in [("192.0.2.7", "n:x"), ("198.51.100.7", "f:x")] {
        let mut client = TcpStream::connect(address).await.unwrap();
        let said = format!("PROXY TCP4 {source} 203.0.113.1 1 2\r\nx");
        assert_eq!(ask(&mut client, &said, 3).await, expected);
    }
    assert!(!is_served_plainly(address).await);
    proxy.shutdown().await;
}

async fn is_served_plainly(address: SocketAddr) -> bool {
    let mut client = TcpStream::connect(address).await.unwrap();
    client.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    matches!(client.read(&mut [0; 16]).await, Ok(1..))
}

#[tokio::test]
async fn draining_refuses_new_connections_and_lets_old_ones_end() {
    let scope = Scope::new();
    let server = echo(&scope, "a").await;
    let clusters = vec![cluster("be", &[server])];
    let mut settings = settings(bootstrap(vec![tcp_listener("in", "be")], clusters));
    settings.drain_time = Duration::from_secs(60);
    let proxy = Proxy::start(settings).await.unwrap();
    let address = proxy.listener_address("in").unwrap();
    let mut client = TcpStream::connect(address).await.unwrap();
    assert_eq!(ask(&mut client, "1", 3).await, "a:1");
    proxy.drain().await;
    crate::support::eventually("the socket closes", || async {
        TcpStream::connect(address).await.is_err()
    })
    .await;
    assert_eq!(ask(&mut client, "2", 3).await, "a:2");
    let (ended, ()) = tokio::join!(
        async move {
            client.shutdown().await.unwrap();
            client.read(&mut [0; 1]).await.unwrap()
        },
        proxy.shutdown(),
    );
    assert_eq!(ended, 0);
}

#[tokio::test]
async fn an_address_that_is_taken_fails_the_start_with_its_name() {
    let taken = TcpListener::bind(any_port()).await.unwrap();
    let mut listener = tcp_listener("in", "be");
    listener.addresses = vec![taken.local_addr().unwrap()];
    let error = Proxy::start(settings(bootstrap(vec![listener], Vec::new()))).await.unwrap_err();
    let StartError::Config(error) = error else { panic!("{error}") };
    assert_eq!(error.to_string(), "the listener \"in\" cannot serve");
}

#[tokio::test]
async fn a_listener_in_the_file_system_carries_to_a_server() {
    let scope = Scope::new();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("l.sock");
    let mut listener = tcp_listener("in", "be");
    listener.addresses.clear();
    listener.pipes = vec![PipeAddress { path: path.clone(), mode: 0o600 }];
    let clusters = vec![cluster("be", &[echo(&scope, "a").await])];
    let proxy = start(vec![listener], clusters).await;
    let mut client = tokio::net::UnixStream::connect(&path).await.unwrap();
    assert_eq!(ask(&mut client, "x", 3).await, "a:x");
    let mode = std::os::unix::fs::PermissionsExt::mode(&path.metadata().unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    proxy.shutdown().await;
}
