//! What may be typed at the cursor.

use iako_analyze::Project;
use iako_resources::{Position, text::Lines};
use iako_schema::{Schema, Type, definitions};
use serde_json::{Value, json};

use crate::{
    convert::range,
    hover::{described, documentation, words},
    names,
    spot::{At, Spot, Step},
};

/// Kinds of items in the protocol.
const FIELD: u8 = 5;
const ENUM_MEMBER: u8 = 20;
const REFERENCE: u8 = 18;

/// Fields of the metadata of every object.
const METADATA: [&str; 4] = ["name", "namespace", "labels", "annotations"];
/// Fields of every object.
const HEAD: [&str; 3] = ["apiVersion", "kind", "metadata"];

/// An item of a list of completions.
struct Item {
    label: String,
    insert: String,
    kind: u8,
    detail: String,
    documentation: String,
}

/// What may stand at the cursor.
pub(crate) fn complete(spot: &Spot, lines: &Lines<'_>, project: &Project) -> Option<Value> {
    let mut items = Vec::new();
    if let Some(reference) = names::reference(spot) {
        let names = names::names(reference, spot, project);
        items.extend(names.into_iter().map(|name| Item {
            insert: name.written.clone(),
            label: name.written,
            kind: REFERENCE,
            detail: name.detail,
            documentation: String::new(),
        }));
    }
    match spot.at {
        At::Key => items.extend(fields(spot)),
        At::Value => items.extend(values(spot)),
    }
    let (start, end) = spot.span;
    let items: Vec<Value> = items.iter().map(|item| written(item, (start, end), lines)).collect();
    Some(json!({"isIncomplete": false, "items": items}))
}

fn written(item: &Item, (start, end): (Position, Position), lines: &Lines<'_>) -> Value {
    json!({
        "label": item.label,
        "kind": item.kind,
        "detail": item.detail,
        "documentation": {"kind": "markdown", "value": item.documentation},
        "filterText": item.label,
        "textEdit": {"range": range(start, end, lines), "newText": item.insert},
    })
}

/// Fields that the mapping at the cursor may have and does not have yet.
fn fields(spot: &Spot) -> Vec<Item> {
    let known = |name: &str| spot.siblings.iter().any(|(key, _)| key == name && key != &spot.word);
    let plain = |name: &str, insert: String| Item {
        label: name.to_owned(),
        insert,
        kind: FIELD,
        detail: String::new(),
        documentation: String::new(),
    };
    let mut items = Vec::new();
    match spot.path.as_slice() {
        [] => {
            let head = HEAD.iter().filter(|name| !known(name));
            items.extend(head.map(|name| match *name {
                "metadata" => plain(name, format!("{name}:")),
                _ => plain(name, format!("{name}: ")),
            }));
        }
        [Step::Key(key)] if key == "metadata" => {
            let names = METADATA.iter().filter(|name| !known(name));
            items.extend(names.map(|name| plain(name, format!("{name}: "))));
        }
        _ => {}
    }
    let Some(schema) = spot.schema() else { return items };
    if let (Type::Text, true) = (schema.kind, spot.path.last() == Some(&Step::Item)) {
        items.extend(of_schema(&schema));
    }
    let new = schema.properties.iter().filter(|property| {
        !known(&property.name) && !items.iter().any(|item| item.label == property.name)
    });
    let new: Vec<Item> = new
        .map(|property| Item {
            label: property.name.clone(),
            insert: match property.schema.kind {
                Type::Object | Type::List => format!("{}:", property.name),
                Type::Any
                | Type::Text
                | Type::Integer
                | Type::Number
                | Type::Boolean
                | Type::IntegerOrText => format!("{}: ", property.name),
            },
            kind: FIELD,
            detail: described(&property.schema),
            documentation: documentation(&property.name, &property.schema),
        })
        .collect();
    items.extend(new);
    items
}

/// Values that the field at the cursor takes.
fn values(spot: &Spot) -> Vec<Item> {
    match spot.pattern().as_str() {
        "apiVersion" => {
            let versions = definitions().iter().flat_map(|definition| {
                let versions = definition.versions.iter();
                versions.map(|version| format!("{}/{}", definition.group, version.name))
            });
            let mut versions: Vec<String> = versions.chain(["v1".to_owned()]).collect();
            versions.sort();
            versions.dedup();
            versions.into_iter().map(|version| value(&version, "")).collect()
        }
        "kind" => {
            let own = definitions()
                .iter()
                .filter(|definition| spot.group.is_empty() || definition.group == spot.group);
            own.map(|definition| value(&definition.kind, &definition.group)).collect()
        }
        _ => spot.schema().map(|schema| of_schema(&schema)).unwrap_or_default(),
    }
}

fn of_schema(schema: &Schema) -> Vec<Item> {
    if schema.kind == Type::Boolean {
        return vec![value("true", ""), value("false", "")];
    }
    words(schema).into_iter().map(|word| value(word, "")).collect()
}

fn value(word: &str, detail: &str) -> Item {
    Item {
        label: word.to_owned(),
        insert: word.to_owned(),
        kind: ENUM_MEMBER,
        detail: detail.to_owned(),
        documentation: String::new(),
    }
}
