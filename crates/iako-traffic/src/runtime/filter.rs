//! HTTP filters.

use std::{collections::BTreeMap, time::Duration};

use iako_proxy_config::{
    AbortStatus, AdmissionControl, ChosenFilters, ClientFault, CorsPolicy, CsrfPolicy, Fault,
    FilterSettings, GlobalRateLimit, HttpFilter, HttpFilterKind, LocalRateLimit, NetworkFilter,
    RuntimeValue,
};

use super::{Runtime, Tune, set};

impl Tune for HttpFilter {
    fn tune(&mut self, runtime: &Runtime) -> bool {
        self.kind.tune(runtime)
    }
}

impl Tune for HttpFilterKind {
    fn tune(&mut self, runtime: &Runtime) -> bool {
        match self {
            Self::Fault(fault) => fault.tune(runtime),
            Self::Csrf(policy) => policy.tune(runtime),
            Self::BandwidthLimit(limit) => limit.enabled.tune(runtime),
            Self::Compressor(compressor) => {
                let request = compressor.request.as_mut();
                let request = request.is_some_and(|content| content.enabled.tune(runtime));
                compressor.response.content.enabled.tune(runtime) || request
            }
            Self::Decompressor(decompressor) => {
                let request = decompressor.request.enabled.tune(runtime);
                decompressor.response.enabled.tune(runtime) || request
            }
            Self::ExtAuthz(authz) => {
                let changed = [authz.enabled.tune(runtime), authz.deny_at_disable.tune(runtime)];
                changed.contains(&true)
            }
            Self::GlobalRateLimit(limit) => limit.tune(runtime),
            Self::LocalRateLimit(limit) => limit.tune(runtime),
            Self::AdmissionControl(control) => control.tune(runtime),
            Self::Composite(composite) => composite.tree.tune(runtime),
            Self::Matched(matched) => matched.kind.tune(runtime),
            Self::AdaptiveConcurrency(bound) => bound.enabled.tune(runtime),
            Self::Router(_)
            | Self::Cors
            | Self::JwtAuthn(_)
            | Self::Rbac(_)
            | Self::PeerMetadata(_)
            | Self::Alpn
            | Self::Stats(_)
            | Self::GrpcWeb
            | Self::GrpcStats(_)
            | Self::StatefulSession(_)
            | Self::DynamicForward(_)
            | Self::Buffer(_)
            | Self::HeaderMutation(_)
            | Self::HeaderToMetadata(_)
            | Self::SetMetadata(_)
            | Self::ExtProc(_)
            | Self::OnDemand(_)
            | Self::Discovered(_)
            | Self::CustomResponse(_)
            | Self::Cache(_)
            | Self::JsonToMetadata(_)
            | Self::SetState(_)
            | Self::HealthCheck(_)
            | Self::CredentialInjector(_)
            | Self::OAuth2(_)
            | Self::IpTagging(_)
            | Self::Unsupported(_) => false,
        }
    }
}

impl Tune for NetworkFilter {
    fn tune(&mut self, runtime: &Runtime) -> bool {
        match self {
            Self::ConnectionLimit(limit) => limit.enabled.tune(runtime),
            Self::RateLimit(limit) => limit.enabled.tune(runtime),
            Self::GlobalRateLimit(limit) => {
                let changed = [limit.enabled.tune(runtime), limit.enforced.tune(runtime)];
                changed.contains(&true)
            }
            Self::Rbac(_)
            | Self::MetadataExchange { .. }
            | Self::Stats(_)
            | Self::Discovered(_)
            | Self::SniCluster
            | Self::SniForward(_)
            | Self::SetState(_)
            | Self::ExtAuthz(_)
            | Self::Opaque(_)
            | Self::Unsupported(_) => false,
        }
    }
}

impl Tune for CorsPolicy {
    fn tune(&mut self, runtime: &Runtime) -> bool {
        let changed = [self.enabled.tune(runtime), self.shadow_enabled.tune(runtime)];
        changed.contains(&true)
    }
}

impl Tune for GlobalRateLimit {
    fn tune(&mut self, runtime: &Runtime) -> bool {
        let changed = [
            self.enabled.tune(runtime),
            self.enforced.tune(runtime),
            self.failure_deny.tune(runtime),
        ];
        changed.contains(&true)
    }
}

impl Tune for ChosenFilters {
    fn tune(&mut self, runtime: &Runtime) -> bool {
        let mut changed = self.share.tune(runtime);
        for (_, kind) in &mut self.filters {
            changed |= kind.tune(runtime);
        }
        changed
    }
}

impl Tune for AdmissionControl {
    fn tune(&mut self, runtime: &Runtime) -> bool {
        let changed = [
            self.enabled.tune(runtime),
            self.aggression.tune(runtime),
            self.success_threshold.tune(runtime),
            self.rate_threshold.tune(runtime),
            self.rejected_max.tune(runtime),
        ];
        changed.contains(&true)
    }
}

impl Tune for LocalRateLimit {
    fn tune(&mut self, runtime: &Runtime) -> bool {
        let changed = [self.enabled.tune(runtime), self.enforced.tune(runtime)];
        changed.contains(&true)
    }
}

