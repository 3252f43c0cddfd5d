//! HTTP filters that answer in place of an upstream: other responses, and responses that were kept.

use iako_xds_api::envoy::extensions::filters::http::{
    cache::v3 as cache_pb, custom_response::v3 as custom_pb,
};
use iako_xds_api::envoy::extensions::http::{
    cache::simple_http_cache::v3::SimpleHttpCacheConfig,
    custom_response::local_response_policy::v3::{
        LocalResponsePolicy, local_response_policy::ResponseCodeDetailsAction,
    },
    custom_response::redirect_policy::v3::{
        RedirectPolicy, redirect_policy::RedirectActionSpecifier,
    },
};
use prost_types::Any;

use super::{access_log, answer, header, match_tree, matcher, wire};
use iako_proxy_config::{
    Cache, CacheKey, CustomResponse, LocalResponse, ResponseDetails, ResponsePolicy, ResponseTarget,
};

pub(super) fn custom_response(value: &CustomResponse) -> custom_pb::CustomResponse {
    let tree = value.policies.as_ref().map(|tree| match_tree::tree(tree, &response_policy));
    custom_pb::CustomResponse { custom_response_matcher: tree }
}

fn response_policy(value: &ResponsePolicy) -> Any {
    match value {
        ResponsePolicy::Local(own) => local_response(own),
        ResponsePolicy::Redirect(own) => wire::any(&RedirectPolicy {
            status_code: own.status.map(u32::from),
            response_headers_to_add: header::additions(&own.response_headers),
            request_headers_to_add: header::additions(&own.request_headers),
            modify_request_headers_action: None,
            redirect_action_specifier: Some(match &own.target {
                ResponseTarget::Uri(uri) => RedirectActionSpecifier::Uri(uri.clone()),
                ResponseTarget::Changed(redirect) => {
                    RedirectActionSpecifier::RedirectAction(answer::redirect(redirect))
                }
            }),
        }),
    }
}

fn local_response(value: &LocalResponse) -> Any {
    let details = match &value.details {
        ResponseDetails::Usual => None,
        ResponseDetails::Kept => Some(ResponseCodeDetailsAction::PreserveResponseCodeDetails(true)),
        ResponseDetails::Told(told) => {
            Some(ResponseCodeDetailsAction::ResponseCodeDetails(told.clone()))
        }
    };
    wire::any(&LocalResponsePolicy {
        body: value.body.as_ref().map(wire::bytes_source),
        body_format: value.format.as_ref().and_then(access_log::body_format),
        status_code: value.status.map(u32::from),
        response_headers_to_add: header::additions(&value.headers),
        response_code_details_action: details,
    })
}

pub(super) fn cache(value: &Cache) -> cache_pb::CacheConfig {
    let key =
        (value.key != CacheKey::default()).then(|| cache_pb::cache_config::KeyCreatorParams {
            exclude_scheme: value.key.excludes_scheme,
            exclude_host: value.key.excludes_host,
            query_parameters_included: value
                .key
                .query_included
                .iter()
                .map(matcher::query)
                .collect(),
            query_parameters_excluded: value
                .key
                .query_excluded
                .iter()
                .map(matcher::query)
                .collect(),
        });
    cache_pb::CacheConfig {
        typed_config: Some(wire::any(&SimpleHttpCacheConfig {})),
        disabled: Some(value.disabled),
        allowed_vary_headers: value.vary_allowed.iter().map(matcher::text).collect(),
        key_creator_params: key,
        max_body_bytes: value.body_bytes_max,
        ignore_request_cache_control_header: value.ignores_request_control,
    }
}
