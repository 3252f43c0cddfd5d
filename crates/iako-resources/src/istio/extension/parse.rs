//! Reads a `WasmPlugin` and a `TrafficExtension`.

use super::{
    ExtensionCode, ExtensionPhase, FailStrategy, PluginKind, PullPolicy, TrafficExtension,
    TrafficSelector, WasmModule, WasmVariable,
};
use crate::{
    Code,
    document::Context,
    istio::{refer, telemetry::TelemetryMode},
    reader::{Cursor, Fields},
    text::{Node, Value},
};

/// Longest name of a plugin or a variable, in characters. Source: Istio's schema.
const NAME_CHARACTERS_MAX: usize = 256;
/// Longest name of a secret, in characters. Source: Istio's schema.
const SECRET_CHARACTERS_MAX: usize = 253;
/// Longest script, in bytes. Source: Istio's admission check.
const SCRIPT_BYTES_MAX: usize = 65_536;

/// Reads the specification of a `WasmPlugin`.
pub(crate) fn parse_wasm_plugin(
    cursor: &Cursor<'_>,
    _context: &Context<'_>,
) -> Option<TrafficExtension> {
    let fields = cursor.fields();
    let module = read_module(&fields);
    // An old field that Istio reads no more.
    let _verification = fields.get("verificationKey");
    read_common(&fields, module.map(|module| ExtensionCode::Wasm(Box::new(module))))
}

/// Reads the specification of a `TrafficExtension`.
pub(crate) fn parse_traffic_extension(
    cursor: &Cursor<'_>,
    _context: &Context<'_>,
) -> Option<TrafficExtension> {
    let fields = cursor.fields();
    let wasm = fields.get("wasm").map(|cursor| read_module(&cursor.fields()));
    let lua = fields.get("lua").map(|cursor| read_script(&cursor));
    if wasm.is_some() && lua.is_some() {
        fields.report("lua", Code::Conflict, "an extension is wasm or lua, not both");
    }
    if wasm.is_none() && lua.is_none() {
        cursor.report(Code::MissingField, "an extension needs wasm or lua");
    }
    let wasm = wasm.flatten().map(|module| ExtensionCode::Wasm(Box::new(module)));
    read_common(&fields, wasm.or_else(|| lua.flatten().map(ExtensionCode::Lua)))
}

fn read_common(fields: &Fields<'_>, code: Option<ExtensionCode>) -> Option<TrafficExtension> {
    let selector = refer::policy_selector(fields, "selector");
    let targets = refer::targets(fields, "selector");
    let phase = fields.get("phase").and_then(|cursor| {
        cursor.word(&[
            ("UNSPECIFIED_PHASE", ExtensionPhase::Unspecified),
            ("UNSPECIFIED", ExtensionPhase::Unspecified),
            ("AUTHN", ExtensionPhase::Authentication),
            ("AUTHZ", ExtensionPhase::Authorization),
            ("STATS", ExtensionPhase::Statistics),
        ])
    });
    let bounds = (i64::from(i32::MIN), i64::from(i32::MAX));
    let priority = fields.get("priority").and_then(|cursor| cursor.integer(bounds.0, bounds.1));
    let matches = fields.list_of("match", read_selector);
    Some(TrafficExtension {
        selector,
        targets,
        phase: phase.unwrap_or_default(),
        priority: priority.unwrap_or(0),
        matches,
        code: code?,
    })
}

fn read_selector(cursor: &Cursor<'_>) -> TrafficSelector {
    let fields = cursor.fields();
    let mode = fields.get("mode").and_then(|cursor| {
        cursor.word(&[
            ("UNDEFINED", TelemetryMode::ClientAndServer),
            ("CLIENT", TelemetryMode::Client),
            ("SERVER", TelemetryMode::Server),
            ("CLIENT_AND_SERVER", TelemetryMode::ClientAndServer),
        ])
    });
    let ports = fields.list_of("ports", |cursor| {
        let fields = cursor.fields();
        fields.required("number").and_then(|cursor| cursor.port())
    });
    TrafficSelector { mode: mode.unwrap_or_default(), ports: ports.into_iter().flatten().collect() }
}

fn read_script(cursor: &Cursor<'_>) -> Option<String> {
    let fields = cursor.fields();
    let code = fields.text("inlineCode");
    match &code {
        None => fields.report("inlineCode", Code::EmptyValue, "the script is empty"),
        Some(code) if code.len() > SCRIPT_BYTES_MAX => {
            let message = format!("a script has at most {SCRIPT_BYTES_MAX} bytes");
            fields.report("inlineCode", Code::BadValue, message);
        }
        Some(_) => {}
    }
    code
}

