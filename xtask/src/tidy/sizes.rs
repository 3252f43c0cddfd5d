//! A file that a newcomer can hold in the head.

use super::Finding;
use crate::project::{Project, SourceFile};

/// Lines of a file before its tests.
const LINES_MAX: usize = 500;
/// Lines of the map of the code.
const MAP_LINES_MAX: usize = 250;
const MAP: &str = "ARCHITECTURE.md";

pub(super) fn check(project: &Project) -> Vec<Finding> {
    let long = |file: &SourceFile, lines: usize, most: usize| {
        let message = format!("has {lines} lines, at most {most} are allowed");
        (lines > most).then(|| Finding::file("sizes", &file.path, message))
    };
    let rust = project.rust().filter(|file| !file.is_generated() && !is_test(&file.path));
    let map = project.file(MAP).and_then(|map| long(map, map.text.lines().count(), MAP_LINES_MAX));
    rust.filter_map(|file| long(file, lines_before_tests(&file.text), LINES_MAX))
        .chain(map)
        .collect()
}

fn is_test(path: &str) -> bool {
    path.contains("/tests/") || path.ends_with("/tests.rs")
}

fn lines_before_tests(text: &str) -> usize {
    text.lines().take_while(|line| line.trim_end() != "#[cfg(test)]").count()
}
