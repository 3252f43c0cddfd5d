//! Istio's defaults that need building.

use iako_types::{Namespace, Percent};

use super::{AccessLogFormat, ExtensionProvider, ExtensionProviderKind};

/// The namespace whose objects count for the whole mesh.
pub(crate) fn istio_system() -> Namespace {
    // The name is well formed; were it not, `default` would take its place.
    "istio-system".parse().unwrap_or_default()
}

/// Share of traces kept when nobody says.
pub(super) fn one_percent() -> Percent {
    Percent::from_whole(1).unwrap_or(Percent::ZERO)
}

/// Providers that exist without being defined.
pub(super) fn built_in() -> Vec<ExtensionProvider> {
    let file = |path: &str, format: Option<AccessLogFormat>| ExtensionProviderKind::FileAccessLog {
        path: path.to_owned(),
        format,
    };
    vec![
        ExtensionProvider {
            name: "prometheus".to_owned(),
            kind: ExtensionProviderKind::Prometheus,
        },
        ExtensionProvider { name: "envoy".to_owned(), kind: file("/dev/stdout", None) },
    ]
}
