//! Filters that look at heads and change them, or leave facts for others.

mod state;
mod tags;

use iako_http::{FieldValue, ResponseHead};
use iako_proxy_config::{
    FilterSettings, HeaderEdit, HeaderMutationFilter, HeaderToMetadata, HttpFilterKind,
    MessageEdits, SetMetadata,
};
use iako_telemetry::{Counter, StatsScope};
use iako_traffic::{EffectiveOverrides, HeadOf, edit_query, header_facts, set_facts};

use crate::http::exchange::{Exchange, Step};
use crate::http::mutations::{self, Absent};
use crate::http::record;
use crate::http::request::ResponseView;
use state::StateStep;
use tags::TagStep;

/// A filter that looks at heads.
#[derive(Debug)]
pub(crate) enum HeadFilter {
    HeaderMutation(HeaderMutationFilter),
    HeaderToMetadata(HeaderToMetadata),
    SetMetadata {
        facts: SetMetadata,
        /// `http.<prefix>.set_metadata.overwrite_denied`.
        overwrite_denied: Counter,
    },
    SetState(StateStep),
    Tags(TagStep),
}

impl HeadFilter {
    /// Compiles a filter, if it is one of these.
    pub(super) fn compile(kind: &HttpFilterKind, manager: &StatsScope) -> Option<Self> {
        if let HttpFilterKind::HeaderMutation(edits) = kind {
            Some(Self::HeaderMutation((**edits).clone()))
        } else if let HttpFilterKind::HeaderToMetadata(rules) = kind {
            Some(Self::HeaderToMetadata((**rules).clone()))
        } else if let HttpFilterKind::SetMetadata(facts) = kind {
            let overwrite_denied = manager.part("set_metadata").counter("overwrite_denied");
            Some(Self::SetMetadata { facts: facts.clone(), overwrite_denied })
        } else if let HttpFilterKind::SetState(settings) = kind {
            Some(Self::SetState(StateStep::compile(settings)))
        } else if let HttpFilterKind::IpTagging(settings) = kind {
            Some(Self::Tags(TagStep::compile(settings, manager)))
        } else {
            None
        }
    }

    /// Whether it does something when a response comes; settings of a route may.
    pub(super) const fn responds(&self) -> bool {
        match self {
            Self::HeaderMutation(_) | Self::HeaderToMetadata(_) => true,
            Self::SetMetadata { .. } | Self::SetState(_) | Self::Tags(_) => false,
        }
    }
}

/// The changes that count for a request: the filter's own, then those of its route's levels.
fn edits<'e, 't: 'e>(
    own: &'e HeaderMutationFilter,
    name: &str,
    overrides: Option<&EffectiveOverrides<'t>>,
) -> Vec<&'e MessageEdits> {
    let levels = overrides.into_iter().flat_map(|overrides| overrides.levels(name));
    let mut of_route: Vec<&MessageEdits> = levels
        .filter_map(|own| {
            if let FilterSettings::HeaderMutation(edits) = own { Some(&**edits) } else { None }
        })
        .collect();
    if own.narrowest_wins {
        of_route.reverse();
    }
    std::iter::once(&own.edits).chain(of_route).collect()
}

fn rules<'e, 't: 'e>(
    own: &'e HeaderToMetadata,
    name: &str,
    overrides: Option<&EffectiveOverrides<'t>>,
) -> &'e HeaderToMetadata {
    match overrides.and_then(|overrides| overrides.settings(name)) {
        Some(FilterSettings::HeaderToMetadata(rules)) => rules,
        Some(_) | None => own,
    }
}

