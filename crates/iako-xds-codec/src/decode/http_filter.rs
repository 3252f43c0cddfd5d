//! HTTP filters, and their settings for single routes.

use std::collections::BTreeMap;

use iako_xds_api::envoy::config::route::v3::FilterConfig;
use iako_xds_api::envoy::extensions::filters::http as filters;
use iako_xds_api::envoy::extensions::filters::network::http_connection_manager::v3 as hcm;
use iako_xds_api::istio::envoy::config::filter::http::alpn::v2alpha1 as alpn;
use iako_xds_api::stats::PluginConfig;
use prost::Name as _;
use prost_types::{Any, Struct, Value, value::Kind};

use super::typed_struct::{self, Extension};
use super::{
    content, discovered, discovery, ext_authz, ext_proc, fault, global_limit, head, jwt, limiting,
    on_demand, rbac, session, wire,
};
use crate::pool;
use crate::problem::{At, Fault};
use iako_proxy_config::{
    FilterOverrides, FilterSettings, HttpFilter, HttpFilterKind, PeerDiscovery, PeerMetadata,
    Router, StatsFilter, StatsMetricOverride, StrictHeader, UnsupportedFilter,
};

/// The type of Istio's filter that tells workloads each other's names. It has no schema here: it
/// always travels as a structure.
pub(crate) const PEER_METADATA: &str = "io.istio.http.peer_metadata.Config";

/// Filters that are left out for now, with the reason.
const LATER: [(&str, &str); 4] = [
    (
        "envoy.extensions.filters.http.lua.v3.Lua",
        "scripts are not run by this version: an ext_authz or ext_proc service does the same",
    ),
    (
        "envoy.extensions.filters.http.wasm.v3.Wasm",
        "WebAssembly is not run by this version: an ext_authz or ext_proc service does the same",
    ),
    (
        "istio.envoy.config.filter.http.authn.v2alpha1.FilterConfig",
        "Istio does without it since 1.24: TLS settings hold what PeerAuthentication says, and \
         jwt_authn what RequestAuthentication says",
    ),
    (
        "envoy.extensions.filters.http.grpc_json_transcoder.v3.GrpcJsonTranscoder",
        "JSON is not made into gRPC by this version: a server behind the route that speaks both does \
         the same",
    ),
];

pub(super) fn filters(filters: &[hcm::HttpFilter], at: &At<'_>) -> Result<Vec<HttpFilter>, Fault> {
    let values = wire::list(filters, at, filter)?;
    let router = |filter: &HttpFilter| matches!(filter.kind, HttpFilterKind::Router(_));
    // What the last one will be is seen when it comes.
    let last = values.last().map(|filter| &filter.kind);
    if matches!(last, Some(HttpFilterKind::Discovered(_))) && !values.iter().any(router) {
        return Ok(values);
    }
    match values.iter().position(router) {
        Some(place) if place.checked_add(1) == Some(values.len()) => Ok(values),
        Some(place) => Err(at
            .index(place)
            .invalid("the router is not the last filter", "move the router to the end")),
        None => Err(at.missing("end the list with the router (envoy.filters.http.router)")),
    }
}

fn filter(filter: &hcm::HttpFilter, at: &At<'_>) -> Result<HttpFilter, Fault> {
    use hcm::http_filter::ConfigType;
    if filter.name.is_empty() {
        return Err(at.field("name").missing("write the name that per-route settings refer to"));
    }
    let any = match &filter.config_type {
        Some(ConfigType::TypedConfig(any)) => any,
        Some(ConfigType::ConfigDiscovery(source)) => {
            let at = at.field("config_discovery");
            let found = discovered::discovered(&filter.name, source, settings, &at)?;
            let kind = HttpFilterKind::Discovered(Box::new(found));
            return Ok(HttpFilter { name: filter.name.clone(), disabled: filter.disabled, kind });
        }
        None => {
            return Err(at
                .field("typed_config")
                .missing("write the filter's settings with `@type`"));
        }
    };
    let at_config = at.field("typed_config");
    let extension = typed_struct::unwrap(any, &at_config)?;
    let kind = match kind(&extension, &at_config)? {
        Some(kind) => kind,
        None if filter.is_optional => {
            let type_name = extension.type_name().to_owned();
            at.warn(format!(
                "the optional filter `{}` ({type_name}) is not supported and passed over",
                filter.name
            ));
            HttpFilterKind::Unsupported(UnsupportedFilter { type_name })
        }
        None => {
            let problem = format!(
                "the filter `{}` ({}) is not supported",
                filter.name,
                extension.type_name()
            );
            let help = "remove it, or set `is_optional: true` if requests may pass without it";
            let later = LATER.iter().find(|(name, _)| *name == extension.type_name());
            let help = later.map_or_else(|| help.to_owned(), |(_, what)| format!("{what}; {help}"));
            return Err(at_config.invalid(problem, help));
        }
    };
    Ok(HttpFilter { name: filter.name.clone(), disabled: filter.disabled, kind })
}

