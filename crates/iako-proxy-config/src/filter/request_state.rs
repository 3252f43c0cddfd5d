//! Objects that are kept beside requests.

use super::network::FilterStateValue;

/// Keeps objects beside a request, for who comes after.
/// Source: `envoy.extensions.filters.http.set_filter_state.v3.Config`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SetRequestState {
    /// Objects, in order.
    pub values: Vec<FilterStateValue>,
    /// Whether the route is chosen again after. Envoy default: false.
    pub clears_route: bool,
}
