//! Route tables that are chosen by a key made of the request.

use iako_xds_api::envoy::config::route::v3 as route_pb;
use iako_xds_api::envoy::extensions::filters::network::http_connection_manager::v3 as pb;
use pb::scoped_routes::ScopeKeyBuilder;
use pb::scoped_routes::scope_key_builder::{FragmentBuilder, fragment_builder as fragment_pb};

use super::{route, source};
use iako_proxy_config::{
    Scope, ScopeElement, ScopeFragment, ScopeSource, ScopeTable, ScopedRoutes,
};

pub(super) fn scoped_routes(value: &ScopedRoutes) -> pb::ScopedRoutes {
    use pb::scoped_routes::ConfigSpecifier;
    let scopes = match &value.scopes {
        ScopeSource::Discovered(from) => ConfigSpecifier::ScopedRds(pb::ScopedRds {
            scoped_rds_config_source: Some(source::config_source(from)),
            ..Default::default()
        }),
        ScopeSource::Inline(scopes) => {
            ConfigSpecifier::ScopedRouteConfigurationsList(pb::ScopedRouteConfigurationsList {
                scoped_route_configurations: scopes.iter().map(|value| scope(value)).collect(),
            })
        }
    };
    pb::ScopedRoutes {
        name: value.name.clone(),
        scope_key_builder: Some(ScopeKeyBuilder {
            fragments: value.key.iter().map(fragment).collect(),
        }),
        rds_config_source: Some(source::config_source(&value.tables)),
        config_specifier: Some(scopes),
    }
}

fn fragment(value: &ScopeFragment) -> FragmentBuilder {
    use fragment_pb::header_value_extractor::{ExtractType, KvElement};
    let element = match &value.element {
        ScopeElement::Index(index) => ExtractType::Index(*index),
        ScopeElement::Value { separator, key } => {
            ExtractType::Element(KvElement { separator: separator.clone(), key: key.clone() })
        }
    };
    FragmentBuilder {
        r#type: Some(fragment_pb::Type::HeaderValueExtractor(fragment_pb::HeaderValueExtractor {
            name: value.header.as_str().to_owned(),
            element_separator: value.separator.clone(),
            extract_type: Some(element),
        })),
    }
}

pub(super) fn scope(value: &Scope) -> route_pb::ScopedRouteConfiguration {
    use route_pb::scoped_route_configuration::{Key, key::Fragment, key::fragment::Type};
    let part = |text: &String| Fragment { r#type: Some(Type::StringKey(text.clone())) };
    let (name, table) = match &value.routes {
        ScopeTable::Rds(name) => (name.clone(), None),
        ScopeTable::Inline(table) => (String::new(), Some(route::route_configuration(table))),
    };
    route_pb::ScopedRouteConfiguration {
        on_demand: value.on_demand,
        name: value.name.clone(),
        route_configuration_name: name,
        route_configuration: table,
        key: Some(Key { fragments: value.key.iter().map(part).collect() }),
    }
}
