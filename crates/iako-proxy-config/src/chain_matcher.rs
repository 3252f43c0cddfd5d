//! Choosing a filter chain by a tree of conditions in place of the chains' own.

use std::collections::BTreeMap;

use iako_types::CidrRange;

use crate::StringMatch;

/// Names the filter chain of a connection.
///
/// Source: `Listener.filter_chain_matcher`, `xds.type.matcher.v3.Matcher`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChainMatcher {
    /// What is asked.
    pub rules: ChainRules,
    /// When nothing fits; none: the listener's default chain. Source: `on_no_match`.
    pub otherwise: Option<ChainChoice>,
}

/// The conditions of one level.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChainRules {
    /// Asked in order.
    List(Vec<ChainRule>),
    /// One fact, compared with many values at once.
    Tree {
        /// The fact.
        input: ConnectionInput,
        /// How it is compared.
        kind: TreeKind,
        /// What is done for each value.
        branches: BTreeMap<String, ChainChoice>,
    },
}

/// How a fact is compared with the values of a tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TreeKind {
    /// The whole of it. Source: `exact_match_map`.
    Exact,
    /// The longest value that it starts with. Source: `prefix_match_map`.
    Prefix,
}

/// One condition and what follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChainRule {
    /// When.
    pub when: ConnectionCondition,
    /// What then. Where that finds nothing, the next rule is asked.
    pub then: ChainChoice,
}

/// What follows from a condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChainChoice {
    /// The chain of this name.
    Chain(String),
    /// Further conditions.
    Matcher(Box<ChainMatcher>),
}

/// A condition on a connection. Source: `Matcher.MatcherList.Predicate`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConnectionCondition {
    /// A fact passes a test.
    Fact {
        /// The fact. Without it the condition does not hold.
        input: ConnectionInput,
        /// The test.
        test: FactTest,
    },
    /// One of at least two holds.
    Or(Vec<Self>),
    /// Each of at least two holds.
    And(Vec<Self>),
    /// It does not hold.
    Not(Box<Self>),
}

/// A test of a fact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FactTest {
    /// As text.
    Text(StringMatch),
    /// As an address, within one of these.
    /// Source: `envoy.extensions.matching.input_matchers.ip.v3.Ip`.
    Ranges(Vec<CidrRange>),
}

/// A fact about a connection. Source: `envoy.extensions.matching.common_inputs.network.v3`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectionInput {
    /// The address that the client meant to reach.
    DestinationAddress,
    /// Its port.
    DestinationPort,
    /// The client's address.
    SourceAddress,
    /// Its port.
    SourcePort,
    /// The connection's own address, before PROXY protocol.
    DirectSourceAddress,
    /// `local` for a client on this machine; absent for others.
    SourceType,
    /// SNI; absent when none was sent.
    ServerName,
    /// `tls` or `raw_buffer`.
    TransportProtocol,
    /// ALPN names, each in single quotes, with commas between them; absent when there are none.
    ApplicationProtocols,
}
