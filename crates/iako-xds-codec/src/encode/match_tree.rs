//! Trees of conditions that choose an action.

use std::collections::BTreeMap;

use iako_xds_api::envoy::config::core::v3 as core;
use iako_xds_api::envoy::extensions::matching as ext;
use iako_xds_api::envoy::r#type::matcher::v3 as text_pb;
use iako_xds_api::xds::core::v3::TypedExtensionConfig;
use iako_xds_api::xds::r#type::matcher::v3 as pb;
use pb::matcher as inner;
use prost::Message as _;
use prost_types::Any;

use super::{expression, matcher, wire};
use crate::decode::plain_inputs;
use iako_proxy_config::{
    ConnectionInput, MatchCheck, MatchInput, MatchNode, MatchOutcome, MatchPredicate, MatchThen,
    MatchTree, ResponseInput,
};

/// Writes a tree; `action` gives the message of an action.
pub(super) fn tree<A, I: Input>(
    value: &MatchTree<A, I>,
    action: &dyn Fn(&A) -> Any,
) -> pb::Matcher {
    let map = |outcomes: &BTreeMap<String, MatchOutcome<A, I>>| inner::matcher_tree::MatchMap {
        map: outcomes.iter().map(|(text, then)| (text.clone(), outcome(then, action))).collect(),
    };
    let by_text = |input: &I, tree_type| {
        inner::MatcherType::MatcherTree(inner::MatcherTree {
            input: Some(named("input", input.any())),
            tree_type: Some(tree_type),
        })
    };
    use inner::matcher_tree::TreeType;
    let matcher_type = match &value.node {
        MatchNode::Never => None,
        MatchNode::List(entries) => {
            let matchers = entries.iter().map(|(wanted, then)| inner::matcher_list::FieldMatcher {
                predicate: Some(predicate(wanted)),
                on_match: Some(outcome(then, action)),
            });
            let list = inner::MatcherList { matchers: matchers.collect() };
            Some(inner::MatcherType::MatcherList(list))
        }
        MatchNode::Exact { input, outcomes } => {
            Some(by_text(input, TreeType::ExactMatchMap(map(outcomes))))
        }
        MatchNode::Prefix { input, outcomes } => {
            Some(by_text(input, TreeType::PrefixMatchMap(map(outcomes))))
        }
    };
    let otherwise = value.otherwise.as_ref().map(|then| Box::new(outcome(then, action)));
    pb::Matcher { on_no_match: otherwise, matcher_type }
}

fn outcome<A, I: Input>(value: &MatchOutcome<A, I>, action: &dyn Fn(&A) -> Any) -> inner::OnMatch {
    use inner::on_match::OnMatch;
    let then = match &value.then {
        MatchThen::Action(one) => OnMatch::Action(named("action", action(one))),
        MatchThen::Tree(further) => OnMatch::Matcher(Box::new(tree(further, action))),
    };
    inner::OnMatch { keep_matching: value.keep_matching, on_match: Some(then) }
}

fn named(name: &str, any: Any) -> TypedExtensionConfig {
    TypedExtensionConfig { name: name.to_owned(), typed_config: Some(any) }
}

fn predicate<I: Input>(value: &MatchPredicate<I>) -> inner::matcher_list::Predicate {
    use inner::matcher_list::predicate::single_predicate::Matcher;
    use inner::matcher_list::predicate::{MatchType, PredicateList, SinglePredicate};
    let several = |values: &[MatchPredicate<I>]| PredicateList {
        predicate: values.iter().map(predicate::<I>).collect(),
    };
    let kind = match value {
        MatchPredicate::Any(values) => MatchType::OrMatcher(several(values)),
        MatchPredicate::All(values) => MatchType::AndMatcher(several(values)),
        MatchPredicate::Not(one) => MatchType::NotMatcher(Box::new(predicate(one))),
        MatchPredicate::Single { input: looked_at, check } => {
            let matcher = match check {
                MatchCheck::Text(wanted) => {
                    // The two schemas of this message have the same fields.
                    let bytes = matcher::text(wanted).encode_to_vec();
                    Matcher::ValueMatch(
                        pb::StringMatcher::decode(bytes.as_slice()).unwrap_or_default(),
                    )
                }
                MatchCheck::Ip(_)
                | MatchCheck::Share { .. }
                | MatchCheck::Hash { .. }
                | MatchCheck::Metadata(_)
                | MatchCheck::Expression(_) => Matcher::CustomMatch(named("check", custom(check))),
            };
            let input = Some(named("input", looked_at.any()));
            MatchType::SinglePredicate(SinglePredicate { input, matcher: Some(matcher) })
        }
    };
    inner::matcher_list::Predicate { match_type: Some(kind) }
}

