//! HTTP filters that count, tag, or answer what is asked of the proxy itself.

use std::path::Path;

use iako_types::Percent;
use iako_xds_api::envoy::config::core::v3::data_source::Specifier;
use iako_xds_api::envoy::extensions::filters::http::{
    grpc_stats::v3 as grpc_pb, health_check::v3 as health_pb, ip_tagging::v3 as tag_pb,
    json_to_metadata::v3 as json_pb, set_filter_state::v3 as state_pb,
};
use prost::Name as _;
use prost_types::Any;

use super::{connection_filter, json_facts, matcher, wire};
use crate::discovery_file;
use crate::problem::{At, Fault};
use iako_proxy_config::{
    CountedMethods, FilterOverrides, FilterSettings, GrpcServiceMethods, GrpcStats, HealthAnswers,
    HealthMode, HttpFilterKind, IpTag, IpTagHeader, IpTagging, SetRequestState, TaggedRequests,
};

/// The filter of a message, if it is one of these.
pub(super) fn kind(name: &str, any: &Any, at: &At<'_>) -> Result<Option<HttpFilterKind>, Fault> {
    Ok(Some(if name == json_pb::JsonToMetadata::full_name() {
        let rules = json_facts::filter(&wire::unpack(any, at)?, at)?;
        HttpFilterKind::JsonToMetadata(Box::new(rules))
    } else if name == state_pb::Config::full_name() {
        HttpFilterKind::SetState(Box::new(states(&wire::unpack(any, at)?, at)?))
    } else if name == grpc_pb::FilterConfig::full_name() {
        HttpFilterKind::GrpcStats(Box::new(grpc_stats(&wire::unpack(any, at)?, at)?))
    } else if name == health_pb::HealthCheck::full_name() {
        HttpFilterKind::HealthCheck(Box::new(health_check(&wire::unpack(any, at)?, at)?))
    } else if name == tag_pb::IpTagging::full_name() {
        HttpFilterKind::IpTagging(Box::new(ip_tagging(&wire::unpack(any, at)?, at)?))
    } else {
        return Ok(None);
    }))
}

/// Settings of a route for one of these filters; whether they are some.
pub(super) fn settings(
    filter: &str,
    name: &str,
    any: &Any,
    value: &mut FilterOverrides,
    at: &At<'_>,
) -> Result<bool, Fault> {
    let own = if name == json_pb::JsonToMetadata::full_name() {
        let rules = json_facts::filter(&wire::unpack(any, at)?, at)?;
        FilterSettings::JsonToMetadata(Box::new(rules))
    } else if name == state_pb::Config::full_name() {
        FilterSettings::SetState(Box::new(states(&wire::unpack(any, at)?, at)?))
    } else {
        return Ok(false);
    };
    value.settings.insert(filter.to_owned(), own);
    Ok(true)
}

fn states(config: &state_pb::Config, at: &At<'_>) -> Result<SetRequestState, Fault> {
    let at_values = at.field("on_request_headers");
    Ok(SetRequestState {
        values: wire::list(
            &config.on_request_headers,
            &at_values,
            connection_filter::filter_state,
        )?,
        clears_route: config.clear_route_cache,
    })
}

fn grpc_stats(config: &grpc_pb::FilterConfig, at: &At<'_>) -> Result<GrpcStats, Fault> {
    use grpc_pb::filter_config::PerMethodStatSpecifier as Methods;
    let methods = match &config.per_method_stat_specifier {
        None | Some(Methods::StatsForAllMethods(false)) => CountedMethods::Together,
        Some(Methods::StatsForAllMethods(true)) => CountedMethods::Each,
        Some(Methods::IndividualMethodStatsAllowlist(list)) => {
            let at = at.field("individual_method_stats_allowlist");
            let services = wire::list(&list.services, &at.field("services"), |service, at| {
                if service.name.is_empty() {
                    return Err(at.field("name").missing("write the service's full name"));
                }
                if service.method_names.is_empty() {
                    return Err(at.field("method_names").missing("write names of methods"));
                }
                Ok(GrpcServiceMethods {
                    service: service.name.clone(),
                    methods: service.method_names.clone(),
                })
            })?;
            CountedMethods::Listed(services)
        }
    };
    Ok(GrpcStats {
        methods,
        emits_state: config.emit_filter_state,
        measures_time: config.enable_upstream_stats,
        replaces_dots: config.replace_dots_in_grpc_service_name,
    })
}

