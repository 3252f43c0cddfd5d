//! What the fuzzer kept, run again.

#[test]
fn every_kept_expression_is_evaluated() {
    iako_testkit::corpus::replay("cel", iako_cel::fuzz::fuzz_cel);
}
