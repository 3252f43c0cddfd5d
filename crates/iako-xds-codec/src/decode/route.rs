//! Route tables: virtual hosts and their routes.

use std::collections::HashMap;
use std::sync::Arc;

use iako_xds_api::envoy::config::route::v3 as pb;
use prost::Name as _;

use super::cluster_specifier::Specifiers;
use super::{
    answer, attempt, fault, header, http_filter, match_tree, matcher, metadata, rate_limit, retry,
    route_action, route_match, shared, source, tracing, wire,
};
use crate::pool;
use crate::problem::{At, Fault};
use iako_proxy_config::{
    Action, ConfigOrigin, ConfigSource, Domain, MatchTree, PathMatch, PathRewrite, RedirectPath,
    Route, RouteConfiguration, RouteList, RouteMatch, TlsRequirement, VirtualCluster, VirtualHost,
};

/// Envoy's limit of a direct response's body.
const BODY_BYTES_MAX: u32 = 4096;

/// What a route needs to know of its table.
#[derive(Clone, Copy)]
pub(super) struct Table<'t> {
    /// Most bytes of a direct response's body.
    pub(super) body_bytes_max: u32,
    /// What routes refer to by name to choose their cluster.
    pub(super) specifiers: &'t Specifiers,
    /// Stands for both.
    pub(super) key: u128,
}

impl<'t> Table<'t> {
    pub(super) fn of(config: &pb::RouteConfiguration, specifiers: &'t Specifiers) -> Self {
        let body_bytes_max = config.max_direct_response_body_size_bytes;
        let body_bytes_max = body_bytes_max.unwrap_or(BODY_BYTES_MAX);
        let key = shared::table_key(body_bytes_max, specifiers.bytes());
        Self { body_bytes_max, specifiers, key }
    }
}

pub(super) fn route_configuration(
    config: &pb::RouteConfiguration,
    at: &At<'_>,
) -> Result<RouteConfiguration, Fault> {
    let specifiers = Specifiers::read(config, at)?;
    let table = Table::of(config, &specifiers);
    let virtual_hosts =
        wire::list(&config.virtual_hosts, &at.field("virtual_hosts"), |host, at| {
            let routes = routes(&host.routes, table, &at.field("routes"))?;
            virtual_host(host, routes, table, at).map(Arc::new)
        })?;
    with_hosts(config, virtual_hosts, at)
}

/// A table whose virtual hosts have been read.
pub(super) fn with_hosts(
    config: &pb::RouteConfiguration,
    virtual_hosts: Vec<Arc<VirtualHost>>,
    at: &At<'_>,
) -> Result<RouteConfiguration, Fault> {
    domains_stand_once(&virtual_hosts, &at.field("virtual_hosts"))?;
    if config.validate_clusters == Some(true) {
        let warning = "has no effect: a route may name a cluster that comes later";
        at.field("validate_clusters").warn(warning);
    }
    let mut value = RouteConfiguration::new(config.name.clone(), []);
    value.virtual_hosts = virtual_hosts;
    value.headers = header::mutations(header::lists!(config), at)?;
    value.most_specific_last = config.most_specific_header_mutations_wins;
    value.ignore_port_in_host = config.ignore_port_in_host_matching;
    if !config.vhost_header.is_empty() {
        value.host_header =
            Some(wire::header_name(&config.vhost_header, &at.field("vhost_header"))?);
    }
    value.ignore_path_parameters = config.ignore_path_parameters_in_path_matching;
    value.internal_only_headers =
        wire::header_names(&config.internal_only_headers, &at.field("internal_only_headers"))?;
    value.overrides = http_filter::overrides(&config.typed_per_filter_config, at)?;
    value.mirrors = attempt::mirrors(&config.request_mirror_policies, at)?;
    value.virtual_host_source =
        config.vhds.as_ref().map(|vhds| vhds_source(vhds, &at.field("vhds"))).transpose()?;
    Ok(value)
}

