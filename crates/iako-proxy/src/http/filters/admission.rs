//! Requests are turned away while too many of them fail.

use std::cell::RefCell;
use std::sync::{Arc, Weak};
use std::time::Instant;

use iako_proxy_config::{AdmissionControl, SuccessCriteria};
use iako_telemetry::{Counter, StatsScope};
use iako_traffic::{AdmissionOutcome, AdmissionWindow, is_grpc_success, is_http_success};

use crate::http::error_response::Reply;
use crate::http::exchange::{Exchange, Step};
use crate::http::record::Outcome;

/// A filter that turns requests away, compiled.
#[derive(Debug)]
pub(crate) struct AdmissionStep {
    settings: Arc<AdmissionControl>,
    /// `http.<prefix>.admission_control.…`
    rejected: Counter,
    success: Counter,
    failure: Counter,
}

/// A request whose outcome counts.
#[derive(Debug)]
pub(super) struct Admitted {
    settings: Arc<AdmissionControl>,
    success: Counter,
    failure: Counter,
}

thread_local! {
    /// What became of requests of this worker, by whose criteria they are: while those are held weakly
    /// nothing else is where they are.
    static WINDOWS: RefCell<Vec<(Weak<SuccessCriteria>, AdmissionWindow)>> =
        const { RefCell::new(Vec::new()) };
}

/// Does something with a worker's window.
fn with_window<T>(settings: &AdmissionControl, take: impl FnOnce(&mut AdmissionWindow) -> T) -> T {
    WINDOWS.with_borrow_mut(|windows| {
        let key = Arc::as_ptr(&settings.criteria);
        let known = windows.iter().position(|(of, _)| std::ptr::eq(of.as_ptr(), key));
        if let Some((_, window)) = known.and_then(|place| windows.get_mut(place)) {
            return take(window);
        }
        // Windows of filters that are gone make room.
        windows.retain(|(of, _)| of.strong_count() > 0);
        let mut window = AdmissionWindow::new(settings.window);
        let taken = take(&mut window);
        windows.push((Arc::downgrade(&settings.criteria), window));
        taken
    })
}

impl AdmissionStep {
    pub(super) fn compile(settings: &AdmissionControl, manager: &StatsScope) -> Self {
        let scope = manager.part("admission_control");
        Self {
            settings: Arc::new(settings.clone()),
            rejected: scope.counter("rq_rejected"),
            success: scope.counter("rq_success"),
            failure: scope.counter("rq_failure"),
        }
    }
}

impl Exchange<'_> {
    /// Turns a request away, or has its outcome counted.
    pub(in crate::http) fn admit(&mut self, step: &AdmissionStep) -> Step {
        let settings = &step.settings;
        if !settings.enabled.value {
            return Step::Continue;
        }
        let (draw, now) = (self.connection.draw(), self.now);
        if with_window(settings, |window| window.rejects(settings, draw, now)) {
            step.rejected.inc();
            return Step::Reply(Box::new(Reply::new(503, "denied_by_admission_control")));
        }
        self.said.get_or_insert_default().admitted.push(Admitted {
            settings: Arc::clone(settings),
            success: step.success.clone(),
            failure: step.failure.clone(),
        });
        Step::Continue
    }
}

impl Admitted {
    /// Counts the outcome.
    pub(super) fn tell(self, outcome: Outcome, now: Instant) {
        let criteria = &self.settings.criteria;
        let succeeded = match outcome {
            Outcome::Status(status) => is_http_success(criteria, status),
            Outcome::Grpc(status) => is_grpc_success(criteria, status),
            Outcome::None | Outcome::Untold => return,
        };
        let outcome = if succeeded { AdmissionOutcome::Success } else { AdmissionOutcome::Failure };
        with_window(&self.settings, |window| window.record(outcome, now));
        if succeeded { self.success.inc() } else { self.failure.inc() }
    }
}
