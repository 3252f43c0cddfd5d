//! Join tokens: how a workload proves who it is before it has a certificate.

use std::{
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context as _;
use iako_ca::{JoinToken, JoinTokens};
use iako_types::{Namespace, ServiceAccount};

use crate::place::StateDirectory;

/// How long the tokens of local pods are good. Long enough for a machine that slept.
const LIFETIME: Duration = Duration::from_secs(365 * 24 * 3600);

/// Makes a token with the keys of a control plane of this machine.
pub(crate) fn mint(
    state: &StateDirectory,
    namespace: &Namespace,
    account: &ServiceAccount,
    lifetime: Duration,
) -> anyhow::Result<JoinToken> {
    let directory = state.authority();
    std::fs::create_dir_all(&directory)
        .with_context(|| format!("cannot make {}", directory.display()))?;
    JoinTokens::open(&directory)
        .context("the key that signs join tokens cannot be used")?
        .mint(namespace, account, lifetime, iako_rt::clock::wall())
        .with_context(|| format!("no join token for {namespace}/{account}"))
}

/// Makes a token and writes it where only we can read it; returns the file.
pub(crate) fn write(
    state: &StateDirectory,
    namespace: &Namespace,
    account: &ServiceAccount,
) -> anyhow::Result<PathBuf> {
    let folder = state.tokens();
    std::fs::create_dir_all(&folder)
        .with_context(|| format!("cannot make {}", folder.display()))?;
    let path = folder.join(format!("{namespace}.{account}.jwt"));
    write_secret(&path, mint(state, namespace, account, LIFETIME)?.as_str())?;
    Ok(path)
}

/// Writes a file that only we can read; readers see the old or the new text.
fn write_secret(path: &Path, text: &str) -> anyhow::Result<()> {
    let draft = path.with_extension(format!("{}.new", std::process::id()));
    std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&draft)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .and_then(|()| std::fs::rename(&draft, path))
        .with_context(|| format!("cannot write {}", path.display()))
}
