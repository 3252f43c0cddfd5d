//! Where a rule came from.

/// The object of the user's that a piece of configuration was made from, so that an explanation
/// can name it.
///
/// Travels in `filter_metadata`: `istio.config` as Istio writes it, file and line beside it under
/// `iako`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct RuleOrigin {
    /// For example `VirtualService`.
    pub kind: String,
    /// The object's namespace.
    pub namespace: String,
    /// The object's name.
    pub name: String,
    /// The file that it was read from; empty when it was not read from a file.
    pub file: String,
    /// The line of the deciding rule, from 1; 0 when unknown.
    pub line: u32,
}
