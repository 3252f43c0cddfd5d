//! `iako control`: the control plane.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    process::ExitCode,
};

use anyhow::Context as _;
use clap::{ArgMatches, Args, Command, FromArgMatches};
use iako_control::{Control, ControlSettings};
use iako_supervise::Signals;

use super::{Entry, block_on};
use crate::place::{API_PORT, ControlPlace, MeshRange, StateDirectory};

/// Where the API is when the control plane listens for other machines.
const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

pub(super) const ENTRY: Entry = Entry { command, run };

/// Reads directories of YAML, tells proxies what they need to know, and signs their certificates.
#[derive(Debug, Args)]
struct Arguments {
    /// A directory of Kubernetes and Istio YAML, watched for changes; repeatable
    #[arg(long = "config", required = true, value_name = "DIR")]
    directories: Vec<PathBuf>,
    /// Where keys are kept [default: one place a range below ~/.local/state/iako]
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// The loopback addresses of a local mesh; the control plane takes the first one
    #[arg(long, default_value_t, value_name = "CIDR")]
    range: MeshRange,
    /// Another address to listen on, for proxies of other machines
    #[arg(long, value_name = "IP")]
    address: Option<IpAddr>,
    /// A DNS name by which proxies reach it, beside istiod.istio-system.svc; repeatable
    #[arg(long = "dns-name", value_name = "NAME")]
    dns_names: Vec<String>,
}

fn command() -> Command {
    Arguments::augment_args(Command::new("control"))
        .about("Run the control plane: configuration, xDS, certificate authority, API")
}

fn run(matches: &ArgMatches) -> anyhow::Result<ExitCode> {
    let arguments = Arguments::from_arg_matches(matches)?;
    let state = StateDirectory::open(arguments.state.as_deref(), arguments.range)?;
    let address = arguments.address.unwrap_or_else(|| arguments.range.control().into());
    let place = ControlPlace {
        api: SocketAddr::new(if address.is_loopback() { address } else { LOCALHOST }, API_PORT),
        xds: SocketAddr::new(address, 15012),
        config: arguments.directories.clone(),
        trust_domain: "cluster.local".to_owned(),
    };
    let settings = ControlSettings {
        directories: arguments.directories,
        authority: state.authority(),
        accepted: state.accepted(),
        address,
        dns_names: arguments.dns_names,
    };
    block_on(async move {
        let mut signals = Signals::listen().context("cannot listen for signals")?;
        let mut control =
            Control::start(settings).await.context("the control plane cannot start")?;
        state.announce(&place)?;
        tokio::select! {
            _ = signals.next() => {}
            reason = control.failed() => anyhow::bail!("the control plane failed: {reason}"),
        }
        control.stop().await;
        Ok(ExitCode::SUCCESS)
    })
}
