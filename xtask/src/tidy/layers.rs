//! Which crate may use which: one table, held against every manifest and every file.

use super::Finding;
use crate::project::{Project, SourceFile};

/// The crates of the workspace and the ones they may depend on. A new edge is a commit of its own
/// that says why. `*` is any crate but the test kit.
const EDGES: &[(&str, &[&str])] = &[
    ("iako-types", &[]),
    ("iako-rt", &[]),
    ("iako-xds-api", &[]),
    ("iako-cel", &[]),
    ("iako-http", &[]),
    ("iako-proxy-config", &["iako-types", "iako-cel"]),
    ("iako-xds-codec", &["iako-types", "iako-cel", "iako-xds-api", "iako-proxy-config"]),
    ("iako-traffic", &["iako-types", "iako-cel", "iako-proxy-config"]),
    ("iako-identity", &["iako-types", "iako-rt"]),
    ("iako-telemetry", &["iako-types", "iako-cel", "iako-rt"]),
    ("iako-xds", &["iako-xds-api", "iako-rt"]),
    (
        "iako-proxy",
        &[
            "iako-types",
            "iako-rt",
            "iako-cel",
            "iako-http",
            "iako-proxy-config",
            "iako-xds-codec",
            "iako-traffic",
            "iako-identity",
            "iako-telemetry",
            "iako-xds",
        ],
    ),
    ("iako-schema", &["iako-cel"]),
    ("iako-resources", &["iako-types", "iako-schema", "iako-xds-codec"]),
    ("iako-registry", &["iako-types", "iako-resources"]),
    ("iako-translate", &["iako-types", "iako-resources", "iako-registry", "iako-proxy-config"]),
    (
        "iako-analyze",
        &[
            "iako-types",
            "iako-resources",
            "iako-registry",
            "iako-translate",
            "iako-proxy-config",
            "iako-traffic",
        ],
    ),
    ("iako-lsp", &["iako-resources", "iako-analyze", "iako-schema"]),
    ("iako-ca", &["iako-types", "iako-rt", "iako-identity"]),
    ("iako-supervise", &["iako-types", "iako-rt"]),
    (
        "iako-control",
        &[
            "iako-types",
            "iako-rt",
            "iako-resources",
            "iako-registry",
            "iako-translate",
            "iako-analyze",
            "iako-ca",
            "iako-xds",
            "iako-xds-api",
            "iako-identity",
            "iako-telemetry",
            "iako-proxy-config",
            "iako-xds-codec",
        ],
    ),
    ("iako", &["*"]),
    // For tests alone: no manifest may list it but for those.
    ("iako-testkit", &[]),
    // Starts programs; what it measured with what it measures would be no measurement.
    ("iako-bench", &[]),
    ("xtask", &[]),
];

/// What tests share; it is no part of the product.
const TEST_KIT: &str = "iako-testkit";

/// Crates that decide and plan; an event loop has no place there.
const WITHOUT_RUNTIME: &[&str] = &[
    "iako-types",
    "iako-cel",
    "iako-http",
    "iako-proxy-config",
    "iako-xds-codec",
    "iako-traffic",
    "iako-schema",
    "iako-resources",
    "iako-registry",
    "iako-translate",
    "iako-analyze",
    "iako-lsp",
];

/// Where messages as they are on the wire may be named, and why.
const PROTOBUF: &[(&str, &str)] = &[
    ("crates/iako-xds-api/", "the messages themselves"),
    ("crates/iako-xds/", "carries them between the two planes"),
    ("crates/iako-xds-codec/", "turns them into values and back"),
    ("crates/iako-proxy/src/ads.rs", "hands resources from the stream to the codec, unopened"),
    ("crates/iako-proxy/src/config_task/update.rs", "the same, on the receiving side"),
    ("crates/iako-control/", "serves Istio's signing service and the xDS streams"),
    ("crates/iako/", "is the client of the signing service"),
];

pub(super) fn check(project: &Project) -> Vec<Finding> {
    let mut findings = Vec::new();
    for manifest in project.manifests() {
        let name = value(&manifest.text, "name").unwrap_or_default();
        let Some((_, allowed)) = EDGES.iter().find(|(known, _)| *known == name) else {
            let message = format!("{name} stands in no layer: add it to the table of edges");
            findings.push(Finding::file("layers", &manifest.path, message));
            continue;
        };
        check_manifest(manifest, name, allowed, &mut findings);
    }
    let foreign = project.rust().filter(|file| {
        !file.path.starts_with("xtask/")
            && !PROTOBUF.iter().any(|(prefix, _)| file.path.starts_with(prefix))
    });
    for file in foreign {
        for (number, line) in (1..).zip(file.text.lines()) {
            if names_protobuf(line) {
                let message = "names a protobuf type: they stay in xds-codec and in xds";
                findings.push(Finding::line("layers", &file.path, number, message));
            }
        }
    }
    findings
}

fn names_protobuf(line: &str) -> bool {
    let code = line.split("//").next().unwrap_or_default();
    ["iako_xds_api::", "prost::", "prost_types::"].iter().any(|name| code.contains(name))
}

fn check_manifest(
    manifest: &SourceFile,
    name: &str,
    allowed: &[&str],
    findings: &mut Vec<Finding>,
) {
    for (line, dependency) in dependencies(&manifest.text) {
        let own = dependency.starts_with("iako-");
        let any = allowed.contains(&"*");
        let message = if dependency == TEST_KIT {
            format!("{TEST_KIT} is for tests alone: list it under [dev-dependencies]")
        } else if own && !any && !allowed.contains(&dependency) {
            format!("{name} may not use {dependency}")
        } else if dependency == "tokio" && WITHOUT_RUNTIME.contains(&name) {
            format!("{name} is pure: tokio has no place there")
        } else {
            continue;
        };
        findings.push(Finding::line("layers", &manifest.path, line, message));
    }
}

/// Names in the tables of dependencies that end up in the product.
fn dependencies(manifest: &str) -> Vec<(usize, &str)> {
    let mut section = "";
    let mut found = Vec::new();
    for (number, line) in (1..).zip(manifest.lines()) {
        if line.starts_with('[') {
            section = line.trim();
        } else if matches!(section, "[dependencies]" | "[build-dependencies]")
            && let Some((key, _)) = line.split_once('=')
        {
            let name = key.trim().split('.').next().unwrap_or_default();
            found.push((number, name));
        }
    }
    found
}

/// The text of `key = "text"`.
fn value<'a>(manifest: &'a str, key: &str) -> Option<&'a str> {
    manifest.lines().find_map(|line| {
        let (found, value) = line.split_once('=')?;
        (found.trim() == key).then(|| value.trim().trim_matches('"'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edge_upwards_and_a_runtime_in_a_pure_crate_are_named() {
        let text = "[package]\nname = \"iako-traffic\"\n[dependencies]\niako-types.workspace = true\n\
                    iako-proxy = { path = \"x\" }\ntokio.workspace = true\n\
                    iako-testkit.workspace = true\n\
                    [dev-dependencies]\niako-proxy.workspace = true\n";
        let manifest =
            SourceFile { path: "crates/iako-traffic/Cargo.toml".into(), text: text.into() };
        let project = Project { root: "/".into(), files: vec![manifest] };
        let findings = check(&project);
        let messages: Vec<_> = findings.iter().map(|f| (f.line, f.message.as_str())).collect();
        assert_eq!(
            messages,
            [
                (5, "iako-traffic may not use iako-proxy"),
                (6, "iako-traffic is pure: tokio has no place there"),
                (7, "iako-testkit is for tests alone: list it under [dev-dependencies]"),
            ]
        );
    }
}
