//! The conformance suite of HTTP/2 against a listener of `iako proxy`.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use crate::static_proxy;

/// Where `cargo xtask test` puts it.
fn tool() -> Option<PathBuf> {
    let iako = Path::new(env!("CARGO_BIN_EXE_iako"));
    let tool = iako.parent()?.parent()?.join("tools/h2spec");
    tool.exists().then_some(tool)
}

/// Every test of the suite, against answers of a server behind the proxy and of the proxy itself.
#[test]
fn h2spec_passes_whole() {
    let Some(tool) = tool() else {
        eprintln!("passed over: cargo xtask test installs h2spec, for which it needs Go");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let served = static_proxy::served(folder.path(), 20);
    for (path, more, wanted) in [
        ("/", None, "145 tests, 145 passed, 0 skipped, 0 failed"),
        ("/told", Some("--strict"), "146 tests, 146 passed, 0 skipped, 0 failed"),
    ] {
        let output = Command::new(&tool)
            .args(["-h", &served.address.ip().to_string()])
            .args(["-p", &served.address.port().to_string()])
            .args(["-P", path, "-o", "5"])
            .args(more)
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        let sum = text.lines().rev().find(|line| line.contains(" tests, ")).unwrap_or_default();
        assert_eq!(sum, wanted, "{path}: {text}");
    }
}
