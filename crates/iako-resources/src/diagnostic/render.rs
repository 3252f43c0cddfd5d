//! Diagnostics for a terminal, with the source line underlined.

use std::fmt::Write as _;

use super::{Diagnostic, Severity};

/// Whether the terminal shows colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Painter {
    /// Text alone.
    Plain,
    /// ANSI colours.
    Colours,
}

impl Painter {
    /// A text in a colour of ANSI, such as `1;31`.
    #[must_use]
    pub fn paint(self, colour: &str, text: &str) -> String {
        match self {
            Self::Plain => text.to_owned(),
            Self::Colours => format!("\u{1b}[{colour}m{text}\u{1b}[0m"),
        }
    }
}

/// One diagnostic as several lines. `source` is the text of its file, if it is at hand.
#[must_use]
pub fn render(diagnostic: &Diagnostic, source: Option<&str>, painter: Painter) -> String {
    let colour = match diagnostic.severity {
        Severity::Error => "1;31",
        Severity::Warning => "1;33",
        Severity::Info => "1;36",
    };
    let head = format!("{}[{}]", diagnostic.severity, diagnostic.code);
    let mut text = format!("{}: {}\n", painter.paint(colour, &head), diagnostic.message);
    let origin = &diagnostic.origin;
    let place = match origin.line {
        0 => origin.file.to_string(),
        _ => origin.to_string(),
    };
    push_line(&mut text, &format!("  --> {place}"));
    if let Some(line) = source.and_then(|source| source_line(source, origin.line)) {
        underline(&mut text, diagnostic, line, &painter.paint(colour, &marks(diagnostic, line)));
    }
    let about = match (diagnostic.subject.as_str(), diagnostic.path.as_str()) {
        ("", path) => path.to_owned(),
        (subject, "") => subject.to_owned(),
        (subject, path) => format!("{subject}, {path}"),
    };
    if !about.is_empty() {
        push_line(&mut text, &format!("  in: {about}"));
    }
    if let Some(help) = &diagnostic.help {
        push_line(&mut text, &format!("  help: {help}"));
    }
    text
}

fn push_line(text: &mut String, line: &str) {
    text.push_str(line);
    text.push('\n');
}

fn source_line(source: &str, line: u32) -> Option<&str> {
    let index = usize::try_from(line.checked_sub(1)?).ok()?;
    source.lines().nth(index)
}

fn marks(diagnostic: &Diagnostic, line: &str) -> String {
    let column = usize::try_from(diagnostic.origin.column).unwrap_or(usize::MAX).max(1);
    let rest = line.chars().count().saturating_sub(column.saturating_sub(1));
    let wanted = usize::try_from(diagnostic.length).unwrap_or(usize::MAX);
    "^".repeat(wanted.clamp(1, rest.max(1)))
}

fn underline(text: &mut String, diagnostic: &Diagnostic, line: &str, marks: &str) {
    let number = diagnostic.origin.line.to_string();
    let gutter = " ".repeat(number.len());
    let column = usize::try_from(diagnostic.origin.column).unwrap_or(1);
    let indent = " ".repeat(column.saturating_sub(1));
    // Writing into a String does not fail.
    let _infallible = write!(text, "{gutter} |\n{number} | {line}\n{gutter} | {indent}{marks}\n");
}
