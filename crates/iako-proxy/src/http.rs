//! Carrying HTTP.

pub(crate) mod convert;
pub(crate) mod downstream;
pub(crate) mod grpc;
pub(crate) mod pump;
pub(crate) mod stream;
pub(crate) mod timer;
pub(crate) mod wire;

use std::{rc::Rc, sync::Arc};

use iako_proxy_config::HttpConnectionManager;

use crate::{access_log::LogError, connection::Downstream, shared::Shared, worker::Worker};

/// An HTTP connection manager, compiled: routes, filters, logs, statistics. Replaced as a whole
/// when the listener changes; found again for each request by [`Downstream::chain_id`].
#[derive(Debug)]
pub struct HttpService {
    /// As it was sent.
    pub manager: Arc<HttpConnectionManager>,
}

impl HttpService {
    /// Compiles an HTTP connection manager. Called by the configuration task.
    ///
    /// # Errors
    /// When a log cannot be opened.
    pub(crate) fn compile(
        manager: Arc<HttpConnectionManager>,
        _shared: &Shared,
    ) -> Result<Self, LogError> {
        Ok(Self { manager })
    }
}

/// Carries an HTTP connection until it ends.
#[expect(clippy::unused_async, reason = "the driver awaits")]
pub(crate) async fn serve_connection(
    _worker: Rc<Worker>,
    downstream: Downstream,
    _service: Arc<HttpService>,
) {
    drop(downstream);
}
