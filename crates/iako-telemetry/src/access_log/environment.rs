//! The environment that this process was started with, for `%ENVIRONMENT(X)%`.

use std::fs;
use std::sync::LazyLock;

static STARTED_WITH: LazyLock<Vec<u8>> =
    LazyLock::new(|| fs::read("/proc/self/environ").unwrap_or_default());

/// The value of a variable, where it was set when the process began.
pub(super) fn variable(name: &str) -> Option<String> {
    find(&STARTED_WITH, name)
}

fn find(environment: &[u8], name: &str) -> Option<String> {
    let variables = environment.split(|byte| *byte == 0);
    let value = variables.filter_map(|variable| variable.strip_prefix(name.as_bytes()));
    let value = value.filter_map(|rest| rest.strip_prefix(b"=")).next()?;
    Some(String::from_utf8_lossy(value).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_is_found_by_its_whole_name() {
        let environment = b"PATHS=no\0PATH=/bin=1\0EMPTY=\0";
        assert_eq!(find(environment, "PATH").as_deref(), Some("/bin=1"));
        assert_eq!(find(environment, "EMPTY").as_deref(), Some(""));
        assert_eq!(find(environment, "PAT"), None);
    }
}
