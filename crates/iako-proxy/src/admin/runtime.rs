//! The runtime, shown and set by hand.

use std::collections::BTreeSet;

use http::StatusCode;
use serde_json::{Map, Value, json};

use super::Page;
use crate::{config_task::RuntimeView, proxy::Control};

/// The values of every layer by key, and the one that counts.
pub(super) fn show(view: &RuntimeView) -> Value {
    let names: Vec<&str> = view.layers.iter().map(|(name, _)| name.as_str()).collect();
    let keys: BTreeSet<&str> =
        view.layers.iter().flat_map(|(_, values)| values.keys().map(String::as_str)).collect();
    let mut entries = Map::new();
    for key in keys {
        let values: Vec<&str> = view
            .layers
            .iter()
            .map(|(_, values)| values.get(key).map_or("", |value| value.text.as_str()))
            .collect();
        let last = values.iter().rfind(|text| !text.is_empty()).copied().unwrap_or_default();
        let entry = json!({"layer_values": values, "final_value": last});
        entries.insert(key.to_owned(), entry);
    }
    json!({"layers": names, "entries": entries})
}

/// Sets values in the layer that is for that.
pub(super) async fn modify(control: &Control, values: Vec<(String, String)>) -> Page {
    if values.is_empty() {
        let usage = "usage: /runtime_modify?key1=value1&key2=value2, or the same as a form;\n\
                     an empty value takes back what was set before\n";
        return Page::text(usage).with(StatusCode::BAD_REQUEST);
    }
    match control.modify_runtime(values).await {
        Ok(()) => Page::text("OK\n"),
        Err(error) => Page::text(error).with(StatusCode::SERVICE_UNAVAILABLE),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use iako_proxy_config::{RuntimeValue, RuntimeValues};

    use super::*;

    #[test]
    fn the_last_layer_that_says_anything_counts() {
        let layer = |pairs: &[(&str, f64)]| -> Arc<RuntimeValues> {
            let value = |number| RuntimeValue::of_number(number);
            Arc::new(
                pairs.iter().map(|(key, number)| ((*key).to_owned(), value(*number))).collect(),
            )
        };
        let layers = vec![
            ("one".to_owned(), layer(&[("a", 1.0), ("b", 2.0)])),
            ("two".to_owned(), layer(&[("b", 3.0)])),
        ];
        assert_eq!(
            show(&RuntimeView { layers }),
            json!({"layers": ["one", "two"], "entries": {
                "a": {"layer_values": ["1", ""], "final_value": "1"},
                "b": {"layer_values": ["2", "3"], "final_value": "3"},
            }})
        );
    }
}
