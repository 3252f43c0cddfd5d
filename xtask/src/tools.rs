//! Programs of others that tests run, built below `target` and kept there.

use std::path::PathBuf;
use std::process::Command;

use crate::project::root;

/// The suite whose 145 tests, and a strict one more, the listener has to pass.
const H2SPEC: &str = "github.com/summerwind/h2spec/cmd/h2spec@v2.2.1+incompatible";

/// Builds h2spec unless that was done before. Without it, or without Go, its test fails.
pub(crate) fn h2spec() {
    let folder = folder();
    if folder.join("h2spec").exists() {
        return;
    }
    let built = Command::new("go").args(["install", H2SPEC]).env("GOBIN", &folder).output();
    match built {
        Ok(output) if output.status.success() => {}
        Ok(output) => {
            eprintln!("h2spec was not built: {}", String::from_utf8_lossy(&output.stderr));
        }
        Err(error) => eprintln!("h2spec was not built, go: {error}"),
    }
}

/// Beside what cargo builds, where the tests look for it.
fn folder() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| root().join("target"), PathBuf::from)
        .join("tools")
}
