//! What all exchanges of one client connection share.

use std::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use iako_http::FieldValue;
use iako_proxy_config::{
    ClientCertDetails, Direction, ForwardClientCert, HttpConnectionManager, LocalBuckets, Timer,
};
use iako_telemetry::{Principal, ResponseFlag};
use iako_traffic::{ClientCertHeader, ConnectionInfo, LocalLimiter};

use super::counted::Fate;
use super::service::HttpService;
use crate::connection::{Downstream, log::HttpNotes};
use crate::snapshot::{Chain, ProxySnapshot, Terminal};
use crate::transport::TlsDetails;
use crate::upstream::pool::Owner;
use crate::worker::{Worker, spread};

/// A client connection that carries HTTP.
#[derive(Debug)]
pub(crate) struct HttpConnection {
    pub(crate) worker: Rc<Worker>,
    pub(crate) info: Arc<ConnectionInfo>,
    /// What was agreed on in the TLS handshake.
    pub(crate) tls: Option<Arc<TlsDetails>>,
    /// When it was accepted.
    pub(crate) accepted: Instant,
    pub(crate) chain: Arc<Chain>,
    pub(crate) direction: Direction,
    /// Its number in this process.
    pub(crate) id: u64,
    /// As whom the client proved itself.
    pub(crate) client_principal: Principal,
    /// As whom we proved ourselves to it.
    pub(crate) own_principal: Principal,
    /// Below 1, drawn once: by how much of what may be it becomes older than others.
    age_draw: f64,
    /// How it ends, for the statistics.
    pub(super) fate: Fate,
    /// What the listener's log is told, where there is one.
    notes: Option<Rc<HttpNotes>>,
    /// The settings that were present last.
    service: RefCell<Arc<HttpService>>,
    /// The snapshot that they are of.
    seen: Cell<u64>,
    /// What servers were told last of the client's certificate, and by which settings.
    told: RefCell<Option<Box<Told>>>,
    /// What upstream connections that nobody else may use belong to.
    owner: OnceCell<Rc<Owner>>,
    /// Tokens of its own, where requests take such.
    limiter: OnceCell<Box<LocalLimiter>>,
}

#[derive(Debug)]
struct Told {
    mode: ForwardClientCert,
    details: ClientCertDetails,
    value: ToldClientCert,
}

/// What is done with `x-forwarded-client-cert`.
#[derive(Clone, Debug)]
pub(crate) enum ToldClientCert {
    Keep,
    Remove,
    Set(FieldValue),
}

impl ToldClientCert {
    /// Composes the field anew.
    pub(crate) fn compose(
        mode: ForwardClientCert,
        details: ClientCertDetails,
        info: &ConnectionInfo,
        sent: Option<&str>,
    ) -> Self {
        match ClientCertHeader::compose(mode, details, info, sent) {
            ClientCertHeader::Keep => Self::Keep,
            ClientCertHeader::Remove => Self::Remove,
            ClientCertHeader::Set(value) => Self::Set(FieldValue::sanitized(value)),
        }
    }
}

impl HttpConnection {
    /// Takes over what is known of a connection.
    pub(crate) fn new(
        worker: Rc<Worker>,
        accepted: &Downstream,
        service: Arc<HttpService>,
    ) -> Self {
        let info = &accepted.info;
        let client = info.peer().and_then(|peer| peer.uris.first());
        let own = info.tls.as_ref().filter(|_| client.is_some());
        let own = own.and_then(|tls| tls.local_uris.first());
        Self {
            info: Arc::clone(info),
            tls: accepted.tls.clone(),
            accepted: accepted.accepted,
            chain: Arc::clone(&accepted.chain),
            direction: accepted.direction,
            id: accepted.id,
            client_principal: Principal::new(client.map_or("", String::as_str)),
            own_principal: Principal::new(own.map_or("", String::as_str)),
            age_draw: worker.with_rng(iako_rt::Rng::unit),
            fate: Fate::default(),
            notes: accepted.http_notes(),
            service: RefCell::new(service),
            seen: Cell::new(u64::MAX),
            told: RefCell::new(None),
            owner: OnceCell::new(),
            limiter: OnceCell::new(),
            worker,
        }
    }

    /// The settings for a request that begins now; the last ones when the chain is gone.
    pub(crate) fn service(&self, snapshot: &ProxySnapshot) -> Arc<HttpService> {
        if self.seen.replace(snapshot.version) == snapshot.version {
            return self.last_service();
        }
        if let Some(chain) = snapshot.chain(self.chain.id)
            && let Terminal::Http(service) = &chain.terminal
            && !Arc::ptr_eq(service, &self.service.borrow())
        {
            *self.service.borrow_mut() = Arc::clone(service);
        }
        Arc::clone(&self.service.borrow())
    }

    /// Tells the listener's log what was spoken, once the connection has ended.
    pub(crate) fn note_protocol(&self, protocol: &'static str) {
        if let Some(notes) = self.notes.as_ref().filter(|_| self.seen.get() != u64::MAX) {
            notes.protocol.set(Some(protocol));
        }
    }

    /// Tells the listener's log what went wrong.
    pub(crate) fn note_flag(&self, flag: ResponseFlag) {
        if let Some(notes) = &self.notes {
            notes.flags.set(notes.flags.get().with(flag));
        }
    }

    /// The settings that were present last.
    pub(crate) fn last_service(&self) -> Arc<HttpService> {
        Arc::clone(&self.service.borrow())
    }

    /// What servers are told of the client's certificate when the client itself tells nothing of
    /// others': the same for all requests of the connection.
    pub(crate) fn told_client_cert(
        &self,
        mode: ForwardClientCert,
        details: ClientCertDetails,
    ) -> ToldClientCert {
        let mut told = self.told.borrow_mut();
        if let Some(known) =
            told.as_ref().filter(|told| told.mode == mode && told.details == details)
        {
            return known.value.clone();
        }
        let value = ToldClientCert::compose(mode, details, &self.info, None);
        *told = Some(Box::new(Told { mode, details, value: value.clone() }));
        value
    }

    /// Whose upstream connections are those that only this connection uses.
    pub(crate) fn owner(&self) -> &Rc<Owner> {
        self.owner.get_or_init(|| Rc::new(Owner::new(self.id)))
    }

    /// The tokens of this connection, as the first who asks for them has them.
    pub(crate) fn limiter(&self, buckets: &LocalBuckets, now: Instant) -> &LocalLimiter {
        self.limiter.get_or_init(|| Box::new(LocalLimiter::new(buckets, now)))
    }

    /// How old the connection may become.
    pub(crate) fn duration_max(&self, manager: &HttpConnectionManager) -> Option<Duration> {
        let limit = manager.connection_duration_max;
        let limit = self.worker.shared.overload.time(Timer::ConnectionAge, limit)?;
        Some(spread(limit, manager.connection_duration_jitter, self.age_draw))
    }

    /// A random number, even over all of `u64`.
    pub(crate) fn draw(&self) -> u64 {
        self.worker.with_rng(iako_rt::Rng::next_u64)
    }
}
