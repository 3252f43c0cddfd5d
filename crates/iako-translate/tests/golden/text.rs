//! A plan as text: what matters of it, a line each.

use std::fmt::Write as _;

use iako_proxy_config::{
    AccessLog, Action, Cluster, ClusterTarget, Discovery, DownstreamTransport, Endpoint,
    EndpointSet, FilterChain, FilterSettings, HeaderCheck, HttpConnectionManager, HttpFilterKind,
    JwtAuthn, Listener, LogFormat, MetadataValueMatch, NetworkFilter, PathMatch, PathRewrite,
    Permission, Principal, Rbac, Route, RouteAction, RouteConfiguration, RouteMatch, RouteSource,
    RuleOrigin, StringMatch, TcpTarget, Terminal, TlsOptions, Trust, UpstreamTransport,
    VirtualHost,
};
use iako_translate::Plan;
use iako_types::Percent;

pub(crate) fn render(plan: &Plan) -> String {
    let mut out = String::new();
    plan.listeners.iter().for_each(|it| listener(&mut out, it));
    plan.routes.iter().for_each(|it| table(&mut out, it, ""));
    plan.clusters.iter().for_each(|it| cluster(&mut out, it));
    plan.endpoints.iter().for_each(|it| line(&mut out, &format!("endpoints {}", endpoints(it))));
    plan.secrets.iter().for_each(|it| line(&mut out, &format!("secret {it}")));
    for found in &plan.diagnostics {
        line(&mut out, &format!("diagnostic {} {}: {}", found.code, found.subject, found.message));
    }
    out
}

fn line(out: &mut String, text: &str) {
    writeln!(out, "{}", text.trim_end()).unwrap();
}

fn listener(out: &mut String, listener: &Listener) {
    let mut flags = format!("{:?}", listener.direction).to_lowercase();
    for (set, word) in [
        (listener.looks_for_tls(), "tls-inspector"),
        (listener.looks_for_http(), "http-inspector"),
        (listener.use_original_dst, "use-original-dst"),
        (!listener.bind, "unbound"),
    ] {
        if set {
            write!(flags, " {word}").unwrap();
        }
    }
    let addresses: Vec<_> = listener.addresses.iter().map(ToString::to_string).collect();
    line(out, &format!("listener {} on {} {flags}", listener.name, addresses.join(",")));
    listener.chains.iter().for_each(|it| chain(out, it, "chain"));
    listener.default_chain.iter().for_each(|it| chain(out, it, "default"));
}

fn chain(out: &mut String, chain: &FilterChain, word: &str) {
    let it = &chain.matcher;
    let mut when = Vec::new();
    when.extend(it.destination_port.map(|port| format!("port {port}")));
    when.extend(it.transport_protocol.clone());
    if !it.server_names.is_empty() {
        when.push(format!("sni {}", it.server_names.join(",")));
    }
    if !it.application_protocols.is_empty() {
        when.push(format!("alpn {}", it.application_protocols.join(",")));
    }
    let transport = match &chain.transport {
        DownstreamTransport::Raw => "raw".to_owned(),
        DownstreamTransport::Tls(tls) => {
            let ask = if tls.require_client_certificate { " client-certificate" } else { "" };
            format!("tls{ask} {}", tls_options(&tls.options))
        }
    };
    line(out, &format!("  {word} {:?} [{}] {transport}", chain.name, when.join("; ")));
    for filter in &chain.filters {
        match filter {
            NetworkFilter::Rbac(rules) => rbac(out, rules),
            NetworkFilter::MetadataExchange { .. } => line(out, "    metadata-exchange"),
            NetworkFilter::Stats(_) => line(out, "    stats"),
            NetworkFilter::Discovered(it) => line(out, &format!("    {}", it.name.name())),
            NetworkFilter::Unsupported(it) => line(out, &format!("    {}", it.type_name)),
            other @ (NetworkFilter::ConnectionLimit(_)
            | NetworkFilter::RateLimit(_)
            | NetworkFilter::SniCluster
            | NetworkFilter::SniForward(_)
            | NetworkFilter::SetState(_)
            | NetworkFilter::ExtAuthz(_)
            | NetworkFilter::GlobalRateLimit(_)
            | NetworkFilter::Opaque(_)) => line(out, &format!("    {other:?}")),
        }
    }
    match &chain.terminal {
        Terminal::Direct(bytes) => line(out, &format!("    says {bytes:?}")),
        Terminal::Echo => line(out, "    echo"),
        Terminal::Tcp(tcp) => match &tcp.target {
            TcpTarget::Cluster(name) => line(out, &format!("    tcp -> {name}")),
            TcpTarget::Weighted(targets) => line(out, &format!("    tcp -> {targets:?}")),
        },
        Terminal::Http(http) => connection_manager(out, http),
    }
}

