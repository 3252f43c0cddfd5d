//! `iako status`: the control plane, the proxies, what each of them has applied, certificates.

#![expect(clippy::indexing_slicing, reason = "reading a JSON value by a missing key gives null")]

use std::{net::SocketAddr, path::PathBuf, process::ExitCode};

use clap::{ArgMatches, Args, Command, FromArgMatches};
use iako_analyze::analyze;
use iako_resources::{Severity, diagnostic_json};
use serde_json::{Value, json};

use super::{Entry, block_on};
use crate::{
    api::ApiClient,
    output::{self, Format},
    place::ADMIN_PORT,
    up::read_snapshot,
};

pub(super) const ENTRY: Entry = Entry { command, run };

/// Shows the control plane, its configuration's problems, and every connected proxy: what it has
/// applied or rejected, and how long its certificate is good. Exit code 1 when something is wrong.
#[derive(Debug, Args)]
struct Arguments {
    /// A directory to look at, in place of asking a control plane; repeatable
    #[arg(long = "config", value_name = "DIR")]
    directories: Vec<PathBuf>,
    /// The API of the control plane [default: that of the mesh started last]
    #[arg(long, value_name = "IP:PORT")]
    control: Option<SocketAddr>,
    /// The state directory of the mesh
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// The form of the result
    #[arg(long, value_enum, default_value_t)]
    output: Format,
}

fn command() -> Command {
    Arguments::augment_args(Command::new("status"))
        .about("Show the control plane, its proxies and their certificates")
}

fn run(matches: &ArgMatches) -> anyhow::Result<ExitCode> {
    let arguments = Arguments::from_arg_matches(matches)?;
    let (status, place) = if arguments.directories.is_empty() {
        let api = ApiClient::find(arguments.control, arguments.state.as_deref());
        (block_on(collect(&api))?, format!("at {}", api.address()))
    } else {
        (planned(&arguments.directories)?, "not asked".to_owned())
    };
    match arguments.output {
        Format::Table => output::print(&table(&status, &place))?,
        Format::Json | Format::Yaml => output::print_value(&status, arguments.output)?,
    }
    Ok(if is_good(&status) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What a control plane would say of directories that it read, with no proxy connected.
fn planned(directories: &[PathBuf]) -> anyhow::Result<Value> {
    let snapshot = read_snapshot(directories)?;
    let found = analyze(&snapshot);
    let count = |severity| found.iter().filter(|it| it.severity == severity).count();
    Ok(json!({
        "version": env!("CARGO_PKG_VERSION"),
        "trust_domain": snapshot.mesh.trust_domain.as_str(),
        "config": {
            "version": snapshot.version,
            "services": snapshot.services.len(),
            "workloads": snapshot.workloads.len(),
            "errors": count(Severity::Error),
            "warnings": count(Severity::Warning),
        },
        "diagnostics": found.iter().map(diagnostic_json).collect::<Vec<_>>(),
        "proxies": [],
    }))
}

/// The control plane's view, with each proxy's own word on its certificates.
async fn collect(api: &ApiClient) -> anyhow::Result<Value> {
    let mut status = api.get("/api/v1/status").await?;
    let proxies = status.get_mut("proxies").and_then(Value::as_array_mut);
    for proxy in proxies.into_iter().flatten().filter_map(Value::as_object_mut) {
        let node = proxy.get("node").and_then(Value::as_str);
        let address = node.and_then(|node| node.split('~').nth(1));
        let Some(ip) = address.and_then(|address| address.parse().ok()) else { continue };
        let admin = ApiClient::at(SocketAddr::new(ip, ADMIN_PORT));
        let certificates = match admin.get("/certs").await {
            Ok(certificates) => certificates["certificates"].clone(),
            Err(error) => json!({"error": format!("{error:#}")}),
        };
        proxy.insert("certificates".to_owned(), certificates);
    }
    Ok(status)
}

fn is_good(status: &Value) -> bool {
    let proxies = status["proxies"].as_array().map(Vec::as_slice).unwrap_or_default();
    status["config"]["errors"] == 0 && proxies.iter().all(|proxy| rejected(proxy).is_none())
}

/// What a proxy rejects, and in which words.
fn rejected(proxy: &Value) -> Option<String> {
    let types = proxy["types"].as_array()?;
    types.iter().find_map(|status| {
        let message = status["rejected"]["message"].as_str()?;
        Some(format!("{}: {message}", status["type"].as_str().unwrap_or_default()))
    })
}

fn table(status: &Value, place: &str) -> String {
    let config = &status["config"];
    let mut text = format!(
        "control plane {} {place}, up {}\n\
         configuration {}: {} services, {} workloads, {} errors, {} warnings\n",
        status["version"].as_str().unwrap_or_default(),
        seconds(&status["uptime_seconds"]),
        config["version"],
        config["services"],
        config["workloads"],
        config["errors"],
        config["warnings"],
    );
    for found in status["diagnostics"].as_array().into_iter().flatten() {
        let field = |key: &str| found[key].as_str().unwrap_or_default();
        text.push_str(&format!(
            "  {} {}:{} {} {}: {}\n",
            field("severity"),
            field("file"),
            found["line"],
            field("subject"),
            field("path"),
            field("message"),
        ));
    }
    text.push_str(&format!(
        "\n{:<36} {:<16} {:<8} {:<10} {:<24} applied\n",
        "proxy", "address", "up", "state", "certificate"
    ));
    for proxy in status["proxies"].as_array().into_iter().flatten() {
        text.push_str(&row(proxy));
    }
    text
}

fn row(proxy: &Value) -> String {
    let node = proxy["node"].as_str().unwrap_or_default();
    let mut parts = node.split('~').skip(1);
    let (address, pod) = (parts.next().unwrap_or_default(), parts.next().unwrap_or(node));
    let rejects = rejected(proxy);
    let state = match (&rejects, proxy["synced"].as_bool()) {
        (Some(_), _) => "rejects",
        (None, Some(true)) => "synced",
        (None, _) => "updating",
    };
    let types = proxy["types"].as_array().into_iter().flatten();
    let applied: Vec<String> = types
        .map(|it| format!("{} {}", it["type"].as_str().unwrap_or_default(), it["resources"]))
        .collect();
    let mut line = format!(
        "{pod:<36} {address:<16} {:<8} {state:<10} {:<24} {}\n",
        seconds(&proxy["connected_seconds"]),
        certificate(&proxy["certificates"]),
        applied.join(", "),
    );
    if let Some(reason) = rejects {
        line.push_str(&format!("  rejects {reason}\n"));
    }
    line
}

/// When the workload's own certificate expires. Source: Envoy's `/certs`.
fn certificate(certificates: &Value) -> String {
    let own = certificates
        .as_array()
        .into_iter()
        .flatten()
        .flat_map(|one| one["cert_chain"].as_array().into_iter().flatten())
        .find_map(|one| one["expiration_time"].as_str());
    match own {
        Some(expiration) => format!("until {expiration}"),
        None => "-".to_owned(),
    }
}

fn seconds(value: &Value) -> String {
    match value.as_u64().unwrap_or_default() {
        short @ 0..120 => format!("{short}s"),
        minutes @ 120..7200 => format!("{}m", minutes / 60),
        hours => format!("{}h", hours / 3600),
    }
}
