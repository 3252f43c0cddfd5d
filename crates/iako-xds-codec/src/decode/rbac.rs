//! Who may do what.

use iako_cel::{Attribute, Expression, Root};
use iako_xds_api::envoy::config::core::v3::TypedExtensionConfig;
use iako_xds_api::envoy::config::rbac::v3 as pb;
use iako_xds_api::envoy::extensions::filters::{
    http::rbac::v3 as http_pb, network::rbac::v3 as network_pb,
};
use iako_xds_api::envoy::extensions::path::r#match::uri_template::v3::UriTemplateMatchConfig;
use iako_xds_api::envoy::extensions::rbac::matchers::upstream_ip_port::v3::UpstreamIpPortMatcher;
use iako_xds_api::envoy::extensions::rbac::principals::mtls_authenticated::v3 as mtls_pb;
use iako_xds_api::envoy::r#type::matcher::v3 as matcher_pb;
use iako_xds_api::xds::r#type::matcher::v3 as xds_pb;
use prost::Name as _;
use prost_types::Any;

use super::{expression, match_tree, matcher, validation, wire};
use crate::pool;
use crate::problem::{At, Fault};
use iako_proxy_config::{
    ConnectionInput, MatchInput, MatchTree, MetadataMatch, Permission, Policy, Principal, Rbac,
    RbacAction, RbacChoice, RbacMatcher, RbacRules, RuleOrigin, SanKind, SanMatch, StringMatch,
    UpstreamAddress, UriTemplate,
};

pub(super) fn http(config: &http_pb::Rbac, at: &At<'_>) -> Result<Rbac, Fault> {
    Ok(Rbac {
        rules: config.rules.as_ref().map(|config| rules(config, &at.field("rules"))).transpose()?,
        shadow_rules: config
            .shadow_rules
            .as_ref()
            .map(|config| rules(config, &at.field("shadow_rules")))
            .transpose()?,
        matcher: tree(config.matcher.as_ref(), Asked::Request, &at.field("matcher"))?,
        shadow_matcher: tree(
            config.shadow_matcher.as_ref(),
            Asked::Request,
            &at.field("shadow_matcher"),
        )?,
        shadow_prefix: config.shadow_rules_stat_prefix.clone(),
        stat_prefix: config.rules_stat_prefix.clone(),
        counts_policies: config.track_per_rule_stats,
        deny_delay: None,
    })
}

pub(super) fn network(config: &network_pb::Rbac, at: &At<'_>) -> Result<Rbac, Fault> {
    Ok(Rbac {
        rules: config.rules.as_ref().map(|config| rules(config, &at.field("rules"))).transpose()?,
        shadow_rules: config
            .shadow_rules
            .as_ref()
            .map(|config| rules(config, &at.field("shadow_rules")))
            .transpose()?,
        matcher: tree(config.matcher.as_ref(), Asked::Connection, &at.field("matcher"))?,
        shadow_matcher: tree(
            config.shadow_matcher.as_ref(),
            Asked::Connection,
            &at.field("shadow_matcher"),
        )?,
        shadow_prefix: config.shadow_rules_stat_prefix.clone(),
        stat_prefix: config.stat_prefix.clone(),
        counts_policies: false,
        deny_delay: wire::optional(config.delay_deny.as_ref(), &at.field("delay_deny"))?,
    })
}

/// Who a tree is asked about.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asked {
    Request,
    Connection,
}

fn tree(
    config: Option<&xds_pb::Matcher>,
    asked: Asked,
    at: &At<'_>,
) -> Result<Option<Box<RbacMatcher>>, Fault> {
    let Some(config) = config else { return Ok(None) };
    let tree: MatchTree<RbacChoice> = match_tree::tree(config, at, &choice)?;
    for input in tree.inputs() {
        let (name, fits) = match input {
            MatchInput::RequestHeader(_) => ("a header", asked == Asked::Request),
            MatchInput::QueryParameter(_) => ("a query parameter", false),
            MatchInput::Attributes => ("attributes of requests", asked == Asked::Request),
            MatchInput::Connection(input) => is_looked_at(input),
        };
        if !fits {
            let help = "look at headers of requests, addresses and ports, the server name, or names \
                        of the client's certificate";
            return Err(at.invalid(format!("looks at {name}"), help));
        }
    }
    Ok(Some(Box::new(RbacMatcher::new(tree))))
}

