//! Filters that requests choose.

use iako_types::Percent;
use iako_xds_api::envoy::config::core::v3::TypedExtensionConfig;
use iako_xds_api::envoy::extensions::common::matching::v3::{
    ExtensionWithMatcher, ExtensionWithMatcherPerRoute,
};
use iako_xds_api::envoy::extensions::filters::common::matcher::action::v3 as skip_pb;
use iako_xds_api::envoy::extensions::filters::http::composite::v3 as pb;
use prost_types::Any;

use super::{match_tree, wire};
use iako_proxy_config::{ChosenFilters, Composite, HttpFilterKind, MatchTree, SkipFilter};

/// A filter that requests choose; `inner` writes what is chosen.
pub(super) fn filter(
    value: &Composite,
    inner: &dyn Fn(&HttpFilterKind) -> Any,
) -> ExtensionWithMatcher {
    let composite = wire::any(&pb::Composite::default());
    ExtensionWithMatcher {
        xds_matcher: Some(match_tree::tree(&value.tree, &|chosen| action(chosen, inner))),
        extension_config: Some(TypedExtensionConfig {
            name: "composite".to_owned(),
            typed_config: Some(composite),
        }),
        ..Default::default()
    }
}

/// A filter that some requests leave out.
pub(super) fn matched(tree: Option<&MatchTree<SkipFilter>>, kind: Any) -> ExtensionWithMatcher {
    ExtensionWithMatcher {
        xds_matcher: tree.map(|tree| match_tree::tree(tree, &skip)),
        extension_config: Some(TypedExtensionConfig {
            name: "matched".to_owned(),
            typed_config: Some(kind),
        }),
        ..Default::default()
    }
}

/// The tree of a route.
pub(super) fn for_route(tree: &MatchTree<SkipFilter>) -> ExtensionWithMatcherPerRoute {
    ExtensionWithMatcherPerRoute { xds_matcher: Some(match_tree::tree(tree, &skip)) }
}

fn skip(_: &SkipFilter) -> Any {
    wire::any(&skip_pb::SkipFilter {})
}

fn action(value: &ChosenFilters, inner: &dyn Fn(&HttpFilterKind) -> Any) -> Any {
    if value.filters.is_empty() {
        return skip(&SkipFilter);
    }
    let one = |(name, kind): &(String, HttpFilterKind)| TypedExtensionConfig {
        name: name.clone(),
        typed_config: Some(inner(kind)),
    };
    let mut filters: Vec<_> = value.filters.iter().map(one).collect();
    let share =
        (value.share != Percent::HUNDRED.into()).then(|| wire::runtime_fraction(&value.share));
    let mut action = pb::ExecuteFilterAction { sample_percent: share, ..Default::default() };
    if filters.len() == 1 {
        action.typed_config = filters.pop();
    } else {
        action.filter_chain = Some(pb::FilterChainConfiguration { typed_config: filters });
    }
    wire::any(&action)
}
