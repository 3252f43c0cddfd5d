//! Route tables that are chosen by a key made of the request.

use std::collections::HashMap;
use std::sync::Arc;

use iako_xds_api::envoy::config::core::v3 as core;
use iako_xds_api::envoy::config::route::v3 as route_pb;
use iako_xds_api::envoy::extensions::filters::network::http_connection_manager::v3 as pb;
use pb::scoped_routes::scope_key_builder::{FragmentBuilder, fragment_builder as fragment_pb};

use super::{route, source, wire};
use crate::problem::{At, Fault};
use iako_proxy_config::{
    ConfigSource, Scope, ScopeElement, ScopeFragment, ScopeSource, ScopeTable, ScopedRoutes,
};

pub(super) fn scoped_routes(config: &pb::ScopedRoutes, at: &At<'_>) -> Result<ScopedRoutes, Fault> {
    use pb::scoped_routes::ConfigSpecifier;
    let at_key = at.field("scope_key_builder");
    let at_key = at_key.field("fragments");
    let fragments = config.scope_key_builder.as_ref().map_or(&[][..], |key| &key.fragments);
    let key = wire::list(fragments, &at_key, fragment)?;
    if key.is_empty() {
        return Err(at_key.missing("write what the key of a request is made of"));
    }
    let at_tables = at.field("rds_config_source");
    let from = |config: Option<&core::ConfigSource>, at: &At<'_>| {
        config
            .map_or_else(|| Ok(ConfigSource::default()), |config| source::config_source(config, at))
    };
    let tables = from(config.rds_config_source.as_ref(), &at_tables)?;
    let scopes = match &config.config_specifier {
        Some(ConfigSpecifier::ScopedRouteConfigurationsList(list)) => {
            let at = at.field("scoped_route_configurations_list");
            let at = at.field("scoped_route_configurations");
            let scopes = wire::list(&list.scoped_route_configurations, &at, |scope, at| {
                self::scope(scope, at).map(Arc::new)
            })?;
            keys_stand_once(&scopes, &at)?;
            ScopeSource::Inline(scopes)
        }
        Some(ConfigSpecifier::ScopedRds(config)) => {
            let at = at.field("scoped_rds");
            let at = at.field("scoped_rds_config_source");
            ScopeSource::Discovered(from(config.scoped_rds_config_source.as_ref(), &at)?)
        }
        None => {
            return Err(at.missing("write `scoped_rds` or `scoped_route_configurations_list`"));
        }
    };
    Ok(ScopedRoutes { name: config.name.clone(), key, scopes, tables })
}

fn keys_stand_once(scopes: &[Arc<Scope>], at: &At<'_>) -> Result<(), Fault> {
    let mut owners = HashMap::new();
    for (index, scope) in scopes.iter().enumerate() {
        if let Some(owner) = owners.insert(&scope.key, &scope.name) {
            let problem = format!("the scope `{owner}` has the same key");
            return Err(at.index(index).invalid(problem, "give each scope a key of its own"));
        }
    }
    Ok(())
}

fn fragment(config: &FragmentBuilder, at: &At<'_>) -> Result<ScopeFragment, Fault> {
    use fragment_pb::header_value_extractor::ExtractType;
    let Some(fragment_pb::Type::HeaderValueExtractor(extractor)) = &config.r#type else {
        return Err(at.missing("write `header_value_extractor`"));
    };
    let at = at.field("header_value_extractor");
    let at_separator = at.field("element_separator");
    let element = match &extractor.extract_type {
        Some(ExtractType::Index(index)) => {
            if extractor.element_separator.is_empty() && *index > 0 {
                let problem = "has no element beside the first";
                let help = "write `element_separator`, or the index 0";
                return Err(at.field("index").invalid(problem, help));
            }
            ScopeElement::Index(*index)
        }
        Some(ExtractType::Element(pair)) => {
            let at = at.field("element");
            if pair.separator.is_empty() {
                return Err(at.field("separator").missing("write what parts key and value"));
            }
            if pair.key.is_empty() {
                return Err(at.field("key").missing("write the key of the element"));
            }
            ScopeElement::Value { separator: pair.separator.clone(), key: pair.key.clone() }
        }
        None => return Err(at.missing("write `index` or `element`")),
    };
    if matches!(element, ScopeElement::Value { .. }) && extractor.element_separator.is_empty() {
        return Err(at_separator.missing("write what parts elements"));
    }
    Ok(ScopeFragment {
        header: wire::header_name(&extractor.name, &at.field("name"))?,
        separator: extractor.element_separator.clone(),
        element,
    })
}

/// One scope.
pub(super) fn scope(
    config: &route_pb::ScopedRouteConfiguration,
    at: &At<'_>,
) -> Result<Scope, Fault> {
    use route_pb::scoped_route_configuration::key::fragment::Type;
    if config.name.is_empty() {
        return Err(at.field("name").missing("name the scope"));
    }
    let at_key = at.field("key");
    let at_key = at_key.field("fragments");
    let fragments = config.key.as_ref().map_or(&[][..], |key| &key.fragments);
    let key = wire::list(fragments, &at_key, |part, at| match &part.r#type {
        Some(Type::StringKey(text)) => Ok(text.clone()),
        None => Err(at.missing("write `string_key`")),
    })?;
    if key.is_empty() {
        return Err(at_key.missing("write which requests the scope takes"));
    }
    let at_inline = at.field("route_configuration");
    let routes = match (&config.route_configuration, config.route_configuration_name.as_str()) {
        (Some(table), "") => {
            ScopeTable::Inline(Arc::new(route::route_configuration(table, &at_inline)?))
        }
        (None, name) if !name.is_empty() => ScopeTable::Rds(name.to_owned()),
        (Some(_), _) => {
            let help = "write one of the two";
            return Err(at_inline.invalid("is set beside route_configuration_name", help));
        }
        (None, _) => {
            let at = at.field("route_configuration_name");
            return Err(at.missing("name the route configuration"));
        }
    };
    Ok(Scope { name: config.name.clone(), key, routes, on_demand: config.on_demand })
}
