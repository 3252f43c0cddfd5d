//! What the control plane of a case tells.

use serde::Deserialize;
use serde_json::Value;

/// What a control plane tells, or tells from a change on.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct XdsPlan {
    /// The form of the conversation.
    #[serde(default)]
    pub(crate) form: PlanForm,
    #[serde(default)]
    pub(crate) resources: Vec<Planned>,
    /// Names that are asked for and never answered; all others that there are not are told to be
    /// removed.
    #[serde(default)]
    pub(crate) silent: Vec<String>,
    /// Names of resources that are no more.
    #[serde(default)]
    pub(crate) gone: Vec<String>,
    /// Types and names of resources that are told to be still good.
    #[serde(default)]
    pub(crate) heartbeats: Vec<(String, String)>,
    /// Streams are ended; the proxy has to come again.
    #[serde(default)]
    pub(crate) cut: bool,
    /// Which of `lds` and `cds` the bootstrap asks for, in place of those that there is a resource of.
    pub(crate) asks: Option<Vec<String>>,
    /// The proxy is not waited for: its listeners are not all to be bound.
    #[serde(default)]
    pub(crate) not_waited_for: bool,
}

/// The form of a conversation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum PlanForm {
    #[default]
    Delta,
    State,
}

/// A resource, and how it is told.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Planned {
    pub(crate) resource: Value,
    /// In place of the resource's own name.
    pub(crate) name: Option<String>,
    #[serde(default)]
    pub(crate) aliases: Vec<String>,
    /// How long it is good.
    pub(crate) ttl_ms: Option<u64>,
    /// It is told only to who asks for it by name.
    #[serde(default)]
    pub(crate) asked_only: bool,
    /// It is told so much later.
    pub(crate) after_ms: Option<u64>,
    /// It is told without content: there is nothing of that name.
    #[serde(default)]
    pub(crate) absent: bool,
}
