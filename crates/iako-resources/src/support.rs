//! Which fields of Istio's schema are honoured, and why the others are not.
//!
//! One row covers a field and all below it. The reader asks this table about every field that it
//! does not read itself, so a row without a reader, or a reader without a row, is found by a test.

mod mesh;
mod page;
mod routing;
mod security;

pub use page::{gateway_api_support_page, istio_support_page};

/// What becomes of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Support {
    /// It does what Istio says.
    Honoured,
    /// It is read and checked, and has no effect yet, for this reason; a notice says so.
    Checked(&'static str),
    /// It has no effect; a warning says why. The rest of the object works.
    Warned(&'static str),
    /// The object is refused, for this reason.
    Refused(&'static str),
}

/// The rows of one kind.
#[derive(Debug)]
pub(crate) struct SupportTable {
    /// The kind.
    pub(crate) name: &'static str,
    /// Path below `spec`, `[]` for list elements, `{}` for values of a mapping with free keys.
    pub(crate) rows: &'static [(&'static str, Support)],
    /// Paths that repeat the rows of another path.
    pub(crate) repeats: &'static [(&'static str, &'static str)],
}

impl SupportTable {
    /// What becomes of a field that no reader asked for; `None` when there is no such field.
    pub(crate) fn of(&self, pattern: &str) -> Option<Support> {
        let pattern = self.canonical(pattern);
        let rows = self.rows.iter().filter(|(path, support)| {
            let is_read = matches!(support, Support::Honoured | Support::Checked(_));
            *path == pattern || (!is_read && is_below(&pattern, path))
        });
        rows.map(|(_, support)| *support).next()
    }

    /// The names of the fields right below a field, for advice.
    pub(crate) fn names_below(&self, pattern: &str) -> Vec<&'static str> {
        let pattern = self.canonical(pattern);
        let names = self.rows.iter().filter_map(|(path, _)| match path.rsplit_once('.') {
            Some((parent, name)) if parent == pattern => Some(name),
            None if pattern.is_empty() => Some(path),
            _ => None,
        });
        names.collect()
    }

    /// The row that covers a field of the published schema.
    #[cfg(test)]
    pub(crate) fn covering(&self, pattern: &str) -> Option<Support> {
        let pattern = self.canonical(pattern);
        let rows =
            self.rows.iter().filter(|(path, _)| *path == pattern || is_below(&pattern, path));
        rows.max_by_key(|(path, _)| path.len()).map(|(_, support)| *support)
    }

    fn canonical(&self, pattern: &str) -> String {
        let mut pattern = pattern.to_owned();
        for (repeat, original) in self.repeats {
            if pattern == *repeat || is_below(&pattern, repeat) {
                pattern.replace_range(..repeat.len(), original);
            }
        }
        pattern
    }
}

fn is_below(pattern: &str, path: &str) -> bool {
    pattern.strip_prefix(path).is_some_and(|rest| rest.starts_with(['.', '[', '{']))
}

/// A kind without a published schema here.
pub(crate) static NO_TABLE: SupportTable = SupportTable { name: "", rows: &[], repeats: &[] };

/// Every table by the group of its kind, in the order of the pages. The mesh settings are of no group.
pub(crate) static TABLES: &[(&str, &[&SupportTable])] = &[
    (
        NETWORKING,
        &[
            &routing::VIRTUAL_SERVICE,
            &routing::DESTINATION_RULE,
            &routing::GATEWAY,
            &routing::SERVICE_ENTRY,
            &routing::WORKLOAD_ENTRY,
            &routing::SIDECAR,
        ],
    ),
    (
        SECURITY,
        &[
            &security::PEER_AUTHENTICATION,
            &security::REQUEST_AUTHENTICATION,
            &security::AUTHORIZATION_POLICY,
        ],
    ),
    (TELEMETRY, &[&security::TELEMETRY]),
    ("", &[&mesh::MESH_CONFIG]),
    (GATEWAY_API, &[]),
];

/// The rows of a kind that is read.
pub(crate) fn table_of(group: &str, kind: &str) -> &'static SupportTable {
    let of_group = TABLES.iter().filter(|(own, _)| *own == group);
    let mut tables = of_group.flat_map(|(_, tables)| *tables);
    tables.find(|table| table.name == kind).copied().unwrap_or(&NO_TABLE)
}

/// The rows of the mesh settings.
pub(crate) fn mesh_table() -> &'static SupportTable {
    &mesh::MESH_CONFIG
}

/// Kinds that are recognised and have no effect: group, kind, reason.
pub(crate) static UNSUPPORTED_KINDS: &[(&str, &str, &str)] = &[
    (
        NETWORKING,
        "EnvoyFilter",
        "patches of Envoy's internals are not applied to our proxy; it comes later for the patches that map to settings of ours",
    ),
    (NETWORKING, "ProxyConfig", "the settings of a proxy are those of the mesh for now"),
    (
        NETWORKING,
        "WorkloadGroup",
        "machines outside Kubernetes register by iako run, without a template for now",
    ),
    (EXTENSIONS, "WasmPlugin", "the proxy runs no WebAssembly yet"),
    (EXTENSIONS, "TrafficExtension", "the proxy runs no WebAssembly and no Lua yet"),
    (GATEWAY_API, "GatewayClass", COMES_LATER),
    (GATEWAY_API, "Gateway", COMES_LATER),
    (GATEWAY_API, "HTTPRoute", COMES_LATER),
    (GATEWAY_API, "GRPCRoute", COMES_LATER),
    (GATEWAY_API, "TLSRoute", COMES_LATER),
    (GATEWAY_API, "TCPRoute", COMES_LATER),
    (GATEWAY_API, "UDPRoute", COMES_LATER),
    (GATEWAY_API, "ListenerSet", COMES_LATER),
    (GATEWAY_API, "BackendTLSPolicy", COMES_LATER),
    (GATEWAY_API, "ReferenceGrant", COMES_LATER),
];

const COMES_LATER: &str = "the Gateway API comes later; use Istio's Gateway and VirtualService";
/// Istio's group of routing kinds.
pub(crate) const NETWORKING: &str = "networking.istio.io";
/// Istio's group of security kinds.
pub(crate) const SECURITY: &str = "security.istio.io";
/// Istio's group of telemetry kinds.
pub(crate) const TELEMETRY: &str = "telemetry.istio.io";
/// Istio's group of extension kinds.
pub(crate) const EXTENSIONS: &str = "extensions.istio.io";
/// The group of the Gateway API.
pub(crate) const GATEWAY_API: &str = "gateway.networking.k8s.io";

#[cfg(test)]
mod tests;
