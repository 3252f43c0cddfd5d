//! What sidecars do with requests of their applications: versions, weights, faults, copies,
//! limits, places, and mutual TLS on the way.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    client::{get, say},
    world::{Talk, World},
};

const REVIEWS: &str = "reviews.default.svc.cluster.local";

#[tokio::test]
async fn a_request_passes_two_sidecars_by_mutual_tls_both_forms_of_the_conversation() {
    for talk in [Talk::Delta, Talk::StateOfTheWorld] {
        let workloads = ["productpage.default", "reviews.default"];
        let world = World::start_by("bookinfo", &workloads, talk).await;
        let out = world.out("productpage.default", 9080);
        let answer = get("reviews:9080", "/reviews/1").send(out).await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.app(), world.behind("reviews.default", 9080));
        // Only the sidecar in front of the application writes this, from the certificate.
        let client = answer.seen["headers"]["x-forwarded-client-cert"].as_str().unwrap();
        assert!(
            client.contains("URI=spiffe://cluster.local/ns/default/sa/bookinfo-productpage"),
            "{client}"
        );
        assert_eq!(answer.header("server"), Some("envoy"));
        let details = get("details", "/details/0").send(out).await;
        assert_eq!(details.seen["tls"]["alpn"], "istio-http/1.1");
        assert_eq!(
            details.seen["tls"]["sni"],
            "outbound_.9080_.v1_.details.default.svc.cluster.local"
        );
        assert_eq!(details.seen["tls"]["client"], true);
        let nobody = get("nobody.example", "/").send(out).await;
        assert_eq!(nobody.status, 503, "{nobody:?}");
        world.stop().await;
    }
}

#[tokio::test]
async fn plain_clients_are_served_by_a_permissive_sidecar() {
    let world = World::start("circuit-breaker", &["httpbin.default"]).await;
    let answer = get("httpbin", "/get").send(world.inbound("httpbin.default", 8080)).await;
    assert_eq!((answer.status, answer.app()), (200, &*world.behind("httpbin.default", 8080)));
    assert!(answer.seen["headers"]["x-forwarded-client-cert"].is_null());
    world.stop().await;
}

#[tokio::test]
async fn a_canary_gets_its_share() {
    let world = World::start("canary", &["productpage.default"]).await;
    let out = world.out("productpage.default", 9080);
    let mut counts: BTreeMap<String, u32> = BTreeMap::new();
    for _ in 0..300 {
        let answer = get("reviews", "/").send(out).await;
        assert_eq!(answer.status, 200);
        *counts.entry(answer.app().to_owned()).or_default() += 1;
    }
    let of = |version: &str| {
        let apps = world.apps("productpage.default", &format!("outbound|9080|{version}|{REVIEWS}"));
        apps.iter().map(|app| counts.get(app).copied().unwrap_or(0)).sum::<u32>()
    };
    assert_eq!((of("v1") + of("v2"), of("v3")), (300, 0));
    // 60 are due; five standard deviations are 35.
    assert!((25..=95).contains(&of("v2")), "{counts:?}");
    world.stop().await;
}

#[tokio::test]
async fn a_fault_hits_one_user_only() {
    let world = World::start("faults-by-user", &["productpage.default", "reviews.default"]).await;
    let jason = [("end-user", "jason")];
    let (pages, reviews) =
        (world.out("productpage.default", 9080), world.out("reviews.default", 9080));
    let faulty = get("ratings", "/ratings/0").with(&jason).send(reviews).await;
    assert_eq!((faulty.status, faulty.body.as_str()), (500, "fault filter abort"));
    assert_eq!(get("ratings", "/ratings/0").send(reviews).await.status, 200);
    let v2 = world.apps("productpage.default", &format!("outbound|9080|v2|{REVIEWS}"));
    let his = get("reviews", "/").with(&jason).send(pages).await;
    assert!(v2.contains(his.app()), "{his:?}");
    let others = get("reviews", "/").send(pages).await;
    assert!(!v2.contains(others.app()), "{others:?}");
    world.stop().await;
}

#[tokio::test]
async fn a_copy_of_each_request_goes_to_the_second_version() {
    let world = World::start("mirror", &["web.default"]).await;
    let out = world.out("web.default", 8000);
    let host = "httpbin.default.svc.cluster.local";
    let v1 = world.apps("web.default", &format!("outbound|8000|v1|{host}"));
    for _ in 0..4 {
        let answer = get("httpbin", "/headers").send(out).await;
        assert!(v1.contains(answer.app()), "{answer:?}");
    }
    world.stop().await;
}

