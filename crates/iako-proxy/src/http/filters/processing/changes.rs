//! What a service sees of headers, and what it may change about them.

use iako_http::{FieldName, FieldValue, Fields, FieldsBuilder, HeaderEdits, NameRef};
use iako_proxy_config::PartReply;
use iako_traffic::{MutationKind, MutationVerdict, may_mutate};

use super::Processing;

/// Changes of headers.
#[derive(Debug, Default)]
pub(super) struct HeaderChanges {
    pub(super) remove: Vec<String>,
    /// Name, value, and whether it stands beside those of the name.
    pub(super) set: Vec<(String, Vec<u8>, bool)>,
    /// The announced length of the content.
    pub(super) length: Option<u64>,
}

impl HeaderChanges {
    /// Trailers with the changes.
    pub(super) fn of_trailers(self, trailers: &Fields) -> Fields {
        let mut edits = HeaderEdits::default();
        for name in self.remove {
            if let Ok(name) = FieldName::parse(name.as_bytes()) {
                edits.remove(name);
            }
        }
        for (name, value, adds) in self.set {
            let Ok(name) = FieldName::parse(name.as_bytes()) else { continue };
            let Ok(value) = FieldValue::parse(value) else { continue };
            if adds { edits.append(name, value) } else { edits.set(name, value) }
        }
        let mut fields = FieldsBuilder::with_capacity(256);
        for field in iako_http::edited_fields(trailers, &edits) {
            fields.push(NameRef::from(field.original_name), field.value);
        }
        fields.build()
    }
}

/// Fields as services are told them.
pub(super) fn listed(fields: &Fields) -> Vec<(String, Vec<u8>)> {
    let named = fields.iter().filter_map(|field| {
        let name = std::str::from_utf8(field.name).ok()?;
        Some((name.to_ascii_lowercase(), field.value.to_vec()))
    });
    named.collect()
}

impl Processing {
    /// The headers that the service sees.
    pub(super) fn shown<'h>(&self, headers: &'h [(String, Vec<u8>)]) -> Vec<(&'h str, &'h [u8])> {
        let settings = &self.step.settings;
        let is_shown = |name: &str| {
            settings.shown.as_ref().is_none_or(|list| list.iter().any(|one| one.matches(name)))
                && !settings.hidden.iter().any(|one| one.matches(name))
        };
        let headers = headers.iter().filter(|(name, _)| is_shown(name));
        headers.map(|(name, value)| (name.as_str(), value.as_slice())).collect()
    }

    /// The changes of headers that may be made, in order; none when one that may not fails the
    /// message.
    pub(super) fn changes(&self, reply: &PartReply) -> Result<HeaderChanges, &'static str> {
        let rules = &self.step.settings.rules;
        let mut changes = HeaderChanges::default();
        for name in &reply.remove {
            let name = name.to_ascii_lowercase();
            match may_mutate(Some(rules), MutationKind::Remove, &name) {
                MutationVerdict::Made => changes.remove.push(name),
                MutationVerdict::Left => self.step.stats.rejected_header_mutations.inc(),
                MutationVerdict::Fails => {
                    self.step.stats.rejected_header_mutations.inc();
                    return Err("header_mutation_remove_headers_failed");
                }
            }
        }
        for header in &reply.set {
            let name = header.name.to_ascii_lowercase();
            if name == "content-length" {
                let text = std::str::from_utf8(&header.value).ok();
                changes.length = text.and_then(|text| text.parse().ok());
                continue;
            }
            match may_mutate(Some(rules), MutationKind::Set, &name) {
                MutationVerdict::Made => {
                    // The old field says whether a value is added; Envoy looks at no other here.
                    let adds = header.named
                        && header.action == iako_proxy_config::AppendAction::AppendOrAdd;
                    changes.set.push((name, header.value.clone(), adds));
                }
                MutationVerdict::Left => self.step.stats.rejected_header_mutations.inc(),
                MutationVerdict::Fails => {
                    self.step.stats.rejected_header_mutations.inc();
                    return Err("header_mutation_set_headers_failed");
                }
            }
        }
        Ok(changes)
    }
}
