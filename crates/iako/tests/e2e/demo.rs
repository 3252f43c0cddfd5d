//! `iako demo`: the whole mesh under its own customers.

use serde_json::Value;

use crate::rig::{Finished, alone, copy, iako};

fn keys(value: &Value) -> Vec<&str> {
    let mut keys: Vec<&str> = value.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    keys
}

#[test]
fn the_demo_ends_by_itself_and_nothing_failed() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let shop = copy("shop", folder.path());
    let mut command = iako(["demo"]);
    command.arg(&shop).arg("--state").arg(folder.path().join("state"));
    command.args(["--range", "127.100.0.0/16", "--duration", "5s", "--output", "json"]);
    let demo = Finished::of(command.output().unwrap());
    assert_eq!(demo.code, Some(0), "{demo:?}");

    let summary = demo.json();
    assert_eq!(keys(&summary), ["failed", "proxies", "requests", "services"]);
    assert!(summary["requests"].as_u64().unwrap() > 50, "{summary}");
    assert_eq!(summary["failed"], 0);

    let services = summary["services"].as_array().unwrap();
    let mut names: Vec<&str> = services.iter().map(|it| it["name"].as_str().unwrap()).collect();
    names.sort_unstable();
    assert_eq!(names, ["cart-service", "payment-service", "user-service", "web"]);
    for service in services {
        assert!(service["requests"].as_u64().unwrap() > 0, "{service}");
        assert_eq!(service["failed"], 0, "{service}");
        assert_eq!(service["mtls"], true, "{service}");
        assert!(service["p50_ms"].as_f64().unwrap() > 0.0, "{service}");
        assert!(service["p99_ms"].as_f64() >= service["p50_ms"].as_f64(), "{service}");
        let shares = service["versions"].as_object().unwrap().values();
        let whole: f64 = shares.map(|share| share.as_f64().unwrap()).sum();
        assert!((whole - 1.0).abs() < 0.001, "{service}");
    }
    let cart = services.iter().find(|it| it["name"] == "cart-service").unwrap();
    assert_eq!(keys(&cart["versions"]), ["v1", "v2"]);
    let canary = cart["versions"]["v2"].as_f64().unwrap();
    assert!((0.01..0.3).contains(&canary), "the canary had {canary} of the requests, not a tenth");

    let proxies = summary["proxies"].as_array().unwrap();
    // web, two carts, payment, two users, the gateway.
    assert_eq!(proxies.len(), 7, "{proxies:?}");
    for proxy in proxies {
        assert_eq!(keys(proxy), ["name", "rss_bytes"]);
        assert!(proxy["rss_bytes"].as_u64().unwrap() > 1 << 20, "{proxy}");
    }
}
