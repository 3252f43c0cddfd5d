//! `iako config`: what a proxy is told.

use std::{net::SocketAddr, path::PathBuf, process::ExitCode};

use anyhow::Context as _;
use clap::{ArgMatches, Args, Command, FromArgMatches, Subcommand, ValueEnum};
use iako_registry::{MeshSnapshot, Workload};
use iako_translate::{ProxyScope, plan};
use iako_xds_codec::{encode, to_json};
use serde_json::{Map, Value, json};

use super::{Entry, block_on};
use crate::{
    api::ApiClient,
    output::{self, Format},
    up::read_snapshot,
};

pub(super) const ENTRY: Entry = Entry { command, run };

/// Shows what a proxy is told, as Envoy v3 resources.
#[derive(Debug, Args)]
struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// What a workload would be told, from directories of YAML, or what a connected proxy is told
    Plan(PlanArguments),
}

#[derive(Debug, Args)]
struct PlanArguments {
    /// A directory to read, in place of asking a control plane; repeatable
    #[arg(long = "config", value_name = "DIR")]
    directories: Vec<PathBuf>,
    /// The workload, as NAMESPACE/NAME: a pod, or what made it
    #[arg(long, value_name = "NS/NAME")]
    workload: String,
    /// Which resources
    #[arg(long, value_enum, default_value_t)]
    kind: Kind,
    /// The API of the control plane [default: that of the mesh started last]
    #[arg(long, value_name = "IP:PORT")]
    control: Option<SocketAddr>,
    /// The form of the result
    #[arg(long, value_enum, default_value_t)]
    output: Format,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum Kind {
    Listeners,
    Routes,
    Clusters,
    Endpoints,
    Secrets,
    #[default]
    All,
}

impl Kind {
    const fn key(self) -> Option<&'static str> {
        match self {
            Self::Listeners => Some("listeners"),
            Self::Routes => Some("routes"),
            Self::Clusters => Some("clusters"),
            Self::Endpoints => Some("endpoints"),
            Self::Secrets => Some("secrets"),
            Self::All => None,
        }
    }
}

fn command() -> Command {
    Arguments::augment_args(Command::new("config")).about("Show what a proxy is told")
}

fn run(matches: &ArgMatches) -> anyhow::Result<ExitCode> {
    let Action::Plan(arguments) = Arguments::from_arg_matches(matches)?.action;
    let mut kinds = if arguments.directories.is_empty() {
        let api = ApiClient::find(arguments.control, None);
        let path = format!("/api/v1/config?workload={}", arguments.workload);
        block_on(api.get(&path))?
    } else {
        let snapshot = read_snapshot(&arguments.directories)?;
        planned(&snapshot, &arguments.workload)?
    };
    if let Some(key) = arguments.kind.key() {
        let wanted = kinds.get_mut(key).map(Value::take);
        kinds = json!({ key: wanted });
    }
    match arguments.output {
        Format::Table => output::print(&outline(&kinds))?,
        Format::Json | Format::Yaml => output::print_value(&kinds, arguments.output)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// The plan of a workload, as proto3 JSON.
fn planned(snapshot: &MeshSnapshot, name: &str) -> anyhow::Result<Value> {
    let workload = find(snapshot, name)?;
    let scope = ProxyScope::from_workload(workload, &snapshot.mesh.cluster_domain)
        .with_context(|| format!("{name} has no address, so it has no proxy"))?;
    let plan = plan(snapshot, &scope);
    let mut kinds = Map::new();
    let mut set = |key: &str, values: Vec<Value>| kinds.insert(key.to_owned(), values.into());
    set("listeners", plan.listeners.iter().map(|it| to_json(&encode::listener(it))).collect());
    set("routes", plan.routes.iter().map(|it| to_json(&encode::route_configuration(it))).collect());
    set("clusters", plan.clusters.iter().map(|it| to_json(&encode::cluster(it))).collect());
    set("endpoints", plan.endpoints.iter().map(|it| to_json(&encode::endpoints(it))).collect());
    set("secrets", plan.secrets.iter().map(|name| json!({"name": name})).collect());
    Ok(Value::Object(kinds))
}

/// A workload by its name, or by the name of what made it.
fn find<'a>(snapshot: &'a MeshSnapshot, name: &str) -> anyhow::Result<&'a Workload> {
    let (namespace, name) = match name.split_once('/') {
        Some((namespace, name)) => (Some(namespace), name),
        None => (None, name),
    };
    let of_namespace = |workload: &&std::sync::Arc<Workload>| {
        namespace.is_none_or(|namespace| workload.namespace.as_str() == namespace)
    };
    let named = |fits: &dyn Fn(&Workload) -> bool| {
        snapshot.workloads.iter().filter(of_namespace).find(|workload| fits(workload))
    };
    named(&|workload| workload.name == name)
        .or_else(|| named(&|workload| workload.owner.name == name))
        .or_else(|| named(&|workload| workload.canonical_name == name))
        .map(AsRef::as_ref)
        .with_context(|| {
            let known: Vec<String> = snapshot
                .workloads
                .iter()
                .map(|workload| format!("{}/{}", workload.namespace, workload.name))
                .collect();
            format!("there is no workload {name}; there are {}", known.join(", "))
        })
}

/// Names of resources, a line each.
fn outline(kinds: &Value) -> String {
    let mut text = String::new();
    for (kind, resources) in kinds.as_object().into_iter().flatten() {
        for resource in resources.as_array().into_iter().flatten() {
            let name = ["name", "cluster_name"]
                .into_iter()
                .find_map(|key| resource.get(key).and_then(Value::as_str));
            text.push_str(&format!("{kind:<10} {}\n", name.unwrap_or("-")));
        }
    }
    text
}
