//! Reads a `Pod` and the template of one.

use super::{Container, ContainerPort, EnvValue, EnvVar, Pod, PodSpec};
use crate::{
    Code,
    document::Context,
    kubernetes::service::read_transport,
    reader::{Cursor, Fields},
    text::{Node, Value},
};

/// Reads the object.
pub(crate) fn parse(cursor: &Cursor<'_>, _context: &Context<'_>) -> Option<Pod> {
    let root = cursor.fields();
    let spec = root.get("spec").map(|cursor| read_pod_spec(&cursor)).unwrap_or_default();
    let status = root.get("status");
    root.ignore_rest();
    let (mut ip, mut ready, mut ended) = (None, false, false);
    if let Some(cursor) = status {
        let fields = cursor.fields();
        ip = fields.get("podIP").and_then(|cursor| cursor.parsed(Code::BadValue));
        ready = fields.list_of("conditions", is_ready).into_iter().any(|ready| ready);
        let phase = fields.text("phase");
        ended = phase.is_some_and(|phase| matches!(phase.as_str(), "Succeeded" | "Failed"));
        fields.ignore_rest();
    }
    let metadata = cursor.node().get("metadata");
    let deleting = metadata.and_then(|node| node.get("deletionTimestamp")).is_some();
    Some(Pod { spec, ip, ready, terminating: deleting || ended, owner: owner_of(metadata) })
}

fn is_ready(cursor: &Cursor<'_>) -> bool {
    let fields = cursor.fields();
    let is_ready = fields.text("type").is_some_and(|word| word == "Ready");
    let is_true = fields.text("status").is_some_and(|word| word == "True");
    fields.ignore_rest();
    is_ready && is_true
}

fn owner_of(metadata: Option<&Node>) -> Option<(String, String)> {
    let Value::List(owners) = &metadata?.get("ownerReferences")?.value else {
        return None;
    };
    let text = |node: &Node, key| node.get(key).and_then(Node::as_text).map(str::to_owned);
    owners.iter().find_map(|owner| Some((text(owner, "kind")?, text(owner, "name")?)))
}

/// Reads what runs in a pod; what the mesh does not need is not read.
pub(crate) fn read_pod_spec(cursor: &Cursor<'_>) -> PodSpec {
    let fields = cursor.fields();
    let account = fields.get("serviceAccountName").or_else(|| fields.get("serviceAccount"));
    let account = account.filter(|cursor| cursor.node().as_text() != Some(""));
    let service_account = account.and_then(|cursor| cursor.parsed(Code::BadValue));
    let containers = fields.list_of("containers", read_container);
    check_user(&fields);
    let host_network = fields.flag("hostNetwork");
    let node = fields.text("nodeName");
    let unread = written(&fields, &["initContainers", "volumes"]);
    fields.ignore_rest();
    PodSpec {
        service_account: service_account.unwrap_or_default(),
        containers: containers.into_iter().flatten().collect(),
        host_network,
        node,
        unread,
    }
}

fn read_container(cursor: &Cursor<'_>) -> Option<Container> {
    let fields = cursor.fields();
    let name = fields.required("name").and_then(|cursor| cursor.text());
    let image = fields.text("image").unwrap_or_default();
    let command = fields.texts("command");
    let args = fields.texts("args");
    let env = fields.list_of("env", read_variable);
    let working_dir = fields.text("workingDir");
    let ports = fields.list_of("ports", read_port);
    if name.as_deref() != Some("istio-proxy") {
        check_user(&fields);
    }
    let unread = written(
        &fields,
        &["envFrom", "volumeMounts", "lifecycle", "readinessProbe", "livenessProbe"],
    );
    fields.ignore_rest();
    Some(Container {
        name: name?,
        image,
        command,
        args,
        env: env.into_iter().flatten().collect(),
        working_dir,
        ports: ports.into_iter().flatten().collect(),
        unread,
    })
}

/// Reports an application that runs as the user by which redirection knows the proxy.
fn check_user(fields: &Fields<'_>) {
    const PROXY: i64 = 1337;
    let Some(context) = fields.get("securityContext") else { return };
    let inner = context.fields();
    let user = inner.get("runAsUser");
    inner.ignore_rest();
    if let Some(user) = user.filter(|user| matches!(user.node().value, Value::Int(PROXY, _))) {
        let message = "user 1337 is the proxy's; what the application sends passes it by";
        user.report_with_help(Code::ReservedUser, message, "run the application as another user");
    }
}

/// Those of some fields that were written.
fn written(fields: &Fields<'_>, names: &[&'static str]) -> Vec<&'static str> {
    names.iter().copied().filter(|name| fields.get(name).is_some()).collect()
}

fn read_port(cursor: &Cursor<'_>) -> Option<ContainerPort> {
    let fields = cursor.fields();
    let port = fields.required("containerPort").and_then(|cursor| cursor.port());
    let name = fields.text("name").unwrap_or_default();
    let transport = read_transport(&fields);
    fields.ignore_rest();
    Some(ContainerPort { name, port: port?, transport })
}

fn read_variable(cursor: &Cursor<'_>) -> Option<EnvVar> {
    let fields = cursor.fields();
    let name = fields.required("name").and_then(|cursor| cursor.text());
    let value = fields.get("value").and_then(|cursor| cursor.text());
    let from = fields.get("valueFrom").and_then(|cursor| read_reference(&cursor));
    fields.ignore_rest();
    let value = value.map(EnvValue::Text).or(from);
    Some(EnvVar { name: name?, value: value.unwrap_or_else(|| EnvValue::Text(String::new())) })
}

fn read_reference(cursor: &Cursor<'_>) -> Option<EnvValue> {
    let fields = cursor.fields();
    let pair = |name: &'static str| fields.get(name).and_then(|cursor| read_key(&cursor.fields()));
    let config_map = pair("configMapKeyRef");
    let secret = pair("secretKeyRef");
    let field = fields.get("fieldRef").and_then(|cursor| {
        let fields = cursor.fields();
        let path = fields.text("fieldPath");
        fields.ignore_rest();
        path
    });
    fields.ignore_rest();
    let config_map = config_map.map(|(name, key)| EnvValue::ConfigMapKey(name, key));
    config_map
        .or_else(|| secret.map(|(name, key)| EnvValue::SecretKey(name, key)))
        .or_else(|| field.map(EnvValue::Field))
}

fn read_key(fields: &Fields<'_>) -> Option<(String, String)> {
    let name = fields.text("name");
    let key = fields.text("key");
    let _optional = fields.get("optional");
    Some((name?, key?))
}
