//! Findings and explanations. `UPDATE_EXPECT=1` writes them anew.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use std::{
    net::Ipv4Addr,
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};

use expect_test::{ExpectFile, expect_file};
use iako_analyze::{
    ANALYZERS, Client, Decision, ExplainError, ExplainRequest, Explanation, analyze, explain,
    render_explanation,
};
use iako_registry::{Change, MeshSnapshot, MeshState};
use iako_resources::{ReadOptions, load_directory};

const SHOP: &str = "../../examples/shop";
const MYAPP: &str = "../../examples/myapp";

fn snapshot(directory: &str) -> Arc<MeshSnapshot> {
    let files = load_directory(Path::new(directory), &ReadOptions::default());
    let mut state = MeshState::inventing_pods(Ipv4Addr::new(127, 15, 0, 0));
    state.apply(Change::Replace { source: directory.to_owned(), files })
}

fn findings(directory: &str) -> String {
    let snapshot = snapshot(directory);
    let lines: Vec<String> = analyze(&snapshot)
        .iter()
        .map(|found| {
            let file = found.origin.file.rsplit('/').next().unwrap_or_default();
            let help = found.help.as_deref().unwrap_or("-");
            format!(
                "{} {} {file}:{} {} {}\n    {}\n    {help}\n",
                found.code,
                found.severity,
                found.origin.line,
                found.subject,
                found.path,
                found.message
            )
        })
        .collect();
    lines.concat()
}

/// A request as on a command line.
fn request(from: &str, method: &str, url: &str, headers: &[(&str, &str)]) -> ExplainRequest {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    ExplainRequest {
        from: from.parse::<Client>().unwrap(),
        method: method.to_owned(),
        url: url.to_owned(),
        headers: headers.iter().map(owned).collect(),
        now: SystemTime::UNIX_EPOCH + Duration::from_secs(1_900_000_000),
        draw: 0,
    }
}

#[track_caller]
fn check(directory: &str, request: &ExplainRequest, expected: &ExpectFile) -> Explanation {
    let explanation = explain(&snapshot(directory), request).unwrap();
    expected.assert_eq(&render_explanation(request, &explanation));
    explanation
}

fn token(directory: &str) -> String {
    let text = std::fs::read_to_string(format!("{directory}/ada.jwt")).unwrap();
    format!("Bearer {}", text.trim())
}

#[test]
fn the_examples_have_no_mistake_that_matters() {
    for directory in [SHOP, MYAPP] {
        let found = analyze(&snapshot(directory));
        let errors: Vec<_> = found.iter().filter(|found| found.is_error()).collect();
        assert!(errors.is_empty(), "{errors:#?}");
    }
    expect_file!["../testdata/shop.findings"].assert_eq(&findings(SHOP));
    expect_file!["../testdata/myapp.findings"].assert_eq(&findings(MYAPP));
}

#[test]
fn mistakes_are_found_with_their_place_and_advice() {
    expect_file!["../testdata/mistakes.findings"].assert_eq(&findings("testdata/mistakes"));
}

#[test]
fn every_analyzer_has_a_name_of_its_own_and_a_sentence() {
    let mut names: Vec<_> = ANALYZERS.iter().map(|analyzer| analyzer.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), ANALYZERS.len());
    assert!(ANALYZERS.iter().all(|analyzer| analyzer.doc.ends_with('.')));
}

#[test]
fn a_cart_may_charge() {
    let request = request("cart-service", "GET", "http://payment-service/charge", &[]);
    let explanation = check(SHOP, &request, &expect_file!["../testdata/cart-charges.txt"]);
    assert_eq!(explanation.decision, Decision::Forward);
    assert_eq!(explanation.endpoints, ["127.15.1.4:8080"]);
}

#[test]
fn a_page_may_not_charge() {
    let request = request("shop/web", "GET", "http://payment-service/charge", &[]);
    let explanation = check(SHOP, &request, &expect_file!["../testdata/web-charges.txt"]);
    assert_eq!((explanation.decision, explanation.status), (Decision::Respond, Some(403)));
    let rule = explanation.steps.last().and_then(|step| step.rule.as_ref()).unwrap();
    assert_eq!(
        (rule.kind.as_str(), rule.name.as_str()),
        ("AuthorizationPolicy", "payment-service")
    );
    assert!(rule.line > 0 && rule.file.ends_with("security.yaml"), "{rule:?}");
}

#[test]
fn a_canary_is_told_with_its_shares() {
    let request = request("web", "GET", "http://cart-service/items", &[]);
    let explanation = check(SHOP, &request, &expect_file!["../testdata/canary.txt"]);
    assert_eq!((explanation.timeout_ms, explanation.retries), (Some(5000), 2));
}

