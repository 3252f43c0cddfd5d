//! Objects that are kept beside requests, compiled.

use std::sync::Arc;

use arc_swap::ArcSwap;
use iako_proxy_config::{FilterSettings, SetRequestState};
use iako_traffic::EffectiveOverrides;

use crate::access_log::LogError;
use crate::connection::steps::State;

/// Settings of routes that one filter keeps compiled. Routes that were replaced leave theirs behind;
/// beyond this all are forgotten, and compiled anew.
const ROUTES_MAX: usize = 256;

type OfRoutes = Vec<(SetRequestState, Arc<RequestStates>)>;

/// A filter that keeps objects, compiled.
#[derive(Debug)]
pub(crate) struct StateStep {
    own: Arc<RequestStates>,
    /// Whether the route is chosen again after. Only the filter's own word counts, as in Envoy.
    pub(super) clears_route: bool,
    /// Those of routes, made when the first request comes to them.
    of_routes: ArcSwap<OfRoutes>,
}

/// Objects of one level.
#[derive(Debug)]
pub(crate) struct RequestStates {
    pub(super) values: Vec<State>,
}

impl RequestStates {
    fn compile(settings: &SetRequestState) -> Result<Self, LogError> {
        let values = settings.values.iter().map(State::compile);
        let values = values.collect::<Result<_, _>>()?;
        Ok(Self { values })
    }
}

impl StateStep {
    /// Compiles settings. A format that cannot be read leaves nothing; it was read before.
    pub(super) fn compile(settings: &SetRequestState) -> Self {
        Self {
            own: made(settings),
            clears_route: settings.clears_route,
            of_routes: ArcSwap::default(),
        }
    }

    /// What counts for a request: the filter's own, then those of the levels of its route.
    pub(super) fn levels(
        &self,
        name: &str,
        overrides: Option<&EffectiveOverrides<'_>>,
    ) -> Vec<Arc<RequestStates>> {
        let levels = overrides.into_iter().flat_map(|overrides| overrides.levels(name));
        let of_route = levels.filter_map(FilterSettings::request_state);
        std::iter::once(Arc::clone(&self.own))
            .chain(of_route.map(|settings| self.of_route(settings)))
            .collect()
    }

    fn of_route(&self, settings: &SetRequestState) -> Arc<RequestStates> {
        let known = self.of_routes.load();
        if let Some((_, known)) = known.iter().find(|(own, _)| own == settings) {
            return Arc::clone(known);
        }
        let made = made(settings);
        self.of_routes.rcu(|known| {
            let mut known = OfRoutes::clone(known);
            if known.len() >= ROUTES_MAX {
                known.clear();
            }
            known.push((settings.clone(), Arc::clone(&made)));
            known
        });
        made
    }
}

fn made(settings: &SetRequestState) -> Arc<RequestStates> {
    let nothing = RequestStates { values: Vec::new() };
    Arc::new(RequestStates::compile(settings).unwrap_or(nothing))
}
