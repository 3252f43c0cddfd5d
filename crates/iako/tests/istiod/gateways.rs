//! Gateways: at the edge towards clients, and at the edge towards hosts outside.

use crate::{
    client::{get, say, tls},
    world::World,
};

const EDGE: &str = "istio-ingressgateway.istio-system";

#[tokio::test]
async fn a_gateway_sends_requests_of_its_hosts_into_the_mesh() {
    let world = World::start("bookinfo", &[EDGE]).await;
    let edge = world.out(EDGE, 8080);
    let answer = get("bookinfo.example.com", "/productpage").send(edge).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.seen["tls"]["client"], true);
    assert_eq!(get("bookinfo.example.com", "/nothing").send(edge).await.status, 404);
    world.stop().await;
}

#[tokio::test]
async fn plain_requests_are_redirected_and_tls_ends_by_server_name() {
    let world = World::start("ingress-tls", &[EDGE]).await;
    let redirected = get("shop.example.com", "/x").send(world.out(EDGE, 8080)).await;
    assert_eq!(redirected.status, 301);
    assert_eq!(redirected.header("location"), Some("https://shop.example.com/x"));
    let secure = world.out(EDGE, 8443);
    let anyone = || world.root.client(&[], &["http/1.1"]);
    let set = [("x-secret", "1")];
    let shop = get("shop.example.com", "/").with(&set);
    let answer = shop.send_tls(secure, anyone(), "shop.example.com").await.unwrap();
    assert_eq!((answer.status, answer.header("x-by")), (200, Some("iako")));
    assert_eq!(answer.seen["headers"]["x-from"], "edge");
    assert!(answer.seen["headers"]["x-secret"].is_null());
    let api = get("shop.example.com", "/api/v1?q=1");
    let api = api.send_tls(secure, anyone(), "shop.example.com").await.unwrap();
    assert_eq!((api.status, api.seen["path"].as_str()), (200, Some("/v1?q=1")));
    let moved = get("shop.example.com", "/v1/x?q=1").with(&[("x-a", "bc")]);
    let moved = moved.send_tls(secure, anyone(), "shop.example.com").await.unwrap();
    assert_eq!(moved.status, 308);
    assert_eq!(moved.header("location"), Some("https://new.example.com/new?q=1"));
    world.stop().await;
}

#[tokio::test]
async fn a_host_with_mutual_tls_wants_the_right_client() {
    let world = World::start("ingress-tls", &[EDGE]).await;
    let secure = world.out(EDGE, 8443);
    let request = get("b.example.com", "/");
    let right = world.root.client(&["client.example"], &["http/1.1"]);
    let answer = request.send_tls(secure, right, "b.example.com").await.unwrap();
    assert_eq!(answer.status, 200);
    let wrong = world.root.client(&["other.example"], &["http/1.1"]);
    assert!(request.send_tls(secure, wrong, "b.example.com").await.is_err());
    let nobody = world.root.client(&[], &["http/1.1"]);
    assert!(request.send_tls(secure, nobody, "b.example.com").await.is_err());
    world.stop().await;
}

#[tokio::test]
async fn tls_that_is_passed_through_and_plain_connections_reach_their_applications() {
    let world = World::start("ingress-tls", &[EDGE]).await;
    let words = say(world.out(EDGE, 31400), "hello").await;
    assert!(words.ends_with(":hello"), "{words}");
    let unknown = world.root.client(&[], &["http/1.1"]);
    assert!(tls(world.out(EDGE, 8443), unknown, "stranger.example.com").await.is_err());
    world.stop().await;
}

#[tokio::test]
async fn the_egress_gateway_reaches_the_host_outside() {
    let gateway = "istio-egressgateway.istio-system";
    let world = World::start("egress-gateway", &[gateway]).await;
    let answer = get("edition.cnn.com", "/politics").send(world.out(gateway, 8080)).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(answer.app().starts_with(&world.net.external("edition.cnn.com")), "{answer:?}");
    assert!(answer.seen["tls"].is_null());
    assert_eq!(get("other.example", "/").send(world.out(gateway, 8080)).await.status, 404);
    world.stop().await;
}

#[tokio::test]
async fn filters_of_an_http_route_are_done() {
    let world = World::start("gateway-api", &[EDGE]).await;
    let edge = world.out(EDGE, 8080);
    let headers = [("x-v", "2"), ("x-secret", "1")];
    let answer = get("shop.example.com", "/api/items").with(&headers).send(edge).await;
    assert_eq!((answer.status, answer.seen["path"].as_str()), (200, Some("/items")));
    assert_eq!(answer.seen["headers"]["x-edge"], "1");
    assert!(answer.seen["headers"]["x-secret"].is_null());
    let old = get("shop.example.com", "/old").send(edge).await;
    assert_eq!(old.status, 301);
    assert!(old.header("location").unwrap().starts_with("https://shop.example.com"), "{old:?}");
    assert_eq!(get("other.test", "/").send(edge).await.status, 404);
    world.stop().await;
}
