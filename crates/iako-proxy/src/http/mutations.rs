//! Header edits that routes ask for.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use bytes::Bytes;
use iako_http::{
    FieldName, FieldValue, Fields, HeaderEdits, KnownSet, NameRef, RequestEdits, edited_fields,
};
use iako_proxy_config::{AppendAction, HeaderEdit, HeaderName, HeaderValueOption};
use iako_telemetry::{AccessLogFormat, AccessRecord};
use iako_traffic::Headers as _;

use super::request::Request;

/// Formats remembered a worker; when it is full it starts anew.
const FORMATS_MAX: usize = 4096;

/// Compiled values by their text.
type Formats = HashMap<Box<str>, Option<Rc<AccessLogFormat>>>;

thread_local! {
    /// Values with operators, compiled once a worker. `None`: an operator is unknown, and the text is
    /// written as it stands.
    static FORMATS: RefCell<[Formats; 2]> = RefCell::default();
}

/// What stands in place of an operator without a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Absent {
    /// Nothing.
    Empty,
    /// `-`.
    Dash,
}

/// The text of a value, its operators replaced by facts.
pub(crate) fn render(value: &str, record: &AccessRecord<'_>) -> FieldValue {
    render_with(value, record, Absent::Empty)
}

/// The text of a value, its operators replaced by facts or by what stands for an absent one.
pub(crate) fn render_with(value: &str, record: &AccessRecord<'_>, absent: Absent) -> FieldValue {
    if !value.contains('%') {
        return FieldValue::sanitized(value.to_owned());
    }
    let format = FORMATS.with_borrow_mut(|[omitting, dashed]| {
        let formats = if absent == Absent::Empty { omitting } else { dashed };
        if let Some(format) = formats.get(value) {
            return format.clone();
        }
        if formats.len() >= FORMATS_MAX {
            formats.clear();
        }
        let format = AccessLogFormat::text(value).ok();
        let format = format.map(|format| {
            Rc::new(if absent == Absent::Empty { format.omitting_empty() } else { format })
        });
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

/// Adds the headers of one level to a request.
pub(crate) fn add_to_request(request: &mut Request, additions: &[Addition<'_>]) {
    for addition in additions {
        match addition.option.name.as_str() {
            ":authority" | "host" => request.edits.authority = Some(text(addition)),
            ":path" => request.edits.path = Some(text(addition)),
            _ => {}
        }
    }
    let edits = &mut request.edits.fields;
    add_level(request.head.fields(), edits, additions, KnownSet::JOINED_IN_REQUESTS);
}

/// Adds the headers of one level to a response.
pub(crate) fn add_to_response(
    fields: &Fields,
    edits: &mut HeaderEdits,
    additions: &[Addition<'_>],
) {
    add_level(fields, edits, additions, KnownSet::JOINED_IN_RESPONSES);
}

/// Headers of one level, as Envoy adds them: what an action asks about is what was there before the
/// level, and what overwrites comes before what is put beside it.
fn add_level(
    fields: &Fields,
    edits: &mut HeaderEdits,
    additions: &[Addition<'_>],
    joined: KnownSet,
) {
    let named = additions.iter().filter_map(|addition| {
        let name = field_name(&addition.option.name)?;
        let exists = edits.get(fields, NameRef::from(&name)).is_some();
        Some((name, addition, exists))
    });
    let named: Vec<_> = named.collect();
    let mut beside = Vec::new();
    for (name, addition, exists) in named {
        match (addition.option.action, exists) {
            (AppendAction::OverwriteOrAdd, _) | (AppendAction::OverwriteIfExists, true) => {
                edits.set(name, addition.value.clone());
            }
            (AppendAction::AppendOrAdd, _) | (AppendAction::AddIfAbsent, false) => {
                beside.push((name, addition.value.clone()));
            }
            (AppendAction::OverwriteIfExists, false) | (AppendAction::AddIfAbsent, true) => {}
        }
    }
    for (name, value) in beside {
        edits.add(fields, name, value, joined);
    }
}

fn add(fields: &Fields, edits: &mut HeaderEdits, addition: &Addition<'_>, joined: KnownSet) {
    add_level(fields, edits, std::slice::from_ref(addition), joined);
}

/// Adds headers to a message that has none of its own.
pub(crate) fn add_all(edits: &mut HeaderEdits, additions: &[Addition<'_>]) {
    add_to_response(&Fields::default(), edits, additions);
}

/// Adds one header to a copy of a request.
pub(crate) fn add_to_copy(
    fields: &Fields,
    edits: &mut RequestEdits,
    option: &HeaderValueOption,
    record: &AccessRecord<'_>,
) {
    let Some(addition) = rendered(std::slice::from_ref(option), record).pop() else { return };
    match option.name.as_str() {
        ":authority" | "host" => edits.authority = Some(text(&addition)),
        ":path" => edits.path = Some(text(&addition)),
        _ => add(fields, &mut edits.fields, &addition, KnownSet::JOINED_IN_REQUESTS),
    }
}

/// Removes headers.
pub(crate) fn remove(edits: &mut HeaderEdits, names: &[HeaderName]) {
    for name in names {
        if let Some(name) = field_name(name) {
            edits.remove(name);
        }
    }
}

fn field_name(name: &HeaderName) -> Option<FieldName> {
    FieldName::parse(name.as_str().as_bytes()).ok()
}

/// Changes a request before anything else looks at it. Source: `early_header_mutation_extensions`.
pub(crate) fn edit_early(request: &mut Request, edits: &[HeaderEdit], rendered: &[FieldValue]) {
    let mut rendered = rendered.iter();
    for edit in edits {
        match edit {
            HeaderEdit::Add(option) => {
                let Some(value) = rendered.next() else { continue };
                if option.keep_empty || !value.as_bytes().is_empty() {
                    let addition = Addition { option, value: value.clone() };
                    add_to_request(request, std::slice::from_ref(&addition));
                }
            }
            HeaderEdit::Remove(name) => {
                remove(&mut request.edits.fields, std::slice::from_ref(name));
            }
            HeaderEdit::RemoveMatching(names) => {
                let mut gone = Vec::new();
                request.view().each(&mut |name, _| {
                    if names.matches(name) {
                        gone.extend(FieldName::parse(name.as_bytes()));
                    }
                });
                gone.into_iter().for_each(|name| request.edits.fields.remove(name));
            }
        }
    }
}

/// Applies one edit to a response; `value` is what it adds.
pub(crate) fn edit_one_response(
    fields: &Fields,
    edits: &mut HeaderEdits,
    edit: &HeaderEdit,
    value: Option<FieldValue>,
) {
    match (edit, value) {
        (HeaderEdit::Add(option), Some(value)) => {
            if option.keep_empty || !value.as_bytes().is_empty() {
                let joined = KnownSet::JOINED_IN_RESPONSES;
                add(fields, edits, &Addition { option, value }, joined);
            }
        }
        (HeaderEdit::Add(_), None) => {}
        (HeaderEdit::Remove(name), _) => remove(edits, std::slice::from_ref(name)),
        (HeaderEdit::RemoveMatching(names), _) => {
            let mut gone = Vec::new();
            for field in edited_fields(fields, edits) {
                let text = String::from_utf8_lossy(field.name).to_ascii_lowercase();
                if names.matches(&text) {
                    gone.extend(FieldName::parse(text.as_bytes()));
                }
            }
            gone.into_iter().for_each(|name| edits.remove(name));
        }
    }
}

/// The values of early edits that add something, in order.
pub(crate) fn rendered_early(edits: &[HeaderEdit], record: &AccessRecord<'_>) -> Vec<FieldValue> {
    let added = edits.iter().filter_map(|edit| match edit {
        HeaderEdit::Add(option) => Some(render(&option.value, record)),
        HeaderEdit::Remove(_) | HeaderEdit::RemoveMatching(_) => None,
    });
    added.collect()
}

/// A field value of a name that is given as text, or nothing when it is no name.
pub(crate) fn set(edits: &mut HeaderEdits, name: &str, value: impl Into<Bytes>) {
    if let Ok(name) = FieldName::parse(name.as_bytes()) {
        edits.set(name, FieldValue::sanitized(value));
    }
}
