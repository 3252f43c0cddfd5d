//! Values that chance or the clock makes: that they are there is compared, not what they are.

use serde_json::Value;

/// Digits that tell one login from another, behind the name of a cookie.
const FLOW_DIGITS: usize = 16;

/// Puts marks in place of the values of parameters and cookies of these names, wherever they stand.
pub(crate) fn veil(value: &mut Value, names: &[String]) {
    if names.is_empty() {
        return;
    }
    match value {
        Value::String(text) => {
            for name in names {
                *text = veiled(text, name);
            }
        }
        Value::Array(items) => {
            items.iter_mut().for_each(|item| veil(item, names));
            if let [Value::String(name), Value::String(cookies)] = items.as_mut_slice()
                && name == "cookie"
            {
                // Envoy keeps them in no order.
                let mut crumbs: Vec<_> = cookies.split("; ").collect();
                crumbs.sort_unstable();
                *cookies = crumbs.join("; ");
            }
        }
        Value::Object(fields) => fields.values_mut().for_each(|field| veil(field, names)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn veiled(text: &str, name: &str) -> String {
    let mut clean = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(name) {
        let (before, from) = rest.split_at(at);
        let (_, behind) = from.split_at(name.len());
        clean.push_str(before);
        let begins = clean.is_empty() || clean.ends_with(['?', '&', ';', ' ']);
        let (flow, after) = after_flow(behind);
        match after.strip_prefix('=').filter(|_| begins) {
            Some(value) => {
                let end = value.find(['&', ';', ' ']).unwrap_or(value.len());
                let (value, after) = value.split_at(end);
                let mark = if matches!(value, "" | "deleted") { value } else { "<value>" };
                clean.push_str(&format!("{name}{flow}={mark}"));
                rest = after;
            }
            None => {
                clean.push_str(name);
                rest = behind;
            }
        }
    }
    clean + rest
}

/// What stands for the number of a login, and what follows it.
fn after_flow(text: &str) -> (&'static str, &str) {
    let digits = text.strip_prefix('.').and_then(|rest| rest.split_at_checked(FLOW_DIGITS));
    match digits {
        Some((digits, rest)) if digits.bytes().all(|digit| digit.is_ascii_hexdigit()) => {
            (".<flow>", rest)
        }
        _ => ("", text),
    }
}
