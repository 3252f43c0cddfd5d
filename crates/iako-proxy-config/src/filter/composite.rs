//! Filters that requests choose.

use iako_types::Percent;

use super::HttpFilterKind;
use crate::{Keyed, MatchTree};

/// Does what a tree of conditions chooses for a request; nothing where it chooses nothing.
/// Source: `envoy.extensions.filters.http.composite.v3.Composite`, with its own `matcher` or in an
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
    /// that was chosen through. None where nothing is done.
    pub filters: Vec<(String, HttpFilterKind)>,
    /// For which share of requests that choose them. Envoy default: all.
    pub share: Keyed<Percent>,
}

/// A filter that a tree of conditions leaves out for some requests. Source:
/// `envoy.extensions.common.matching.v3.ExtensionWithMatcher`.
#[derive(Debug, Clone, PartialEq)]
pub struct MatchedFilter {
    /// The filter: any but a router, or one that chooses itself. Settings of routes are its own.
    pub kind: HttpFilterKind,
    /// Asked once a request, when it comes to the filter, unless a route has a tree of its own. Without
    /// any the filter is left out, as in Envoy.
    pub tree: Option<MatchTree<SkipFilter>>,
}

/// That a filter is left out. Source:
/// `envoy.extensions.filters.common.matcher.action.v3.SkipFilter`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SkipFilter;
