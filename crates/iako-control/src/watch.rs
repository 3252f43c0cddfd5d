//! Directories of YAML as a source: read whole, again whenever something in them changes.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use iako_rt::clock;
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
    /// When the first of the changes came that nobody was told of.
    changing: Option<Instant>,
    /// When somebody was told to look for the last time.
    told: Instant,
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
        let told = clock::now();
        Self { changes, changing: None, told, _notices: notices, _watcher: watcher }
    }

    /// Waits until something changed, or may have, and no longer does. Who stops waiting loses nothing:
    /// the next wait goes on with what came.
    pub async fn changed(&mut self) {
        let since = match self.changing {
            Some(since) => since,
            None => {
                let left = POLL.saturating_sub(self.told.elapsed());
                let notified = time::timeout(left, self.changes.recv()).await;
                let now = clock::now();
                if notified.is_err() {
                    self.told = now;
                    return;
                }
                *self.changing.insert(now)
            }
        };
        let settle =
            async { while let Ok(Some(())) = time::timeout(QUIET, self.changes.recv()).await {} };
        // A directory that never rests is read all the same.
        drop(time::timeout(QUIET_MAX.saturating_sub(since.elapsed()), settle).await);
        self.changing = None;
        self.told = clock::now();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_change_is_told_to_who_stopped_waiting_meanwhile() {
        let folder = tempfile::tempdir().unwrap();
        let mut watch = DirectoryWatch::start(&[folder.path().to_owned()]);
        std::fs::write(folder.path().join("a.yaml"), "a: 1").unwrap();
        // Shorter than a change takes to settle.
        let wait = QUIET / 4;
        for _ in 0..10 * QUIET_MAX.as_millis() / wait.as_millis() {
            if time::timeout(wait, watch.changed()).await.is_ok() {
                return;
            }
        }
        panic!("the change is lost");
    }
}
