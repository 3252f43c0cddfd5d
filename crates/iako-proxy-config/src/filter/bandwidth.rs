//! Content that passes no faster than allowed.

use std::num::NonZeroU64;
use std::time::Duration;

use crate::Keyed;

/// Holds content back. Source: `envoy.extensions.filters.http.bandwidth_limit.v3.BandwidthLimit`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct BandwidthLimit {
    /// First part of the names of its statistics.
    pub stat_prefix: String,
    /// Which content.
    pub mode: BandwidthMode,
    /// KiB a second for all exchanges together; none when absent, which only a filter may that leaves
    /// the rest to routes.
    pub kib_per_second: Option<NonZeroU64>,
    /// How often room comes, 20 ms to 1 s. Envoy default: 50 ms.
    pub fill_interval: Duration,
    /// Whether it is on. Envoy default: true.
    pub enabled: Keyed<bool>,
    /// Whether trailers tell how long content was held back. Envoy default: false.
    pub tells_delays: bool,
    /// What their names begin with, without the hyphen behind it. Envoy default: nothing.
    pub trailer_prefix: String,
}

/// Which content is held back. Source: `BandwidthLimit.EnableMode`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum BandwidthMode {
    /// None.
    #[default]
    Disabled,
    /// That of requests.
    Request,
    /// That of responses.
    Response,
    /// Both.
    Both,
}

impl BandwidthMode {
    /// Whether content of requests is held back.
    #[must_use]
    pub const fn takes_requests(self) -> bool {
        matches!(self, Self::Request | Self::Both)
    }

    /// Whether content of responses is held back.
    #[must_use]
    pub const fn takes_responses(self) -> bool {
        matches!(self, Self::Response | Self::Both)
    }
}