fn health_check(config: &health_pb::HealthCheck, at: &At<'_>) -> Result<HealthAnswers, Fault> {
    let at_mode = at.field("pass_through_mode");
    let passes = config.pass_through_mode;
    let passes = passes.ok_or_else(|| at_mode.missing("say whether checks go on"))?;
    let at_cache = at.field("cache_time");
    let at_clusters = at.field("cluster_min_healthy_percentages");
    let cached = wire::optional(config.cache_time.as_ref(), &at_cache)?;
    let cached = cached.filter(|time| !time.is_zero());
    let mode = if passes {
        if !config.cluster_min_healthy_percentages.is_empty() {
            at_clusters.warn("has no effect where checks go on");
        }
        HealthMode::Pass(cached)
    } else {
        if cached.is_some() {
            let help = "remove it, or set `pass_through_mode: true`";
            return Err(at_cache.invalid("has no effect where checks do not go on", help));
        }
        let clusters = config.cluster_min_healthy_percentages.iter();
        let clusters = clusters.map(|(name, least)| {
            let least: Percent = wire::percent(least.value, &at_clusters.key(name))?;
            Ok((name.clone(), least))
        });
        HealthMode::Answer(clusters.collect::<Result<_, Fault>>()?)
    };
    let headers = matcher::headers(&config.headers, &at.field("headers"))?;
    Ok(HealthAnswers { mode, headers })
}

fn ip_tagging(config: &tag_pb::IpTagging, at: &At<'_>) -> Result<IpTagging, Fault> {
    use tag_pb::ip_tagging::{RequestType, ip_tag_header::HeaderAction};
    let at_tags = at.field("ip_tags");
    let tags = match &config.ip_tags_datasource {
        Some(_) if !config.ip_tags.is_empty() => {
            let help = "write one of the two";
            return Err(at_tags.invalid("stands beside `ip_tags_datasource`", help));
        }
        Some(source) => {
            let at = at.field("ip_tags_datasource");
            let content = wire::data_source(source, &at)?;
            let path = match &source.specifier {
                Some(Specifier::Filename(name)) => name.as_str(),
                Some(_) | None => "",
            };
            let file: tag_pb::ip_tagging::IpTags =
                discovery_file::message(Path::new(path), &content)
                    .map_err(|problem| at.invalid(problem, "write `ip_tags`, in YAML or JSON"))?;
            ip_tags(&file.ip_tags, &at.field("ip_tags"))?
        }
        None => ip_tags(&config.ip_tags, &at_tags)?,
    };
    if tags.is_empty() {
        return Err(at_tags.missing("write tags with their addresses"));
    }
    let at_type = at.field("request_type");
    let requests = match wire::known::<RequestType>(config.request_type, &at_type)? {
        RequestType::Both => TaggedRequests::Both,
        RequestType::Internal => TaggedRequests::Internal,
        RequestType::External => TaggedRequests::External,
    };
    let header = config.ip_tag_header.as_ref().map(|header| {
        let at = at.field("ip_tag_header");
        let action = wire::known::<HeaderAction>(header.action, &at.field("action"))?;
        Ok(IpTagHeader {
            name: wire::header_name(&header.header, &at.field("header"))?,
            sanitizes: action == HeaderAction::Sanitize,
        })
    });
    Ok(IpTagging { requests, tags, header: header.transpose()? })
}

fn ip_tags(tags: &[tag_pb::ip_tagging::IpTag], at: &At<'_>) -> Result<Vec<IpTag>, Fault> {
    wire::list(tags, at, |tag, at| {
        let ranges = wire::cidrs(&tag.ip_list, &at.field("ip_list"))?;
        Ok(IpTag { name: tag.ip_tag_name.clone(), ranges })
    })
}
