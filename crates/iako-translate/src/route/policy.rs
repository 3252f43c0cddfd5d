//! What goes along with a route: headers, retries, time limits, faults, cross-origin rules.

use std::{num::NonZeroU32, time::Duration};

use iako_proxy_config::{
    Abort, AbortStatus, AppendAction, BackOff, CorsPolicy, Delay, Fault, FilterOverrides,
    FilterSettings, HashPolicy, HashSource, HeaderMutations, HeaderName, HeaderValueOption,
    MaxStreamDuration, RetryConditions, RetryOn, RetryPolicy,
};
use iako_registry::Service;
use iako_resources::istio::{
    destination_rule::{HashKey, LoadBalancerAlgorithm},
    virtual_service::{
        AbortStatus as SourceAbort, CorsPolicy as SourceCors, Fault as SourceFault, HeaderEdits,
        HeaderOperations, HttpRoute, Retries,
    },
};

use crate::filters::{CORS_FILTER, FAULT_FILTER};
use crate::{cluster::non_zero, outlook::Outlook, text::string_match};

/// Retries of a rule that says nothing. Source: Istio's default retry policy.
const RETRIES_MAX: u32 = 2;
/// How often another instance is looked for. Source: Istio `host_selection_retry_max_attempts`.
const HOST_SELECTION_ATTEMPTS: u32 = 5;
/// How often priorities are looked at again. Source: Istio `previous_priorities.update_frequency`.
const PRIORITY_UPDATES: u32 = 2;
/// Largest HTTP status that an answer can have.
const STATUS_MAX: u16 = 599;

/// Istio's conditions for a retry. The list of statuses beside them is empty.
const RETRY_ON: [RetryOn; 5] = [
    RetryOn::ConnectFailure,
    RetryOn::RefusedStream,
    RetryOn::Unavailable,
    RetryOn::Cancelled,
    RetryOn::RetriableStatusCodes,
];

/// The retries of a rule. With consistent hashing the same instance is asked again.
pub(super) fn retry(retries: Option<&Retries>, hash: &[HashPolicy]) -> Option<RetryPolicy> {
    let hashed = !hash.is_empty();
    let mut policy = RetryPolicy {
        conditions: RETRY_ON.into_iter().collect(),
        retries_max: RETRIES_MAX,
        avoid_previous_hosts: !hashed,
        host_selection_attempts_max: NonZeroU32::new(HOST_SELECTION_ATTEMPTS)?,
        ..RetryPolicy::default()
    };
    let Some(retries) = retries else { return Some(policy) };
    if retries.attempts == 0 {
        return None;
    }
    policy.retries_max = retries.attempts;
    policy.per_try_timeout = retries.per_try_timeout.and_then(non_zero);
    policy.avoid_previous_hosts = retries.ignore_previous_hosts && !hashed;
    if let Some(on) = &retries.retry_on {
        let words = on.conditions.iter().filter_map(|word| RetryOn::from_word(word));
        policy.conditions = words.collect::<RetryConditions>();
        policy.status_codes.clone_from(&on.status_codes);
        if !on.status_codes.is_empty() {
            policy.conditions = policy.conditions.with(RetryOn::RetriableStatusCodes);
        }
    }
    if retries.remote_localities {
        policy.previous_priorities = NonZeroU32::new(PRIORITY_UPDATES);
    }
    if let Some(base) = retries.backoff.and_then(non_zero) {
        policy.back_off = BackOff { base, max: base.saturating_mul(10) };
    }
    Some(policy)
}

/// What `grpc-timeout` may ask for: anything up to the route's own limit.
pub(super) fn stream_duration(timeout: Option<Duration>) -> MaxStreamDuration {
    MaxStreamDuration { grpc_timeout_max: Some(timeout.unwrap_or_default()), ..Default::default() }
}