/// Whether Envoy's rules look at something of a connection.
const fn is_looked_at(input: &ConnectionInput) -> (&'static str, bool) {
    match input {
        ConnectionInput::DestinationIp
        | ConnectionInput::DestinationPort
        | ConnectionInput::SourceIp
        | ConnectionInput::SourcePort
        | ConnectionInput::DirectSourceIp
        | ConnectionInput::ServerName
        | ConnectionInput::UriSan
        | ConnectionInput::DnsSan
        | ConnectionInput::Subject
        | ConnectionInput::FilterState(_) => ("", true),
        ConnectionInput::SourceType => ("the kind of source", false),
        ConnectionInput::TransportProtocol => ("the transport protocol", false),
        ConnectionInput::ApplicationProtocol => ("the application protocol", false),
        ConnectionInput::DynamicMetadata { .. } => ("dynamic metadata", false),
    }
}

fn choice(any: &Any, at: &At<'_>) -> Result<RbacChoice, Fault> {
    if pool::full_name(&any.type_url) != pb::Action::full_name() {
        let problem = format!("`{}` is not supported", pool::full_name(&any.type_url));
        return Err(at.invalid(problem, "choose an envoy.config.rbac.v3.Action"));
    }
    let config: pb::Action = wire::unpack(any, at)?;
    if config.name.is_empty() {
        return Err(at.field("name").missing("name the choice"));
    }
    Ok(RbacChoice { name: config.name, action: action(config.action, &at.field("action"))? })
}

fn action(config: i32, at: &At<'_>) -> Result<RbacAction, Fault> {
    use pb::rbac::Action;
    Ok(match wire::known::<Action>(config, at)? {
        Action::Allow => RbacAction::Allow,
        Action::Deny => RbacAction::Deny,
        Action::Log => RbacAction::Log,
    })
}

fn rules(config: &pb::Rbac, at: &At<'_>) -> Result<RbacRules, Fault> {
    let action = action(config.action, &at.field("action"))?;
    let at = at.field("policies");
    let policies = config
        .policies
        .iter()
        .map(|(name, config)| Ok((name.clone(), policy(name, config, &at.key(name))?)))
        .collect::<Result<_, Fault>>()?;
    Ok(RbacRules { action, policies })
}

fn policy(name: &str, config: &pb::Policy, at: &At<'_>) -> Result<Policy, Fault> {
    Ok(Policy {
        permissions: wire::list(&config.permissions, &at.field("permissions"), permission)?,
        principals: wire::list(&config.principals, &at.field("principals"), principal)?,
        condition: condition(config, at)?,
        origin: origin(name),
    })
}

/// What a policy asks besides.
fn condition(config: &pb::Policy, at: &At<'_>) -> Result<Option<Expression>, Fault> {
    let options = expression::options(config.cel_config.as_ref());
    let (at_condition, at_checked) = (at.field("condition"), at.field("checked_condition"));
    let found = match (&config.condition, &config.checked_condition) {
        (Some(_), Some(_)) => {
            let help = "write `condition` or `checked_condition`";
            return Err(at_checked.invalid("stands beside `condition`", help));
        }
        (None, None) => return Ok(None),
        (Some(expr), None) => expression::tree(expr, options, &at_condition)?,
        (None, Some(checked)) => {
            let at = at_checked.field("expr");
            let expr = checked.expr.as_ref().ok_or_else(|| at.missing("write a tree"))?;
            expression::tree(expr, options, &at)?
        }
    };
    known(&found, if config.condition.is_some() { &at_condition } else { &at_checked })?;
    Ok(Some(found))
}

