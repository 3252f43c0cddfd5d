//! `iako demo`: the shop, its customers, and a summary that is alive.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context as _;
use clap::{ArgMatches, Args, Command, FromArgMatches};

use super::{Entry, block_on, up::MeshArguments};
use crate::{
    output,
    up::{Demo, run as run_mesh},
};

pub(super) const ENTRY: Entry = Entry { command, run };

/// The host of the shop; its gateway takes no other.
const HOST: &str = "shop.example.com";

/// The shop, for when the program runs far from its sources.
const SHOP: [(&str, &str); 11] = [
    ("README.md", include_str!("../../../../examples/shop/README.md")),
    ("ada.jwt", include_str!("../../../../examples/shop/ada.jwt")),
    ("cart-service.yaml", include_str!("../../../../examples/shop/cart-service.yaml")),
    ("gateway.yaml", include_str!("../../../../examples/shop/gateway.yaml")),
    ("namespace.yaml", include_str!("../../../../examples/shop/namespace.yaml")),
    ("payment-service.yaml", include_str!("../../../../examples/shop/payment-service.yaml")),
    ("routing.yaml", include_str!("../../../../examples/shop/routing.yaml")),
    ("security.yaml", include_str!("../../../../examples/shop/security.yaml")),
    ("telemetry.yaml", include_str!("../../../../examples/shop/telemetry.yaml")),
    ("user-service.yaml", include_str!("../../../../examples/shop/user-service.yaml")),
    ("web.yaml", include_str!("../../../../examples/shop/web.yaml")),
];

/// Runs an e-commerce application through sidecars with mutual TLS, canary routing and
/// authorization, and shows what it does.
#[derive(Debug, Args)]
struct Arguments {
    /// The directory to run [default: examples/shop, or a copy of it if there is none here]
    #[arg(value_name = "DIR")]
    directory: Option<PathBuf>,
    /// Requests a second
    #[arg(long, default_value = "100", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rate: u32,
    #[command(flatten)]
    mesh: MeshArguments,
}

fn command() -> Command {
    Arguments::augment_args(Command::new("demo"))
        .about("Run an example application in a mesh on this machine, under load")
}

fn run(matches: &ArgMatches) -> anyhow::Result<ExitCode> {
    let arguments = Arguments::from_arg_matches(matches)?;
    let directory = match arguments.directory {
        Some(directory) => directory,
        None => shop()?,
    };
    let token = std::fs::read_to_string(directory.join("ada.jwt")).ok();
    let mut settings = arguments.mesh.settings(vec![directory]);
    settings.demo = Some(Demo {
        host: HOST.to_owned(),
        rate: arguments.rate,
        token: token.map(|token| token.trim().to_owned()),
    });
    block_on(run_mesh(settings))
}

/// The shop's directory: that of the sources when we stand in them, else a copy.
fn shop() -> anyhow::Result<PathBuf> {
    let sources = Path::new("examples/shop");
    if sources.is_dir() {
        return Ok(sources.to_owned());
    }
    let copy = std::env::current_dir()?.join("iako-shop");
    if !copy.exists() {
        std::fs::create_dir(&copy).with_context(|| format!("cannot make {}", copy.display()))?;
        for (name, text) in SHOP {
            let path = copy.join(name);
            std::fs::write(&path, text)
                .with_context(|| format!("cannot write {}", path.display()))?;
        }
        output::note(&format!("the example was written to {}", copy.display()));
    }
    Ok(copy)
}
