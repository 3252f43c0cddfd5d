//! Findings as annotations of GitHub Actions. Source: GitHub's "Workflow commands".

use iako_resources::{Diagnostic, Severity};

use super::load::relative;

/// A command for each finding.
pub(super) fn commands(diagnostics: &[Diagnostic]) -> String {
    diagnostics.iter().map(command).collect()
}

fn command(found: &Diagnostic) -> String {
    let name = match found.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Info => "notice",
    };
    let mut properties = vec![("file", relative(&found.origin.file))];
    if found.origin.line > 0 {
        properties.push(("line", found.origin.line.to_string()));
        properties.push(("col", found.origin.column.to_string()));
        if found.length > 0 {
            let end = found.origin.column.saturating_add(found.length);
            properties.push(("endColumn", end.to_string()));
        }
    }
    properties.push(("title", format!("{} {}", found.code, found.code.title())));
    let properties: Vec<String> = properties
        .into_iter()
        .map(|(name, value)| format!("{name}={}", escaped(&value, PROPERTY)))
        .collect();
    let about = [found.subject.as_str(), found.path.as_str()].join(" ");
    let mut message = match about.trim() {
        "" => found.message.clone(),
        about => format!("{about}: {}", found.message),
    };
    if let Some(help) = &found.help {
        message.push_str(&format!("\nhelp: {help}"));
    }
    format!("::{name} {}::{}\n", properties.join(","), escaped(&message, MESSAGE))
}

const MESSAGE: &[char] = &['%', '\r', '\n'];
const PROPERTY: &[char] = &['%', '\r', '\n', ':', ','];

fn escaped(text: &str, special: &[char]) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        if special.contains(&c) {
            safe.push_str(&format!("%{:02X}", u32::from(c)));
        } else {
            safe.push(c);
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;
    use iako_resources::{Code, Origin, Span};

    #[test]
    fn what_would_end_a_command_is_escaped() {
        let place = Origin::of_source("a,b.yaml").at(Span { line: 3, column: 5, length: 2 });
        let mut found =
            Diagnostic::new(Code::BadHost, "Gateway a/b", place, "50 %\nbad".to_owned())
                .at("spec.servers[0]")
                .with_help("mend it");
        found.length = 2;
        assert_eq!(
            command(&found),
            "::error file=a%2Cb.yaml,line=3,col=5,endColumn=7,title=IAKO0027 A host name is not \
             allowed::Gateway a/b spec.servers[0]: 50 %25%0Abad%0Ahelp: mend it\n"
        );
    }
}
