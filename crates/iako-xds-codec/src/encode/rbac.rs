//! Who may do what.

use iako_xds_api::envoy::config::rbac::v3 as pb;
use iako_xds_api::envoy::extensions::filters::http::rbac::v3 as http_pb;
use iako_xds_api::envoy::extensions::path::r#match::uri_template::v3::UriTemplateMatchConfig;
use iako_xds_api::envoy::extensions::rbac::matchers::upstream_ip_port::v3::UpstreamIpPortMatcher;
use iako_xds_api::envoy::extensions::rbac::principals::mtls_authenticated::v3 as mtls_pb;
use iako_xds_api::envoy::r#type::matcher::v3 as matcher_pb;
use iako_xds_api::envoy::r#type::v3::{Int32Range, Int64Range};
use iako_xds_api::xds::r#type::matcher::v3 as xds_pb;

use super::{expression, match_tree, matcher, transport, wire};
use iako_proxy_config::{
    MetadataMatch, Permission, Policy, Principal, Rbac, RbacAction, RbacChoice, RbacMatcher,
    RbacRules, StringMatch, UriTemplate,
};

pub(super) fn http(value: &Rbac) -> http_pb::Rbac {
    http_pb::Rbac {
        rules: value.rules.as_ref().map(rules),
        rules_stat_prefix: value.stat_prefix.clone(),
        track_per_rule_stats: value.counts_policies,
        shadow_rules: value.shadow_rules.as_ref().map(rules),
        shadow_rules_stat_prefix: value.shadow_prefix.clone(),
        matcher: value.matcher.as_deref().map(tree),
        shadow_matcher: value.shadow_matcher.as_deref().map(tree),
    }
}

/// What chooses in place of rules.
pub(super) fn tree(value: &RbacMatcher) -> xds_pb::Matcher {
    let choice = |choice: &RbacChoice| {
        wire::any(&pb::Action { name: choice.name.clone(), action: action(choice.action).into() })
    };
    match_tree::tree(value.tree(), &choice)
}

const fn action(value: RbacAction) -> pb::rbac::Action {
    match value {
        RbacAction::Allow => pb::rbac::Action::Allow,
        RbacAction::Deny => pb::rbac::Action::Deny,
        RbacAction::Log => pb::rbac::Action::Log,
    }
}

pub(super) fn rules(value: &RbacRules) -> pb::Rbac {
    pb::Rbac {
        action: action(value.action).into(),
        policies: value
            .policies
            .iter()
            .map(|(name, value)| (name.clone(), policy(value)))
            .collect(),
        ..Default::default()
    }
}

fn policy(value: &Policy) -> pb::Policy {
    pb::Policy {
        permissions: value.permissions.iter().map(permission).collect(),
        principals: value.principals.iter().map(principal).collect(),
        condition: value.condition.as_ref().and_then(expression::tree),
        cel_config: value.condition.as_ref().and_then(|one| expression::options(one.options())),
        ..Default::default()
    }
}

pub(super) fn path(value: &StringMatch) -> matcher_pb::PathMatcher {
    matcher_pb::PathMatcher {
        rule: Some(matcher_pb::path_matcher::Rule::Path(matcher::text(value))),
    }
}

fn permission(value: &Permission) -> pb::Permission {
    use pb::permission::{Rule, Set};
    let set = |values: &[Permission]| Set { rules: values.iter().map(permission).collect() };
    let rule = match value {
        Permission::Any => Rule::Any(true),
        Permission::And(all) => Rule::AndRules(set(all)),
        Permission::Or(any) => Rule::OrRules(set(any)),
        Permission::Not(one) => Rule::NotRule(Box::new(permission(one))),
        Permission::Header(header) => Rule::Header(matcher::header(header)),
        Permission::Path(value) => Rule::UrlPath(path(value)),
        Permission::PathTemplate(template) => Rule::UriTemplate(uri_template(template)),
        Permission::DestinationIp(range) => Rule::DestinationIp(wire::cidr(range)),
        Permission::DestinationPort(range) if range.start() == range.end() => {
            Rule::DestinationPort((*range.start()).into())
        }
        Permission::DestinationPort(range) => Rule::DestinationPortRange(Int32Range {
            start: (*range.start()).into(),
            end: i32::from(*range.end()).saturating_add(1),
        }),
        Permission::ServerName(name) => Rule::RequestedServerName(matcher::text(name)),
        Permission::Metadata(value) => Rule::SourcedMetadata(sourced_metadata(value)),
        Permission::Upstream(value) => {
            let config = UpstreamIpPortMatcher {
                upstream_ip: value.range.as_ref().map(wire::cidr),
                upstream_port_range: value.ports.as_ref().map(|ports| Int64Range {
                    start: (*ports.start()).into(),
                    end: (*ports.end()).into(),
                }),
            };
            Rule::Matcher(wire::extension("envoy.rbac.matchers.upstream_ip_port", &config))
        }
    };
    pb::Permission { rule: Some(rule) }
}

/// A template as Envoy spells it.
pub(super) fn uri_template(
    value: &UriTemplate,
) -> iako_xds_api::envoy::config::core::v3::TypedExtensionConfig {
    let config = UriTemplateMatchConfig { path_template: value.source().to_owned() };
    wire::extension("envoy.path.match.uri_template.uri_template_matcher", &config)
}

fn principal(value: &Principal) -> pb::Principal {
    use pb::principal::{Authenticated, Identifier, Set};
    let set = |values: &[Principal]| Set { ids: values.iter().map(principal).collect() };
    let identifier = match value {
        Principal::Any => Identifier::Any(true),
        Principal::And(all) => Identifier::AndIds(set(all)),
        Principal::Or(any) => Identifier::OrIds(set(any)),
        Principal::Not(one) => Identifier::NotId(Box::new(principal(one))),
        Principal::Authenticated(name) => Identifier::Authenticated(Authenticated {
            principal_name: name.as_ref().map(matcher::text),
        }),
        Principal::Named(name) => {
            let san_matcher = name.kind.as_ref().map(|kind| transport::san(kind, name));
            let any_validated_client_certificate = san_matcher.is_none();
            let config = mtls_pb::Config { san_matcher, any_validated_client_certificate };
            let name = "envoy.rbac.principals.mtls_authenticated";
            Identifier::Custom(wire::extension(name, &config))
        }
        Principal::DirectRemoteIp(range) => Identifier::DirectRemoteIp(wire::cidr(range)),
        Principal::RemoteIp(range) => Identifier::RemoteIp(wire::cidr(range)),
        Principal::Header(header) => Identifier::Header(matcher::header(header)),
        Principal::Path(value) => Identifier::UrlPath(path(value)),
        Principal::State(value) => Identifier::FilterState(matcher::filter_state(value)),
        Principal::Metadata(value) => Identifier::SourcedMetadata(sourced_metadata(value)),
    };
    pb::Principal { identifier: Some(identifier) }
}

fn sourced_metadata(value: &MetadataMatch) -> pb::SourcedMetadata {
    pb::SourcedMetadata {
        metadata_matcher: Some(matcher::metadata(value)),
        metadata_source: pb::MetadataSource::Dynamic.into(),
    }
}
