//! What operators see and steer, over HTTP, off the path of requests.
//!
//! The admin endpoint has Envoy's pages under Envoy's names; the health and Prometheus endpoints
//! show one page of it to others.

mod config_dump;
mod pages;
mod text;

pub(crate) use text::timestamp;

use std::{convert::Infallible, net::SocketAddr, path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header::CONTENT_TYPE};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use iako_proxy_config::AdminAddress;
use iako_rt::Scope;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, UnixListener},
    sync::Semaphore,
};

use crate::{
    config_task::DrainWish,
    proxy::{Control, LogLevelHook, ProxySettings, StartError},
};

/// Connections to one endpoint at once; further ones wait.
const CONNECTIONS_MAX: usize = 64;
/// Longest time for the head of a request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// Where operators' endpoints are bound.
#[derive(Debug)]
pub(crate) struct Endpoints {
    pub(crate) admin: Option<SocketAddr>,
    pub(crate) health: Option<SocketAddr>,
}

/// Which pages an endpoint has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Surface {
    Admin,
    Health,
    Prometheus,
}

impl Surface {
    const fn name(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Health => "health",
            Self::Prometheus => "Prometheus",
        }
    }
}

/// What answering needs.
struct Answering {
    surface: Surface,
    control: Control,
    log_level: Option<LogLevelHook>,
}

impl Endpoints {
    /// Binds and serves every endpoint of the settings.
    pub(crate) async fn start(
        scope: &Scope,
        settings: &ProxySettings,
        control: &Control,
    ) -> Result<Self, StartError> {
        let serve = async |surface, address| {
            let answering = Answering {
                surface,
                control: control.clone(),
                log_level: settings.log_level.clone(),
            };
            serve_tcp(scope, Arc::new(answering), address).await
        };
        let admin = match &settings.bootstrap.admin {
            None => None,
            Some(AdminAddress::Socket(address)) => Some(serve(Surface::Admin, *address).await?),
            Some(AdminAddress::Pipe(path)) => {
                let answering = Answering {
                    surface: Surface::Admin,
                    control: control.clone(),
                    log_level: settings.log_level.clone(),
                };
                serve_unix(scope, Arc::new(answering), path)?;
                None
            }
        };
        let health = match settings.health {
            None => None,
            Some(address) => Some(serve(Surface::Health, address).await?),
        };
        for address in &settings.prometheus {
            serve(Surface::Prometheus, *address).await?;
        }
        Ok(Self { admin, health })
    }
}

