//! `iako app`: the application of the demo. Hidden, for it is no part of a mesh.

use std::{
    net::{IpAddr, SocketAddr},
    process::ExitCode,
};

use anyhow::Context as _;
use clap::{ArgMatches, Args, Command, FromArgMatches};

use super::{Entry, block_on};
use crate::app::{App, Call, Client, serve};

pub(super) const ENTRY: Entry = Entry { command, run };

/// Answers HTTP, and calls other services before it does.
#[derive(Debug, Args)]
struct Arguments {
    /// The service that it says it is
    #[arg(long, default_value = "app")]
    name: String,
    /// The release that it says it is
    #[arg(long, default_value = "v1")]
    release: String,
    /// A call to make before a path is answered, as in /=http://cart-service/items; repeatable
    #[arg(long = "call", value_name = "PATH=URL")]
    calls: Vec<Call>,
    /// The address to listen on
    #[arg(long, env = "HOST", default_value = "127.0.0.1")]
    host: IpAddr,
    /// The port to listen on
    #[arg(long, env = "PORT", default_value = "8080")]
    port: u16,
    /// The pod that it runs in
    #[arg(long, env = "POD_NAME", default_value = "")]
    pod: String,
    /// The way to other services, as in http://127.0.0.1:15001
    #[arg(long, env = "HTTP_PROXY", value_name = "URL")]
    proxy: Option<String>,
}

fn command() -> Command {
    Arguments::augment_args(Command::new("app").hide(true))
        .about("The application of the demo: answers HTTP and calls other services")
}

fn run(matches: &ArgMatches) -> anyhow::Result<ExitCode> {
    let arguments = Arguments::from_arg_matches(matches)?;
    let client = arguments.proxy.as_deref().map(proxy_address).transpose()?.map(Client::new);
    let app = App {
        name: arguments.name,
        release: arguments.release,
        pod: arguments.pod,
        calls: arguments.calls,
        client,
    };
    block_on(serve(app, SocketAddr::new(arguments.host, arguments.port)))?;
    Ok(ExitCode::SUCCESS)
}

fn proxy_address(url: &str) -> anyhow::Result<SocketAddr> {
    url.strip_prefix("http://")
        .map(|rest| rest.trim_end_matches('/'))
        .and_then(|address| address.parse().ok())
        .with_context(|| format!("expected a proxy as http://ADDRESS:PORT, found {url}"))
}
