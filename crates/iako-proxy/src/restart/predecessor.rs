//! The process that serves now, as the one that comes next sees it.

use std::{
    os::fd::OwnedFd,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use super::{
    HotRestart, RestartError,
    wire::{self, Line, Porch, Word},
};
use crate::shared::Shared;

/// The name by which the meeting place itself is lent.
pub(super) const PLACE: &str = "meeting place";
/// Packets with sockets of one name. More than 512 workers are not to be had.
const PACKETS_MAX: usize = 16;

/// How this process begins.
#[derive(Debug)]
pub(crate) struct Beginning {
    /// Whom it takes over from.
    pub(crate) predecessor: Option<Arc<Predecessor>>,
    /// Where the next process calls.
    pub(super) porch: Porch,
    /// How many processes came before this one.
    pub(crate) epoch: u32,
}

/// The process that serves now.
#[derive(Debug)]
pub(crate) struct Predecessor {
    line: Line,
    /// Whether it ended, so that what it had is free.
    is_gone: AtomicBool,
}

/// Finds the process that serves at the place, or begins as the first.
///
/// # Errors
/// When the place cannot be used, or who is there refuses.
pub(crate) async fn find(settings: &HotRestart) -> Result<Beginning, RestartError> {
    let place = &settings.place;
    let unusable = |source| RestartError::Place { place: place.clone(), source };
    let Some(line) = Line::call(place).map_err(unusable)? else {
        check_epoch(0, settings.epoch)?;
        let porch = Porch::open(place).map_err(unusable)?;
        return Ok(Beginning { predecessor: None, porch, epoch: 0 });
    };
    let silent = |source| RestartError::Silent { place: place.clone(), source };
    line.say(&Word::Hello { version: wire::VERSION }).await.map_err(silent)?;
    let before = match line.hear_soon().await.map_err(silent)? {
        (Word::Welcome { epoch }, _) => epoch,
        (Word::Refused { reason }, _) => return Err(RestartError::Refused { reason }),
        _ => return Err(silent(std::io::ErrorKind::InvalidData.into())),
    };
    let epoch = before.saturating_add(1);
    check_epoch(epoch, settings.epoch)?;
    let predecessor = Predecessor { line, is_gone: AtomicBool::new(false) };
    let porch = match predecessor.borrow(PLACE).await.pop() {
        Some(socket) => Porch::of(socket).map_err(unusable)?,
        // It ended in this moment.
        None => Porch::open(place).map_err(unusable)?,
    };
    Ok(Beginning { predecessor: Some(Arc::new(predecessor)), porch, epoch })
}

fn check_epoch(found: u32, wanted: Option<u32>) -> Result<(), RestartError> {
    match wanted {
        Some(wanted) if wanted != found => Err(RestartError::Epoch { found, wanted }),
        Some(_) | None => Ok(()),
    }
}

impl Predecessor {
    /// The sockets that it has under this name; none of a name that it does not know, and when it
    /// is gone.
    pub(crate) async fn borrow(&self, name: &str) -> Vec<OwnedFd> {
        if self.is_gone.load(Relaxed) {
            return Vec::new();
        }
        match self.ask(name).await {
            Ok(sockets) => sockets,
            Err(error) => {
                tracing::warn!(%error, "the process that served before is gone");
                self.is_gone.store(true, Relaxed);
                Vec::new()
            }
        }
    }

    async fn ask(&self, name: &str) -> std::io::Result<Vec<OwnedFd>> {
        self.line.say(&Word::Lend(name.to_owned())).await?;
        let mut sockets = Vec::new();
        for _ in 0..PACKETS_MAX {
            let (word, lent) = self.line.hear_soon().await?;
            sockets.extend(lent);
            let Word::Lent { more } = word else {
                return Err(std::io::ErrorKind::InvalidData.into());
            };
            if !more {
                break;
            }
        }
        Ok(sockets)
    }

    /// Tells it that this process serves from now on, and waits until it accepts no more. When it does
    /// not answer, both accept for a while, and no client is lost.
    pub(crate) async fn take_over(&self) {
        let told = self.line.say(&Word::TakeOver).await;
        let heard = match told {
            Ok(()) => self.line.hear_soon().await,
            Err(error) => Err(error),
        };
        match heard {
            Ok((Word::TakenOver, _)) => tracing::info!("took over from the process before"),
            Ok((word, _)) => tracing::warn!(?word, "the process before does not understand"),
            Err(error) => tracing::warn!(%error, "the process before did not say that it goes"),
        }
    }

    /// Adds what it counts to the statistics of this process, until it ends.
    pub(crate) async fn follow(&self, shared: &Shared) {
        let mut lent = std::collections::BTreeMap::<String, i64>::new();
        while let Ok((word, _)) = self.line.hear().await {
            let Word::Numbers(numbers) = word else { continue };
            shared.server.parent_connections.set(numbers.connections);
            for (name, amount) in &numbers.counters {
                shared.stats.inherit_counter(name, *amount);
            }
            for (name, amount) in numbers.gauges {
                if shared.stats.add_to_gauge(&name, amount) {
                    let sum = lent.entry(name).or_default();
                    *sum = sum.saturating_add(amount);
                }
            }
        }
        // What was open there is not any more.
        for (name, amount) in lent {
            shared.stats.add_to_gauge(&name, amount.saturating_neg());
        }
        shared.server.parent_connections.set(0);
        tracing::info!("the process before has ended");
    }
}
