//! Load, told to a service.

use std::{net::SocketAddr, time::Duration};

use bytes::{Buf as _, Bytes, BytesMut};
use iako_proxy::Proxy;
use iako_proxy_config::{Cluster, ClusterHttp, GrpcService, HttpProtocol};
use iako_rt::Scope;
use iako_xds_codec::{RawResource, to_json};
use serde_json::{Value, json};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::mpsc,
};

use crate::support::{any_port, ask, bootstrap, cluster, echo, settings, tcp_listener};

/// A service that hears of load: what it was told, each message in JSON, and how it says what it wants.
struct Service {
    address: SocketAddr,
    told: mpsc::Receiver<Value>,
    wishes: mpsc::Sender<Vec<u8>>,
}

impl Service {
    async fn start(scope: &Scope) -> Self {
        let listener = TcpListener::bind(any_port()).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (tell, told) = mpsc::channel(64);
        let (wishes, mut wished) = mpsc::channel::<Vec<u8>>(8);
        scope.spawn("load service", async move {
            let (socket, _) = listener.accept().await.unwrap();
            let mut connection = h2::server::handshake(socket).await.unwrap();
            let (request, mut respond) = connection.accept().await.unwrap().unwrap();
            let method = "/envoy.service.load_stats.v3.LoadReportingService/StreamLoadStats";
            assert_eq!(request.uri().path(), method);
            let head = http::Response::builder().header("content-type", "application/grpc");
            let mut answer = respond.send_response(head.body(()).unwrap(), false).unwrap();
            let mut content = request.into_body();
            let mut received = BytesMut::new();
            loop {
                tokio::select! {
                    _ = connection.accept() => return,
                    Some(wish) = wished.recv() => {
                        answer.send_data(framed(&wish), false).unwrap();
                    }
                    data = content.data() => {
                        let Some(Ok(data)) = data else { return };
                        content.flow_control().release_capacity(data.len()).unwrap();
                        received.extend_from_slice(&data);
                        while let Some(message) = message(&mut received) {
                            // Who looks no longer need not hear more.
                            drop(tell.try_send(message));
                        }
                    }
                }
            }
        });
        Self { address, told, wishes }
    }

    async fn hear(&mut self) -> Value {
        tokio::time::timeout(Duration::from_secs(10), self.told.recv()).await.unwrap().unwrap()
    }

    /// What is told of a cluster, from the first report on that holds requests.
    async fn load_of(&mut self, name: &str) -> Value {
        loop {
            let report = self.hear().await;
            let all = report["cluster_stats"].as_array().cloned().unwrap_or_default();
            let of = all.into_iter().find(|cluster| cluster["cluster_name"] == name);
            if let Some(cluster) = of.filter(|it| it.get("upstream_locality_stats").is_some()) {
                return cluster;
            }
        }
    }
}

fn framed(message: &[u8]) -> Bytes {
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    [&[0], &length[..], message].concat().into()
}

fn message(received: &mut BytesMut) -> Option<Value> {
    let length = received.get(1..5)?.try_into().map(u32::from_be_bytes).unwrap();
    let whole = 5 + usize::try_from(length).unwrap();
    if received.len() < whole {
        return None;
    }
    let mut message = received.split_to(whole);
    message.advance(5);
    let type_url = "type.googleapis.com/envoy.service.load_stats.v3.LoadStatsRequest";
    Some(to_json(&RawResource { type_url: type_url.to_owned(), value: message.to_vec() }))
}

/// `LoadStatsResponse` with these fields: all clusters, and every 20 ms.
const ALL: &[u8] = &[0x20, 1, 0x12, 5, 0x10, 0x80, 0xda, 0xc4, 0x09];
/// The cluster `be`, instance by instance, every 20 ms.
const ONE: &[u8] = &[0x0a, 2, b'b', b'e', 0x18, 1, 0x12, 5, 0x10, 0x80, 0xda, 0xc4, 0x09];

fn reporting(address: SocketAddr) -> (Cluster, GrpcService) {
    let http = ClusterHttp { protocol: HttpProtocol::Http2, ..ClusterHttp::default() };
    let lrs = Cluster { http, ..cluster("lrs", &[address]) };
    (lrs, GrpcService { cluster: "lrs".to_owned(), ..GrpcService::default() })
}

#[tokio::test]
async fn a_service_hears_of_the_load_that_came_since_it_heard_last() {
    let scope = Scope::new();
    let mut service = Service::start(&scope).await;
    let server = echo(&scope, "a").await;
    let (lrs, reports) = reporting(service.address);
    let be = cluster("be", &[server]);
    let clusters = vec![lrs, be, cluster("other", &[server])];
    let mut bootstrap =
        bootstrap(vec![tcp_listener("in", "be"), tcp_listener("beside", "other")], clusters);
    bootstrap.load_reporting = Some(reports);
    let proxy = Proxy::start(settings(bootstrap)).await.unwrap();
    proxy.ready().await;
    let first = service.hear().await;
    assert_eq!(first["node"]["id"], "sidecar~127.0.0.1~web.shop~shop.svc.cluster.local");
    let features = &first["node"]["client_features"];
    assert_eq!(*features, json!(["envoy.lrs.supports_send_all_clusters"]));
    assert_eq!(first.get("cluster_stats"), None, "nothing was asked for");

    service.wishes.send(ONE.to_vec()).await.unwrap();
    // The first report shows that counting has begun.
    let begun = service.hear().await;
    assert_eq!(begun["cluster_stats"][0]["cluster_name"], "be");
    assert_eq!(begun["cluster_stats"].as_array().unwrap().len(), 1);
    let mut beside = TcpStream::connect(proxy.listener_address("beside").unwrap()).await.unwrap();
    ask(&mut beside, "x", 3).await;
    let mut client = TcpStream::connect(proxy.listener_address("in").unwrap()).await.unwrap();
    ask(&mut client, "x", 3).await;
    let told = service.load_of("be").await;
    let place = &told["upstream_locality_stats"][0];
    assert_eq!(place["total_issued_requests"], "1", "{told}");
    assert_eq!(place["total_requests_in_progress"], "1", "{told}");
    let address = &place["upstream_endpoint_stats"][0]["address"]["socket_address"];
    assert_eq!(address["port_value"], server.port());
    // What was told is not told again; what goes on is.
    let told = service.load_of("be").await;
    let place = &told["upstream_locality_stats"][0];
    assert_eq!(place.get("total_issued_requests"), None, "{told}");
    assert_eq!(place["total_requests_in_progress"], "1", "{told}");

    service.wishes.send(ALL.to_vec()).await.unwrap();
    let told = service.load_of("other").await;
    let place = &told["upstream_locality_stats"][0];
    assert_eq!(place["total_requests_in_progress"], "1", "{told}");
    assert_eq!(place.get("upstream_endpoint_stats"), None, "{told}");
    proxy.shutdown().await;
}
