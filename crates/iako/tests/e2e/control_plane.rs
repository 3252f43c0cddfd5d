//! The control plane may die at any moment; traffic does not notice.

use std::fs;

use rustix::process::Signal;
use serde_json::Value;

use crate::{
    load::{Load, Outcome},
    rig::{Mesh, send, until},
};

/// How many proxies are connected and have what they should have.
fn synced(status: &Value) -> usize {
    let proxies = status["proxies"].as_array();
    proxies.into_iter().flatten().filter(|it| it["synced"] == true).count()
}

#[test]
fn a_killed_control_plane_comes_back_as_the_same_and_no_request_fails() {
    let mesh = Mesh::start(102, "shop");
    let load = Load::start(mesh.gateway(), "shop.example.com");
    let root = fs::read_to_string(mesh.state.join("ca/root.pem")).unwrap();
    assert!(root.contains("BEGIN CERTIFICATE"), "{root}");
    load.change("before", Outcome::is_good, Outcome::is_good);
    let proxies = mesh.pods().len();
    assert_eq!(synced(&mesh.ask(["status", "--output", "json"]).json()), proxies);

    let killed = mesh.control_process().unwrap();
    send(killed, Signal::KILL);
    let another = until("another control plane", || {
        mesh.control_process().filter(|process| *process != killed)
    });
    until("every proxy is back", || {
        let status = mesh.ask(["status", "--output", "json"]);
        let status: Value = serde_json::from_str(&status.out).ok()?;
        (synced(&status) == proxies).then_some(())
    });
    load.change("after the restart", Outcome::is_good, Outcome::is_good);
    assert_eq!(mesh.control_process(), Some(another), "it was started more than once");
    assert_eq!(fs::read_to_string(mesh.state.join("ca/root.pem")).unwrap(), root);

    mesh.edit("routing.yaml", "weight: 90", "weight: 0");
    mesh.edit("routing.yaml", "weight: 10", "weight: 100");
    load.change("an edit after the restart", |it| it.is_of_cart("v2"), Outcome::is_good);
}
