//! Choosing an action by a tree of conditions.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::Bound::{Excluded, Included, Unbounded};

use iako_cel::Expression;
use iako_proxy_config::{
    ConnectionInput, MatchCheck, MatchInput, MatchNode, MatchOutcome, MatchPredicate, MatchThen,
    MatchTree, ResponseInput,
};
use xxhash_rust::xxh64::xxh64;

use super::{header_texts, metadata_matches};
use crate::expression::Asked;
use crate::{ConnectionInfo, Headers, Metadata, RequestFacts, facts::is_local, text::query_value};

/// What trees over inputs of kind `I` look at.
pub trait MatchFacts<I> {
    /// The text of an input; none when there is none.
    fn text(&self, input: &I) -> Option<Cow<'_, str>>;

    /// What filters left.
    fn metadata(&self) -> &Metadata;

    /// Whether an expression is true; none is where nothing of a request is known.
    fn meets(&self, expression: &Expression) -> bool {
        let _: &Expression = expression;
        false
    }
}

impl MatchFacts<MatchInput> for RequestFacts<'_> {
    fn text(&self, input: &MatchInput) -> Option<Cow<'_, str>> {
        match input {
            MatchInput::RequestHeader(name) => {
                let mut values = header_texts(&self.head, name.as_str());
                let first = values.next()?;
                Some(values.fold(first, |all, value| Cow::Owned(format!("{all},{value}"))))
            }
            MatchInput::QueryParameter(name) => {
                query_value(self.head.query(), name).map(Cow::Borrowed)
            }
            MatchInput::Attributes => None,
            MatchInput::Connection(input) => connection_text(input, self.connection, self.metadata),
        }
    }

    fn meets(&self, expression: &Expression) -> bool {
        Asked::of_request(self).meets(expression)
    }

    fn metadata(&self) -> &Metadata {
        self.metadata
    }
}

/// A response to a request, for trees that look at both.
#[derive(Clone, Copy)]
pub struct ResponseFacts<'a> {
    /// The request.
    pub request: &'a RequestFacts<'a>,
    /// Status of the response.
    pub status: u16,
    /// Its headers.
    pub headers: &'a dyn Headers,
}

impl std::fmt::Debug for ResponseFacts<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ResponseFacts").field("status", &self.status).finish_non_exhaustive()
    }
}

impl MatchFacts<ResponseInput> for ResponseFacts<'_> {
    fn text(&self, input: &ResponseInput) -> Option<Cow<'_, str>> {
        match input {
            ResponseInput::Status => Some(Cow::Owned(self.status.to_string())),
            ResponseInput::StatusClass => {
                let class = self.status.checked_div(100).unwrap_or_default();
                Some(Cow::Owned(format!("{class}xx")))
            }
            ResponseInput::Header(name) => {
                let values = (0..).map_while(|nth| self.headers.value(name.as_str(), nth));
                let values: Vec<_> = values.map(crate::text::lossy).collect();
                (!values.is_empty()).then(|| Cow::Owned(values.join(",")))
            }
            ResponseInput::Request(input) => self.request.text(input),
        }
    }

    fn metadata(&self) -> &Metadata {
        self.request.metadata
    }

    fn meets(&self, expression: &Expression) -> bool {
        self.request.meets(expression)
    }
}

impl MatchFacts<ConnectionInput> for ConnectionInfo {
    fn text(&self, input: &ConnectionInput) -> Option<Cow<'_, str>> {
        connection_text(input, self, &self.metadata)
    }

    fn metadata(&self) -> &Metadata {
        &self.metadata
    }
}

/// The action that a tree chooses; none when nothing matches.
///
/// An outcome that is to be passed over, and a further tree that chooses nothing, count as no match:
/// the search goes on with what follows.
#[must_use]
pub fn choose_action<'t, A, I>(
    tree: &'t MatchTree<A, I>,
    facts: &impl MatchFacts<I>,
) -> Option<&'t A> {
    let found = match &tree.node {
        MatchNode::Never => None,
        MatchNode::List(entries) => entries
            .iter()
            .filter(|(wanted, _)| is_met(wanted, facts))
            .find_map(|(_, outcome)| follow(outcome, facts)),
        MatchNode::Exact { input, outcomes } => facts
            .text(input)
            .and_then(|text| outcomes.get(text.as_ref()))
            .and_then(|outcome| follow(outcome, facts)),
        MatchNode::Prefix { input, outcomes } => facts
            .text(input)
            .and_then(|text| starts(outcomes, &text).find_map(|outcome| follow(outcome, facts))),
    };
    found.or_else(|| follow(tree.otherwise.as_deref()?, facts))
}

