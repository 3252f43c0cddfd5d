//! The control plane's API, as the commands ask it.

use std::{net::SocketAddr, path::Path};

use anyhow::Context as _;
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Uri, header};
use http_body_util::Full;
use serde_json::Value;

use crate::{app::Client, place::find_api};

/// Asks a control plane, or a proxy's admin endpoint.
#[derive(Debug)]
pub(crate) struct ApiClient {
    address: SocketAddr,
    client: Client,
}

impl ApiClient {
    /// Whoever listens at this address.
    pub(crate) fn at(address: SocketAddr) -> Self {
        Self { address, client: Client::new(address) }
    }

    /// The control plane that is meant.
    pub(crate) fn find(given: Option<SocketAddr>, state: Option<&Path>) -> Self {
        Self::at(find_api(given, state))
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) async fn get(&self, path: &str) -> anyhow::Result<Value> {
        self.ask(Method::GET, path, Bytes::new()).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        self.ask(Method::POST, path, Bytes::from(body.to_string())).await
    }

    async fn ask(&self, method: Method, path: &str, body: Bytes) -> anyhow::Result<Value> {
        let address = self.address;
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = path.parse::<Uri>().with_context(|| format!("{path} is no path"))?;
        let headers = request.headers_mut();
        headers.insert(header::HOST, HeaderValue::from_str(&address.to_string())?);
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let answer = self.client.send(request).await.with_context(|| {
            format!(
                "nobody answers at {address}; start a mesh with `iako up DIR`, or name its API \
                 with --control"
            )
        })?;
        let text = String::from_utf8_lossy(&answer.body);
        anyhow::ensure!(answer.status.is_success(), "{}", text.trim());
        serde_json::from_str(&text).with_context(|| format!("{address} answered no JSON"))
    }
}
