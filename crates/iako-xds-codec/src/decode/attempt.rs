//! What happens around tries: internal redirects, copies, hashes, groups of requests.

use iako_types::Percent;
use iako_xds_api::envoy::config::core::v3::TypedExtensionConfig;
use iako_xds_api::envoy::config::route::v3 as pb;
use iako_xds_api::envoy::extensions::internal_redirect::{
    allow_listed_routes::v3::AllowListedRoutesConfig, previous_routes::v3::PreviousRoutesConfig,
    safe_cross_scheme::v3::SafeCrossSchemeConfig,
};
use pb::route_action as inner;
use prost::Name as _;

use super::{header, matcher, wire};
use crate::pool;
use crate::problem::{At, Fault};
use iako_proxy_config::{
    CookieAttribute, HashPolicy, HashSource, InternalRedirectPolicy, Mirror, MirrorTarget,
    RedirectPredicate,
};

/// How much of a request is kept: the newer field counts.
pub(super) fn body_bytes_kept_max(newer: Option<u64>, older: Option<u32>) -> Option<u64> {
    newer.or_else(|| older.map(u64::from))
}

pub(super) fn internal_redirect(
    config: &pb::RouteAction,
    at: &At<'_>,
) -> Result<Option<InternalRedirectPolicy>, Fault> {
    use inner::InternalRedirectAction as Old;
    let Some(policy) = &config.internal_redirect_policy else {
        let at_action = at.field("internal_redirect_action");
        let old = wire::known::<Old>(config.internal_redirect_action, &at_action)?;
        let redirects_max = config.max_internal_redirects.unwrap_or(1);
        return Ok(match old {
            Old::PassThroughInternalRedirect => None,
            Old::HandleInternalRedirect => {
                Some(InternalRedirectPolicy { redirects_max, ..Default::default() })
            }
        });
    };
    let at = at.field("internal_redirect_policy");
    let default = InternalRedirectPolicy::default();
    // Others are never followed, in Envoy either.
    let known = [301, 302, 303, 307, 308];
    let mut statuses: Vec<u16> = Vec::new();
    let at_codes = at.field("redirect_response_codes");
    for (index, code) in policy.redirect_response_codes.iter().enumerate() {
        match u16::try_from(*code).ok().filter(|code| known.contains(code)) {
            Some(code) => statuses.push(code),
            None => at_codes.index(index).warn(format!("{code} is no redirect that is followed")),
        }
    }
    if policy.redirect_response_codes.is_empty() {
        statuses = default.statuses;
    }
    Ok(Some(InternalRedirectPolicy {
        redirects_max: policy.max_internal_redirects.unwrap_or(default.redirects_max),
        statuses,
        predicates: wire::list(&policy.predicates, &at.field("predicates"), predicate)?,
        cross_scheme: policy.allow_cross_scheme_redirect,
        copied_headers: wire::header_names(
            &policy.response_headers_to_copy,
            &at.field("response_headers_to_copy"),
        )?,
    }))
}

fn predicate(config: &TypedExtensionConfig, at: &At<'_>) -> Result<RedirectPredicate, Fault> {
    let at = at.field("typed_config");
    let Some(any) = &config.typed_config else {
        return Err(at.missing("write the predicate's settings with `@type`"));
    };
    let name = pool::full_name(&any.type_url);
    if name == AllowListedRoutesConfig::full_name() {
        let config: AllowListedRoutesConfig = wire::unpack(any, &at)?;
        Ok(RedirectPredicate::AllowListedRoutes(config.allowed_route_names))
    } else if name == PreviousRoutesConfig::full_name() {
        Ok(RedirectPredicate::PreviousRoutes)
    } else if name == SafeCrossSchemeConfig::full_name() {
        Ok(RedirectPredicate::SafeCrossScheme)
    } else {
        let help = "use allow_listed_routes, previous_routes or safe_cross_scheme";
        Err(at.invalid(format!("`{name}` is not supported"), help))
    }
}

pub(super) fn mirrors(
    policies: &[inner::RequestMirrorPolicy],
    at: &At<'_>,
) -> Result<Vec<Mirror>, Fault> {
    wire::list(policies, &at.field("request_mirror_policies"), mirror)
}

fn mirror(config: &inner::RequestMirrorPolicy, at: &At<'_>) -> Result<Mirror, Fault> {
    let target = match (config.cluster.as_str(), config.cluster_header.as_str()) {
        ("", "") => {
            return Err(at.field("cluster").missing("name the cluster that gets the copies"));
        }
        (cluster, "") => MirrorTarget::Cluster(cluster.to_owned()),
        ("", header) => {
            MirrorTarget::Header(wire::header_name(header, &at.field("cluster_header"))?)
        }
        (_, _) => {
            let problem = "is set beside `cluster`";
            return Err(at.field("cluster_header").invalid(problem, "set only one of the two"));
        }
    };
    let at_share = at.field("runtime_fraction");
    let share = config.runtime_fraction.as_ref();
    Ok(Mirror {
        target,
        share: wire::runtime_fraction(share, Percent::HUNDRED, &at_share)?,
        keep_host: config.disable_shadow_host_suffix_append,
        host: (!config.host_rewrite_literal.is_empty())
            .then(|| config.host_rewrite_literal.clone()),
        traced: config.trace_sampled,
        edits: wire::list(
            &config.request_headers_mutations,
            &at.field("request_headers_mutations"),
            header::edit,
        )?,
    })
}

pub(super) fn hash_policy(config: &inner::HashPolicy, at: &At<'_>) -> Result<HashPolicy, Fault> {
    use inner::hash_policy::PolicySpecifier;
    let source = match &config.policy_specifier {
        Some(PolicySpecifier::Header(header)) => {
            let at = at.field("header");
            let rewrite = header.regex_rewrite.as_ref();
            HashSource::Header {
                name: wire::header_name(&header.header_name, &at.field("header_name"))?,
                rewrite: rewrite
                    .map(|rewrite| matcher::substitution(rewrite, &at.field("regex_rewrite")))
                    .transpose()?,
            }
        }
        Some(PolicySpecifier::Cookie(cookie)) => {
            let at = at.field("cookie");
            let attribute = |attribute: &inner::hash_policy::CookieAttribute| CookieAttribute {
                name: attribute.name.clone(),
                value: attribute.value.clone(),
            };
            HashSource::Cookie {
                name: cookie.name.clone(),
                ttl: wire::optional(cookie.ttl.as_ref(), &at.field("ttl"))?,
                path: cookie.path.clone(),
                attributes: cookie.attributes.iter().map(attribute).collect(),
            }
        }
        Some(PolicySpecifier::ConnectionProperties(properties)) if properties.source_ip => {
            HashSource::SourceIp
        }
        Some(PolicySpecifier::QueryParameter(parameter)) => {
            HashSource::QueryParameter(parameter.name.clone())
        }
        Some(PolicySpecifier::FilterState(state)) => HashSource::FilterState(state.key.clone()),
        Some(PolicySpecifier::ConnectionProperties(_)) | None => {
            return Err(at.missing("write what is hashed, such as `header`"));
        }
    };
    Ok(HashPolicy { source, terminal: config.terminal })
}
