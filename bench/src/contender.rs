//! Who is measured: where each program is, and how it is started with a configuration.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

/// A proxy, or none at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Contender {
    Iako,
    Envoy,
    Haproxy,
    Nginx,
    /// Load and upstream with nothing between them.
    Direct,
}

impl fmt::Display for Contender {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Iako => "Iako",
            Self::Envoy => "Envoy",
            Self::Haproxy => "HAProxy",
            Self::Nginx => "nginx",
            Self::Direct => "no proxy",
        })
    }
}

impl Contender {
    /// Endings of its configuration files; the first that exists is used.
    pub(crate) fn endings(self) -> &'static [&'static str] {
        match self {
            Self::Iako => &["iako.yaml", "yaml"],
            Self::Envoy => &["envoy.yaml", "yaml"],
            Self::Haproxy => &["cfg"],
            Self::Nginx => &["conf"],
            Self::Direct => &[],
        }
    }
}

/// The programs on this machine.
#[derive(Debug)]
pub(crate) struct Programs {
    pub(crate) iako: PathBuf,
    pub(crate) envoy: Option<PathBuf>,
    pub(crate) haproxy: Option<PathBuf>,
    pub(crate) nginx: Option<PathBuf>,
    /// nginx's module for plain connections, which is a package of its own.
    pub(crate) nginx_stream: Option<PathBuf>,
    /// What Iako is started by, such as a profiler with its arguments.
    pub(crate) under: Vec<String>,
}

impl Programs {
    /// # Errors
    /// When Iako is not where it was said to be.
    pub(crate) fn find(iako: &Path, envoy: &Path, wanted: &[String]) -> Result<Self> {
        let iako = fs::canonicalize(iako).with_context(|| iako.display().to_string())?;
        let is_wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|it| it == name);
        let peer = |name: &str, path: &Path| is_wanted(name).then(|| search(path)).flatten();
        let modules = ["/usr/lib/nginx/modules", "/usr/lib64/nginx/modules"];
        let stream = modules.map(|folder| Path::new(folder).join("ngx_stream_module.so"));
        Ok(Self {
            iako,
            envoy: peer("envoy", envoy).map(|path| unwrapped(&path)),
            haproxy: peer("haproxy", Path::new("haproxy")),
            nginx: peer("nginx", Path::new("nginx")),
            under: Vec::new(),
            nginx_stream: stream.into_iter().find(|path| path.exists()),
        })
    }

    pub(crate) fn has(&self, contender: Contender) -> bool {
        match contender {
            Contender::Iako | Contender::Direct => true,
            Contender::Envoy => self.envoy.is_some(),
            Contender::Haproxy => self.haproxy.is_some(),
            Contender::Nginx => self.nginx.is_some(),
        }
    }

    /// Whether it can be a proxy of plain connections.
    pub(crate) fn carries_bytes(&self, contender: Contender) -> bool {
        contender != Contender::Nginx || self.nginx_stream.is_some()
    }

    /// The version that it tells.
    pub(crate) fn version(&self, contender: Contender) -> Option<String> {
        let (program, argument) = match contender {
            Contender::Iako => (&self.iako, "--version"),
            Contender::Envoy => (self.envoy.as_ref()?, "--version"),
            Contender::Haproxy => (self.haproxy.as_ref()?, "-v"),
            Contender::Nginx => (self.nginx.as_ref()?, "-v"),
            Contender::Direct => return None,
        };
        let output = Command::new(program).arg(argument).output().ok()?;
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text).into_owned();
        let mut words = text.split([' ', '/', '\n']);
        let is_version = |word: &&str| {
            word.starts_with(|first: char| first.is_ascii_digit()) && word.contains('.')
        };
        words.find(is_version).map(str::to_owned)
    }

    /// One worker with this configuration; `None` without the program.
    pub(crate) fn command(&self, contender: Contender, config: &Path) -> Option<Command> {
        let mut command;
        match contender {
            Contender::Iako => {
                command = match self.under.split_first() {
                    Some((tool, arguments)) => {
                        let mut command = Command::new(tool);
                        command.args(arguments).arg(&self.iako);
                        command
                    }
                    None => Command::new(&self.iako),
                };
                command.args(["proxy", "--log", "error", "--concurrency", "1", "-c"]).arg(config);
            }
            Contender::Envoy => {
                command = Command::new(self.envoy.as_ref()?);
                command.args(["--concurrency", "1", "-l", "error", "--disable-hot-restart"]);
                command.args(["--drain-time-s", "0", "--parent-shutdown-time-s", "0", "-c"]);
                command.arg(config);
            }
            Contender::Haproxy => {
                command = Command::new(self.haproxy.as_ref()?);
                command.args(["-db", "-f"]).arg(config);
            }
            Contender::Nginx => {
                let folder = config.parent().unwrap_or_else(|| Path::new("."));
                command = Command::new(self.nginx.as_ref()?);
                command.arg("-p").arg(folder).arg("-c").arg(config);
            }
            Contender::Direct => return None,
        }
        Some(command)
    }
}

/// A program by path, or by name among the folders for programs.
fn search(program: &Path) -> Option<PathBuf> {
    if program.components().count() > 1 {
        return fs::canonicalize(program).ok();
    }
    let path = std::env::var_os("PATH")?;
    let folders = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
    folders.map(|folder| folder.join(program)).find(|path| path.is_file())
}

/// The package from PyPI puts a script before the program, whose start is not Envoy's.
fn unwrapped(script: &Path) -> PathBuf {
    let inside = || {
        let lib = script.parent()?.parent()?.join("lib");
        let versions = fs::read_dir(lib).ok()?.flatten();
        let mut found = versions.map(|folder| folder.path().join("site-packages/envoy/_bin/envoy"));
        found.find(|path| path.is_file())
    };
    inside().unwrap_or_else(|| script.to_path_buf())
}
