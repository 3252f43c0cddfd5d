//! What operators ask a mesh, running or not.

use std::net::SocketAddr;

use serde_json::Value;

use crate::{
    application, http1,
    rig::{Mesh, example, finished},
    wire,
};

/// One mesh for all that changes nothing.
#[test]
fn a_mesh_that_runs_tells_about_itself_and_keeps_strangers_out() {
    let mesh = Mesh::start(105, "shop");
    status_shows_every_proxy_with_its_certificate(&mesh);
    explanation_and_act_agree(&mesh);
    a_proxy_is_told_what_the_plan_says(&mesh);
    tokens_decide_who_may_buy(&mesh);
    wire::sidecars_speak_tls_1_3_with_certificates_of_both_sides(&mesh);
    wire::plain_text_is_refused(&mesh);
    application::the_application_starts_after_its_sidecar_and_its_exit_code_passes_through(&mesh);
    application::a_request_to_stop_reaches_the_application(&mesh);
    application::a_wrong_token_is_told_and_nothing_starts(&mesh);
    assert_eq!(mesh.stop(), Some(0));
}

fn status_shows_every_proxy_with_its_certificate(mesh: &Mesh) {
    let answer = mesh.ask(["status", "--output", "json"]);
    assert_eq!(answer.code, Some(0), "{answer:?}");
    let status = answer.json();
    assert_eq!(status["config"]["errors"], 0, "{status}");
    let proxies = status["proxies"].as_array().unwrap();
    assert_eq!(proxies.len(), mesh.pods().len());
    for proxy in proxies {
        assert_eq!(proxy["synced"], true, "{proxy}");
        let chain = &proxy["certificates"][0]["cert_chain"][0];
        let name = chain["subject_alt_names"][0]["uri"].as_str().unwrap();
        assert!(name.starts_with("spiffe://cluster.local/ns/"), "{proxy}");
        assert!(chain["expiration_time"].is_string(), "{proxy}");
    }
    let table = mesh.ask(["status"]).out;
    for pod in mesh.pods().keys() {
        assert!(table.contains(pod.as_str()), "{pod} is not in {table}");
    }
    assert!(table.contains("synced") && table.contains("until 20"), "{table}");
}

fn explanation_and_act_agree(mesh: &Mesh) {
    let ask = |from: &str, url: &str| {
        let answer = mesh.ask(["explain", "--from", from, "GET", url, "--output", "json"]);
        assert_eq!(answer.code, Some(0), "{answer:?}");
        answer.json()
    };
    let carts = ask("shop/cart-service", "http://payment-service/charge");
    assert_eq!(carts["decision"], "forward", "{carts}");
    let endpoint = format!("{}:8080", mesh.pod("payment-service"));
    assert!(carts["endpoints"].to_string().contains(&endpoint), "{carts}");
    assert!(rule(&carts, "AuthorizationPolicy").is_some(), "{carts}");

    let users = ask("shop/user-service", "http://payment-service/charge");
    assert_eq!((&users["decision"], &users["status"]), (&"respond".into(), &403.into()), "{users}");

    for (from, status) in [("cart-service-v1", 200), ("user-service", 403)] {
        let sidecar = SocketAddr::new(mesh.pod(from), 15001);
        let host = [("host", "payment-service")];
        let answer = http1::ask(sidecar, "GET http://payment-service/charge", &host).unwrap();
        assert_eq!(answer.status, status, "{from}: {answer:?}");
    }
    let text = mesh.ask(["explain", "--from", "shop/web", "GET", "http://cart-service/items"]).out;
    assert!(text.contains("routing.yaml:"), "the rule that decides is not named: {text}");
}

/// The file and line of the first rule of a kind in an explanation.
fn rule<'a>(explanation: &'a Value, kind: &str) -> Option<(&'a str, u64)> {
    let mut rules = explanation["steps"].as_array()?.iter().map(|step| &step["rule"]);
    let rule = rules.find(|rule| rule["kind"] == kind)?;
    Some((rule["file"].as_str()?, rule["line"].as_u64()?))
}

