//! Plans of small directories, in a readable form. `UPDATE_EXPECT=1` writes them anew.

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail by panicking")]

mod text;

use std::{net::Ipv4Addr, path::Path, sync::Arc};

use expect_test::{ExpectFile, expect_file};
use iako_registry::{Change, MeshSnapshot, MeshState};
use iako_resources::{ReadOptions, load_directory};
use iako_translate::{Plan, ProxyScope, plan};

fn snapshot(directory: &str) -> Arc<MeshSnapshot> {
    let files = load_directory(Path::new(directory), &ReadOptions::default());
    let mut state = MeshState::inventing_pods(Ipv4Addr::new(127, 15, 0, 0));
    state.apply(Change::Replace { source: directory.to_owned(), files })
}

/// The plan of the first workload that something of this name made.
fn plan_of(snapshot: &MeshSnapshot, owner: &str) -> (ProxyScope, Plan) {
    let workload = snapshot
        .workloads
        .iter()
        .find(|workload| workload.owner.name == owner)
        .unwrap_or_else(|| panic!("no workload of {owner}"));
    let scope = ProxyScope::from_workload(workload, "cluster.local").unwrap();
    let plan = plan(snapshot, &scope);
    (scope, plan)
}

#[track_caller]
fn check(directory: &str, owner: &str, expected: &ExpectFile) {
    let snapshot = snapshot(directory);
    let errors: Vec<_> = snapshot.diagnostics.iter().filter(|found| found.is_error()).collect();
    assert!(errors.is_empty(), "{errors:#?}");
    let (_, plan) = plan_of(&snapshot, owner);
    expected.assert_eq(&text::render(&plan));
}

/// The plan of the gateway that the selector `istio: NAME` means.
fn gateway_plan(snapshot: &MeshSnapshot, name: &str) -> String {
    let carries = |value: &String| value == name;
    let mut all = snapshot.workloads.iter();
    let gateway = all.find(|workload| workload.labels.get("istio").is_some_and(carries)).unwrap();
    let scope = ProxyScope::from_workload(gateway, "cluster.local").unwrap();
    text::render(&plan(snapshot, &scope))
}

#[test]
fn a_client_of_the_shop_splits_its_requests_and_proves_who_it_is() {
    check("../../examples/shop", "web", &expect_file!["../../testdata/shop-web.plan"]);
}

#[test]
fn payments_are_taken_from_carts_only() {
    check(
        "../../examples/shop",
        "payment-service",
        &expect_file!["../../testdata/shop-payment-service.plan"],
    );
}

#[test]
fn the_first_manifests_of_many_teams_do_what_they_say_at_the_service() {
    check(
        "../../examples/myapp",
        "service-a",
        &expect_file!["../../testdata/myapp-service-a.plan"],
    );
}

#[test]
fn the_first_manifests_of_many_teams_do_what_they_say_at_the_gateway() {
    let snapshot = snapshot("../../examples/myapp");
    let plan = gateway_plan(&snapshot, "ingressgateway");
    expect_file!["../../testdata/myapp-gateway.plan"].assert_eq(&plan);
}

#[test]
fn every_feature_of_routes_reaches_the_plan() {
    check("testdata/routes", "client", &expect_file!["../../testdata/routes.plan"]);
}

#[test]
fn every_mode_and_protocol_has_its_chains() {
    check("testdata/chains", "server", &expect_file!["../../testdata/chains.plan"]);
}

#[test]
fn policies_lose_what_connections_cannot_answer_on_the_safe_side() {
    check("testdata/policies", "server", &expect_file!["../../testdata/policies.plan"]);
}

#[test]
fn gateways_end_tls_pass_it_through_and_redirect() {
    let snapshot = snapshot("testdata/gateway");
    expect_file!["../../testdata/gateway.plan"].assert_eq(&gateway_plan(&snapshot, "edge"));
}

#[test]
fn captured_traffic_has_a_listener_for_each_port() {
    check("testdata/captured", "web-1", &expect_file!["../../testdata/captured.plan"]);
}

#[test]
fn what_is_reported_follows_the_most_specific_object() {
    check("testdata/telemetry", "app", &expect_file!["../../testdata/telemetry.plan"]);
}

#[test]
fn hosts_outside_are_reached_as_their_entries_say_and_others_not_at_all() {
    check("testdata/outside", "app", &expect_file!["../../testdata/outside.plan"]);
}

#[test]
fn the_same_values_make_the_same_plan() {
    let snapshot = snapshot("../../examples/shop");
    let (scope, first) = plan_of(&snapshot, "web");
    assert_eq!(first, plan(&snapshot, &scope));
}
