//! Replays what the fuzzers have kept: each input once found something, or covers what nothing else does.

use iako_resources::fuzz::{fuzz_object, fuzz_yaml};

#[test]
fn texts_of_yaml() {
    iako_testkit::corpus::replay("yaml", fuzz_yaml);
}

#[test]
fn objects_of_every_kind() {
    iako_testkit::corpus::replay("object", fuzz_object);
}
