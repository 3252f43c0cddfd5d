//! What waits for the first bytes of a client.

use std::{
    future::{Future as _, poll_fn},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::SystemTime,
};

use iako_traffic::ConnectionInfo;
use tokio::time::Sleep;

use super::{Ending, NetworkStep};
use crate::{
    connection::Downstream,
    snapshot::Chain,
    transport::{Stream, TlsDetails},
};

/// The filters of a connection that look at it once its client has said something, or ended.
#[derive(Debug)]
pub(crate) struct Gate {
    chain: Arc<Chain>,
    refused: Option<(Pin<Box<Sleep>>, Denied)>,
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

impl Gate {
    pub(super) const fn new(chain: Arc<Chain>) -> Self {
        Self { chain, refused: None }
    }

    /// Ready once the filters have decided.
    pub(crate) fn poll(
        &mut self,
        passing: &mut Passing<'_>,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), Denied>> {
        if self.refused.is_none() {
            // A connection that breaks is found out by who reads it.
            let Ok(received) = ready!(passing.stream.poll_first_bytes(context)) else {
                return Poll::Ready(Ok(()));
            };
            let Err((ending, delay)) = self.ask(passing) else { return Poll::Ready(Ok(())) };
            let received = u64::try_from(received).unwrap_or(u64::MAX);
            let denied = Denied { ending, received };
            let Some(delay) = delay else { return Poll::Ready(Err(denied)) };
            self.refused = Some((Box::pin(tokio::time::sleep(delay)), denied));
        }
        let Some((delay, _)) = &mut self.refused else { return Poll::Ready(Ok(())) };
        ready!(delay.as_mut().poll(context));
        let denied = self.refused.take().map(|(_, denied)| denied);
        Poll::Ready(denied.map_or(Ok(()), Err))
    }

    fn ask(&self, passing: &mut Passing<'_>) -> Result<(), (Ending, Option<std::time::Duration>)> {
        for step in &self.chain.steps {
            match step {
                NetworkStep::Rbac(access) => {
                    let info = Arc::make_mut(passing.info);
                    access.ask(info).map_err(|ending| (ending, access.delay()))?;
                }
                NetworkStep::States(states) => {
                    let of = (passing.tls, passing.accepted);
                    states.at_bytes(Arc::make_mut(passing.info), of);
                }
                NetworkStep::MetadataExchange { .. }
                | NetworkStep::Stats
                | NetworkStep::Limit(_)
                | NetworkStep::Rate(_)
                | NetworkStep::SniCluster
                | NetworkStep::SniForward { .. }
                | NetworkStep::Missing => {}
            }
        }
        Ok(())
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
