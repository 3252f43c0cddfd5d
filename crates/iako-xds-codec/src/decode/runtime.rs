//! What of Envoy's runtime this proxy has: limits of connections.

use iako_xds_api::envoy::config::bootstrap::v3 as pb;
use prost_types::{Struct, value::Kind};

use crate::problem::{At, Fault};
use iako_proxy_config::ConnectionLimits;

const GLOBAL: &str = "overload.global_downstream_max_connections";
const LISTENER: &str = "envoy.resource_limits.listener.";
const LIMIT: &str = ".connection_limit";

/// The limits that the layers say; the last layer counts.
pub(super) fn limits(runtime: &pb::LayeredRuntime, at: &At<'_>) -> Result<ConnectionLimits, Fault> {
    use pb::runtime_layer::LayerSpecifier;
    let mut limits = ConnectionLimits::default();
    let at = at.field("layers");
    for (index, layer) in runtime.layers.iter().enumerate() {
        if let Some(LayerSpecifier::StaticLayer(values)) = &layer.layer_specifier {
            let at = at.index(index);
            add(values, "", &mut limits, &at.field("static_layer"))?;
        }
    }
    Ok(limits)
}

/// A key may be written as a path of structs.
fn add(
    values: &Struct,
    prefix: &str,
    limits: &mut ConnectionLimits,
    at: &At<'_>,
) -> Result<(), Fault> {
    for (name, value) in &values.fields {
        let key = format!("{prefix}{name}");
        let at = at.key(name);
        let listener = || key.strip_prefix(LISTENER)?.strip_suffix(LIMIT);
        match &value.kind {
            Some(Kind::StructValue(inner)) => add(inner, &format!("{key}."), limits, &at)?,
            Some(Kind::NumberValue(number)) if key == GLOBAL => {
                limits.global = Some(limit(*number, &at)?);
            }
            Some(Kind::NumberValue(number)) if listener().is_some() => {
                let name = listener().unwrap_or_default().to_owned();
                limits.listeners.insert(name, limit(*number, &at)?);
            }
            _ => at.warn("has no effect: of the runtime only limits of connections are known"),
        }
    }
    Ok(())
}

fn limit(number: f64, at: &At<'_>) -> Result<u32, Fault> {
    number.to_string().parse().map_err(|_odd| {
        at.invalid(format!("{number} is no number of connections"), "write a whole number from 0")
    })
}