/// Changes to headers. The authority is not among them: it is rewritten.
pub(super) fn header_mutations(operations: &HeaderOperations) -> HeaderMutations {
    let (request, response) = (&operations.request, &operations.response);
    HeaderMutations {
        request_add: additions(request),
        request_remove: removals(request),
        response_add: additions(response),
        response_remove: removals(response),
    }
}

fn additions(edits: &HeaderEdits) -> Vec<HeaderValueOption> {
    let option = |(name, value): &(String, String), action| {
        let name: HeaderName =
            name.parse().ok().filter(|_| name != "host" && name != ":authority")?;
        Some(HeaderValueOption { name, value: value.clone(), action, keep_empty: false })
    };
    let set = edits.set.iter().filter_map(|edit| option(edit, AppendAction::OverwriteOrAdd));
    let add = edits.add.iter().filter_map(|edit| option(edit, AppendAction::AppendOrAdd));
    set.chain(add).collect()
}

fn removals(edits: &HeaderEdits) -> Vec<HeaderName> {
    edits.remove.iter().filter_map(|name| name.parse().ok()).collect()
}

/// Settings of filters for a rule.
pub(super) fn overrides(rule: &HttpRoute) -> FilterOverrides {
    let mut overrides = FilterOverrides::default();
    if let Some(source) = &rule.fault {
        let own = FilterSettings::Fault(Box::new(fault(source)));
        overrides.settings.insert(FAULT_FILTER.to_owned(), own);
    }
    if let Some(source) = &rule.cors {
        let own = FilterSettings::Cors(Box::new(cors(source)));
        overrides.settings.insert(CORS_FILTER.to_owned(), own);
    }
    overrides
}

fn fault(source: &SourceFault) -> Fault {
    Fault {
        delay: source
            .delay
            .map(|delay| Delay { fixed: Some(delay.duration), share: delay.percentage }),
        abort: source.abort.map(|abort| Abort {
            status: match abort.status {
                SourceAbort::Http(status) => AbortStatus::Http(status.min(STATUS_MAX)),
                SourceAbort::Grpc(status) => AbortStatus::Grpc(u32::from(status)),
            },
            share: abort.percentage,
        }),
        ..Fault::default()
    }
}

fn cors(source: &SourceCors) -> CorsPolicy {
    CorsPolicy {
        allow_origins: source.allow_origins.iter().filter_map(string_match).collect(),
        allow_methods: source.allow_methods.join(","),
        allow_headers: source.allow_headers.join(","),
        expose_headers: source.expose_headers.join(","),
        max_age: source.max_age.map(|age| age.as_secs().to_string()).unwrap_or_default(),
        allow_credentials: source.allow_credentials,
        forward_unmatched_preflights: Some(source.forward_unmatched_preflights),
        ..CorsPolicy::default()
    }
}

/// What the hash for consistent balancing is made of, as the target's DestinationRule says.
pub(crate) fn hash_policy(
    outlook: &Outlook<'_>,
    service: &Service,
    subset: Option<&str>,
    port: u16,
) -> Vec<HashPolicy> {
    let Some(rule) = outlook.rule(service) else { return Vec::new() };
    let algorithm = rule.spec.effective(subset, port).load_balancer.map(|lb| &lb.algorithm);
    let Some(LoadBalancerAlgorithm::ConsistentHash(hash)) = algorithm else { return Vec::new() };
    let source = match &hash.key {
        HashKey::Header(name) => match name.parse() {
            Ok(name) => HashSource::Header { name, rewrite: None },
            Err(_invalid) => return Vec::new(),
        },
        HashKey::Cookie { name, path, ttl, .. } => HashSource::Cookie {
            name: name.clone(),
            ttl: *ttl,
            path: path.clone().unwrap_or_default(),
            attributes: Vec::new(),
        },
        HashKey::SourceIp => HashSource::SourceIp,
        HashKey::QueryParameter(name) => HashSource::QueryParameter(name.clone()),
    };
    vec![HashPolicy { source, terminal: false }]
}
