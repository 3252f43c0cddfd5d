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

/// Every test of the suite, by a server behind the proxy that answers when it has the whole request: an
/// answer that comes sooner ends streams on which the suite still wants to break rules.
#[test]
fn h2spec_passes_whole() {
    let Some(tool) = tool() else {
        let missing = "h2spec is missing: `cargo xtask test` builds it, for which it needs Go";
        // Set by `cargo xtask test` and by whoever runs tests for others.
        let is_wanted = ["EVERY_TEST", "CI"].iter().any(|name| std::env::var_os(name).is_some());
        assert!(!is_wanted, "{missing}");
        eprintln!("NOT RUN: the conformance suite of HTTP/2. {missing}");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let served = static_proxy::served(folder.path(), 20);
    let output = Command::new(&tool)
        .args(["-h", &served.address.ip().to_string()])
        .args(["-p", &served.address.port().to_string()])
        .args(["-o", "5"])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let sum = text.lines().rev().find(|line| line.contains(" tests, ")).unwrap_or_default();
    assert_eq!(sum, "145 tests, 145 passed, 0 skipped, 0 failed", "{text}");
}
