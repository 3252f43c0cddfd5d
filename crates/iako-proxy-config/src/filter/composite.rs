//! Filters that requests choose.

use iako_types::Percent;

use super::HttpFilterKind;
use crate::{Keyed, MatchTree};

/// Does what a tree of conditions chooses for a request; nothing where it chooses nothing.
/// Source: `envoy.extensions.filters.http.composite.v3.Composite` in an
/// `envoy.extensions.common.matching.v3.ExtensionWithMatcher`.
#[derive(Debug, Clone, PartialEq)]
pub struct Composite {
    /// Asked once a request, when it comes to the filter.
    pub tree: MatchTree<ChosenFilters>,
}

/// What is done in the place of a filter that requests choose.
/// Source: `envoy.extensions.filters.http.composite.v3.ExecuteFilterAction`.
#[derive(Debug, Clone, PartialEq)]
pub struct ChosenFilters {
    /// One after the other, each with its name for people. Settings of routes are those for the filter
    /// that was chosen through.
    pub filters: Vec<(String, HttpFilterKind)>,
    /// For which share of requests that choose them. Envoy default: all.
    pub share: Keyed<Percent>,
}
