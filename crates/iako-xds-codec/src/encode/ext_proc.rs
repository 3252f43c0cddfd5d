//! A service sees and changes requests and responses.

use iako_xds_api::envoy::extensions::filters::http::ext_proc::v3 as pb;
use iako_xds_api::envoy::r#type::v3::HttpStatus;

use super::{callout, wire};
use iako_proxy_config::{
    BodyMode, ExtProc, ExtProcRoute, HeaderMutationRules, ProcessedFact, ProcessingMode,
    RouteCacheAction,
};

pub(super) fn filter(value: &ExtProc) -> pb::ExternalProcessor {
    use pb::external_processor::RouteCacheAction as Action;
    let hides = value.shown.is_some() || !value.hidden.is_empty();
    let has_options = !value.forwarded_metadata.is_empty() || !value.received_metadata.is_empty();
    pb::ExternalProcessor {
        grpc_service: Some(callout::grpc(&value.service)),
        failure_mode_allow: value.failure_allow,
        processing_mode: (value.mode != ProcessingMode::default()).then(|| mode(value.mode)),
        allow_mode_override: value.allow_mode_override,
        allowed_override_modes: value.override_modes.iter().copied().map(mode).collect(),
        disable_immediate_response: value.disable_immediate,
        message_timeout: Some(wire::duration(value.message_timeout)),
        max_message_timeout: value.message_timeout_max.map(wire::duration),
        stat_prefix: value.stat_prefix.clone(),
        mutation_rules: (value.rules != HeaderMutationRules::default())
            .then(|| callout::rules(&value.rules)),
        forward_rules: hides.then(|| pb::HeaderForwardingRules {
            allowed_headers: value
                .shown
                .as_deref()
                .map(|shown| callout::texts(shown).unwrap_or_default()),
            disallowed_headers: callout::texts(&value.hidden),
        }),
        request_attributes: facts(&value.request_attributes),
        response_attributes: facts(&value.response_attributes),
        metadata_options: has_options.then(|| pb::MetadataOptions {
            forwarding_namespaces: names(Some(&value.forwarded_metadata)),
            receiving_namespaces: names(Some(&value.received_metadata)),
            ..Default::default()
        }),
        route_cache_action: match value.route_cache {
            RouteCacheAction::AsTold => Action::Default,
            RouteCacheAction::Always => Action::Clear,
            RouteCacheAction::Never => Action::Retain,
        }
        .into(),
        status_on_error: (value.status_on_error != 500)
            .then(|| HttpStatus { code: value.status_on_error.into() }),
        observability_mode: value.only_watches.is_some(),
        deferred_close_timeout: value.only_watches.map(wire::duration),
        send_body_without_waiting_for_header_response: value.shows_body_early,
        ..Default::default()
    }
}

fn names(names: Option<&Vec<String>>) -> Option<pb::metadata_options::MetadataNamespaces> {
    names.map(|names| pb::metadata_options::MetadataNamespaces {
        untyped: names.clone(),
        ..Default::default()
    })
}

fn facts(list: &[ProcessedFact]) -> Vec<String> {
    list.iter().map(|fact| fact.name().to_owned()).collect()
}

/// What a service sees.
pub(crate) fn mode(value: ProcessingMode) -> pb::ProcessingMode {
    use pb::processing_mode::{BodySendMode as Mode, HeaderSendMode as Send};
    let sends = |sends: bool| if sends { Send::Default } else { Send::Skip }.into();
    let trailers = |sends: bool| if sends { Send::Send } else { Send::Default }.into();
    let body = |mode: BodyMode| {
        match mode {
            BodyMode::None => Mode::None,
            BodyMode::Buffered => Mode::Buffered,
            BodyMode::BufferedPartial => Mode::BufferedPartial,
            BodyMode::Streamed => Mode::Streamed,
            BodyMode::Duplex => Mode::FullDuplexStreamed,
        }
        .into()
    };
    pb::ProcessingMode {
        request_header_mode: sends(value.request_headers),
        response_header_mode: sends(value.response_headers),
        request_body_mode: body(value.request_body),
        response_body_mode: body(value.response_body),
        request_trailer_mode: trailers(value.request_trailers),
        response_trailer_mode: trailers(value.response_trailers),
    }
}

/// Settings of a route.
pub(super) fn for_route(value: &ExtProcRoute) -> pb::ExtProcPerRoute {
    let has_options = value.forwarded_metadata.is_some() || value.received_metadata.is_some();
    let overrides = pb::ExtProcOverrides {
        processing_mode: value.mode.map(mode),
        grpc_service: value.service.as_ref().map(callout::grpc),
        grpc_initial_metadata: callout::headers(&value.metadata),
        failure_mode_allow: value.failure_allow,
        request_attributes: facts(&value.request_attributes),
        response_attributes: facts(&value.response_attributes),
        metadata_options: has_options.then(|| pb::MetadataOptions {
            forwarding_namespaces: names(value.forwarded_metadata.as_ref()),
            receiving_namespaces: names(value.received_metadata.as_ref()),
            ..Default::default()
        }),
        ..Default::default()
    };
    pb::ExtProcPerRoute { r#override: Some(pb::ext_proc_per_route::Override::Overrides(overrides)) }
}
