//! Checking of JSON web tokens.

use std::collections::BTreeMap;
use std::time::Duration;

use iako_xds_api::envoy::extensions::filters::http::jwt_authn::v3 as pb;

use super::{route_match, wire};
use crate::problem::{At, Fault};
use iako_proxy_config::{
    ClaimToHeader, Jwks, JwtAuthn, JwtHeader, JwtProvider, JwtRequirement, JwtRule,
};

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
    Ok(JwtAuthn { rules, bypass_cors_preflight: config.bypass_cors_preflight, providers })
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
        Some(RequiresType::ExtractOnlyWithoutValidation(_)) => {
            let at = at.field("extract_only_without_validation");
            return Err(
                at.invalid("is not supported", "require a provider, so that tokens are checked")
            );
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
                claim: claim.claim_name.clone(),
            })
        })?;
    value.payload_in_metadata.clone_from(&config.payload_in_metadata);
    if let Some(normalize) = &config.normalize_payload_in_metadata {
        value.space_delimited_claims.clone_from(&normalize.space_delimited_claims);
    }
    if config.clock_skew_seconds > 0 {
        value.clock_skew = Duration::from_secs(config.clock_skew_seconds.into());
    }
    value.clear_route_cache = config.clear_route_cache;
    Ok(value)
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
    })
}
