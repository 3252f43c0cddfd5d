//! What a request counts as for limits of rates, and what is said of what is left. Source: Envoy
//! `RateLimit.Action`; draft-polli-ratelimit-headers-03.

use std::net::IpAddr;

use iako_proxy_config::{
    GlobalRateLimit, GlobalRateLimitRoute, HostLimits, LimitedRequests, LocalRateLimit,
    RateDescriptor, RateLimit, RateLimitAction, RateLimitHits, RateLimitMetadataSource,
    RateLimitOverride, RateLimitUnit, RateStatus,
};
use serde_json::Value;

use crate::{RequestFacts, RouteMatchResult, header_matches, matching::query_matches};

/// What descriptors are made of.
#[derive(Clone, Copy)]
pub struct DescriptorFacts<'a> {
    /// The request.
    pub request: &'a RequestFacts<'a>,
    /// The service cluster of this proxy.
    pub own_cluster: &'a str,
    /// The cluster of the route; empty without one.
    pub cluster: &'a str,
    /// The text of a value with `%OPERATOR%`s.
    pub format: &'a dyn Fn(&str) -> String,
}

impl std::fmt::Debug for DescriptorFacts<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DescriptorFacts").field("cluster", &self.cluster).finish_non_exhaustive()
    }
}

/// The limits that count for a request of a filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CountedLimits<'l> {
    lists: [&'l [RateLimit]; 2],
    /// Whether the limits are the filter's or typed ones: they say more than those of routes.
    is_typed: bool,
    /// Whether limits that can be switched off are left out.
    spares_switched: bool,
}

impl<'l> CountedLimits<'l> {
    /// Which limits count: typed ones of the route, else the filter's, else those of route and virtual
    /// host.
    #[must_use]
    pub fn of(
        filter: &'l GlobalRateLimit,
        typed: Option<&'l GlobalRateLimitRoute>,
        route: &RouteMatchResult<'l>,
    ) -> Self {
        if let Some(typed) = typed.filter(|typed| !typed.limits.is_empty()) {
            return Self::typed(&typed.limits);
        }
        if !filter.limits.is_empty() {
            return Self::typed(&filter.limits);
        }
        Self::of_route(route, typed.map_or(HostLimits::Override, |typed| typed.host_limits))
    }

    /// Which limits count for tokens of this proxy's own: those of their filter, else those of route
    /// and virtual host. Envoy passes over those that can be switched off there.
    #[must_use]
    pub fn local(settings: &'l LocalRateLimit, route: Option<&RouteMatchResult<'l>>) -> Self {
        if !settings.limits.is_empty() {
            return Self::typed(&settings.limits);
        }
        let route = route.filter(|route| route.forward().is_some());
        let found = route
            .map_or_else(|| Self::typed(&[]), |route| Self::of_route(route, settings.host_limits));
        Self { spares_switched: true, ..found }
    }

    const fn typed(limits: &'l [RateLimit]) -> Self {
        Self { lists: [limits, &[]], is_typed: true, spares_switched: false }
    }

    fn of_route(route: &RouteMatchResult<'l>, option: HostLimits) -> Self {
        let own = route.forward().map_or(&[][..], |action| &action.rate_limits);
        let host = route.virtual_host.rate_limits.as_slice();
        let includes = route.forward().and_then(|action| action.include_host_rate_limits);
        let option = match includes {
            Some(true) => HostLimits::Include,
            Some(false) | None => option,
        };
        let host = match option {
            HostLimits::Include => host,
            HostLimits::Override if own.is_empty() => host,
            HostLimits::Override | HostLimits::Ignore => &[],
        };
        Self { lists: [own, host], is_typed: false, spares_switched: false }
    }

    /// The descriptors of a stage. `done` wants those that are counted when the request is done.
    #[must_use]
    pub fn descriptors(
        &self,
        stage: u32,
        moment: CountMoment,
        facts: &DescriptorFacts<'_>,
    ) -> Vec<RateDescriptor> {
        let limits = self.lists.into_iter().flatten();
        let wanted = limits.filter(|limit| {
            (self.is_typed || limit.stage == stage)
                && limit.on_stream_done == (moment == CountMoment::Done)
                && (!self.spares_switched || limit.disable_key.is_empty())
        });
        let mut descriptors = Vec::new();
        for limit in wanted {
            if let Some(mut descriptor) = descriptor(limit, facts) {
                if let Some(wanted) = limit.hits.as_ref().filter(|_| self.is_typed) {
                    // What should be a number and is none makes no descriptor.
                    let Some(hits) = hits(wanted, facts) else { continue };
                    descriptor.hits = Some(hits);
                }
                descriptors.push(descriptor);
            }
        }
        descriptors
    }
}

