//! HTTP filters of this proxy's own that hold requests back by how many there are.

use iako_xds_api::envoy::extensions::filters::http::local_ratelimit::v3::LocalRateLimit;
use prost::Name as _;
use prost_types::Any;

use super::{local_limit, wire};
use crate::problem::{At, Fault};
use iako_proxy_config::{FilterOverrides, FilterSettings, HttpFilterKind};

/// Such a filter; none when it is another.
pub(super) fn kind(name: &str, any: &Any, at: &At<'_>) -> Result<Option<HttpFilterKind>, Fault> {
    Ok(Some(if name == LocalRateLimit::full_name() {
        let limit = local_limit::filter(&wire::unpack(any, at)?, at)?;
        HttpFilterKind::LocalRateLimit(Box::new(limit))
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
    } else {
        return Ok(false);
    };
    value.settings.insert(filter.to_owned(), own);
    Ok(true)
}
