//! The environment in which the process was started, for configurations that name a part of it.

use std::collections::BTreeMap;
use std::sync::LazyLock;

/// What the kernel remembers of the process's start; empty where it does not tell.
static VARIABLES: LazyLock<BTreeMap<String, String>> = LazyLock::new(|| {
    let bytes = std::fs::read("/proc/self/environ").unwrap_or_default();
    let entries = bytes.split(|byte| *byte == 0).filter_map(|entry| {
        let (name, value) = std::str::from_utf8(entry).ok()?.split_once('=')?;
        Some((name.to_owned(), value.to_owned()))
    });
    entries.collect()
});

/// A variable, as it was at the start.
pub(crate) fn variable(name: &str) -> Option<&'static str> {
    VARIABLES.get(name).map(String::as_str)
}
