//! Directories of YAML as a source: read whole, again whenever something in them changes.

use std::{path::PathBuf, time::Duration};

use notify::{RecursiveMode, Watcher};
use tokio::{sync::mpsc, time};

/// Quiet time after a change before the directory is read: editors write in several steps.
const QUIET: Duration = Duration::from_millis(40);
/// Longest time that changes may go on before the directory is read all the same.
const QUIET_MAX: Duration = Duration::from_millis(250);
/// Time between looks where no notification comes (some network file systems).
const POLL: Duration = Duration::from_secs(5);

/// Tells when files below some paths change.
#[derive(Debug)]
pub struct DirectoryWatch {
    changes: mpsc::Receiver<()>,
    // Keeps the channel open when there is no watcher.
    _notices: mpsc::Sender<()>,
    // Stops when dropped.
    _watcher: Option<notify::RecommendedWatcher>,
}

impl DirectoryWatch {
    /// Starts watching. A path that cannot be watched is polled.
    pub fn start(paths: &[PathBuf]) -> Self {
        let (sender, changes) = mpsc::channel(1);
        let notices = sender.clone();
        let notify = move |event: notify::Result<notify::Event>| {
            let matters = event.as_ref().map_or(true, |event| !event.kind.is_access());
            if matters && sender.try_send(()).is_err() {
                tracing::trace!("one notice is waiting already, and says the same");
            }
        };
        let watcher = notify::recommended_watcher(notify)
            .and_then(|mut watcher| {
                for path in paths {
                    watcher.watch(path, RecursiveMode::Recursive)?;
                }
                Ok(watcher)
            })
            .inspect_err(|error| {
                tracing::warn!(%error, "changes are looked for every {POLL:?} only");
            })
            .ok();
        Self { changes, _notices: notices, _watcher: watcher }
    }

    /// Waits until something changed, or may have, and no longer does.
    pub async fn changed(&mut self) {
        let notified = time::timeout(POLL, self.changes.recv()).await;
        if notified.is_err() {
            return;
        }
        let settle =
            async { while let Ok(Some(())) = time::timeout(QUIET, self.changes.recv()).await {} };
        // A directory that never rests is read all the same.
        drop(time::timeout(QUIET_MAX, settle).await);
    }
}
