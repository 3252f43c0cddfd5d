//! What operators see and steer, over HTTP, off the path of requests.
//!
//! The admin endpoint has Envoy's pages under Envoy's names; the health and Prometheus endpoints
//! show one page of it to others.

mod catalog;
mod config_dump;
mod endpoint;
mod logging;
mod pages;
mod runtime;
mod selection;
mod text;

pub(crate) use text::timestamp;

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header::CONTENT_TYPE};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use iako_proxy_config::AdminAddress;
use iako_rt::Scope;
use iako_telemetry::StatsFormat;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::{
    config_task::{DrainReach, DrainWish},
    proxy::{Control, LogLevelHook, ProxySettings, StartError},
    restart::predecessor::Predecessor,
};
use endpoint::{serve_tcp, serve_unix};

/// Bytes of a form that is sent.
const FORM_BYTES_MAX: usize = 64 * 1024;
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
    levels: Mutex<logging::Levels>,
}

impl Answering {
    fn new(surface: Surface, settings: &ProxySettings, control: &Control) -> Self {
        let (control, log_level) = (control.clone(), settings.log_level.clone());
        Self { surface, control, log_level, levels: Mutex::default() }
    }
}

impl Endpoints {
    /// Binds and serves every endpoint of the settings.
    pub(crate) async fn start(
        scope: &Scope,
        (settings, before): (&ProxySettings, Option<&Predecessor>),
        control: &Control,
    ) -> Result<Self, StartError> {
        let serve = async |surface, address| {
            let answering = Answering::new(surface, settings, control);
            serve_tcp(scope, Arc::new(answering), (address, before)).await
        };
        let admin = match &settings.bootstrap.admin {
            None => None,
            Some(AdminAddress::Socket(address)) => Some(serve(Surface::Admin, *address).await?),
            Some(AdminAddress::Pipe(path)) => {
                let answering = Answering::new(Surface::Admin, settings, control);
                serve_unix(scope, Arc::new(answering), (path, before)).await?;
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

async fn answer_all<S>(socket: S, answering: Arc<Answering>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request: Request<Incoming>| {
        let answering = Arc::clone(&answering);
        async move { Ok::<_, Infallible>(answering.answer(request).await) }
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
    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let page = self.page(request).await;
        let mut response = Response::new(Full::new(Bytes::from(page.body)));
        *response.status_mut() = page.status;
        let headers = response.headers_mut();
        let value = http::HeaderValue::from_static;
        headers.insert(CONTENT_TYPE, value(page.content_type));
        headers.insert(http::header::CACHE_CONTROL, value("no-cache, max-age=0"));
        headers.insert(http::header::X_CONTENT_TYPE_OPTIONS, value("nosniff"));
        response
    }

    async fn page(&self, request: Request<Incoming>) -> Page {
        let path = request.uri().path().to_owned();
        let path = path.as_str();
        let query = text::Query::parse(request.uri().query().unwrap_or_default());
        match self.surface {
            Surface::Health if matches!(path, "/healthz/ready" | "/ready") => self.ready(),
            Surface::Prometheus if matches!(path, "/stats/prometheus" | "/metrics") => {
                self.prometheus(&query)
            }
            Surface::Prometheus if path == "/healthz/ready" => self.ready(),
            Surface::Health | Surface::Prometheus => not_found(path),
            Surface::Admin => match catalog::find(path).map(|entry| entry.effect) {
                Some(catalog::Effect::Changes) if request.method() != Method::POST => {
                    let method = request.method();
                    Page::text(format!("Method {method} not allowed, POST required."))
                        .with(StatusCode::METHOD_NOT_ALLOWED)
                }
                Some(catalog::Effect::Changes) if path == "/runtime_modify" => {
                    let values = values_of(request, &query).await;
                    runtime::modify(&self.control, values).await
                }
                Some(catalog::Effect::Changes) => self.act(path, &query).await,
                Some(catalog::Effect::Shows) | None => self.show(path, &query),
            },
        }
    }

    fn show(&self, path: &str, query: &text::Query) -> Page {
        let shared = &self.control.shared;
        match path {
            "/" => {
                Page { content_type: "text/html; charset=UTF-8", ..Page::text(catalog::index()) }
            }
            "/help" => Page::text(catalog::help()),
            "/ready" | "/healthz/ready" => self.ready(),
            "/server_info" => Page::json(&pages::server_info(&self.control)),
            "/stats" => self.stats(query),
            "/stats/prometheus" => self.prometheus(query),
            "/stats/recentlookups" => {
                Page::text("names of statistics are looked up once and not recorded\n\ntotal: 0\n")
            }
            "/stats/services" => Page::json(&pages::services(shared)),
            "/config_dump" => config_dump::page(shared, query),
            "/clusters" => pages::clusters(shared, query),
            "/listeners" if query.is("format", "json") => {
                Page::json(&pages::listeners_json(shared))
            }
            "/listeners" => Page::text(pages::listeners_text(shared)),
            "/certs" => Page::json(&pages::certificates(shared)),
            "/contention" => Page::text("waits for locks are not measured\n"),
            "/hot_restart_version" => Page::text(pages::restart_version(shared)),
            "/init_dump" => Page::json(&pages::unready(shared, query)),
            "/memory" => Page::json(&pages::memory()),
            "/heap_dump" | "/peak_heap_dump" => no_profiles(),
            "/runtime" => Page::json(&runtime::show(&shared.runtime.load())),
            _ => not_found(path),
        }
    }

    async fn act(&self, path: &str, query: &text::Query) -> Page {
        let shared = &self.control.shared;
        match path {
            "/drain_listeners" => self.drain(query).await,
            "/quitquitquit" => self.control.stop().await,
            "/healthcheck/fail" => shared.take_out_of_service(),
            "/healthcheck/ok" => shared.take_back(),
            "/reset_counters" => shared.stats.reset_counters(),
            "/reopen_logs" => shared.access_logs.reopen(),
            "/stats/recentlookups/clear" | "/stats/recentlookups/disable" => {}
            "/stats/recentlookups/enable" => {
                return Page::text("names of statistics are looked up once and not recorded\n")
                    .with(StatusCode::NOT_IMPLEMENTED);
            }
            "/allocprofiler" | "/cpuprofiler" | "/heapprofiler" => return no_profiles(),
            "/logging" => {
                return logging::answer(&self.levels, self.log_level.as_ref(), query.pairs());
            }
            _ => return not_found(path),
        }
        Page::text("OK\n")
    }

    async fn drain(&self, query: &text::Query) {
        let wish = if query.has("skip_exit") {
            DrainWish::TellOnly
        } else if query.has("graceful") {
            DrainWish::Graceful
        } else {
            DrainWish::StopAccepting
        };
        let inbound = query.has("inboundonly");
        let reach = if inbound { DrainReach::Inbound } else { DrainReach::All };
        self.control.drain(wish, reach).await;
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
            Ok(wanted) => {
                let content_type = match wanted.format {
                    StatsFormat::Json => "application/json",
                    StatsFormat::Html => "text/html; charset=UTF-8",
                    StatsFormat::Text | StatsFormat::Prometheus => "text/plain; charset=UTF-8",
                };
                let body = self.control.shared.stats.render(&wanted);
                Page { content_type, ..Page::text(body) }
            }
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
        if let Some(filter) = query.value("filter") {
            body = families(&body, filter);
        }
        body.push_str(&self.control.shared.stats.render(&wanted));
        Page { content_type: "text/plain; version=0.0.4; charset=utf-8", ..Page::text(body) }
    }
}

/// The families of a page for Prometheus whose name has what an expression is met by.
fn families(page: &str, expression: &str) -> String {
    // What is no expression is told by who reads the other statistics.
    let Ok(wanted) = pages::anywhere(expression) else { return String::new() };
    let name_of = |line: &str| {
        let line = line.strip_prefix("# TYPE ").or_else(|| line.strip_prefix("# HELP "))?;
        line.split(' ').next().map(str::to_owned)
    };
    let mut kept = String::new();
    let mut is_wanted = false;
    for line in page.split_inclusive('\n') {
        if let Some(name) = name_of(line) {
            is_wanted = wanted.is_match(&name);
        }
        if is_wanted {
            kept.push_str(line);
        }
    }
    kept
}

/// Profiles are made by tools beside the process.
fn no_profiles() -> Page {
    Page::text("the process writes no profiles\n").with(StatusCode::NOT_IMPLEMENTED)
}

fn not_found(path: &str) -> Page {
    let text = format!("invalid path {path}. {}", catalog::help());
    Page::text(text).with(StatusCode::NOT_FOUND)
}

/// Names and values of the query, else of a form that is sent.
async fn values_of(request: Request<Incoming>, query: &text::Query) -> Vec<(String, String)> {
    let owned = |query: &text::Query| {
        query.pairs().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    };
    let kind = request.headers().get(CONTENT_TYPE);
    let is_form = kind.is_some_and(|kind| kind == "application/x-www-form-urlencoded");
    if query.pairs().next().is_some() || !is_form {
        return owned(query);
    }
    // A form that is too long or breaks off says nothing.
    match Limited::new(request.into_body(), FORM_BYTES_MAX).collect().await {
        Ok(body) => owned(&text::Query::parse(&String::from_utf8_lossy(&body.to_bytes()))),
        Err(_broken) => Vec::new(),
    }
}
