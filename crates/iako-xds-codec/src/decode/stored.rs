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
    custom_response::redirect_policy::v3::{
        RedirectPolicy, redirect_policy::RedirectActionSpecifier,
    },
};
use prost::Name as _;
use prost_types::Any;

use super::{access_log, answer, header, match_tree, matcher, wire};
use crate::pool;
use crate::problem::{At, Fault};
use iako_proxy_config::{
    Cache, CacheKey, CustomResponse, LocalResponse, RedirectedResponse, ResponseDetails,
    ResponsePolicy, ResponseTarget,
};

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
    if name == LocalResponsePolicy::full_name() {
        let own = local_response(&wire::unpack(any, at)?, at)?;
        Ok(ResponsePolicy::Local(Box::new(own)))
    } else if name == RedirectPolicy::full_name() {
        let own = redirected_response(&wire::unpack(any, at)?, at)?;
        Ok(ResponsePolicy::Redirect(Box::new(own)))
    } else {
        let problem = format!("responses of type `{name}` are not supported");
        Err(at.invalid(problem, "answer by a LocalResponsePolicy or a RedirectPolicy"))
    }
}

fn redirected_response(config: &RedirectPolicy, at: &At<'_>) -> Result<RedirectedResponse, Fault> {
    use iako_xds_api::envoy::config::route::v3::redirect_action::PathRewriteSpecifier as Path;
    let target = match &config.redirect_action_specifier {
        Some(RedirectActionSpecifier::Uri(uri)) => {
            let rest = uri.strip_prefix("http://").or_else(|| uri.strip_prefix("https://"));
            if rest.is_none_or(|rest| rest.is_empty() || rest.starts_with(['/', '?', '#'])) {
                let help = "write one such as `https://errors.example.com/503`";
                return Err(at.field("uri").invalid("is no http or https URL", help));
            }
            ResponseTarget::Uri(uri.clone())
        }
        Some(RedirectActionSpecifier::RedirectAction(action)) => {
            let at = at.field("redirect_action");
            match &action.path_rewrite_specifier {
                Some(Path::PathRedirect(path)) if path.contains('#') => {
                    let help = "leave the fragment out: servers never see it";
                    return Err(at.field("path_redirect").invalid("has a fragment", help));
                }
                Some(Path::PathRedirect(_)) | None => {}
                Some(Path::PrefixRewrite(_) | Path::RegexRewrite(_) | Path::PathRewrite(_)) => {
                    let help = "write the whole path as `path_redirect`";
                    return Err(at.invalid("changes a part of the path", help));
                }
            }
            let redirect = answer::redirect(action, &at)?;
            if redirect.host.is_none() && redirect.path.is_none() {
                let help = "write `host_redirect` or `path_redirect`";
                return Err(at.missing(help));
            }
            ResponseTarget::Changed(Box::new(redirect))
        }
        None => return Err(at.missing("write `uri` or `redirect_action`")),
    };
    let status = config.status_code;
    let at_status = at.field("status_code");
    let added = &config.response_headers_to_add;
    let asked = &config.request_headers_to_add;
    Ok(RedirectedResponse {
        target,
        status: status.map(|code| wire::status(code, 100, &at_status)).transpose()?,
        response_headers: header::additions(added, &at.field("response_headers_to_add"))?,
        request_headers: header::additions(asked, &at.field("request_headers_to_add"))?,
    })
}

fn local_response(config: &LocalResponsePolicy, at: &At<'_>) -> Result<LocalResponse, Fault> {
    let at_body = at.field("body");
    let body = config.body.as_ref().map(|body| wire::data_source(body, &at_body)).transpose()?;
    let at_status = at.field("status_code");
    Ok(LocalResponse {
        body: body.map(Bytes::from),
        format: access_log::body_format(config.body_format.as_ref(), &at.field("body_format"))?,
        status: config.status_code.map(|code| wire::status(code, 200, &at_status)).transpose()?,
        headers: header::additions(
            &config.response_headers_to_add,
            &at.field("response_headers_to_add"),
        )?,
        details: match &config.response_code_details_action {
            None | Some(ResponseCodeDetailsAction::PreserveResponseCodeDetails(false)) => {
                ResponseDetails::Usual
            }
            Some(ResponseCodeDetailsAction::PreserveResponseCodeDetails(true)) => {
                ResponseDetails::Kept
            }
            Some(ResponseCodeDetailsAction::ResponseCodeDetails(told)) => {
                ResponseDetails::Told(told.clone())
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