/// Refuses what asks for something that nobody knows when rules are asked: a rule that never holds may
/// let pass what it was to refuse.
pub(super) fn known(expression: &Expression, at: &At<'_>) -> Result<(), Fault> {
    let help = "ask about the request's head, its connection, or what filters left";
    if let Some(unknown) = expression.attributes().iter().find(|one| !is_known(**one)) {
        let problem = format!("`{}` is not known when rules are asked", unknown.name());
        return Err(at.invalid(problem, help));
    }
    let chosen = [Root::Request, Root::Response, Root::Connection, Root::Upstream, Root::Xds];
    if expression.roots().iter().any(|root| chosen.contains(root)) {
        return Err(at.invalid("chooses attributes by names that are not written", help));
    }
    Ok(())
}

/// Whether an attribute is known of a request before it is sent on, or absent in Envoy too.
const fn is_known(attribute: Attribute) -> bool {
    use Attribute as A;
    match attribute.root() {
        Root::Source | Root::Destination | Root::Metadata | Root::FilterState => true,
        Root::Request => !matches!(
            attribute,
            A::RequestTime
                | A::RequestProtocol
                | A::RequestSize
                | A::RequestTotalSize
                | A::RequestHeadersBytes
        ),
        Root::Response => matches!(
            attribute,
            A::ResponseCode | A::ResponseCodeDetails | A::ResponseHeaders | A::ResponseTrailers
        ),
        Root::Connection => matches!(
            attribute,
            A::ConnectionMtls
                | A::ServerName
                | A::SubjectPeer
                | A::UriSanLocal
                | A::UriSanPeer
                | A::DnsSanPeer
                | A::Sha256Peer
        ),
        Root::Upstream | Root::UpstreamFilterState | Root::Xds => false,
    }
}

/// Istio names policies `ns[shop]-policy[cart]-rule[0]`, which tells where they come from.
fn origin(name: &str) -> Option<RuleOrigin> {
    let (namespace, rest) = name.strip_prefix("ns[")?.split_once("]-policy[")?;
    let (policy, _rule) = rest.split_once("]-rule[")?;
    Some(RuleOrigin {
        kind: "AuthorizationPolicy".to_owned(),
        namespace: namespace.to_owned(),
        name: policy.to_owned(),
        ..RuleOrigin::default()
    })
}

pub(super) fn path(config: &matcher_pb::PathMatcher, at: &At<'_>) -> Result<StringMatch, Fault> {
    use matcher_pb::path_matcher::Rule;
    match &config.rule {
        Some(Rule::Path(text)) => matcher::text(text, &at.field("path")),
        None => Err(at.field("path").missing("write what the path must be")),
    }
}

fn permission(config: &pb::Permission, at: &At<'_>) -> Result<Permission, Fault> {
    use pb::permission::Rule;
    Ok(match &config.rule {
        Some(Rule::Any(true)) => Permission::Any,
        Some(Rule::Any(false)) => {
            return Err(at
                .field("any")
                .invalid("must be true", "write `any: true`, or use `not_rule`"));
        }
        Some(Rule::AndRules(set)) => Permission::And(permissions(set, &at.field("and_rules"))?),
        Some(Rule::OrRules(set)) => Permission::Or(permissions(set, &at.field("or_rules"))?),
        Some(Rule::NotRule(rule)) => {
            Permission::Not(Box::new(permission(rule, &at.field("not_rule"))?))
        }
        Some(Rule::Header(header)) => {
            Permission::Header(matcher::header(header, &at.field("header"))?)
        }
        Some(Rule::UrlPath(config)) => Permission::Path(path(config, &at.field("url_path"))?),
        Some(Rule::UriTemplate(config)) => path_template(config, &at.field("uri_template"))?,
        Some(Rule::DestinationIp(range)) => {
            Permission::DestinationIp(wire::cidr(range, &at.field("destination_ip"))?)
        }
        Some(Rule::DestinationPort(port)) => {
            let port = wire::port(*port, &at.field("destination_port"))?;
            Permission::DestinationPort(port..=port)
        }
        Some(Rule::DestinationPortRange(range)) => {
            port_range(*range, &at.field("destination_port_range"))?
        }
        Some(Rule::RequestedServerName(name)) => {
            Permission::ServerName(matcher::text(name, &at.field("requested_server_name"))?)
        }
        Some(Rule::Metadata(config)) => {
            Permission::Metadata(matcher::metadata(config, &at.field("metadata"))?)
        }
        Some(Rule::SourcedMetadata(sourced)) => {
            Permission::Metadata(sourced_metadata(sourced, &at.field("sourced_metadata"))?)
        }
        Some(Rule::Matcher(config)) => {
            Permission::Upstream(upstream(config, &at.field("matcher").field("typed_config"))?)
        }
        None => return Err(at.missing("write one rule, such as `any: true`")),
    })
}