fn connection_manager(out: &mut String, http: &HttpConnectionManager) {
    http.access_log.iter().for_each(|it| access_log(out, it));
    if let Some(tracing) = &http.tracing {
        let share = Percent::from_fraction(tracing.sampling.random);
        line(out, &format!("    traces {share}"));
    }
    for filter in &http.filters {
        match &filter.kind {
            HttpFilterKind::Rbac(rules) => rbac(out, rules),
            HttpFilterKind::JwtAuthn(settings) => jwt(out, settings),
            HttpFilterKind::Stats(stats) => {
                line(out, &format!("    {}", filter.name));
                for it in &stats.overrides {
                    let metric = if it.metric.is_empty() { "all" } else { &it.metric };
                    let drop = if it.drop { " dropped" } else { "" };
                    let tags = it.tags_to_remove.join(",");
                    line(out, &format!("      {metric}{drop} without [{tags}]"));
                }
            }
            HttpFilterKind::Router(_)
            | HttpFilterKind::Fault(_)
            | HttpFilterKind::Cors
            | HttpFilterKind::PeerMetadata(_)
            | HttpFilterKind::Alpn
            | HttpFilterKind::GrpcWeb
            | HttpFilterKind::StatefulSession(_)
            | HttpFilterKind::ExtAuthz(_)
            | HttpFilterKind::GlobalRateLimit(_)
            | HttpFilterKind::LocalRateLimit(_)
            | HttpFilterKind::Composite(_)
            | HttpFilterKind::Matched(_)
            | HttpFilterKind::AdmissionControl(_)
            | HttpFilterKind::AdaptiveConcurrency(_)
            | HttpFilterKind::ExtProc(_)
            | HttpFilterKind::GrpcStats(_)
            | HttpFilterKind::DynamicForward(_)
            | HttpFilterKind::Buffer(_)
            | HttpFilterKind::Compressor(_)
            | HttpFilterKind::Decompressor(_)
            | HttpFilterKind::BandwidthLimit(_)
            | HttpFilterKind::Csrf(_)
            | HttpFilterKind::HeaderMutation(_)
            | HttpFilterKind::HeaderToMetadata(_)
            | HttpFilterKind::SetMetadata(_)
            | HttpFilterKind::OnDemand(_)
            | HttpFilterKind::Discovered(_)
            | HttpFilterKind::CustomResponse(_)
            | HttpFilterKind::Cache(_)
            | HttpFilterKind::JsonToMetadata(_)
            | HttpFilterKind::SetState(_)
            | HttpFilterKind::HealthCheck(_)
            | HttpFilterKind::IpTagging(_)
            | HttpFilterKind::CredentialInjector(_)
            | HttpFilterKind::OAuth2(_)
            | HttpFilterKind::Unsupported(_) => {
                line(out, &format!("    {}", filter.name));
            }
        }
    }
    match &http.routes {
        RouteSource::Rds(name) => line(out, &format!("    http -> routes {}", name.name())),
        RouteSource::Inline(it) => table(out, it, "    "),
        RouteSource::Scoped(it) => line(out, &format!("    http -> scopes {}", it.name)),
    }
}

fn jwt(out: &mut String, jwt: &JwtAuthn) {
    for (name, it) in &jwt.providers {
        let text = format!("    jwt {name} issuer {} audiences {:?}", it.issuer, it.audiences);
        line(out, &text);
    }
    for rule in &jwt.rules {
        line(out, &format!("    jwt requires {:?}", rule.requirement));
    }
}

fn access_log(out: &mut String, log: &AccessLog) {
    let format = match &log.format {
        LogFormat::Default => "default".to_owned(),
        LogFormat::Text(text) | LogFormat::TextOmittingEmpty(text) => {
            format!("text {:?}", text.chars().take(24).collect::<String>())
        }
        LogFormat::Calling(..) => "calling".to_owned(),
        LogFormat::Json(json) => {
            let keys: Vec<_> = json.fields.keys().take(3).map(String::as_str).collect();
            format!("json {} of {} keys", keys.join(","), json.fields.len())
        }
    };
    line(out, &format!("    log to {:?} {format}", log.sink));
}

