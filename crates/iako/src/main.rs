//! The `iako` command.

fn main() {}
