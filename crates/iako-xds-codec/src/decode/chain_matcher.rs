//! Trees of conditions that choose a filter chain.

use iako_xds_api::envoy::extensions::matching::common_inputs::network::v3 as inputs;
use iako_xds_api::envoy::extensions::matching::input_matchers::ip::v3::Ip;
use iako_xds_api::xds::core::v3::TypedExtensionConfig;
use iako_xds_api::xds::r#type::matcher::v3 as pb;
use prost::Name as _;

use super::{matcher as texts, wire};
use crate::pool;
use crate::problem::{At, Fault};
use iako_proxy_config::{
    ChainChoice, ChainMatcher, ChainRule, ChainRules, ConnectionCondition, ConnectionInput,
    FactTest, StringMatch, TreeKind,
};

/// The message in which Envoy is told the name of a chain.
const CHAIN_NAME: &str = "google.protobuf.StringValue";

pub(super) fn matcher(message: &pb::Matcher, at: &At<'_>) -> Result<ChainMatcher, Fault> {
    use pb::matcher::MatcherType;
    let rules = match &message.matcher_type {
        Some(MatcherType::MatcherList(list)) => {
            let at = at.field("matcher_list");
            let at = at.field("matchers");
            if list.matchers.is_empty() {
                return Err(at.missing("write at least one"));
            }
            ChainRules::List(wire::list(&list.matchers, &at, rule)?)
        }
        Some(MatcherType::MatcherTree(tree)) => self::tree(tree, &at.field("matcher_tree"))?,
        None => return Err(at.missing("write `matcher_list` or `matcher_tree`")),
    };
    let at_otherwise = at.field("on_no_match");
    let otherwise = message.on_no_match.as_deref();
    Ok(ChainMatcher {
        rules,
        otherwise: otherwise.map(|otherwise| choice(otherwise, &at_otherwise)).transpose()?,
    })
}

fn rule(
    message: &pb::matcher::matcher_list::FieldMatcher,
    at: &At<'_>,
) -> Result<ChainRule, Fault> {
    let (at_when, at_then) = (at.field("predicate"), at.field("on_match"));
    let when = message.predicate.as_ref().ok_or_else(|| at_when.missing("write a condition"))?;
    let then = message.on_match.as_ref().ok_or_else(|| at_then.missing("write what follows"))?;
    Ok(ChainRule { when: condition(when, &at_when)?, then: choice(then, &at_then)? })
}

fn choice(message: &pb::matcher::OnMatch, at: &At<'_>) -> Result<ChainChoice, Fault> {
    use pb::matcher::on_match::OnMatch;
    if message.keep_matching {
        let help = "leave it out: the first chain that is found counts";
        return Err(at.field("keep_matching").invalid("is not supported here", help));
    }
    match &message.on_match {
        Some(OnMatch::Matcher(inner)) => {
            Ok(ChainChoice::Matcher(Box::new(matcher(inner, &at.field("matcher"))?)))
        }
        Some(OnMatch::Action(action)) => {
            let at = at.field("action");
            let at = at.field("typed_config");
            match &action.typed_config {
                Some(any) if pool::full_name(&any.type_url) == CHAIN_NAME => {
                    let name: String = prost::Message::decode(any.value.as_slice())
                        .map_err(|_broken| at.invalid("is no text", "write the chain's name"))?;
                    Ok(ChainChoice::Chain(name))
                }
                Some(_) | None => {
                    let help = "write a google.protobuf.StringValue with the chain's name";
                    Err(at.invalid("does not name a filter chain", help))
                }
            }
        }
        None => Err(at.missing("write `action` or `matcher`")),
    }
}

fn tree(message: &pb::matcher::MatcherTree, at: &At<'_>) -> Result<ChainRules, Fault> {
    use pb::matcher::matcher_tree::TreeType;
    let (map, kind, field) = match &message.tree_type {
        Some(TreeType::ExactMatchMap(map)) => (map, TreeKind::Exact, "exact_match_map"),
        Some(TreeType::PrefixMatchMap(map)) => (map, TreeKind::Prefix, "prefix_match_map"),
        Some(TreeType::CustomMatch(_)) => {
            let help = "write exact_match_map, or a matcher_list with the `ip` matcher";
            return Err(at.field("custom_match").invalid("is not supported", help));
        }
        None => return Err(at.missing("write exact_match_map or prefix_match_map")),
    };
    let at_map = at.field(field);
    let at_map = at_map.field("map");
    let branches =
        map.map.iter().map(|(text, then)| Ok((text.clone(), choice(then, &at_map.key(text))?)));
    let input = input(message.input.as_ref(), &at.field("input"))?;
    Ok(ChainRules::Tree { input, kind, branches: branches.collect::<Result<_, Fault>>()? })
}

