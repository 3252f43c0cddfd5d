//! What we do with every field of every message: one table, one walk over a resource as it was
//! sent, one page of documentation.
//!
//! Decoding reads the fields that we honour and would pass over the others in silence. This walk
//! is what keeps that from happening: it looks at every field that is *set* in a resource, nested
//! extensions included, and asks the table.

mod page;
mod table;

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::LazyLock;

use prost_reflect::{DynamicMessage, FieldDescriptor, MapKey, ReflectMessage as _, Value};

use super::decode::typed_struct;
use super::pool;
use super::problem::{Fault, FieldPath, Note, Step};
pub use page::support_page;
use table::TABLE;

/// What happens to a field that is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Support {
    /// The field does what its schema says.
    Honoured,
    /// The resource is taken without the field's effect, and a warning says so and why.
    Warned(&'static str),
    /// The resource is refused: without the field's effect it would mean something else.
    Refused(&'static str),
}

/// A reason, and the fields that it is the reason for.
pub(crate) type Because = (&'static str, &'static [&'static str]);

/// What happens to the fields of one message. Every field of the schema is in exactly one list;
/// a test holds the table against the descriptors.
#[derive(Debug)]
pub(crate) struct MessageSupport {
    pub(crate) name: &'static str,
    pub(crate) honoured: &'static [&'static str],
    pub(crate) warned: &'static [Because],
    pub(crate) refused: &'static [Because],
}

impl MessageSupport {
    fn of(&self, field: &str) -> Option<Support> {
        let among = |lists: &'static [Because]| {
            lists.iter().find(|(_, fields)| fields.contains(&field)).map(|(why, _)| *why)
        };
        if self.honoured.contains(&field) {
            return Some(Support::Honoured);
        }
        among(self.warned)
            .map(Support::Warned)
            .or_else(|| among(self.refused).map(Support::Refused))
    }
}

static BY_NAME: LazyLock<HashMap<&'static str, HashMap<u32, Support>>> = LazyLock::new(|| {
    let mut by_name = HashMap::new();
    for message in TABLE.iter().copied().flatten() {
        let Some(descriptor) = pool::message(message.name) else { continue };
        let fields = descriptor
            .fields()
            .filter_map(|field| Some((field.number(), message.of(field.name())?)))
            .collect();
        by_name.insert(message.name, fields);
    }
    by_name
});

/// Whether extensions of this type are in the table. Others are for the decoder to refuse or to
/// skip.
pub(crate) fn knows(full_name: &str) -> bool {
    BY_NAME.contains_key(full_name)
}

/// Looks at every set field of a message that was sent as `type_url` and `bytes`.
pub(crate) fn check(type_url: &str, bytes: &[u8], notes: &mut Vec<Note>) -> Result<(), Fault> {
    Walk { path: FieldPath::default(), notes }.packed(type_url, bytes)
}

struct Walk<'a> {
    path: FieldPath,
    notes: &'a mut Vec<Note>,
}

impl Walk<'_> {
    fn packed(&mut self, type_url: &str, bytes: &[u8]) -> Result<(), Fault> {
        let name = pool::full_name(type_url);
        let (true, Some(descriptor)) = (knows(name), pool::message(name)) else { return Ok(()) };
        let message = DynamicMessage::decode(descriptor, bytes).map_err(|error| {
            let help = "send the bytes of the message that the type URL names";
            Fault::new(self.path.clone(), format!("does not decode as `{name}`: {error}"), help)
        })?;
        if let Some(inner) = typed_struct::content(type_url, bytes) {
            self.path.push(Step::Field("value".to_owned()));
            // A type outside of the table is for the decoder to refuse or to skip.
            if knows(inner.descriptor().full_name()) {
                self.message(&inner)?;
            }
            self.path.pop();
            return Ok(());
        }
        self.message(&message)
    }

    fn message(&mut self, message: &DynamicMessage) -> Result<(), Fault> {
        let descriptor = message.descriptor();
        if descriptor.full_name() == "google.protobuf.Any" {
            return self.any(message);
        }
        if descriptor.package_name() == "google.protobuf" {
            return Ok(());
        }
        let table = BY_NAME.get(descriptor.full_name());
        for unknown in message.unknown_fields() {
            let what = format!(
                "field number {} of `{}` is newer than this program and has no effect",
                unknown.number(),
                descriptor.full_name()
            );
            self.notes.push((self.path.clone(), what));
        }
        for (field, value) in message.fields() {
            self.path.push(Step::Field(field.name().to_owned()));
            let support = table.and_then(|fields| fields.get(&field.number()).copied());
            self.field(&field, value, support)?;
            self.path.pop();
        }
        Ok(())
    }

    fn field(
        &mut self,
        field: &FieldDescriptor,
        value: &Value,
        support: Option<Support>,
    ) -> Result<(), Fault> {
        let refuse = |why: &str| {
            let help =
                format!("remove `{}`; docs/xds-support.md lists what is honoured", field.name());
            Err(Fault::new(self.path.clone(), format!("is not supported: {why}"), help))
        };
        match support {
            Some(Support::Honoured) => self.value(value),
            Some(Support::Warned(why)) => {
                self.notes.push((self.path.clone(), format!("has no effect: {why}")));
                Ok(())
            }
            Some(Support::Refused(why)) => refuse(why),
            None => refuse("its effect is not known here"),
        }
    }

    fn value(&mut self, value: &Value) -> Result<(), Fault> {
        if let Value::Message(message) = value {
            return self.message(message);
        }
        if let Value::List(items) = value {
            for (index, item) in items.iter().enumerate() {
                let Value::Message(message) = item else { return Ok(()) };
                self.path.push(Step::Index(index));
                self.message(message)?;
                self.path.pop();
            }
        }
        if let Value::Map(entries) = value {
            for (key, item) in sorted(entries) {
                let Value::Message(message) = item else { return Ok(()) };
                self.path.push(Step::Key(key));
                self.message(message)?;
                self.path.pop();
            }
        }
        Ok(())
    }

    fn any(&mut self, any: &DynamicMessage) -> Result<(), Fault> {
        let (type_url, bytes) = (any.get_field_by_number(1), any.get_field_by_number(2));
        match (type_url.as_deref(), bytes.as_deref()) {
            (Some(Value::String(type_url)), Some(Value::Bytes(bytes))) => {
                self.packed(type_url, bytes)
            }
            _ => Ok(()),
        }
    }
}