fn a_proxy_is_told_what_the_plan_says(mesh: &Mesh) {
    let workload = format!("shop/{}", mesh.pods().keys().find(|it| it.starts_with("web")).unwrap());
    let answer = mesh.ask(["config", "plan", "--workload", &workload, "--output", "json"]);
    assert_eq!(answer.code, Some(0), "{answer:?}");
    assert_plan_of_web(&answer.json());
    let unknown = mesh.ask(["config", "plan", "--workload", "shop/nobody"]);
    assert_eq!(unknown.code, Some(1));
    assert!(unknown.err.contains("shop/nobody"), "{unknown:?}");
}

fn tokens_decide_who_may_buy(mesh: &Mesh) {
    let token = std::fs::read_to_string(mesh.directory.join("ada.jwt")).unwrap();
    let token = format!("Bearer {}", token.trim());
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let forged = format!("{signed}.{}", signature.chars().rev().collect::<String>());
    let host = ("host", "shop.example.com");
    let gateway = mesh.gateway();
    let buy = |headers: &[_]| http1::ask(gateway, "POST /checkout", headers).unwrap();
    assert_eq!(buy(&[host]).status, 403);
    assert_eq!(buy(&[host, ("authorization", &token)]).status, 200);
    assert_eq!(buy(&[host, ("authorization", &forged)]).status, 401);
    assert_eq!(http1::ask(gateway, "GET /", &[("host", "else.example")]).unwrap().status, 404);
}

fn assert_plan_of_web(plan: &Value) {
    let names = |kind: &str, key: &str| -> Vec<String> {
        let resources = plan[kind].as_array().unwrap();
        resources.iter().map(|it| it[key].as_str().unwrap().to_owned()).collect()
    };
    let clusters = names("clusters", "name");
    for wanted in ["v1", "v2"] {
        let wanted = format!("outbound|80|{wanted}|cart-service.shop.svc.cluster.local");
        assert!(clusters.contains(&wanted), "{wanted} is not among {clusters:?}");
        assert!(names("endpoints", "cluster_name").contains(&wanted), "no endpoints of {wanted}");
    }
    assert!(!names("listeners", "name").is_empty());
    let routes = plan["routes"].to_string();
    assert!(routes.contains("weighted_clusters"), "{routes}");
}

#[test]
fn a_directory_is_explained_and_planned_without_a_mesh() {
    let shop = example("shop").display().to_string();
    let words = ["config", "plan", "--config", &shop, "--workload", "shop/web", "--output", "json"];
    let plan = finished(words);
    assert_eq!(plan.code, Some(0), "{plan:?}");
    assert_plan_of_web(&plan.json());
    let outline = finished(["config", "plan", "--config", &shop, "--workload", "shop/web"]).out;
    for kind in ["clusters", "endpoints"] {
        let line = format!("{kind:<10} outbound|80|v1|cart-service.shop.svc.cluster.local");
        assert!(outline.lines().any(|it| it == line), "no {line:?} in {outline}");
    }
    let listeners = finished(words.iter().copied().chain(["--kind", "listeners"])).json();
    assert_eq!(listeners.as_object().unwrap().len(), 1, "{listeners}");

    let url = "http://payment-service/charge";
    let words = ["explain", "--config", &shop, "--from", "web", "GET", url, "--output", "json"];
    let explained = finished(words);
    assert_eq!(explained.code, Some(0), "{explained:?}");
    let explained = explained.json();
    assert_eq!(explained["status"], 403, "{explained}");
    for key in ["decision", "steps", "cluster", "endpoints", "timeout_ms", "retries"] {
        assert!(explained.get(key).is_some(), "no {key} in {explained}");
    }

    assert_eq!(finished(["analyze", &shop]).code, Some(0));
    assert_eq!(finished(["no-such-command"]).code, Some(2));
    let silent = finished(["status", "--control", "127.105.200.1:1"]);
    assert_eq!(silent.code, Some(1));
    assert!(silent.err.contains("127.105.200.1:1"), "{silent:?}");
}
