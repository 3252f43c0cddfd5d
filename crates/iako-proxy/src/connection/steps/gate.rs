//! What waits for the first bytes of a client.

use std::{
    fmt,
    future::{Future as _, poll_fn},
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, ready},
    time::{Duration, SystemTime},
};

use iako_traffic::ConnectionInfo;
use tokio::time::Sleep;

use super::{Ending, NetworkStep, authz::Asking};
use crate::{
    connection::Downstream,
    snapshot::Chain,
    transport::{Stream, TlsDetails},
    worker::Worker,
};

/// The filters of a connection that look at it once its client has said something, or ended.
pub(crate) struct Gate {
    chain: Arc<Chain>,
    worker: Rc<Worker>,
    /// Filters that have let the connection pass.
    passed: usize,
    /// Bytes that the client had sent when the first of them was asked.
    received: u64,
    phase: Phase,
}

enum Phase {
    /// The client has said nothing yet.
    Silence,
    /// The next filter is asked.
    Next,
    /// The next filter has asked a service.
    Asking(Asking),
    /// A filter ends the connection, at once or after a while.
    Refused(Option<Pin<Box<Sleep>>>, Option<Denied>),
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate").field("chain", &self.chain.name).finish_non_exhaustive()
    }
}

/// A connection that a filter ends.
#[derive(Debug)]
pub(crate) struct Denied {
    /// Why.
    pub(crate) ending: Ending,
    /// Bytes that the client had sent by then, and that nobody gets.
    pub(crate) received: u64,
}

/// What a gate looks at.
pub(crate) struct Passing<'a> {
    /// Its bytes; those that are looked at stay to be read.
    pub(crate) stream: &'a mut Stream,
    /// What is known of it.
    pub(crate) info: &'a mut Arc<ConnectionInfo>,
    /// What was agreed on in the TLS handshake.
    pub(crate) tls: Option<&'a TlsDetails>,
    /// When it was accepted.
    pub(crate) accepted: SystemTime,
}

/// What a filter says at the first bytes.
enum Said {
    Pass,
    Wait(Asking),
    Refuse(Ending, Option<Duration>),
}

impl Gate {
    pub(super) const fn new(chain: Arc<Chain>, worker: Rc<Worker>) -> Self {
        Self { chain, worker, passed: 0, received: 0, phase: Phase::Silence }
    }

    /// Ready once the filters have decided.
    pub(crate) fn poll(
        &mut self,
        passing: &mut Passing<'_>,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), Denied>> {
        loop {
            match &mut self.phase {
                Phase::Silence => {
                    // A connection that breaks is found out by who reads it.
                    let Ok(received) = ready!(passing.stream.poll_first_bytes(context)) else {
                        return Poll::Ready(Ok(()));
                    };
                    self.received = u64::try_from(received).unwrap_or(u64::MAX);
                    self.phase = Phase::Next;
                }
                Phase::Next => {
                    let Some(step) = self.chain.steps.get(self.passed) else {
                        return Poll::Ready(Ok(()));
                    };
                    self.passed = self.passed.saturating_add(1);
                    match ask(step, passing, &self.worker) {
                        Said::Pass => {}
                        Said::Wait(asking) => self.phase = Phase::Asking(asking),
                        Said::Refuse(ending, delay) => self.refuse(ending, delay),
                    }
                }
                Phase::Asking(asking) => {
                    let Poll::Ready((authz, answer)) = asking.poll(context) else {
                        if !passing.stream.poll_gone(context) {
                            return Poll::Pending;
                        }
                        // Nobody is left to be let through.
                        let (ending, received) = (Ending::default(), self.received);
                        return Poll::Ready(Err(Denied { ending, received }));
                    };
                    self.phase = Phase::Next;
                    if let Err(ending) = authz.decide(answer, Arc::make_mut(passing.info)) {
                        self.refuse(ending, None);
                    }
                }
                Phase::Refused(delay, denied) => {
                    if let Some(delay) = delay {
                        ready!(delay.as_mut().poll(context));
                    }
                    return Poll::Ready(denied.take().map_or(Ok(()), Err));
                }
            }
        }
    }

    fn refuse(&mut self, ending: Ending, delay: Option<Duration>) {
        let denied = Denied { ending, received: self.received };
        let delay = delay.map(|delay| Box::pin(tokio::time::sleep(delay)));
        self.phase = Phase::Refused(delay, Some(denied));
    }
}

fn ask(step: &NetworkStep, passing: &mut Passing<'_>, worker: &Rc<Worker>) -> Said {
    match step {
        NetworkStep::Rbac(access) => {
            let asked = access.ask(Arc::make_mut(passing.info));
            asked.map_or_else(|ending| Said::Refuse(ending, access.delay()), |()| Said::Pass)
        }
        NetworkStep::States(states) => {
            let of = (passing.tls, passing.accepted);
            states.at_bytes(Arc::make_mut(passing.info), of);
            Said::Pass
        }
        NetworkStep::Authz(authz) => {
            let asking = authz.ask(worker, passing.info, passing.tls);
            asking.map_or(Said::Pass, Said::Wait)
        }
        NetworkStep::MetadataExchange { .. }
        | NetworkStep::Stats
        | NetworkStep::Limit(_)
        | NetworkStep::Rate(_)
        | NetworkStep::Count(_)
        | NetworkStep::Opaque(_)
        | NetworkStep::SniCluster
        | NetworkStep::SniForward { .. }
        | NetworkStep::Missing => Said::Pass,
    }
}

impl Downstream {
    /// Waits for the first bytes and for what the filters say then; the chain's end cuts it short.
    pub(crate) async fn pass_gate(&mut self) -> Result<(), Denied> {
        let Some(mut gate) = self.gate.take() else { return Ok(()) };
        let drain = self.drain().clone();
        let mut closing = std::pin::pin!(drain.closing());
        poll_fn(|context| {
            if closing.as_mut().poll(context).is_ready() {
                return Poll::Ready(Ok(()));
            }
            gate.poll(&mut self.passing(), context)
        })
        .await
    }

    /// The parts of it that a gate looks at.
    pub(crate) fn passing(&mut self) -> Passing<'_> {
        Passing {
            stream: &mut self.stream,
            info: &mut self.info,
            tls: self.tls.as_deref(),
            accepted: self.accepted_wall,
        }
    }
}
