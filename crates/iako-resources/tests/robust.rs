//! Whatever a file holds, reading it ends, and ends without a panic.

use iako_resources::{ReadOptions, read_text};
use proptest::prelude::*;

const SEED: &str = include_str!("testdata/accepted/myapp.yaml");

/// Reads a text and looks at what came of it.
fn read(text: &str) {
    let content = read_text(text, "any.yaml", &ReadOptions::default());
    for diagnostic in &content.diagnostics {
        assert!(!diagnostic.message.is_empty());
        let rendered =
            iako_resources::render(diagnostic, Some(text), iako_resources::Painter::Colours);
        assert!(rendered.contains(&diagnostic.code.to_string()));
    }
    let errors = content.diagnostics.iter().filter(|diagnostic| diagnostic.is_error()).count();
    assert!(content.refused.is_empty() || errors > 0, "{:?}", content.refused);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_text_is_read(text in "\\PC*") {
        read(&text);
    }

    #[test]
    fn any_yaml_like_text_is_read(text in "[a-z:{}\\[\\],&*<|> \n\"'#!%-]{0,200}") {
        read(&text);
    }

    #[test]
    fn a_damaged_manifest_is_read(at in 0..SEED.len(), cut in 0..40_usize, put in "\\PC{0,8}") {
        // The sample is ASCII, so every place is a boundary.
        let (before, rest) = SEED.split_at(at);
        let after = rest.get(cut..).unwrap_or_default();
        read(&format!("{before}{put}{after}"));
    }

    #[test]
    fn a_value_of_another_type_is_read(
        line in 0..SEED.lines().count(),
        value in prop::sample::select(vec!["7", "[1]", "{a: b}", "null", "true", "''", "-1", "1e9", "~"]),
    ) {
        let swapped: Vec<String> = SEED
            .lines()
            .enumerate()
            .map(|(number, text)| match text.split_once(": ") {
                Some((key, _)) if number == line => format!("{key}: {value}"),
                _ => text.to_owned(),
            })
            .collect();
        read(&swapped.join("\n"));
    }
}
