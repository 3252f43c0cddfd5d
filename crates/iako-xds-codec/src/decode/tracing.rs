//! Tracing: which requests, what is told, and to whom.

mod provider;

pub(super) use provider::http as collector;

use std::sync::Arc;

use iako_types::{Fraction, FractionDenominator};
use iako_xds_api::envoy::config::route::v3 as route_pb;
use iako_xds_api::envoy::config::trace::v3 as trace;
use iako_xds_api::envoy::extensions::filters::network::http_connection_manager::v3 as manager;
use iako_xds_api::envoy::extensions::request_id::uuid::v3::UuidRequestIdConfig;
use iako_xds_api::envoy::r#type::metadata::v3::metadata_kind;
use iako_xds_api::envoy::r#type::tracing::v3 as pb;
use iako_xds_api::envoy::r#type::v3 as kind;
use manager::http_connection_manager as inner;
use prost::Name as _;

use super::{rate_limit, wire};
use crate::pool;
use crate::problem::{At, Fault};
use iako_proxy_config::{
    CustomTag, Decorator, RequestIdTraces, RouteTracing, TagMetadata, TagValue, TraceSampling,
    Tracing, TracingProvider,
};

pub(super) fn tracing(config: &inner::Tracing, at: &At<'_>) -> Result<Tracing, Fault> {
    let whole = |value: Option<&kind::Percent>, field: &'static str| {
        let Some(value) = value else { return Ok(percent(100)) };
        // Envoy cuts what is behind the point off.
        let share = wire::percent(value.value, &at.field(field))?;
        Ok(percent(share.parts_per_million() / 10_000))
    };
    let random = match &config.random_sampling {
        Some(value) => {
            let share = wire::percent(value.value, &at.field("random_sampling"))?;
            Fraction {
                numerator: share.parts_per_million().saturating_add(50) / 100,
                denominator: FractionDenominator::TenThousand,
            }
        }
        None => percent(100),
    };
    let provider = config.provider.as_ref();
    let at_provider = at.field("provider");
    Ok(Tracing {
        sampling: TraceSampling {
            client: whole(config.client_sampling.as_ref(), "client_sampling")?,
            random,
            overall: whole(config.overall_sampling.as_ref(), "overall_sampling")?,
        },
        provider: provider
            .map(|provider| provider::provider(provider, &at_provider))
            .transpose()?
            .map(Arc::new),
        verbose: config.verbose,
        path_bytes_max: config.max_path_tag_length.unwrap_or(256),
        tags: tags(&config.custom_tags, &at.field("custom_tags"))?,
        spawns_upstream: config.spawn_upstream_span.unwrap_or(false),
        operation: config.operation.clone(),
        upstream_operation: config.upstream_operation.clone(),
        propagates: !config.no_context_propagation,
    })
}

const fn percent(numerator: u32) -> Fraction {
    Fraction { numerator, denominator: FractionDenominator::Hundred }
}

/// The provider of a bootstrap.
pub(super) fn of_bootstrap(
    config: Option<&trace::Tracing>,
    at: &At<'_>,
) -> Result<Option<Arc<TracingProvider>>, Fault> {
    let Some(http) = config.and_then(|tracing| tracing.http.as_ref()) else { return Ok(None) };
    let at = at.field("tracing");
    Ok(Some(Arc::new(provider::provider(http, &at.field("http"))?)))
}

/// What a route changes.
pub(super) fn of_route(config: &route_pb::Tracing, at: &At<'_>) -> Result<RouteTracing, Fault> {
    let share = |value: Option<&kind::FractionalPercent>, field: &'static str| {
        value.map_or(Ok(percent(100)), |value| wire::parts(value, &at.field(field)))
    };
    Ok(RouteTracing {
        sampling: TraceSampling {
            client: share(config.client_sampling.as_ref(), "client_sampling")?,
            random: share(config.random_sampling.as_ref(), "random_sampling")?,
            overall: share(config.overall_sampling.as_ref(), "overall_sampling")?,
        },
        tags: tags(&config.custom_tags, &at.field("custom_tags"))?,
        operation: config.operation.clone(),
        upstream_operation: config.upstream_operation.clone(),
    })
}

/// The name of a route's operation.
pub(super) fn decorator(config: &route_pb::Decorator, at: &At<'_>) -> Result<Decorator, Fault> {
    if config.operation.is_empty() {
        return Err(at.field("operation").missing("name the operation"));
    }
    Ok(Decorator {
        operation: config.operation.clone(),
        propagates: config.propagate.unwrap_or(true),
    })
}

/// What request ids have to do with traces.
pub(super) fn request_id(
    config: Option<&manager::RequestIdExtension>,
    at: &At<'_>,
) -> Result<RequestIdTraces, Fault> {
    let Some(any) = config.and_then(|config| config.typed_config.as_ref()) else {
        return Ok(RequestIdTraces::default());
    };
    let at = at.field("typed_config");
    let name = pool::full_name(&any.type_url);
    if name != UuidRequestIdConfig::full_name() {
        let problem = format!("`{name}` is not supported");
        return Err(at.invalid(problem, "use UuidRequestIdConfig"));
    }
    let config: UuidRequestIdConfig = wire::unpack(any, &at)?;
    Ok(RequestIdTraces {
        packs_reason: config.pack_trace_reason.unwrap_or(true),
        decides: config.use_request_id_for_trace_sampling.unwrap_or(true),
    })
}

pub(super) fn tags(list: &[pb::CustomTag], at: &At<'_>) -> Result<Vec<CustomTag>, Fault> {
    wire::list(list, at, tag)
}

fn tag(config: &pb::CustomTag, at: &At<'_>) -> Result<CustomTag, Fault> {
    use pb::custom_tag::Type;
    if config.tag.is_empty() {
        return Err(at.field("tag").missing("name the tag"));
    }
    let named = |text: &str, at: &At<'_>| match text {
        "" => Err(at.missing("write a text")),
        text => Ok(text.to_owned()),
    };
    let value = match &config.r#type {
        Some(Type::Literal(literal)) => {
            let at = at.field("literal");
            TagValue::Literal(named(&literal.value, &at.field("value"))?)
        }
        Some(Type::Environment(variable)) => {
            let at = at.field("environment");
            TagValue::Environment {
                name: named(&variable.name, &at.field("name"))?,
                default: variable.default_value.clone(),
            }
        }
        Some(Type::RequestHeader(header)) => {
            let at = at.field("request_header");
            TagValue::Header {
                name: wire::header_name(&header.name, &at.field("name"))?,
                default: header.default_value.clone(),
            }
        }
        Some(Type::Metadata(metadata)) => {
            let at = at.field("metadata");
            let kind = metadata.kind.as_ref().and_then(|kind| kind.kind.as_ref());
            let key = metadata.metadata_key.as_ref();
            TagValue::Metadata {
                source: match kind {
                    None | Some(metadata_kind::Kind::Request(_)) => TagMetadata::Request,
                    Some(metadata_kind::Kind::Route(_)) => TagMetadata::Route,
                    Some(metadata_kind::Kind::Cluster(_)) => TagMetadata::Cluster,
                    Some(metadata_kind::Kind::Host(_)) => TagMetadata::Host,
                },
                place: rate_limit::path(key, &at.field("metadata_key"))?,
                default: metadata.default_value.clone(),
            }
        }
        Some(Type::Value(format)) => TagValue::Format(format.clone()),
        None => return Err(at.missing("write where the value comes from")),
    };
    Ok(CustomTag { name: config.tag.clone(), value })
}
