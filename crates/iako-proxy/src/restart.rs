//! Hot restart: a new process of this proxy takes over the listening sockets of the old one, which
//! drains and ends.
//!
//! Both name the same place, a socket in the file system or an abstract one. The first process listens
//! there. A second one finds it, says hello, and borrows the sockets that its own configuration asks for:
//! the same file descriptions, so that clients who wait in a queue wait for both. Only when everything of
//! the new process is ready does it take over: the old one stops accepting, hands its numbers over, tells
//! its clients to go, and ends with its last connection. Until then it serves as if nothing was there, so
//! that a new process that fails, or refuses its configuration, changes nothing.
//!
//! `wire` is what they say, `predecessor` the side of the new process, `successor` that of the old one,
//! `spares` the sockets that are lent.

pub(crate) mod predecessor;
pub(crate) mod spares;
pub(crate) mod successor;
mod wire;

use std::{fmt, io, path::PathBuf, str::FromStr, time::Duration};

use predecessor::Beginning;
use tokio::sync::watch;

use crate::proxy::Control;

/// How a proxy is replaced by the next process of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HotRestart {
    /// Where the processes meet.
    pub place: MeetingPlace,
    /// How many processes came before. When absent, that is found out: 0 where nobody is at the place.
    /// Envoy's `--restart-epoch`.
    pub epoch: Option<u32>,
    /// Time from the takeover until the old process cuts what is left. Not less than the drain time.
    /// Envoy's `--parent-shutdown-time-s`, there 900 s beside a drain time of 600 s.
    pub cut: Duration,
}

/// Where two processes of one proxy meet: a path, or a name without a file (`@name`) that is gone with
/// its last process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MeetingPlace {
    /// A socket in the file system, which only its owner may use.
    Path(PathBuf),
    /// An abstract socket of this network namespace.
    Name(String),
}

impl FromStr for MeetingPlace {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // The system takes 107 bytes of either kind.
        match text.strip_prefix('@') {
            _ if text.len() > 107 => Err("longer than 107 bytes".to_owned()),
            Some("") => Err("@ wants a name after it".to_owned()),
            None if text.is_empty() => Err("a path is expected, or @ and a name".to_owned()),
            Some(name) => Ok(Self::Name(name.to_owned())),
            None => Ok(Self::Path(text.into())),
        }
    }
}

impl fmt::Display for MeetingPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => path.display().fmt(f),
            Self::Name(name) => write!(f, "@{name}"),
        }
    }
}

/// Why a process cannot take over from another, or be taken over from.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RestartError {
    /// The place cannot be used.
    #[error("{place} cannot be listened at")]
    Place {
        /// Where.
        place: MeetingPlace,
        /// What the system said.
        source: io::Error,
    },
    /// The process that serves said no.
    #[error("the process that serves lets nobody take over: {reason}")]
    Refused {
        /// Its reason.
        reason: String,
    },
    /// The process that serves said nothing that can be understood.
    #[error("the process at {place} does not answer as one of this proxy does")]
    Silent {
        /// Where.
        place: MeetingPlace,
        /// What happened.
        source: io::Error,
    },
    /// The number of processes before is another one than was said.
    #[error("this is restart {found}, not {wanted}: see --restart-epoch")]
    Epoch {
        /// What was found.
        found: u32,
        /// What was asked for.
        wanted: u32,
    },
}

/// Takes over from the process before once everything is ready, and waits for the one after.
pub(crate) async fn live(
    beginning: Beginning,
    control: Control,
    mut prepared: watch::Receiver<bool>,
    cut: Duration,
) {
    let Beginning { predecessor, porch, epoch } = beginning;
    let after = successor::serve(porch, control.clone(), epoch, cut);
    let Some(predecessor) = predecessor else { return after.await };
    if prepared.wait_for(|prepared| *prepared).await.is_err() {
        return;
    }
    predecessor.take_over().await;
    control.open().await;
    tokio::join!(predecessor.follow(&control.shared), after);
}

/// The version of the conversation that `/hot_restart_version` shows.
pub(crate) fn version() -> String {
    wire::VERSION.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_path_or_a_name() {
        let place = |text: &str| text.parse::<MeetingPlace>();
        assert_eq!(place("/run/iako.sock"), Ok(MeetingPlace::Path("/run/iako.sock".into())));
        assert_eq!(place("@iako"), Ok(MeetingPlace::Name("iako".into())));
        assert_eq!(place("@iako").unwrap().to_string(), "@iako");
        for wrong in ["", "@", &"x".repeat(108)] {
            assert!(place(wrong).is_err(), "{wrong}");
        }
    }
}
