//! Trees of conditions that choose an action.

use std::collections::BTreeMap;

use iako_xds_api::envoy::extensions::matching as ext;
use iako_xds_api::envoy::r#type::matcher::v3 as text_pb;
use iako_xds_api::xds::core::v3::TypedExtensionConfig;
use iako_xds_api::xds::r#type::matcher::v3 as pb;
use pb::matcher as inner;
use prost::{Message as _, Name as _};
use prost_types::Any;

use super::{expression, matcher, wire};
use crate::pool;
use crate::problem::{At, Fault};
use iako_proxy_config::{
    ConnectionInput, MatchCheck, MatchInput, MatchNode, MatchOutcome, MatchPredicate, MatchRule,
    MatchThen, MatchTree, MetadataMatch, ResponseInput,
};

/// How an action of a tree is read.
pub(super) type ReadAction<'a, A> = &'a dyn Fn(&Any, &At<'_>) -> Result<A, Fault>;

/// Reads a tree whose actions `action` understands.
pub(super) fn tree<A, I: Input>(
    config: &pb::Matcher,
    at: &At<'_>,
    action: ReadAction<'_, A>,
) -> Result<MatchTree<A, I>, Fault> {
    let node = match &config.matcher_type {
        Some(inner::MatcherType::MatcherList(list)) => {
            let at = at.field("matcher_list");
            let at = at.field("matchers");
            if list.matchers.is_empty() {
                return Err(at.missing("write at least one"));
            }
            let entries =
                wire::list(&list.matchers, &at, |entry, at| field_matcher(entry, at, action));
            MatchNode::List(entries?)
        }
        Some(inner::MatcherType::MatcherTree(tree)) => {
            by_text(tree, &at.field("matcher_tree"), action)?
        }
        None => MatchNode::Never,
    };
    let at_otherwise = at.field("on_no_match");
    let otherwise = config.on_no_match.as_ref();
    let otherwise = otherwise.map(|then| outcome(then, &at_otherwise, action)).transpose()?;
    Ok(MatchTree { node, otherwise: otherwise.map(Box::new) })
}

fn field_matcher<A, I: Input>(
    entry: &inner::matcher_list::FieldMatcher,
    at: &At<'_>,
    action: ReadAction<'_, A>,
) -> Result<MatchRule<A, I>, Fault> {
    let (at_predicate, at_match) = (at.field("predicate"), at.field("on_match"));
    let wanted =
        entry.predicate.as_ref().ok_or_else(|| at_predicate.missing("write a condition"))?;
    let then =
        entry.on_match.as_ref().ok_or_else(|| at_match.missing("write `action` or `matcher`"))?;
    Ok((predicate(wanted, &at_predicate)?, outcome(then, &at_match, action)?))
}

fn outcome<A, I: Input>(
    config: &inner::OnMatch,
    at: &At<'_>,
    action: ReadAction<'_, A>,
) -> Result<MatchOutcome<A, I>, Fault> {
    let then = match &config.on_match {
        Some(inner::on_match::OnMatch::Matcher(config)) => {
            MatchThen::Tree(Box::new(tree(config, &at.field("matcher"), action)?))
        }
        Some(inner::on_match::OnMatch::Action(extension)) => {
            let at = at.field("action");
            MatchThen::Action(action(settings(extension, &at)?, &at.field("typed_config"))?)
        }
        None => return Err(at.missing("write `action` or `matcher`")),
    };
    Ok(MatchOutcome { then, keep_matching: config.keep_matching })
}

fn settings<'c>(extension: &'c TypedExtensionConfig, at: &At<'_>) -> Result<&'c Any, Fault> {
    let at = at.field("typed_config");
    extension.typed_config.as_ref().ok_or_else(|| at.missing("write settings with `@type`"))
}

fn by_text<A, I: Input>(
    config: &inner::MatcherTree,
    at: &At<'_>,
    action: ReadAction<'_, A>,
) -> Result<MatchNode<A, I>, Fault> {
    use inner::matcher_tree::TreeType;
    let input = input::<I>(config.input.as_ref(), &at.field("input"))?;
    let outcomes = |map: &inner::matcher_tree::MatchMap, at: &At<'_>| {
        let at = at.field("map");
        if map.map.is_empty() {
            return Err(at.missing("write at least one entry"));
        }
        let entries = map
            .map
            .iter()
            .map(|(text, then)| Ok((text.clone(), outcome(then, &at.key(text), action)?)));
        entries.collect::<Result<BTreeMap<_, _>, Fault>>()
    };
    match &config.tree_type {
        Some(TreeType::ExactMatchMap(map)) => {
            let outcomes = outcomes(map, &at.field("exact_match_map"))?;
            Ok(MatchNode::Exact { input, outcomes })
        }
        Some(TreeType::PrefixMatchMap(map)) => {
            let outcomes = outcomes(map, &at.field("prefix_match_map"))?;
            Ok(MatchNode::Prefix { input, outcomes })
        }
        Some(TreeType::CustomMatch(extension)) => {
            let name = extension.typed_config.as_ref().map_or("", |any| any.type_url.as_str());
            let problem = format!("`{}` is not supported", pool::full_name(name));
            let help = "use exact_match_map, prefix_match_map or matcher_list";
            Err(at.field("custom_match").invalid(problem, help))
        }
        None => Err(at.missing("write exact_match_map or prefix_match_map")),
    }
}

