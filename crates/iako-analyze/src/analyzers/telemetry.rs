//! Telemetry objects: which providers they name.

use iako_registry::MeshSnapshot;
use iako_resources::{Code, Kind};

use super::findings::{Findings, Part, nearest};

/// Providers that the mesh's settings do not define.
pub(super) fn missing_providers(snapshot: &MeshSnapshot, findings: &mut Findings) {
    for object in &snapshot.telemetries {
        let spec = &object.spec;
        let tracing = spec.tracing.iter().map(|tracing| ("spec.tracing", &tracing.providers));
        let metrics = spec.metrics.iter().map(|metrics| ("spec.metrics", &metrics.providers));
        let logs = spec.access_logging.iter().map(|log| ("spec.accessLogging", &log.providers));
        for (path, name) in tracing
            .chain(metrics)
            .chain(logs)
            .flat_map(|(path, names)| names.iter().map(move |name| (path, name)))
        {
            if snapshot.mesh.provider(name).is_some() {
                continue;
            }
            let known = snapshot.mesh.extension_providers.iter();
            let help = nearest(name, known.map(|provider| provider.name.as_str())).map_or_else(
                || "define it under extensionProviders in the mesh's settings".to_owned(),
                |near| format!("did you mean {near}?"),
            );
            let message = format!("no extension provider is called {name}");
            let of = (Kind::Telemetry, object.as_ref());
            findings.add(Code::ProviderNotFound, of, &Part { path, line: 0 }, (message, &help));
        }
    }
}
