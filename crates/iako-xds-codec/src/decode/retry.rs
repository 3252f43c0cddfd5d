//! When a failed try is repeated, and when it runs beside others.

use std::collections::BTreeMap;
use std::time::Duration;

use iako_xds_api::envoy::config::route::v3 as pb;
use iako_xds_api::envoy::extensions::retry as extensions;
use prost::Name as _;

use super::{matcher, metadata, wire};
use crate::pool;
use crate::problem::{At, Fault};
use iako_proxy_config::{
    BackOff, HedgePolicy, RateLimitedBackOff, ResetFormat, ResetHeader, RetryConditions, RetryOn,
    RetryPolicy,
};

pub(super) fn policy(config: &pb::RetryPolicy, at: &At<'_>) -> Result<RetryPolicy, Fault> {
    let mut value =
        RetryPolicy { conditions: conditions(&config.retry_on, at), ..RetryPolicy::default() };
    value.status_codes = wire::list(
        &config.retriable_status_codes,
        &at.field("retriable_status_codes"),
        |code, at| wire::status(*code, 100, at),
    )?;
    value.headers = matcher::headers(&config.retriable_headers, &at.field("retriable_headers"))?;
    value.retries_max = config.num_retries.unwrap_or(value.retries_max);
    value.per_try_timeout =
        wire::limit(config.per_try_timeout.as_ref(), None, &at.field("per_try_timeout"))?;
    value.per_try_idle_timeout =
        wire::limit(config.per_try_idle_timeout.as_ref(), None, &at.field("per_try_idle_timeout"))?;
    if let Some(back_off) = &config.retry_back_off {
        value.back_off = self::back_off(back_off, &at.field("retry_back_off"))?;
    }
    value.request_headers = matcher::headers(
        &config.retriable_request_headers,
        &at.field("retriable_request_headers"),
    )?;
    if let Some(back_off) = &config.rate_limited_retry_back_off {
        value.rate_limited =
            Some(rate_limited(back_off, &at.field("rate_limited_retry_back_off"))?);
    }
    options_predicates(config, at)?;
    host_predicates(config, &mut value, at)?;
    let attempts = config.host_selection_retry_max_attempts;
    if attempts > 0 {
        let at = at.field("host_selection_retry_max_attempts");
        value.host_selection_attempts_max =
            wire::non_zero(u32::try_from(attempts).unwrap_or(u32::MAX), &at)?;
    }
    value.previous_priorities = previous_priorities(config, at)?;
    Ok(value)
}

/// The words of `retry_on`; a number is a status code for nobody but Istio, which moves it away.
fn conditions(words: &str, at: &At<'_>) -> RetryConditions {
    let words = words.split(',').map(str::trim).filter(|word| !word.is_empty());
    let known = words.filter_map(|word| {
        let condition = RetryOn::from_word(word);
        if condition.is_none() {
            at.field("retry_on")
                .warn(format!("the condition `{word}` is not known and has no effect"));
        }
        condition
    });
    known.collect()
}

fn back_off(config: &pb::retry_policy::RetryBackOff, at: &At<'_>) -> Result<BackOff, Fault> {
    let at_base = at.field("base_interval");
    let base = wire::optional(config.base_interval.as_ref(), &at_base)?
        .ok_or_else(|| at_base.missing("write the first bound, such as `0.025s`"))?;
    let base = wire::positive(base, &at_base)?;
    let at_max = at.field("max_interval");
    let max = wire::duration_or(config.max_interval.as_ref(), base.saturating_mul(10), &at_max)?;
    if max < base {
        return Err(at_max.invalid("is below base_interval", "write at least base_interval"));
    }
    Ok(BackOff { base, max })
}

fn rate_limited(
    config: &pb::retry_policy::RateLimitedRetryBackOff,
    at: &At<'_>,
) -> Result<RateLimitedBackOff, Fault> {
    use pb::retry_policy::ResetHeaderFormat as Format;
    let at_headers = at.field("reset_headers");
    let headers = wire::list(&config.reset_headers, &at_headers, |header, at| {
        let format = match wire::known::<Format>(header.format, &at.field("format"))? {
            Format::Seconds => ResetFormat::Seconds,
            Format::UnixTimestamp => ResetFormat::UnixTimestamp,
        };
        Ok(ResetHeader { name: wire::header_name(&header.name, &at.field("name"))?, format })
    })?;
    if headers.is_empty() {
        return Err(at_headers.missing("name at least one header, such as `retry-after`"));
    }
    let at_max = at.field("max_interval");
    let max = wire::duration_or(config.max_interval.as_ref(), RESET_MAX, &at_max)?;
    Ok(RateLimitedBackOff { headers, max: wire::positive(max, &at_max)? })
}

