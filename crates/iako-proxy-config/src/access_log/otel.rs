//! Logs that go to a collector of OpenTelemetry.

use std::time::Duration;

use iako_cel::Options;
use serde_json::{Map, Value};

use crate::{CustomTag, OtlpExporter};

/// A log whose records a collector gets.
/// Source: `envoy.extensions.access_loggers.open_telemetry.v3.OpenTelemetryAccessLogConfig`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OtelLog {
    /// How records are kept and sent.
    pub stream: OtelStreamSettings,
    /// What a record says: texts with operators, lists and objects of them; nothing when absent.
    pub body: Option<Value>,
    /// What it says besides, by name.
    pub attributes: Map<String, Value>,
    /// Objects that filters keep and that a record holds as attributes.
    pub states: Vec<String>,
    /// Attributes besides, whose values come from as many places as those of tags of spans.
    /// Source: `custom_tags`.
    pub tags: Vec<CustomTag>,
    /// What stands between the names of its statistics; nothing when empty.
    pub stat_prefix: String,
    /// What expressions in it may call.
    pub calling: Options,
}

/// How records are kept and sent. Logs with the same settings share a queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OtelStreamSettings {
    /// What the collector is told the log is called.
    pub name: String,
    /// The collector.
    pub exporter: OtlpExporter,
    /// Whether the resource is told by the name of the log and who this proxy is.
    pub labels: OtelLabels,
    /// Further facts of the resource, which stand over those.
    pub resource: Map<String, Value>,
    /// A record waits at most this long for company. Envoy default: 1 s.
    pub flush_interval: Duration,
    /// Records of so many bytes together are sent at once; 0 sends each alone. Envoy default: 16384.
    pub buffer_bytes: u32,
    /// How often a batch is sent again at once.
    pub retries: u32,
}

/// Whether a resource has `log_name`, `zone_name`, `cluster_name` and `node_name`.
/// Source: `disable_builtin_labels`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OtelLabels {
    /// It has them.
    #[default]
    BuiltIn,
    /// It has only what is configured.
    None,
}
