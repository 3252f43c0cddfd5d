//! The line of a listener's log about one connection, written when it ends.

use std::{
    cell::Cell,
    rc::Rc,
    sync::Arc,
    time::{Instant, SystemTime},
};

use iako_rt::{Rng, clock};
use iako_telemetry::{AccessRecord, ResponseFlags};
use iako_traffic::ConnectionInfo;

use super::steps::Ending;
use crate::{
    access_log::{ClientSide, FilterFacts},
    snapshot::{Chain, ListenerSettings},
    transport::{Count, TlsDetails},
    worker::Worker,
};

/// What is told of a connection by the listener that took it. Only where the listener has a log.
#[derive(Debug)]
pub(crate) struct ConnectionLog {
    settings: Arc<ListenerSettings>,
    worker: Rc<Worker>,
    started: Instant,
    started_wall: SystemTime,
    /// What is known of it.
    pub(crate) info: Arc<ConnectionInfo>,
    /// What was agreed on in the TLS handshake.
    pub(crate) tls: Option<Arc<TlsDetails>>,
    /// Its filter chain, once one is chosen.
    pub(crate) chain: Option<Arc<Chain>>,
    /// Why a filter or this proxy ended it.
    pub(crate) ending: Ending,
    /// What became of it, where somebody answered in place of a server.
    pub(crate) details: Option<&'static str>,
    /// Why TLS failed.
    pub(crate) failure: Option<String>,
    /// Its bytes, where nobody else counts them.
    pub(crate) count: Option<Arc<Count>>,
    /// What is told of requests on it.
    pub(crate) http: Rc<HttpNotes>,
}

/// What a connection of HTTP leaves for the listener's log.
#[derive(Debug, Default)]
pub(crate) struct HttpNotes {
    /// The protocol, once there was a request.
    pub(crate) protocol: Cell<Option<&'static str>>,
    /// What went wrong on the connection.
    pub(crate) flags: Cell<ResponseFlags>,
}

impl ConnectionLog {
    /// What is told of a connection that was just accepted; nothing where no log is kept.
    pub(crate) fn begin(
        settings: &Arc<ListenerSettings>,
        worker: &Rc<Worker>,
        info: &Arc<ConnectionInfo>,
        (started, started_wall): (Instant, SystemTime),
    ) -> Option<Box<Self>> {
        (!settings.access_log.is_empty()).then(|| {
            Box::new(Self {
                settings: Arc::clone(settings),
                worker: Rc::clone(worker),
                started,
                started_wall,
                info: Arc::clone(info),
                tls: None,
                chain: None,
                ending: Ending::default(),
                details: None,
                failure: None,
                count: None,
                http: Rc::default(),
            })
        })
    }

    /// Writes the line, by what is known here.
    pub(crate) fn write(&self) {
        let mut record = AccessRecord::new(self.started_wall);
        let client = ClientSide {
            info: &self.info,
            tls: self.tls.as_deref(),
            chain: self.chain.as_deref(),
            listener: Some(&self.settings.config.metadata),
            accepted: Some(self.started),
        };
        tell(&client, &mut record);
        record.duration = Some(clock::now().saturating_duration_since(self.started));
        record.connection_termination_details = self.ending.details.as_deref();
        record.response_code_details = self.ending.code_details.or(self.details);
        record.protocol = self.http.protocol.get();
        record.flags = self.http.flags.get();
        record.flags = self.ending.flag.map_or(record.flags, |flag| record.flags.with(flag));
        record.downstream.local_close_reason = self.ending.reason;
        record.downstream.transport_failure_reason = self.failure.as_deref();
        if let Some(count) = &self.count {
            (record.bytes_received, record.bytes_sent) = (count.received(), count.sent());
        }
        self.write_as(&record);
    }

    /// Writes the line of somebody who knows more.
    pub(crate) fn write_as(&self, record: &AccessRecord<'_>) {
        let draw = self.worker.with_rng(Rng::next_u64);
        for log in &self.settings.access_log {
            log.log(record, FilterFacts { draw, ..FilterFacts::default() });
        }
    }
}

/// Fills in what is known of a client's connection.
pub(crate) fn tell<'a>(client: &'a ClientSide<'a>, record: &mut AccessRecord<'a>) {
    let info = client.info;
    let downstream = &mut record.downstream;
    downstream.local_address = Some(info.original_destination);
    downstream.direct_local_address = Some(info.local);
    downstream.remote_address = Some(info.remote);
    downstream.direct_remote_address = Some(info.direct_remote);
    downstream.server_name = Some(&*info.server_name).filter(|name| !name.is_empty());
    record.further = client;
}
