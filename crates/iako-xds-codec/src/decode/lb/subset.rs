//! Subsets. Both messages that configure them have the same numbers for the same things.

use std::collections::BTreeMap;

use iako_xds_api::envoy::config::cluster::v3::cluster::lb_subset_config as pb;
use prost_types::Struct;

use super::super::{metadata, wire};
use crate::problem::{At, Fault};
use iako_proxy_config::{SelectorFallback, SubsetFallback, SubsetSelector};

/// The parts of a selector.
pub(super) struct Selector<'a> {
    pub(super) keys: &'a [String],
    pub(super) fallback: i32,
    pub(super) fallback_keys: &'a [String],
    pub(super) single_host: bool,
}

pub(super) fn selector(config: &Selector<'_>, at: &At<'_>) -> Result<SubsetSelector, Fault> {
    use pb::lb_subset_selector::LbSubsetSelectorFallbackPolicy as Policy;
    let mut value = SubsetSelector::new(config.keys);
    if value.keys.is_empty() {
        return Err(at.field("keys").missing("name the metadata by which instances are grouped"));
    }
    value.single_host = config.single_host;
    value.fallback = match wire::known::<Policy>(config.fallback, &at.field("fallback_policy"))? {
        Policy::NotDefined => None,
        Policy::NoFallback => Some(SelectorFallback::None),
        Policy::AnyEndpoint => Some(SelectorFallback::Any),
        Policy::DefaultSubset => Some(SelectorFallback::Default),
        Policy::KeysSubset => {
            let keys = SubsetSelector::new(config.fallback_keys).keys;
            let at = at.field("fallback_keys_subset");
            let are_fewer = keys.len() < value.keys.len();
            if keys.is_empty() || !are_fewer || !keys.iter().all(|key| value.keys.contains(key)) {
                let help = "name some of the selector's keys, and not all";
                return Err(at.invalid("is not a part of the selector's keys", help));
            }
            Some(SelectorFallback::Keys(keys))
        }
    };
    Ok(value)
}

pub(super) fn fallback(number: i32) -> SubsetFallback {
    use pb::LbSubsetFallbackPolicy as Policy;
    match Policy::try_from(number) {
        Ok(Policy::AnyEndpoint) => SubsetFallback::AnyEndpoint,
        Ok(Policy::DefaultSubset) => SubsetFallback::Default,
        Ok(Policy::NoFallback) | Err(_) => SubsetFallback::None,
    }
}

pub(super) fn default(subset: Option<&Struct>) -> BTreeMap<String, String> {
    subset.map(metadata::texts).unwrap_or_default()
}
