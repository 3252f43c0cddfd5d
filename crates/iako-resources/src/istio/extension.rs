//! `WasmPlugin` and `TrafficExtension`: code that users bring along.

mod parse;

use crate::Labels;

use super::{TargetRef, telemetry::TelemetryMode};

pub(crate) use parse::{json_of, parse_traffic_extension, parse_wasm_plugin};

/// Code that runs in the proxies it selects. A `WasmPlugin` is one with a [`ExtensionCode::Wasm`].
/// Source: `istio.extensions.v1alpha1.TrafficExtension`.
#[derive(Debug, Clone, PartialEq)]
pub struct TrafficExtension {
    /// Labels of the workloads; `None` is the namespace, or the mesh in the root namespace.
    pub selector: Option<Labels>,
    /// What it is for instead of workloads by label.
    pub targets: Vec<TargetRef>,
    /// Where in the chain of filters it stands.
    pub phase: ExtensionPhase,
    /// Of two in one phase, the higher stands first. Default: 0.
    pub priority: i64,
    /// Traffic that it sees; none is all.
    pub matches: Vec<TrafficSelector>,
    /// The code.
    pub code: ExtensionCode,
}

/// The code of an extension.
#[derive(Debug, Clone, PartialEq)]
pub enum ExtensionCode {
    /// A WebAssembly module.
    Wasm(Box<WasmModule>),
    /// A Lua script with `envoy_on_request` or `envoy_on_response`.
    Lua(String),
}

/// Source: `istio.extensions.v1alpha1.WasmPlugin`.
#[derive(Debug, Clone, PartialEq)]
pub struct WasmModule {
    /// Where it is fetched: `oci://` (when nothing is written), `http://`, `https://` or `file://`.
    pub url: String,
    /// Its SHA-256, 64 lower-case hexadecimal digits.
    pub sha256: Option<String>,
    /// Fetched at every start, not only when it is not there.
    pub pull_policy: PullPolicy,
    /// The secret with which it is fetched.
    pub pull_secret: Option<String>,
    /// The name of the plugin in a module with several.
    pub plugin_name: Option<String>,
    /// What it is configured with, as JSON.
    pub configuration: Option<String>,
    /// What happens when it fails.
    pub fail_strategy: FailStrategy,
    /// Environment of its virtual machine.
    pub environment: Vec<WasmVariable>,
    /// What it filters.
    pub kind: PluginKind,
}

/// A variable of a module. Source: `istio.extensions.v1alpha1.EnvVar`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WasmVariable {
    /// Its name.
    pub name: String,
    /// Its value; `None` is the proxy's own variable of this name.
    pub value: Option<String>,
}

/// Source: `istio.extensions.v1alpha1.PluginPhase`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ExtensionPhase {
    /// At the end, before the router.
    #[default]
    Unspecified,
    /// Before Istio's authentication.
    Authentication,
    /// Before Istio's authorization, after authentication.
    Authorization,
    /// Before Istio's statistics, after authorization.
    Statistics,
}

/// Source: `istio.extensions.v1alpha1.PullPolicy`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum PullPolicy {
    /// `Always` for a tag `latest`, else `IfNotPresent`.
    #[default]
    Unspecified,
    /// When it is not there.
    IfNotPresent,
    /// At every start.
    Always,
}

/// Source: `istio.extensions.v1alpha1.FailStrategy`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum FailStrategy {
    /// Requests fail.
    #[default]
    Close,
    /// Requests pass as if it was not there.
    Open,
    /// It is started anew.
    Reload,
}

/// Source: `istio.extensions.v1alpha1.PluginType`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum PluginKind {
    /// Requests.
    #[default]
    Http,
    /// Connections.
    Network,
}

/// Source: `istio.extensions.v1alpha1.WasmPlugin.TrafficSelector`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrafficSelector {
    /// Which side.
    pub mode: TelemetryMode,
    /// Ports of listeners; none is all.
    pub ports: Vec<u16>,
}
