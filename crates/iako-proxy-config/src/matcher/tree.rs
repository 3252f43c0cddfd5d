//! Trees of conditions that choose an action.

use std::collections::BTreeMap;

use iako_types::{CidrRange, Percent};

use crate::{HeaderName, MetadataMatch, StringMatch};

/// Chooses an action by conditions on a connection and its request.
///
/// Source: `xds.type.matcher.v3.Matcher`.
#[derive(Debug, Clone, PartialEq)]
pub struct MatchTree<A> {
    /// What is looked at.
    pub node: MatchNode<A>,
    /// What counts when nothing matched.
    pub otherwise: Option<Box<MatchOutcome<A>>>,
}

/// One look of a tree.
#[derive(Debug, Clone, PartialEq)]
pub enum MatchNode<A> {
    /// In order; the first that is met counts.
    List(Vec<(MatchPredicate, MatchOutcome<A>)>),
    /// By the whole of a text.
    Exact {
        /// Which text.
        input: MatchInput,
        /// What follows, by text.
        outcomes: BTreeMap<String, MatchOutcome<A>>,
    },
    /// By the start of a text; the longest counts.
    Prefix {
        /// Which text.
        input: MatchInput,
        /// What follows, by start.
        outcomes: BTreeMap<String, MatchOutcome<A>>,
    },
    /// Nothing matches.
    Never,
}

/// What follows from a match.
#[derive(Debug, Clone, PartialEq)]
pub struct MatchOutcome<A> {
    /// The action, or a further look.
    pub then: MatchThen<A>,
    /// Whether the search goes on as if there had been no match. Envoy default: false.
    pub keep_matching: bool,
}

/// The action, or a further look.
#[derive(Debug, Clone, PartialEq)]
pub enum MatchThen<A> {
    /// This action.
    Action(A),
    /// What this tree says; nothing when it says nothing.
    Tree(Box<MatchTree<A>>),
}

/// A condition of a tree. Source: `xds.type.matcher.v3.Matcher.MatcherList.Predicate`.
#[derive(Debug, Clone, PartialEq)]
pub enum MatchPredicate {
    /// On one text.
    Single {
        /// Which text; a missing one meets nothing.
        input: MatchInput,
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

/// What a text must be.
#[derive(Debug, Clone, PartialEq)]
pub enum MatchCheck {
    /// Text.
    Text(StringMatch),
    /// An address in one of these networks.
    /// Source: `envoy.extensions.matching.input_matchers.ip.v3.Ip`.
    Ip(Vec<CidrRange>),
    /// A random share of all, whatever the text.
    /// Source: `envoy.extensions.matching.input_matchers.runtime_fraction.v3.RuntimeFraction`.
    Share(Percent),
    /// A fact that a filter left; goes with [`MatchInput::DynamicMetadata`].
    /// Source: `envoy.extensions.matching.input_matchers.metadata.v3.Metadata`.
    Metadata(Box<MetadataMatch>),
}

/// A text that a tree looks at. Source: `envoy.type.matcher.v3` and
/// `envoy.extensions.matching.common_inputs`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MatchInput {
    /// A header of the request; several values are joined by commas.
    RequestHeader(HeaderName),
    /// The first value of a query parameter.
    QueryParameter(String),
    /// Our end of the connection, before redirection.
    DestinationIp,
    /// Its port.
    DestinationPort,
    /// The client's address.
    SourceIp,
    /// The client's port.
    SourcePort,
    /// The other end of the connection.
    DirectSourceIp,
    /// `local` where both ends are on this machine.
    SourceType,
    /// SNI.
    ServerName,
    /// `tls` or `raw_buffer`.
    TransportProtocol,
    /// What was offered by ALPN, each in quotes: `'h2','http/1.1'`.
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
