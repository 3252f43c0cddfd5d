//! A service sees and changes requests and responses.

use std::time::Duration;

use iako_xds_api::envoy::extensions::filters::http::ext_proc::v3 as pb;

use super::{callout, wire};
use crate::problem::{At, Fault};
use iako_proxy_config::{
    BodyMode, ExtProc, ExtProcRoute, ProcessedFact, ProcessingMode, RouteCacheAction,
};

/// Envoy's time-out of an answer.
const TIMEOUT: Duration = Duration::from_millis(200);
/// How long Envoy keeps the call to a service that only looks on.
const CLOSES_AFTER: Duration = Duration::from_secs(5);

pub(super) fn filter(config: &pb::ExternalProcessor, at: &At<'_>) -> Result<ExtProc, Fault> {
    use pb::external_processor::RouteCacheAction as Action;
    let at_service = at.field("grpc_service");
    let service = config.grpc_service.as_ref();
    let at_mode = at.field("processing_mode");
    let mode = config.processing_mode.as_ref().map(|mode| self::mode(mode, &at_mode));
    let mode = mode.transpose()?.unwrap_or_default();
    wants_trailers(mode, &at_mode)?;
    let service = service.ok_or_else(|| at_service.missing("write `envoy_grpc`"))?;
    let at_action = at.field("route_cache_action");
    let action = wire::known::<Action>(config.route_cache_action, &at_action)?;
    if config.disable_clear_route_cache && action != Action::Default {
        let help = "write one of `disable_clear_route_cache` and `route_cache_action`";
        return Err(at_action.invalid("stands beside disable_clear_route_cache", help));
    }
    let forward = config.forward_rules.clone().unwrap_or_default();
    let at_forward = at.field("forward_rules");
    let shown = forward.allowed_headers.as_ref();
    let shown = shown.map(|list| callout::texts(Some(list), &at_forward.field("allowed_headers")));
    let options = config.metadata_options.clone().unwrap_or_default();
    let max = config.max_message_timeout.as_ref();
    let status = config.status_on_error.as_ref().map_or(0, |status| status.code);
    Ok(ExtProc {
        service: callout::grpc(service, None, &at_service)?,
        failure_allow: config.failure_mode_allow,
        mode,
        allow_mode_override: config.allow_mode_override,
        override_modes: wire::list(
            &config.allowed_override_modes,
            &at.field("allowed_override_modes"),
            self::mode,
        )?,
        disable_immediate: config.disable_immediate_response,
        message_timeout: wire::duration_or(
            config.message_timeout.as_ref(),
            TIMEOUT,
            &at.field("message_timeout"),
        )?,
        message_timeout_max: wire::optional(max, &at.field("max_message_timeout"))?
            .filter(|max| !max.is_zero()),
        stat_prefix: config.stat_prefix.clone(),
        rules: config
            .mutation_rules
            .as_ref()
            .map(|rules| callout::rules(rules, &at.field("mutation_rules")))
            .transpose()?
            .unwrap_or_default(),
        shown: shown.transpose()?,
        hidden: callout::texts(
            forward.disallowed_headers.as_ref(),
            &at_forward.field("disallowed_headers"),
        )?,
        request_attributes: facts(&config.request_attributes, &at.field("request_attributes"))?,
        response_attributes: facts(&config.response_attributes, &at.field("response_attributes"))?,
        forwarded_metadata: names(options.forwarding_namespaces),
        received_metadata: names(options.receiving_namespaces),
        route_cache: match action {
            Action::Default if config.disable_clear_route_cache => RouteCacheAction::Never,
            Action::Default => RouteCacheAction::AsTold,
            Action::Clear => RouteCacheAction::Always,
            Action::Retain => RouteCacheAction::Never,
        },
        status_on_error: match u32::try_from(status).unwrap_or(0) {
            0 => 500,
            status => wire::status(status, 100, &at.field("status_on_error"))?,
        },
        only_watches: only_watches(config, at)?,
        shows_body_early: config.send_body_without_waiting_for_header_response,
    })
}

/// How long the call to a service is kept that only looks on.
fn only_watches(config: &pb::ExternalProcessor, at: &At<'_>) -> Result<Option<Duration>, Fault> {
    let deferred = config.deferred_close_timeout.as_ref();
    let closes_after =
        wire::duration_or(deferred, CLOSES_AFTER, &at.field("deferred_close_timeout"))?;
    Ok(config.observability_mode.then_some(closes_after))
}

