//! Trees of conditions that choose an action.

use std::{collections::BTreeMap, num::NonZeroU32};

use iako_cel::Expression;
use iako_types::{CidrRange, Fraction};

use crate::{HeaderName, MetadataMatch, StringMatch};

/// Chooses an action of kind `A` by conditions on inputs of kind `I`: those of a request
/// ([`MatchInput`]), or those of a connection alone ([`ConnectionInput`]).
///
/// Source: `xds.type.matcher.v3.Matcher`.
#[derive(Debug, Clone, PartialEq)]
pub struct MatchTree<A, I = MatchInput> {
    /// What is looked at.
    pub node: MatchNode<A, I>,
    /// What counts when nothing matched.
    pub otherwise: Option<Box<MatchOutcome<A, I>>>,
}

impl<A, I> MatchTree<A, I> {
    /// Every action that it can choose, in no order.
    #[must_use]
    pub fn actions(&self) -> Vec<&A> {
        let mut found = Vec::new();
        self.add_actions(&mut found);
        found
    }

    /// Everything that it looks at, in no order.
    #[must_use]
    pub fn inputs(&self) -> Vec<&I> {
        let mut found = Vec::new();
        self.add_inputs(&mut found);
        found
    }

    fn add_inputs<'t>(&'t self, found: &mut Vec<&'t I>) {
        let outcomes: Vec<&MatchOutcome<A, I>> = match &self.node {
            MatchNode::Never => Vec::new(),
            MatchNode::List(entries) => {
                entries.iter().for_each(|(wanted, _)| wanted.add_inputs(found));
                entries.iter().map(|(_, outcome)| outcome).collect()
            }
            MatchNode::Exact { input, outcomes } | MatchNode::Prefix { input, outcomes } => {
                found.push(input);
                outcomes.values().collect()
            }
        };
        for outcome in outcomes.into_iter().chain(self.otherwise.as_deref()) {
            if let MatchThen::Tree(tree) = &outcome.then {
                tree.add_inputs(found);
            }
        }
    }

    fn add_actions<'t>(&'t self, found: &mut Vec<&'t A>) {
        let outcomes: Vec<&MatchOutcome<A, I>> = match &self.node {
            MatchNode::Never => Vec::new(),
            MatchNode::List(entries) => entries.iter().map(|(_, outcome)| outcome).collect(),
            MatchNode::Exact { outcomes, .. } | MatchNode::Prefix { outcomes, .. } => {
                outcomes.values().collect()
            }
        };
        for outcome in outcomes.into_iter().chain(self.otherwise.as_deref()) {
            match &outcome.then {
                MatchThen::Action(action) => found.push(action),
                MatchThen::Tree(tree) => tree.add_actions(found),
            }
        }
    }
}

/// Names the filter chain of a connection. Source: `Listener.filter_chain_matcher`.
pub type ChainMatcher = MatchTree<String, ConnectionInput>;

/// A condition, and what follows where it is met.
pub type MatchRule<A, I = MatchInput> = (MatchPredicate<I>, MatchOutcome<A, I>);

/// One look of a tree.
#[derive(Debug, Clone, PartialEq)]
pub enum MatchNode<A, I = MatchInput> {
    /// In order; the first that is met counts.
    List(Vec<MatchRule<A, I>>),
    /// By the whole of a text.
    Exact {
        /// Which text.
        input: I,
        /// What follows, by text.
        outcomes: BTreeMap<String, MatchOutcome<A, I>>,
    },
    /// By the start of a text; the longest counts.
    Prefix {
        /// Which text.
        input: I,
        /// What follows, by start.
        outcomes: BTreeMap<String, MatchOutcome<A, I>>,
    },
    /// Nothing matches.
    Never,
}

/// What follows from a match.
#[derive(Debug, Clone, PartialEq)]
pub struct MatchOutcome<A, I = MatchInput> {
    /// The action, or a further look.
    pub then: MatchThen<A, I>,
    /// Whether the search goes on as if there had been no match. Envoy default: false.
    pub keep_matching: bool,
}

/// The action, or a further look.
#[derive(Debug, Clone, PartialEq)]
pub enum MatchThen<A, I = MatchInput> {
    /// This action.
    Action(A),
    /// What this tree says; nothing when it says nothing.
    Tree(Box<MatchTree<A, I>>),
}

