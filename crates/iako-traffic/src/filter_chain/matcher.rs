//! The tree that chooses a filter chain by name.

use std::borrow::Cow;

use iako_proxy_config::{
    ChainChoice, ChainMatcher, ChainRules, ConnectionCondition, ConnectionInput, FactTest, TreeKind,
};

use super::is_here;
use crate::ConnectionInfo;

/// The name that a tree has for a connection. What finds nothing further down leaves the choice to
/// the next rule, and at last to `on_no_match`.
pub(super) fn choose<'a>(tree: &'a ChainMatcher, connection: &ConnectionInfo) -> Option<&'a str> {
    let found = match &tree.rules {
        ChainRules::List(rules) => rules
            .iter()
            .filter(|rule| holds(&rule.when, connection))
            .find_map(|rule| follow(&rule.then, connection)),
        ChainRules::Tree { input, kind, branches } => {
            fact(*input, connection).and_then(|fact| match kind {
                TreeKind::Exact => follow(branches.get(&*fact)?, connection),
                TreeKind::Prefix => {
                    let starts = (0..=fact.len()).rev().filter_map(|length| fact.get(..length));
                    let mut fitting = starts.filter_map(|start| branches.get(start));
                    fitting.find_map(|then| follow(then, connection))
                }
            })
        }
    };
    found.or_else(|| follow(tree.otherwise.as_ref()?, connection))
}

fn follow<'a>(choice: &'a ChainChoice, connection: &ConnectionInfo) -> Option<&'a str> {
    match choice {
        ChainChoice::Chain(name) => Some(name),
        ChainChoice::Matcher(inner) => choose(inner, connection),
    }
}

fn holds(condition: &ConnectionCondition, connection: &ConnectionInfo) -> bool {
    match condition {
        ConnectionCondition::Or(conditions) => conditions.iter().any(|one| holds(one, connection)),
        ConnectionCondition::And(conditions) => conditions.iter().all(|one| holds(one, connection)),
        ConnectionCondition::Not(inner) => !holds(inner, connection),
        ConnectionCondition::Fact { input, test } => {
            fact(*input, connection).is_some_and(|fact| match test {
                FactTest::Text(text) => text.matches(&fact),
                FactTest::Ranges(ranges) => fact
                    .parse::<std::net::IpAddr>()
                    .is_ok_and(|address| ranges.iter().any(|range| range.contains(&address))),
            })
        }
    }
}

/// A fact as text; none when there is none.
fn fact(input: ConnectionInput, connection: &ConnectionInfo) -> Option<Cow<'_, str>> {
    let text = match input {
        ConnectionInput::DestinationAddress => connection.original_destination.ip().to_string(),
        ConnectionInput::DestinationPort => connection.original_destination.port().to_string(),
        ConnectionInput::SourceAddress => connection.remote.ip().to_string(),
        ConnectionInput::SourcePort => connection.remote.port().to_string(),
        ConnectionInput::DirectSourceAddress => connection.direct_remote.ip().to_string(),
        ConnectionInput::SourceType => return is_here(connection).then_some("local".into()),
        ConnectionInput::ServerName => {
            let name = connection.server_name.as_str();
            return (!name.is_empty()).then_some(name.into());
        }
        ConnectionInput::TransportProtocol => {
            return Some(connection.transport_protocol.as_str().into());
        }
        ConnectionInput::ApplicationProtocols => {
            let names = &connection.application_protocols;
            return (!names.is_empty()).then(|| format!("'{}'", names.join("','")).into());
        }
    };
    Some(text.into())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use iako_proxy_config::{ChainRule, StringMatch};

    use super::*;

    fn fact(input: ConnectionInput, text: &str) -> ConnectionCondition {
        ConnectionCondition::Fact { input, test: FactTest::Text(StringMatch::exact(text)) }
    }

    fn chain(name: &str) -> ChainChoice {
        ChainChoice::Chain(name.to_owned())
    }

    fn by_name(kind: TreeKind, branches: &[(&str, &str)]) -> ChainMatcher {
        let branches = branches.iter().map(|(text, name)| ((*text).to_owned(), chain(name)));
        let branches: BTreeMap<_, _> = branches.collect();
        let input = ConnectionInput::ServerName;
        ChainMatcher { rules: ChainRules::Tree { input, kind, branches }, otherwise: None }
    }

    #[test]
    fn what_finds_nothing_further_down_leaves_the_choice_to_the_next_rule() {
        let inner = by_name(TreeKind::Exact, &[("a.test", "a")]);
        let tls = fact(ConnectionInput::TransportProtocol, "tls");
        let external =
            ConnectionCondition::Not(Box::new(fact(ConnectionInput::SourceType, "local")));
        let tree = ChainMatcher {
            rules: ChainRules::List(vec![
                ChainRule { when: tls, then: ChainChoice::Matcher(Box::new(inner)) },
                ChainRule { when: external, then: chain("far") },
            ]),
            otherwise: Some(chain("rest")),
        };
        let mut connection =
            ConnectionInfo::plain("10.0.0.1:80".parse().unwrap(), "10.0.0.2:9".parse().unwrap());
        "tls".clone_into(&mut connection.transport_protocol);
        "a.test".clone_into(&mut connection.server_name);
        assert_eq!(choose(&tree, &connection), Some("a"));
        "b.test".clone_into(&mut connection.server_name);
        assert_eq!(choose(&tree, &connection), Some("far"));
        connection.remote = "127.0.0.1:9".parse().unwrap();
        assert_eq!(choose(&tree, &connection), Some("rest"));
    }

    #[test]
    fn the_longest_beginning_counts_and_an_absent_fact_fits_nothing() {
        let tree = by_name(TreeKind::Prefix, &[("a.", "a"), ("a.b.", "ab"), ("", "any")]);
        let end = "10.0.0.1:80".parse().unwrap();
        let mut connection = ConnectionInfo::plain(end, end);
        assert_eq!(choose(&tree, &connection), None);
        for (name, expected) in [("a.b.c", "ab"), ("a.x", "a"), ("x", "any")] {
            name.clone_into(&mut connection.server_name);
            assert_eq!(choose(&tree, &connection), Some(expected));
        }
    }
}
