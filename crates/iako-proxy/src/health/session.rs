//! The checks of one instance, one after the other.

use std::{cell::RefCell, rc::Rc, sync::Arc};

use iako_proxy_config::{Endpoint, HealthCheck};
use iako_rt::clock;
use iako_traffic::{
    BalancedEndpoint, CheckFailure, CheckHistory, CheckResult, CheckVerdict, EndpointState,
    HealthFlags, Traffic, Transition, first_check, next_check,
};
use iako_types::Locality;

use super::{check::Checker, events::Subject, watch::Watched};

/// One instance under checks.
#[derive(Debug)]
pub(super) struct Session {
    watched: Rc<Watched>,
    state: Arc<EndpointState>,
    instance: RefCell<(Endpoint, Locality)>,
    history: RefCell<CheckHistory>,
}

impl Session {
    pub(super) fn new(watched: Rc<Watched>, endpoint: &BalancedEndpoint) -> Self {
        Self {
            watched,
            state: Arc::clone(&endpoint.state),
            instance: RefCell::new((endpoint.endpoint.clone(), endpoint.locality.clone())),
            history: RefCell::default(),
        }
    }

    /// Takes what is told of the instance now.
    pub(super) fn renew(&self, endpoint: &BalancedEndpoint) {
        self.instance.replace((endpoint.endpoint.clone(), endpoint.locality.clone()));
    }

    pub(super) fn is_checked(&self) -> bool {
        self.history.borrow().is_checked()
    }

    /// Checks for ever.
    pub(super) async fn run(self: Rc<Self>) {
        let cluster = Arc::clone(&self.watched.cluster);
        let Some(check) = &cluster.config.health_check else { return };
        let room = Rc::clone(&self.watched.room);
        tokio::time::sleep(first_check(check, &mut || room.draw())).await;
        let mut checker = Checker::new(Rc::clone(&room));
        loop {
            let result = self.check_once(check, &mut checker).await;
            let is_first = !self.is_checked();
            let verdict = self.take(check, result, checker.status());
            if is_first {
                self.watched.checked_first().await;
            }
            let had_any = cluster.stats.cx_total.value() > 0;
            let traffic = if had_any { Traffic::Some } else { Traffic::Never };
            tokio::time::sleep(next_check(check, &verdict, traffic, &mut || room.draw())).await;
        }
    }

    async fn check_once(&self, check: &HealthCheck, checker: &mut Checker) -> CheckResult {
        let cluster = &self.watched.cluster;
        let turn = self.watched.room.turns.acquire().await;
        if let Some(stats) = &cluster.check_stats {
            stats.attempt.inc();
        }
        let endpoint = self.instance.borrow().0.clone();
        let asking = checker.check(cluster, check, &endpoint);
        let result = tokio::time::timeout(check.timeout, asking).await;
        drop(turn);
        result.unwrap_or_else(|_elapsed| {
            checker.forget();
            CheckResult::Failed { cause: CheckFailure::NetworkTimeout, retriable: false }
        })
    }

    /// A response to somebody's request said that the instance is to be left alone.
    pub(super) fn accused(&self) {
        let cluster = &self.watched.cluster;
        let Some(check) = &cluster.config.health_check else { return };
        if self.state.change_health(HealthFlags::EXCLUDED, HealthFlags::default()) {
            cluster.state.health_changed();
        }
        let result = CheckResult::Failed { cause: CheckFailure::Passive, retriable: false };
        self.take(check, result, None);
    }

    fn take(&self, check: &HealthCheck, result: CheckResult, status: Option<u16>) -> CheckVerdict {
        let cluster = &self.watched.cluster;
        let verdict = self.history.borrow_mut().record(check, self.state.health(), result);
        if let Some(stats) = &cluster.check_stats {
            stats.count(result);
        }
        if self.state.change_health(verdict.set, verdict.clear) {
            cluster.state.health_changed();
        }
        if !verdict.events.is_empty() {
            let (endpoint, locality) = &*self.instance.borrow();
            let subject = Subject { cluster: &cluster.name, endpoint, locality, status };
            cluster.logs.checked(check, subject, &verdict.events, clock::wall());
        }
        let flags = self.state.health();
        let fails = flags.has(HealthFlags::FAILED_CHECK);
        if verdict.passed && !fails {
            cluster.found_well(&self.state, clock::now());
        }
        if verdict.transition == Transition::Changed {
            if fails {
                cluster.failed(&self.state);
            }
            if fails && flags.has(HealthFlags::PENDING_REMOVAL) {
                cluster.let_go();
            }
            cluster.count_members();
        }
        verdict
    }
}