/// A condition of a tree. Source: `xds.type.matcher.v3.Matcher.MatcherList.Predicate`.
#[derive(Debug, Clone, PartialEq)]
pub enum MatchPredicate<I = MatchInput> {
    /// On one text.
    Single {
        /// Which text; a missing one meets nothing.
        input: I,
        /// What it must be.
        check: MatchCheck,
    },
    /// One of these.
    Any(Vec<Self>),
    /// All of these.
    All(Vec<Self>),
    /// Not this.
    Not(Box<Self>),
}

impl<I> MatchPredicate<I> {
    fn add_inputs<'t>(&'t self, found: &mut Vec<&'t I>) {
        match self {
            Self::Single { input, .. } => found.push(input),
            Self::Any(several) | Self::All(several) => {
                several.iter().for_each(|one| one.add_inputs(found));
            }
            Self::Not(one) => one.add_inputs(found),
        }
    }
}

/// What a text must be.
#[derive(Debug, Clone, PartialEq)]
pub enum MatchCheck {
    /// Text.
    Text(StringMatch),
    /// An address in one of these networks.
    /// Source: `envoy.extensions.matching.input_matchers.ip.v3.Ip`.
    Ip(Vec<CidrRange>),
    /// A text whose hash falls into a share of all.
    /// Source: `envoy.extensions.matching.input_matchers.runtime_fraction.v3.RuntimeFraction`.
    Share {
        /// How many parts of all hashes, in parts of that size: the rest of the hash counts.
        share: Fraction,
        /// What the hash begins with.
        seed: u64,
    },
    /// A text whose hash leaves a rest of at least a threshold.
    /// Source: `envoy.extensions.matching.input_matchers.consistent_hashing.v3.ConsistentHashing`.
    Hash {
        /// The least rest.
        threshold: u32,
        /// By what is divided.
        modulo: NonZeroU32,
        /// What the hash begins with.
        seed: u64,
    },
    /// A fact that a filter left; goes with [`ConnectionInput::DynamicMetadata`].
    /// Source: `envoy.extensions.matching.input_matchers.metadata.v3.Metadata`.
    Metadata(Box<MetadataMatch>),
    /// Whether an expression is true; goes with [`MatchInput::Attributes`].
    /// Source: `xds.type.matcher.v3.CelMatcher`.
    Expression(Expression),
}

/// What a tree that looks at requests looks at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MatchInput {
    /// A header of the request; several values are joined by commas.
    /// Source: `envoy.type.matcher.v3.HttpRequestHeaderMatchInput`.
    RequestHeader(HeaderName),
    /// The first value of a query parameter.
    /// Source: `envoy.type.matcher.v3.HttpRequestQueryParamMatchInput`.
    QueryParameter(String),
    /// Whatever an expression asks. Source: `xds.type.matcher.v3.HttpAttributesCelMatchInput`.
    Attributes,
    /// Something about its connection.
    Connection(ConnectionInput),
}

/// What a tree that looks at connections looks at.
/// Source: `envoy.extensions.matching.common_inputs`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConnectionInput {
    /// The address that the client meant to reach.
    DestinationIp,
    /// Its port.
    DestinationPort,
    /// The client's address.
    SourceIp,
    /// The client's port.
    SourcePort,
    /// The connection's own address, before PROXY protocol.
    DirectSourceIp,
    /// `local` for a client on this machine; absent for others.
    SourceType,
    /// SNI; absent when none was sent.
    ServerName,
    /// `tls` or `raw_buffer`.
    TransportProtocol,
    /// ALPN names, each in quotes: `'h2','http/1.1'`; absent when there are none.
    ApplicationProtocol,
    /// URI names of the client's certificate.
    UriSan,
    /// DNS names of the client's certificate.
    DnsSan,
    /// The subject of the client's certificate.
    Subject,
    /// An object that filters keep.
    FilterState(String),
    /// A fact that a filter left.
    DynamicMetadata {
        /// Which filter.
        filter: String,
        /// Keys from the outside in.
        path: Vec<String>,
    },
}

/// What a tree that looks at responses looks at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ResponseInput {
    /// The status, such as `503`. Source: `envoy.type.matcher.v3.HttpResponseStatusCodeMatchInput`.
    Status,
    /// Its class, such as `5xx`.
    /// Source: `envoy.type.matcher.v3.HttpResponseStatusCodeClassMatchInput`.
    StatusClass,
    /// A header of the response; several values are joined by commas.
    /// Source: `envoy.type.matcher.v3.HttpResponseHeaderMatchInput`.
    Header(HeaderName),
    /// Something about its request.
    Request(MatchInput),
}
