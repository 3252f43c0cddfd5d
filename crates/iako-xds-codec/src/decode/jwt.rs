//! Checking of JSON web tokens.

use std::collections::BTreeMap;
use std::time::Duration;

use iako_xds_api::envoy::config::core::v3 as core;
use iako_xds_api::envoy::extensions::filters::http::jwt_authn::v3 as pb;

use super::{matcher, route_match, wire};
use crate::problem::{At, Fault};
use iako_proxy_config::{
    ClaimToHeader, FetchRetry, Jwks, JwtAuthn, JwtHeader, JwtProvider, JwtRequirement, JwtRule,
    JwtStateRules,
};

/// Where bad tokens are told of when no header is named.
const VERIFICATION_HEADER: &str = "x-jwt-signature-verified";

pub(super) fn authn(config: &pb::JwtAuthentication, at: &At<'_>) -> Result<JwtAuthn, Fault> {
    let at_providers = at.field("providers");
    let providers: BTreeMap<_, _> = config
        .providers
        .iter()
        .map(|(name, config)| Ok((name.clone(), provider(config, &at_providers.key(name))?)))
        .collect::<Result<_, Fault>>()?;
    let context = Names { providers: &providers, requirements: &config.requirement_map };
    let rules =
        wire::list(&config.rules, &at.field("rules"), |config, at| rule(config, context, at))?;
    let at_map = at.field("requirement_map");
    let requirements = config
        .requirement_map
        .iter()
        .map(|(name, config)| Ok((name.clone(), requirement(config, context, &at_map.key(name))?)))
        .collect::<Result<_, Fault>>()?;
    Ok(JwtAuthn {
        rules,
        bypass_cors_preflight: config.bypass_cors_preflight,
        requirements,
        state_rules: config
            .filter_state_rules
            .as_ref()
            .map(|config| state_rules(config, context, &at.field("filter_state_rules")))
            .transpose()?,
        strip_failure_response: config.strip_failure_response,
        stat_prefix: config.stat_prefix.clone(),
        providers,
    })
}

fn state_rules(
    config: &pb::FilterStateRule,
    names: Names<'_>,
    at: &At<'_>,
) -> Result<JwtStateRules, Fault> {
    if config.name.is_empty() {
        return Err(at.field("name").missing("name the object"));
    }
    let at = at.field("requires");
    let requirements = config
        .requires
        .iter()
        .map(|(text, config)| Ok((text.clone(), requirement(config, names, &at.key(text))?)));
    let requirements = requirements.collect::<Result<_, Fault>>()?;
    Ok(JwtStateRules { name: config.name.clone(), requirements })
}

/// What requirements may refer to.
#[derive(Clone, Copy)]
struct Names<'a> {
    providers: &'a BTreeMap<String, JwtProvider>,
    requirements: &'a BTreeMap<String, pb::JwtRequirement>,
}

fn rule(config: &pb::RequirementRule, names: Names<'_>, at: &At<'_>) -> Result<JwtRule, Fault> {
    use pb::requirement_rule::RequirementType;
    let at_match = at.field("match");
    let matcher =
        config.r#match.as_ref().ok_or_else(|| at_match.missing("write which requests"))?;
    let requirement = match &config.requirement_type {
        None => None,
        Some(RequirementType::Requires(config)) => {
            requirement(config, names, &at.field("requires"))?
        }
        Some(RequirementType::RequirementName(name)) => {
            let at = at.field("requirement_name");
            let named = names.requirements.get(name).ok_or_else(|| {
                at.invalid(
                    format!("no requirement is named `{name}`"),
                    "add it to `requirement_map`",
                )
            })?;
            requirement(named, names, &at)?
        }
    };
    Ok(JwtRule { matcher: route_match::route_match(matcher, &at_match)?, requirement })
}