fn permissions(set: &pb::permission::Set, at: &At<'_>) -> Result<Vec<Permission>, Fault> {
    wire::list(&set.rules, &at.field("rules"), permission)
}

fn port_range(
    range: iako_xds_api::envoy::r#type::v3::Int32Range,
    at: &At<'_>,
) -> Result<Permission, Fault> {
    // The end is the first port outside.
    match (u16::try_from(range.start), u16::try_from(range.end.saturating_sub(1))) {
        (Ok(start), Ok(last)) if start <= last => Ok(Permission::DestinationPort(start..=last)),
        _ => Err(at.invalid("is not a range of ports", "write `start` below `end`, at most 65536")),
    }
}

fn upstream(config: &TypedExtensionConfig, at: &At<'_>) -> Result<UpstreamAddress, Fault> {
    let any = config.typed_config.as_ref().ok_or_else(|| at.missing("write its settings"))?;
    if pool::full_name(&any.type_url) != UpstreamIpPortMatcher::full_name() {
        let problem = format!("`{}` is not supported", pool::full_name(&any.type_url));
        return Err(at.invalid(problem, "use UpstreamIpPortMatcher"));
    }
    let config: UpstreamIpPortMatcher = wire::unpack(any, at)?;
    let range = config.upstream_ip.as_ref();
    let range = range.map(|range| wire::cidr(range, &at.field("upstream_ip"))).transpose()?;
    let at_ports = at.field("upstream_port_range");
    let ports = config.upstream_port_range.map(|range| {
        // The end is a port of the range, other than in ranges of destinations: Envoy the same.
        match (u16::try_from(range.start), u16::try_from(range.end)) {
            (Ok(start), Ok(last)) if start <= last => Ok(start..=last),
            _ => {
                Err(at_ports.invalid("is not a range of ports", "write ports, the first one first"))
            }
        }
    });
    let ports = ports.transpose()?;
    if range.is_none() && ports.is_none() {
        return Err(at.invalid("asks nothing", "write `upstream_ip` or `upstream_port_range`"));
    }
    Ok(UpstreamAddress { range, ports })
}

fn path_template(config: &TypedExtensionConfig, at: &At<'_>) -> Result<Permission, Fault> {
    let at_config = at.field("typed_config");
    let any = config
        .typed_config
        .as_ref()
        .ok_or_else(|| at_config.missing("write the template's settings"))?;
    if pool::full_name(&any.type_url) != UriTemplateMatchConfig::full_name() {
        let problem = format!("`{}` is not supported", pool::full_name(&any.type_url));
        return Err(at_config.invalid(problem, "use UriTemplateMatchConfig"));
    }
    let config: UriTemplateMatchConfig = wire::unpack(any, &at_config)?;
    uri_template(&config.path_template, &at_config).map(Permission::PathTemplate)
}

/// A template, in Envoy's spelling or in Istio's (`{*}` for `*`).
pub(super) fn uri_template(template: &str, at: &At<'_>) -> Result<UriTemplate, Fault> {
    let at = at.field("path_template");
    UriTemplate::parse(template).map_err(|error| {
        at.invalid(error.to_string(), "write segments of text, `*`, `**` and `{variable}`")
    })
}

