//! The table as a page for people.

use super::{MessageSupport, TABLE};

/// The page `docs/xds-support.md`: every message and every field of the table.
pub fn support_page() -> String {
    let mut page = String::from(PAGE_HEAD);
    for message in TABLE.iter().copied().flatten() {
        page.push_str(&section(message));
    }
    page
}

const PAGE_HEAD: &str = "\
# What of Envoy's API is honoured

Generated from the support table of `iako-xds-codec`; do not edit.

A message that is not listed is an extension we do not have: a filter marked `is_optional` is then
skipped with a warning, anything else is refused. A listed field is honoured; has no effect, and a
warning says so; or is refused together with the resource that carries it, because leaving it out
would change what the resource means.

";

fn section(message: &MessageSupport) -> String {
    let mut lines = vec![format!("## `{}`", message.name), String::new()];
    let list = |fields: &[&str]| {
        fields.iter().map(|field| format!("`{field}`")).collect::<Vec<_>>().join(", ")
    };
    if !message.honoured.is_empty() {
        lines.push(format!("- honoured: {}", list(message.honoured)));
    }
    for (why, fields) in message.warned {
        lines.push(format!("- no effect, with a warning ({why}): {}", list(fields)));
    }
    for (why, fields) in message.refused {
        lines.push(format!("- refused ({why}): {}", list(fields)));
    }
    if lines.len() == 2 {
        lines.push("- has no fields".to_owned());
    }
    lines.push(String::new());
    lines.push(String::new());
    lines.join("\n")
}
