//! The options of a proxy's sockets, looked at from outside.

use std::{
    fs,
    net::SocketAddr,
    os::fd::{AsRawFd as _, RawFd},
};

use rustix::{
    net::{getpeername, sockopt},
    process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open},
};
use serde_json::{Value, json};

use crate::{stage::Stage, world::until};

/// What the proxy asks the kernel to do on its connections to a port, while nothing is said there.
pub(crate) fn keep_alive(stage: &Stage, port: u16) -> Value {
    let place = SocketAddr::from((stage.address, port));
    let process = *stage.process.get().expect("the proxy has started");
    let found = until(std::time::Duration::from_secs(2), || {
        let found = every(process, place);
        (!found.is_empty()).then_some(found)
    });
    json!({"keep_alive": found.unwrap_or_default()})
}

fn every(process: u32, place: SocketAddr) -> Vec<Value> {
    let id = Pid::from_raw(i32::try_from(process).unwrap()).unwrap();
    let handle = pidfd_open(id, PidfdFlags::empty()).unwrap();
    let mut told = Vec::new();
    for entry in fs::read_dir(format!("/proc/{process}/fd")).unwrap().flatten() {
        let is_socket = fs::read_link(entry.path())
            .is_ok_and(|target| target.to_string_lossy().starts_with("socket:"));
        let number: Option<RawFd> = entry.file_name().to_string_lossy().parse().ok();
        let (true, Some(number)) = (is_socket, number) else { continue };
        // One that is closed meanwhile is none of those that stay.
        let Ok(socket) = pidfd_getfd(&handle, number, PidfdGetfdFlags::empty()) else { continue };
        debug_assert!(socket.as_raw_fd() >= 0);
        let peer = getpeername(&socket).ok().flatten();
        if peer.and_then(|peer| SocketAddr::try_from(peer).ok()) != Some(place) {
            continue;
        }
        let is_on = sockopt::socket_keepalive(&socket).unwrap();
        told.push(if is_on {
            json!({
                "time": sockopt::tcp_keepidle(&socket).unwrap().as_secs(),
                "interval": sockopt::tcp_keepintvl(&socket).unwrap().as_secs(),
                "probes": sockopt::tcp_keepcnt(&socket).unwrap(),
            })
        } else {
            Value::from("off")
        });
    }
    told
}