/// Settings that are sent on their own.
pub(super) fn settings(any: &Any, at: &At<'_>) -> Result<HttpFilterKind, Fault> {
    let extension = typed_struct::unwrap(any, at)?;
    kind(&extension, at)?.ok_or_else(|| {
        let problem = format!("the filter {} is not supported", extension.type_name());
        at.invalid(problem, "send settings of a filter that docs/xds-support.md lists")
    })
}

fn router(config: &filters::router::v3::Router, at: &At<'_>) -> Result<Router, Fault> {
    let at_strict = at.field("strict_check_headers");
    let strict = wire::list(&config.strict_check_headers, &at_strict, |name, at| {
        let known = StrictHeader::ALL.into_iter().find(|header| header.name() == name);
        known.ok_or_else(|| {
            let names = StrictHeader::ALL.map(StrictHeader::name).join(", ");
            at.invalid(format!("`{name}` cannot be checked"), format!("name one of {names}"))
        })
    })?;
    Ok(Router {
        suppress_envoy_headers: config.suppress_envoy_headers,
        child_spans: config.start_child_span,
        strict_headers: strict,
        respect_expected_timeout: config.respect_expected_rq_timeout,
    })
}

fn kind(extension: &Extension, at: &At<'_>) -> Result<Option<HttpFilterKind>, Fault> {
    let any = match extension {
        Extension::Message(any) => any,
        Extension::Fields(_, fields) => {
            let peer = extension.type_name() == PEER_METADATA;
            return Ok(peer.then(|| HttpFilterKind::PeerMetadata(peer_metadata(fields, at))));
        }
    };
    let name = pool::full_name(&any.type_url);
    Ok(Some(if name == filters::router::v3::Router::full_name() {
        let config: filters::router::v3::Router = wire::unpack(any, at)?;
        HttpFilterKind::Router(router(&config, at)?)
    } else if name == filters::fault::v3::HttpFault::full_name() {
        HttpFilterKind::Fault(Box::new(fault::fault(&wire::unpack(any, at)?, at)?))
    } else if name == filters::cors::v3::Cors::full_name() {
        HttpFilterKind::Cors
    } else if name == filters::jwt_authn::v3::JwtAuthentication::full_name() {
        HttpFilterKind::JwtAuthn(Box::new(jwt::authn(&wire::unpack(any, at)?, at)?))
    } else if name == filters::rbac::v3::Rbac::full_name() {
        HttpFilterKind::Rbac(Box::new(rbac::http(&wire::unpack(any, at)?, at)?))
    } else if name == alpn::FilterConfig::full_name() {
        alpn_is_known(&wire::unpack(any, at)?, at);
        HttpFilterKind::Alpn
    } else if name == PluginConfig::full_name() {
        HttpFilterKind::Stats(stats(&wire::unpack(any, at)?))
    } else if name == filters::grpc_web::v3::GrpcWeb::full_name() {
        HttpFilterKind::GrpcWeb
    } else if name == filters::stateful_session::v3::StatefulSession::full_name() {
        let config = wire::unpack(any, at)?;
        HttpFilterKind::StatefulSession(Box::new(session::session(&config, at)?))
    } else if name == filters::header_mutation::v3::HeaderMutation::full_name() {
        HttpFilterKind::HeaderMutation(Box::new(head::header_mutation(
            &wire::unpack(any, at)?,
            at,
        )?))
    } else if name == filters::header_to_metadata::v3::Config::full_name() {
        let rules = head::header_to_metadata(&wire::unpack(any, at)?, at)?;
        HttpFilterKind::HeaderToMetadata(Box::new(rules))
    } else if name == filters::set_metadata::v3::Config::full_name() {
        HttpFilterKind::SetMetadata(head::set_metadata(&wire::unpack(any, at)?, at)?)
    } else if name == filters::ext_authz::v3::ExtAuthz::full_name() {
        HttpFilterKind::ExtAuthz(Box::new(ext_authz::filter(&wire::unpack(any, at)?, at)?))
    } else if name == filters::ext_proc::v3::ExternalProcessor::full_name() {
        HttpFilterKind::ExtProc(Box::new(ext_proc::filter(&wire::unpack(any, at)?, at)?))
    } else if name == filters::ratelimit::v3::RateLimit::full_name() {
        HttpFilterKind::GlobalRateLimit(Box::new(global_limit::filter(
            &wire::unpack(any, at)?,
            at,
        )?))
    } else if name == filters::on_demand::v3::OnDemand::full_name() {
        HttpFilterKind::OnDemand(Box::new(on_demand::filter(&wire::unpack(any, at)?, at)?))
    } else if name == filters::dynamic_forward_proxy::v3::FilterConfig::full_name() {
        HttpFilterKind::DynamicForward(Box::new(discovery::forward_filter(
            &wire::unpack(any, at)?,
            at,
        )?))
    } else if let Some(kind) = limiting::kind(name, any, at)? {
        kind
    } else {
        return content::kind(name, any, at);
    }))
}

