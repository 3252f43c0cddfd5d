//! Manifests of Istio's documentation, when they are at hand.
//!
//! They are not part of the project: the directory is named by `IAKO_CORPUS`.

use std::path::Path;

use iako_resources::{ReadOptions, load_directory};

/// Manifests are excerpts in which some things are meant to be wrong or are not carried yet; more
/// errors than these are a mistake of ours.
const FILES_WITH_ERRORS_MAX: usize = 40;

#[test]
fn manifests_of_the_documentation_are_read() {
    let Some(root) = option_env!("IAKO_CORPUS") else { return };
    let root = Path::new(root);
    if !root.is_dir() {
        return;
    }
    let contents = load_directory(root, &ReadOptions::default());
    let mut bad = 0;
    for content in &contents {
        let errors: Vec<_> = content.diagnostics.iter().filter(|d| d.is_error()).collect();
        if !errors.is_empty() {
            bad += 1;
        }
        for error in errors {
            println!(
                "{} {} {} {}: {}",
                error.origin, error.code, error.subject, error.path, error.message
            );
        }
    }
    println!("{bad} of {} files have an error", contents.len());
    assert!(bad <= FILES_WITH_ERRORS_MAX, "{bad} of {} files have an error", contents.len());
}
