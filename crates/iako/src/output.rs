//! What the command prints: results to standard output, everything else to standard error.

use std::{
    io::{IsTerminal, Write},
    sync::OnceLock,
};

use clap::{Arg, ArgMatches, ValueEnum};
use tracing_subscriber::{EnvFilter, Registry, layer::SubscriberExt as _, reload};

/// The form of a result.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people
    #[default]
    Table,
    /// For programs
    Json,
    /// For programs and people
    Yaml,
}

/// Writes a value in a form for programs.
pub(crate) fn print_value(value: &serde_json::Value, format: Format) -> anyhow::Result<()> {
    let text = match format {
        Format::Yaml => serde_saphyr::to_string(value)?,
        Format::Table | Format::Json => format!("{}\n", serde_json::to_string_pretty(value)?),
    };
    Ok(print(&text)?)
}

/// `--log`, for every subcommand.
pub(crate) fn log_argument() -> Arg {
    Arg::new("log")
        .long("log")
        .env("IAKO_LOG")
        .global(true)
        .default_value("info")
        .value_name("LEVEL")
        .help("What is logged to standard error: error, warn, info, debug, trace, or per target")
}

/// Lets the level of logging be changed while the process runs.
static LEVEL: OnceLock<reload::Handle<EnvFilter, Registry>> = OnceLock::new();

/// Starts logging to standard error.
pub(crate) fn start_logging(matches: &ArgMatches) {
    let level = matches.get_one::<String>("log").map_or("info", String::as_str);
    let filter = EnvFilter::try_new(level).unwrap_or_else(|_unknown| EnvFilter::new("info"));
    let (filter, handle) = reload::Layer::new(filter);
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false);
    let subscriber = Registry::default().with(filter).with(lines);
    if tracing::subscriber::set_global_default(subscriber).is_err() || LEVEL.set(handle).is_err() {
        error("logging was started twice");
    }
    iako_rt::panics::watch();
}

/// Changes the level of logging, as in `debug`, or of parts of it, as in `iako_proxy=debug`; parts
/// that are not named keep the level `info`. Says why if it cannot.
pub(crate) fn set_log_level(wanted: &str) -> Result<(), String> {
    let mut directives = Vec::new();
    let mut base = "info";
    for part in wanted.split(',') {
        match part.split_once('=') {
            None => base = level(part)?,
            Some((target, text)) => directives.push(format!("{target}={}", level(text)?)),
        }
    }
    directives.insert(0, base.to_owned());
    let filter = EnvFilter::try_new(directives.join(",")).map_err(|error| error.to_string())?;
    let handle = LEVEL.get().ok_or("logging was not started")?;
    handle.reload(filter).map_err(|error| error.to_string())
}

/// A level by its name here or in Envoy.
fn level(name: &str) -> Result<&'static str, String> {
    Ok(match name {
        "trace" => "trace",
        "debug" => "debug",
        "info" => "info",
        "warn" | "warning" => "warn",
        "error" | "critical" => "error",
        "off" => "off",
        _ => {
            return Err(format!(
                "{name:?} is no level; there are trace, debug, info, warning, error and off"
            ));
        }
    })
}

/// Whether a stream shows colours: a terminal does, unless `NO_COLOR` is set. Source: no-color.org.
pub(crate) fn has_colours(stream: &impl IsTerminal) -> bool {
    let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    stream.is_terminal() && !unwanted
}

/// Tells what went wrong.
pub(crate) fn error(message: &str) {
    let red = if has_colours(&std::io::stderr()) { ("\x1b[31m", "\x1b[0m") } else { ("", "") };
    note(&format!("{}error:{} {message}", red.0, red.1));
}

/// Writes one line to standard error.
pub(crate) fn note(line: &str) {
    if let Err(error) = writeln!(std::io::stderr(), "{line}") {
        tracing::trace!(%error, "standard error is gone");
    }
}

/// Writes a result to standard output.
pub(crate) fn print(text: &str) -> std::io::Result<()> {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}
