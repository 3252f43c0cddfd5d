//! `IstioOperator`: how Istio is installed. Of it, only the settings of the mesh mean anything here.

use crate::{
    Code, MeshConfig, Severity,
    document::Context,
    istio::mesh_config,
    reader::{Cursor, Report},
    support::mesh_table,
};

/// What an installation of Istio says about the mesh.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct IstioOperator {
    /// `spec.meshConfig`, as the installation would put it into the ConfigMap `istio`. Counts where
    /// there is no such ConfigMap. `None`: nothing is said.
    pub mesh: Option<Box<MeshConfig>>,
}

/// Parts of an installation that are no settings of the mesh.
const PASSED_OVER: &[&str] = &["components", "values", "addonComponents", "unvalidatedValues"];

/// Reads the object.
pub(crate) fn parse(cursor: &Cursor<'_>, context: &Context<'_>) -> Option<IstioOperator> {
    let root = cursor.fields();
    let spec = root.get("spec");
    root.ignore_rest();
    let Some(spec) = spec else { return Some(IstioOperator::default()) };
    let passed: Vec<&str> = spec
        .entries()
        .into_iter()
        .map(|(key, _)| key)
        .filter(|key| PASSED_OVER.contains(key))
        .collect();
    if !passed.is_empty() {
        let message = format!(
            "{} of an installation have no effect here: Iako is not installed by an operator; only \
             meshConfig counts",
            passed.join(" and ")
        );
        spec.report_as(Severity::Info, Code::UnsupportedKind, message);
    }
    let fields = spec.fields();
    let settings = fields.get("meshConfig");
    fields.ignore_rest();
    let mesh = settings.map(|settings| {
        let report = Report::new(cursor.subject().to_owned(), cursor.origin(), mesh_table());
        let inner = Cursor::new(settings.node(), "spec.meshConfig", "", &report);
        let mesh = mesh_config::parse(&inner, context);
        cursor.take_over(report);
        Box::new(mesh)
    });
    Some(IstioOperator { mesh })
}

#[cfg(test)]
mod tests {
    use crate::{Code, ReadOptions, Resource, Severity, read_text};

    const START: &str = "apiVersion: install.istio.io/v1alpha1\nkind: IstioOperator\n";

    #[test]
    fn an_installation_needs_no_name_and_tells_the_settings_of_the_mesh() {
        let text = format!(
            "{START}spec:\n  profile: demo\n  values: {{global: {{}}}}\n  meshConfig:\n    \
             extensionProviders:\n    - name: logs\n      envoyFileAccessLog: {{path: /dev/stdout}}\n"
        );
        let content = read_text(&text, "mesh.yaml", &ReadOptions::default());
        let found: Vec<_> = content.diagnostics.iter().map(|d| (d.code, d.severity)).collect();
        assert_eq!(found, [(Code::UnsupportedKind, Severity::Info)]);
        let [Resource::IstioOperator(object)] = content.resources.as_slice() else {
            panic!("{:?}", content.resources)
        };
        let mesh = object.spec.mesh.as_ref().expect("the settings were written");
        assert!(mesh.provider("logs").is_some());
    }

    #[test]
    fn settings_that_the_mesh_refuses_refuse_the_installation() {
        let text = format!("{START}spec:\n  meshConfig:\n    connectTimeout: soon\n");
        let content = read_text(&text, "mesh.yaml", &ReadOptions::default());
        assert!(content.resources.is_empty());
        assert_eq!(
            content.diagnostics.first().map(|d| d.path.as_str()),
            Some("spec.meshConfig.connectTimeout")
        );
    }
}