/// The names that Istio writes for each protocol, best first.
pub(crate) const ALPN_NAMES: [(alpn::filter_config::Protocol, [&str; 3]); 3] = [
    (alpn::filter_config::Protocol::Http10, ["istio-http/1.0", "istio", "http/1.0"]),
    (alpn::filter_config::Protocol::Http11, ["istio-http/1.1", "istio", "http/1.1"]),
    (alpn::filter_config::Protocol::Http2, ["istio-h2", "istio", "h2"]),
];

fn alpn_is_known(config: &alpn::FilterConfig, at: &At<'_>) {
    let at = at.field("alpn_override");
    for (index, entry) in config.alpn_override.iter().enumerate() {
        let known =
            ALPN_NAMES.iter().find(|(protocol, _)| i32::from(*protocol) == entry.upstream_protocol);
        if known.is_none_or(|(_, names)| entry.alpn_override != *names) {
            at.index(index).warn("differs from Istio's names, which are used");
        }
    }
}

pub(super) fn stats(config: &PluginConfig) -> StatsFilter {
    let overrides = config.metrics.iter().map(|metric| StatsMetricOverride {
        metric: metric.name.clone(),
        drop: metric.drop,
        tags_to_remove: metric.tags_to_remove.clone(),
    });
    StatsFilter {
        overrides: overrides.collect(),
        disable_host_header_fallback: config.disable_host_header_fallback,
    }
}

/// Reads the structure of Istio's peer metadata filter; both spellings of names are in use.
fn peer_metadata(fields: &Struct, at: &At<'_>) -> PeerMetadata {
    let mut value = PeerMetadata::default();
    for (key, entry) in &fields.fields {
        let at = at.field("value");
        let at = at.key(key);
        match key.as_str() {
            "downstream_discovery" | "downstreamDiscovery" => {
                value.downstream_discovery = discoveries(entry, &at);
            }
            "upstream_discovery" | "upstreamDiscovery" => {
                value.upstream_discovery = discoveries(entry, &at);
            }
            "downstream_propagation" | "downstreamPropagation" => {
                value.downstream_propagation = propagates(entry, &mut value.skip_external, &at);
            }
            "upstream_propagation" | "upstreamPropagation" => {
                value.upstream_propagation = propagates(entry, &mut value.skip_external, &at);
            }
            _ => at.warn("has no effect: this setting is not known"),
        }
    }
    value
}