/// What follows from each start of a text, the longest first.
fn starts<'t, O>(outcomes: &'t BTreeMap<String, O>, text: &str) -> impl Iterator<Item = &'t O> {
    let mut bound = Some(Included(text));
    std::iter::from_fn(move || {
        loop {
            let below = (Unbounded, bound?);
            let (start, outcome) = outcomes.range::<str, _>(below).next_back()?;
            if text.starts_with(start.as_str()) {
                bound = Some(Excluded(text.get(..start.len())?));
                return Some(outcome);
            }
            // A start of the text that sorts below this one is no longer than what both share.
            let shared = text.char_indices().zip(start.chars());
            let shared = shared.take_while(|((_, own), other)| own == other).count();
            let end = text.char_indices().nth(shared).map_or(text.len(), |(end, _)| end);
            bound = Some(Included(text.get(..end)?));
        }
    })
}

fn follow<'t, A, I>(outcome: &'t MatchOutcome<A, I>, facts: &impl MatchFacts<I>) -> Option<&'t A> {
    let action = match &outcome.then {
        MatchThen::Action(action) => Some(action),
        MatchThen::Tree(tree) => choose_action(tree, facts),
    };
    action.filter(|_| !outcome.keep_matching)
}

fn is_met<I>(wanted: &MatchPredicate<I>, facts: &impl MatchFacts<I>) -> bool {
    match wanted {
        MatchPredicate::Any(wanted) => wanted.iter().any(|one| is_met(one, facts)),
        MatchPredicate::All(wanted) => wanted.iter().all(|one| is_met(one, facts)),
        MatchPredicate::Not(wanted) => !is_met(wanted, facts),
        MatchPredicate::Single { input, check } => match check {
            MatchCheck::Metadata(wanted) => metadata_matches(wanted, facts.metadata()),
            MatchCheck::Expression(wanted) => facts.meets(wanted),
            MatchCheck::Text(wanted) => facts.text(input).is_some_and(|text| wanted.matches(&text)),
            MatchCheck::Ip(ranges) => facts
                .text(input)
                .and_then(|text| text.parse::<IpAddr>().ok())
                .is_some_and(|address| ranges.iter().any(|range| range.contains(&address))),
            MatchCheck::Share { share, seed } => {
                let rest = rest(facts, input, *seed, u64::from(share.denominator.parts()));
                rest.is_some_and(|rest| rest < u64::from(share.numerator))
            }
            MatchCheck::Hash { threshold, modulo, seed } => {
                let rest = rest(facts, input, *seed, u64::from(modulo.get()));
                rest.is_some_and(|rest| rest >= u64::from(*threshold))
            }
        },
    }
}

/// What the hash of an input leaves when it is divided.
fn rest<I>(facts: &impl MatchFacts<I>, input: &I, seed: u64, divisor: u64) -> Option<u64> {
    xxh64(facts.text(input)?.as_bytes(), seed).checked_rem(divisor)
}

