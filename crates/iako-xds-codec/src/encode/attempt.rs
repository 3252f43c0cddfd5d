//! What happens around tries: retries, hedging, internal redirects, copies, hashes.

use iako_xds_api::envoy::config::route::v3 as pb;
use iako_xds_api::envoy::extensions::internal_redirect::{
    allow_listed_routes::v3::AllowListedRoutesConfig, previous_routes::v3::PreviousRoutesConfig,
    safe_cross_scheme::v3::SafeCrossSchemeConfig,
};
use iako_xds_api::envoy::extensions::retry::{
    host::{
        omit_canary_hosts::v3::OmitCanaryHostsPredicate,
        omit_host_metadata::v3::OmitHostMetadataConfig, previous_hosts::v3::PreviousHostsPredicate,
    },
    priority::previous_priorities::v3::PreviousPrioritiesConfig,
};
use pb::route_action as inner;

use super::{header, matcher, metadata, wire};
use iako_proxy_config::{
    HashPolicy, HashSource, HedgePolicy, InternalRedirectPolicy, Mirror, MirrorTarget,
    RateLimitedBackOff, RedirectPredicate, ResetFormat, RetryOn, RetryPolicy,
};

pub(super) fn retry_policy(value: &RetryPolicy) -> pb::RetryPolicy {
    use pb::retry_policy::{RetryBackOff, RetryPriority, retry_priority};
    let words = RetryOn::ALL.into_iter().filter(|condition| value.conditions.contains(*condition));
    let words: Vec<_> = words.map(RetryOn::word).collect();
    let priorities = |tries: std::num::NonZeroU32| RetryPriority {
        name: "envoy.retry_priorities.previous_priorities".to_owned(),
        config_type: Some(retry_priority::ConfigType::TypedConfig(wire::any(
            &PreviousPrioritiesConfig {
                update_frequency: i32::try_from(tries.get()).unwrap_or(i32::MAX),
            },
        ))),
    };
    pb::RetryPolicy {
        retry_on: words.join(","),
        num_retries: Some(value.retries_max),
        per_try_timeout: value.per_try_timeout.map(wire::duration),
        per_try_idle_timeout: value.per_try_idle_timeout.map(wire::duration),
        retry_priority: value.previous_priorities.map(priorities),
        retry_host_predicate: host_predicates(value),
        host_selection_retry_max_attempts: value.host_selection_attempts_max.get().into(),
        retriable_status_codes: value.status_codes.iter().copied().map(u32::from).collect(),
        retriable_headers: matcher::headers(&value.headers),
        retry_back_off: Some(RetryBackOff {
            base_interval: Some(wire::duration(value.back_off.base)),
            max_interval: Some(wire::duration(value.back_off.max)),
        }),
        retriable_request_headers: matcher::headers(&value.request_headers),
        rate_limited_retry_back_off: value.rate_limited.as_ref().map(rate_limited),
        ..Default::default()
    }
}

fn host_predicates(value: &RetryPolicy) -> Vec<pb::retry_policy::RetryHostPredicate> {
    use pb::retry_policy::{RetryHostPredicate, retry_host_predicate::ConfigType};
    let predicate = |name: &str, config| RetryHostPredicate {
        name: format!("envoy.retry_host_predicates.{name}"),
        config_type: Some(ConfigType::TypedConfig(config)),
    };
    let mut all = Vec::new();
    if value.avoid_previous_hosts {
        let config = wire::any(&PreviousHostsPredicate::default());
        all.push(predicate("previous_hosts", config));
    }
    if value.avoid_canary_hosts {
        let config = wire::any(&OmitCanaryHostsPredicate::default());
        all.push(predicate("omit_canary_hosts", config));
    }
    for wanted in &value.avoid_hosts_with {
        let wanted: Vec<_> = wanted.clone().into_iter().collect();
        let metadata_match = metadata::of_subset(&wanted, &[]);
        let config = wire::any(&OmitHostMetadataConfig { metadata_match });
        all.push(predicate("omit_host_metadata", config));
    }
    all
}

