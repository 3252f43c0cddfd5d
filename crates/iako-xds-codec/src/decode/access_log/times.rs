//! When lines are written besides the last one.

use std::time::Duration;

use iako_xds_api::envoy::extensions::filters::network::http_connection_manager::v3 as manager;
use prost_types::Duration as Interval;

use crate::decode::wire;
use crate::problem::{At, Fault};
use iako_proxy_config::HttpLogTimes;

/// The options; the fields that they replaced count where there are none.
pub(crate) fn http_times(
    config: &manager::HttpConnectionManager,
    at: &At<'_>,
) -> Result<HttpLogTimes, Fault> {
    let Some(options) = &config.access_log_options else {
        return Ok(HttpLogTimes {
            interval: interval(config.access_log_flush_interval.as_ref(), at)?,
            on_start: config.flush_access_log_on_new_request,
            on_tunnel: false,
        });
    };
    let at_options = at.field("access_log_options");
    if config.flush_access_log_on_new_request || config.access_log_flush_interval.is_some() {
        return Err(beside(&at_options));
    }
    Ok(HttpLogTimes {
        interval: interval(options.access_log_flush_interval.as_ref(), &at_options)?,
        on_start: options.flush_access_log_on_new_request,
        on_tunnel: options.flush_log_on_tunnel_successfully_established,
    })
}

/// Options beside the fields that they replace.
pub(crate) fn beside(at: &At<'_>) -> Fault {
    at.invalid("are set beside the fields that they replace", "write all of it in the options")
}

/// Time between lines; at least 1 ms.
pub(crate) fn interval(
    interval: Option<&Interval>,
    at: &At<'_>,
) -> Result<Option<Duration>, Fault> {
    let at = at.field("access_log_flush_interval");
    let interval = wire::optional(interval, &at)?;
    if interval.is_some_and(|interval| interval < Duration::from_millis(1)) {
        return Err(at.invalid("is below 1 ms", "write at least 0.001s"));
    }
    Ok(interval)
}