fn predicate<I: Input>(
    config: &inner::matcher_list::Predicate,
    at: &At<'_>,
) -> Result<MatchPredicate<I>, Fault> {
    use inner::matcher_list::predicate::{MatchType, PredicateList};
    let several = |list: &PredicateList, at: &At<'_>| {
        let at = at.field("predicate");
        if list.predicate.len() < 2 {
            return Err(at.invalid("has fewer than two conditions", "write two or more"));
        }
        wire::list(&list.predicate, &at, predicate)
    };
    Ok(match &config.match_type {
        Some(MatchType::SinglePredicate(single)) => {
            single_predicate(single, &at.field("single_predicate"))?
        }
        Some(MatchType::OrMatcher(list)) => {
            MatchPredicate::Any(several(list, &at.field("or_matcher"))?)
        }
        Some(MatchType::AndMatcher(list)) => {
            MatchPredicate::All(several(list, &at.field("and_matcher"))?)
        }
        Some(MatchType::NotMatcher(one)) => {
            MatchPredicate::Not(Box::new(predicate(one, &at.field("not_matcher"))?))
        }
        None => return Err(at.missing("write a condition")),
    })
}

fn single_predicate<I: Input>(
    config: &inner::matcher_list::predicate::SinglePredicate,
    at: &At<'_>,
) -> Result<MatchPredicate<I>, Fault> {
    use inner::matcher_list::predicate::single_predicate::Matcher;
    let input = input::<I>(config.input.as_ref(), &at.field("input"))?;
    if input.is_for_expressions() {
        let check = asked(config, at)?;
        return Ok(MatchPredicate::Single { input, check });
    }
    let check = match &config.matcher {
        Some(Matcher::ValueMatch(value)) => {
            let at = at.field("value_match");
            // The two schemas of this message have the same fields.
            let value = text_pb::StringMatcher::decode(value.encode_to_vec().as_slice())
                .map_err(|error| at.invalid(error.to_string(), "write a string match"))?;
            MatchCheck::Text(matcher::text(&value, &at)?)
        }
        Some(Matcher::CustomMatch(extension)) => {
            let at = at.field("custom_match");
            custom(settings(extension, &at)?, input.connection(), &at.field("typed_config"))?
        }
        None => return Err(at.missing("write value_match or custom_match")),
    };
    Ok(MatchPredicate::Single { input, check })
}

/// An expression about attributes.
fn asked(
    config: &inner::matcher_list::predicate::SinglePredicate,
    at: &At<'_>,
) -> Result<MatchCheck, Fault> {
    use inner::matcher_list::predicate::single_predicate::Matcher;
    let at = at.field("custom_match");
    let help = "ask an expression by an xds.type.matcher.v3.CelMatcher";
    let Some(Matcher::CustomMatch(extension)) = &config.matcher else {
        return Err(at.missing(help));
    };
    let any = settings(extension, &at)?;
    let at = at.field("typed_config");
    if pool::full_name(&any.type_url) != pb::CelMatcher::full_name() {
        let problem = format!("`{}` asks no expression", pool::full_name(&any.type_url));
        return Err(at.invalid(problem, help));
    }
    let config: pb::CelMatcher = wire::unpack(any, &at)?;
    let at = at.field("expr_match");
    let wanted = config.expr_match.as_ref().ok_or_else(|| at.missing("write an expression"))?;
    let found = expression::any(wanted, &at)?;
    super::rbac::known(&found, &at)?;
    Ok(MatchCheck::Expression(found))
}

