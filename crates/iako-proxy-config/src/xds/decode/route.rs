//! Route tables: virtual hosts and their routes.

use std::collections::HashMap;

use bytes::Bytes;
use iako_xds_api::envoy::config::core::v3 as core;
use iako_xds_api::envoy::config::route::v3 as pb;

use super::{http_filter, matcher, metadata, retry, route_action, route_match, wire};
use crate::xds::problem::{At, Fault};
use crate::{
    Action, AppendAction, DirectResponse, Domain, HeaderMutations, HeaderValueOption, Redirect,
    RedirectPath, RedirectScheme, Route, RouteConfiguration, TlsRequirement, VirtualHost,
};

/// Envoy's limit of a direct response's body.
const BODY_BYTES_MAX: u32 = 4096;

/// What a route needs to know of its table.
#[derive(Clone, Copy)]
struct Table {
    body_bytes_max: u32,
}

pub(super) fn route_configuration(
    config: &pb::RouteConfiguration,
    at: &At<'_>,
) -> Result<RouteConfiguration, Fault> {
    let table = Table {
        body_bytes_max: config.max_direct_response_body_size_bytes.unwrap_or(BODY_BYTES_MAX),
    };
    let at_hosts = at.field("virtual_hosts");
    let virtual_hosts =
        wire::list(&config.virtual_hosts, &at_hosts, |host, at| virtual_host(host, table, at))?;
    domains_stand_once(&virtual_hosts, &at_hosts)?;
    if config.validate_clusters == Some(true) {
        let warning = "has no effect: a route may name a cluster that comes later";
        at.field("validate_clusters").warn(warning);
    }
    let mut value = RouteConfiguration::new(config.name.clone(), virtual_hosts);
    value.headers = HeaderMutations {
        request_add: additions(
            &config.request_headers_to_add,
            &at.field("request_headers_to_add"),
        )?,
        request_remove: removals(
            &config.request_headers_to_remove,
            &at.field("request_headers_to_remove"),
        )?,
        response_add: additions(
            &config.response_headers_to_add,
            &at.field("response_headers_to_add"),
        )?,
        response_remove: removals(
            &config.response_headers_to_remove,
            &at.field("response_headers_to_remove"),
        )?,
    };
    value.most_specific_last = config.most_specific_header_mutations_wins;
    value.ignore_port_in_host = config.ignore_port_in_host_matching;
    Ok(value)
}

fn domains_stand_once(hosts: &[VirtualHost], at: &At<'_>) -> Result<(), Fault> {
    let mut owners: HashMap<&Domain, &str> = HashMap::new();
    for (index, host) in hosts.iter().enumerate() {
        for (place, domain) in host.domains.iter().enumerate() {
            if let Some(owner) = owners.insert(domain, &host.name) {
                let at = at.index(index);
                let at = at.field("domains");
                let problem = format!("`{domain}` stands in the virtual host `{owner}` too");
                return Err(at
                    .index(place)
                    .invalid(problem, "name each domain in one virtual host only"));
            }
        }
    }
    Ok(())
}

fn virtual_host(host: &pb::VirtualHost, table: Table, at: &At<'_>) -> Result<VirtualHost, Fault> {
    use pb::virtual_host::TlsRequirementType;
    let at_domains = at.field("domains");
    let domains = wire::list(&host.domains, &at_domains, |domain, at| {
        domain.parse::<Domain>().map_err(|error| {
            at.invalid(error.to_string(), "write a host, `*`, `*.suffix` or `prefix.*`")
        })
    })?;
    if domains.is_empty() {
        return Err(at_domains.missing("write at least one domain, such as `*`"));
    }
    let at_retry = at.field("retry_policy");
    Ok(VirtualHost {
        name: host.name.clone(),
        domains,
        routes: wire::list(&host.routes, &at.field("routes"), |config, at| {
            route(config, table, at)
        })?,
        require_tls: match wire::known::<TlsRequirementType>(
            host.require_tls,
            &at.field("require_tls"),
        )? {
            TlsRequirementType::None => TlsRequirement::None,
            TlsRequirementType::ExternalOnly => TlsRequirement::ExternalOnly,
            TlsRequirementType::All => TlsRequirement::All,
        },
        headers: HeaderMutations {
            request_add: additions(
                &host.request_headers_to_add,
                &at.field("request_headers_to_add"),
            )?,
            request_remove: removals(
                &host.request_headers_to_remove,
                &at.field("request_headers_to_remove"),
            )?,
            response_add: additions(
                &host.response_headers_to_add,
                &at.field("response_headers_to_add"),
            )?,
            response_remove: removals(
                &host.response_headers_to_remove,
                &at.field("response_headers_to_remove"),
            )?,
        },
        retry: host
            .retry_policy
            .as_ref()
            .map(|policy| retry::policy(policy, &at_retry))
            .transpose()?,
        include_attempt_count: host.include_request_attempt_count,
        overrides: http_filter::overrides(&host.typed_per_filter_config, at)?,
        origin: metadata::origin(host.metadata.as_ref()),
    })
}