/// A service that writes content as it likes has to be told where that of the peer ends.
fn wants_trailers(mode: ProcessingMode, at: &At<'_>) -> Result<(), Fault> {
    for (body, trailers, field) in [
        (mode.request_body, mode.request_trailers, "request_trailer_mode"),
        (mode.response_body, mode.response_trailers, "response_trailer_mode"),
    ] {
        if body == BodyMode::Duplex && !trailers {
            let problem = "is not SEND, which FULL_DUPLEX_STREAMED needs";
            return Err(at.field(field).invalid(problem, "write SEND"));
        }
    }
    Ok(())
}

fn names(names: Option<pb::metadata_options::MetadataNamespaces>) -> Vec<String> {
    names.map(|names| names.untyped).unwrap_or_default()
}

fn facts(list: &[String], at: &At<'_>) -> Result<Vec<ProcessedFact>, Fault> {
    wire::list(list, at, |name, at| {
        let known = ProcessedFact::ALL.into_iter().find(|fact| fact.name() == name);
        known.ok_or_else(|| {
            let names = ProcessedFact::ALL.map(ProcessedFact::name).join(", ");
            at.invalid(format!("`{name}` is no attribute that is told"), format!("name of {names}"))
        })
    })
}

pub(crate) fn mode(config: &pb::ProcessingMode, at: &At<'_>) -> Result<ProcessingMode, Fault> {
    use pb::processing_mode::HeaderSendMode as Send;
    let sends = |value: i32, default: bool, field: &'static str| {
        Ok(match wire::known::<Send>(value, &at.field(field))? {
            Send::Default => default,
            Send::Send => true,
            Send::Skip => false,
        })
    };
    Ok(ProcessingMode {
        request_headers: sends(config.request_header_mode, true, "request_header_mode")?,
        response_headers: sends(config.response_header_mode, true, "response_header_mode")?,
        request_body: body(config.request_body_mode, &at.field("request_body_mode"))?,
        response_body: body(config.response_body_mode, &at.field("response_body_mode"))?,
        request_trailers: sends(config.request_trailer_mode, false, "request_trailer_mode")?,
        response_trailers: sends(config.response_trailer_mode, false, "response_trailer_mode")?,
    })
}

fn body(value: i32, at: &At<'_>) -> Result<BodyMode, Fault> {
    use pb::processing_mode::BodySendMode as Mode;
    match wire::known::<Mode>(value, at)? {
        Mode::None => Ok(BodyMode::None),
        Mode::Buffered => Ok(BodyMode::Buffered),
        Mode::BufferedPartial => Ok(BodyMode::BufferedPartial),
        Mode::Streamed => Ok(BodyMode::Streamed),
        Mode::FullDuplexStreamed => Ok(BodyMode::Duplex),
        Mode::Grpc => Err(at.invalid("GRPC is not supported", "write another mode")),
    }
}

/// Settings of a route: none where it switches the filter off.
pub(super) fn for_route(
    config: &pb::ExtProcPerRoute,
    at: &At<'_>,
) -> Result<Option<ExtProcRoute>, Fault> {
    use pb::ext_proc_per_route::Override;
    let settings = match &config.r#override {
        Some(Override::Disabled(true)) => return Ok(None),
        Some(Override::Disabled(false)) => {
            let help = "leave the entry out, or write `overrides`";
            return Err(at.field("disabled").invalid("can only be true", help));
        }
        Some(Override::Overrides(settings)) => settings,
        None => return Err(at.missing("write `disabled` or `overrides`")),
    };
    let at = at.field("overrides");
    let service = settings.grpc_service.as_ref();
    let options = settings.metadata_options.clone();
    Ok(Some(ExtProcRoute {
        mode: settings
            .processing_mode
            .as_ref()
            .map(|mode| self::mode(mode, &at.field("processing_mode")))
            .transpose()?,
        service: service
            .map(|service| callout::grpc(service, None, &at.field("grpc_service")))
            .transpose()?,
        metadata: callout::headers(
            &settings.grpc_initial_metadata,
            &at.field("grpc_initial_metadata"),
        )?,
        failure_allow: settings.failure_mode_allow,
        request_attributes: facts(&settings.request_attributes, &at.field("request_attributes"))?,
        response_attributes: facts(
            &settings.response_attributes,
            &at.field("response_attributes"),
        )?,
        forwarded_metadata: options
            .clone()
            .and_then(|it| it.forwarding_namespaces)
            .map(|it| it.untyped),
        received_metadata: options.and_then(|it| it.receiving_namespaces).map(|it| it.untyped),
    }))
}
