//! Istio's own kinds, and what they share.

pub mod authorization_policy;
pub mod destination_rule;
pub mod envoy_filter;
pub mod extension;
pub mod gateway;
pub mod istio_operator;
pub mod mesh_config;
pub mod mesh_networks;
pub mod peer_authentication;
pub mod proxy_config;
pub mod request_authentication;
pub mod service_entry;
pub mod sidecar;
pub mod telemetry;
pub mod virtual_service;
pub mod workload_group;

pub(crate) mod refer;

use std::fmt;

use iako_types::Namespace;
use regex::Regex;

/// Longest regular expression, in characters. Source: Istio's admission check.
pub(crate) const REGEX_CHARACTERS_MAX: usize = 1024;

/// A regular expression, compiled once; it must match the whole text unless it was made by
/// [`Pattern::searching`].
///
/// Source: RE2 syntax, as in Istio's `StringMatch.regex`.
#[derive(Clone)]
pub struct Pattern {
    source: String,
    regex: Regex,
}

impl Pattern {
    /// Compiles an expression that must match a whole text.
    ///
    /// # Errors
    /// When the expression is too long, is no regular expression, or would take too much memory.
    pub fn new(source: &str) -> Result<Self, String> {
        Self::compiled(source, &format!("^(?:{source})$"))
    }

    /// Compiles an expression that may match anywhere in a text.
    ///
    /// # Errors
    /// As for [`Self::new`].
    pub fn searching(source: &str) -> Result<Self, String> {
        Self::compiled(source, source)
    }

    fn compiled(source: &str, expression: &str) -> Result<Self, String> {
        if source.chars().count() > REGEX_CHARACTERS_MAX {
            return Err(format!(
                "a regular expression has at most {REGEX_CHARACTERS_MAX} characters"
            ));
        }
        match Regex::new(expression) {
            Ok(regex) => Ok(Self { source: source.to_owned(), regex }),
            Err(regex::Error::CompiledTooBig(_)) => {
                Err("the regular expression needs too much memory".to_owned())
            }
            Err(error) => Err(last_line(&error.to_string())),
        }
    }

    /// The expression as the user wrote it.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Whether `text` matches.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        self.regex.is_match(text)
    }
}

/// The sentence of a regex error; what stands before it draws the expression once more.
fn last_line(error: &str) -> String {
    let line = error.lines().last().unwrap_or(error);
    line.strip_prefix("error: ").unwrap_or(line).to_owned()
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pattern({:?})", self.source)
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl Eq for Pattern {}

/// How a text is compared. Source: `istio.networking.v1.StringMatch`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StringMatch {
    /// The same text.
    Exact(String),
    /// The text starts so.
    Prefix(String),
    /// The whole text matches.
    Regex(Pattern),
    /// The header or parameter exists, whatever its value.
    Present,
}

/// An object that a policy is for. Source: `istio.type.v1beta1.PolicyTargetReference`.
///
/// Policies with targets are for gateways of the Gateway API and waypoints; they are read and
/// checked, not yet applied.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TargetRef {
    /// What it is.
    pub kind: TargetKind,
    /// Its name, in the namespace of the policy.
    pub name: String,
    /// Line in its file, from 1.
    pub line: u32,
}

/// Kinds that policies can be for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TargetKind {
    /// A Kubernetes Service.
    Service,
    /// A ServiceEntry.
    ServiceEntry,
    /// A Gateway of the Gateway API.
    Gateway,
    /// A GatewayClass of the Gateway API.
    GatewayClass,
}

/// Which namespaces may see an object. Source: Istio `exportTo`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Visibility {
    /// `*`: every namespace.
    Mesh,
    /// The namespaces named; `.` is resolved to the object's own.
    Namespaces(Vec<Namespace>),
    /// `~`: no namespace.
    Nobody,
}

impl Visibility {
    /// Whether a client in `namespace` may see the object.
    #[must_use]
    pub fn includes(&self, namespace: &Namespace) -> bool {
        match self {
            Self::Mesh => true,
            Self::Namespaces(namespaces) => namespaces.contains(namespace),
            Self::Nobody => false,
        }
    }
}
