//! Diagnostics as JSON, in the form that `iako analyze --output json` promises.

use serde_json::{Map, Value};

use super::Diagnostic;

/// One diagnostic: `code`, `severity`, `subject`, `path`, `file`, `line`, `column`, `message`,
/// `help`.
#[must_use]
pub fn diagnostic_json(diagnostic: &Diagnostic) -> Value {
    let mut fields = Map::new();
    let mut put = |name: &str, value: Value| fields.insert(name.to_owned(), value);
    put("code", diagnostic.code.to_string().into());
    put("severity", diagnostic.severity.as_str().into());
    put("subject", diagnostic.subject.clone().into());
    put("path", diagnostic.path.clone().into());
    put("file", diagnostic.origin.file.to_string().into());
    put("line", diagnostic.origin.line.into());
    put("column", diagnostic.origin.column.into());
    put("message", diagnostic.message.clone().into());
    put("help", diagnostic.help.clone().map_or(Value::Null, Value::String));
    Value::Object(fields)
}

/// `{"diagnostics": […]}`.
#[must_use]
pub fn diagnostics_json(diagnostics: &[Diagnostic]) -> Value {
    let list = diagnostics.iter().map(diagnostic_json).collect();
    let mut fields = Map::new();
    fields.insert("diagnostics".to_owned(), Value::Array(list));
    Value::Object(fields)
}