fn route(config: &pb::Route, table: Table, at: &At<'_>) -> Result<Route, Fault> {
    let at_match = at.field("match");
    let matcher =
        config.r#match.as_ref().ok_or_else(|| at_match.missing("write which requests"))?;
    Ok(Route {
        name: config.name.clone(),
        matcher: route_match::route_match(matcher, &at_match)?,
        action: action(config, table, at)?,
        headers: HeaderMutations {
            request_add: additions(
                &config.request_headers_to_add,
                &at.field("request_headers_to_add"),
            )?,
            request_remove: removals(
                &config.request_headers_to_remove,
                &at.field("request_headers_to_remove"),
            )?,
            response_add: additions(
                &config.response_headers_to_add,
                &at.field("response_headers_to_add"),
            )?,
            response_remove: removals(
                &config.response_headers_to_remove,
                &at.field("response_headers_to_remove"),
            )?,
        },
        overrides: http_filter::overrides(&config.typed_per_filter_config, at)?,
        operation: config
            .decorator
            .as_ref()
            .map(|decorator| decorator.operation.clone())
            .unwrap_or_default(),
        origin: metadata::origin(config.metadata.as_ref()),
    })
}

fn action(config: &pb::Route, table: Table, at: &At<'_>) -> Result<Action, Fault> {
    use pb::route::Action as Kind;
    match &config.action {
        Some(Kind::Route(action)) => {
            Ok(Action::Forward(Box::new(route_action::route_action(action, &at.field("route"))?)))
        }
        Some(Kind::Redirect(config)) => {
            Ok(Action::Redirect(redirect(config, &at.field("redirect"))?))
        }
        Some(Kind::DirectResponse(config)) => {
            Ok(Action::Respond(direct_response(config, table, &at.field("direct_response"))?))
        }
        Some(Kind::FilterAction(_)) => Err(at
            .field("filter_action")
            .invalid("is not supported", "use route, redirect or direct_response")),
        Some(Kind::NonForwardingAction(_)) => Err(at
            .field("non_forwarding_action")
            .invalid("is not supported", "use route, redirect or direct_response")),
        None => Err(at.missing("write route, redirect or direct_response")),
    }
}

fn direct_response(
    config: &pb::DirectResponseAction,
    table: Table,
    at: &At<'_>,
) -> Result<DirectResponse, Fault> {
    let at_body = at.field("body");
    let body = match &config.body {
        Some(source) => wire::data_source(source, &at_body)?,
        None => Vec::new(),
    };
    if body.len() > usize::try_from(table.body_bytes_max).unwrap_or(usize::MAX) {
        let help = "raise max_direct_response_body_size_bytes of the route configuration";
        let problem = format!("has {} bytes, more than {}", body.len(), table.body_bytes_max);
        return Err(at_body.invalid(problem, help));
    }
    Ok(DirectResponse {
        status: wire::status(config.status, 200, &at.field("status"))?,
        body: Bytes::from(body),
    })
}