/// The entries of a map field in a fixed order, so that the same resource always gives the same
/// first error.
fn sorted(entries: &HashMap<MapKey, Value>) -> Vec<(String, &Value)> {
    let mut sorted: Vec<_> = entries
        .iter()
        .map(|(key, value)| {
            let key = key.as_str().map_or_else(|| Cow::Owned(format!("{key:?}")), Cow::Borrowed);
            (key.into_owned(), value)
        })
        .collect();
    sorted.sort_by(|(left, _), (right, _)| left.cmp(right));
    sorted
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use iako_xds_api::envoy::config as pb;
    use prost::{Message as _, Name as _};
    use prost_reflect::{Kind, MessageDescriptor};

    use super::*;

    /// The message that a field's value holds, maps looked through.
    fn held(field: &FieldDescriptor) -> Option<MessageDescriptor> {
        let Kind::Message(message) = field.kind() else { return None };
        if !field.is_map() {
            return Some(message);
        }
        message.map_entry_value_field().kind().as_message().cloned()
    }

    #[test]
    fn every_field_of_every_message_that_is_read_is_in_the_table_once() {
        let mut seen = BTreeSet::new();
        for message in TABLE.iter().copied().flatten() {
            assert!(seen.insert(message.name), "{} is in the table twice", message.name);
            let descriptor = pool::message(message.name).expect(message.name);
            let mut listed: Vec<&str> = message.honoured.to_vec();
            listed.extend(
                message.warned.iter().chain(message.refused).flat_map(|(_, fields)| fields.iter()),
            );
            listed.sort_unstable();
            let mut fields: Vec<_> =
                descriptor.fields().map(|field| field.name().to_owned()).collect();
            fields.sort_unstable();
            assert_eq!(listed, fields, "{}", message.name);
        }
    }

    #[test]
    fn every_message_that_an_honoured_field_holds_is_in_the_table() {
        for message in TABLE.iter().copied().flatten() {
            let descriptor = pool::message(message.name).expect(message.name);
            for field in
                descriptor.fields().filter(|field| message.honoured.contains(&field.name()))
            {
                let Some(held) = held(&field) else { continue };
                let covered = held.package_name() == "google.protobuf" || knows(held.full_name());
                assert!(covered, "{}.{} holds {}", message.name, field.name(), held.full_name());
            }
        }
    }

    #[test]
    fn a_field_without_effect_is_named_and_a_dangerous_one_refuses() {
        let mut cluster = pb::cluster::v3::Cluster { name: "a".into(), ..Default::default() };
        cluster.wait_for_warm_on_init = Some(true);
        let url = pb::cluster::v3::Cluster::type_url();
        let mut notes = Vec::new();
        check(&url, &cluster.encode_to_vec(), &mut notes).unwrap();
        let (path, _) = notes.first().expect("a warning");
        assert_eq!(path.to_string(), "wait_for_warm_on_init");

        cluster.health_checks.push(pb::core::v3::HealthCheck::default());
        let fault = check(&url, &cluster.encode_to_vec(), &mut notes).unwrap_err();
        let invalid = fault.of("cluster `a`");
        assert!(
            invalid.to_string().starts_with("cluster `a`: health_checks: is not supported"),
            "{invalid}"
        );
    }
}
