//! Having a service count connections.

use std::{rc::Rc, sync::Arc};

use iako_proxy_config::{GlobalConnectionRate, LogFormat, RateAnswer, RateDescriptor};
use iako_telemetry::{AccessLogFormat, AccessRecord, Counter, Gauge};
use iako_xds_codec::service::limit;

use super::Ending;
use crate::{
    access_log::{self, ClientSide, LogError},
    callout::{self, CallError},
    connection::{Downstream, log},
    shared::Shared,
    worker::Worker,
};

/// Under which name what a service leaves is kept.
const FILTER: &str = "envoy.filters.network.ratelimit";

/// A filter whose service counts connections, compiled.
#[derive(Debug)]
pub(crate) struct Count {
    settings: GlobalConnectionRate,
    /// Keys, and what makes their values.
    descriptors: Vec<Vec<(String, AccessLogFormat)>>,
    stats: Stats,
}

/// `ratelimit.<stat_prefix>.…`
#[derive(Debug)]
struct Stats {
    total: Counter,
    ok: Counter,
    over_limit: Counter,
    error: Counter,
    failure_mode_allowed: Counter,
    cx_closed: Counter,
    active: Gauge,
}

/// Counts a question as long as it is under way.
struct Active(Gauge);

impl Drop for Active {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Count {
    pub(super) fn compile(
        settings: &GlobalConnectionRate,
        shared: &Shared,
    ) -> Result<Self, LogError> {
        let value = |(key, value): &(String, String)| {
            Ok::<_, LogError>((key.clone(), access_log::compile(&LogFormat::Text(value.clone()))?))
        };
        let descriptor = |entries: &Vec<_>| entries.iter().map(value).collect();
        let scope = shared.stats.scope(&format!("ratelimit.{}", settings.stat_prefix));
        Ok(Self {
            descriptors: settings.descriptors.iter().map(descriptor).collect::<Result<_, _>>()?,
            stats: Stats {
                total: scope.counter("total"),
                ok: scope.counter("ok"),
                over_limit: scope.counter("over_limit"),
                error: scope.counter("error"),
                failure_mode_allowed: scope.counter("failure_mode_allowed"),
                cx_closed: scope.counter("cx_closed"),
                active: scope.gauge("active"),
            },
            settings: settings.clone(),
        })
    }

    /// Asks about a connection, and does what is answered.
    ///
    /// # Errors
    /// When the connection is one too many, or the service does not answer and that matters.
    pub(super) async fn admit(
        &self,
        worker: &Rc<Worker>,
        downstream: &mut Downstream,
    ) -> Result<(), Ending> {
        let draw = || worker.with_rng(iako_rt::Rng::next_u64);
        if !self.settings.enabled.value.takes(draw()) {
            return Ok(());
        }
        let message = limit::request(&self.settings.domain, &self.descriptors(downstream), 0);
        self.stats.total.inc();
        self.stats.active.inc();
        let active = Active(self.stats.active.clone());
        let drain = downstream.drain().clone();
        let answer = tokio::select! {
            biased;
            answer = self.ask(worker, &message) => answer,
            () = drain.closing() => return Err(Ending::default()),
        };
        drop(active);
        let over = match answer {
            Ok(answer) => {
                if !answer.metadata.is_empty() {
                    let info = Arc::make_mut(&mut downstream.info);
                    for (key, value) in answer.metadata {
                        info.metadata.set(FILTER, &key, value);
                    }
                }
                // A service that does not know lets pass, as in Envoy.
                answer.over == Some(true)
            }
            Err(error) => {
                tracing::debug!(%error, "a service that counts connections did not answer");
                self.stats.error.inc();
                if !self.settings.failure_denies {
                    self.stats.failure_mode_allowed.inc();
                    return Ok(());
                }
                self.stats.cx_closed.inc();
                return Err(Ending::because("ratelimit_error_close"));
            }
        };
        if !over {
            self.stats.ok.inc();
            return Ok(());
        }
        self.stats.over_limit.inc();
        if !self.settings.enforced.value.takes(draw()) {
            return Ok(());
        }
        self.stats.cx_closed.inc();
        Err(Ending::because("ratelimit_close_over_limit"))
    }

    async fn ask(&self, worker: &Rc<Worker>, message: &[u8]) -> Result<RateAnswer, CallError> {
        let service = &self.settings.service;
        let asking = Box::pin(callout::grpc::unary(worker, service, limit::METHOD, message));
        limit::answer(&asking.await?).ok_or(CallError::Broken("the answer is no answer"))
    }

    /// What the connection counts as.
    fn descriptors(&self, downstream: &Downstream) -> Vec<RateDescriptor> {
        let client = ClientSide {
            info: &downstream.info,
            tls: downstream.tls.as_deref(),
            chain: Some(&downstream.chain),
            listener: None,
            accepted: Some(downstream.accepted),
        };
        let mut record = AccessRecord::new(downstream.accepted_wall);
        log::tell(&client, &mut record);
        let entry = |(key, value): &(String, AccessLogFormat)| {
            let mut text = Vec::new();
            value.render(&record, &mut text);
            (key.clone(), String::from_utf8_lossy(&text).into_owned())
        };
        let descriptor = |entries: &Vec<(String, AccessLogFormat)>| RateDescriptor {
            entries: entries.iter().map(entry).collect(),
            ..RateDescriptor::default()
        };
        self.descriptors.iter().map(descriptor).collect()
    }
}
