//! Filters that requests choose.

use std::sync::Arc;

use iako_proxy_config::{
    Composite, FilterSettings, HttpFilterKind, MatchTree, MatchedFilter, SkipFilter,
};
use iako_telemetry::{Counter, StatsScope};
use iako_traffic::choose_action;

use super::Filter;
use crate::http::exchange::Exchange;

/// What requests choose by, compiled: everything that may be chosen stands in the chain, under a
/// condition.
#[derive(Debug)]
pub(crate) enum Chooser {
    /// One of several, or nothing.
    Several {
        /// What there is to choose.
        composite: Composite,
        /// `http.<prefix>.composite.filter_delegation_success`
        delegated: Counter,
        /// Nothing fails here; held so that it is shown.
        _failed: Counter,
    },
    /// One, unless a tree leaves it out.
    Unless(Option<MatchTree<SkipFilter>>),
}

/// What has to be chosen so that a filter is there for a request.
#[derive(Debug, Clone)]
pub(crate) struct Condition {
    chooser: Arc<Chooser>,
    /// The place of the choice among all of the tree.
    choice: usize,
}

/// What a request chose.
#[derive(Debug)]
pub(crate) struct Chosen {
    chooser: Arc<Chooser>,
    choice: Option<usize>,
}

impl Condition {
    /// Everything that may be chosen, each under its condition.
    pub(super) fn all(
        composite: &Composite,
        manager: &StatsScope,
    ) -> Vec<(Self, Vec<HttpFilterKind>)> {
        let scope = manager.part("composite");
        let delegated = scope.counter("filter_delegation_success");
        let failed = scope.counter("filter_delegation_error");
        let composite_of = composite.clone();
        let chooser =
            Arc::new(Chooser::Several { composite: composite_of, delegated, _failed: failed });
        let actions = composite.tree.actions().into_iter().enumerate();
        let all = actions.map(|(choice, chosen)| {
            let kinds = chosen.filters.iter().map(|(_, kind)| kind.clone());
            (Self { chooser: Arc::clone(&chooser), choice }, kinds.collect())
        });
        all.collect()
    }

    /// The condition of a filter that some requests leave out.
    pub(super) fn unless(matched: &MatchedFilter) -> Self {
        Self { chooser: Arc::new(Chooser::Unless(matched.tree.clone())), choice: 0 }
    }
}

impl Exchange<'_> {
    /// Whether a filter is there for this request. What the request chooses is asked once, when it
    /// comes to the first filter that may be chosen.
    pub(in crate::http) fn is_chosen(
        &mut self,
        condition: &Condition,
        of_route: Option<&FilterSettings>,
    ) -> bool {
        let of = &condition.chooser;
        let known = self.remembered.as_ref().and_then(|remembered| {
            remembered.chosen.iter().find(|chosen| Arc::ptr_eq(&chosen.chooser, of))
        });
        if let Some(chosen) = known {
            return chosen.choice == Some(condition.choice);
        }
        let choice = self.choose(of, of_route);
        let chosen = Chosen { chooser: Arc::clone(of), choice };
        self.remembered.get_or_insert_default().chosen.push(chosen);
        choice == Some(condition.choice)
    }

    /// Whether a filter was there for the request of this response.
    pub(in crate::http) fn was_chosen(&self, filter: &Filter) -> bool {
        let Some(condition) = &filter.condition else { return true };
        self.remembered.as_ref().is_some_and(|remembered| {
            let is_it = |chosen: &&Chosen| Arc::ptr_eq(&chosen.chooser, &condition.chooser);
            let chosen = remembered.chosen.iter().find(is_it);
            chosen.is_some_and(|chosen| chosen.choice == Some(condition.choice))
        })
    }

    fn choose(&self, chooser: &Chooser, of_route: Option<&FilterSettings>) -> Option<usize> {
        let own =
            if let Some(FilterSettings::Skip(tree)) = of_route { Some(&**tree) } else { None };
        let view = self.request.view();
        let facts = self.request.facts(&view, &self.connection.info);
        match chooser {
            Chooser::Unless(tree) => {
                choose_action(own.or(tree.as_ref())?, &facts).is_none().then_some(0)
            }
            // A tree of the route that leaves out does not choose.
            Chooser::Several { .. } if own.is_some() => None,
            Chooser::Several { composite, delegated, .. } => {
                let tree = &composite.tree;
                let chosen = choose_action(tree, &facts).filter(|it| !it.filters.is_empty())?;
                if !chosen.share.value.takes(self.connection.draw()) {
                    return None;
                }
                delegated.inc();
                tree.actions().iter().position(|action| std::ptr::eq(*action, chosen))
            }
        }
    }
}
