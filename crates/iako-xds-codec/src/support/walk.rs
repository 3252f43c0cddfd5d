//! The walk over every field that is set in a resource.

use std::collections::HashMap;

use prost::Message as _;
use prost::bytes::Buf as _;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

use super::Support;
use super::shape::{self, Field, Held};
use crate::decode::typed_struct;
use crate::pool;
use crate::problem::{At, Fault, FieldPath, Note, Step};

/// How many messages may be nested, extensions included. Bounds the stack that a resource can
/// make this walk and the decoder use.
const DEPTH_MAX: usize = 100;

const ANY: &str = "google.protobuf.Any";

/// Looks at every set field of a message that was sent as `type_url` and `bytes`.
pub(crate) fn check(type_url: &str, bytes: &[u8], notes: &mut Vec<Note>) -> Result<(), Fault> {
    Walk { path: FieldPath::default(), depth: 0, notes }.packed(type_url, bytes)
}

/// Looks at every set field of a part of a resource: a message of the type `name` that stands at `at`.
pub(crate) fn check_part(at: &At<'_>, name: &str, bytes: &[u8]) -> Result<(), Fault> {
    let mut notes = at.notes().borrow_mut();
    Walk { path: at.path(), depth: at.path().steps().len(), notes: &mut notes }.message(name, bytes)
}

struct Walk<'a> {
    path: FieldPath,
    depth: usize,
    notes: &'a mut Vec<Note>,
}

impl Walk<'_> {
    /// An extension; one of a type outside of the table is for the decoder.
    fn packed(&mut self, type_url: &str, bytes: &[u8]) -> Result<(), Fault> {
        let name = pool::full_name(type_url);
        if let Some(inner) = typed_struct::content(type_url, bytes) {
            return self.inside(Step::Field("value".to_owned()), |walk| {
                walk.packed(&inner.type_url, &inner.value)
            });
        }
        if shape::knows(name) { self.message(name, bytes) } else { Ok(()) }
    }

    fn message(&mut self, name: &str, bytes: &[u8]) -> Result<(), Fault> {
        if self.depth >= DEPTH_MAX {
            let problem = format!("is nested more than {DEPTH_MAX} messages deep");
            return Err(Fault::new(self.path.clone(), problem, "nest less"));
        }
        if name == ANY {
            let any = prost_types::Any::decode(bytes).map_err(|error| self.broken(name, error))?;
            return self.packed(&any.type_url, &any.value);
        }
        self.depth = self.depth.saturating_add(1);
        self.fields(name, bytes)?;
        self.depth = self.depth.saturating_sub(1);
        Ok(())
    }

    fn fields(&mut self, name: &str, mut bytes: &[u8]) -> Result<(), Fault> {
        let known = shape::fields(name).unwrap_or_default();
        // How often each field has been seen: the place in a list.
        let mut seen: HashMap<u32, usize> = HashMap::new();
        while !bytes.is_empty() {
            let (number, content) = next(&mut bytes).map_err(|error| self.broken(name, error))?;
            let place = seen.entry(number).or_default();
            let index = *place;
            *place = place.saturating_add(1);
            match known.iter().find(|field| field.number == number) {
                Some(field) => {
                    let step = Step::Field(field.name.to_owned());
                    self.inside(step, |walk| walk.field(field, content, index))?;
                }
                None if index == 0 => self.unknown(name, number),
                None => {}
            }
        }
        Ok(())
    }

    fn unknown(&mut self, message: &str, number: u32) {
        let what = format!(
            "field number {number} of `{message}` is newer than this program and has no effect"
        );
        self.notes.push((self.path.clone(), what));
    }

    fn field(&mut self, field: &Field, content: &[u8], index: usize) -> Result<(), Fault> {
        match field.support {
            Support::Honoured => self.held(field.held, content, index),
            Support::Warned(_) if index > 0 => Ok(()),
            Support::Warned(why) => {
                self.notes.push((self.path.clone(), format!("has no effect: {why}")));
                Ok(())
            }
            Support::Refused(why) => {
                let help =
                    format!("remove `{}`; docs/xds-support.md lists what is honoured", field.name);
                Err(Fault::new(self.path.clone(), format!("is not supported: {why}"), help))
            }
        }
    }

    fn held(&mut self, held: Held, content: &[u8], index: usize) -> Result<(), Fault> {
        match held {
            Held::Value => Ok(()),
            Held::One(message) => self.message(message, content),
            Held::Several(message) => {
                self.inside(Step::Index(index), |walk| walk.message(message, content))
            }
            Held::ByKey(message) => {
                let (key, value) = entry(content).map_err(|error| self.broken(message, error))?;
                self.inside(Step::Key(key), |walk| walk.message(message, value))
            }
        }
    }

    fn inside(
        &mut self,
        step: Step,
        look: impl FnOnce(&mut Self) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        self.path.push(step);
        look(self)?;
        self.path.pop();
        Ok(())
    }

    fn broken(&self, name: &str, error: impl std::fmt::Display) -> Fault {
        let help = "send the bytes of the message that the type URL names";
        Fault::new(self.path.clone(), format!("does not decode as `{name}`: {error}"), help)
    }
}

/// The next field of a message: its number, and its content when that has a length.
fn next<'a>(bytes: &mut &'a [u8]) -> Result<(u32, &'a [u8]), prost::DecodeError> {
    let (number, wire_type) = decode_key(bytes)?;
    if wire_type != WireType::LengthDelimited {
        skip_field(wire_type, number, bytes, DecodeContext::default())?;
        return Ok((number, &[]));
    }
    let length = usize::try_from(decode_varint(bytes)?).unwrap_or(usize::MAX);
    // A length beyond the end takes what there is; the decoder has refused such bytes before.
    let whole: &'a [u8] = bytes;
    let content = whole.get(..length).unwrap_or(whole);
    bytes.advance(content.len());
    Ok((number, content))
}

/// The key and the value of an entry of a map of messages.
fn entry(mut bytes: &[u8]) -> Result<(String, &[u8]), prost::DecodeError> {
    let (mut key, mut value) = (String::new(), [].as_slice());
    while !bytes.is_empty() {
        match next(&mut bytes)? {
            (1, content) => key = String::from_utf8_lossy(content).into_owned(),
            (2, content) => value = content,
            _ => {}
        }
    }
    Ok((key, value))
}