impl Exchange<'_> {
    /// Takes the step of a filter that looks at the head of a request.
    pub(in crate::http) fn head_step(
        &mut self,
        filter: &HeadFilter,
        name: &str,
        overrides: Option<&EffectiveOverrides<'_>>,
    ) -> Step {
        match filter {
            HeadFilter::HeaderMutation(own) => {
                for edits in edits(own, name, overrides) {
                    self.edit_request_head(edits);
                }
            }
            HeadFilter::HeaderToMetadata(own) => {
                let rules = &rules(own, name, overrides).request;
                if rules.is_empty() {
                    return Step::Continue;
                }
                let found = {
                    let view = self.request.view();
                    let facts = self.request.facts(&view, &self.connection.info);
                    header_facts(rules, &HeadOf::Request(&facts.head))
                };
                for (namespace, key, value) in found.facts {
                    self.request.metadata.set(&namespace, &key, value);
                }
                mutations::remove(&mut self.request.edits.fields, &found.remove);
            }
            HeadFilter::SetMetadata { facts, overwrite_denied } => {
                for _denied in 0..set_facts(&facts.entries, &mut self.request.metadata) {
                    overwrite_denied.inc();
                }
            }
            HeadFilter::SetState(step) => return self.keep_states(step, name, overrides),
            HeadFilter::Tags(step) => {
                if step.tag(&mut self.request) {
                    return Step::Reroute;
                }
            }
        }
        Step::Continue
    }

    /// Keeps objects beside the request.
    fn keep_states(
        &mut self,
        step: &StateStep,
        name: &str,
        overrides: Option<&EffectiveOverrides<'_>>,
    ) -> Step {
        for states in step.levels(name, overrides) {
            for state in &states.values {
                let made = {
                    let view = self.request.view();
                    let further = self.facts();
                    let record = record::access_record(&further, &view);
                    state.object(&record)
                };
                // What the connection keeps stays, as in Envoy.
                let of_connection = &self.connection.info.metadata;
                if let Some((key, object)) =
                    made.filter(|(key, _)| of_connection.object(key).is_none())
                {
                    self.request.metadata.set_object(key, object);
                }
            }
        }
        if step.clears_route { Step::Reroute } else { Step::Continue }
    }

    fn edit_request_head(&mut self, edits: &MessageEdits) {
        for edit in &edits.request {
            let value = self.value_of(edit);
            mutations::edit_early(&mut self.request, std::slice::from_ref(edit), value.as_slice());
        }
        if !edits.query.is_empty() {
            let formatted = |value: &str| self.formatted(value, Absent::Empty);
            let path = self.request.path();
            if let Some(path) = edit_query(path, &edits.query, &formatted) {
                self.request.edits.path = Some(path.into());
            }
        }
    }

    /// The value of an edit that has one.
    fn value_of(&self, edit: &HeaderEdit) -> Option<FieldValue> {
        let view = self.request.view();
        let further = self.facts();
        let record = record::access_record(&further, &view);
        mutations::rendered_early(std::slice::from_ref(edit), &record).pop()
    }

    /// The same, of an edit of a response.
    fn response_value_of(&self, edit: &HeaderEdit, head: &ResponseHead) -> Option<FieldValue> {
        let view = self.request.view();
        let response = ResponseView { head, edits: &self.response_edits };
        let further = self.facts();
        let mut record = record::access_record(&further, &view);
        record.response_headers = &response;
        mutations::rendered_early(std::slice::from_ref(edit), &record).pop()
    }

    /// Takes the step of a filter that looks at the head of a response.
    pub(in crate::http) fn head_response_step(
        &mut self,
        filter: &HeadFilter,
        name: &str,
        overrides: Option<&EffectiveOverrides<'_>>,
        head: &ResponseHead,
    ) {
        match filter {
            HeadFilter::HeaderMutation(own) => {
                for edit in edits(own, name, overrides).into_iter().flat_map(|own| &own.response) {
                    let value = self.response_value_of(edit, head);
                    let edits = &mut self.response_edits.fields;
                    mutations::edit_one_response(head.fields(), edits, edit, value);
                }
            }
            HeadFilter::HeaderToMetadata(own) => {
                let rules = &rules(own, name, overrides).response;
                if rules.is_empty() {
                    return;
                }
                let view = ResponseView { head, edits: &self.response_edits };
                let found = header_facts(rules, &HeadOf::Response(&view));
                for (namespace, key, value) in found.facts {
                    self.request.metadata.set(&namespace, &key, value);
                }
                mutations::remove(&mut self.response_edits.fields, &found.remove);
            }
            HeadFilter::SetMetadata { .. } | HeadFilter::SetState(_) | HeadFilter::Tags(_) => {}
        }
    }
}