#[tokio::test]
async fn an_instance_that_fails_once_is_ejected() {
    let world = World::start("circuit-breaker", &["web.default"]).await;
    let out = world.out("web.default", 8000);
    let failing = [("x-answer", "503 Service Unavailable")];
    assert_eq!(get("httpbin", "/status/503").with(&failing).send(out).await.status, 503);
    let answer = get("httpbin", "/").send(out).await;
    assert_eq!((answer.status, answer.body.as_str()), (503, "no healthy upstream"));
    world.stop().await;
}

#[tokio::test]
async fn more_requests_than_the_pool_takes_overflow() {
    let world = World::start("circuit-breaker", &["web.default"]).await;
    let out = world.out("web.default", 8000);
    let slow = [("x-pause", "400")];
    let request = get("httpbin", "/delay").with(&slow);
    let both = [request.send(out), request.send(out), request.send(out), request.send(out)];
    let answers = futures_util::future::join_all(both).await;
    let overflown = answers.iter().filter(|one| one.status == 503);
    assert!(overflown.clone().count() >= 1, "{answers:?}");
    assert!(answers.iter().any(|one| one.status == 200), "{answers:?}");
    for answer in overflown {
        assert!(answer.body.contains("overflow"), "{answer:?}");
    }
    world.stop().await;
}

#[tokio::test]
async fn instances_of_the_own_region_serve_in_turn() {
    let world = World::start("locality", &["web.default"]).await;
    let out = world.out("web.default", 5000);
    let cluster = "outbound|5000||helloworld.sample.svc.cluster.local";
    let apps = world.apps("web.default", cluster);
    let host = "helloworld.sample";
    let mut turns = Vec::new();
    for _ in 0..4 {
        turns.push(get(host, "/hello").send(out).await.app().to_owned());
    }
    assert_eq!(BTreeSet::from_iter(turns[..2].iter().cloned()), apps);
    assert_eq!(turns[..2], turns[2..]);
    world.stop().await;
}

#[tokio::test]
async fn a_share_goes_to_the_other_region_where_that_is_asked_for() {
    let world = World::start("locality", &["web.default"]).await;
    let out = world.out("web.default", 80);
    let far = world.at("192.0.2.3", 80).to_string();
    let mut there = 0;
    for _ in 0..200 {
        let answer = get("far.example", "/").send(out).await;
        assert_eq!(answer.status, 200);
        there += u32::from(answer.app() == far);
    }
    // 40 are due; five standard deviations are 28.
    assert!((12..=68).contains(&there), "{there}");
    world.stop().await;
}

#[tokio::test]
async fn hosts_that_nobody_registered_are_blocked() {
    let world = World::start("registry-only", &["web.default"]).await;
    let out = world.out("web.default", 80);
    assert_eq!(get("stranger.example", "/").send(out).await.status, 502);
    let known = get("httpbin.org", "/get").send(out).await;
    assert_eq!((known.status, known.seen["tls"].is_null()), (200, true), "{known:?}");
    // TLS is originated there, and nobody whom the system trusts vouches for what answers here.
    let originated = get("api.partner.example", "/").send(out).await;
    assert_eq!(originated.status, 503, "{originated:?}");
    let db = say(world.service("web.default", "192.0.2.10", 3306), "select 1").await;
    assert!(db.ends_with(":select 1"), "{db}");
    world.stop().await;
}

#[tokio::test]
async fn other_scenarios_are_run_whole_too() {
    for (scenario, workload, port, host) in [
        ("telemetry", "web.default", 8000, "httpbin"),
        ("scoping", "web.default", 80, "web"),
        ("services", "web.default", 80, "web"),
        ("envoy-filter", "reviews.default", 9080, "ratings"),
        ("gateway-api", "web.default", 8000, "httpbin"),
    ] {
        let world = World::start(scenario, &[workload]).await;
        let request = get(host, "/").with(&[("x-canary", "yes")]);
        let answer = request.send(world.out(workload, port)).await;
        assert_eq!(answer.status, 200, "{scenario}: {answer:?}");
        world.stop().await;
    }
}
