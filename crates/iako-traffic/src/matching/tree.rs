//! Choosing an action by a tree of conditions.

use std::borrow::Cow;
use std::net::IpAddr;
use std::ops::Bound::{Included, Unbounded};

use iako_proxy_config::{
    MatchCheck, MatchInput, MatchNode, MatchOutcome, MatchPredicate, MatchThen, MatchTree,
};

use super::{header_texts, metadata_matches};
use crate::{ConnectionInfo, RequestFacts, text::query_value};

/// The action that a tree chooses for a request; none when nothing matches. `draw` decides on
/// random shares.
///
/// An outcome that is to be passed over, and a further tree that chooses nothing, count as no match:
/// the search goes on with what follows.
#[must_use]
pub fn choose_action<'t, A>(
    tree: &'t MatchTree<A>,
    facts: &RequestFacts<'_>,
    draw: u64,
) -> Option<&'t A> {
    let found = match &tree.node {
        MatchNode::Never => None,
        MatchNode::List(entries) => entries
            .iter()
            .filter(|(wanted, _)| is_met(wanted, facts, draw))
            .find_map(|(_, outcome)| follow(outcome, facts, draw)),
        MatchNode::Exact { input, outcomes } => text_of(input, facts)
            .and_then(|text| outcomes.get(text.as_ref()))
            .and_then(|outcome| follow(outcome, facts, draw)),
        MatchNode::Prefix { input, outcomes } => text_of(input, facts).and_then(|text| {
            // Of the starts of one text, a longer one sorts after a shorter one.
            let starts = outcomes.range::<str, _>((Unbounded, Included(text.as_ref()))).rev();
            let mut starts = starts.filter(|(start, _)| text.starts_with(start.as_str()));
            starts.find_map(|(_, outcome)| follow(outcome, facts, draw))
        }),
    };
    found.or_else(|| follow(tree.otherwise.as_deref()?, facts, draw))
}

fn follow<'t, A>(
    outcome: &'t MatchOutcome<A>,
    facts: &RequestFacts<'_>,
    draw: u64,
) -> Option<&'t A> {
    let action = match &outcome.then {
        MatchThen::Action(action) => Some(action),
        MatchThen::Tree(tree) => choose_action(tree, facts, draw),
    };
    action.filter(|_| !outcome.keep_matching)
}

fn is_met(wanted: &MatchPredicate, facts: &RequestFacts<'_>, draw: u64) -> bool {
    match wanted {
        MatchPredicate::Any(wanted) => wanted.iter().any(|one| is_met(one, facts, draw)),
        MatchPredicate::All(wanted) => wanted.iter().all(|one| is_met(one, facts, draw)),
        MatchPredicate::Not(wanted) => !is_met(wanted, facts, draw),
        MatchPredicate::Single { input, check } => match check {
            MatchCheck::Metadata(wanted) => metadata_matches(wanted, facts.metadata),
            MatchCheck::Share(share) => share.takes(draw),
            MatchCheck::Text(wanted) => {
                text_of(input, facts).is_some_and(|text| wanted.matches(&text))
            }
            MatchCheck::Ip(ranges) => text_of(input, facts)
                .and_then(|text| text.parse::<IpAddr>().ok())
                .is_some_and(|address| ranges.iter().any(|range| range.contains(&address))),
        },
    }
}

/// The text that a tree looks at; none when there is none.
fn text_of<'a>(input: &MatchInput, facts: &RequestFacts<'a>) -> Option<Cow<'a, str>> {
    match input {
        MatchInput::RequestHeader(name) => {
            let mut values = header_texts(&facts.head, name.as_str());
            let first = values.next()?;
            Some(values.fold(first, |all, value| Cow::Owned(format!("{all},{value}"))))
        }
        MatchInput::QueryParameter(name) => {
            query_value(facts.head.query(), name).map(Cow::Borrowed)
        }
        MatchInput::FilterState(key) => {
            facts.metadata.state(key).map(|value| Cow::Owned(value.to_owned()))
        }
        MatchInput::DynamicMetadata { filter, path } => {
            let value = facts.metadata.find(filter, path)?;
            value.as_str().map(|text| Cow::Owned(text.to_owned()))
        }
        MatchInput::DestinationIp
        | MatchInput::DestinationPort
        | MatchInput::SourceIp
        | MatchInput::SourcePort
        | MatchInput::DirectSourceIp
        | MatchInput::SourceType
        | MatchInput::ServerName
        | MatchInput::TransportProtocol
        | MatchInput::ApplicationProtocol
        | MatchInput::UriSan
        | MatchInput::DnsSan
        | MatchInput::Subject => connection_text(input, facts.connection),
    }
}