fn custom(check: &MatchCheck) -> Any {
    use ext::input_matchers::{consistent_hashing, ip, metadata, runtime_fraction};
    match check {
        MatchCheck::Text(_) => Any::default(),
        MatchCheck::Ip(ranges) => wire::any(&ip::v3::Ip {
            cidr_ranges: wire::cidrs(ranges),
            stat_prefix: "ip".to_owned(),
        }),
        MatchCheck::Share { share, seed } => wire::any(&runtime_fraction::v3::RuntimeFraction {
            runtime_fraction: Some(core::RuntimeFractionalPercent {
                default_value: Some(wire::parts(*share)),
                ..Default::default()
            }),
            seed: *seed,
        }),
        MatchCheck::Hash { threshold, modulo, seed } => {
            wire::any(&consistent_hashing::v3::ConsistentHashing {
                threshold: *threshold,
                modulo: modulo.get(),
                seed: *seed,
            })
        }
        MatchCheck::Metadata(wanted) => wire::any(&metadata::v3::Metadata {
            value: Some(matcher::metadata_value(&wanted.value)),
            invert: wanted.invert,
        }),
        MatchCheck::Expression(wanted) => wire::any(&pb::CelMatcher {
            expr_match: Some(expression::any(wanted)),
            description: String::new(),
        }),
    }
}

/// What trees of one kind look at.
pub(super) trait Input {
    /// The message of an input.
    fn any(&self) -> Any;
}

impl Input for MatchInput {
    fn any(&self) -> Any {
        match self {
            Self::RequestHeader(name) => wire::any(&text_pb::HttpRequestHeaderMatchInput {
                header_name: name.as_str().to_owned(),
            }),
            Self::QueryParameter(name) => {
                wire::any(&text_pb::HttpRequestQueryParamMatchInput { query_param: name.clone() })
            }
            Self::Attributes => wire::any(&pb::HttpAttributesCelMatchInput {}),
            Self::Connection(input) => input.any(),
        }
    }
}

impl Input for ResponseInput {
    fn any(&self) -> Any {
        match self {
            Self::Status => wire::any(&text_pb::HttpResponseStatusCodeMatchInput {}),
            Self::StatusClass => wire::any(&text_pb::HttpResponseStatusCodeClassMatchInput {}),
            Self::Header(name) => wire::any(&text_pb::HttpResponseHeaderMatchInput {
                header_name: name.as_str().to_owned(),
            }),
            Self::Request(input) => input.any(),
        }
    }
}

impl Input for ConnectionInput {
    fn any(&self) -> Any {
        use ext::common_inputs::network::v3 as network;
        match self {
            Self::FilterState(key) => {
                wire::any(&network::FilterStateInput { key: key.clone(), ..Default::default() })
            }
            Self::DynamicMetadata { filter, path } => {
                use network::dynamic_metadata_input::{PathSegment, path_segment::Segment};
                let segment =
                    |key: &String| PathSegment { segment: Some(Segment::Key(key.clone())) };
                wire::any(&network::DynamicMetadataInput {
                    filter: filter.clone(),
                    path: path.iter().map(segment).collect(),
                })
            }
            Self::DestinationIp
            | Self::DestinationPort
            | Self::SourceIp
            | Self::SourcePort
            | Self::DirectSourceIp
            | Self::SourceType
            | Self::ServerName
            | Self::TransportProtocol
            | Self::ApplicationProtocol
            | Self::UriSan
            | Self::DnsSan
            | Self::Subject => {
                let name = plain_inputs().into_iter().find(|(_, input)| input == self);
                let name = name.map(|(name, _)| name).unwrap_or_default();
                Any { type_url: format!("type.googleapis.com/{name}"), value: Vec::new() }
            }
        }
    }
}