fn methods(value: &Value) -> Vec<(&str, &Value)> {
    let Some(Kind::ListValue(list)) = &value.kind else { return Vec::new() };
    let entries = list.values.iter().filter_map(|entry| match &entry.kind {
        Some(Kind::StructValue(method)) => Some(method.fields.iter()),
        _ => None,
    });
    entries.flatten().map(|(name, value)| (name.as_str(), value)).collect()
}

fn discoveries(value: &Value, at: &At<'_>) -> Vec<PeerDiscovery> {
    let known = methods(value).into_iter().filter_map(|(name, _)| match name {
        "istio_headers" | "istioHeaders" => Some(PeerDiscovery::IstioHeaders),
        "workload_discovery" | "workloadDiscovery" => Some(PeerDiscovery::WorkloadDiscovery),
        _ => {
            at.warn(format!("the method `{name}` is not known and passed over"));
            None
        }
    });
    known.collect()
}

fn propagates(value: &Value, skip_external: &mut bool, at: &At<'_>) -> bool {
    let mut propagates = false;
    for (name, settings) in methods(value) {
        if !matches!(name, "istio_headers" | "istioHeaders") {
            at.warn(format!("the method `{name}` is not known and passed over"));
            continue;
        }
        propagates = true;
        if let Some(Kind::StructValue(settings)) = &settings.kind {
            let skip = settings
                .fields
                .get("skip_external_clusters")
                .or_else(|| settings.fields.get("skipExternalClusters"));
            *skip_external |=
                matches!(skip.and_then(|skip| skip.kind.as_ref()), Some(Kind::BoolValue(true)));
        }
    }
    propagates
}

/// Settings of filters for a virtual host, route or weighted cluster.
pub(super) fn overrides(
    configs: &BTreeMap<String, Any>,
    at: &At<'_>,
) -> Result<FilterOverrides, Fault> {
    let mut value = FilterOverrides::default();
    let at = at.field("typed_per_filter_config");
    for (name, any) in configs {
        one_override(name, any, Presence::Required, &mut value, &at.key(name))?;
    }
    Ok(value)
}

/// Whether settings may be passed over.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Presence {
    Required,
    Optional,
}

fn one_override(
    filter: &str,
    any: &Any,
    presence: Presence,
    value: &mut FilterOverrides,
    at: &At<'_>,
) -> Result<(), Fault> {
    let extension = typed_struct::unwrap(any, at)?;
    let name = extension.type_name().to_owned();
    if let Extension::Message(any) = &extension
        && known_override(filter, &name, any, value, at)?
    {
        return Ok(());
    }
    if presence == Presence::Optional {
        at.warn(format!("the optional settings `{name}` are not supported and passed over"));
        return Ok(());
    }
    let problem = format!("settings of type `{name}` are not supported");
    Err(at.invalid(
        problem,
        "remove them; docs/xds-support.md names the settings that routes can have",
    ))
}