fn read_module(fields: &Fields<'_>) -> Option<WasmModule> {
    let url = fields.required("url").and_then(|cursor| read_url(&cursor));
    let sha256 = fields.get("sha256").and_then(|cursor| read_digest(&cursor));
    let pull_policy = fields.get("imagePullPolicy").and_then(|cursor| {
        cursor.word(&[
            ("UNSPECIFIED_POLICY", PullPolicy::Unspecified),
            ("IfNotPresent", PullPolicy::IfNotPresent),
            ("Always", PullPolicy::Always),
        ])
    });
    let pull_secret = read_name(fields, "imagePullSecret", SECRET_CHARACTERS_MAX);
    let plugin_name = read_name(fields, "pluginName", NAME_CHARACTERS_MAX);
    let configuration = fields.get("pluginConfig").map(|cursor| json_of(cursor.node()).to_string());
    let fail_strategy = fields.get("failStrategy").and_then(|cursor| {
        cursor.word(&[
            ("FAIL_CLOSE", FailStrategy::Close),
            ("FAIL_OPEN", FailStrategy::Open),
            ("FAIL_RELOAD", FailStrategy::Reload),
        ])
    });
    let kind = fields.get("type").and_then(|cursor| {
        cursor.word(&[
            ("UNSPECIFIED_PLUGIN_TYPE", PluginKind::Http),
            ("HTTP", PluginKind::Http),
            ("NETWORK", PluginKind::Network),
        ])
    });
    let environment = fields.get("vmConfig").map(|cursor| {
        let fields = cursor.fields();
        read_environment(&fields)
    });
    Some(WasmModule {
        url: url?,
        sha256,
        pull_policy: pull_policy.unwrap_or_default(),
        pull_secret,
        plugin_name,
        configuration,
        fail_strategy: fail_strategy.unwrap_or_default(),
        environment: environment.unwrap_or_default(),
        kind: kind.unwrap_or_default(),
    })
}

fn read_url(cursor: &Cursor<'_>) -> Option<String> {
    let text = cursor.text()?;
    if text.is_empty() {
        cursor.report(Code::EmptyValue, "the address of the module is empty");
        return None;
    }
    let scheme = text.split_once("://").map(|(scheme, _)| scheme);
    if scheme.is_some_and(|scheme| !matches!(scheme, "oci" | "http" | "https" | "file")) {
        let message =
            format!("{text:?} cannot be fetched; write oci://, http://, https:// or file://");
        cursor.report(Code::BadValue, message);
    }
    if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        cursor.report(Code::BadValue, format!("{text:?} is no address"));
    }
    Some(text)
}

fn read_digest(cursor: &Cursor<'_>) -> Option<String> {
    let text = cursor.text().filter(|text| !text.is_empty())?;
    let is_digit = |c: char| matches!(c, '0'..='9' | 'a'..='f');
    if text.len() != 64 || !text.chars().all(is_digit) {
        cursor.report(Code::BadValue, "sha256 is 64 lower-case hexadecimal digits");
    }
    Some(text)
}

fn read_name(fields: &Fields<'_>, name: &'static str, characters_max: usize) -> Option<String> {
    let cursor = fields.get(name)?;
    let text = cursor.text()?;
    let count = text.chars().count();
    if count == 0 {
        cursor.report(Code::EmptyValue, format!("{name} is empty; remove it"));
    } else if count > characters_max {
        cursor.report(Code::BadValue, format!("{name} has at most {characters_max} characters"));
    }
    Some(text)
}

fn read_environment(fields: &Fields<'_>) -> Vec<WasmVariable> {
    let mut variables: Vec<WasmVariable> = Vec::new();
    for cursor in fields.get("env").map(|cursor| cursor.list()).unwrap_or_default() {
        let fields = cursor.fields();
        let name = fields.required("name").and_then(|cursor| {
            let text = cursor.text()?;
            if text.is_empty() || text.chars().count() > NAME_CHARACTERS_MAX {
                let message = format!("a name has 1 to {NAME_CHARACTERS_MAX} characters");
                cursor.report(Code::BadValue, message);
            }
            Some(text)
        });
        let from_host = fields
            .get("valueFrom")
            .and_then(|cursor| cursor.word(&[("INLINE", false), ("HOST", true)]));
        let value = fields.text("value");
        if from_host == Some(true) && value.is_some() {
            let message = "a variable taken from the proxy has no value of its own";
            fields.report("value", Code::Conflict, message);
        }
        let Some(name) = name else { continue };
        if variables.iter().any(|other| other.name == name) {
            cursor.at("name").report(Code::Duplicate, format!("{name} stands here twice"));
        }
        let value = (from_host != Some(true)).then(|| value.unwrap_or_default());
        variables.push(WasmVariable { name, value });
    }
    variables
}

/// A value as JSON.
pub(crate) fn json_of(node: &Node) -> serde_json::Value {
    match &node.value {
        Value::Null => serde_json::Value::Null,
        Value::Bool(value) => (*value).into(),
        Value::Int(value, _) => (*value).into(),
        Value::Float(value, _) => (*value).into(),
        Value::Text(text) => text.as_str().into(),
        Value::List(nodes) => nodes.iter().map(json_of).collect(),
        Value::Map(entries) => serde_json::Value::Object(
            entries.iter().map(|entry| (entry.key.clone(), json_of(&entry.node))).collect(),
        ),
    }
}