fn condition(
    message: &pb::matcher::matcher_list::Predicate,
    at: &At<'_>,
) -> Result<ConnectionCondition, Fault> {
    use pb::matcher::matcher_list::predicate::{MatchType, PredicateList};
    let all = |list: &PredicateList, at: &At<'_>| {
        let at = at.field("predicate");
        if list.predicate.len() < 2 {
            return Err(at.invalid("has fewer than two conditions", "write at least two"));
        }
        wire::list(&list.predicate, &at, condition)
    };
    Ok(match &message.match_type {
        Some(MatchType::SinglePredicate(single)) => {
            let at = at.field("single_predicate");
            ConnectionCondition::Fact {
                input: input(single.input.as_ref(), &at.field("input"))?,
                test: test(single, &at)?,
            }
        }
        Some(MatchType::OrMatcher(list)) => {
            ConnectionCondition::Or(all(list, &at.field("or_matcher"))?)
        }
        Some(MatchType::AndMatcher(list)) => {
            ConnectionCondition::And(all(list, &at.field("and_matcher"))?)
        }
        Some(MatchType::NotMatcher(inner)) => {
            ConnectionCondition::Not(Box::new(condition(inner, &at.field("not_matcher"))?))
        }
        None => return Err(at.missing("write a condition, such as `single_predicate`")),
    })
}

fn test(
    single: &pb::matcher::matcher_list::predicate::SinglePredicate,
    at: &At<'_>,
) -> Result<FactTest, Fault> {
    use pb::matcher::matcher_list::predicate::single_predicate::Matcher;
    match &single.matcher {
        Some(Matcher::ValueMatch(text)) => {
            Ok(FactTest::Text(string_match(text, &at.field("value_match"))?))
        }
        Some(Matcher::CustomMatch(extension)) => {
            let at = at.field("custom_match");
            let at = at.field("typed_config");
            let any = extension.typed_config.as_ref();
            match any.filter(|any| pool::full_name(&any.type_url) == Ip::full_name()) {
                Some(any) => {
                    let ip: Ip = wire::unpack(any, &at)?;
                    Ok(FactTest::Ranges(wire::cidrs(&ip.cidr_ranges, &at.field("cidr_ranges"))?))
                }
                None => Err(at.invalid("is not supported", "use the `ip` matcher or value_match")),
            }
        }
        None => Err(at.missing("write `value_match`")),
    }
}

fn string_match(message: &pb::StringMatcher, at: &At<'_>) -> Result<StringMatch, Fault> {
    use pb::string_matcher::MatchPattern;
    let ignore_case = message.ignore_case;
    Ok(match &message.match_pattern {
        Some(MatchPattern::Exact(value)) => {
            StringMatch::Exact { value: value.clone(), ignore_case }
        }
        Some(MatchPattern::Prefix(value)) => {
            StringMatch::Prefix { value: value.clone(), ignore_case }
        }
        Some(MatchPattern::Suffix(value)) => {
            StringMatch::Suffix { value: value.clone(), ignore_case }
        }
        Some(MatchPattern::Contains(value)) => {
            StringMatch::Contains { value: value.clone(), ignore_case }
        }
        Some(MatchPattern::SafeRegex(regex)) => {
            StringMatch::Regex(texts::pattern(&regex.regex, &at.field("safe_regex"))?)
        }
        Some(_) => {
            return Err(at.invalid("is not supported", "use exact, prefix, suffix or safe_regex"));
        }
        None => return Err(at.missing("write exact, prefix, suffix, contains or safe_regex")),
    })
}

fn input(message: Option<&TypedExtensionConfig>, at: &At<'_>) -> Result<ConnectionInput, Fault> {
    let at = at.field("typed_config");
    let any = message.and_then(|input| input.typed_config.as_ref());
    let any = any.ok_or_else(|| at.missing("name the fact with `@type`"))?;
    let name = pool::full_name(&any.type_url);
    let known = [
        (inputs::DestinationIpInput::full_name(), ConnectionInput::DestinationAddress),
        (inputs::DestinationPortInput::full_name(), ConnectionInput::DestinationPort),
        (inputs::SourceIpInput::full_name(), ConnectionInput::SourceAddress),
        (inputs::SourcePortInput::full_name(), ConnectionInput::SourcePort),
        (inputs::DirectSourceIpInput::full_name(), ConnectionInput::DirectSourceAddress),
        (inputs::SourceTypeInput::full_name(), ConnectionInput::SourceType),
        (inputs::ServerNameInput::full_name(), ConnectionInput::ServerName),
        (inputs::TransportProtocolInput::full_name(), ConnectionInput::TransportProtocol),
        (inputs::ApplicationProtocolInput::full_name(), ConnectionInput::ApplicationProtocols),
    ];
    let found = known.into_iter().find(|(known, _)| known == name);
    found.map(|(_, input)| input).ok_or_else(|| {
        let help = "use a network input: addresses, ports, source type, server name, protocols";
        at.invalid(format!("`{name}` is not supported as a fact"), help)
    })
}
