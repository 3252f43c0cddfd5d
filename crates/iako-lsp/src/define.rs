//! Where the name under the cursor is defined.

use iako_analyze::Project;
use iako_resources::{Position, text::Lines};
use serde_json::{Value, json};

use crate::{
    convert::{range, uri_of},
    names::{definitions, reference},
    spot::Spot,
};

/// The places of the definitions; `None` when the field refers to nothing.
pub(crate) fn define(spot: &Spot, _lines: &Lines<'_>, project: &Project) -> Option<Value> {
    let origins = definitions(reference(spot)?, spot, project);
    let places: Vec<Value> = origins
        .iter()
        .map(|origin| {
            let lines = Lines::new(project.text(&origin.file).unwrap_or_default());
            let start = Position { line: origin.line.max(1), column: origin.column.max(1) };
            json!({"uri": uri_of(&origin.file), "range": range(start, start, &lines)})
        })
        .collect();
    Some(Value::Array(places))
}
