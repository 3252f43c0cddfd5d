//! `docs/istio-support.md` and `docs/gateway-api-support.md`, made from the tables and, for kinds that
//! nobody reads yet, from the published definitions.

use std::fmt::Write as _;

use iako_schema::{Definition, definitions};

use super::{GATEWAY_API, Support, SupportTable, TABLES, UNSUPPORTED_KINDS};

const HOW_TO_READ: &str = "A row covers the field and all below it. Nothing is dropped in silence: a \
     field that is not honoured is warned about, or its object is refused, each with a code (see \
     [codes](codes.md)). A field that is not here does not exist, and is an error. Beside that, every \
     object is held against the published definition of its kind, as an API server does.\n\n\
     <!-- made from crates/iako-resources/src/support -->\n";

/// The page that says which fields of Istio's kinds are honoured, in Markdown.
#[must_use]
pub fn istio_support_page() -> String {
    let start = "# Istio support\n\nWhat becomes of each field of Istio's kinds. ";
    let is_own = |group: &str| group != GATEWAY_API && group != "iako.io";
    page(&format!("{start}{HOW_TO_READ}"), is_own)
}

/// The page that says which fields of the Gateway API's kinds are honoured, in Markdown.
#[must_use]
pub fn gateway_api_support_page() -> String {
    let start = "# Gateway API support\n\nWhat becomes of each field of the Gateway API's kinds. \
                 Definitions are those of the experimental channel, which has all of the standard one. ";
    page(&format!("{start}{HOW_TO_READ}"), |group| group == GATEWAY_API)
}

fn page(start: &str, is_own: impl Fn(&str) -> bool) -> String {
    let mut page = start.to_owned();
    for table in TABLES.iter().filter(|(group, _)| is_own(group)).flat_map(|(_, tables)| *tables) {
        rows_of_table(table, &mut page);
    }
    let unsupported = || UNSUPPORTED_KINDS.iter().filter(|(group, ..)| is_own(group));
    for (group, kind, why) in unsupported() {
        let found = definitions().iter().find(|one| one.group == *group && one.kind == *kind);
        if let Some(definition) = found {
            rows_of_definition(definition, why, &mut page);
        }
    }
    if unsupported().next().is_some() {
        page.push_str("\n## Kinds without effect\n\n| group | kind | why |\n| --- | --- | --- |\n");
    }
    for (group, kind, why) in unsupported() {
        // Writing into a String does not fail.
        let _infallible = writeln!(page, "| {group} | {kind} | {why} |");
    }
    page
}

fn head(kind: &str, page: &mut String) {
    let _infallible = write!(page, "\n## {kind}\n\n| field | support |\n| --- | --- |\n");
}

fn rows_of_table(table: &SupportTable, page: &mut String) {
    head(table.name, page);
    for (path, support) in table.rows {
        let support = match support {
            Support::Honoured => "honoured".to_owned(),
            Support::Checked(why) => format!("checked, not yet applied: {why}"),
            Support::Warned(why) => format!("no effect, with a warning: {why}"),
            Support::Refused(why) => format!("refused: {why}"),
        };
        let _infallible = writeln!(page, "| `{path}` | {support} |");
    }
}

/// Every field of a kind of which nothing has an effect.
fn rows_of_definition(definition: &Definition, why: &str, page: &mut String) {
    head(&definition.kind, page);
    let versions = definition.versions.iter();
    let specs = versions.filter_map(|version| version.root.property("spec"));
    let mut names: Vec<&str> = Vec::new();
    for field in specs.flat_map(|spec| &spec.schema.properties) {
        if !names.contains(&field.name.as_str()) {
            names.push(&field.name);
        }
    }
    for name in names {
        let _infallible = writeln!(page, "| `{name}` | no effect, with a warning: {why} |");
    }
}
