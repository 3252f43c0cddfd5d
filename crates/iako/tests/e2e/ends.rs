//! A mesh that ends leaves nothing behind, however it ends.

use std::{
    fs,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
};

use rustix::process::Signal;

use crate::rig::{Finished, Mesh, descendants, iako, runs, until};

const PODS: &str = "apiVersion: v1
kind: Service
metadata: { name: echo }
spec:
  selector: { app: echo }
  ports: [{ name: http, port: 80, targetPort: 8080 }]
---
apiVersion: apps/v1
kind: Deployment
metadata: { name: echo }
spec:
  replicas: 2
  selector: { matchLabels: { app: echo } }
  template:
    metadata: { labels: { app: echo } }
    spec:
      containers:
        - name: app
          ports: [{ containerPort: 8080 }]
          command: [iako, app, --name=echo]
---
# What an application starts beside itself must end too.
apiVersion: v1
kind: Pod
metadata: { name: parent, labels: { app: parent } }
spec:
  containers:
    - name: app
      command: [sh, -c, 'sleep 1000 & wait']
";

fn small(folder: &Path) -> PathBuf {
    let directory = folder.join("small");
    fs::create_dir(&directory).unwrap();
    fs::write(directory.join("pods.yaml"), PODS).unwrap();
    directory
}

/// The processes of a mesh, and where they listen.
fn parts(mesh: &Mesh) -> (Vec<u32>, Vec<SocketAddr>) {
    // Control plane; two pods and one, each a sidecar and an application; the child of one.
    let processes = until("every process", || {
        Some(descendants(mesh.up.id())).filter(|processes| processes.len() >= 8)
    });
    let mut addresses = vec![mesh.control(15012), mesh.control(15080)];
    for pod in mesh.pods().values() {
        addresses.extend([15000, 15001, 15021].map(|port| SocketAddr::new(*pod, port)));
    }
    addresses.push(SocketAddr::new(mesh.pod("echo"), 8080));
    for address in &addresses {
        assert!(TcpListener::bind(address).is_err(), "nobody listens on {address}");
    }
    (processes, addresses)
}

fn assert_gone(processes: &[u32], addresses: &[SocketAddr]) {
    until("the end of every process", || {
        let left: Vec<&u32> = processes.iter().filter(|process| runs(**process)).collect();
        left.is_empty().then_some(())
    });
    for address in addresses {
        TcpListener::bind(address).unwrap_or_else(|error| panic!("{address}: {error}"));
    }
}

#[test]
fn ctrl_c_ends_every_process() {
    let mut mesh = Mesh::of(103, small);
    let (processes, addresses) = parts(&mesh);
    mesh.up.signal(Signal::INT);
    assert_eq!(mesh.up.end().code(), Some(0));
    let left: Vec<&u32> = processes.iter().filter(|process| runs(**process)).collect();
    assert!(left.is_empty(), "when iako up has ended, {left:?} still run");
    assert_gone(&processes, &addresses);
}

#[test]
fn a_killed_iako_up_takes_every_process_with_it() {
    let mut mesh = Mesh::of(104, small);
    let (processes, addresses) = parts(&mesh);
    mesh.up.signal(Signal::KILL);
    mesh.up.end();
    assert_gone(&processes, &addresses);
}

#[test]
fn a_second_mesh_is_refused_and_the_first_does_not_notice() {
    let mesh = Mesh::of(108, small);
    let documents = mesh.pods();
    let second = |range: &str, state: &Path| {
        let mut command = iako(["up", "--range", range, "--duration", "1ms"]);
        command.arg(&mesh.directory).arg("--state").arg(state);
        Finished::of(command.output().unwrap())
    };
    let other = tempfile::tempdir().unwrap();
    let same_range = second("127.108.0.0/16", other.path());
    assert_eq!(same_range.code, Some(1), "{same_range:?}");
    assert!(same_range.err.contains("--range"), "{same_range:?}");
    let same_state = second("127.109.0.0/16", &mesh.state);
    assert_eq!(same_state.code, Some(1), "{same_state:?}");
    assert!(same_state.err.contains("--state"), "{same_state:?}");

    assert_eq!(mesh.pods(), documents);
    let status = mesh.ask(["status", "--output", "json"]);
    assert_eq!(status.json()["config"]["ready_workloads"], documents.len(), "{status:?}");
    assert_eq!(mesh.stop(), Some(0));
}