fn custom(any: &Any, input: Option<&ConnectionInput>, at: &At<'_>) -> Result<MatchCheck, Fault> {
    use ext::input_matchers::{consistent_hashing, ip, metadata, runtime_fraction};
    let name = pool::full_name(&any.type_url);
    if name == ip::v3::Ip::full_name() {
        let config: ip::v3::Ip = wire::unpack(any, at)?;
        return Ok(MatchCheck::Ip(wire::cidrs(&config.cidr_ranges, &at.field("cidr_ranges"))?));
    }
    if name == runtime_fraction::v3::RuntimeFraction::full_name() {
        let config: runtime_fraction::v3::RuntimeFraction = wire::unpack(any, at)?;
        let at = at.field("runtime_fraction");
        let share = config.runtime_fraction.as_ref();
        let share = share.and_then(|share| share.default_value.as_ref());
        let at = at.field("default_value");
        let share = share.ok_or_else(|| at.missing("write which share of all"))?;
        return Ok(MatchCheck::Share { share: wire::parts(share, &at)?, seed: config.seed });
    }
    if name == consistent_hashing::v3::ConsistentHashing::full_name() {
        let config: consistent_hashing::v3::ConsistentHashing = wire::unpack(any, at)?;
        return Ok(MatchCheck::Hash {
            threshold: config.threshold,
            modulo: wire::non_zero(config.modulo, &at.field("modulo"))?,
            seed: config.seed,
        });
    }
    if name == metadata::v3::Metadata::full_name() {
        let config: metadata::v3::Metadata = wire::unpack(any, at)?;
        let Some(ConnectionInput::DynamicMetadata { filter, path }) = input else {
            let help = "look at it by DynamicMetadataInput";
            return Err(at.invalid("is not for this input", help));
        };
        let at_value = at.field("value");
        let wanted =
            config.value.as_ref().ok_or_else(|| at_value.missing("write what it must be"))?;
        return Ok(MatchCheck::Metadata(Box::new(MetadataMatch {
            filter: filter.clone(),
            path: path.clone(),
            value: matcher::value(wanted, &at_value)?,
            invert: config.invert,
        })));
    }
    Err(at.invalid(format!("`{name}` is not supported"), "use value_match"))
}

fn input<I: Input>(extension: Option<&TypedExtensionConfig>, at: &At<'_>) -> Result<I, Fault> {
    let extension = extension.ok_or_else(|| at.missing("write what is looked at"))?;
    let any = settings(extension, at)?;
    I::read(any, &at.field("typed_config"))
}

/// What trees of one kind look at.
pub(super) trait Input: Sized {
    /// Reads an input.
    fn read(any: &Any, at: &At<'_>) -> Result<Self, Fault>;

    /// What is looked at of the connection.
    fn connection(&self) -> Option<&ConnectionInput>;

    /// Whether it is what expressions ask about.
    fn is_for_expressions(&self) -> bool {
        false
    }
}

impl Input for MatchInput {
    fn read(any: &Any, at: &At<'_>) -> Result<Self, Fault> {
        let name = pool::full_name(&any.type_url);
        if name == text_pb::HttpRequestHeaderMatchInput::full_name() {
            let config: text_pb::HttpRequestHeaderMatchInput = wire::unpack(any, at)?;
            let header = wire::header_name(&config.header_name, &at.field("header_name"))?;
            return Ok(Self::RequestHeader(header));
        }
        if name == text_pb::HttpRequestQueryParamMatchInput::full_name() {
            let config: text_pb::HttpRequestQueryParamMatchInput = wire::unpack(any, at)?;
            return Ok(Self::QueryParameter(config.query_param));
        }
        if name == pb::HttpAttributesCelMatchInput::full_name() {
            return Ok(Self::Attributes);
        }
        let help = "look at a request header, a query parameter, or something about the connection";
        connection_input(any, at, help).map(Self::Connection)
    }

