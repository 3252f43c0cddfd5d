//! `iako explain`: what would happen to a request, and which rule decides.

use std::{net::SocketAddr, path::PathBuf, process::ExitCode};

use clap::{ArgMatches, Args, Command, FromArgMatches};
use iako_analyze::{Client, ExplainRequest, explain, render_explanation};
use serde_json::{Value, json};

use super::{Entry, block_on};
use crate::{
    api::ApiClient,
    output::{self, Format},
    up::read_snapshot,
};

pub(super) const ENTRY: Entry = Entry { command, run };

/// Says what would happen to a request and which rule decides, with file and line. Asks the running
/// control plane, or reads directories with --config.
#[derive(Debug, Args)]
struct Arguments {
    /// A directory to read, in place of asking a control plane; repeatable
    #[arg(long = "config", value_name = "DIR")]
    directories: Vec<PathBuf>,
    /// Who sends it: a workload or account as NAMESPACE/NAME or NAME, an IP address, or outside
    #[arg(long, value_name = "CLIENT")]
    from: String,
    /// The method
    method: String,
    /// The URL, as in http://payment-service/charge
    url: String,
    /// A header, as in 'authorization: Bearer …'; repeatable
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE", value_parser = header)]
    headers: Vec<(String, String)>,
    /// The API of the control plane [default: that of the mesh started last]
    #[arg(long, value_name = "IP:PORT")]
    control: Option<SocketAddr>,
    /// The form of the result
    #[arg(long, value_enum, default_value_t)]
    output: Format,
}

fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) =
        text.split_once(':').ok_or_else(|| format!("expected 'name: value', found {text}"))?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

fn command() -> Command {
    Arguments::augment_args(Command::new("explain"))
        .about("Say what would happen to a request, and which rule decides")
}

fn run(matches: &ArgMatches) -> anyhow::Result<ExitCode> {
    let arguments = Arguments::from_arg_matches(matches)?;
    let format = arguments.output;
    let (explanation, text) =
        if arguments.directories.is_empty() { ask(&arguments)? } else { read(arguments)? };
    match format {
        Format::Table => output::print(&text)?,
        Format::Json | Format::Yaml => output::print_value(&explanation, format)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn read(arguments: Arguments) -> anyhow::Result<(Value, String)> {
    let snapshot = read_snapshot(&arguments.directories)?;
    let from = match arguments.from.parse::<Client>() {
        Ok(client) => client,
        Err(never) => match never {},
    };
    let request = ExplainRequest {
        from,
        method: arguments.method,
        url: arguments.url,
        headers: arguments.headers,
        now: iako_rt::clock::wall(),
        draw: 0,
    };
    let explanation = explain(&snapshot, &request)?;
    let text = render_explanation(&request, &explanation);
    Ok((serde_json::to_value(explanation)?, text))
}

fn ask(arguments: &Arguments) -> anyhow::Result<(Value, String)> {
    let question = json!({
        "from": arguments.from,
        "method": arguments.method,
        "url": arguments.url,
        "headers": arguments.headers,
    });
    let api = ApiClient::find(arguments.control, None);
    let mut answer = block_on(api.post("/api/v1/explain", &question))?;
    let text = answer.get("text").and_then(Value::as_str).unwrap_or_default().to_owned();
    let explanation = answer.get_mut("explanation").map(Value::take);
    Ok((explanation.unwrap_or_default(), text))
}