/// What a tree looks at when it is about the connection, and what filters left.
fn connection_text<'c>(
    input: &ConnectionInput,
    connection: &'c ConnectionInfo,
    metadata: &'c Metadata,
) -> Option<Cow<'c, str>> {
    let filled = |text: &'c str| (!text.is_empty()).then_some(Cow::Borrowed(text));
    let number = |number: u16| Some(Cow::Owned(number.to_string()));
    let address = |address: IpAddr| Some(Cow::Owned(address.to_string()));
    let peer = connection.peer();
    match input {
        ConnectionInput::DestinationIp => address(connection.original_destination.ip()),
        ConnectionInput::DestinationPort => number(connection.original_destination.port()),
        ConnectionInput::SourceIp => address(connection.remote.ip()),
        ConnectionInput::SourcePort => number(connection.remote.port()),
        ConnectionInput::DirectSourceIp => address(connection.direct_remote.ip()),
        ConnectionInput::SourceType => is_local(connection).then_some(Cow::Borrowed("local")),
        ConnectionInput::ServerName => filled(&connection.server_name),
        ConnectionInput::TransportProtocol => filled(&connection.transport_protocol),
        ConnectionInput::ApplicationProtocol => {
            let names = &connection.application_protocols;
            (!names.is_empty()).then(|| Cow::Owned(format!("'{}'", names.join("','"))))
        }
        ConnectionInput::UriSan => {
            let names = peer.map(|peer| peer.uris.join(",")).filter(|names| !names.is_empty());
            names.map(Cow::Owned)
        }
        ConnectionInput::DnsSan => {
            let names = peer.map(|peer| peer.dns.join(",")).filter(|names| !names.is_empty());
            names.map(Cow::Owned)
        }
        ConnectionInput::Subject => peer.and_then(|peer| filled(&peer.subject)),
        ConnectionInput::FilterState(key) => metadata.state(key).map(Cow::Borrowed),
        ConnectionInput::DynamicMetadata { filter, path } => {
            metadata.find(filter, path)?.as_str().map(Cow::Borrowed)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use iako_proxy_config::StringMatch;
    use iako_types::{Fraction, FractionDenominator};

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
        choose_action(tree, &facts).copied()
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

    type ByConnection = MatchTree<u8, ConnectionInput>;

    fn asked(tree: &ByConnection, server_name: &str, client: &str) -> Option<u8> {
        let client = format!("{client}:9").parse().unwrap();
        let mut connection = ConnectionInfo::plain("10.0.0.1:80".parse().unwrap(), client);
        server_name.clone_into(&mut connection.server_name);
        choose_action(tree, &connection).copied()
    }

    fn to(action: u8) -> MatchOutcome<u8, ConnectionInput> {
        MatchOutcome { then: MatchThen::Action(action), keep_matching: false }
    }

    fn names(names: &[(&str, u8)]) -> BTreeMap<String, MatchOutcome<u8, ConnectionInput>> {
        names.iter().map(|(name, action)| ((*name).to_owned(), to(*action))).collect()
    }

    // Facts of a connection alone are asked by the same tree as requests.
    #[test]
    fn a_connection_is_led_by_its_name_and_by_where_it_comes_from() {
        let is_local = MatchPredicate::Single {
            input: ConnectionInput::SourceType,
            check: MatchCheck::Text(StringMatch::exact("local")),
        };
        let named = MatchNode::Exact {
            input: ConnectionInput::ServerName,
            outcomes: names(&[("a.test", 1)]),
        };
        let named = MatchTree { node: named, otherwise: None };
        let named = MatchOutcome { then: MatchThen::Tree(Box::new(named)), keep_matching: false };
        let all = MatchPredicate::Any(Vec::new());
        let tree = MatchTree {
            node: MatchNode::List(vec![
                (MatchPredicate::Not(Box::new(all)), named),
                (MatchPredicate::Not(Box::new(is_local)), to(2)),
            ]),
            otherwise: Some(Box::new(to(3))),
        };
        assert_eq!(asked(&tree, "a.test", "10.0.0.2"), Some(1));
        assert_eq!(asked(&tree, "b.test", "10.0.0.2"), Some(2));
        assert_eq!(asked(&tree, "b.test", "127.0.0.1"), Some(3));
    }

    #[test]
    fn starts_that_sort_between_others_are_found() {
        let outcomes = names(&[("a.", 1), ("a.b.", 2), ("a.a", 3), ("a.b-", 4), ("", 5)]);
        let node = MatchNode::Prefix { input: ConnectionInput::ServerName, outcomes };
        let tree = MatchTree { node, otherwise: None };
        let found = |name| asked(&tree, name, "10.0.0.2");
        assert_eq!(found("a.b.c"), Some(2));
        assert_eq!(found("a.b"), Some(1));
        assert_eq!(found("a.c"), Some(1));
        assert_eq!(found("x"), Some(5));
        assert_eq!(found(""), None, "what is not there starts with nothing");
    }

    // The shares of one text add up, whatever hashes are.
    #[test]
    fn a_hash_decides_the_same_each_time_and_by_its_seed() {
        let takes = |check: MatchCheck, name: &str| {
            let wanted = MatchPredicate::Single { input: ConnectionInput::ServerName, check };
            let node = MatchNode::List(vec![(wanted, to(1))]);
            asked(&MatchTree { node, otherwise: None }, name, "10.0.0.2").is_some()
        };
        let share = |numerator, seed| {
            let share = Fraction { numerator, denominator: FractionDenominator::Hundred };
            MatchCheck::Share { share, seed }
        };
        let rest = |threshold| MatchCheck::Hash {
            threshold,
            modulo: NonZeroU32::new(100).unwrap(),
            seed: 7,
        };
        let names: Vec<String> = (0..64).map(|nth| format!("h{nth}.test")).collect();
        for name in &names {
            assert!(takes(share(100, 0), name) && !takes(share(0, 0), name));
            // One takes what is below a bound, the other what is not.
            assert_ne!(takes(share(30, 7), name), takes(rest(30), name));
        }
        let by_seed = |seed| names.iter().map(move |name| takes(share(50, seed), name));
        assert!(!by_seed(0).eq(by_seed(1)));
        assert!(!takes(share(100, 0), ""), "what is not there has no hash");
    }
}
