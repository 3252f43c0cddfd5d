//! Nothing that is planned is lost on the wire to a proxy.

#![expect(clippy::panic, reason = "helpers of tests fail by panicking")]

use std::{fmt::Debug, net::Ipv4Addr, path::Path, sync::Arc};

use iako_proxy_config::{HttpFilterKind, Listener, NetworkFilter, Rbac, Terminal};
use iako_registry::{Change, MeshSnapshot, MeshState};
use iako_resources::{ReadOptions, load_directory};
use iako_translate::{ProxyScope, plan};
use iako_xds_codec::{decode, encode};

const DIRECTORIES: [&str; 9] = [
    "../../examples/shop",
    "../../examples/myapp",
    "testdata/routes",
    "testdata/chains",
    "testdata/policies",
    "testdata/gateway",
    "testdata/captured",
    "testdata/telemetry",
    "testdata/outside",
];

fn snapshot(directory: &str) -> Arc<MeshSnapshot> {
    let files = load_directory(Path::new(directory), &ReadOptions::default());
    let mut state = MeshState::inventing_pods(Ipv4Addr::new(127, 15, 0, 0));
    state.apply(Change::Replace { source: directory.to_owned(), files })
}

/// Sends values and compares what arrives, without a warning.
#[track_caller]
fn same<T, A, W: Debug, E: Debug>(
    values: &[T],
    encode: impl Fn(&T) -> A,
    decode: impl Fn(&A) -> Result<(T, Vec<W>), E>,
) where
    T: PartialEq + Debug,
{
    for value in values {
        match decode(&encode(value)) {
            Ok((arrived, warnings)) => {
                assert!(warnings.is_empty(), "{warnings:#?}");
                assert!(arrived == *value, "{}", difference(&arrived, value));
            }
            Err(refused) => panic!("{refused:#?}\n{value:#?}"),
        }
    }
}

/// The lines in which two values differ; whole plans are too long to read.
fn difference<T: Debug>(arrived: &T, value: &T) -> String {
    let (arrived, value) = (format!("{arrived:#?}"), format!("{value:#?}"));
    let pairs = value.lines().zip(arrived.lines()).filter(|(sent, got)| sent != got).take(20);
    pairs.map(|(sent, got)| format!("sent {sent}\n got {got}\n")).collect()
}

/// Envoy's access policies have room for a name, not for a file and a line.
fn without_places(mut listener: Listener) -> Listener {
    for chain in listener.chains.iter_mut().chain(&mut listener.default_chain) {
        for filter in &mut chain.filters {
            if let NetworkFilter::Rbac(rules) = filter {
                forget_places(rules);
            }
        }
        if let Terminal::Http(settings) = &mut chain.terminal {
            for filter in &mut Arc::make_mut(settings).filters {
                if let HttpFilterKind::Rbac(rules) = &mut filter.kind {
                    forget_places(rules);
                }
            }
        }
    }
    listener
}

fn forget_places(rbac: &mut Rbac) {
    let rules = rbac.rules.iter_mut().chain(&mut rbac.shadow_rules);
    for policy in rules.flat_map(|rules| rules.policies.values_mut()) {
        if let Some(origin) = &mut policy.origin {
            origin.file.clear();
            origin.line = 0;
        }
    }
}

#[test]
fn every_plan_arrives_as_it_was_made() {
    for directory in DIRECTORIES {
        let snapshot = snapshot(directory);
        let mut planned = 0;
        for workload in &snapshot.workloads {
            let Some(scope) = ProxyScope::from_workload(workload, "cluster.local") else {
                continue;
            };
            let plan = plan(&snapshot, &scope);
            let listeners: Vec<_> = plan.listeners.iter().cloned().map(without_places).collect();
            same(&listeners, encode::listener, decode::listener);
            same(&plan.routes, encode::route_configuration, decode::route_configuration);
            same(&plan.clusters, encode::cluster, decode::cluster);
            same(&plan.endpoints, encode::endpoints, decode::endpoints);
            planned += 1;
        }
        assert!(planned > 0, "{directory} has no workload");
    }
}
