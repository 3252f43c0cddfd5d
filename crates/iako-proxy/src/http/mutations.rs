//! Header edits that routes ask for.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use bytes::Bytes;
use iako_http::{FieldName, FieldValue, Fields, HeaderEdits, NameRef};
use iako_proxy_config::{AppendAction, HeaderMutations, HeaderName, HeaderValueOption};
use iako_telemetry::{AccessLogFormat, AccessRecord};

use super::request::Request;

/// Formats remembered a worker; when it is full it starts anew.
const FORMATS_MAX: usize = 4096;

/// Compiled values by their text.
type Formats = HashMap<Box<str>, Option<Rc<AccessLogFormat>>>;

thread_local! {
    /// Values with operators, compiled once a worker. `None`: an operator is unknown, and the text is
    /// written as it stands.
    static FORMATS: RefCell<Formats> = RefCell::default();
}

/// The text of a value, its operators replaced by facts.
pub(crate) fn render(value: &str, record: &AccessRecord<'_>) -> FieldValue {
    if !value.contains('%') {
        return FieldValue::sanitized(value.to_owned());
    }
    let format = FORMATS.with_borrow_mut(|formats| {
        if let Some(format) = formats.get(value) {
            return format.clone();
        }
        if formats.len() >= FORMATS_MAX {
            formats.clear();
        }
        let format =
            AccessLogFormat::text(value).ok().map(|format| Rc::new(format.omitting_empty()));
        formats.insert(value.into(), format.clone());
        format
    });
    let Some(format) = format else { return FieldValue::sanitized(value.to_owned()) };
    let mut text = Vec::new();
    format.render(record, &mut text);
    FieldValue::sanitized(text)
}

/// One value that is to be added, rendered before anything is changed.
#[derive(Debug)]
pub(crate) struct Addition<'m> {
    option: &'m HeaderValueOption,
    value: FieldValue,
}

/// Renders the additions of one level.
pub(crate) fn rendered<'m>(
    options: &'m [HeaderValueOption],
    record: &AccessRecord<'_>,
) -> Vec<Addition<'m>> {
    let additions =
        options.iter().map(|option| Addition { option, value: render(&option.value, record) });
    additions.filter(|one| one.option.keep_empty || !one.value.as_bytes().is_empty()).collect()
}

/// The value as text; a target that is none is sent with replacement characters.
fn text(addition: &Addition<'_>) -> Box<str> {
    String::from_utf8_lossy(addition.value.as_bytes()).into()
}

/// Applies the edits of one level to a request.
pub(crate) fn edit_request(
    request: &mut Request,
    additions: &[Addition<'_>],
    mutations: &HeaderMutations,
) {
    for addition in additions {
        match addition.option.name.as_str() {
            ":authority" | "host" => {
                request.edits.authority = Some(text(addition));
            }
            ":path" => request.edits.path = Some(text(addition)),
            _ => add(request.head.fields(), &mut request.edits.fields, addition),
        }
    }
    remove(&mut request.edits.fields, &mutations.request_remove);
}

/// Applies the edits of one level to a response.
pub(crate) fn edit_response(
    fields: &Fields,
    edits: &mut HeaderEdits,
    additions: &[Addition<'_>],
    mutations: &HeaderMutations,
) {
    for addition in additions {
        add(fields, edits, addition);
    }
    remove(edits, &mutations.response_remove);
}

fn add(fields: &Fields, edits: &mut HeaderEdits, addition: &Addition<'_>) {
    let Some(name) = field_name(&addition.option.name) else { return };
    let value = addition.value.clone();
    match addition.option.action {
        AppendAction::AppendOrAdd => edits.append(name, value),
        AppendAction::AddIfAbsent => edits.add_if_absent(name, value),
        AppendAction::OverwriteOrAdd => edits.set(name, value),
        AppendAction::OverwriteIfExists => {
            if edits.get(fields, NameRef::from(&name)).is_some() {
                edits.set(name, value);
            }
        }
    }
}

fn remove(edits: &mut HeaderEdits, names: &[HeaderName]) {
    for name in names {
        if let Some(name) = field_name(name) {
            edits.remove(name);
        }
    }
}

fn field_name(name: &HeaderName) -> Option<FieldName> {
    FieldName::parse(name.as_str().as_bytes()).ok()
}

/// A field value of a name that is given as text, or nothing when it is no name.
pub(crate) fn set(edits: &mut HeaderEdits, name: &str, value: impl Into<Bytes>) {
    if let Ok(name) = FieldName::parse(name.as_bytes()) {
        edits.set(name, FieldValue::sanitized(value));
    }
}