fn tls_options(options: &TlsOptions) -> String {
    let certificates: Vec<_> = options.certificates.iter().map(|it| format!("{it:?}")).collect();
    let trust = match &options.validation.trust {
        Trust::Spiffe(_) => "by trust domain".to_owned(),
        Trust::Unverified => "unverified".to_owned(),
        Trust::Sds(name) => name.name().to_owned(),
        Trust::Inline(_) => "inline".to_owned(),
        Trust::System => "system".to_owned(),
    };
    let names: Vec<_> =
        options.validation.subject_alt_names.iter().map(|it| string(&it.matcher)).collect();
    format!(
        "alpn {} certificates {} trust {trust} names [{}]",
        options.alpn.join(","),
        certificates.join(","),
        names.join(", ")
    )
}

fn origin(origin: Option<&RuleOrigin>) -> String {
    let Some(it) = origin else { return String::new() };
    let file = it.file.rsplit('/').next().unwrap_or_default();
    format!(" ({} {}/{} {file}:{})", it.kind, it.namespace, it.name, it.line)
}

fn rbac(out: &mut String, rules: &Rbac) {
    for (word, rules) in [("rbac", &rules.rules), ("shadow", &rules.shadow_rules)] {
        let Some(rules) = rules else { continue };
        line(out, &format!("    {word} {:?}", rules.action));
        for (name, policy) in &rules.policies {
            line(out, &format!("      {name}{}", origin(policy.origin.as_ref())));
            let all: Vec<_> = policy.permissions.iter().map(permission).collect();
            line(out, &format!("        to {}", all.join(" or ")));
            let all: Vec<_> = policy.principals.iter().map(principal).collect();
            line(out, &format!("        from {}", all.join(" or ")));
        }
    }
}

fn string(check: &StringMatch) -> String {
    match check {
        StringMatch::Exact { value, ignore_case: false } => format!("{value:?}"),
        StringMatch::Exact { value, .. } => format!("{value:?}i"),
        StringMatch::Prefix { value, .. } => format!("{value:?}*"),
        StringMatch::Suffix { value, .. } => format!("*{value:?}"),
        StringMatch::Contains { value, .. } => format!("*{value:?}*"),
        StringMatch::Regex(it) => format!("/{}/", it.source()),
    }
}

fn joined(parts: &[String], word: &str) -> String {
    format!("({})", parts.join(word))
}

fn permission(it: &Permission) -> String {
    match it {
        Permission::Any => "any".to_owned(),
        Permission::And(all) => joined(&all.iter().map(permission).collect::<Vec<_>>(), " and "),
        Permission::Or(any) => joined(&any.iter().map(permission).collect::<Vec<_>>(), " or "),
        Permission::Not(it) => format!("not {}", permission(it)),
        Permission::Header(it) => format!("{} {}", it.name, header(&it.check)),
        Permission::Path(it) => format!("path {}", string(it)),
        Permission::PathTemplate(it) => format!("path {}", it.source()),
        Permission::DestinationIp(it) => format!("to {it}"),
        Permission::DestinationPort(it) => format!("port {it:?}"),
        Permission::ServerName(it) => format!("sni {}", string(it)),
        Permission::Upstream(it) => format!("upstream {it:?}"),
        Permission::Metadata(it) => format!("{}={}", it.path.join("."), value(&it.value)),
    }
}

fn principal(it: &Principal) -> String {
    match it {
        Principal::Any => "any".to_owned(),
        Principal::And(all) => joined(&all.iter().map(principal).collect::<Vec<_>>(), " and "),
        Principal::Or(any) => joined(&any.iter().map(principal).collect::<Vec<_>>(), " or "),
        Principal::Not(it) => format!("not {}", principal(it)),
        Principal::Authenticated(None) => "anybody authenticated".to_owned(),
        Principal::Authenticated(Some(it)) => format!("identity {}", string(it)),
        Principal::Named(it) => format!("named {it:?}"),
        Principal::DirectRemoteIp(it) => format!("peer {it}"),
        Principal::RemoteIp(it) => format!("client {it}"),
        Principal::Header(it) => format!("{} {}", it.name, header(&it.check)),
        Principal::Path(it) => format!("path {}", string(it)),
        Principal::State(it) => format!("state {}", it.key),
        Principal::Metadata(it) => format!("{}={}", it.path.join("."), value(&it.value)),
    }
}

fn value(it: &MetadataValueMatch) -> String {
    match it {
        MetadataValueMatch::Present(it) => format!("present {it}"),
        MetadataValueMatch::Null => "null".to_owned(),
        MetadataValueMatch::Bool(it) => it.to_string(),
        MetadataValueMatch::Text(it) => string(it),
        MetadataValueMatch::Number(it) => it.0.to_string(),
        MetadataValueMatch::NumberWithin(start, end) => format!("{}..{}", start.0, end.0),
        MetadataValueMatch::ListContains(it) => format!("list with {}", value(it)),
        MetadataValueMatch::Or(any) => joined(&any.iter().map(value).collect::<Vec<_>>(), " or "),
    }
}

