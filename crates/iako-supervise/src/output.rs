//! What becomes of the lines that a program prints.

use std::{
    fs::OpenOptions,
    io::{self, Write},
    path::PathBuf,
    process::Stdio,
};

use iako_rt::Scope;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};

/// Longest line that is passed on in one piece, in bytes. Longer ones are cut into several.
const LINE_BYTES_MAX: u64 = 16 * 1024;

/// What becomes of the lines that a program prints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// They go where ours go.
    Inherit,
    /// They go to our standard error, each with this before it.
    Prefixed(String),
    /// They are appended to this file.
    File(PathBuf),
}

impl Output {
    /// The two streams to start a program with.
    pub(crate) fn streams(&self) -> io::Result<(Stdio, Stdio)> {
        match self {
            Self::Inherit => Ok((Stdio::inherit(), Stdio::inherit())),
            Self::Prefixed(_) => Ok((Stdio::piped(), Stdio::piped())),
            Self::File(path) => {
                let file = OpenOptions::new().create(true).append(true).open(path)?;
                Ok((file.try_clone()?.into(), file.into()))
            }
        }
    }

    /// Passes on what a started program prints, until it closes its streams.
    pub(crate) fn attach(&self, child: &mut tokio::process::Child, scope: &Scope) {
        let Self::Prefixed(prefix) = self else { return };
        if let Some(stdout) = child.stdout.take() {
            scope.spawn("program output", copy_lines(stdout, prefix.clone()));
        }
        if let Some(stderr) = child.stderr.take() {
            scope.spawn("program output", copy_lines(stderr, prefix.clone()));
        }
    }
}

async fn copy_lines(from: impl AsyncRead + Unpin, prefix: String) {
    let mut reader = BufReader::new(from);
    let mut line = Vec::new();
    loop {
        line.clear();
        line.extend_from_slice(prefix.as_bytes());
        let mut bounded = tokio::io::AsyncReadExt::take(&mut reader, LINE_BYTES_MAX);
        match bounded.read_until(b'\n', &mut line).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        if line.last() != Some(&b'\n') {
            line.push(b'\n');
        }
        // Our own standard error may be gone; the program must not stall for it.
        if io::stderr().write_all(&line).is_err() {
            return;
        }
    }
}
