//! Reads a `PeerAuthentication`.

use std::collections::BTreeMap;

use super::{MutualTlsMode, PeerAuthentication};
use crate::{Code, document::Context, istio::refer, reader::Cursor};

/// Reads the specification.
pub(crate) fn parse(cursor: &Cursor<'_>, _context: &Context<'_>) -> Option<PeerAuthentication> {
    let fields = cursor.fields();
    let selector = refer::policy_selector(&fields, "selector");
    let mode = fields.get("mtls").and_then(|cursor| read_mode(&cursor));
    let ports = fields.get("portLevelMtls").map(|cursor| cursor.entries()).unwrap_or_default();
    if !ports.is_empty() && selector.is_none() {
        let message = "portLevelMtls names ports of a workload, so the object needs a selector";
        fields.report("portLevelMtls", Code::Conflict, message);
    }
    if fields.get("portLevelMtls").is_some() && ports.is_empty() {
        fields.report("portLevelMtls", Code::EmptyValue, "portLevelMtls is empty");
    }
    let mut port_modes = BTreeMap::new();
    for (port, cursor) in ports {
        let mode = read_mode(&cursor);
        match port.parse::<u16>() {
            Ok(number) if number != 0 => {
                port_modes.insert(number, mode);
            }
            _ => cursor.report(Code::BadValue, format!("{port:?} is no port")),
        }
    }
    Some(PeerAuthentication { selector, mode, port_modes })
}

fn read_mode(cursor: &Cursor<'_>) -> Option<MutualTlsMode> {
    let fields = cursor.fields();
    fields.get("mode")?.word(&[
        ("UNSET", None),
        ("DISABLE", Some(MutualTlsMode::Disable)),
        ("PERMISSIVE", Some(MutualTlsMode::Permissive)),
        ("STRICT", Some(MutualTlsMode::Strict)),
    ])?
}
