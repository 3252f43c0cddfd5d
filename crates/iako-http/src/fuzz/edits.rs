//! Changes of headers.

use bytes::BytesMut;

use crate::decode::RequestDecoder;
use crate::edits::{HeaderEdits, edited_fields};
use crate::field::{FieldName, FieldValue};
use crate::known::KnownSet;
use crate::limits::Limits;

/// Names of both sorts, so that known and other ones meet.
const NAMES: [&str; 6] =
    ["a", "x-other", "x-forwarded-client-cert", "x-forwarded-for", "set-cookie", "x-request-id"];
/// Those of them that become one field when a head has them more than once.
const JOINED: [&str; 2] = ["x-forwarded-for", "x-request-id"];
const VALUES: [&str; 3] = ["1", "two", ""];

/// Reads the bytes as fields and changes of them, three bytes each: what is to be done, a name, a
/// value. The result must be what a plain list would have become.
pub fn fuzz_edits(input: &[u8]) {
    let mut steps = input.chunks_exact(3).take(64).map(|step| {
        let [what, name, value] = step else { return (0, "a", "") };
        let pick = |from: &'static [&'static str], by: u8| {
            from.get(usize::from(by) % from.len()).copied().unwrap_or_default()
        };
        (*what, pick(&NAMES, *name), pick(&VALUES, *value))
    });
    let mut model: Vec<(&str, String)> =
        steps.by_ref().take(8).map(|(_, name, value)| (name, value.to_owned())).collect();
    let lines: String = model.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    JOINED.iter().for_each(|name| join(&mut model, name, None));
    let text = format!("GET / HTTP/1.1\r\nhost: a\r\n{lines}\r\n");
    let mut bytes = BytesMut::from(text.as_bytes());
    let Ok(Some(head)) = RequestDecoder::new(Limits::default()).head(&mut bytes) else { return };
    let mut edits = HeaderEdits::default();
    for (what, name, value) in steps {
        let (Ok(field), Ok(text)) =
            (FieldName::parse(name.as_bytes()), FieldValue::parse(value.as_bytes()))
        else {
            return;
        };
        match what % 5 {
            0 => {
                edits.set(field, text);
                model.retain(|(other, _)| *other != name);
                model.push((name, value.to_owned()));
            }
            1 => {
                edits.append(field, text);
                model.push((name, value.to_owned()));
            }
            2 => {
                edits.add_if_absent(field, text);
                if model.iter().all(|(other, _)| *other != name) {
                    model.push((name, value.to_owned()));
                }
            }
            3 => {
                edits.add(head.fields(), field, text, KnownSet::JOINED_IN_REQUESTS);
                if JOINED.contains(&name) {
                    join(&mut model, name, Some(value));
                } else {
                    model.push((name, value.to_owned()));
                }
            }
            _ => {
                edits.remove(field);
                model.retain(|(other, _)| *other != name);
            }
        }
    }
    for name in NAMES {
        let of = edited_fields(head.fields(), &edits).filter(|field| field.name == name.as_bytes());
        let changed: Vec<&[u8]> = of.map(|field| field.value).collect();
        let wanted = model.iter().filter(|(other, _)| *other == name);
        let wanted: Vec<&[u8]> = wanted.map(|(_, value)| value.as_bytes()).collect();
        debug_assert!(changed == wanted, "{name} became {changed:?} in place of {wanted:?}");
    }
}

/// Makes one of all fields of a name and what is added to them: at the place of the first when nothing
/// is added, else at the end.
fn join(model: &mut Vec<(&'static str, String)>, name: &'static str, added: Option<&str>) {
    let of = |(other, _): &&(&str, String)| *other == name;
    let mut values: Vec<&str> = model.iter().filter(of).map(|(_, value)| value.as_str()).collect();
    values.extend(added);
    if values.is_empty() {
        return;
    }
    let joined = values.join(",");
    model.retain(|(other, _)| *other != name);
    model.push((name, joined));
}
