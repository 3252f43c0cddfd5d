//! Filters that requests choose.

use iako_types::Percent;
use iako_xds_api::envoy::config::core::v3::TypedExtensionConfig;
use iako_xds_api::envoy::extensions::common::matching::v3::{
    ExtensionWithMatcher, ExtensionWithMatcherPerRoute,
};
use iako_xds_api::envoy::extensions::filters::common::matcher::action::v3 as skip_pb;
use iako_xds_api::envoy::extensions::filters::http::composite::v3 as pb;
use iako_xds_api::xds::r#type::matcher::v3::Matcher;
use prost::Name as _;
use prost_types::Any;

use super::{http_filter, match_tree, wire};
use crate::pool;
use crate::problem::{At, Fault};
use iako_proxy_config::{
    ChosenFilters, Composite, HttpFilterKind, MatchNode, MatchTree, MatchedFilter, SkipFilter,
};

/// A filter that comes with a tree of conditions.
pub(super) fn filter(config: &ExtensionWithMatcher, at: &At<'_>) -> Result<HttpFilterKind, Fault> {
    let at_config = at.field("extension_config");
    let wrapped = config.extension_config.as_ref();
    let missing = || at_config.missing("write the filter with `@type`");
    let wrapped = wrapped.ok_or_else(missing)?;
    let at_tree = at.field("xds_matcher");
    let at_wrapped = at_config.field("typed_config");
    let any = wrapped.typed_config.as_ref().ok_or_else(missing)?;
    if pool::full_name(&any.type_url) == pb::Composite::full_name() {
        let composite: pb::Composite = wire::unpack(any, &at_wrapped)?;
        let tree = config.xds_matcher.as_ref().map(|tree| (tree, &at_tree));
        return chooser(&composite, tree).map(composite_kind);
    }
    let (_, kind) = inner(wrapped, &at_config)?;
    let tree = config.xds_matcher.as_ref().map(|tree| skipping(tree, &at_tree)).transpose()?;
    Ok(HttpFilterKind::Matched(Box::new(MatchedFilter { kind, tree })))
}

/// A composite filter that stands by itself.
pub(super) fn plain(config: &pb::Composite, at: &At<'_>) -> Result<HttpFilterKind, Fault> {
    let at_tree = at.field("matcher");
    chooser(config, config.matcher.as_ref().map(|tree| (tree, &at_tree))).map(composite_kind)
}

fn composite_kind(composite: Composite) -> HttpFilterKind {
    HttpFilterKind::Composite(Box::new(composite))
}

fn chooser(
    composite: &pb::Composite,
    tree: Option<(&Matcher, &At<'_>)>,
) -> Result<Composite, Fault> {
    let action = |any: &Any, at: &At<'_>| chosen(any, composite, at);
    let tree = tree.map(|(tree, at)| match_tree::tree(tree, at, &action)).transpose()?;
    let nothing = MatchTree { node: MatchNode::Never, otherwise: None };
    Ok(Composite { tree: tree.unwrap_or(nothing) })
}

/// The tree of a route that leaves the filter out.
pub(super) fn for_route(
    config: &ExtensionWithMatcherPerRoute,
    at: &At<'_>,
) -> Result<MatchTree<SkipFilter>, Fault> {
    let at = at.field("xds_matcher");
    let tree = config.xds_matcher.as_ref().map(|tree| skipping(tree, &at)).transpose()?;
    Ok(tree.unwrap_or(MatchTree { node: MatchNode::Never, otherwise: None }))
}

fn skipping(config: &Matcher, at: &At<'_>) -> Result<MatchTree<SkipFilter>, Fault> {
    let action = |any: &Any, at: &At<'_>| {
        let name = pool::full_name(&any.type_url);
        if name == skip_pb::SkipFilter::full_name() {
            return Ok(SkipFilter);
        }
        Err(at.invalid(format!("`{name}` is not supported"), "choose a SkipFilter"))
    };
    match_tree::tree(config, at, &action)
}

fn chosen(any: &Any, composite: &pb::Composite, at: &At<'_>) -> Result<ChosenFilters, Fault> {
    let name = pool::full_name(&any.type_url);
    if name == skip_pb::SkipFilter::full_name() {
        return Ok(ChosenFilters { filters: Vec::new(), share: Percent::HUNDRED.into() });
    }
    if name != pb::ExecuteFilterAction::full_name() {
        let problem = format!("`{name}` is not supported");
        return Err(at.invalid(problem, "choose an ExecuteFilterAction"));
    }
    let config: pb::ExecuteFilterAction = wire::unpack(any, at)?;
    let at_one = at.field("typed_config");
    let named = &config.filter_chain_name;
    let filters = match (&config.typed_config, &config.filter_chain) {
        (Some(one), None) if named.is_empty() => vec![inner(one, &at_one)?],
        (None, Some(chain)) if named.is_empty() => filters(chain, &at.field("filter_chain"))?,
        (None, None) if !named.is_empty() => {
            let at = at.field("filter_chain_name");
            let chain = composite.named_filter_chains.get(named);
            let help = "add it to `named_filter_chains` of the filter";
            let problem = format!("no chain is named `{named}`");
            filters(chain.ok_or_else(|| at.invalid(problem, help))?, &at)?
        }
        _ => {
            let help = "write one of `typed_config`, `filter_chain` and `filter_chain_name`";
            return Err(at.invalid("does not say what is done", help));
        }
    };
    let at_share = at.field("sample_percent");
    let share =
        wire::runtime_fraction(config.sample_percent.as_ref(), Percent::HUNDRED, &at_share)?;
    Ok(ChosenFilters { filters, share })
}

fn filters(
    chain: &pb::FilterChainConfiguration,
    at: &At<'_>,
) -> Result<Vec<(String, HttpFilterKind)>, Fault> {
    let at = at.field("typed_config");
    if chain.typed_config.is_empty() {
        return Err(at.missing("write at least one filter"));
    }
    wire::list(&chain.typed_config, &at, inner)
}

/// A filter that may be chosen: any but those that end a chain or choose themselves.
fn inner(config: &TypedExtensionConfig, at: &At<'_>) -> Result<(String, HttpFilterKind), Fault> {
    let at = at.field("typed_config");
    let any = config.typed_config.as_ref();
    let kind = http_filter::settings(any.ok_or_else(|| at.missing("write a filter"))?, &at)?;
    if matches!(
        kind,
        HttpFilterKind::Router(_) | HttpFilterKind::Composite(_) | HttpFilterKind::Matched(_)
    ) {
        return Err(
            at.invalid("cannot be chosen", "choose a filter that neither routes nor chooses")
        );
    }
    Ok((config.name.clone(), kind))
}
