//! The examples of this repository are what we tell users to write.

use std::path::Path;

use iako_resources::{Code, ReadOptions, load_directory};

#[test]
fn the_examples_have_no_problem() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    let contents = load_directory(&examples, &ReadOptions::default());
    assert!(contents.len() > 5, "only {} files were found", contents.len());
    // The manifests that the project promises to accept use one field by its old name.
    let problems: Vec<String> = contents
        .iter()
        .flat_map(|content| &content.diagnostics)
        .filter(|found| found.code != Code::Deprecated)
        .map(|found| format!("{} {} {}", found.origin, found.code, found.message))
        .collect();
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}