fn principal(config: &pb::Principal, at: &At<'_>) -> Result<Principal, Fault> {
    use pb::principal::Identifier;
    Ok(match &config.identifier {
        Some(Identifier::Any(true)) => Principal::Any,
        Some(Identifier::Any(false)) => {
            return Err(at
                .field("any")
                .invalid("must be true", "write `any: true`, or use `not_id`"));
        }
        Some(Identifier::AndIds(set)) => Principal::And(principals(set, &at.field("and_ids"))?),
        Some(Identifier::OrIds(set)) => Principal::Or(principals(set, &at.field("or_ids"))?),
        Some(Identifier::NotId(one)) => {
            Principal::Not(Box::new(principal(one, &at.field("not_id"))?))
        }
        Some(Identifier::Authenticated(authenticated)) => {
            let at = at.field("authenticated");
            let at = at.field("principal_name");
            let name = authenticated.principal_name.as_ref();
            Principal::Authenticated(name.map(|name| matcher::text(name, &at)).transpose()?)
        }
        Some(Identifier::DirectRemoteIp(range)) => {
            Principal::DirectRemoteIp(wire::cidr(range, &at.field("direct_remote_ip"))?)
        }
        // The old name of an address that trusts what the client's proxy said.
        Some(Identifier::SourceIp(range)) => {
            Principal::DirectRemoteIp(wire::cidr(range, &at.field("source_ip"))?)
        }
        Some(Identifier::RemoteIp(range)) => {
            Principal::RemoteIp(wire::cidr(range, &at.field("remote_ip"))?)
        }
        Some(Identifier::Header(header)) => {
            Principal::Header(matcher::header(header, &at.field("header"))?)
        }
        Some(Identifier::UrlPath(config)) => Principal::Path(path(config, &at.field("url_path"))?),
        Some(Identifier::Metadata(config)) => {
            Principal::Metadata(matcher::metadata(config, &at.field("metadata"))?)
        }
        Some(Identifier::SourcedMetadata(sourced)) => {
            Principal::Metadata(sourced_metadata(sourced, &at.field("sourced_metadata"))?)
        }
        Some(Identifier::FilterState(config)) => {
            Principal::State(matcher::filter_state(config, &at.field("filter_state"))?)
        }
        Some(Identifier::Custom(config)) => custom(config, &at.field("custom"))?,
        None => return Err(at.missing("write one identifier, such as `any: true`")),
    })
}

/// A principal of another kind: who showed a certificate.
fn custom(config: &TypedExtensionConfig, at: &At<'_>) -> Result<Principal, Fault> {
    let at = at.field("typed_config");
    let any = config.typed_config.as_ref();
    let any = any.ok_or_else(|| at.missing("write the principal's settings with `@type`"))?;
    if pool::full_name(&any.type_url) != mtls_pb::Config::full_name() {
        let problem = format!("`{}` is not supported", pool::full_name(&any.type_url));
        return Err(at.invalid(problem, "use mtls_authenticated, or another identifier"));
    }
    let config: mtls_pb::Config = wire::unpack(any, &at)?;
    let Some(name) = &config.san_matcher else {
        if config.any_validated_client_certificate {
            return Ok(Principal::Named(SanMatch { kind: None, matcher: StringMatch::exact("") }));
        }
        return Err(at.missing("write `san_matcher` or `any_validated_client_certificate`"));
    };
    let at = at.field("san_matcher");
    let name = validation::san(name, &at)?;
    match &name.kind {
        Some(SanKind::Dns | SanKind::Uri) => Ok(Principal::Named(name)),
        Some(SanKind::Ip | SanKind::Email | SanKind::Other(_)) | None => {
            let problem = "is a kind of name that is not known when rules are asked";
            Err(at.field("san_type").invalid(problem, "use DNS or URI"))
        }
    }
}

fn principals(set: &pb::principal::Set, at: &At<'_>) -> Result<Vec<Principal>, Fault> {
    wire::list(&set.ids, &at.field("ids"), principal)
}

fn sourced_metadata(sourced: &pb::SourcedMetadata, at: &At<'_>) -> Result<MetadataMatch, Fault> {
    let at_source = at.field("metadata_source");
    if wire::known::<pb::MetadataSource>(sourced.metadata_source, &at_source)?
        != pb::MetadataSource::Dynamic
    {
        return Err(at_source.invalid("is not supported", "use DYNAMIC, what filters left"));
    }
    let at = at.field("metadata_matcher");
    let config =
        sourced.metadata_matcher.as_ref().ok_or_else(|| at.missing("write what is asked"))?;
    matcher::metadata(config, &at)
}