async fn serve_tcp(
    scope: &Scope,
    answering: Arc<Answering>,
    address: SocketAddr,
) -> Result<SocketAddr, StartError> {
    let what = answering.surface.name();
    let failed = |source| StartError::Endpoint { what, address: address.to_string(), source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    tracing::info!(endpoint = what, address = %bound, "listening");
    let connections = scope.clone();
    scope.spawn("admin", async move {
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        loop {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
            let Ok((socket, _)) = listener.accept().await else {
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            };
            let answering = Arc::clone(&answering);
            connections.spawn("admin connection", async move {
                answer_all(socket, answering).await;
                drop(place);
            });
        }
    });
    Ok(bound)
}

fn serve_unix(scope: &Scope, answering: Arc<Answering>, path: &Path) -> Result<(), StartError> {
    let failed = |source| StartError::Endpoint {
        what: "admin",
        address: path.display().to_string(),
        source,
    };
    // A socket of an earlier process that nobody listens on any more is in the way.
    if std::os::unix::net::UnixStream::connect(path).is_err() {
        drop(std::fs::remove_file(path));
    }
    let listener = UnixListener::bind(path).map_err(failed)?;
    let connections = scope.clone();
    scope.spawn("admin", async move {
        while let Ok((socket, _)) = listener.accept().await {
            connections.spawn("admin connection", answer_all(socket, Arc::clone(&answering)));
        }
    });
    Ok(())
}

async fn answer_all<S>(socket: S, answering: Arc<Answering>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request: Request<Incoming>| {
        let answering = Arc::clone(&answering);
        async move { Ok::<_, Infallible>(answering.answer(&request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(socket), service);
    if let Err(error) = connection.await {
        tracing::debug!(%error, "connection to an operator's endpoint broke");
    }
}

/// An answer before it is a message.
pub(crate) struct Page {
    status: StatusCode,
    content_type: &'static str,
    body: String,
}

impl Page {
    fn text(body: impl Into<String>) -> Self {
        let content_type = "text/plain; charset=UTF-8";
        Self { status: StatusCode::OK, content_type, body: body.into() }
    }

    fn json(body: &serde_json::Value) -> Self {
        let body = serde_json::to_string_pretty(body).unwrap_or_default();
        Self { status: StatusCode::OK, content_type: "application/json", body }
    }

    const fn with(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }
}

impl Answering {
    async fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        let page = self.page(request).await;
        let mut response = Response::new(Full::new(Bytes::from(page.body)));
        *response.status_mut() = page.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, http::HeaderValue::from_static(page.content_type));
        let no_store = http::HeaderValue::from_static("no-cache, max-age=0");
        headers.insert(http::header::CACHE_CONTROL, no_store);
        response
    }

    async fn page(&self, request: &Request<Incoming>) -> Page {
        let path = request.uri().path();
        let query = text::Query::parse(request.uri().query().unwrap_or_default());
        match self.surface {
            Surface::Health if matches!(path, "/healthz/ready" | "/ready") => self.ready(),
            Surface::Prometheus if matches!(path, "/stats/prometheus" | "/metrics") => {
                self.prometheus(&query)
            }
            Surface::Prometheus if path == "/healthz/ready" => self.ready(),
            Surface::Health | Surface::Prometheus => not_found(path),
            Surface::Admin if request.method() == Method::POST => self.act(path, &query).await,
            Surface::Admin => self.show(path, &query),
        }
    }

    fn show(&self, path: &str, query: &text::Query) -> Page {
        let shared = &self.control.shared;
        match path {
            "/" | "/help" => Page::text(HELP),
            "/ready" | "/healthz/ready" => self.ready(),
            "/server_info" => Page::json(&pages::server_info(&self.control)),
            "/stats" => self.stats(query),
            "/stats/prometheus" => self.prometheus(query),
            "/stats/services" => Page::json(&pages::services(shared)),
            "/config_dump" => Page::json(&config_dump::dump(shared, query)),
            "/clusters" if query.is("format", "json") => Page::json(&pages::clusters_json(shared)),
            "/clusters" => Page::text(pages::clusters_text(shared)),
            "/listeners" if query.is("format", "json") => {
                Page::json(&pages::listeners_json(shared))
            }
            "/listeners" => Page::text(pages::listeners_text(shared)),
            "/certs" => Page::json(&pages::certificates(shared)),
            "/drain_listeners" | "/quitquitquit" | "/healthcheck/fail" | "/healthcheck/ok"
            | "/logging" | "/reset_counters" => {
                Page::text(format!("{path} wants POST\n")).with(StatusCode::METHOD_NOT_ALLOWED)
            }
            _ => not_found(path),
        }
    }

    async fn act(&self, path: &str, query: &text::Query) -> Page {
        match path {
            "/drain_listeners" => {
                let graceful = query.has("graceful");
                let wish = if graceful { DrainWish::Graceful } else { DrainWish::StopAccepting };
                self.control.drain(wish).await;
                Page::text("OK\n")
            }
            "/quitquitquit" => {
                self.control.stop().await;
                Page::text("OK\n")
            }
            "/healthcheck/fail" => {
                self.control.shared.take_out_of_service();
                Page::text("OK\n")
            }
            "/healthcheck/ok" => {
                self.control.shared.take_back();
                Page::text("OK\n")
            }
            "/reset_counters" => {
                self.control.shared.stats.reset_counters();
                Page::text("OK\n")
            }
            "/logging" => self.set_level(query),
            _ => self.show(path, query),
        }
    }

    /// `?level=debug`, or `?<target>=debug` for one part.
    fn set_level(&self, query: &text::Query) -> Page {
        let Some(hook) = &self.log_level else {
            return Page::text("the log level of this process is fixed\n")
                .with(StatusCode::NOT_IMPLEMENTED);
        };
        let wanted = query.pairs().map(|(name, value)| match name {
            "level" => value.to_owned(),
            target => format!("{target}={value}"),
        });
        let wanted: Vec<String> = wanted.collect();
        if wanted.is_empty() {
            return Page::text(
                "levels: trace, debug, info, warning, error, critical, off\n\
                 set one with POST /logging?level=debug, of one part with ?PART=debug\n",
            );
        }
        match hook(&wanted.join(",")) {
            Ok(()) => Page::text("OK\n"),
            Err(error) => Page::text(format!("{error}\n")).with(StatusCode::BAD_REQUEST),
        }
    }

    fn ready(&self) -> Page {
        let state = pages::state(&self.control);
        let status = if state == "LIVE" { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        Page::text(format!("{state}\n")).with(status)
    }

    fn stats(&self, query: &text::Query) -> Page {
        if query.is("format", "prometheus") {
            return self.prometheus(query);
        }
        self.control.shared.measure();
        match iako_telemetry::StatsQuery::parse(query.pairs()) {
            Ok(wanted) if query.is("format", "json") => {
                let body = self.control.shared.stats.render(&wanted);
                Page { content_type: "application/json", ..Page::text(body) }
            }
            Ok(wanted) => Page::text(self.control.shared.stats.render(&wanted)),
            Err(error) => Page::text(format!("{error}\n")).with(StatusCode::BAD_REQUEST),
        }
    }

    fn prometheus(&self, query: &text::Query) -> Page {
        let pairs = query.pairs().filter(|(name, _)| *name != "format");
        let pairs = pairs.chain([("format", "prometheus")]);
        let wanted = match iako_telemetry::StatsQuery::parse(pairs) {
            Ok(wanted) => wanted,
            Err(error) => {
                return Page::text(format!("{error}\n")).with(StatusCode::BAD_REQUEST);
            }
        };
        self.control.shared.measure();
        let mut body = String::new();
        self.control.shared.metrics.render_prometheus(&mut body);
        body.push_str(&self.control.shared.stats.render(&wanted));
        Page { content_type: "text/plain; version=0.0.4; charset=utf-8", ..Page::text(body) }
    }
}

fn not_found(path: &str) -> Page {
    Page::text(format!("there is no page {path}; / lists them\n")).with(StatusCode::NOT_FOUND)
}

const HELP: &str = "\
/certs: certificates and roots with their lifetimes
/clusters: clusters and their endpoints (?format=json)
/config_dump: everything that the proxy was told (?include_eds)
/drain_listeners: POST, takes no new connections (?graceful)
/healthcheck/fail: POST, takes the proxy out of service
/healthcheck/ok: POST, takes it back
/listeners: listeners and their addresses (?format=json)
/logging: POST, ?level=LEVEL of the process's own log
/quitquitquit: POST, ends the proxy
/ready: whether the proxy serves
/reset_counters: POST, counters begin at 0
/server_info: version, state, age
/stats: statistics (?filter=REGEX, ?usedonly, ?format=json|prometheus)
/stats/prometheus: statistics and Istio's metrics for Prometheus
/stats/services: a summary of each service for people's tools
";
