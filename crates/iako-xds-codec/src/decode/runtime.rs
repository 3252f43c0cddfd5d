//! Layers of the runtime, and the values in them.

use iako_types::{Fraction, FractionDenominator, Percent};
use iako_xds_api::envoy::config::bootstrap::v3 as pb;
use iako_xds_api::envoy::service::runtime::v3 as rtds;
use prost_types::{Struct, value::Kind};

use super::source;
use crate::problem::{At, Fault};
use crate::text;
use crate::text::document::{Node, NodeValue, Style};
use iako_proxy_config::{
    LayeredRuntime, RuntimeDirectory, RuntimeLayer, RuntimeResource, RuntimeSource, RuntimeValue,
    RuntimeValues,
};

pub(super) fn layers(config: &pb::LayeredRuntime, at: &At<'_>) -> Result<LayeredRuntime, Fault> {
    if config.layers.is_empty() {
        // As Envoy: who asks for a runtime without saying more can change it by hand.
        let layer = RuntimeLayer { name: String::new(), source: RuntimeSource::Admin };
        return Ok(LayeredRuntime { layers: vec![layer] });
    }
    let at = at.field("layers");
    let mut layers: Vec<RuntimeLayer> = Vec::new();
    for (index, config) in config.layers.iter().enumerate() {
        let at = at.index(index);
        let layer = layer(config, &at)?;
        if layers.iter().any(|earlier| earlier.name == layer.name) {
            let problem = format!("`{}` is used twice", layer.name);
            return Err(at.field("name").invalid(problem, "give each layer its own name"));
        }
        let is_admin = |layer: &RuntimeLayer| matches!(layer.source, RuntimeSource::Admin);
        if is_admin(&layer) && layers.iter().any(is_admin) {
            let help = "leave all but one of them out";
            return Err(at.field("admin_layer").invalid("is there a second time", help));
        }
        layers.push(layer);
    }
    Ok(LayeredRuntime { layers })
}

fn layer(config: &pb::RuntimeLayer, at: &At<'_>) -> Result<RuntimeLayer, Fault> {
    use pb::runtime_layer::LayerSpecifier;
    if config.name.is_empty() {
        return Err(at.field("name").missing("write a name for the layer"));
    }
    let source = match &config.layer_specifier {
        Some(LayerSpecifier::StaticLayer(fields)) => {
            RuntimeSource::Static(values(fields, &at.field("static_layer"))?)
        }
        Some(LayerSpecifier::DiskLayer(disk)) => RuntimeSource::Disk(RuntimeDirectory {
            root: disk.symlink_root.clone().into(),
            subdirectory: disk.subdirectory.clone().into(),
            append_service_cluster: disk.append_service_cluster,
        }),
        Some(LayerSpecifier::AdminLayer(_)) => RuntimeSource::Admin,
        Some(LayerSpecifier::RtdsLayer(layer)) => {
            let at = at.field("rtds_layer");
            let at_name = at.field("name");
            let at_source = at.field("rtds_config");
            let from = layer.rtds_config.as_ref();
            let from = from.ok_or_else(|| at_source.missing("say who serves the layer"))?;
            let places = (&at_name, &at_source);
            RuntimeSource::Discovered(source::sourced_name(&layer.name, Some(from), places)?)
        }
        None => {
            let help = "write `static_layer`, `disk_layer`, `admin_layer` or `rtds_layer`";
            return Err(at.missing(help));
        }
    };
    Ok(RuntimeLayer { name: config.name.clone(), source })
}

/// A layer that a discovery service tells.
pub(super) fn resource(config: &rtds::Runtime, at: &At<'_>) -> Result<RuntimeResource, Fault> {
    let values = match &config.layer {
        Some(fields) => values(fields, &at.field("layer"))?,
        None => RuntimeValues::new(),
    };
    Ok(RuntimeResource { name: config.name.clone(), values })
}

/// Every value of a tree, by the path that leads to it.
fn values(fields: &Struct, at: &At<'_>) -> Result<RuntimeValues, Fault> {
    let mut values = RuntimeValues::new();
    walk(fields, "", &mut values, at)?;
    Ok(values)
}

fn walk(fields: &Struct, prefix: &str, into: &mut RuntimeValues, at: &At<'_>) -> Result<(), Fault> {
    for (name, value) in &fields.fields {
        let (key, at) = (format!("{prefix}{name}"), at.key(name));
        let value = match &value.kind {
            Some(Kind::NumberValue(number)) => RuntimeValue::of_number(*number),
            Some(Kind::BoolValue(on)) => RuntimeValue::from(*on),
            Some(Kind::StringValue(text)) => of_word(text),
            Some(Kind::StructValue(inner)) if is_tree(inner) => {
                walk(inner, &format!("{key}."), into, &at)?;
                continue;
            }
            Some(Kind::StructValue(inner)) => of_object(inner),
            Some(Kind::ListValue(_) | Kind::NullValue(_)) | None => {
                let help = "write a number, true or false, a text, or a numerator and denominator";
                return Err(at.invalid(format!("`{key}` is no value of the runtime"), help));
            }
        };
        // A key that is written twice, in a tree and with its dots, counts as it comes first.
        into.entry(key).or_insert(value);
    }
    Ok(())
}

