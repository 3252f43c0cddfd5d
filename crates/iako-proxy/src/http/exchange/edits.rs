//! What routes write into targets and responses.

use iako_http::{Fields, HeaderEdits, NameRef};
use iako_proxy_config::HeaderMutations;
use iako_telemetry::HeaderLookup;
use iako_traffic::RouteMatchResult;

use super::{Exchange, mutations};
use crate::http::record;

/// The fields of a response as far as they are changed by now.
struct EditedFields<'a> {
    fields: &'a Fields,
    edits: &'a HeaderEdits,
}

impl HeaderLookup for EditedFields<'_> {
    fn first_value(&self, name: &str) -> Option<&[u8]> {
        self.nth_value(name, 0)
    }

    fn nth_value(&self, name: &str, nth: usize) -> Option<&[u8]> {
        self.edits.nth(self.fields, NameRef::from(name), nth)
    }
}

impl Exchange<'_> {
    /// A text with operators that a route writes into the target.
    pub(in crate::http) fn formatted(&self, format: &str, absent: mutations::Absent) -> String {
        let view = self.request.view();
        let further = self.facts();
        let record = record::access_record(&further, &view);
        let text = mutations::render_with(format, &record, absent);
        String::from_utf8_lossy(text.as_bytes()).into_owned()
    }

    /// Applies the route's edits to the response.
    pub(in crate::http) fn edit_response(&mut self, route: &RouteMatchResult<'_>, fields: &Fields) {
        for level in route.header_mutations() {
            self.edit_response_level(level, fields);
        }
    }

    /// Applies one level of edits to the response.
    pub(in crate::http) fn edit_response_level(
        &mut self,
        level: &HeaderMutations,
        fields: &Fields,
    ) {
        if level.response_add.is_empty() && level.response_remove.is_empty() {
            return;
        }
        mutations::remove(&mut self.response_edits.fields, &level.response_remove);
        let view = self.request.view();
        let further = self.facts();
        let mut record = record::access_record(&further, &view);
        let response = EditedFields { fields, edits: &self.response_edits.fields };
        record.response_headers = &response;
        let additions = mutations::rendered(&level.response_add, &record);
        mutations::add_to_response(fields, &mut self.response_edits.fields, &additions);
    }
}