/// When a request is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CountMoment {
    /// Before it goes on.
    Begin,
    /// When it is done.
    Done,
}

/// Whether requests of that kind are counted.
#[must_use]
pub const fn counts_request(requests: LimitedRequests, facts: &RequestFacts<'_>) -> bool {
    match requests {
        LimitedRequests::Both => true,
        LimitedRequests::Internal => facts.internal,
        LimitedRequests::External => !facts.internal,
    }
}

fn hits(hits: &RateLimitHits, facts: &DescriptorFacts<'_>) -> Option<u64> {
    match hits {
        RateLimitHits::Number(number) => Some(*number),
        RateLimitHits::Format(format) => (facts.format)(format).trim().parse().ok(),
    }
}

/// What a request counts as under one limit; none when an entry that has to be there has no value.
#[must_use]
pub fn descriptor(limit: &RateLimit, facts: &DescriptorFacts<'_>) -> Option<RateDescriptor> {
    let mut entries = Vec::with_capacity(limit.actions.len());
    for action in &limit.actions {
        match entry(action, facts) {
            Entry::Is(key, value) => entries.push((key, value)),
            Entry::Left => {}
            Entry::Fails => return None,
        }
    }
    let headers = limit.headers;
    let limit = limit.limit.as_ref().and_then(|limit| overridden(limit, facts));
    (!entries.is_empty()).then_some(RateDescriptor { entries, limit, hits: None, headers })
}

enum Entry {
    Is(String, String),
    /// It is left out, and the others count.
    Left,
    /// There is no descriptor without it.
    Fails,
}

impl Entry {
    /// An entry, or what becomes of a missing one.
    fn of(key: &str, value: Option<String>, otherwise: Self) -> Self {
        value.map_or(otherwise, |value| Self::Is(key.to_owned(), value))
    }
}

fn entry(action: &RateLimitAction, facts: &DescriptorFacts<'_>) -> Entry {
    let head = &facts.request.head;
    let absent = |skips: &bool| if *skips { Entry::Left } else { Entry::Fails };
    let when = |holds: bool, entry: &iako_proxy_config::RateLimitEntry| {
        if holds { Entry::Is(entry.key.clone(), entry.value.clone()) } else { Entry::Fails }
    };
    match action {
        RateLimitAction::SourceCluster => {
            Entry::Is("source_cluster".to_owned(), facts.own_cluster.to_owned())
        }
        RateLimitAction::DestinationCluster => {
            Entry::Is("destination_cluster".to_owned(), facts.cluster.to_owned())
        }
        RateLimitAction::RemoteAddress => {
            Entry::Is("remote_address".to_owned(), facts.request.client.to_string())
        }
        RateLimitAction::MaskedRemoteAddress { v4_bits, v6_bits } => Entry::Is(
            "masked_remote_address".to_owned(),
            network(facts.request.client, *v4_bits, *v6_bits),
        ),
        RateLimitAction::RequestHeader { name, key, skip_if_absent } => {
            let value = head.text(name.as_str()).map(std::borrow::Cow::into_owned);
            Entry::of(key, value, absent(skip_if_absent))
        }
        RateLimitAction::QueryParameter { name, key, skip_if_absent } => {
            Entry::of(key, parameter(head.query(), name), absent(skip_if_absent))
        }
        RateLimitAction::GenericKey(entry) => when(true, entry),
        RateLimitAction::HeaderValueMatch { entry, expect, headers } => {
            when(headers.iter().all(|rule| header_matches(rule, head)) == *expect, entry)
        }
        RateLimitAction::QueryParameterValueMatch { entry, expect, query } => {
            when(query.iter().all(|rule| query_matches(rule, head.query())) == *expect, entry)
        }
        RateLimitAction::RemoteAddressMatch { entry, ranges, invert } => {
            let is_in = ranges.iter().any(|range| range.contains(&facts.request.client));
            when(is_in != *invert, entry)
        }
        RateLimitAction::Metadata { key, source, path, default_value, skip_if_absent } => {
            let value = match source {
                RateLimitMetadataSource::Dynamic => {
                    facts.request.metadata.find(&path.key, &path.path)
                }
                // Not kept of what configuration says.
                RateLimitMetadataSource::Route
                | RateLimitMetadataSource::Cluster
                | RateLimitMetadataSource::Locality => None,
            };
            let value = value.and_then(Value::as_str).filter(|text| !text.is_empty());
            let value =
                value.or_else(|| Some(default_value.as_str()).filter(|text| !text.is_empty()));
            Entry::of(key, value.map(str::to_owned), absent(skip_if_absent))
        }
    }
}