fn rate_limited(value: &RateLimitedBackOff) -> pb::retry_policy::RateLimitedRetryBackOff {
    use pb::retry_policy::{RateLimitedRetryBackOff, ResetHeader, ResetHeaderFormat};
    let header = |header: &iako_proxy_config::ResetHeader| ResetHeader {
        name: header.name.as_str().to_owned(),
        format: match header.format {
            ResetFormat::Seconds => ResetHeaderFormat::Seconds,
            ResetFormat::UnixTimestamp => ResetHeaderFormat::UnixTimestamp,
        }
        .into(),
    };
    RateLimitedRetryBackOff {
        reset_headers: value.headers.iter().map(header).collect(),
        max_interval: Some(wire::duration(value.max)),
    }
}

pub(super) fn hedge(value: HedgePolicy) -> pb::HedgePolicy {
    pb::HedgePolicy { hedge_on_per_try_timeout: value.on_per_try_timeout, ..Default::default() }
}

pub(super) fn internal_redirect(value: &InternalRedirectPolicy) -> pb::InternalRedirectPolicy {
    let name = |name: &str| format!("envoy.internal_redirect_predicates.{name}");
    let predicate = |predicate: &RedirectPredicate| match predicate {
        RedirectPredicate::AllowListedRoutes(names) => wire::extension(
            &name("allow_listed_routes"),
            &AllowListedRoutesConfig { allowed_route_names: names.clone() },
        ),
        RedirectPredicate::PreviousRoutes => {
            wire::extension(&name("previous_routes"), &PreviousRoutesConfig::default())
        }
        RedirectPredicate::SafeCrossScheme => {
            wire::extension(&name("safe_cross_scheme"), &SafeCrossSchemeConfig::default())
        }
    };
    pb::InternalRedirectPolicy {
        max_internal_redirects: Some(value.redirects_max),
        redirect_response_codes: value.statuses.iter().copied().map(u32::from).collect(),
        predicates: value.predicates.iter().map(predicate).collect(),
        allow_cross_scheme_redirect: value.cross_scheme,
        response_headers_to_copy: header::removals(&value.copied_headers),
    }
}

pub(super) fn mirror(value: &Mirror) -> inner::RequestMirrorPolicy {
    let (cluster, cluster_header) = match &value.target {
        MirrorTarget::Cluster(name) => (name.clone(), String::new()),
        MirrorTarget::Header(name) => (String::new(), name.as_str().to_owned()),
    };
    inner::RequestMirrorPolicy {
        cluster,
        cluster_header,
        runtime_fraction: Some(wire::runtime_fraction(&value.share)),
        trace_sampled: value.traced,
        disable_shadow_host_suffix_append: value.keep_host,
        request_headers_mutations: value.edits.iter().map(header::edit).collect(),
        host_rewrite_literal: value.host.clone().unwrap_or_default(),
    }
}

pub(super) fn hash_policy(value: &HashPolicy) -> inner::HashPolicy {
    use inner::hash_policy::{
        ConnectionProperties, Cookie, CookieAttribute, FilterState, Header, PolicySpecifier,
        QueryParameter,
    };
    let specifier = match &value.source {
        HashSource::Header { name, rewrite } => PolicySpecifier::Header(Header {
            header_name: name.as_str().to_owned(),
            regex_rewrite: rewrite
                .as_ref()
                .map(|(pattern, substitution)| matcher::substitution(pattern, substitution)),
        }),
        HashSource::Cookie { name, ttl, path, attributes } => {
            let attribute = |attribute: &iako_proxy_config::CookieAttribute| CookieAttribute {
                name: attribute.name.clone(),
                value: attribute.value.clone(),
            };
            PolicySpecifier::Cookie(Cookie {
                name: name.clone(),
                ttl: ttl.map(wire::duration),
                path: path.clone(),
                attributes: attributes.iter().map(attribute).collect(),
            })
        }
        HashSource::SourceIp => {
            PolicySpecifier::ConnectionProperties(ConnectionProperties { source_ip: true })
        }
        HashSource::QueryParameter(name) => {
            PolicySpecifier::QueryParameter(QueryParameter { name: name.clone() })
        }
        HashSource::FilterState(key) => {
            PolicySpecifier::FilterState(FilterState { key: key.clone() })
        }
    };
    inner::HashPolicy { terminal: value.terminal, policy_specifier: Some(specifier) }
}
