//! Where a mesh of this machine lives: its addresses and its state.

use std::{
    fs::File,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    str::FromStr,
};

use anyhow::Context as _;
use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};

/// Port of the API for tools and of the dashboard.
pub(crate) const API_PORT: u16 = 15080;
/// Port of a proxy's admin endpoint.
pub(crate) const ADMIN_PORT: u16 = 15000;
/// Port of a proxy's health endpoint.
pub(crate) const HEALTH_PORT: u16 = 15021;
/// Port of a sidecar that an application sends its requests to.
pub(crate) const OUTBOUND_PORT: u16 = 15001;

/// The loopback addresses of one mesh: a /16 of 127.0.0.0/8, so that several meshes of a machine
/// never meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MeshRange {
    second: u8,
}

impl MeshRange {
    /// The address of the control plane.
    pub(crate) const fn control(self) -> Ipv4Addr {
        Ipv4Addr::new(127, self.second, 0, 1)
    }

    /// The first address of the range.
    pub(crate) const fn network(self) -> Ipv4Addr {
        Ipv4Addr::new(127, self.second, 0, 0)
    }
}

impl Default for MeshRange {
    fn default() -> Self {
        Self { second: 15 }
    }
}

impl FromStr for MeshRange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || format!("expected a range such as 127.15.0.0/16, found {text}");
        let address = text.strip_suffix("/16").ok_or_else(wrong)?;
        let address: Ipv4Addr = address.parse().map_err(|_not_an_address| wrong())?;
        match address.octets() {
            // 127.0.0.0/16 holds 127.0.0.1, which belongs to everybody.
            [127, second, 0, 0] if second != 0 => Ok(Self { second }),
            _ => Err(wrong()),
        }
    }
}

impl std::fmt::Display for MeshRange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/16", self.network())
    }
}

/// The directory that holds what a mesh must not lose: its root key, and who runs where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StateDirectory(PathBuf);

impl StateDirectory {
    /// The one that was asked for, or the default one of a range; made if it is not there.
    pub(crate) fn open(asked: Option<&Path>, range: MeshRange) -> anyhow::Result<Self> {
        let path = match asked {
            Some(path) => path.to_owned(),
            None => base()?.join(range.network().to_string()),
        };
        std::fs::create_dir_all(&path)
            .with_context(|| format!("cannot make the state directory {}", path.display()))?;
        let path = std::path::absolute(&path)
            .with_context(|| format!("cannot find the state directory {}", path.display()))?;
        Ok(Self(path))
    }

    /// The one that is named, else that of the mesh that was started last, if it is there.
    pub(crate) fn existing(asked: Option<&Path>) -> Option<Self> {
        let newest = || {
            let newest = std::fs::read_to_string(base().ok()?.join("newest")).ok()?;
            Some(PathBuf::from(newest.trim()))
        };
        let path = asked.map(Path::to_owned).or_else(newest)?;
        path.is_dir().then_some(Self(path))
    }

    /// Takes the directory for one mesh; given back when the returned file is closed.
    pub(crate) fn lock(&self) -> anyhow::Result<File> {
        let path = self.0.join("lock");
        let file =
            File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
        rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(|_held| {
            anyhow::anyhow!(
                "another mesh keeps its state in {}; end it, or name another directory with --state",
                self.0.display()
            )
        })?;
        Ok(file)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Keys and certificates of the authority.
    pub(crate) fn authority(&self) -> PathBuf {
        self.0.join("ca")
    }

    /// The last good version of every file of the configuration.
    pub(crate) fn accepted(&self) -> PathBuf {
        self.0.join("accepted")
    }

    /// One document a local pod.
    pub(crate) fn pods(&self) -> PathBuf {
        self.0.join("pods")
    }

    /// One join token a local pod.
    pub(crate) fn tokens(&self) -> PathBuf {
        self.0.join("tokens")
    }

    /// What the processes print.
    pub(crate) fn logs(&self) -> PathBuf {
        self.0.join("logs")
    }

    fn control_file(&self) -> PathBuf {
        self.0.join("control.json")
    }

    /// Tells tools where the control plane is.
    pub(crate) fn announce(&self, control: &ControlPlace) -> anyhow::Result<()> {
        let text = serde_json::to_string_pretty(control)?;
        write_whole(&self.control_file(), &text)?;
        if let Ok(base) = base() {
            // Only a convenience for tools that are not told which mesh is meant.
            let newest = base.join("newest");
            if let Err(error) = std::fs::create_dir_all(&base)
                .map_err(anyhow::Error::from)
                .and_then(|()| write_whole(&newest, &self.0.to_string_lossy()))
            {
                tracing::debug!(%error, "the newest mesh cannot be noted");
            }
        }
        Ok(())
    }

    /// Where the control plane of this state is, if one was started.
    pub(crate) fn control(&self) -> Option<ControlPlace> {
        let text = std::fs::read_to_string(self.control_file()).ok()?;
        serde_json::from_str(&text).ok()
    }
}

/// Where a control plane is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ControlPlace {
    /// Its API.
    pub(crate) api: SocketAddr,
    /// Where proxies connect, with TLS.
    pub(crate) xds: SocketAddr,
    /// The directories that it reads.
    pub(crate) config: Vec<PathBuf>,
    /// The trust domain of its certificates.
    pub(crate) trust_domain: String,
}

/// The API of the control plane that is meant: the given one, that of the given state, or that of
/// the mesh that was started last.
pub(crate) fn find_api(given: Option<SocketAddr>, state: Option<&Path>) -> SocketAddr {
    given
        .or_else(|| StateDirectory::existing(state)?.control().map(|control| control.api))
        .unwrap_or_else(|| SocketAddr::new(IpAddr::V4(MeshRange::default().control()), API_PORT))
}

/// Writes a file so that readers see the old or the new text, never a part.
pub(crate) fn write_whole(path: &Path, text: &str) -> anyhow::Result<()> {
    let name = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
    let draft = path.with_file_name(format!(".{name}.new"));
    std::fs::write(&draft, text)
        .and_then(|()| std::fs::rename(&draft, path))
        .with_context(|| format!("cannot write {}", path.display()))
}

/// Where state is kept for this user. Source: XDG base directory specification.
fn base() -> anyhow::Result<PathBuf> {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    variable("XDG_STATE_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(variable("HOME")?).join(".local/state")))
        .map(|base| base.join("iako"))
        .context("neither HOME nor XDG_STATE_HOME is set; name a directory with --state")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_a_sixteenth_of_loopback_but_never_the_first() {
        let range: MeshRange = "127.20.0.0/16".parse().unwrap();
        assert_eq!(range.control().to_string(), "127.20.0.1");
        assert_eq!(range.to_string(), "127.20.0.0/16");
        for wrong in ["127.0.0.0/16", "10.0.0.0/16", "127.1.0.0/24", "127.1.2.0/16", "x"] {
            assert!(wrong.parse::<MeshRange>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn tools_find_the_control_plane_of_a_state() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDirectory::open(Some(folder.path()), MeshRange::default()).unwrap();
        let api = "127.20.0.1:15080".parse().unwrap();
        let place = ControlPlace {
            api,
            xds: "127.20.0.1:15012".parse().unwrap(),
            config: vec!["shop".into()],
            trust_domain: "cluster.local".into(),
        };
        let text = serde_json::to_string(&place).unwrap();
        write_whole(&folder.path().join("control.json"), &text).unwrap();
        assert_eq!(state.control(), Some(place));
        assert_eq!(find_api(None, Some(folder.path())), api);
    }
}