fn redirect(config: &pb::RedirectAction, at: &At<'_>) -> Result<Redirect, Fault> {
    use pb::redirect_action::{PathRewriteSpecifier, RedirectResponseCode, SchemeRewriteSpecifier};
    let filled = |text: &String| (!text.is_empty()).then(|| text.clone());
    let scheme = match &config.scheme_rewrite_specifier {
        Some(SchemeRewriteSpecifier::HttpsRedirect(true)) => Some(RedirectScheme::Https),
        Some(SchemeRewriteSpecifier::SchemeRedirect(scheme)) => {
            filled(scheme).map(RedirectScheme::Scheme)
        }
        Some(SchemeRewriteSpecifier::HttpsRedirect(false)) | None => None,
    };
    let path = match &config.path_rewrite_specifier {
        None => None,
        Some(PathRewriteSpecifier::PathRedirect(path)) => filled(path).map(RedirectPath::Full),
        Some(PathRewriteSpecifier::PrefixRewrite(prefix)) => {
            Some(RedirectPath::Prefix(prefix.clone()))
        }
        Some(PathRewriteSpecifier::RegexRewrite(rewrite)) => {
            let (pattern, substitution) =
                matcher::substitution(rewrite, &at.field("regex_rewrite"))?;
            Some(RedirectPath::Regex { pattern, substitution })
        }
        Some(PathRewriteSpecifier::PathRewrite(_)) => {
            let help = "use path_redirect, prefix_rewrite or regex_rewrite";
            return Err(at.field("path_rewrite").invalid("is not supported", help));
        }
    };
    let at_port = at.field("port_redirect");
    let code =
        wire::known::<RedirectResponseCode>(config.response_code, &at.field("response_code"))?;
    Ok(Redirect {
        scheme,
        host: filled(&config.host_redirect),
        port: match config.port_redirect {
            0 => None,
            port => Some(wire::port(port, &at_port)?),
        },
        path,
        status: match code {
            RedirectResponseCode::MovedPermanently => 301,
            RedirectResponseCode::Found => 302,
            RedirectResponseCode::SeeOther => 303,
            RedirectResponseCode::TemporaryRedirect => 307,
            RedirectResponseCode::PermanentRedirect => 308,
        },
        strip_query: config.strip_query,
    })
}

/// Headers to add or set.
pub(super) fn additions(
    options: &[core::HeaderValueOption],
    at: &At<'_>,
) -> Result<Vec<HeaderValueOption>, Fault> {
    wire::list(options, at, addition)
}

fn addition(option: &core::HeaderValueOption, at: &At<'_>) -> Result<HeaderValueOption, Fault> {
    use core::header_value_option::HeaderAppendAction;
    let at_header = at.field("header");
    let header =
        option.header.as_ref().ok_or_else(|| at_header.missing("write `key` and `value`"))?;
    let at_action = at.field("append_action");
    let action = match wire::known::<HeaderAppendAction>(option.append_action, &at_action)? {
        // The old field says whether a value is appended; it counts when the new one is not set.
        HeaderAppendAction::AppendIfExistsOrAdd if option.append == Some(false) => {
            AppendAction::OverwriteOrAdd
        }
        HeaderAppendAction::AppendIfExistsOrAdd => AppendAction::AppendOrAdd,
        HeaderAppendAction::AddIfAbsent => AppendAction::AddIfAbsent,
        HeaderAppendAction::OverwriteIfExistsOrAdd => AppendAction::OverwriteOrAdd,
        HeaderAppendAction::OverwriteIfExists => AppendAction::OverwriteIfExists,
    };
    let value = if header.raw_value.is_empty() {
        header.value.clone()
    } else {
        String::from_utf8(header.raw_value.to_vec()).map_err(|_binary| {
            at_header.field("raw_value").invalid("is not UTF-8 text", "write the value as text")
        })?
    };
    Ok(HeaderValueOption {
        name: wire::header_name(&header.key, &at_header.field("key"))?,
        value,
        action,
        keep_empty: option.keep_empty_value,
    })
}

/// Headers to remove.
pub(super) fn removals(names: &[String], at: &At<'_>) -> Result<Vec<crate::HeaderName>, Fault> {
    wire::header_names(names, at)
}
