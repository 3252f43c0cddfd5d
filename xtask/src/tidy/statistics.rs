//! The page of statistics names only what the proxy counts.

use super::Finding;
use crate::project::Project;

const TABLE: &str = "crates/iako-telemetry/src/stats/table.rs";

pub(super) fn check(project: &Project) -> Vec<Finding> {
    let Some(table) = project.file(TABLE) else {
        return vec![Finding::file("statistics", TABLE, "the table is not where it was")];
    };
    let is_counted = |name: &str| {
        let literal = format!("\"{}\"", name.replace("<class>", "2"));
        project.rust().any(|file| file.path != TABLE && file.text.contains(&literal))
    };
    let rows = (1..).zip(table.text.lines()).filter_map(|(line, text)| Some((line, row(text)?)));
    rows.filter(|(_, name)| !is_counted(name))
        .map(|(line, name)| {
            let message = format!("{name} is documented, but counted nowhere");
            Finding::line("statistics", TABLE, line, message)
        })
        .collect()
}

/// The name in a row such as `Counter "upstream_rq_total" "requests sent";`.
fn row(text: &str) -> Option<&str> {
    let (kind, rest) = text.trim().split_once(" \"")?;
    matches!(kind, "Counter" | "Gauge" | "Histogram").then(|| rest.split('"').next())?
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::project::SourceFile;

    #[test]
    fn a_statistic_that_nobody_counts_is_found() {
        let file = |path: &str, text: &str| SourceFile { path: path.into(), text: text.into() };
        let table = "    Counter \"rq_<class>xx\" \"answers\";\n    Gauge \"gone\" \"nothing\";\n";
        let proxy = "scope.counter(\"rq_2xx\")";
        let project = Project {
            root: "/".into(),
            files: vec![file(TABLE, table), file("crates/iako-proxy/src/a.rs", proxy)],
        };
        let found: Vec<_> = check(&project).iter().map(|f| f.line).collect();
        assert_eq!(found, [2]);
    }
}