/// Who tells further virtual hosts. Only differences can be: Envoy knows no other form either.
fn vhds_source(vhds: &pb::Vhds, at: &At<'_>) -> Result<ConfigSource, Fault> {
    let at = at.field("config_source");
    let from = vhds.config_source.as_ref();
    let from = from.ok_or_else(|| at.missing("say who tells virtual hosts"))?;
    let source = source::config_source(from, &at)?;
    match &source.origin {
        ConfigOrigin::Ads => Ok(source),
        ConfigOrigin::Grpc(grpc) if grpc.delta => Ok(source),
        ConfigOrigin::Grpc(_) | ConfigOrigin::File(_) => {
            let problem = "virtual hosts are told by differences only";
            Err(at.invalid(problem, "write `ads: {}`, or `api_config_source` with DELTA_GRPC"))
        }
    }
}

/// Routes in order.
pub(super) fn routes(
    routes: &[pb::Route],
    table: Table<'_>,
    at: &At<'_>,
) -> Result<Vec<Arc<Route>>, Fault> {
    wire::list(routes, at, |config, at| route(config, table, at).map(Arc::new))
}

/// Refuses hosts of which two claim a domain.
pub(super) fn domains_stand_once(hosts: &[Arc<VirtualHost>], at: &At<'_>) -> Result<(), Fault> {
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

/// A virtual host whose routes have been read.
pub(super) fn virtual_host(
    host: &pb::VirtualHost,
    routes: Vec<Arc<Route>>,
    table: Table<'_>,
    at: &At<'_>,
) -> Result<VirtualHost, Fault> {
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
        matcher: tree(host, &routes, table, at)?,
        routes,
        require_tls: match wire::known::<TlsRequirementType>(
            host.require_tls,
            &at.field("require_tls"),
        )? {
            TlsRequirementType::None => TlsRequirement::None,
            TlsRequirementType::ExternalOnly => TlsRequirement::ExternalOnly,
            TlsRequirementType::All => TlsRequirement::All,
        },
        headers: header::mutations(header::lists!(host), at)?,
        retry: host
            .retry_policy
            .as_ref()
            .map(|policy| retry::policy(policy, &at_retry))
            .transpose()?,
        include_attempt_count: host.include_request_attempt_count,
        attempt_count_in_response: host.include_attempt_count_in_response,
        rate_limits: rate_limit::rate_limits(&host.rate_limits, &at.field("rate_limits"))?,
        cors: fault::old_cors(host.cors.as_ref(), &at.field("cors"))?,
        include_timeout_retry: host.include_is_timeout_retry_header,
        hedge: retry::hedge(host.hedge_policy.as_ref()),
        mirrors: attempt::mirrors(&host.request_mirror_policies, at)?,
        body_bytes_kept_max: attempt::body_bytes_kept_max(
            host.request_body_buffer_limit,
            host.per_request_buffer_limit_bytes,
        ),
        virtual_clusters: wire::list(
            &host.virtual_clusters,
            &at.field("virtual_clusters"),
            virtual_cluster,
        )?,
        overrides: http_filter::overrides(&host.typed_per_filter_config, at)?,
        origin: metadata::origin(host.metadata.as_ref()),
        metadata: metadata::of_rule(host.metadata.as_ref()),
    })
}

fn virtual_cluster(config: &pb::VirtualCluster, at: &At<'_>) -> Result<VirtualCluster, Fault> {
    if config.name.is_empty() {
        return Err(at.field("name").missing("name the sort of requests"));
    }
    let at_headers = at.field("headers");
    if config.headers.is_empty() {
        return Err(at_headers.missing("write what requests of this sort have"));
    }
    let headers = matcher::headers(&config.headers, &at_headers)?;
    Ok(VirtualCluster { name: config.name.clone(), headers })
}

/// The tree that chooses routes, in place of the list.
fn tree(
    host: &pb::VirtualHost,
    routes: &[Arc<Route>],
    table: Table<'_>,
    at: &At<'_>,
) -> Result<Option<Box<MatchTree<RouteList>>>, Fault> {
    let Some(config) = &host.matcher else { return Ok(None) };
    let at = at.field("matcher");
    if !routes.is_empty() {
        return Err(at.invalid("is set beside routes", "write one of the two"));
    }
    let tree = match_tree::tree(config, &at, &|any, at| {
        let name = pool::full_name(&any.type_url);
        if name == pb::Route::full_name() {
            let config: pb::Route = wire::unpack(any, at)?;
            return Ok(vec![Arc::new(route(&config, table, at)?)]);
        }
        if name == pb::RouteList::full_name() {
            let list: pb::RouteList = wire::unpack(any, at)?;
            return wire::list(&list.routes, &at.field("routes"), |config, at| {
                route(config, table, at).map(Arc::new)
            });
        }
        Err(at.invalid(format!("`{name}` is not supported"), "write a Route or a RouteList"))
    })?;
    Ok(Some(Box::new(tree)))
}