fn header(it: &HeaderCheck) -> String {
    match it {
        HeaderCheck::Present(it) => format!("present {it}"),
        HeaderCheck::Text(it) => string(it),
        HeaderCheck::Range { start, end } => format!("{start}..{end}"),
    }
}

fn table(out: &mut String, table: &RouteConfiguration, indent: &str) {
    line(out, &format!("{indent}routes {}", table.name));
    for host in &table.virtual_hosts {
        virtual_host(out, host, indent);
    }
}

fn virtual_host(out: &mut String, host: &VirtualHost, indent: &str) {
    let domains: Vec<_> = host.domains.iter().map(ToString::to_string).collect();
    let require = if host.require_tls == iako_proxy_config::TlsRequirement::None {
        ""
    } else {
        " require-tls"
    };
    line(out, &format!("{indent}  host {}{require}{}", host.name, origin(host.origin.as_ref())));
    line(out, &format!("{indent}    domains {}", domains.join(" ")));
    for route in &host.routes {
        self::route(out, route, &format!("{indent}    "));
    }
}

fn route(out: &mut String, route: &Route, indent: &str) {
    let name = if route.name.is_empty() { "-" } else { &route.name };
    let action = match &route.action {
        Action::Forward(it) => forward(it),
        Action::Redirect(it) => format!("redirect {it:?}"),
        Action::Respond(it) => format!("respond {} {:?}", it.status, it.body),
    };
    line(
        out,
        &format!(
            "{indent}route {name} {} -> {action}{}",
            matcher(&route.matcher),
            origin(route.origin.as_ref())
        ),
    );
    let it = &route.headers;
    for (word, add) in [("request", &it.request_add), ("response", &it.response_add)] {
        for edit in add {
            line(out, &format!("{indent}  {word} {}: {} {:?}", edit.name, edit.value, edit.action));
        }
    }
    for (word, names) in [("request", &it.request_remove), ("response", &it.response_remove)] {
        for name in names {
            line(out, &format!("{indent}  {word} without {name}"));
        }
    }
    for (name, own) in &route.overrides.settings {
        if let FilterSettings::Fault(fault) = own {
            let words = format!("fault delay {:?} abort {:?}", fault.delay, fault.abort);
            line(out, &format!("{indent}  {words}"));
        } else if let FilterSettings::Cors(cors) = own {
            let origins: Vec<_> = cors.allow_origins.iter().map(string).collect();
            let origins = origins.join(",");
            line(out, &format!("{indent}  cors {origins} methods {}", cors.allow_methods));
        } else {
            line(out, &format!("{indent}  {name} {own:?}"));
        }
    }
}

fn matcher(it: &RouteMatch) -> String {
    let mut words = vec![match &it.path {
        PathMatch::Prefix(path) => format!("{path}*"),
        PathMatch::SegmentPrefix(path) => format!("{path}/*"),
        PathMatch::Exact(path) => path.clone(),
        PathMatch::Regex(path) => format!("/{}/", path.source()),
        PathMatch::Template(path) => path.source().to_owned(),
        PathMatch::Connect => "CONNECT".to_owned(),
    }];
    for condition in &it.headers {
        let not = if condition.invert { "not " } else { "" };
        words.push(format!("{not}{} {}", condition.name, header(&condition.check)));
    }
    words.extend(
        it.query.iter().map(|condition| format!("?{} {:?}", condition.name, condition.check)),
    );
    words.extend(
        it.metadata.iter().map(|claim| format!("{}={}", claim.path.join("."), value(&claim.value))),
    );
    if !it.case_sensitive {
        words.push("any case".to_owned());
    }
    words.join(" ")
}

