//! `docs/istio-support.md`, made from the tables.

use std::fmt::Write as _;

use super::{Support, TABLES, UNSUPPORTED_KINDS};

/// The page that says which fields of Istio's kinds are honoured, in Markdown.
#[must_use]
pub fn istio_support_page() -> String {
    let mut page = String::from(
        "# Istio support\n\nWhat becomes of each field of Istio's kinds. A row covers the field and \
         all below it. Nothing is dropped in silence: a field that is not honoured is warned about, \
         or its object is refused, each with a code (see [codes](codes.md)). A field that is not \
         here does not exist, and is an error.\n\n<!-- made from \
         crates/iako-resources/src/support -->\n",
    );
    for table in TABLES {
        // Writing into a String does not fail.
        let _infallible =
            write!(page, "\n## {}\n\n| field | support |\n| --- | --- |\n", table.name);
        for (path, support) in table.rows {
            let support = match support {
                Support::Honoured => "honoured".to_owned(),
                Support::Warned(why) => format!("no effect, with a warning: {why}"),
                Support::Refused(why) => format!("refused: {why}"),
            };
            let _infallible = writeln!(page, "| `{path}` | {support} |");
        }
    }
    page.push_str("\n## Kinds without effect\n\n| group | kind | why |\n| --- | --- | --- |\n");
    for (group, kind, why) in UNSUPPORTED_KINDS {
        let _infallible = writeln!(page, "| {group} | {kind} | {why} |");
    }
    page
}
