//! Who may do what: policies for HTTP and for connections, and mutual TLS that is required, allowed
//! or switched off by port.

use crate::{
    client::{get, say, say_on, tls},
    recording::UNREGISTERED,
    world::World,
};

#[tokio::test]
async fn only_what_a_policy_allows_passes_where_nothing_is_allowed_else() {
    let world = World::start("authz-http", &["productpage.default", "details.default"]).await;
    let out = world.out("productpage.default", 9080);
    let allowed = get("details", "/details/0").send(out).await;
    assert_eq!((allowed.status, allowed.app()), (200, &*world.behind("details.default", 9080)));
    let denied = get("details", "/details/0").method("POST").send(out).await;
    assert_eq!((denied.status, denied.body.as_str()), (403, "RBAC: access denied"));
    // Another workload shows another identity.
    let other = world
        .root
        .client(&["spiffe://cluster.local/ns/default/sa/other"], &["istio-http/1.1", "http/1.1"]);
    let inbound = world.inbound("details.default", 9080);
    let sni = "outbound_.9080_._.details.default.svc.cluster.local";
    let answer = get("details", "/details/0").send_tls(inbound, other, sni).await.unwrap();
    assert_eq!(answer.status, 403);
    // Without mutual TLS nobody is let in at all.
    let plain = get("details", "/details/0").try_send(inbound).await;
    assert!(plain.is_err(), "{plain:?}");
    world.stop().await;
}

#[tokio::test]
async fn policies_of_every_kind_on_one_workload_are_obeyed_together() {
    let world = World::start("authz-mixed", &["web.default"]).await;
    let inbound = world.inbound("web.default", 8080);
    let rules = (403, "RBAC: access denied");
    for request in [
        // No policy allows it.
        get("a.example.com", "/api/1/items/2"),
        // One denies it.
        get("a.example.com", "/").with(&[("x-bad", "1")]),
    ] {
        let answer = request.send(inbound).await;
        assert_eq!((answer.status, answer.body.as_str()), rules, "{request:?}");
    }
    // Another service decides about these, and has no instance that could.
    let asked = get("a.example.com", "/pay/1").send(inbound).await;
    assert_eq!((asked.status, asked.body.as_str()), (403, ""));
    let token = get("a.example.com", "/").with(&[("authorization", "Bearer a.b.c")]);
    assert_eq!(token.send(inbound).await.status, 401);
    // It decides about all connections that are no HTTP.
    assert_eq!(say(world.inbound("web.default", UNREGISTERED), "port").await, "");
    world.stop().await;
}

#[tokio::test]
async fn connections_to_ports_that_no_policy_allows_are_closed() {
    let world = World::start("authz-tcp", &["tcp-echo.foo"]).await;
    for port in [9000, 9001] {
        let heard = say(world.inbound("tcp-echo.foo", port), "port").await;
        assert_eq!(heard, format!("{}:port", world.behind("tcp-echo.foo", port)));
    }
    let denied = say(world.inbound("tcp-echo.foo", UNREGISTERED), "port").await;
    assert_eq!(denied, "");
    world.stop().await;
}

#[tokio::test]
async fn mutual_tls_is_required_allowed_or_switched_off_by_port() {
    let world = World::start("mtls-modes", &["httpbin.default", "web.default"]).await;
    let us = "spiffe://cluster.local/ns/default/sa/default";
    let mesh = |alpn: &'static str| world.root.client(&[us], &[alpn, "http/1.1"]);
    let strict = world.inbound("httpbin.default", 8080);
    let plain = get("httpbin", "/").try_send(strict).await;
    assert!(plain.is_err(), "{plain:?}");
    let sni = "outbound_.8000_._.httpbin.default.svc.cluster.local";
    let through = get("httpbin", "/").send_tls(strict, mesh("istio-http/1.1"), sni).await.unwrap();
    assert_eq!(through.app(), world.behind("httpbin.default", 8080));
    // A client of the mesh's root is needed, not any TLS.
    let anonymous = world.root.client(&[], &["istio-http/1.1", "http/1.1"]);
    assert!(get("httpbin", "/").send_tls(strict, anonymous, sni).await.is_err());
    let off = world.inbound("web.default", 8080);
    assert_eq!(get("web", "/").send(off).await.status, 200);
    // What is TLS there is the application's own.
    let raw = tls(off, mesh("http/1.1"), "web.example").await;
    assert!(raw.is_err());
    world.stop().await;
}

#[tokio::test]
async fn a_destination_rule_originates_plain_tls() {
    let world = World::start("mtls-modes", &["web.default"]).await;
    let answer = get("httpbin", "/").try_send(world.out("web.default", 8000)).await;
    // The name that the rule wants is not in the certificate of the application that stands here.
    let answer = answer.unwrap();
    assert_eq!(answer.status, 503, "{answer:?}");
    world.stop().await;
}

#[tokio::test]
async fn words_on_a_tls_connection_of_the_mesh_reach_the_application() {
    let world = World::start("authz-tcp", &["tcp-echo.foo"]).await;
    let us = world
        .root
        .client(&["spiffe://cluster.local/ns/default/sa/default"], &["istio", "http/1.1"]);
    let sni = "outbound_.9000_._.tcp-echo.foo.svc.cluster.local";
    let stream = tls(world.inbound("tcp-echo.foo", 9000), us, sni).await.unwrap();
    let heard = say_on(stream, "hello").await;
    assert_eq!(heard, format!("{}:hello", world.behind("tcp-echo.foo", 9000)));
    world.stop().await;
}
