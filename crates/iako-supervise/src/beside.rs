//! An application and its sidecar: who starts first, who ends first, which code comes out.

use std::{io, time::Duration};

use iako_rt::Scope;
use rustix::process::Signal;
use tokio::time;

use crate::{Exit, Program, Signals, SpawnError};

/// What is asked of a sidecar by the process that runs an application beside it.
pub trait SidecarControl {
    /// Waits until the sidecar serves.
    fn serves(&self) -> impl Future<Output = ()>;

    /// Lets open requests end, then stops. Bounded by the sidecar's own drain time.
    fn drain(&self) -> impl Future<Output = ()>;

    /// Waits until the sidecar fails for good; says why. Never ends while it works.
    fn failed(&self) -> impl Future<Output = String>;
}

/// Bounds for starting and ending.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BesideSettings {
    /// Longest time until the sidecar serves. Default: 60 s.
    pub start_limit: Duration,
    /// Time that the application has for its own end. Default: 30 s, as a Kubernetes pod.
    pub grace: Duration,
}

impl Default for BesideSettings {
    fn default() -> Self {
        Self { start_limit: Duration::from_secs(60), grace: Duration::from_secs(30) }
    }
}

/// Why an application did not run to its end.
#[derive(Debug, thiserror::Error)]
pub enum BesideError {
    /// The sidecar did not serve in time.
    #[error(
        "the sidecar did not serve within {limit:?}; is the control plane running and reachable?"
    )]
    SidecarLate {
        /// The time that it had.
        limit: Duration,
    },
    /// The sidecar failed.
    #[error("the sidecar failed: {reason}")]
    SidecarFailed {
        /// What it says.
        reason: String,
    },
    /// The application did not start.
    #[error(transparent)]
    Spawn(#[from] SpawnError),
    /// The operating system cannot tell how the application ended.
    #[error("the end of the application cannot be observed")]
    Wait(#[source] io::Error),
}

/// Starts `program` once the sidecar serves, passes requests to stop on to it, drains the sidecar
/// when it is gone, and returns how it ended.
///
/// # Errors
/// When the sidecar does not serve in time or fails, or the application cannot be started. The
/// application is ended before an error is returned.
pub async fn run_beside(
    sidecar: &impl SidecarControl,
    program: &Program,
    settings: &BesideSettings,
    signals: &mut Signals,
) -> Result<Exit, BesideError> {
    tokio::select! {
        started = time::timeout(settings.start_limit, sidecar.serves()) => {
            if started.is_err() {
                return Err(BesideError::SidecarLate { limit: settings.start_limit });
            }
        }
        reason = sidecar.failed() => return Err(BesideError::SidecarFailed { reason }),
        stop = signals.next() => {
            tracing::info!(?stop, "asked to stop before the application was started");
            sidecar.drain().await;
            return Ok(Exit::Signal(Signal::TERM.as_raw()));
        }
    }
    let scope = Scope::new();
    let mut running = program.spawn(&scope)?;
    tracing::info!(pid = running.id(), "application started");
    let (ended, failure) = tokio::select! {
        ended = running.wait() => (ended, None),
        stop = signals.next() => {
            tracing::info!(?stop, "asking the application to end");
            (running.stop(settings.grace).await, None)
        }
        reason = sidecar.failed() => (running.stop(settings.grace).await, Some(reason)),
    };
    let exit = ended.map_err(BesideError::Wait)?;
    tracing::info!(%exit, "application ended");
    if let Some(reason) = failure {
        return Err(BesideError::SidecarFailed { reason });
    }
    sidecar.drain().await;
    Ok(exit)
}

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, path::Path};

    use super::*;

    /// Writes down what is asked of it, beside what the application writes to the same file.
    struct Recorder<'a> {
        journal: &'a Path,
        order: RefCell<()>,
    }

    impl Recorder<'_> {
        fn note(&self, line: &str) {
            use std::io::Write;
            let _guard = self.order.borrow_mut();
            let mut file =
                std::fs::OpenOptions::new().create(true).append(true).open(self.journal).unwrap();
            writeln!(file, "{line}").unwrap();
        }
    }

    impl SidecarControl for Recorder<'_> {
        async fn serves(&self) {
            tokio::task::yield_now().await;
            self.note("sidecar serves");
        }

        async fn drain(&self) {
            self.note("sidecar drained");
        }

        async fn failed(&self) -> String {
            std::future::pending().await
        }
    }

    #[tokio::test]
    async fn the_application_lives_inside_the_life_of_its_sidecar() {
        let folder = tempfile::tempdir().unwrap();
        let journal = folder.path().join("journal");
        let sidecar = Recorder { journal: &journal, order: RefCell::new(()) };
        let script = format!("echo application >> {}; exit 3", journal.display());
        let program = Program::new(["sh", "-c", &script]);
        let mut signals = Signals::listen().unwrap();
        let exit =
            run_beside(&sidecar, &program, &BesideSettings::default(), &mut signals).await.unwrap();
        assert_eq!(exit, Exit::Code(3));
        let lines = std::fs::read_to_string(&journal).unwrap();
        assert_eq!(lines, "sidecar serves\napplication\nsidecar drained\n");
    }

    #[tokio::test]
    async fn no_application_starts_without_a_sidecar_that_serves() {
        struct Never;
        impl SidecarControl for Never {
            async fn serves(&self) {
                std::future::pending::<()>().await;
            }
            async fn drain(&self) {}
            async fn failed(&self) -> String {
                std::future::pending().await
            }
        }
        let folder = tempfile::tempdir().unwrap();
        let trace = folder.path().join("started");
        let program = Program::new(["touch", trace.to_str().unwrap()]);
        let settings =
            BesideSettings { start_limit: Duration::from_millis(20), ..BesideSettings::default() };
        let mut signals = Signals::listen().unwrap();
        let error = run_beside(&Never, &program, &settings, &mut signals).await.unwrap_err();
        assert!(matches!(error, BesideError::SidecarLate { .. }));
        assert!(!trace.exists());
    }
}
