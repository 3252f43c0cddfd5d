//! What the application answers.

use std::{convert::Infallible, net::SocketAddr, str::FromStr, sync::Arc, time::Duration};

use anyhow::Context as _;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::{conn::auto, graceful::GracefulShutdown},
};
use iako_rt::Scope;
use iako_supervise::Signals;
use serde_json::{Value, json};
use tokio::{net::TcpListener, time};

use super::Client;

/// Headers that an application passes on so that one request can be followed through all services.
const TRACE_HEADERS: [&str; 9] = [
    "x-request-id",
    "traceparent",
    "tracestate",
    "b3",
    "x-b3-traceid",
    "x-b3-spanid",
    "x-b3-parentspanid",
    "x-b3-sampled",
    "x-b3-flags",
];

/// Longest time that open requests have when the application is asked to end.
const END_LIMIT: Duration = Duration::from_secs(20);

/// An instance of the application.
#[derive(Debug)]
pub(crate) struct App {
    /// The service that it says it is.
    pub(crate) name: String,
    /// The release that it says it is.
    pub(crate) release: String,
    /// The pod that it runs in.
    pub(crate) pod: String,
    /// What it calls before it answers.
    pub(crate) calls: Vec<Call>,
    /// The way to other services.
    pub(crate) client: Option<Client>,
}

/// A call that is made before a path is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Call {
    path: String,
    url: Uri,
}

impl FromStr for Call {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || format!("expected PATH=URL, as in /=http://cart-service/items, not {text}");
        let (path, url) = text.split_once('=').ok_or_else(wrong)?;
        let url: Uri = url.parse().map_err(|_not_a_url| wrong())?;
        if !path.starts_with('/') || url.scheme_str() != Some("http") || url.host().is_none() {
            return Err(wrong());
        }
        Ok(Self { path: path.to_owned(), url })
    }
}

/// Answers requests on `address` until the process is asked to end; open requests are finished.
pub(crate) async fn serve(app: App, address: SocketAddr) -> anyhow::Result<()> {
    let mut signals = Signals::listen().context("cannot listen for signals")?;
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address}; is another program there?"))?;
    tracing::info!(%address, name = app.name, release = app.release, "application serves");
    let app = Arc::new(app);
    let scope = Scope::new();
    let graceful = GracefulShutdown::new();
    let server = auto::Builder::new(TokioExecutor::new());
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = signals.next() => break,
        };
        let (stream, _) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be taken");
                time::sleep(Duration::from_millis(10)).await;
                continue;
            }
        };
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "the connection was gone at once");
        }
        let app = Arc::clone(&app);
        let service = service_fn(move |request| {
            let app = Arc::clone(&app);
            async move { Ok::<_, Infallible>(answer(&app, request).await) }
        });
        let connection = server.serve_connection(TokioIo::new(stream), service).into_owned();
        let connection = graceful.watch(connection);
        scope.spawn("application connection", async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "connection ended");
            }
        });
    }
    drop(listener);
    if time::timeout(END_LIMIT, graceful.shutdown()).await.is_err() {
        tracing::warn!("requests were still open after {END_LIMIT:?}");
    }
    Ok(())
}

async fn answer(app: &App, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let (head, body) = request.into_parts();
    // The body is read so that the connection can be used again; its content does not matter.
    let body_bytes = body.collect().await.map_or(0, |body| body.to_bytes().len());
    let asked = Asked::from_query(head.uri.query().unwrap_or_default());
    if let Some(delay) = asked.delay {
        time::sleep(delay).await;
    }
    let mut status = asked.status;
    let mut calls = Vec::new();
    for call in app.calls.iter().filter(|call| call.path == head.uri.path()) {
        let (called, fact) = make(app, call, &head.headers).await;
        if !called.is_success() && status.is_success() {
            status = called;
        }
        calls.push(fact);
    }
    let fact = json!({
        "service": app.name,
        "release": app.release,
        "pod": app.pod,
        "method": head.method.as_str(),
        "path": head.uri.path(),
        "host": text(&head.headers, header::HOST.as_str()),
        "request_id": text(&head.headers, "x-request-id"),
        "body_bytes": body_bytes,
        "calls": calls,
    });
    let mut response = Response::new(Full::new(Bytes::from(format!("{fact}\n"))));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// What the caller asked for by `?status=503&delay=100` (milliseconds).
struct Asked {
    status: StatusCode,
    delay: Option<Duration>,
}

impl Asked {
    fn from_query(query: &str) -> Self {
        let value = |key: &str| {
            query.split('&').filter_map(|pair| pair.split_once('=')).find(|pair| pair.0 == key)
        };
        let status = value("status").and_then(|(_, status)| status.parse().ok());
        let delay = value("delay").and_then(|(_, delay)| delay.parse().ok());
        Self {
            status: status.unwrap_or(StatusCode::OK),
            delay: delay.map(|milliseconds: u64| Duration::from_millis(milliseconds.min(60_000))),
        }
    }
}

async fn make(app: &App, call: &Call, incoming: &HeaderMap) -> (StatusCode, Value) {
    let Some(client) = &app.client else {
        let fact = json!({"url": call.url.to_string(), "error": "HTTP_PROXY is not set"});
        return (StatusCode::BAD_GATEWAY, fact);
    };
    match client.send(request_for(&call.url, incoming)).await {
        Ok(answer) => {
            let body: Value = serde_json::from_slice(&answer.body)
                .unwrap_or_else(|_text| String::from_utf8_lossy(&answer.body).into());
            let fact = json!({
                "url": call.url.to_string(), "status": answer.status.as_u16(), "body": body
            });
            (answer.status, fact)
        }
        Err(error) => {
            let fact = json!({"url": call.url.to_string(), "error": error.to_string()});
            (StatusCode::BAD_GATEWAY, fact)
        }
    }
}

/// A request in absolute form, as a client sends it to its proxy (RFC 9112 §3.2.2).
fn request_for(url: &Uri, incoming: &HeaderMap) -> Request<Full<Bytes>> {
    let mut request = Request::new(Full::new(Bytes::new()));
    *request.uri_mut() = url.clone();
    let host = url.authority().and_then(|host| HeaderValue::from_str(host.as_str()).ok());
    if let Some(host) = host {
        request.headers_mut().insert(header::HOST, host);
    }
    for name in TRACE_HEADERS {
        for value in incoming.get_all(name) {
            request.headers_mut().append(name, value.clone());
        }
    }
    request
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_names_a_path_and_a_url() {
        let call: Call = "/checkout=http://cart-service:8080/items?x=1".parse().unwrap();
        assert_eq!(call.path, "/checkout");
        assert_eq!(call.url.host(), Some("cart-service"));
        for wrong in ["x", "x=http://a/", "/=a", "/=https://a/"] {
            assert!(wrong.parse::<Call>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_caller_chooses_status_and_delay() {
        let asked = Asked::from_query("a=b&delay=20&status=503");
        assert_eq!(asked.status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(asked.delay, Some(Duration::from_millis(20)));
        assert_eq!(Asked::from_query("status=9999").status, StatusCode::OK);
    }
}
