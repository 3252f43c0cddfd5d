//! `iako run`: an application beside its sidecar.

use std::{
    ffi::OsString,
    net::{IpAddr, SocketAddr},
    process::ExitCode,
    time::Duration,
};

use anyhow::Context as _;
use clap::{ArgMatches, Args, Command, FromArgMatches};
use iako_supervise::{BesideSettings, Program, Signals, run_beside};

use super::{Entry, block_on, parse_duration};
use crate::{
    join::{JoinArguments, JoinRole},
    place::OUTBOUND_PORT,
};

pub(super) const ENTRY: Entry = Entry { command, run };

/// Runs a command beside a sidecar that has joined a control plane. The command starts once the
/// sidecar serves; when it ends, the sidecar drains, and its exit code is passed through.
///
/// The command is told where to listen (HOST, PORT) and how to reach other services (HTTP_PROXY).
#[derive(Debug, Args)]
struct Arguments {
    #[command(flatten)]
    join: JoinArguments,
    /// The address on which the application listens [default: 127.0.0.1]
    #[arg(long, default_value = "127.0.0.1", value_name = "IP")]
    app_address: IpAddr,
    /// A port on which the application listens; repeatable
    #[arg(long = "port", value_name = "PORT")]
    ports: Vec<u16>,
    /// Time that the application has for its own end, as in 30s
    #[arg(long, default_value = "30s", value_parser = parse_duration)]
    grace: Duration,
    /// The application
    #[arg(last = true, required = true, value_name = "COMMAND")]
    program: Vec<OsString>,
}

fn command() -> Command {
    Arguments::augment_args(Command::new("run"))
        .about("Run an application beside its sidecar, joined to a control plane")
}

fn run(matches: &ArgMatches) -> anyhow::Result<ExitCode> {
    let arguments = Arguments::from_arg_matches(matches)?;
    block_on(run_pod(arguments))
}

async fn run_pod(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let mut signals = Signals::listen().context("cannot listen for signals")?;
    let program = program(&arguments)?;
    let settings = BesideSettings { grace: arguments.grace, ..BesideSettings::default() };
    let role = JoinRole::Sidecar { app_address: arguments.app_address, ports: arguments.ports };
    let joined = arguments.join.join(role).await?;
    let exit = run_beside(&joined, &program, &settings, &mut signals).await?;
    Ok(ExitCode::from(exit.code()))
}

fn program(arguments: &Arguments) -> anyhow::Result<Program> {
    let (namespace, name) = arguments.join.full_name()?;
    let mut program = Program::new(resolved(&arguments.program)?);
    let proxy = format!("http://{}", SocketAddr::new(arguments.join.address(), OUTBOUND_PORT));
    let app = arguments.app_address.to_string();
    let mut set = |key: &str, value: String| program.env.push((key.to_owned(), value));
    set("HOST", app.clone());
    if let Some(port) = arguments.ports.first() {
        set("PORT", port.to_string());
    }
    set("POD_NAME", name);
    set("POD_NAMESPACE", namespace.to_string());
    set("POD_IP", arguments.join.address().to_string());
    set("HTTP_PROXY", proxy.clone());
    set("http_proxy", proxy);
    set("NO_PROXY", app.clone());
    set("no_proxy", app);
    Ok(program)
}

/// `iako` names the program that runs now, wherever that is.
fn resolved(program: &[OsString]) -> anyhow::Result<Vec<OsString>> {
    let mut program = program.to_vec();
    if let Some(first) = program.first_mut()
        && first == "iako"
    {
        *first = std::env::current_exe().context("cannot find our own program")?.into();
    }
    Ok(program)
}