#[test]
fn a_customer_buys_with_a_token_and_nobody_without() {
    let url = "http://shop.example.com/checkout";
    let anonymous = request("outside", "POST", url, &[]);
    let explanation = check(SHOP, &anonymous, &expect_file!["../testdata/buys-anonymously.txt"]);
    assert_eq!(explanation.status, Some(403));
    let token = token(SHOP);
    let customer = request("outside", "POST", url, &[("authorization", &token)]);
    let explanation = check(SHOP, &customer, &expect_file!["../testdata/buys-with-token.txt"]);
    assert_eq!(explanation.decision, Decision::Forward);
    let forged = request("outside", "POST", url, &[("authorization", "Bearer a.b.c")]);
    let explanation = explain(&snapshot(SHOP), &forged).unwrap();
    assert_eq!(explanation.status, Some(401));
}

#[test]
fn claims_decide_in_the_first_application() {
    let url = "http://service-a:8080/secure";
    let token = token(MYAPP);
    let good = request("client", "GET", url, &[("authorization", &token)]);
    let explanation = check(MYAPP, &good, &expect_file!["../testdata/claims.txt"]);
    assert_eq!(explanation.decision, Decision::Forward);
    let without = explain(&snapshot(MYAPP), &request("client", "GET", url, &[])).unwrap();
    assert_eq!(without.status, Some(403));
}

#[test]
fn a_host_that_nobody_knows_is_told() {
    let request = request("cart-service", "GET", "http://nowhere.example.com/", &[]);
    let explanation = check(SHOP, &request, &expect_file!["../testdata/nowhere.txt"]);
    assert_eq!(explanation.status, Some(502));
}

#[test]
fn connections_are_followed_as_far_as_they_can_be_looked_into() {
    let routes = "../iako-translate/testdata/routes";
    let database = request("client", "GET", "tcp://backend:5432", &[]);
    let explanation = check(routes, &database, &expect_file!["../testdata/database.txt"]);
    assert_eq!(
        explanation.cluster.as_deref(),
        Some("outbound|5432||backend.demo.svc.cluster.local")
    );
    let gateway = "../iako-translate/testdata/gateway";
    let passed = request("outside", "GET", "https://raw.example.com/", &[]);
    let explanation = check(gateway, &passed, &expect_file!["../testdata/passed-through.txt"]);
    assert_eq!(explanation.decision, Decision::Forward);
    let unknown = request("outside", "GET", "https://none.example.com/", &[]);
    assert_eq!(explain(&snapshot(gateway), &unknown).unwrap().decision, Decision::Close);
}

#[test]
fn a_client_without_a_sidecar_meets_what_the_server_accepts() {
    let captured = "../iako-translate/testdata/captured";
    let plain = request("db-1", "GET", "http://web/", &[]);
    let explanation = check(captured, &plain, &expect_file!["../testdata/plain-client.txt"]);
    assert_eq!(explanation.decision, Decision::Forward);
}

#[test]
fn rules_that_redirect_or_fail_on_purpose_are_told() {
    let routes = "../iako-translate/testdata/routes";
    let slow = request("client", "GET", "http://backend/slow/x", &[]);
    check(routes, &slow, &expect_file!["../testdata/slow.txt"]);
    let moved = request("client", "GET", "http://backend/moved", &[]);
    let explanation = check(routes, &moved, &expect_file!["../testdata/moved.txt"]);
    assert_eq!((explanation.decision, explanation.status), (Decision::Respond, Some(308)));
}

#[test]
fn a_client_that_nobody_knows_is_an_error() {
    let wrong = request("shop/nobody", "GET", "http://web/", &[]);
    let error = explain(&snapshot(SHOP), &wrong).unwrap_err();
    assert_eq!(error, ExplainError::UnknownClient("shop/nobody".to_owned()));
}

#[test]
fn the_json_has_the_promised_shape() {
    let request = request("cart-service", "GET", "http://payment-service/charge", &[]);
    let explanation = explain(&snapshot(SHOP), &request).unwrap();
    let json = serde_json::to_value(&explanation).unwrap();
    assert_eq!(json["decision"], "forward");
    assert!(json["status"].is_null() && json["timeout_ms"].is_null());
    let access = json["steps"].as_array().unwrap().iter().find(|step| step["stage"] == "access");
    assert_eq!(access.unwrap()["rule"]["kind"], "AuthorizationPolicy");
    assert_eq!(access.unwrap()["outcome"], "passed");
}
