//! Network filters that ask a service about a connection.

use std::time::Duration;

use iako_types::Percent;
use iako_xds_api::envoy::extensions::{
    common::ratelimit::v3::RateLimitDescriptor,
    filters::network::{
        ext_authz::v3::ExtAuthz as AuthzMessage, ratelimit::v3::RateLimit as LimitMessage,
    },
};
use prost::Name as _;
use prost_types::Any;

use super::{callout, connection_filter::stat_prefix, global_limit, matcher, source, wire};
use crate::problem::{At, Fault};
use iako_proxy_config::{
    AuthzFailure, ConnectionAuthz, GlobalConnectionRate, Keyed, NetworkFilter, RATE_LIMIT_TIMEOUT,
};

/// Envoy's time-out of a check that names none.
const CHECK_TIMEOUT: Duration = Duration::from_millis(200);

/// The filter of this type; none where the type is another one's.
pub(super) fn step(any: &Any, name: &str, at: &At<'_>) -> Result<Option<NetworkFilter>, Fault> {
    Ok(if name == AuthzMessage::full_name() {
        Some(NetworkFilter::ExtAuthz(Box::new(authz(&wire::unpack(any, at)?, at)?)))
    } else if name == LimitMessage::full_name() {
        Some(NetworkFilter::GlobalRateLimit(Box::new(rate(&wire::unpack(any, at)?, at)?)))
    } else {
        None
    })
}

fn authz(config: &AuthzMessage, at: &At<'_>) -> Result<ConnectionAuthz, Fault> {
    source::version(config.transport_api_version, &at.field("transport_api_version"))?;
    let at_service = at.field("grpc_service");
    let service = config.grpc_service.as_ref();
    let service = service.ok_or_else(|| at_service.missing("write `envoy_grpc`"))?;
    let at_enabled = at.field("filter_enabled_metadata");
    let enabled = config.filter_enabled_metadata.as_ref();
    Ok(ConnectionAuthz {
        stat_prefix: stat_prefix(&config.stat_prefix, at)?,
        service: callout::grpc(service, Some(CHECK_TIMEOUT), &at_service)?,
        on_failure: if config.failure_mode_allow {
            AuthzFailure::Allow
        } else {
            AuthzFailure::Deny
        },
        enabled_metadata: enabled.map(|it| matcher::metadata(it, &at_enabled)).transpose()?,
        include_peer_certificate: config.include_peer_certificate,
        include_tls_session: config.include_tls_session,
        labels_key: config.bootstrap_metadata_labels_key.clone(),
        metadata_namespaces: config.metadata_context_namespaces.clone(),
        only_watches: config.shadow_mode,
    })
}

fn rate(config: &LimitMessage, at: &At<'_>) -> Result<GlobalConnectionRate, Fault> {
    if config.domain.is_empty() {
        return Err(at.field("domain").missing("name the domain of the service's configuration"));
    }
    let at_list = at.field("descriptors");
    if config.descriptors.is_empty() {
        return Err(at_list.missing("write what a connection counts as"));
    }
    let at_service = at.field("rate_limit_service");
    let mut service = global_limit::service(config.rate_limit_service.as_ref(), &at_service)?;
    let at_timeout = at.field("timeout");
    service.timeout = wire::limit(config.timeout.as_ref(), Some(RATE_LIMIT_TIMEOUT), &at_timeout)?;
    Ok(GlobalConnectionRate {
        stat_prefix: stat_prefix(&config.stat_prefix, at)?,
        service,
        domain: config.domain.clone(),
        descriptors: wire::list(&config.descriptors, &at_list, descriptor)?,
        failure_denies: config.failure_mode_deny,
        enabled: Keyed::new(Percent::HUNDRED, GlobalConnectionRate::ENABLED_KEY),
        enforced: Keyed::new(Percent::HUNDRED, GlobalConnectionRate::ENFORCED_KEY),
    })
}

fn descriptor(config: &RateLimitDescriptor, at: &At<'_>) -> Result<Vec<(String, String)>, Fault> {
    let at_entries = at.field("entries");
    if config.entries.is_empty() {
        return Err(at_entries.missing("write `key` and `value`"));
    }
    wire::list(&config.entries, &at_entries, |entry, at| {
        for (text, field) in [(&entry.key, "key"), (&entry.value, "value")] {
            if text.is_empty() {
                return Err(at.field(field).missing("write a text"));
            }
        }
        Ok((entry.key.clone(), entry.value.clone()))
    })
}