fn forward(it: &RouteAction) -> String {
    let mut text = match &it.target {
        ClusterTarget::Cluster(name) => name.clone(),
        ClusterTarget::Header(name) => format!("header {name}"),
        ClusterTarget::Tree(tree) => format!("tree {tree:?}"),
        ClusterTarget::Weighted(targets) => {
            let all = targets.iter().map(|target| format!("{} {}", target.weight, target.cluster));
            all.collect::<Vec<_>>().join(", ")
        }
    };
    match &it.path_rewrite {
        Some(PathRewrite::Prefix(path)) => write!(text, " path {path}").unwrap(),
        Some(PathRewrite::Full(path)) => write!(text, " whole path {path}").unwrap(),
        Some(PathRewrite::Regex { pattern, substitution }) => {
            write!(text, " path s/{}/{substitution}/", pattern.source()).unwrap();
        }
        Some(other) => write!(text, " path {other:?}").unwrap(),
        None => {}
    }
    if let Some(host) = &it.host_rewrite {
        write!(text, " host {host:?}").unwrap();
    }
    if let Some(timeout) = it.timeout {
        write!(text, " timeout {timeout:?}").unwrap();
    }
    if let Some(retry) = &it.retry {
        write!(text, " retries {}", retry.retries_max).unwrap();
        if let Some(time) = retry.per_try_timeout {
            write!(text, " of {time:?}").unwrap();
        }
    }
    for mirror in &it.mirrors {
        let iako_proxy_config::MirrorTarget::Cluster(cluster) = &mirror.target else { continue };
        write!(text, " mirror {cluster} of {}", mirror.share.value).unwrap();
    }
    for hash in &it.hash {
        write!(text, " hash {:?}", hash.source).unwrap();
    }
    text
}

fn cluster(out: &mut String, cluster: &Cluster) {
    let discovery = match &cluster.discovery {
        Discovery::Static(set) => format!("static {}", endpoints(set)),
        Discovery::Eds(_) => "eds".to_owned(),
        Discovery::StrictDns(set) => format!("dns {}", endpoints(set)),
        Discovery::LogicalDns(set) => format!("logical-dns {}", endpoints(set)),
        Discovery::OriginalDst { .. } => "original-dst".to_owned(),
        Discovery::Aggregate(names) => format!("aggregate {}", names.join(" ")),
        Discovery::DynamicForward(_) => "dynamic-forward".to_owned(),
    };
    let lb = format!("{:?}", cluster.lb);
    let lb = lb.split('(').next().unwrap_or_default();
    line(
        out,
        &format!(
            "cluster {} {discovery} {lb} {:?}{}",
            cluster.name,
            cluster.http.protocol,
            origin(cluster.metadata.origin.as_ref())
        ),
    );
    let limits = &cluster.circuit_breakers.default;
    let words = [
        ("connections", limits.connections_max),
        ("pending", limits.pending_requests_max),
        ("requests", limits.requests_max),
        ("retries", limits.retries_max),
    ];
    let set: Vec<_> = words
        .iter()
        .filter(|(_, max)| *max != u32::MAX && *max != 1024 && *max != 3)
        .map(|(word, max)| format!("{word} {max}"))
        .collect();
    if !set.is_empty() {
        line(out, &format!("  limits {}", set.join(", ")));
    }
    if let Some(it) = &cluster.outlier_detection {
        line(
            out,
            &format!(
                "  outlier 5xx {:?} gateway {:?} every {:?} for {:?} at most {}",
                it.consecutive_5xx,
                it.consecutive_gateway_failure,
                it.interval,
                it.base_ejection_time,
                it.ejection_max
            ),
        );
    }
    for it in &cluster.transport_matches {
        line(out, &format!("  {} {:?} {}", it.name, it.criteria, transport(&it.transport)));
    }
    if cluster.transport != UpstreamTransport::Raw {
        line(out, &format!("  {}", transport(&cluster.transport)));
    }
}

fn transport(it: &UpstreamTransport) -> String {
    match it {
        UpstreamTransport::Raw => "raw".to_owned(),
        UpstreamTransport::Tls(tls) => {
            let check = if tls.auto_san_validation { " checked" } else { "" };
            format!("tls sni {:?}{check} {}", tls.sni, tls_options(&tls.options))
        }
    }
}

fn endpoints(set: &EndpointSet) -> String {
    let mut text = set.name.clone();
    for place in &set.localities {
        let all: Vec<_> = place.endpoints.iter().map(endpoint).collect();
        write!(text, " p{} [{}]", place.priority, all.join(", ")).unwrap();
    }
    text
}

fn endpoint(it: &Endpoint) -> String {
    use iako_proxy_config::EndpointAddress as Address;
    let address = match &it.address {
        Address::Socket(address) => address.to_string(),
        Address::Host { name, port } => format!("{name}:{port}"),
        Address::Pipe(path) => path.display().to_string(),
        Address::Internal { listener, id } => format!("envoy://{listener}/{id}"),
    };
    let workload = it.metadata.workload.as_ref().map_or("", |label| &label.workload);
    let mode = it.metadata.transport_match.get("tlsMode").map_or("", |_| " mtls");
    format!("{address} {workload}{mode}").trim_end().to_owned()
}
