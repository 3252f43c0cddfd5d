//! The page of statistics names only what the proxy counts.

use super::Finding;
use crate::project::Project;

const TABLES: &str = "crates/iako-telemetry/src/stats/table/";

pub(super) fn check(project: &Project) -> Vec<Finding> {
    let (tables, others): (Vec<_>, Vec<_>) =
        project.rust().partition(|file| file.path.starts_with(TABLES));
    if tables.is_empty() {
        return vec![Finding::file("statistics", TABLES, "the tables are not where they were")];
    }
    let stands = |text: &str| others.iter().any(|file| file.text.contains(text));
    let is_counted = |name: &str| {
        let name = name.replace("<class>", "2").replace("<code>", "200");
        // Names of one kind may be counted in a scope of their own, or made of two parts.
        let leaf = name.rsplit('.').next().unwrap_or(&name);
        let parts = |(place, _)| {
            let (begin, end) = leaf.split_at(place + 1);
            stands(&format!("{begin}{{")) && stands(&format!("\"{end}\""))
        };
        stands(&format!("\"{name}\""))
            || (leaf != name && stands(&format!("\"{leaf}\"")))
            || leaf.match_indices('_').any(parts)
    };
    let rows = tables.iter().flat_map(|table| {
        let lines = (1..).zip(table.text.lines());
        lines.filter_map(|(line, text)| Some((table.path.as_str(), line, row(text)?)))
    });
    rows.filter(|(_, _, name)| !is_counted(name))
        .map(|(path, line, name)| {
            let message = format!("{name} is documented, but counted nowhere");
            Finding::line("statistics", path, line, message)
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
        let rows =
            ["rq_<class>xx", "gone", "breaker.<priority>.open", "seen_by_all", "seen_by_none"];
        let table: String = rows.map(|row| format!("    Counter \"{row}\" \"what\";\n")).concat();
        let proxy = "\"rq_2xx\" \"open\" format!(\"seen_by_{who}\") \"all\"";
        let project = Project {
            root: "/".into(),
            files: vec![
                file(&format!("{TABLES}http.rs"), &table),
                file("crates/iako-proxy/src/a.rs", proxy),
            ],
        };
        let found: Vec<_> = check(&project).iter().map(|f| f.line).collect();
        assert_eq!(found, [2, 5]);
    }
}
