//! Which requests a route takes.

use iako_types::Percent;
use iako_xds_api::envoy::config::core::v3::TypedExtensionConfig;
use iako_xds_api::envoy::config::route::v3 as pb;
use iako_xds_api::envoy::extensions::path::r#match::uri_template::v3::UriTemplateMatchConfig;
use prost::Name as _;

use super::{matcher, rbac, wire};
use crate::pool;
use crate::problem::{At, Fault};
use iako_proxy_config::{PathMatch, RouteMatch, TlsContextMatch};

pub(super) fn route_match(config: &pb::RouteMatch, at: &At<'_>) -> Result<RouteMatch, Fault> {
    let mut value = RouteMatch::path(path(config, at)?);
    value.case_sensitive = config.case_sensitive.unwrap_or(true);
    value.headers = matcher::headers(&config.headers, &at.field("headers"))?;
    value.query =
        wire::list(&config.query_parameters, &at.field("query_parameters"), matcher::query)?;
    value.metadata =
        wire::list(&config.dynamic_metadata, &at.field("dynamic_metadata"), matcher::metadata)?;
    value.cookies = wire::list(&config.cookies, &at.field("cookies"), matcher::cookie)?;
    value.tls = config
        .tls_context
        .as_ref()
        .map(|wanted| TlsContextMatch { presented: wanted.presented, validated: wanted.validated });
    value.filter_state =
        wire::list(&config.filter_state, &at.field("filter_state"), matcher::filter_state)?;
    value.grpc_only = config.grpc.is_some();
    if config.runtime_fraction.is_some() {
        let at = at.field("runtime_fraction");
        value.share =
            Some(wire::runtime_fraction(config.runtime_fraction.as_ref(), Percent::HUNDRED, &at)?);
    }
    Ok(value)
}

fn path(config: &pb::RouteMatch, at: &At<'_>) -> Result<PathMatch, Fault> {
    use pb::route_match::PathSpecifier;
    Ok(match &config.path_specifier {
        Some(PathSpecifier::Prefix(prefix)) => PathMatch::Prefix(prefix.clone()),
        Some(PathSpecifier::Path(path)) => PathMatch::Exact(path.clone()),
        Some(PathSpecifier::SafeRegex(regex)) => {
            PathMatch::Regex(matcher::pattern(&regex.regex, &at.field("safe_regex"))?)
        }
        Some(PathSpecifier::PathSeparatedPrefix(prefix)) => segment_prefix(prefix, at)?,
        Some(PathSpecifier::ConnectMatcher(_)) => PathMatch::Connect,
        Some(PathSpecifier::PathMatchPolicy(policy)) => {
            template(policy, &at.field("path_match_policy"))?
        }
        None => return Err(at.missing("write prefix, path, path_separated_prefix or safe_regex")),
    })
}

fn segment_prefix(prefix: &str, at: &At<'_>) -> Result<PathMatch, Fault> {
    if prefix.starts_with('/') && !prefix.ends_with('/') && !prefix.contains(['?', '#']) {
        return Ok(PathMatch::SegmentPrefix(prefix.to_owned()));
    }
    let at = at.field("path_separated_prefix");
    Err(at.invalid(
        format!("`{prefix}` is not a prefix of whole segments"),
        "write `/api`, without a slash at the end",
    ))
}

fn template(policy: &TypedExtensionConfig, at: &At<'_>) -> Result<PathMatch, Fault> {
    let at = at.field("typed_config");
    let any = policy
        .typed_config
        .as_ref()
        .ok_or_else(|| at.missing("write the policy's settings with `@type`"))?;
    if pool::full_name(&any.type_url) != UriTemplateMatchConfig::full_name() {
        let problem = format!("`{}` is not supported", pool::full_name(&any.type_url));
        return Err(at.invalid(problem, "use UriTemplateMatchConfig"));
    }
    let config: UriTemplateMatchConfig = wire::unpack(any, &at)?;
    rbac::uri_template(&config.path_template, &at).map(PathMatch::Template)
}
