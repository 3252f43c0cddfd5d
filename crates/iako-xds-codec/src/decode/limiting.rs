//! HTTP filters of this proxy's own that hold requests back by how many there are, those that requests
//! choose, and those that deal with credentials.

use iako_xds_api::envoy::extensions::common::matching::v3::{
    ExtensionWithMatcher, ExtensionWithMatcherPerRoute,
};
use iako_xds_api::envoy::extensions::filters::http::{
    adaptive_concurrency::v3::AdaptiveConcurrency,
    admission_control::v3::AdmissionControl,
    composite::v3::Composite,
    credential_injector::v3::CredentialInjector,
    local_ratelimit::v3::LocalRateLimit,
    oauth2::v3::{OAuth2, OAuth2PerRoute},
};
use prost::Name as _;
use prost_types::Any;

use super::{admission, composite, concurrency, credential, local_limit, oauth2, wire};
use crate::problem::{At, Fault};
use iako_proxy_config::{FilterOverrides, FilterSettings, HttpFilterKind};

/// Such a filter; none when it is another.
pub(super) fn kind(name: &str, any: &Any, at: &At<'_>) -> Result<Option<HttpFilterKind>, Fault> {
    Ok(Some(if name == LocalRateLimit::full_name() {
        let limit = local_limit::filter(&wire::unpack(any, at)?, at)?;
        HttpFilterKind::LocalRateLimit(Box::new(limit))
    } else if name == ExtensionWithMatcher::full_name() {
        composite::filter(&wire::unpack(any, at)?, at)?
    } else if name == Composite::full_name() {
        composite::plain(&wire::unpack(any, at)?, at)?
    } else if name == AdmissionControl::full_name() {
        let control = admission::filter(&wire::unpack(any, at)?, at)?;
        HttpFilterKind::AdmissionControl(Box::new(control))
    } else if name == AdaptiveConcurrency::full_name() {
        let bound = concurrency::filter(&wire::unpack(any, at)?, at)?;
        HttpFilterKind::AdaptiveConcurrency(Box::new(bound))
    } else if name == CredentialInjector::full_name() {
        let injector = credential::filter(&wire::unpack(any, at)?, at)?;
        HttpFilterKind::CredentialInjector(Box::new(injector))
    } else if name == OAuth2::full_name() {
        let config: OAuth2 = wire::unpack(any, at)?;
        HttpFilterKind::OAuth2(oauth2::filter(config.config.as_ref(), at)?)
    } else {
        return Ok(None);
    }))
}

/// Settings of such a filter for a route; whether they were such.
pub(super) fn settings(
    filter: &str,
    name: &str,
    any: &Any,
    value: &mut FilterOverrides,
    at: &At<'_>,
) -> Result<bool, Fault> {
    let own = if name == LocalRateLimit::full_name() {
        let limit = local_limit::for_route(&wire::unpack(any, at)?, at)?;
        FilterSettings::LocalRateLimit(Box::new(limit))
    } else if name == ExtensionWithMatcherPerRoute::full_name() {
        FilterSettings::Skip(Box::new(composite::for_route(&wire::unpack(any, at)?, at)?))
    } else if name == OAuth2PerRoute::full_name() {
        let config: OAuth2PerRoute = wire::unpack(any, at)?;
        let own = oauth2::filter(config.config.as_ref(), at)?;
        FilterSettings::OAuth2(own.ok_or_else(|| {
            at.field("config").missing("write the login, or `disabled` of a FilterConfig")
        })?)
    } else {
        return Ok(false);
    };
    value.settings.insert(filter.to_owned(), own);
    Ok(true)
}
