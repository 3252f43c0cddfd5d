//! Checking of JSON web tokens.

use std::collections::BTreeMap;

use iako_xds_api::envoy::config::core::v3 as core;
use iako_xds_api::envoy::extensions::filters::http::jwt_authn::v3 as pb;

use super::{matcher, route, wire};
use iako_proxy_config::{
    ClaimToHeader, FetchRetry, HeaderName, Jwks, JwtAuthn, JwtProvider, JwtRequirement, JwtRule,
};

pub(super) fn authn(value: &JwtAuthn) -> pb::JwtAuthentication {
    pb::JwtAuthentication {
        providers: value
            .providers
            .iter()
            .map(|(name, value)| (name.clone(), provider(value)))
            .collect(),
        rules: value.rules.iter().map(rule).collect(),
        bypass_cors_preflight: value.bypass_cors_preflight,
        requirement_map: requirements(&value.requirements),
        filter_state_rules: value.state_rules.as_ref().map(|rules| pb::FilterStateRule {
            name: rules.name.clone(),
            requires: requirements(&rules.requirements),
        }),
        strip_failure_response: value.strip_failure_response,
        stat_prefix: value.stat_prefix.clone(),
    }
}

fn requirements(
    values: &BTreeMap<String, Option<JwtRequirement>>,
) -> BTreeMap<String, pb::JwtRequirement> {
    let required =
        |value: &Option<JwtRequirement>| value.as_ref().map(requirement).unwrap_or_default();
    values.iter().map(|(name, value)| (name.clone(), required(value))).collect()
}

fn rule(value: &JwtRule) -> pb::RequirementRule {
    use pb::requirement_rule::RequirementType;
    pb::RequirementRule {
        r#match: Some(route::route_match(&value.matcher)),
        requirement_type: value
            .requirement
            .as_ref()
            .map(|requirement| RequirementType::Requires(self::requirement(requirement))),
    }
}

fn requirement(value: &JwtRequirement) -> pb::JwtRequirement {
    use pb::jwt_requirement::RequiresType;
    let several = |values: &[JwtRequirement]| values.iter().map(requirement).collect();
    let kind = match value {
        JwtRequirement::Provider { name, audiences } if audiences.is_empty() => {
            RequiresType::ProviderName(name.clone())
        }
        JwtRequirement::Provider { name, audiences } => {
            RequiresType::ProviderAndAudiences(pb::ProviderWithAudiences {
                provider_name: name.clone(),
                audiences: audiences.clone(),
            })
        }
        // An Envoy wants at least two; one of one is that one.
        JwtRequirement::Any(values) | JwtRequirement::All(values) if values.len() == 1 => {
            return values.first().map(requirement).unwrap_or_default();
        }
        JwtRequirement::Any(values) => {
            RequiresType::RequiresAny(pb::JwtRequirementOrList { requirements: several(values) })
        }
        JwtRequirement::All(values) => {
            RequiresType::RequiresAll(pb::JwtRequirementAndList { requirements: several(values) })
        }
        JwtRequirement::AllowMissing => RequiresType::AllowMissing(()),
        JwtRequirement::AllowMissingOrFailed => RequiresType::AllowMissingOrFailed(()),
        JwtRequirement::ExtractOnly { header } => {
            RequiresType::ExtractOnlyWithoutValidation(pb::ExtractOnlyWithoutValidation {
                verification_status_header: header.as_str().to_owned(),
            })
        }
    };
    pb::JwtRequirement { requires_type: Some(kind) }
}

fn provider(value: &JwtProvider) -> pb::JwtProvider {
    let name = |name: &HeaderName| name.as_str().to_owned();
    let headers = value.from_headers.iter().map(|header| pb::JwtHeader {
        name: name(&header.name),
        value_prefix: header.prefix.clone(),
    });
    let claims = value.claim_to_headers.iter().map(claim_to_header);
    let spaced = &value.space_delimited_claims;
    pb::JwtProvider {
        issuer: value.issuer.clone(),
        audiences: value.audiences.clone(),
        jwks_source_specifier: Some(jwks(&value.jwks)),
        subjects: value.subjects.as_ref().map(matcher::text),
        require_expiration: value.require_expiration,
        max_lifetime: value.lifetime_max.map(wire::duration),
        forward: value.forward,
        from_headers: headers.collect(),
        from_params: value.from_params.clone(),
        from_cookies: value.from_cookies.clone(),
        forward_payload_header: value.payload_header.as_ref().map(name).unwrap_or_default(),
        claim_to_headers: claims.collect(),
        pad_forward_payload_header: value.pad_payload_header,
        payload_in_metadata: value.payload_in_metadata.clone(),
        header_in_metadata: value.header_in_metadata.clone(),
        failed_status_in_metadata: value.failed_status_in_metadata.clone(),
        normalize_payload_in_metadata: (!spaced.is_empty())
            .then(|| pb::jwt_provider::NormalizePayload { space_delimited_claims: spaced.clone() }),
        clock_skew_seconds: u32::try_from(value.clock_skew.as_secs()).unwrap_or(u32::MAX),
        clear_route_cache: value.clear_route_cache,
        ..Default::default()
    }
}

fn claim_to_header(value: &ClaimToHeader) -> pb::JwtClaimToHeader {
    let header_name = value.header.as_str().to_owned();
    if value.claim.iter().any(|key| key.contains('.')) {
        let keys = value.claim.iter().cloned();
        let path = keys.map(|key| pb::jwt_claim_to_header::PathSegment { key });
        return pb::JwtClaimToHeader {
            header_name,
            claim_path: path.collect(),
            ..Default::default()
        };
    }
    pb::JwtClaimToHeader { header_name, claim_name: value.claim.join("."), ..Default::default() }
}

pub(super) fn fetch_retry(value: &FetchRetry) -> core::RetryPolicy {
    core::RetryPolicy {
        retry_back_off: Some(core::BackoffStrategy {
            base_interval: Some(wire::duration(value.pause)),
            max_interval: Some(wire::duration(value.pause_max)),
        }),
        num_retries: Some(value.retries_max),
        ..Default::default()
    }
}

fn jwks(value: &Jwks) -> pb::jwt_provider::JwksSourceSpecifier {
    use pb::jwt_provider::JwksSourceSpecifier;
    match value {
        Jwks::Inline(keys) => JwksSourceSpecifier::LocalJwks(wire::text_source(keys)),
        Jwks::Remote { uri, cluster, timeout, cache, retry } => {
            let upstream = core::http_uri::HttpUpstreamType::Cluster(cluster.clone());
            JwksSourceSpecifier::RemoteJwks(pb::RemoteJwks {
                http_uri: Some(core::HttpUri {
                    uri: uri.clone(),
                    timeout: Some(wire::duration(*timeout)),
                    http_upstream_type: Some(upstream),
                }),
                cache_duration: Some(wire::duration(*cache)),
                retry_policy: retry.as_ref().map(fetch_retry),
                ..Default::default()
            })
        }
    }
}
