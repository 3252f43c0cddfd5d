//! `ProxyConfig`: settings of the proxies of some workloads.

use std::collections::BTreeMap;

use crate::{Code, Labels, document::Context, istio::refer, reader::Cursor};

/// Settings of the proxies it selects, from their next start on.
/// Source: `istio.networking.v1beta1.ProxyConfig`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProxyConfig {
    /// Labels of the workloads; `None` is the namespace, or the mesh in the root namespace.
    pub selector: Option<Labels>,
    /// Worker threads; 0 is one a core, `None` is what the container's limit allows.
    pub concurrency: Option<u32>,
    /// Further environment of the proxy.
    pub environment: BTreeMap<String, String>,
    /// Which image the proxy runs from, such as `debug`.
    pub image_type: Option<String>,
}

/// Reads the specification.
pub(crate) fn parse(cursor: &Cursor<'_>, _context: &Context<'_>) -> Option<ProxyConfig> {
    let fields = cursor.fields();
    let selector = refer::policy_selector(&fields, "selector");
    let concurrency = fields.get("concurrency").and_then(|cursor| cursor.count());
    let environment = fields.get("environmentVariables").map(|cursor| cursor.entries());
    let mut variables = BTreeMap::new();
    for (name, cursor) in environment.unwrap_or_default() {
        if name.is_empty() || name.contains('=') {
            cursor.report(Code::BadValue, format!("{name:?} is no name of a variable"));
        }
        variables.extend(cursor.text().map(|value| (name.to_owned(), value)));
    }
    let image_type = fields.get("image").and_then(|cursor| {
        let fields = cursor.fields();
        fields.text("imageType")
    });
    Some(ProxyConfig { selector, concurrency, environment: variables, image_type })
}