/// What a tree looks at when it is about the connection alone.
#[must_use]
pub fn connection_text<'c>(
    input: &MatchInput,
    connection: &'c ConnectionInfo,
) -> Option<Cow<'c, str>> {
    let filled = |text: &'c str| (!text.is_empty()).then_some(Cow::Borrowed(text));
    let number = |number: u16| Some(Cow::Owned(number.to_string()));
    let address = |address: IpAddr| Some(Cow::Owned(address.to_string()));
    let peer = connection.peer();
    match input {
        MatchInput::DestinationIp => address(connection.original_destination.ip()),
        MatchInput::DestinationPort => number(connection.original_destination.port()),
        MatchInput::SourceIp => address(connection.remote.ip()),
        MatchInput::SourcePort => number(connection.remote.port()),
        MatchInput::DirectSourceIp => address(connection.direct_remote.ip()),
        MatchInput::SourceType => {
            let is_local = connection.remote.ip() == connection.original_destination.ip()
                || connection.remote.ip().is_loopback();
            is_local.then_some(Cow::Borrowed("local"))
        }
        MatchInput::ServerName => filled(&connection.server_name),
        MatchInput::TransportProtocol => filled(&connection.transport_protocol),
        MatchInput::ApplicationProtocol => {
            let quoted = connection.application_protocols.iter().map(|name| format!("'{name}'"));
            let names = quoted.collect::<Vec<_>>().join(",");
            (!names.is_empty()).then_some(Cow::Owned(names))
        }
        MatchInput::UriSan => {
            let names = peer.map(|peer| peer.uris.join(",")).filter(|names| !names.is_empty());
            names.map(Cow::Owned)
        }
        MatchInput::DnsSan => {
            let names = peer.map(|peer| peer.dns.join(",")).filter(|names| !names.is_empty());
            names.map(Cow::Owned)
        }
        MatchInput::Subject => peer.and_then(|peer| filled(&peer.subject)),
        MatchInput::RequestHeader(_)
        | MatchInput::QueryParameter(_)
        | MatchInput::FilterState(_)
        | MatchInput::DynamicMetadata { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use iako_proxy_config::StringMatch;

    use super::*;
    use crate::{HeaderList, Metadata, RequestHead};

    fn header(name: &str) -> MatchInput {
        MatchInput::RequestHeader(name.parse().unwrap())
    }

    fn action(action: u8) -> MatchOutcome<u8> {
        MatchOutcome { then: MatchThen::Action(action), keep_matching: false }
    }

    fn chosen(tree: &MatchTree<u8>, headers: &[(&str, &str)]) -> Option<u8> {
        let headers: HeaderList = headers.iter().copied().collect();
        let connection =
            ConnectionInfo::plain("127.0.0.1:80".parse().unwrap(), "127.0.0.2:9".parse().unwrap());
        let metadata = Metadata::default();
        let head = RequestHead {
            method: "GET",
            scheme: "http",
            authority: "a",
            path_and_query: "/",
            headers: &headers,
        };
        let client = connection.remote.ip();
        let facts = RequestFacts {
            head,
            connection: &connection,
            metadata: &metadata,
            client,
            internal: false,
        };
        choose_action(tree, &facts, 0).copied()
    }

    #[test]
    fn the_longest_start_counts_and_what_is_passed_over_leaves_the_next_one() {
        let outcomes = BTreeMap::from([
            ("a".to_owned(), action(1)),
            ("ab".to_owned(), MatchOutcome { keep_matching: true, ..action(2) }),
            ("abc".to_owned(), action(3)),
        ]);
        let tree = MatchTree {
            node: MatchNode::Prefix { input: header("x"), outcomes },
            otherwise: Some(Box::new(action(9))),
        };
        assert_eq!(chosen(&tree, &[("x", "abcd")]), Some(3));
        assert_eq!(chosen(&tree, &[("x", "abd")]), Some(1));
        assert_eq!(chosen(&tree, &[("x", "b")]), Some(9));
        assert_eq!(chosen(&tree, &[]), Some(9));
    }

    #[test]
    fn a_list_goes_on_after_a_tree_that_chooses_nothing() {
        let is = |name: &str, value: &str| MatchPredicate::Single {
            input: header(name),
            check: MatchCheck::Text(StringMatch::exact(value)),
        };
        let outcomes = BTreeMap::from([("1".to_owned(), action(1))]);
        let nested =
            MatchTree { node: MatchNode::Exact { input: header("y"), outcomes }, otherwise: None };
        let nested = MatchOutcome { then: MatchThen::Tree(Box::new(nested)), keep_matching: false };
        let not_b = MatchPredicate::Not(Box::new(is("x", "b")));
        let tree = MatchTree {
            node: MatchNode::List(vec![
                (is("x", "a"), nested),
                (MatchPredicate::All(vec![is("x", "a"), not_b]), action(2)),
            ]),
            otherwise: None,
        };
        assert_eq!(chosen(&tree, &[("x", "a"), ("y", "1")]), Some(1));
        assert_eq!(chosen(&tree, &[("x", "a"), ("y", "2")]), Some(2));
        assert_eq!(chosen(&tree, &[("x", "b")]), None);
    }
}
