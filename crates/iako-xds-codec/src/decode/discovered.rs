//! Filters whose settings are sent on their own.

use std::collections::BTreeSet;

use iako_xds_api::envoy::config::core::v3 as core;
use prost_types::Any;

use super::{source, typed_struct};
use crate::pool;
use crate::problem::{At, Fault};
use iako_proxy_config::Discovered;

/// The source of a filter's settings, and what it does without them; `read` reads settings.
pub(super) fn discovered<Kind>(
    name: &str,
    config: &core::ExtensionConfigSource,
    read: impl Fn(&Any, &At<'_>) -> Result<Kind, Fault>,
    at: &At<'_>,
) -> Result<Discovered<Kind>, Fault> {
    let at_source = at.field("config_source");
    let Some(from) = config.config_source.as_ref() else {
        return Err(at_source.missing("say where the settings come from"));
    };
    let name = source::sourced_name(name, Some(from), (at, &at_source))?;
    let at_types = at.field("type_urls");
    let full = |url: &String| pool::full_name(url).to_owned();
    let type_names: BTreeSet<String> = config.type_urls.iter().map(full).collect();
    if type_names.is_empty() {
        return Err(at_types.missing("name the types that the settings may have"));
    }
    let at_default = at.field("default_config");
    let default = config.default_config.as_ref();
    let default = default.map(|any| {
        allowed(any, &type_names, &at_default)?;
        read(any, &at_default)
    });
    let serves_at_once = config.apply_default_config_without_warming;
    if serves_at_once && default.is_none() {
        let at = at.field("apply_default_config_without_warming");
        return Err(at.invalid("is set without a default", "write `default_config`"));
    }
    let default = default.transpose()?.map(Box::new);
    Ok(Discovered { name, type_names, default, serves_at_once })
}

fn allowed(any: &Any, types: &BTreeSet<String>, at: &At<'_>) -> Result<(), Fault> {
    let own = typed_struct::unwrap(any, at)?.type_name().to_owned();
    if types.contains(&own) {
        return Ok(());
    }
    let wanted: Vec<_> = types.iter().map(String::as_str).collect();
    let help = format!("send one of {}", wanted.join(", "));
    Err(at.invalid(format!("`{own}` is none of the filter's `type_urls`"), help))
}