pub(super) fn route(config: &pb::Route, table: Table<'_>, at: &At<'_>) -> Result<Route, Fault> {
    let at_match = at.field("match");
    let matcher =
        config.r#match.as_ref().ok_or_else(|| at_match.missing("write which requests"))?;
    let matcher = route_match::route_match(matcher, &at_match)?;
    let action = action(config, table, at)?;
    rewrite_fits(&matcher, &action, at)?;
    let (traced, at_tracing) = (config.tracing.as_ref(), at.field("tracing"));
    Ok(Route {
        name: config.name.clone(),
        matcher,
        action,
        headers: header::mutations(header::lists!(config), at)?,
        overrides: http_filter::overrides(&config.typed_per_filter_config, at)?,
        decorator: config
            .decorator
            .as_ref()
            .map(|config| tracing::decorator(config, &at.field("decorator")))
            .transpose()?,
        tracing: traced
            .map(|config| tracing::of_route(config, &at_tracing))
            .transpose()?
            .map(Arc::new),
        body_bytes_kept_max: attempt::body_bytes_kept_max(
            config.request_body_buffer_limit,
            config.per_request_buffer_limit_bytes,
        ),
        stat_prefix: config.stat_prefix.clone(),
        origin: metadata::origin(config.metadata.as_ref()),
        metadata: metadata::of_rule(config.metadata.as_ref()),
    })
}

/// What a rewrite takes from the path, the match's template has to name.
fn rewrite_fits(matcher: &RouteMatch, action: &Action, at: &At<'_>) -> Result<(), Fault> {
    let no_prefix = "is set where the match has a template, not a prefix";
    let is_template = matches!(matcher.path, PathMatch::Template(_));
    if let Action::Redirect(redirect) = action
        && matches!(&redirect.path, Some(RedirectPath::Prefix(prefix)) if !prefix.is_empty())
        && is_template
    {
        let at = at.field("redirect");
        return Err(at.field("prefix_rewrite").invalid(no_prefix, "use path_redirect"));
    }
    let Action::Forward(action) = action else { return Ok(()) };
    if is_template && matches!(action.path_rewrite, Some(PathRewrite::Prefix(_))) {
        let at = at.field("route");
        let help = "use path_rewrite_policy with UriTemplateRewriteConfig";
        return Err(at.field("prefix_rewrite").invalid(no_prefix, help));
    }
    let Some(PathRewrite::Template(rewrite)) = &action.path_rewrite else { return Ok(()) };
    let at = at.field("route");
    let at = at.field("path_rewrite_policy");
    let PathMatch::Template(template) = &matcher.path else {
        let help = "match the path by UriTemplateMatchConfig";
        return Err(at.invalid("needs a template in the match", help));
    };
    let mut unknown =
        rewrite.variables().filter(|name| !template.variables().iter().any(|own| own == name));
    match unknown.next() {
        Some(name) => Err(at.invalid(
            format!("`{name}` is no variable of the match's template"),
            "use the variables of `path_template`",
        )),
        None => Ok(()),
    }
}

fn action(config: &pb::Route, table: Table<'_>, at: &At<'_>) -> Result<Action, Fault> {
    use pb::route::Action as Kind;
    match &config.action {
        Some(Kind::Route(action)) => {
            let action = route_action::route_action(action, table.specifiers, &at.field("route"))?;
            Ok(Action::Forward(Box::new(action)))
        }
        Some(Kind::Redirect(config)) => {
            Ok(Action::Redirect(answer::redirect(config, &at.field("redirect"))?))
        }
        Some(Kind::DirectResponse(config)) => {
            let at = at.field("direct_response");
            Ok(Action::Respond(answer::direct_response(config, table.body_bytes_max, &at)?))
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