/// Whether an object is a branch; a fraction, and what is empty, is a value.
fn is_tree(fields: &Struct) -> bool {
    let fields = &fields.fields;
    !fields.is_empty() && !fields.contains_key("numerator") && !fields.contains_key("denominator")
}

/// A text in a document. It is a number where it reads as one, and never a switch or a fraction.
fn of_word(word: &str) -> RuntimeValue {
    let number = word.trim().parse::<f64>().ok();
    number.map_or_else(
        || RuntimeValue::of_text(word),
        |number| RuntimeValue { number: Some(number), ..RuntimeValue::of_text(word) },
    )
}

fn of_object(fields: &Struct) -> RuntimeValue {
    let json = serde_json::Value::Object(text::struct_to_json(fields));
    RuntimeValue::of_object(json.to_string(), fraction(&json))
}

/// A fraction that is written as an object; none when it is anything else.
fn fraction(json: &serde_json::Value) -> Option<Percent> {
    let fields = json.as_object()?;
    let mut fraction = Fraction { numerator: 0, denominator: FractionDenominator::Hundred };
    for (name, value) in fields {
        match name.as_str() {
            "numerator" => fraction.numerator = whole(value)?,
            "denominator" => fraction.denominator = denominator(value)?,
            _ => return None,
        }
    }
    Some(Percent::from_fraction(fraction))
}

/// A whole number, or a text that is one, as JSON of protobuf has it.
fn whole(value: &serde_json::Value) -> Option<u32> {
    let text = |value: &serde_json::Value| value.as_str()?.parse().ok();
    value.as_u64().and_then(|number| number.try_into().ok()).or_else(|| text(value))
}

fn denominator(value: &serde_json::Value) -> Option<FractionDenominator> {
    match (value.as_str(), value.as_u64()) {
        (Some("HUNDRED"), _) | (_, Some(0)) => Some(FractionDenominator::Hundred),
        (Some("TEN_THOUSAND"), _) | (_, Some(1)) => Some(FractionDenominator::TenThousand),
        (Some("MILLION"), _) | (_, Some(2)) => Some(FractionDenominator::Million),
        _ => None,
    }
}

/// A value as it stands in a file or a query, which is read as YAML.
///
/// # Errors
/// When it is no YAML.
pub(super) fn of_text(written: &str) -> Result<RuntimeValue, String> {
    if written.trim().is_empty() {
        return Ok(RuntimeValue::of_text(written));
    }
    let node = Node::parse(written).map_err(|fault| fault.problem)?;
    let value = match &node.value {
        NodeValue::Scalar { text, style: Style::Plain } => plain(text),
        NodeValue::Scalar { .. } | NodeValue::List(_) => RuntimeValue::default(),
        NodeValue::Map(_) => {
            let json = node.to_json();
            RuntimeValue::of_object(json.to_string(), fraction(&json))
        }
    };
    Ok(value.shown_as(written))
}

/// A word of YAML that stands without quotes.
fn plain(word: &str) -> RuntimeValue {
    let switch = match word.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "y" => Some(true),
        "false" | "no" | "off" | "n" => Some(false),
        _ => None,
    };
    if let Some(on) = switch {
        return RuntimeValue::from(on);
    }
    let hexadecimal =
        word.strip_prefix("0x").and_then(|digits| u32::from_str_radix(digits, 16).ok());
    let octal = || {
        let digits = word.strip_prefix('0').filter(|digits| !digits.is_empty())?;
        u32::from_str_radix(digits, 8).ok()
    };
    if let Some(number) = hexadecimal.or_else(octal) {
        return RuntimeValue::of_number(number.into());
    }
    // `inf` and `nan` are words, not numbers.
    let digits = word.contains(|letter: char| letter.is_ascii_digit());
    match word.parse::<f64>().ok().filter(|_| digits) {
        Some(number) => RuntimeValue::of_number(number),
        None => RuntimeValue::of_text(word),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share(written: &str) -> Option<u32> {
        of_text(written).unwrap().share().map(Percent::parts_per_million)
    }

    #[test]
    fn texts_of_files_are_read_as_yaml() {
        assert_eq!(share("100"), Some(1_000_000));
        assert_eq!(share(" 5 "), Some(50_000));
        assert_eq!(share("1e1"), Some(100_000));
        assert_eq!(share("0x10"), Some(160_000));
        assert_eq!(share("99.5"), Some(990_000));
        assert_eq!(share("{numerator: 5, denominator: TEN_THOUSAND}"), Some(500));
        assert_eq!(share("{\"numerator\": 3}"), Some(30_000));
        for none in ["true", "\"100\"", "-1", "abc", "inf", "50%", "{numerator: 1, x: 2}", ""] {
            assert_eq!(share(none), None, "{none}");
        }
        assert!(of_text("{unbalanced").is_err());
        assert_eq!(of_text("Yes").unwrap().switch, Some(true));
        assert_eq!(of_text("0").unwrap().switch, Some(false));
        assert_eq!(of_text("Yes").unwrap().text, "Yes");
    }
}