fn requirement(
    config: &pb::JwtRequirement,
    names: Names<'_>,
    at: &At<'_>,
) -> Result<Option<JwtRequirement>, Fault> {
    use pb::jwt_requirement::RequiresType;
    let several = |list: &[pb::JwtRequirement], at: &At<'_>| {
        let required =
            wire::list(list, &at.field("requirements"), |one, at| requirement(one, names, at))?;
        Ok::<_, Fault>(required.into_iter().flatten().collect::<Vec<_>>())
    };
    Ok(Some(match &config.requires_type {
        None => return Ok(None),
        Some(RequiresType::ProviderName(name)) => {
            provider_exists(name, names, &at.field("provider_name"))?;
            JwtRequirement::Provider { name: name.clone(), audiences: Vec::new() }
        }
        Some(RequiresType::ProviderAndAudiences(both)) => {
            let at = at.field("provider_and_audiences");
            provider_exists(&both.provider_name, names, &at.field("provider_name"))?;
            JwtRequirement::Provider {
                name: both.provider_name.clone(),
                audiences: both.audiences.clone(),
            }
        }
        Some(RequiresType::RequiresAny(any)) => {
            JwtRequirement::Any(several(&any.requirements, &at.field("requires_any"))?)
        }
        Some(RequiresType::RequiresAll(all)) => {
            JwtRequirement::All(several(&all.requirements, &at.field("requires_all"))?)
        }
        Some(RequiresType::AllowMissing(())) => JwtRequirement::AllowMissing,
        Some(RequiresType::AllowMissingOrFailed(())) => JwtRequirement::AllowMissingOrFailed,
        Some(RequiresType::ExtractOnlyWithoutValidation(config)) => {
            let at = at.field("extract_only_without_validation");
            let named = match config.verification_status_header.as_str() {
                "" => VERIFICATION_HEADER,
                named => named,
            };
            let header = wire::header_name(named, &at.field("verification_status_header"))?;
            JwtRequirement::ExtractOnly { header }
        }
    }))
}

fn provider_exists(name: &str, names: Names<'_>, at: &At<'_>) -> Result<(), Fault> {
    if names.providers.contains_key(name) {
        return Ok(());
    }
    Err(at.invalid(format!("no provider is named `{name}`"), "add it to `providers`"))
}

fn provider(config: &pb::JwtProvider, at: &At<'_>) -> Result<JwtProvider, Fault> {
    let mut value = JwtProvider::new(config.issuer.clone(), jwks(config, at)?);
    value.audiences.clone_from(&config.audiences);
    let at_subjects = at.field("subjects");
    value.subjects = config
        .subjects
        .as_ref()
        .map(|subjects| matcher::text(subjects, &at_subjects))
        .transpose()?;
    value.require_expiration = config.require_expiration;
    let at_lifetime = at.field("max_lifetime");
    value.lifetime_max = wire::optional(config.max_lifetime.as_ref(), &at_lifetime)?;
    value.forward = config.forward;
    value.from_headers =
        wire::list(&config.from_headers, &at.field("from_headers"), |header, at| {
            Ok(JwtHeader {
                name: wire::header_name(&header.name, &at.field("name"))?,
                prefix: header.value_prefix.clone(),
            })
        })?;
    value.from_params.clone_from(&config.from_params);
    value.from_cookies.clone_from(&config.from_cookies);
    if !config.forward_payload_header.is_empty() {
        let at = at.field("forward_payload_header");
        value.payload_header = Some(wire::header_name(&config.forward_payload_header, &at)?);
    }
    value.claim_to_headers =
        wire::list(&config.claim_to_headers, &at.field("claim_to_headers"), |claim, at| {
            Ok(ClaimToHeader {
                header: wire::header_name(&claim.header_name, &at.field("header_name"))?,
                claim: claim_path(claim, at)?,
            })
        })?;
    value.pad_payload_header = config.pad_forward_payload_header;
    value.payload_in_metadata.clone_from(&config.payload_in_metadata);
    value.header_in_metadata.clone_from(&config.header_in_metadata);
    value.failed_status_in_metadata.clone_from(&config.failed_status_in_metadata);
    if let Some(normalize) = &config.normalize_payload_in_metadata {
        value.space_delimited_claims.clone_from(&normalize.space_delimited_claims);
    }
    if config.clock_skew_seconds > 0 {
        value.clock_skew = Duration::from_secs(config.clock_skew_seconds.into());
    }
    value.clear_route_cache = config.clear_route_cache;
    Ok(value)
}

