//! Manifests of the old API versions, exactly as many teams have them.

use std::{fs, net::SocketAddr};

use serde_json::Value;

use crate::{
    http1,
    rig::{Mesh, example, finished},
};

#[test]
fn the_deprecated_field_is_a_warning_and_no_error() {
    let directory = example("myapp").display().to_string();
    let answer = finished(["analyze", &directory, "--output", "json"]);
    assert_eq!(answer.code, Some(0), "{answer:?}");
    let keys: Vec<String> = answer.json().as_object().unwrap().keys().cloned().collect();
    assert_eq!(keys, ["diagnostics"]);
    let found = answer.json()["diagnostics"].as_array().unwrap().clone();
    let of_field = |it: &&Value| it["path"].to_string().contains("consecutiveErrors");
    let told: Vec<&Value> = found.iter().filter(of_field).collect();
    let [told] = told.as_slice() else { panic!("not one word on consecutiveErrors: {found:?}") };
    assert_eq!(told["severity"], "warning", "{told}");
    assert_eq!(told["subject"], "DestinationRule default/service-a", "{told}");
    assert!(told["file"].as_str().unwrap().ends_with("destination-rule.yaml"), "{told}");
    assert_eq!(told["line"], 14, "{told}");
    assert!(found.iter().all(|it| it["severity"] != "error"), "{found:?}");
}

#[test]
fn the_first_application_does_what_its_manifests_say() {
    let mesh = Mesh::start(106, "myapp");
    let gateway = |path: &str, host: &str| {
        http1::ask(mesh.gateway(), &format!("GET {path}"), &[("host", host)]).unwrap()
    };
    // Routed to service-a, whose policy takes only /secure with a token.
    let refused = gateway("/api/x", "myapp.example.com");
    assert_eq!((refused.status, refused.body.as_str()), (403, "RBAC: access denied"));
    assert_eq!(gateway("/other", "myapp.example.com").status, 404);
    assert_eq!(gateway("/api/x", "else.example.com").status, 404);

    // A client in the mesh sends to its sidecar as to any HTTP proxy.
    let sidecar = SocketAddr::new(mesh.pod("client"), 15001);
    let token = fs::read_to_string(mesh.directory.join("ada.jwt")).unwrap();
    let token = format!("Bearer {}", token.trim());
    let host = ("host", "service-a:8080");
    let call = |path: &str, headers: &[_]| {
        http1::ask(sidecar, &format!("GET http://service-a:8080{path}"), headers).unwrap()
    };
    let mut instances = Vec::new();
    for _ in 0..4 {
        let taken = call("/secure", &[host, ("authorization", &token)]);
        assert_eq!(taken.status, 200, "{taken:?}");
        assert_eq!(taken.json()["service"], "service-a");
        instances.push(taken.json()["pod"].as_str().unwrap().to_owned());
    }
    instances.sort_unstable();
    instances.dedup();
    assert_eq!(instances.len(), 2, "round robin reached only {instances:?}");
    assert_eq!(call("/secure", &[host]).status, 403);
    assert_eq!(call("/other", &[host, ("authorization", &token)]).status, 403);
    assert_eq!(call("/secure", &[host, ("authorization", "Bearer no.such.token")]).status, 401);
}
