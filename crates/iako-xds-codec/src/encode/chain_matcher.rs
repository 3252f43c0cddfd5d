//! Trees of conditions that choose a filter chain.

use iako_xds_api::envoy::extensions::matching::common_inputs::network::v3 as inputs;
use iako_xds_api::envoy::extensions::matching::input_matchers::ip::v3::Ip;
use iako_xds_api::xds::core::v3::TypedExtensionConfig;
use iako_xds_api::xds::r#type::matcher::v3 as pb;
use prost::Message as _;
use prost_types::Any;

use super::wire;
use iako_proxy_config::{
    ChainChoice, ChainMatcher, ChainRule, ChainRules, ConnectionCondition, ConnectionInput,
    FactTest, StringMatch, TreeKind,
};

pub(super) fn matcher(value: &ChainMatcher) -> pb::Matcher {
    use pb::matcher::MatcherType;
    let kind = match &value.rules {
        ChainRules::List(rules) => MatcherType::MatcherList(pb::matcher::MatcherList {
            matchers: rules.iter().map(rule).collect(),
        }),
        ChainRules::Tree { input, kind, branches } => {
            use pb::matcher::matcher_tree::{MatchMap, TreeType};
            let branches = branches.iter().map(|(text, then)| (text.clone(), choice(then)));
            let map = MatchMap { map: branches.collect() };
            MatcherType::MatcherTree(pb::matcher::MatcherTree {
                input: Some(self::input(*input)),
                tree_type: Some(match kind {
                    TreeKind::Exact => TreeType::ExactMatchMap(map),
                    TreeKind::Prefix => TreeType::PrefixMatchMap(map),
                }),
            })
        }
    };
    pb::Matcher {
        on_no_match: value.otherwise.as_ref().map(|otherwise| Box::new(choice(otherwise))),
        matcher_type: Some(kind),
    }
}

fn rule(value: &ChainRule) -> pb::matcher::matcher_list::FieldMatcher {
    pb::matcher::matcher_list::FieldMatcher {
        predicate: Some(condition(&value.when)),
        on_match: Some(choice(&value.then)),
    }
}

fn choice(value: &ChainChoice) -> pb::matcher::OnMatch {
    use pb::matcher::on_match::OnMatch;
    let then = match value {
        ChainChoice::Matcher(inner) => OnMatch::Matcher(Box::new(matcher(inner))),
        ChainChoice::Chain(name) => OnMatch::Action(TypedExtensionConfig {
            name: "filter-chain-name".to_owned(),
            typed_config: Some(Any {
                type_url: "type.googleapis.com/google.protobuf.StringValue".to_owned(),
                value: name.encode_to_vec(),
            }),
        }),
    };
    pb::matcher::OnMatch { keep_matching: false, on_match: Some(then) }
}

fn condition(value: &ConnectionCondition) -> pb::matcher::matcher_list::Predicate {
    use pb::matcher::matcher_list::predicate::{MatchType, PredicateList, SinglePredicate};
    let list = |conditions: &[ConnectionCondition]| PredicateList {
        predicate: conditions.iter().map(condition).collect(),
    };
    let kind = match value {
        ConnectionCondition::Fact { input, test } => MatchType::SinglePredicate(SinglePredicate {
            input: Some(self::input(*input)),
            matcher: Some(self::test(test)),
        }),
        ConnectionCondition::Or(conditions) => MatchType::OrMatcher(list(conditions)),
        ConnectionCondition::And(conditions) => MatchType::AndMatcher(list(conditions)),
        ConnectionCondition::Not(inner) => MatchType::NotMatcher(Box::new(condition(inner))),
    };
    pb::matcher::matcher_list::Predicate { match_type: Some(kind) }
}

fn test(value: &FactTest) -> pb::matcher::matcher_list::predicate::single_predicate::Matcher {
    use pb::matcher::matcher_list::predicate::single_predicate::Matcher;
    match value {
        FactTest::Text(text) => Matcher::ValueMatch(string_match(text)),
        FactTest::Ranges(ranges) => Matcher::CustomMatch(TypedExtensionConfig {
            name: "envoy.matching.matchers.ip".to_owned(),
            typed_config: Some(wire::any(&Ip {
                cidr_ranges: wire::cidrs(ranges),
                stat_prefix: "chain".to_owned(),
            })),
        }),
    }
}

fn string_match(value: &StringMatch) -> pb::StringMatcher {
    use pb::string_matcher::MatchPattern;
    let (pattern, ignore_case) = match value {
        StringMatch::Exact { value, ignore_case } => {
            (MatchPattern::Exact(value.clone()), *ignore_case)
        }
        StringMatch::Prefix { value, ignore_case } => {
            (MatchPattern::Prefix(value.clone()), *ignore_case)
        }
        StringMatch::Suffix { value, ignore_case } => {
            (MatchPattern::Suffix(value.clone()), *ignore_case)
        }
        StringMatch::Contains { value, ignore_case } => {
            (MatchPattern::Contains(value.clone()), *ignore_case)
        }
        StringMatch::Regex(pattern) => {
            use pb::regex_matcher::{EngineType, GoogleRe2};
            let engine_type = Some(EngineType::GoogleRe2(GoogleRe2 {}));
            let regex = pattern.source().to_owned();
            (MatchPattern::SafeRegex(pb::RegexMatcher { regex, engine_type }), false)
        }
    };
    pb::StringMatcher { ignore_case, match_pattern: Some(pattern) }
}

fn input(value: ConnectionInput) -> TypedExtensionConfig {
    let (name, any) = match value {
        ConnectionInput::DestinationAddress => {
            ("destination_ip", wire::any(&inputs::DestinationIpInput {}))
        }
        ConnectionInput::DestinationPort => {
            ("destination_port", wire::any(&inputs::DestinationPortInput {}))
        }
        ConnectionInput::SourceAddress => ("source_ip", wire::any(&inputs::SourceIpInput {})),
        ConnectionInput::SourcePort => ("source_port", wire::any(&inputs::SourcePortInput {})),
        ConnectionInput::DirectSourceAddress => {
            ("direct_source_ip", wire::any(&inputs::DirectSourceIpInput {}))
        }
        ConnectionInput::SourceType => ("source_type", wire::any(&inputs::SourceTypeInput {})),
        ConnectionInput::ServerName => ("server_name", wire::any(&inputs::ServerNameInput {})),
        ConnectionInput::TransportProtocol => {
            ("transport_protocol", wire::any(&inputs::TransportProtocolInput {}))
        }
        ConnectionInput::ApplicationProtocols => {
            ("application_protocol", wire::any(&inputs::ApplicationProtocolInput {}))
        }
    };
    TypedExtensionConfig { name: format!("envoy.matching.inputs.{name}"), typed_config: Some(any) }
}
