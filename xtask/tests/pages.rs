//! The committed pages under `docs/` say what the tables in the code say.
//!
//! With `UPDATE_DOCS` set, which is what `cargo xtask gen` does, the pages are written instead.

use std::path::Path;

fn check(page: &str, made: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(page);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        let written = std::fs::write(&path, made);
        assert!(written.is_ok(), "docs/{page}: {written:?}");
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(committed == made, "docs/{page} is stale: run `cargo xtask gen`");
}

#[test]
fn metrics() {
    check("metrics.md", &iako_telemetry::metrics_page());
}

#[test]
fn limits() {
    check("limits.md", &iako_proxy::limits_page());
}

#[test]
fn codes() {
    check("codes.md", &iako_resources::codes_page());
}

#[test]
fn istio_support() {
    check("istio-support.md", &iako_resources::istio_support_page());
    check("gateway-api-support.md", &iako_resources::gateway_api_support_page());
}

#[test]
fn own_definitions() {
    for made in iako_resources::own_definitions() {
        check(&format!("../crates/iako-schema/crds/iako/{}", made.file), &made.yaml);
    }
}

#[test]
fn xds_support() {
    check("xds-support.md", &iako_xds_codec::support_page());
}
