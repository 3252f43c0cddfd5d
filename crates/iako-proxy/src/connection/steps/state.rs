//! Objects that are kept beside a connection.

use std::{sync::Arc, time::SystemTime};

use iako_proxy_config::{FilterStateValue, SetConnectionState};
use iako_telemetry::{AccessLogFormat, AccessRecord};
use iako_traffic::ConnectionInfo;

use crate::{
    access_log::{self, LogError},
    connection::{Downstream, log},
};

/// Objects, compiled.
#[derive(Debug)]
pub(crate) struct States {
    on_connection: Vec<State>,
    on_handshake: Vec<State>,
    on_bytes: Vec<State>,
}

#[derive(Debug)]
struct State {
    key: String,
    text: AccessLogFormat,
    skips_empty: bool,
}

impl States {
    pub(super) fn compile(config: &SetConnectionState) -> Result<Self, LogError> {
        let each = |values: &[FilterStateValue]| {
            values.iter().map(State::compile).collect::<Result<Vec<_>, _>>()
        };
        Ok(Self {
            on_connection: each(&config.on_connection)?,
            on_handshake: each(&config.on_handshake)?,
            on_bytes: each(&config.on_bytes)?,
        })
    }

    /// Whether some are kept at the first bytes.
    pub(super) const fn waits(&self) -> bool {
        !self.on_bytes.is_empty()
    }

    /// Keeps what is kept when the connection is there, its handshake done.
    pub(super) fn at_connection(&self, downstream: &mut Downstream) {
        let tls_version = downstream.tls_version;
        let started = downstream.accepted_wall;
        let info = Arc::make_mut(&mut downstream.info);
        keep(&self.on_connection, info, ("", started));
        if info.tls.is_some() {
            keep(&self.on_handshake, info, (tls_version, started));
        }
    }

    /// Keeps what is kept at the first bytes.
    pub(super) fn at_bytes(&self, info: &mut ConnectionInfo, of: (&'static str, SystemTime)) {
        keep(&self.on_bytes, info, of);
    }
}

impl State {
    fn compile(value: &FilterStateValue) -> Result<Self, LogError> {
        Ok(Self {
            key: value.key.clone(),
            text: access_log::compile(&value.value)?,
            skips_empty: value.skips_empty,
        })
    }
}

fn keep(
    states: &[State],
    info: &mut ConnectionInfo,
    (tls_version, started): (&'static str, SystemTime),
) {
    for state in states {
        let mut text = Vec::new();
        let mut record = AccessRecord::new(started);
        log::tell(info, tls_version, &mut record);
        state.text.render(&record, &mut text);
        let text = String::from_utf8_lossy(&text).into_owned();
        if !(state.skips_empty && text.is_empty()) {
            info.metadata.set_state(&state.key, text);
        }
    }
}
