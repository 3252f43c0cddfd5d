//! The settings of the whole mesh: `data.mesh` of the ConfigMap `istio` in `istio-system`.

mod checks;
mod defaults;
mod parse;

use std::time::Duration;

use iako_types::{Namespace, TrustDomain};

use super::{Visibility, sidecar::OutboundTrafficPolicy, virtual_service::Retries};

pub(crate) use parse::parse;

/// The settings of the whole mesh. Source: `istio.mesh.v1alpha1.MeshConfig`.
///
/// [`MeshConfig::default`] holds Istio's defaults.
#[derive(Debug, Clone, PartialEq)]
pub struct MeshConfig {
    /// The realm of every identity. Default: `cluster.local`.
    pub trust_domain: TrustDomain,
    /// Other realms that count as the same.
    pub trust_domain_aliases: Vec<TrustDomain>,
    /// Objects here count for the whole mesh. Default: `istio-system`.
    pub root_namespace: Namespace,
    /// The DNS domain below `svc`. Default: `cluster.local`.
    pub cluster_domain: String,
    /// Traffic for unknown hosts. Default: it passes.
    pub outbound_traffic_policy: OutboundTrafficPolicy,
    /// Clients speak mutual TLS to every endpoint that can. Default: yes.
    pub enable_auto_mtls: bool,
    /// Access log of every proxy, the old way.
    pub access_log: Option<AccessLogFile>,
    /// Longest time to connect. Default: 10 s.
    pub connect_timeout: Duration,
    /// Longest wait for the client's first bytes; `None` waits for ever. Default: none.
    pub protocol_detection_timeout: Option<Duration>,
    /// How request paths are brought into one form. Default: [`PathNormalization::Base`].
    pub path_normalization: PathNormalization,
    /// Retries of rules that say nothing; `None` is Istio's two.
    pub default_http_retry_policy: Option<Retries>,
    /// Who sees ServiceEntries and Services that do not say. Default: all.
    pub default_service_export_to: Visibility,
    /// Who sees VirtualServices that do not say. Default: all.
    pub default_virtual_service_export_to: Visibility,
    /// Who sees DestinationRules that do not say. Default: all.
    pub default_destination_rule_export_to: Visibility,
    /// Providers that Telemetry objects name.
    pub extension_providers: Vec<ExtensionProvider>,
    /// Providers of Telemetry objects that name none.
    pub default_providers: DefaultProviders,
    /// Near endpoints first, for clusters with outlier detection. Default: yes.
    pub locality_lb_enabled: bool,
    /// Proxies in front of the gateways that are believed. Default: 0.
    pub trusted_proxies: u32,
    /// Share of traces kept. Default: 1 %.
    pub trace_sampling: iako_types::Percent,
}

/// The file that every proxy logs requests to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessLogFile {
    /// The file, mostly `/dev/stdout`.
    pub path: String,
    /// Format string; `None` is Istio's.
    pub format: Option<String>,
    /// Text or JSON.
    pub encoding: AccessLogEncoding,
}

/// Source: `istio.mesh.v1alpha1.MeshConfig.AccessLogEncoding`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum AccessLogEncoding {
    /// One line of text.
    #[default]
    Text,
    /// One JSON object.
    Json,
}

/// Source: `istio.mesh.v1alpha1.MeshConfig.ProxyPathNormalization.NormalizationType`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum PathNormalization {
    /// The path as sent.
    None,
    /// RFC 3986 §6: `..`, `.` and escapes of unreserved characters. Istio's default.
    #[default]
    Base,
    /// As `Base`, and `//` becomes `/`.
    MergeSlashes,
    /// As `MergeSlashes`, after `%2F` and `%5C` are decoded.
    DecodeAndMergeSlashes,
}

/// A provider that Telemetry objects name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExtensionProvider {
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: ExtensionProviderKind,
}

/// Kinds of providers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExtensionProviderKind {
    /// Metrics for Prometheus.
    Prometheus,
    /// An access log in a file.
    FileAccessLog {
        /// The file.
        path: String,
        /// The format; `None` is Istio's text.
        format: Option<AccessLogFormat>,
    },
    /// A provider that we do not carry yet, with its field name.
    Unsupported(String),
}

/// The format of an access log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccessLogFormat {
    /// A format string.
    Text(String),
    /// Keys and the format string of each value; empty is Istio's keys.
    Json(Vec<(String, String)>),
}

/// Providers of Telemetry objects that name none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DefaultProviders {
    /// For metrics; none given is `prometheus`.
    pub metrics: Vec<String>,
    /// For access logs.
    pub access_logging: Vec<String>,
    /// For traces.
    pub tracing: Vec<String>,
}

impl Default for MeshConfig {
    fn default() -> Self {
        Self {
            trust_domain: TrustDomain::cluster_local(),
            trust_domain_aliases: Vec::new(),
            root_namespace: defaults::istio_system(),
            cluster_domain: "cluster.local".to_owned(),
            outbound_traffic_policy: OutboundTrafficPolicy::AllowAny,
            enable_auto_mtls: true,
            access_log: None,
            connect_timeout: Duration::from_secs(10),
            protocol_detection_timeout: None,
            path_normalization: PathNormalization::Base,
            default_http_retry_policy: None,
            default_service_export_to: Visibility::Mesh,
            default_virtual_service_export_to: Visibility::Mesh,
            default_destination_rule_export_to: Visibility::Mesh,
            extension_providers: defaults::built_in(),
            default_providers: DefaultProviders::default(),
            locality_lb_enabled: true,
            trusted_proxies: 0,
            trace_sampling: defaults::one_percent(),
        }
    }
}

impl MeshConfig {
    /// The provider of a name.
    #[must_use]
    pub fn provider(&self, name: &str) -> Option<&ExtensionProvider> {
        self.extension_providers.iter().find(|provider| provider.name == name)
    }
}
