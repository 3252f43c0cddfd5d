//! HTTP filters that answer in place of an upstream: other responses, and responses that were kept.

use bytes::Bytes;
use iako_xds_api::envoy::extensions::filters::http::{
    cache::v3 as cache_pb, custom_response::v3 as custom_pb,
};
use iako_xds_api::envoy::extensions::http::{
    cache::simple_http_cache::v3::SimpleHttpCacheConfig,
    custom_response::local_response_policy::v3::{
        LocalResponsePolicy, local_response_policy::ResponseCodeDetailsAction,
    },
};
use prost::Name as _;
use prost_types::Any;

use super::{access_log, header, match_tree, matcher, wire};
use crate::pool;
use crate::problem::{At, Fault};
use iako_proxy_config::{Cache, CacheKey, CustomResponse, ResponseDetails, ResponsePolicy};

pub(super) fn custom_response(
    config: &custom_pb::CustomResponse,
    at: &At<'_>,
) -> Result<CustomResponse, Fault> {
    let at = at.field("custom_response_matcher");
    let tree = config.custom_response_matcher.as_ref();
    let policies = tree.map(|tree| match_tree::tree(tree, &at, &response_policy)).transpose()?;
    Ok(CustomResponse { policies })
}

fn response_policy(any: &Any, at: &At<'_>) -> Result<ResponsePolicy, Fault> {
    let name = pool::full_name(&any.type_url);
    if name != LocalResponsePolicy::full_name() {
        let problem = format!("responses of type `{name}` are not supported");
        return Err(at.invalid(problem, "answer by a LocalResponsePolicy"));
    }
    let config: LocalResponsePolicy = wire::unpack(any, at)?;
    let at_body = at.field("body");
    let body = config.body.as_ref().map(|body| wire::data_source(body, &at_body)).transpose()?;
    let at_status = at.field("status_code");
    Ok(ResponsePolicy {
        body: body.map(Bytes::from),
        format: access_log::body_format(config.body_format.as_ref(), &at.field("body_format"))?,
        status: config.status_code.map(|code| wire::status(code, 200, &at_status)).transpose()?,
        headers: header::additions(
            &config.response_headers_to_add,
            &at.field("response_headers_to_add"),
        )?,
        details: match config.response_code_details_action {
            None | Some(ResponseCodeDetailsAction::PreserveResponseCodeDetails(false)) => {
                ResponseDetails::Usual
            }
            Some(ResponseCodeDetailsAction::PreserveResponseCodeDetails(true)) => {
                ResponseDetails::Kept
            }
            Some(ResponseCodeDetailsAction::ResponseCodeDetails(told)) => {
                ResponseDetails::Told(told)
            }
        },
    })
}

pub(super) fn cache(config: &cache_pb::CacheConfig, at: &At<'_>) -> Result<Cache, Fault> {
    let disabled = config.disabled.unwrap_or(false);
    let at_store = at.field("typed_config");
    match &config.typed_config {
        Some(any) if pool::full_name(&any.type_url) == SimpleHttpCacheConfig::full_name() => {}
        Some(any) => {
            let name = pool::full_name(&any.type_url);
            let problem = format!("stores of type `{name}` are not supported");
            return Err(
                at_store.invalid(problem, "keep responses in memory: SimpleHttpCacheConfig")
            );
        }
        None if disabled => {}
        None => return Err(at_store.missing("name a store: SimpleHttpCacheConfig")),
    }
    let at_vary = at.field("allowed_vary_headers");
    let at_key = at.field("key_creator_params");
    let key = config.key_creator_params.as_ref().map(|key| {
        let query = |list: &[_], at: &At<'_>| wire::list(list, at, matcher::query);
        Ok(CacheKey {
            excludes_scheme: key.exclude_scheme,
            excludes_host: key.exclude_host,
            query_included: query(
                &key.query_parameters_included,
                &at_key.field("query_parameters_included"),
            )?,
            query_excluded: query(
                &key.query_parameters_excluded,
                &at_key.field("query_parameters_excluded"),
            )?,
        })
    });
    Ok(Cache {
        disabled,
        vary_allowed: wire::list(&config.allowed_vary_headers, &at_vary, matcher::text)?,
        key: key.transpose()?.unwrap_or_default(),
        body_bytes_max: config.max_body_bytes,
        ignores_request_control: config.ignore_request_cache_control_header,
    })
}
