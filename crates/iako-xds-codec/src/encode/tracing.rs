//! Tracing: which requests, what is told, and to whom.

mod provider;

pub(super) use provider::http as collector;

use iako_types::{Fraction, FractionDenominator};
use iako_xds_api::envoy::config::route::v3 as route_pb;
use iako_xds_api::envoy::extensions::filters::network::http_connection_manager::v3 as manager;
use iako_xds_api::envoy::extensions::request_id::uuid::v3::UuidRequestIdConfig;
use iako_xds_api::envoy::r#type::metadata::v3 as metadata_pb;
use iako_xds_api::envoy::r#type::tracing::v3 as pb;
use iako_xds_api::envoy::r#type::v3 as kind;
use manager::http_connection_manager as inner;

use super::{rate_limit, wire};
use iako_proxy_config::{
    CustomTag, Decorator, RequestIdTraces, RouteTracing, TagMetadata, TagValue, Tracing,
};

pub(super) fn tracing(value: &Tracing) -> inner::Tracing {
    inner::Tracing {
        client_sampling: unless_all(value.sampling.client),
        random_sampling: unless_all(value.sampling.random),
        overall_sampling: unless_all(value.sampling.overall),
        verbose: value.verbose,
        max_path_tag_length: (value.path_bytes_max != 256).then_some(value.path_bytes_max),
        custom_tags: value.tags.iter().map(tag).collect(),
        provider: value.provider.as_deref().map(provider::provider),
        spawn_upstream_span: value.spawns_upstream.then_some(true),
        operation: value.operation.clone(),
        upstream_operation: value.upstream_operation.clone(),
        no_context_propagation: !value.propagates,
    }
}

/// A share in percent; nothing for all.
fn unless_all(share: Fraction) -> Option<kind::Percent> {
    let of_whole = f64::from(share.numerator) * 100.0 / f64::from(share.denominator.parts());
    (of_whole < 100.0).then_some(kind::Percent { value: of_whole })
}

pub(super) fn of_route(value: &RouteTracing) -> route_pb::Tracing {
    let all = Fraction { numerator: 100, denominator: FractionDenominator::Hundred };
    let share = |share: Fraction| (share != all).then(|| wire::parts(share));
    route_pb::Tracing {
        client_sampling: share(value.sampling.client),
        random_sampling: share(value.sampling.random),
        overall_sampling: share(value.sampling.overall),
        custom_tags: value.tags.iter().map(tag).collect(),
        operation: value.operation.clone(),
        upstream_operation: value.upstream_operation.clone(),
    }
}

pub(super) fn decorator(value: &Decorator) -> route_pb::Decorator {
    route_pb::Decorator {
        operation: value.operation.clone(),
        propagate: (!value.propagates).then_some(false),
    }
}

/// Nothing for what counts without it.
pub(super) fn request_id(value: RequestIdTraces) -> Option<manager::RequestIdExtension> {
    let config = UuidRequestIdConfig {
        pack_trace_reason: (!value.packs_reason).then_some(false),
        use_request_id_for_trace_sampling: (!value.decides).then_some(false),
    };
    let typed_config = Some(wire::any(&config));
    (value != RequestIdTraces::default()).then_some(manager::RequestIdExtension { typed_config })
}

pub(super) fn tag(value: &CustomTag) -> pb::CustomTag {
    use metadata_pb::{MetadataKind, metadata_kind};
    use pb::custom_tag::{Environment, Header, Literal, Metadata, Type};
    let of = match &value.value {
        TagValue::Literal(text) => Type::Literal(Literal { value: text.clone() }),
        TagValue::Environment { name, default } => {
            Type::Environment(Environment { name: name.clone(), default_value: default.clone() })
        }
        TagValue::Header { name, default } => Type::RequestHeader(Header {
            name: name.as_str().to_owned(),
            default_value: default.clone(),
        }),
        TagValue::Metadata { source, place, default } => {
            use metadata_kind::{Cluster, Host, Kind, Request, Route};
            let kind = match source {
                TagMetadata::Request => Kind::Request(Request {}),
                TagMetadata::Route => Kind::Route(Route {}),
                TagMetadata::Cluster => Kind::Cluster(Cluster {}),
                TagMetadata::Host => Kind::Host(Host {}),
            };
            Type::Metadata(Metadata {
                kind: Some(MetadataKind { kind: Some(kind) }),
                metadata_key: Some(rate_limit::path(place)),
                default_value: default.clone(),
            })
        }
        TagValue::Format(text) => Type::Value(text.clone()),
    };
    pb::CustomTag { tag: value.name.clone(), r#type: Some(of) }
}