fn claim_path(config: &pb::JwtClaimToHeader, at: &At<'_>) -> Result<Vec<String>, Fault> {
    if !config.claim_path.is_empty() {
        let at = at.field("claim_path");
        return wire::list(&config.claim_path, &at, |segment, at| match segment.key.as_str() {
            "" => Err(at.field("key").missing("write the name of a claim")),
            key => Ok(key.to_owned()),
        });
    }
    if config.claim_name.is_empty() {
        return Err(at.field("claim_name").missing("write the name of a claim"));
    }
    Ok(config.claim_name.split('.').map(str::to_owned).collect())
}

fn jwks(config: &pb::JwtProvider, at: &At<'_>) -> Result<Jwks, Fault> {
    use pb::jwt_provider::JwksSourceSpecifier;
    match &config.jwks_source_specifier {
        Some(JwksSourceSpecifier::LocalJwks(source)) => {
            Ok(Jwks::Inline(wire::text_source(source, &at.field("local_jwks"))?))
        }
        Some(JwksSourceSpecifier::RemoteJwks(remote)) => {
            remote_jwks(remote, &at.field("remote_jwks"))
        }
        None => Err(at.missing("write `local_jwks` or `remote_jwks`")),
    }
}

fn remote_jwks(remote: &pb::RemoteJwks, at: &At<'_>) -> Result<Jwks, Fault> {
    use iako_xds_api::envoy::config::core::v3::http_uri::HttpUpstreamType;
    let at_uri = at.field("http_uri");
    let uri = remote
        .http_uri
        .as_ref()
        .ok_or_else(|| at_uri.missing("write `uri`, `cluster` and `timeout`"))?;
    if !uri.uri.starts_with("http://") && !uri.uri.starts_with("https://") {
        return Err(at_uri
            .field("uri")
            .invalid("is not an HTTP address", "write http://… or https://…"));
    }
    let cluster = match &uri.http_upstream_type {
        Some(HttpUpstreamType::Cluster(cluster)) => cluster.clone(),
        None => {
            return Err(at_uri
                .field("cluster")
                .missing("name the cluster that reaches the address"));
        }
    };
    Ok(Jwks::Remote {
        uri: uri.uri.clone(),
        cluster,
        timeout: wire::duration_or(
            uri.timeout.as_ref(),
            Duration::from_secs(5),
            &at_uri.field("timeout"),
        )?,
        cache: wire::duration_or(
            remote.cache_duration.as_ref(),
            Duration::from_secs(600),
            &at.field("cache_duration"),
        )?,
        retry: fetch_retry(remote, &at.field("retry_policy"))?,
    })
}

fn fetch_retry(remote: &pb::RemoteJwks, at: &At<'_>) -> Result<Option<FetchRetry>, Fault> {
    remote.retry_policy.as_ref().map(|policy| retry(policy, at)).transpose()
}

/// How something is asked for again.
pub(super) fn retry(policy: &core::RetryPolicy, at: &At<'_>) -> Result<FetchRetry, Fault> {
    let at_pause = at.field("retry_back_off");
    let pauses = policy.retry_back_off.as_ref();
    let base = pauses.and_then(|pauses| pauses.base_interval.as_ref());
    let pause = wire::duration_or(base, Duration::from_secs(1), &at_pause.field("base_interval"))?;
    let longest = pauses.and_then(|pauses| pauses.max_interval.as_ref());
    let at_longest = at_pause.field("max_interval");
    let pause_max = wire::duration_or(longest, pause.saturating_mul(10), &at_longest)?;
    if pause_max < pause {
        return Err(at_longest.invalid("is below `base_interval`", "write at least as much"));
    }
    Ok(FetchRetry { retries_max: policy.num_retries.unwrap_or(1), pause, pause_max })
}
