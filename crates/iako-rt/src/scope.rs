//! Tasks that have a name and an owner that stops them.

use std::{cell::RefCell, future::Future, rc::Rc, sync::Arc};

use parking_lot::Mutex;
use tokio::task::{AbortHandle, JoinSet};

/// Owns the tasks of one part of a process; all of them stop when the last clone is dropped.
///
/// For multi-threaded runtimes; a worker of the proxy uses [`LocalScope`].
#[derive(Debug, Clone, Default)]
pub struct Scope {
    tasks: Arc<Mutex<JoinSet<()>>>,
}

impl Scope {
    /// A scope without tasks.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts a task on the current runtime. `name` says what it is for.
    pub fn spawn(
        &self,
        name: &'static str,
        task: impl Future<Output = ()> + Send + 'static,
    ) -> AbortHandle {
        let mut tasks = self.tasks.lock();
        reap(name, &mut tasks);
        tasks.spawn(task)
    }

    /// Waits until every task has ended; tasks started meanwhile are waited for, too.
    pub async fn finished(&self) {
        loop {
            let mut taken = std::mem::take(&mut *self.tasks.lock());
            if taken.is_empty() {
                return;
            }
            while taken.join_next().await.is_some() {}
        }
    }

    /// Ends every task at its next waiting point.
    pub fn stop(&self) {
        self.tasks.lock().abort_all();
    }
}

/// The same for a single-threaded runtime: tasks need not be `Send`.
#[derive(Debug, Clone, Default)]
pub struct LocalScope {
    tasks: Rc<RefCell<JoinSet<()>>>,
}

impl LocalScope {
    /// A scope without tasks.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts a task on the current `LocalSet` or local runtime. `name` says what it is for.
    pub fn spawn(
        &self,
        name: &'static str,
        task: impl Future<Output = ()> + 'static,
    ) -> AbortHandle {
        let mut tasks = self.tasks.borrow_mut();
        reap(name, &mut tasks);
        tasks.spawn_local(task)
    }

    /// How many tasks have not ended or were not yet collected.
    #[must_use]
    pub fn len(&self) -> usize {
        self.tasks.borrow().len()
    }

    /// Whether no task is left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Ends every task at its next waiting point.
    pub fn stop(&self) {
        self.tasks.borrow_mut().abort_all();
    }
}

/// Starts a task that nobody stops: for what ends by itself with something that has an owner, as a
/// stream does with its connection. Its memory is given back when it ends.
///
/// The task is moved once, into a box: the runtime itself moves what it is given about ten times, and a
/// request's task is large.
pub fn spawn_detached(name: &'static str, task: impl Future<Output = ()> + 'static) {
    tracing::trace!(name, "a task begins");
    drop(tokio::task::spawn_local(Box::pin(task)));
}

/// Collects ended tasks, so that a long-lived scope does not grow, and tells of panics.
fn reap(name: &'static str, tasks: &mut JoinSet<()>) {
    while let Some(ended) = tasks.try_join_next() {
        if let Err(error) = ended
            && error.is_panic()
        {
            tracing::error!(scope = name, %error, "a task panicked");
        }
    }
}