fn known_override(
    filter: &str,
    name: &str,
    any: &Any,
    value: &mut FilterOverrides,
    at: &At<'_>,
) -> Result<bool, Fault> {
    if name == FilterConfig::full_name() {
        let wrapper: FilterConfig = wire::unpack(any, at)?;
        if wrapper.disabled {
            value.disabled.insert(filter.to_owned());
        }
        let presence = if wrapper.is_optional { Presence::Optional } else { Presence::Required };
        if let Some(config) = &wrapper.config {
            one_override(filter, config, presence, value, &at.field("config"))?;
        }
    } else if name == filters::fault::v3::HttpFault::full_name() {
        let own = FilterSettings::Fault(Box::new(fault::fault(&wire::unpack(any, at)?, at)?));
        value.settings.insert(filter.to_owned(), own);
    } else if name == filters::cors::v3::CorsPolicy::full_name() {
        let own = FilterSettings::Cors(Box::new(fault::cors(&wire::unpack(any, at)?, at)?));
        value.settings.insert(filter.to_owned(), own);
    } else if name == filters::rbac::v3::RbacPerRoute::full_name() {
        let route: filters::rbac::v3::RbacPerRoute = wire::unpack(any, at)?;
        let at = at.field("rbac");
        let own = route.rbac.map(|rbac| rbac::http(&rbac, &at).map(Box::new)).transpose()?;
        value.settings.insert(filter.to_owned(), FilterSettings::Rbac(own));
    } else if name == filters::stateful_session::v3::StatefulSessionPerRoute::full_name() {
        if let Some(own) = session::for_route(&wire::unpack(any, at)?, at)? {
            value.settings.insert(filter.to_owned(), FilterSettings::StatefulSession(own));
        }
    } else if limiting::settings(filter, name, any, value, at)?
        || asks_service(filter, name, any, value, at)?
    {
        return Ok(true);
    } else if name == filters::dynamic_forward_proxy::v3::PerRouteConfig::full_name() {
        if let Some(host) = discovery::forward_host(&wire::unpack(any, at)?, at)? {
            value.settings.insert(filter.to_owned(), FilterSettings::DynamicForward(host));
        }
    } else if name == filters::on_demand::v3::PerRouteConfig::full_name() {
        let own = Box::new(on_demand::for_route(&wire::unpack(any, at)?, at)?);
        value.settings.insert(filter.to_owned(), FilterSettings::OnDemand(own));
    } else if name == filters::jwt_authn::v3::PerRouteConfig::full_name() {
        use filters::jwt_authn::v3::per_route_config::RequirementSpecifier as Kind;
        let route: filters::jwt_authn::v3::PerRouteConfig = wire::unpack(any, at)?;
        match route.requirement_specifier {
            Some(Kind::Disabled(true)) => {
                value.disabled.insert(filter.to_owned());
            }
            Some(Kind::Disabled(false)) | None => {}
            Some(Kind::RequirementName(name)) => {
                let own = FilterSettings::JwtRequirement(name);
                value.settings.insert(filter.to_owned(), own);
            }
        }
    } else if name == filters::header_mutation::v3::HeaderMutationPerRoute::full_name() {
        let route: filters::header_mutation::v3::HeaderMutationPerRoute = wire::unpack(any, at)?;
        let own = head::edits(route.mutations.as_ref(), &at.field("mutations"))?;
        value.settings.insert(filter.to_owned(), FilterSettings::HeaderMutation(Box::new(own)));
    } else if name == filters::header_to_metadata::v3::Config::full_name() {
        let own = head::header_to_metadata(&wire::unpack(any, at)?, at)?;
        value.settings.insert(filter.to_owned(), FilterSettings::HeaderToMetadata(Box::new(own)));
    } else {
        return content::settings(filter, name, any, value, at);
    }
    Ok(true)
}

/// The settings of filters that ask a service; whether they were such.
fn asks_service(
    filter: &str,
    name: &str,
    any: &Any,
    value: &mut FilterOverrides,
    at: &At<'_>,
) -> Result<bool, Fault> {
    if name == filters::ext_authz::v3::ExtAuthzPerRoute::full_name() {
        match ext_authz::for_route(&wire::unpack(any, at)?, at)? {
            Some(own) => {
                let own = FilterSettings::ExtAuthz(Box::new(own));
                value.settings.insert(filter.to_owned(), own);
            }
            None => {
                value.disabled.insert(filter.to_owned());
            }
        }
    } else if name == filters::ext_proc::v3::ExtProcPerRoute::full_name() {
        match ext_proc::for_route(&wire::unpack(any, at)?, at)? {
            Some(own) => {
                let own = FilterSettings::ExtProc(Box::new(own));
                value.settings.insert(filter.to_owned(), own);
            }
            None => {
                value.disabled.insert(filter.to_owned());
            }
        }
    } else if name == filters::ratelimit::v3::RateLimitPerRoute::full_name() {
        let own = global_limit::for_route(&wire::unpack(any, at)?, at)?;
        let own = FilterSettings::GlobalRateLimit(Box::new(own));
        value.settings.insert(filter.to_owned(), own);
    } else {
        return Ok(false);
    }
    Ok(true)
}
