//! `iako run`: an application beside its sidecar.

use std::{fs, process::Command};

use rustix::process::Signal;

use crate::rig::{Mesh, Process, descendants, iako, runs, until};

/// A further instance of `web`, on an address of its own.
fn run(mesh: &Mesh, script: &str) -> Command {
    let address = mesh.spare().to_string();
    let mut command = iako(["run", "--as", "shop/web", "--name", "another", "--address", &address]);
    command.arg("--control").arg(mesh.control(15012).to_string());
    command.arg("--root").arg(mesh.state.join("ca/root.pem"));
    command.arg("--token").arg(mesh.token("shop.web"));
    command.args(["--", "sh", "-c", script]);
    command
}

/// Exits with 7 when the sidecar's outbound port is open as the application starts.
/// The kernel writes addresses as hexadecimal words in the order of the machine's bytes.
fn look_for_the_sidecar(mesh: &Mesh) -> String {
    let word = u32::from_ne_bytes(mesh.spare().octets());
    format!("grep -q ' {word:08X}:3A99 00000000:0000 0A ' /proc/net/tcp && exit 7; exit 8")
}

pub(crate) fn the_application_starts_after_its_sidecar_and_its_exit_code_passes_through(
    mesh: &Mesh,
) {
    let log = mesh.state.join("another.log");
    let mut process = Process::start(run(mesh, &look_for_the_sidecar(mesh)), log);
    assert_eq!(process.end().code(), Some(7), "{}", process.words());
}

pub(crate) fn a_request_to_stop_reaches_the_application(mesh: &Mesh) {
    let ready = mesh.state.join("ready");
    let script = format!(
        "trap 'exit 3' TERM; echo $HOST $HTTP_PROXY >{}; sleep 1000 & wait",
        ready.display()
    );
    let mut process = Process::start(run(mesh, &script), mesh.state.join("another.log"));
    let told = until("the application runs", || {
        fs::read_to_string(&ready).ok().filter(|text| text.ends_with('\n'))
    });
    assert_eq!(told.trim(), format!("127.0.0.1 http://{}:15001", mesh.spare()));
    let children = until("its own child", || {
        Some(descendants(process.id())).filter(|children| children.len() == 2)
    });
    process.signal(Signal::TERM);
    assert_eq!(process.end().code(), Some(3), "{}", process.words());
    until("the end of its children", || children.iter().all(|child| !runs(*child)).then_some(()));
}

pub(crate) fn a_wrong_token_is_told_and_nothing_starts(mesh: &Mesh) {
    let token = mesh.state.join("wrong.jwt");
    fs::write(&token, "no.such.token").unwrap();
    let started = mesh.state.join("started");
    let mut command = run(mesh, &format!("echo yes >{}", started.display()));
    // The last of two wins: the same flag twice is refused by the command line.
    let words: Vec<_> = command.get_args().map(ToOwned::to_owned).collect();
    command = iako(words.iter().map(|word| {
        if *word == mesh.token("shop.web") { token.clone().into_os_string() } else { word.clone() }
    }));
    let process = Process::start(command, mesh.state.join("another.log"));
    until("the refusal is told", || process.words().contains("refused").then_some(()));
    assert!(!started.exists());
}
