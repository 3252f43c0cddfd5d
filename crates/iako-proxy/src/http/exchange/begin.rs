//! How a request begins, and how it begins anew.

use std::cell::OnceCell;
use std::sync::Arc;
use std::time::Instant;

use iako_http::{RequestHead, ResponseEdits};
use iako_proxy_config::Timer as Timeout;
use iako_rt::{Rng, clock};
use iako_traffic::RedirectHistory;

use super::Exchange;
use crate::http::connection::HttpConnection;
use crate::http::deadlines::Deadlines;
use crate::http::downstream::Downstream;
use crate::http::error_response::Reply;
use crate::http::failure::Failure;
use crate::http::headers::{Prepared, prepare};
use crate::http::pump::{Download, Repeatable, Upload};
use crate::http::record::{Place, Record};
use crate::http::service::HttpService;
use crate::http::timer::Timer;
use crate::snapshot::ProxySnapshot;

/// What one request sees of the configuration, whatever is published meanwhile.
#[derive(Debug)]
pub(crate) struct Moment {
    snapshot: Arc<ProxySnapshot>,
    service: Arc<HttpService>,
    /// The configuration with which the request began anew, when it did.
    next: OnceCell<Box<Self>>,
}

impl Moment {
    /// The configuration of now.
    pub(crate) fn of(connection: &HttpConnection) -> Self {
        let snapshot = connection.worker.snapshot();
        let service = connection.service(&snapshot);
        Self { snapshot, service, next: OnceCell::new() }
    }
}

/// What is answered before filters and routes look at it, and how.
type Early = Result<Reply, Failure>;

/// A request that was read, counted and put in order.
#[derive(Debug)]
pub(crate) struct Begun<'e> {
    exchange: Exchange<'e>,
    early: Option<Box<Early>>,
}

impl Begun<'_> {
    /// Serves the request: by the time this ends, which it tells, the client has its response, or is
    /// gone.
    ///
    /// The future holds the whole way of a request, so that a request is one allocation; what only
    /// some requests need is in boxes of its own.
    #[expect(clippy::manual_async_fn, reason = "an async fn would hold `self` twice")]
    pub(crate) fn serve(
        mut self,
        downstream: &mut Downstream<'_>,
    ) -> impl Future<Output = Instant> {
        async move {
            match self.early.take() {
                None => self.exchange.run(downstream).await,
                Some(early) => Box::pin(self.exchange.run_early(*early, downstream)).await,
            }
            let now = clock::now();
            self.exchange.finish(now);
            now
        }
    }
}

/// What is answered because the proxy is overloaded; nothing as a rule.
fn shed(connection: &HttpConnection, service: &HttpService) -> Option<Box<Early>> {
    let draw = || connection.worker.with_rng(Rng::unit);
    connection.worker.shared.overload.sheds_request(draw).then(|| {
        service.stats.rq_overload_close.inc();
        Box::new(Ok(Reply::overloaded()))
    })
}

/// Counts a request and puts its head in order.
pub(crate) fn begin<'e>(
    connection: &'e HttpConnection,
    moment: &'e Moment,
    head: RequestHead,
    timer: &'e mut Timer,
) -> Begun<'e> {
    let Moment { snapshot, service, .. } = moment;
    service.count_request(head.version());
    let now = clock::now();
    let (request, early) = match prepare(connection, service, head) {
        Prepared::Request(request) => (request, shed(connection, service)),
        Prepared::Reply(request, reply) => (request, Some(Box::new(Ok(reply)))),
        Prepared::Refused(request, failure) => (request, Some(Box::new(Err(failure)))),
    };
    let mut deadlines = Deadlines::new(timer, now);
    let idle = service.manager.stream_idle_timeout;
    deadlines.idle = connection.worker.shared.overload.time(Timeout::StreamIdle, idle);
    deadlines.request = service.manager.request_timeout.map(|limit| now + limit);
    deadlines.stream = service.manager.stream_duration_max.map(|limit| now + limit);
    let exchange = Exchange {
        connection,
        service,
        snapshot,
        moment,
        now,
        request,
        record: Record::new(now, clock::wall()),
        deadlines,
        upload: Upload::new(Repeatable::No),
        download: Download::default(),
        response: None,
        response_edits: ResponseEdits::default(),
        annotations: Vec::new(),
        remembered: None,
        said: None,
        steering: None,
        rivals: Vec::new(),
        winner: None,
        redirects: RedirectHistory::default(),
        wants_alt_response: false,
        renewals: 0,
        place: Place::default(),
        next_line: None,
    };
    Begun { exchange, early }
}

impl Exchange<'_> {
    async fn run_early(&mut self, early: Early, downstream: &mut Downstream<'_>) {
        match early {
            Ok(reply) => self.answer(reply, downstream).await,
            Err(failure) => self.fail(failure, None, downstream).await,
        }
    }

    /// Goes on with the configuration of now.
    pub(in crate::http) fn renew(&mut self) {
        let connection = self.connection;
        self.moment = self.moment.next.get_or_init(|| Box::new(Moment::of(connection)));
        (self.snapshot, self.service) = (&self.moment.snapshot, &self.moment.service);
        // Filters say it again.
        self.remembered = None;
        self.annotations.clear();
    }
}