impl Tune for CsrfPolicy {
    fn tune(&mut self, runtime: &Runtime) -> bool {
        let changed = [self.enabled.tune(runtime), self.shadow_enabled.tune(runtime)];
        changed.contains(&true)
    }
}

impl Tune for FilterSettings {
    fn tune(&mut self, runtime: &Runtime) -> bool {
        match self {
            Self::BandwidthLimit(limit) => limit.enabled.tune(runtime),
            Self::Csrf(policy) => policy.tune(runtime),
            Self::LocalRateLimit(limit) => limit.tune(runtime),
            Self::Fault(fault) => fault.tune(runtime),
            Self::Cors(policy) => policy.tune(runtime),
            Self::Buffer(_)
            | Self::Compressor(_)
            | Self::Rbac(_)
            | Self::StatefulSession(_)
            | Self::HeaderMutation(_)
            | Self::HeaderToMetadata(_)
            | Self::ExtAuthz(_)
            | Self::ExtProc(_)
            | Self::GlobalRateLimit(_)
            | Self::Skip(_)
            | Self::DynamicForward(_)
            | Self::OnDemand(_)
            | Self::CustomResponse(_)
            | Self::JsonToMetadata(_)
            | Self::OAuth2(_)
            | Self::SetState(_)
            | Self::JwtRequirement(_) => false,
        }
    }
}

/// The key of a fault: its own, else Envoy's.
fn key_of<'a>(own: &'a str, envoy: &'a str) -> &'a str {
    if own.is_empty() { envoy } else { own }
}

impl Tune for Fault {
    fn tune(&mut self, runtime: &Runtime) -> bool {
        let keys = &self.keys;
        let active_max = runtime.small(key_of(&keys.active_max, "fault.http.max_active_faults"));
        let by_client = by_client(runtime);
        let mut changed = [
            set(&mut self.active_max, active_max.map(Some)),
            set(&mut self.by_client, Some(by_client)),
        ]
        .contains(&true);
        if let Some(delay) = &mut self.delay {
            let key = key_of(&keys.delay_percent, "fault.http.delay.fixed_delay_percent");
            changed |= set(&mut delay.share, runtime.share(key));
            // Where requests say how long, the runtime says it for all that say anything.
            let key = key_of(&keys.delay_duration, "fault.http.delay.fixed_duration_ms");
            let fixed = runtime.millis(key).filter(|_| delay.fixed.is_some());
            changed |= set(&mut delay.fixed, fixed.map(Some));
        }
        if let Some(rate) = &mut self.response_rate {
            let key = key_of(&keys.response_rate_percent, "fault.http.rate_limit.response_percent");
            changed |= set(&mut rate.share, runtime.share(key));
        }
        if let Some(abort) = &mut self.abort {
            let key = key_of(&keys.abort_percent, "fault.http.abort.abort_percent");
            changed |= set(&mut abort.share, runtime.share(key));
            let status = match abort.status {
                AbortStatus::Http(_) => {
                    let key = key_of(&keys.abort_http_status, "fault.http.abort.http_status");
                    runtime.integer(key).and_then(http_status).map(AbortStatus::Http)
                }
                AbortStatus::Grpc(_) => {
                    let key = key_of(&keys.abort_grpc_status, "fault.http.abort.grpc_status");
                    runtime.small(key).map(AbortStatus::Grpc)
                }
                AbortStatus::Header => None,
            };
            changed |= set(&mut abort.status, status);
        }
        changed
    }
}

/// A status that a response can have; any other is left out.
fn http_status(number: u64) -> Option<u16> {
    u16::try_from(number).ok().filter(|status| (200..600).contains(status))
}

/// What is said of single clusters of clients: `fault.http.CLUSTER.delay.fixed_delay_percent`.
fn by_client(runtime: &Runtime) -> BTreeMap<String, ClientFault> {
    const WORDS: [&str; 5] = [
        ".delay.fixed_delay_percent",
        ".delay.fixed_duration_ms",
        ".abort.abort_percent",
        ".abort.http_status",
        ".abort.grpc_status",
    ];
    let mut found: BTreeMap<String, ClientFault> = BTreeMap::new();
    for (rest, value) in runtime.under("fault.http.") {
        let split = |word: &'static str| Some((rest.strip_suffix(word)?, word));
        let Some((cluster, word)) = WORDS.into_iter().find_map(split) else { continue };
        let fault = found.entry(cluster.to_owned()).or_default();
        take(fault, word, value);
    }
    found
}

fn take(fault: &mut ClientFault, word: &str, value: &RuntimeValue) {
    match word {
        ".delay.fixed_delay_percent" => fault.delay_share = value.share(),
        ".delay.fixed_duration_ms" => fault.delay = value.integer().map(Duration::from_millis),
        ".abort.abort_percent" => fault.abort_share = value.share(),
        ".abort.http_status" => fault.abort_http_status = value.integer().and_then(http_status),
        _ => {
            let status = value.integer().and_then(|status| u32::try_from(status).ok());
            fault.abort_grpc_status = status;
        }
    }
}
