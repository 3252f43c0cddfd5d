//! What we do with every field of every message: one table, one walk over a resource as it was
//! sent, one page of documentation.
//!
//! Decoding reads the fields that we honour and would pass over the others in silence. This walk
//! is what keeps that from happening: it looks at every field that is *set* in a resource, nested
//! extensions included, and asks the table.

mod page;
mod shape;
mod table;
mod walk;

pub use page::support_page;
pub(crate) use shape::knows;
use table::TABLE;
pub(crate) use walk::{check, check_part};

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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use iako_xds_api::envoy::config as pb;
    use prost::{Message as _, Name as _};
    use prost_reflect::{Kind, MessageDescriptor};

    use prost_reflect::FieldDescriptor;

    use super::*;
    use crate::pool;

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
        cluster.track_cluster_stats = Some(Default::default());
        let url = pb::cluster::v3::Cluster::type_url();
        let mut notes = Vec::new();
        check(&url, &cluster.encode_to_vec(), &mut notes).unwrap();
        let (path, _) = notes.first().expect("a warning");
        assert_eq!(path.to_string(), "track_cluster_stats");

        cluster.upstream_config = Some(pb::core::v3::TypedExtensionConfig::default());
        let fault = check(&url, &cluster.encode_to_vec(), &mut notes).unwrap_err();
        let invalid = fault.of("cluster `a`");
        assert!(
            invalid.to_string().starts_with("cluster `a`: upstream_config: is not supported"),
            "{invalid}"
        );
    }

    #[test]
    fn extensions_inside_extensions_end_somewhere() {
        let mut config = prost_types::Any::default();
        for _ in 0..10_000 {
            let wrapper =
                pb::route::v3::FilterConfig { config: Some(config), ..Default::default() };
            config = prost_types::Any::from_msg(&wrapper).unwrap();
        }
        let fault = check(&config.type_url, &config.value, &mut Vec::new()).unwrap_err();
        assert!(fault.of("route").to_string().contains("nested more than"));
    }
}
