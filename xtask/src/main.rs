//! House rules, generated pages and the test command.

fn main() {}
