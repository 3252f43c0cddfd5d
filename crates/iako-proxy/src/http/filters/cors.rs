//! Questions of browsers about other origins.

use iako_http::HeaderEdits;
use iako_telemetry::{Counter, StatsScope};
use iako_traffic::{CorsDecision, RequestFacts, RouteMatchResult, cors};

use crate::http::error_response::Reply;
use crate::http::mutations;

/// `http.<prefix>.cors.…`; the names are documented in `iako-telemetry`'s table.
#[derive(Debug)]
pub(crate) struct CorsStats {
    origin_valid: Counter,
    origin_invalid: Counter,
}

/// What cross-origin policy makes of a request.
pub(crate) enum Cors {
    Pass,
    Reply(Reply),
    /// The response gets these fields.
    Annotate(Vec<(&'static str, String)>),
}

impl CorsStats {
    pub(super) fn new(manager: &StatsScope) -> Self {
        let scope = manager.part("cors");
        let origin_valid = scope.counter("origin_valid");
        Self { origin_valid, origin_invalid: scope.counter("origin_invalid") }
    }

    /// Asks the policies of a route for the filter of this name.
    pub(crate) fn ask(
        &self,
        filter: &str,
        route: Option<&RouteMatchResult<'_>>,
        facts: &RequestFacts<'_>,
        draw: u64,
    ) -> Cors {
        let Some(route) = route else { return Cors::Pass };
        let answer = cors(&route.cors_policies(filter), &facts.head, draw);
        match answer.is_valid {
            Some(true) => self.origin_valid.inc(),
            Some(false) => self.origin_invalid.inc(),
            None => {}
        }
        match answer.decision {
            CorsDecision::Pass => Cors::Pass,
            CorsDecision::Annotate(fields) => Cors::Annotate(fields),
            CorsDecision::Respond(fields) => {
                let mut reply = Reply::new(200, "cors_response");
                let mut edits = HeaderEdits::default();
                for (name, value) in fields {
                    mutations::set(&mut edits, name, value);
                }
                reply.edits = edits;
                Cors::Reply(reply)
            }
        }
    }
}