fn parameter(query: &str, name: &str) -> Option<String> {
    let mut pairs = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    pairs.find(|(own, _)| *own == name).map(|(_, value)| value.to_owned())
}

/// The network of an address, as `10.1.0.0/16`.
fn network(address: IpAddr, v4_bits: u8, v6_bits: u8) -> String {
    match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32_u32.saturating_sub(v4_bits.into())).unwrap_or(0);
            format!("{}/{v4_bits}", std::net::Ipv4Addr::from(u32::from(address) & mask))
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128_u32.saturating_sub(v6_bits.into())).unwrap_or(0);
            format!("{}/{v6_bits}", std::net::Ipv6Addr::from(u128::from(address) & mask))
        }
    }
}

fn overridden(
    limit: &RateLimitOverride,
    facts: &DescriptorFacts<'_>,
) -> Option<(u32, RateLimitUnit)> {
    match limit {
        RateLimitOverride::Fixed { requests, unit } => Some((*requests, *unit)),
        RateLimitOverride::Metadata(place) => {
            let told = facts.request.metadata.find(&place.key, &place.path)?;
            let requests = told.get("requests_per_unit").and_then(Value::as_u64)?;
            let unit = match told.get("unit").and_then(Value::as_str)? {
                "SECOND" => RateLimitUnit::Second,
                "MINUTE" => RateLimitUnit::Minute,
                "HOUR" => RateLimitUnit::Hour,
                "DAY" => RateLimitUnit::Day,
                "MONTH" => RateLimitUnit::Month,
                "YEAR" => RateLimitUnit::Year,
                _ => return None,
            };
            Some((u32::try_from(requests).ok()?, unit))
        }
    }
}

/// `x-ratelimit-limit`, `-remaining` and `-reset`: those of the descriptor that has least left, and
/// every limit with its window. None when no descriptor has a limit.
#[must_use]
pub fn rate_limit_headers(statuses: &[RateStatus]) -> Option<[(&'static str, String); 3]> {
    let limited = || statuses.iter().filter_map(|it| it.limit.as_ref().map(|limit| (it, limit)));
    let (least, limit) = limited().min_by_key(|(status, _)| status.remaining)?;
    let mut policy = limit.requests.to_string();
    for (_, limit) in limited() {
        if let Some(window) = limit.window {
            policy.push_str(&format!(", {};w={window}", limit.requests));
            if !limit.name.is_empty() {
                policy.push_str(&format!(";name=\"{}\"", limit.name));
            }
        }
    }
    let reset = least.until_reset.unwrap_or_default().as_secs();
    Some([
        ("x-ratelimit-limit", policy),
        ("x-ratelimit-remaining", least.remaining.to_string()),
        ("x-ratelimit-reset", reset.to_string()),
    ])
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use iako_proxy_config::RateCurrent;

    use super::*;

    #[test]
    fn networks_are_masked() {
        let of = |text: &str, v4, v6| network(text.parse().unwrap(), v4, v6);
        assert_eq!(of("10.1.2.3", 16, 128), "10.1.0.0/16");
        assert_eq!(of("10.1.2.3", 0, 0), "0.0.0.0/0");
        assert_eq!(of("10.1.2.3", 32, 0), "10.1.2.3/32");
        assert_eq!(of("2001:db8::1", 0, 32), "2001:db8::/32");
    }

    #[test]
    fn the_least_that_is_left_is_told_and_every_window() {
        let status = |requests, window, name: &str, remaining, reset| RateStatus {
            limit: Some(RateCurrent { name: name.to_owned(), requests, window: Some(window) }),
            remaining,
            until_reset: Some(Duration::from_millis(reset)),
        };
        let statuses = [
            status(10, 60, "first", 7, 21_000),
            RateStatus::default(),
            status(5, 3600, "", 3, 61_900),
        ];
        let headers = rate_limit_headers(&statuses).unwrap().map(|(_, value)| value);
        assert_eq!(headers, ["5, 10;w=60;name=\"first\", 5;w=3600", "3", "61"]);
        assert_eq!(rate_limit_headers(&[RateStatus::default()]), None);
    }
}
