//! `docs/codes.md`, made from the table.

use std::fmt::Write as _;

use super::{Code, Counterpart, Example, ISTIO_MESSAGES, IstioMessage};

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
        example(&mut page, *code);
        let names: Vec<String> = ISTIO_MESSAGES
            .iter()
            .filter(|message| message.is_said_by(*code))
            .map(|message| format!("{} {}", message.code, message.name))
            .collect();
        if !names.is_empty() {
            let _infallible = write!(page, "\nIstio's name: {}.\n", names.join(", "));
        }
    }
    istio_messages(&mut page);
    page
}

/// A wrong and a right way to write, or why none is shown.
fn example(page: &mut String, code: Code) {
    let _infallible = match (code.example(), code.without_example()) {
        (Some(Example { wrong, right }), _) => {
            write!(page, "\nWrong:\n\n```yaml\n{wrong}```\n\nRight:\n\n```yaml\n{right}```\n")
        }
        (None, Some(why)) => write!(page, "\nNo example: {why}\n"),
        (None, None) => Ok(()),
    };
}

/// The table of what `istioctl analyze` says, and what we say.
fn istio_messages(page: &mut String) {
    page.push_str(
        "\n## Messages of istioctl\n\nWhat `istioctl analyze` says, and what `iako analyze` says in \
         its place.\n\n| Istio | | Iako |\n|---|---|---|\n",
    );
    for IstioMessage { code, name, ours } in ISTIO_MESSAGES {
        let ours = match ours {
            Counterpart::Same(codes) => {
                let codes: Vec<String> = codes.iter().map(ToString::to_string).collect();
                codes.join(", ")
            }
            Counterpart::None(why) => format!("none: {why}"),
        };
        let _infallible = writeln!(page, "| {code} | {name} | {ours} |");
    }
}
