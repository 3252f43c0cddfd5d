//! The numbers and types of the fields that the table names.
//!
//! They stand in `shapes.txt`, written from the descriptors by a test, so that a proxy that takes
//! resources from a control plane need not hold the descriptors themselves, which are some
//! megabytes of memory.

use std::collections::HashMap;
use std::sync::LazyLock;

use super::{Support, TABLE};

/// One message a line without indentation, its fields below: number, name, and for fields that
/// hold messages a sign (`>` one, `]` several, `*` a map) and the message.
const SHAPES: &str = include_str!("shapes.txt");

/// A field of a message in the table.
#[derive(Debug, Clone, Copy)]
pub(super) struct Field {
    pub(super) number: u32,
    pub(super) name: &'static str,
    pub(super) held: Held,
    pub(super) support: Support,
}

/// What a field holds, as far as the walk goes into it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Held {
    /// A value, or a message of `google.protobuf` other than `Any`.
    Value,
    /// A message, by its full name.
    One(&'static str),
    /// Several messages.
    Several(&'static str),
    /// Messages by key.
    ByKey(&'static str),
}

static BY_NAME: LazyLock<HashMap<&'static str, Vec<Field>>> = LazyLock::new(|| {
    let supports: HashMap<_, _> =
        TABLE.iter().copied().flatten().map(|message| (message.name, message)).collect();
    let mut by_name: HashMap<&'static str, Vec<Field>> = HashMap::new();
    let mut message = "";
    for line in SHAPES.lines() {
        let Some(field) = line.strip_prefix(' ') else {
            message = line;
            by_name.entry(message).or_default();
            continue;
        };
        let support = |name: &str| supports.get(message).and_then(|message| message.of(name));
        if let (Some(field), Some(fields)) = (parse(field, support), by_name.get_mut(message)) {
            fields.push(field);
        }
    }
    by_name
});

fn parse(line: &'static str, support: impl Fn(&str) -> Option<Support>) -> Option<Field> {
    let mut words = line.split(' ');
    let (number, name) = (words.next()?.parse().ok()?, words.next()?);
    let held = match (words.next(), words.next()) {
        (Some(">"), Some(message)) => Held::One(message),
        (Some("]"), Some(message)) => Held::Several(message),
        (Some("*"), Some(message)) => Held::ByKey(message),
        _ => Held::Value,
    };
    Some(Field { number, name, held, support: support(name)? })
}

/// The fields of a message in the table.
pub(super) fn fields(full_name: &str) -> Option<&'static [Field]> {
    BY_NAME.get(full_name).map(Vec::as_slice)
}

/// Whether messages of this type are in the table. Other extensions are for the decoder to refuse
/// or to skip.
pub(crate) fn knows(full_name: &str) -> bool {
    BY_NAME.contains_key(full_name)
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use expect_test::expect_file;

    use super::*;
    use crate::pool;

    fn line(field: &prost_reflect::FieldDescriptor) -> String {
        let entry = field.kind();
        let (sign, kind) = match entry.as_message() {
            Some(entry) if field.is_map() => ("*", entry.map_entry_value_field().kind()),
            _ if field.is_list() => ("]", entry),
            _ => (">", entry),
        };
        let line = format!(" {} {}", field.number(), field.name());
        match kind.as_message() {
            Some(held) if held.full_name() == "google.protobuf.Any" => {
                format!("{line} {sign} {}", held.full_name())
            }
            Some(held) if held.package_name() != "google.protobuf" => {
                format!("{line} {sign} {}", held.full_name())
            }
            _ => line,
        }
    }

    /// With `UPDATE_EXPECT=1` in the environment, writes the file.
    #[test]
    fn the_shapes_are_those_of_the_descriptors() {
        let mut made = String::new();
        for message in TABLE.iter().copied().flatten() {
            let descriptor = pool::message(message.name).unwrap();
            writeln!(made, "{}", message.name).unwrap();
            for field in descriptor.fields() {
                writeln!(made, "{}", line(&field)).unwrap();
            }
        }
        expect_file!["shapes.txt"].assert_eq(&made);
    }
}
