//! Reads a `Deployment` and its kin.

use super::{WorkloadKind, WorkloadTemplate};
use crate::{Code, Labels, kubernetes::pod::read_pod_spec, reader::Cursor};

/// Reads the object.
pub(crate) fn parse(cursor: &Cursor<'_>, kind: WorkloadKind) -> Option<WorkloadTemplate> {
    let root = cursor.fields();
    let spec = root.get("spec");
    root.ignore_rest();
    let Some(spec) = spec else {
        cursor.report(Code::MissingField, "the field spec is missing");
        return None;
    };
    let fields = spec.fields();
    let replicas = fields.get("replicas").map(|cursor| cursor.count());
    let completions = fields.get("parallelism").and_then(|cursor| cursor.count());
    let template = fields.required("template");
    let selector = fields.get("selector");
    let selector = selector.map(|cursor| read_match_labels(&cursor)).unwrap_or_default();
    fields.ignore_rest();
    let template = template?;
    let fields = template.fields();
    let (labels, annotations) =
        fields.get("metadata").map(|cursor| read_metadata(&cursor)).unwrap_or_default();
    let pod = fields.required("spec").map(|cursor| read_pod_spec(&cursor));
    fields.ignore_rest();
    if !crate::selects(&selector, &labels) {
        let message = "the selector does not match the labels of the template";
        template.report(Code::Conflict, message);
    }
    let replicas = match kind {
        WorkloadKind::DaemonSet => 1,
        WorkloadKind::Job => completions.unwrap_or(1),
        WorkloadKind::Deployment | WorkloadKind::StatefulSet | WorkloadKind::ReplicaSet => {
            replicas.unwrap_or(Some(1))?
        }
    };
    Some(WorkloadTemplate { kind, replicas, labels, annotations, pod: pod? })
}

fn read_match_labels(cursor: &Cursor<'_>) -> Labels {
    let fields = cursor.fields();
    let labels = fields.get("matchLabels").map(|cursor| read_texts(&cursor)).unwrap_or_default();
    fields.ignore_rest();
    labels
}

fn read_metadata(cursor: &Cursor<'_>) -> (Labels, Labels) {
    let fields = cursor.fields();
    let labels = fields.get("labels").map(|cursor| read_texts(&cursor)).unwrap_or_default();
    let annotations =
        fields.get("annotations").map(|cursor| read_texts(&cursor)).unwrap_or_default();
    fields.ignore_rest();
    (labels, annotations)
}

fn read_texts(cursor: &Cursor<'_>) -> Labels {
    let pairs = cursor.entries().into_iter();
    pairs.filter_map(|(key, value)| Some((key.to_owned(), value.text()?))).collect()
}