/// Envoy's default of the longest wait that a response may ask for.
const RESET_MAX: Duration = Duration::from_secs(300);

/// The one predicate of options that Envoy has changes the address that is connected from, by a
/// plugin of its own; there is none to be had.
fn options_predicates(config: &pb::RetryPolicy, at: &At<'_>) -> Result<(), Fault> {
    let at = at.field("retry_options_predicates");
    match config.retry_options_predicates.first() {
        None => Ok(()),
        Some(predicate) => {
            let type_url = predicate.typed_config.as_ref().map_or("", |any| any.type_url.as_str());
            let problem = format!("`{}` is not supported", pool::full_name(type_url));
            Err(at.index(0).field("typed_config").invalid(problem, "remove it"))
        }
    }
}

/// Which instances are passed over by the next try.
fn host_predicates(
    config: &pb::RetryPolicy,
    value: &mut RetryPolicy,
    at: &At<'_>,
) -> Result<(), Fault> {
    use extensions::host::{
        omit_canary_hosts::v3::OmitCanaryHostsPredicate,
        omit_host_metadata::v3::OmitHostMetadataConfig, previous_hosts::v3::PreviousHostsPredicate,
    };
    let at = at.field("retry_host_predicate");
    for (index, predicate) in config.retry_host_predicate.iter().enumerate() {
        let at = at.index(index);
        let Some(pb::retry_policy::retry_host_predicate::ConfigType::TypedConfig(any)) =
            &predicate.config_type
        else {
            // A name alone was enough before extensions had types.
            match predicate.name.as_str() {
                "envoy.retry_host_predicates.previous_hosts" => value.avoid_previous_hosts = true,
                "envoy.retry_host_predicates.omit_canary_hosts" => value.avoid_canary_hosts = true,
                _ => {}
            }
            continue;
        };
        let name = pool::full_name(&any.type_url);
        if name == PreviousHostsPredicate::full_name() {
            value.avoid_previous_hosts = true;
        } else if name == OmitCanaryHostsPredicate::full_name() {
            value.avoid_canary_hosts = true;
        } else if name == OmitHostMetadataConfig::full_name() {
            let config: OmitHostMetadataConfig = wire::unpack(any, &at.field("typed_config"))?;
            let wanted = config.metadata_match.as_ref();
            let wanted = wanted.and_then(|wanted| wanted.filter_metadata.get("envoy.lb"));
            let wanted: BTreeMap<_, _> = wanted.map(metadata::texts).unwrap_or_default();
            value.avoid_hosts_with.push(wanted);
        } else {
            let problem = format!("`{name}` is not supported");
            let help = "use previous_hosts, omit_canary_hosts or omit_host_metadata";
            return Err(at.field("typed_config").invalid(problem, help));
        }
    }
    Ok(())
}

/// Nothing unless a try may run beside others.
pub(super) fn hedge(config: Option<&pb::HedgePolicy>) -> Option<HedgePolicy> {
    config.map(|config| HedgePolicy { on_per_try_timeout: config.hedge_on_per_try_timeout })
}

fn previous_priorities(
    config: &pb::RetryPolicy,
    at: &At<'_>,
) -> Result<Option<std::num::NonZeroU32>, Fault> {
    use extensions::priority::previous_priorities::v3::PreviousPrioritiesConfig;
    let Some(priority) = &config.retry_priority else { return Ok(None) };
    let at = at.field("retry_priority");
    let at = at.field("typed_config");
    let Some(pb::retry_policy::retry_priority::ConfigType::TypedConfig(any)) =
        &priority.config_type
    else {
        return Err(at.missing("write the policy's settings with `@type`"));
    };
    if pool::full_name(&any.type_url) != PreviousPrioritiesConfig::full_name() {
        let problem = format!("`{}` is not supported", pool::full_name(&any.type_url));
        return Err(at.invalid(problem, "use previous_priorities"));
    }
    let config: PreviousPrioritiesConfig = wire::unpack(any, &at)?;
    let at = at.field("update_frequency");
    wire::non_zero(u32::try_from(config.update_frequency).unwrap_or(0), &at).map(Some)
}
