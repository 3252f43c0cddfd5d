//! One process.

use std::{ffi::OsString, io, path::PathBuf, process::Stdio, time::Duration};

use iako_rt::Scope;
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::{
    process::{Child, Command},
    time,
};

use crate::{Exit, Output};

/// A program to start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// The command and its arguments; a bare name is looked up in `PATH`.
    pub argv: Vec<OsString>,
    /// Variables added to our own environment.
    pub env: Vec<(String, String)>,
    /// Where it runs; where we run when absent.
    pub directory: Option<PathBuf>,
    /// What becomes of what it prints.
    pub output: Output,
}

/// Why a program did not start.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    /// The command is empty.
    #[error("the command is empty")]
    Empty,
    /// There is no such program.
    #[error("the program {program} was not found; give its full path, or add its folder to PATH")]
    NotFound {
        /// What was looked for.
        program: String,
    },
    /// Its output cannot be written.
    #[error("the output of {program} cannot be written to its log file")]
    Output {
        /// Whose output.
        program: String,
        /// What the operating system says.
        source: io::Error,
    },
    /// The operating system refused.
    #[error("the program {program} cannot be started")]
    System {
        /// What was to be started.
        program: String,
        /// What the operating system says.
        source: io::Error,
    },
}

impl Program {
    /// A program that prints where we print.
    #[must_use]
    pub fn new(argv: impl IntoIterator<Item = impl Into<OsString>>) -> Self {
        Self {
            argv: argv.into_iter().map(Into::into).collect(),
            env: Vec::new(),
            directory: None,
            output: Output::Inherit,
        }
    }

    /// Starts it. It is ended when the returned value is dropped, and when we are killed.
    ///
    /// Call from the main thread of the process: the operating system takes the end of the calling
    /// thread for our end.
    ///
    /// # Errors
    /// When there is no such program, or the operating system refuses.
    pub fn spawn(&self, scope: &Scope) -> Result<Running, SpawnError> {
        let (program, arguments) = self.argv.split_first().ok_or(SpawnError::Empty)?;
        let name = program.to_string_lossy().into_owned();
        let (stdout, stderr) = self
            .output
            .streams()
            .map_err(|source| SpawnError::Output { program: name.clone(), source })?;
        let mut command = Command::new(program);
        command
            .args(arguments)
            .envs(self.env.iter().map(|(key, value)| (key, value)))
            .stdin(Stdio::null())
            .stdout(stdout)
            .stderr(stderr)
            .process_group(0)
            .kill_on_drop(true);
        if let Some(directory) = &self.directory {
            command.current_dir(directory);
        }
        death_signal::end_with_parent(&mut command);
        let mut child = command.spawn().map_err(|source| {
            if source.kind() == io::ErrorKind::NotFound {
                SpawnError::NotFound { program: name }
            } else {
                SpawnError::System { program: name, source }
            }
        })?;
        self.output.attach(&mut child, scope);
        let group = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        Ok(Running { child, group })
    }
}

/// The one place that needs `unsafe`: code that runs between fork and exec.
mod death_signal {
    #![expect(unsafe_code, reason = "pre_exec is unsafe by nature")]

    use rustix::process::{Signal, set_parent_process_death_signal};
    use tokio::process::Command;

    /// Has the program sent SIGTERM when the thread that starts it ends.
    pub(super) fn end_with_parent(command: &mut Command) {
        // SAFETY: the closure makes one system call and touches no memory of the parent, which is
        // all that is allowed between fork and exec.
        unsafe {
            command.pre_exec(|| Ok(set_parent_process_death_signal(Some(Signal::TERM))?));
        }
    }
}

/// A started program.
#[derive(Debug)]
pub struct Running {
    child: Child,
    /// The process group that the program leads; outlives the program while it has members.
    group: Option<Pid>,
}

impl Running {
    /// Its process id; absent once its end was seen.
    #[must_use]
    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Waits for its end. What it started in its group and left behind ends with it, as everything
    /// in a container ends with its first process.
    ///
    /// # Errors
    /// When the operating system cannot tell.
    pub async fn wait(&mut self) -> io::Result<Exit> {
        let status = self.child.wait().await;
        self.end_group();
        // From now on the number may be another's.
        self.group = None;
        status.map(Exit::from)
    }

    /// Asks the program to end; SIGKILL when `grace` is over. What it leaves behind in its group is
    /// ended with it.
    ///
    /// # Errors
    /// When the operating system cannot tell how it ended.
    pub async fn stop(&mut self, grace: Duration) -> io::Result<Exit> {
        self.signal(Signal::TERM);
        match time::timeout(grace, self.wait()).await {
            Ok(status) => status,
            Err(_elapsed) => {
                self.end_group();
                self.wait().await
            }
        }
    }

    /// Sends a signal to the program alone. Does nothing once it ended.
    pub fn signal(&self, signal: Signal) {
        if let Some(pid) = self.pid()
            && let Err(error) = kill_process(pid, signal)
        {
            // The program may end between the look and the call: nobody is left to be told.
            tracing::debug!(%error, "a signal found nobody");
        }
    }

    /// Nobody asks what is left for its own end: who started it is gone.
    fn end_group(&self) {
        if let Some(group) = self.group
            && let Err(error) = kill_process_group(group, Signal::KILL)
        {
            tracing::trace!(%error, "nobody is left in the group");
        }
    }

    fn pid(&self) -> Option<Pid> {
        self.child.id().and(self.group)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end_group();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Program {
        Program::new(["sh", "-c", script])
    }

    #[tokio::test]
    async fn the_exit_code_of_the_program_comes_out() {
        let mut running = shell("exit 7").spawn(&Scope::new()).unwrap();
        assert_eq!(running.wait().await.unwrap(), Exit::Code(7));
        let mut killed = shell("kill -9 $$").spawn(&Scope::new()).unwrap();
        assert_eq!(killed.wait().await.unwrap().code(), 137);
    }

    #[tokio::test]
    async fn a_program_that_ignores_the_request_to_end_is_killed_after_its_grace() {
        let mut program = shell("trap '' TERM; echo ready; while :; do sleep 0.05; done");
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        program.output = Output::File(log.clone());
        let mut running = program.spawn(&Scope::new()).unwrap();
        while !std::fs::read_to_string(&log).unwrap().contains("ready") {
            tokio::task::yield_now().await;
        }
        let exit = running.stop(Duration::from_millis(50)).await.unwrap();
        assert_eq!(exit, Exit::Signal(9));
    }

    #[tokio::test]
    async fn what_a_program_leaves_behind_ends_with_it() {
        let mut program = shell("sleep 1000 & echo $!");
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        program.output = Output::File(log.clone());
        program.spawn(&Scope::new()).unwrap().wait().await.unwrap();
        let left = std::fs::read_to_string(&log).unwrap();
        let stat = format!("/proc/{}/stat", left.trim());
        let runs = || std::fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z "));
        while runs() {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn a_missing_program_is_named() {
        let error = Program::new(["no-such-program-here"]).spawn(&Scope::new()).unwrap_err();
        assert!(error.to_string().contains("no-such-program-here"), "{error}");
    }
}