    fn connection(&self) -> Option<&ConnectionInput> {
        match self {
            Self::Connection(input) => Some(input),
            Self::RequestHeader(_) | Self::QueryParameter(_) | Self::Attributes => None,
        }
    }

    fn is_for_expressions(&self) -> bool {
        *self == Self::Attributes
    }
}

impl Input for ResponseInput {
    fn read(any: &Any, at: &At<'_>) -> Result<Self, Fault> {
        let name = pool::full_name(&any.type_url);
        if name == text_pb::HttpResponseStatusCodeMatchInput::full_name() {
            return Ok(Self::Status);
        }
        if name == text_pb::HttpResponseStatusCodeClassMatchInput::full_name() {
            return Ok(Self::StatusClass);
        }
        if name == text_pb::HttpResponseHeaderMatchInput::full_name() {
            let config: text_pb::HttpResponseHeaderMatchInput = wire::unpack(any, at)?;
            let header = wire::header_name(&config.header_name, &at.field("header_name"))?;
            return Ok(Self::Header(header));
        }
        MatchInput::read(any, at).map(Self::Request)
    }

    fn connection(&self) -> Option<&ConnectionInput> {
        match self {
            Self::Request(input) => input.connection(),
            Self::Status | Self::StatusClass | Self::Header(_) => None,
        }
    }

    fn is_for_expressions(&self) -> bool {
        *self == Self::Request(MatchInput::Attributes)
    }
}

impl Input for ConnectionInput {
    fn read(any: &Any, at: &At<'_>) -> Result<Self, Fault> {
        let help = "look at addresses, ports, source type, server name, protocols, or at what \
                    listener filters left";
        connection_input(any, at, help)
    }

    fn connection(&self) -> Option<&ConnectionInput> {
        Some(self)
    }
}

fn connection_input(any: &Any, at: &At<'_>, help: &str) -> Result<ConnectionInput, Fault> {
    use ext::common_inputs::network::v3 as network;
    let name = pool::full_name(&any.type_url);
    if let Some((_, input)) = plain_inputs().into_iter().find(|(own, _)| own == name) {
        return Ok(input);
    }
    if name == network::FilterStateInput::full_name() {
        let config: network::FilterStateInput = wire::unpack(any, at)?;
        return Ok(ConnectionInput::FilterState(config.key));
    }
    if name == network::DynamicMetadataInput::full_name() {
        use network::dynamic_metadata_input::path_segment::Segment;
        let config: network::DynamicMetadataInput = wire::unpack(any, at)?;
        let path =
            wire::list(&config.path, &at.field("path"), |segment, at| match &segment.segment {
                Some(Segment::Key(key)) => Ok(key.clone()),
                None => Err(at.missing("write a `key`")),
            })?;
        return Ok(ConnectionInput::DynamicMetadata { filter: config.filter, path });
    }
    Err(at.invalid(format!("`{name}` is not supported"), help))
}

/// Inputs without settings, by the type that names them.
pub(crate) fn plain_inputs() -> [(String, ConnectionInput); 12] {
    use ext::common_inputs::{network::v3 as network, ssl::v3 as ssl};
    [
        (network::DestinationIpInput::full_name(), ConnectionInput::DestinationIp),
        (network::DestinationPortInput::full_name(), ConnectionInput::DestinationPort),
        (network::SourceIpInput::full_name(), ConnectionInput::SourceIp),
        (network::SourcePortInput::full_name(), ConnectionInput::SourcePort),
        (network::DirectSourceIpInput::full_name(), ConnectionInput::DirectSourceIp),
        (network::SourceTypeInput::full_name(), ConnectionInput::SourceType),
        (network::ServerNameInput::full_name(), ConnectionInput::ServerName),
        (network::TransportProtocolInput::full_name(), ConnectionInput::TransportProtocol),
        (network::ApplicationProtocolInput::full_name(), ConnectionInput::ApplicationProtocol),
        (ssl::UriSanInput::full_name(), ConnectionInput::UriSan),
        (ssl::DnsSanInput::full_name(), ConnectionInput::DnsSan),
        (ssl::SubjectInput::full_name(), ConnectionInput::Subject),
    ]
}
