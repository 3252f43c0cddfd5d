//! What the fuzzers have kept: each input once found something, or covers what nothing else does.

use std::fs;
use std::path::Path;

/// Runs the body of a fuzz target on every input that is kept for it.
///
/// # Panics
/// When there is none, for then nothing was tested; and where the body does.
#[expect(clippy::expect_used, reason = "tests may be blunt")]
pub fn replay(target: &str, run: fn(&[u8])) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    let mut inputs = 0;
    for entry in fs::read_dir(&corpus).expect("the corpus is part of the repository") {
        let path = entry.expect("a directory entry").path();
        run(&fs::read(&path).expect("a file of the corpus"));
        inputs += 1;
    }
    assert!(inputs > 0, "{} is empty", corpus.display());
}
