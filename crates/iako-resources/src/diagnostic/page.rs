//! `docs/codes.md`, made from the table.

use std::fmt::Write as _;

use super::Code;

/// The page that explains every code, in Markdown.
#[must_use]
pub fn codes_page() -> String {
    let mut page = String::from(
        "# Codes\n\nEvery problem that Iako finds in configuration has a code, which never changes \
         its meaning.\nAn **error** means that the object named is not used; what it said before \
         stays in force.\n\n<!-- made from crates/iako-resources/src/diagnostic/code.rs -->\n",
    );
    for code in Code::ALL {
        // Writing into a String does not fail.
        let _infallible = write!(
            page,
            "\n## {code}: {}\n\nSeverity: {}.\n\n{}\n",
            code.title(),
            code.severity(),
            code.explanation(),
        );
    }
    page
}
