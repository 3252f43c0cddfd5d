//! Objects that are kept beside a connection.

use std::{sync::Arc, time::SystemTime};

use iako_proxy_config::{FilterStateValue, SetConnectionState};
use iako_telemetry::{AccessLogFormat, AccessRecord};
use iako_traffic::{ConnectionInfo, StateObject, state_object};

use crate::{
    access_log::{self, ClientSide, LogError},
    connection::{Downstream, log},
    transport::TlsDetails,
};

/// Objects, compiled.
#[derive(Debug)]
pub(crate) struct States {
    on_connection: Vec<State>,
    on_handshake: Vec<State>,
    on_bytes: Vec<State>,
}

/// An object of a connection or request, compiled.
#[derive(Debug)]
pub(crate) struct State {
    key: String,
    factory: String,
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
        let started = downstream.accepted_wall;
        let tls = downstream.tls.clone();
        let info = Arc::make_mut(&mut downstream.info);
        keep(&self.on_connection, info, (None, started));
        if info.tls.is_some() {
            keep(&self.on_handshake, info, (tls.as_deref(), started));
        }
    }

    /// Keeps what is kept at the first bytes.
    pub(super) fn at_bytes(
        &self,
        info: &mut ConnectionInfo,
        of: (Option<&TlsDetails>, SystemTime),
    ) {
        keep(&self.on_bytes, info, of);
    }
}

impl State {
    /// Compiles an object.
    ///
    /// # Errors
    /// When its format cannot be read.
    pub(crate) fn compile(value: &FilterStateValue) -> Result<Self, LogError> {
        let factory = if value.factory.is_empty() { &value.key } else { &value.factory };
        Ok(Self {
            key: value.key.clone(),
            factory: factory.clone(),
            text: access_log::compile(&value.value)?,
            skips_empty: value.skips_empty,
        })
    }

    /// Its name, and what it is; none when there is nothing to keep.
    pub(crate) fn object(&self, record: &AccessRecord<'_>) -> Option<(&str, StateObject)> {
        let mut text = Vec::new();
        self.text.render(record, &mut text);
        let text = String::from_utf8_lossy(&text);
        if self.skips_empty && text.is_empty() {
            return None;
        }
        Some((self.key.as_str(), state_object(&self.factory, &text)?))
    }
}

fn keep(
    states: &[State],
    info: &mut ConnectionInfo,
    (tls, started): (Option<&TlsDetails>, SystemTime),
) {
    for state in states {
        let mut record = AccessRecord::new(started);
        let client = ClientSide { info, tls, chain: None, listener: None, accepted: None };
        log::tell(&client, &mut record);
        let made = state.object(&record);
        if let Some((key, object)) = made {
            info.metadata.set_object(key, object);
        }
    }
}
