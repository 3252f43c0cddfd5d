//! Reading JSON content for what it tells other filters, with the names of its statistics.

use iako_proxy_config::{FilterSettings, JsonToMetadata};
use iako_telemetry::{Counter, StatsRegistry, StatsScope};
use iako_traffic::{EffectiveOverrides, JsonFinding};

/// A filter that reads JSON, compiled.
#[derive(Debug)]
pub(crate) struct JsonStep {
    settings: JsonToMetadata,
    pub(crate) request: JsonStats,
    pub(crate) response: JsonStats,
}

/// What was found, of one direction.
#[derive(Debug)]
pub(crate) struct JsonStats {
    success: Counter,
    pub(crate) mismatched: Counter,
    no_body: Counter,
    invalid: Counter,
}

impl JsonStats {
    fn new(scope: &StatsScope) -> Self {
        Self {
            success: scope.counter("success"),
            mismatched: scope.counter("mismatched_content_type"),
            no_body: scope.counter("no_body"),
            invalid: scope.counter("invalid_json_body"),
        }
    }

    /// Counts what content was.
    pub(crate) fn count(&self, finding: JsonFinding) {
        match finding {
            JsonFinding::Read => self.success.inc(),
            JsonFinding::Empty => self.no_body.inc(),
            JsonFinding::Invalid => self.invalid.inc(),
        }
    }
}

impl JsonStep {
    pub(super) fn compile(settings: &JsonToMetadata, stats: &StatsRegistry) -> Self {
        let scope = stats.scope("json_to_metadata");
        Self {
            settings: settings.clone(),
            request: JsonStats::new(&scope.part("rq")),
            response: JsonStats::new(&scope.part("resp")),
        }
    }

    /// The rules that count: those of a route in place of the filter's.
    pub(crate) fn settings<'s, 't: 's>(
        &'s self,
        name: &str,
        overrides: Option<&EffectiveOverrides<'t>>,
    ) -> &'s JsonToMetadata {
        let route = overrides.and_then(|overrides| overrides.settings(name));
        route.and_then(FilterSettings::json_to_metadata).unwrap_or(&self.settings)
    }
}
