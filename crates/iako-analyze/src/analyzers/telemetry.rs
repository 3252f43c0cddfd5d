//! Telemetry objects: which providers they name.

use iako_registry::MeshSnapshot;
use iako_resources::{Code, Kind, Severity};

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
            let near = nearest(name, known.map(|provider| provider.name.as_str()));
            let help = near.map_or_else(
                || "define it under extensionProviders in the mesh's settings".to_owned(),
                |near| format!("did you mean {near}?"),
            );
            let of = (Kind::Telemetry, object.as_ref());
            let part = Part { path, line: 0 };
            if snapshot.mesh_is_written || near.is_some() {
                let message = format!("no extension provider is called {name}");
                findings.add(Code::ProviderNotFound, of, &part, (message, &help));
                continue;
            }
            let message = format!(
                "no extension provider is called {name}; the settings of the mesh, which would \
                 define it, are not among what was read"
            );
            findings.add(Code::ProviderNotFound, of, &part, (message, &help)).severity =
                Severity::Warning;
        }
    }
}
