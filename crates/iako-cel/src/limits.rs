//! How large an expression may be, and how much it may do.

/// Bytes of an expression's text.
pub const TEXT_BYTES_MAX: usize = 64 << 10;

/// Parts of an expression: names, literals, calls and selections.
pub const NODES_MAX: usize = 4_096;

/// How deep parts may be nested; what is joined by `&&` or `||` counts once for each doubling.
pub const DEPTH_MAX: usize = 128;

/// Steps of one evaluation: each part that is looked at is one, and each element of a list that is
/// gone through.
pub const STEPS_MAX: u32 = 20_000;

/// Bytes that one evaluation may make in texts and lists that were not there before.
pub const MADE_BYTES_MAX: usize = 256 << 10;

/// Memory of a pattern once it is compiled.
pub const PATTERN_BYTES_MAX: usize = 256 << 10;

/// Memory of a pattern that is known only when it is asked.
pub const LATE_PATTERN_BYTES_MAX: usize = 16 << 10;

/// What the compilation of such a pattern counts, in steps.
pub const LATE_PATTERN_STEPS: u32 = 4_000;
