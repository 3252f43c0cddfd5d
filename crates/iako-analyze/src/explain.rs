//! What would happen to a request, and which rules decide.
//!
//! The plans of the client's and of the server's proxy are made as the control plane makes them,
//! and asked by the code with which proxies ask them. Random shares count as nothing unless they
//! are the whole; the share is told.

mod client;
mod hop;
mod http;
mod render;
mod security;
mod server;
mod stream;
mod upstream;
mod url;
mod why;

use std::time::SystemTime;

use iako_proxy_config::RuleOrigin;
use iako_registry::MeshSnapshot;
use serde::Serialize;

pub use client::Client;
pub use render::render_explanation;

use client::Caller;

/// A request to be explained.
#[derive(Debug, Clone)]
pub struct ExplainRequest {
    /// Who sends it.
    pub from: Client,
    /// The method, such as `GET`.
    pub method: String,
    /// `http://host[:port]/path`, or `https://` for TLS that the client itself speaks.
    pub url: String,
    /// Further headers.
    pub headers: Vec<(String, String)>,
    /// The time by which tokens are judged.
    pub now: SystemTime,
    /// Decides on weighted targets; the same number gives the same target.
    pub draw: u64,
}

/// What would happen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// How it ends.
    pub decision: Decision,
    /// The status of an answer that a proxy gives itself; none when the application answers.
    pub status: Option<u16>,
    /// What was decided on the way, in order.
    pub steps: Vec<Step>,
    /// The cluster that the request goes to.
    pub cluster: Option<String>,
    /// Addresses of the instances that may get it.
    pub endpoints: Vec<String>,
    /// Longest time for the whole exchange in milliseconds; none without limit.
    pub timeout_ms: Option<u64>,
    /// How often a failed try is repeated at most.
    pub retries: u32,
}

/// How a request ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Decision {
    /// It reaches an application.
    Forward,
    /// A proxy answers it.
    Respond,
    /// The connection is closed.
    Close,
    /// It leaves the mesh, to where the client meant it to go.
    Passthrough,
}

/// One thing that was decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Step {
    /// What was decided about: `client`, `gateway`, `host`, `route`, `fault`, `cluster`,
    /// `endpoints`, `tls`, `server`, `token`, `access`, `application`.
    pub stage: &'static str,
    /// What was decided.
    pub outcome: Outcome,
    /// The rule that decided; none where it was a default.
    pub rule: Option<RuleReference>,
    /// Why, in a sentence.
    pub why: String,
}

/// What a step came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Something was found or chosen.
    Chosen,
    /// The request goes on.
    Passed,
    /// The request is answered here.
    Answered,
    /// The request is refused here.
    Refused,
}

/// A rule, as the user can find it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RuleReference {
    /// Its kind.
    pub kind: String,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The file.
    pub file: String,
    /// The line, from 1; 0 when unknown.
    pub line: u32,
}

impl From<&RuleOrigin> for RuleReference {
    fn from(origin: &RuleOrigin) -> Self {
        Self {
            kind: origin.kind.clone(),
            namespace: origin.namespace.clone(),
            name: origin.name.clone(),
            file: origin.file.clone(),
            line: origin.line,
        }
    }
}

/// Why a request cannot be explained.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ExplainError {
    /// The URL is none that we know.
    #[error("expected a URL such as http://host:port/path, found {0:?}")]
    Url(String),
    /// Nobody has this name.
    #[error("no workload, Deployment, service account or service is called {0}")]
    UnknownClient(String),
    /// Several have this name.
    #[error("{name} is found in several namespaces: {namespaces}; write namespace/{name}")]
    AmbiguousClient {
        /// The name.
        name: String,
        /// The namespaces, with commas between.
        namespaces: String,
    },
    /// The client has no address yet.
    #[error("{0} has no address yet")]
    NoAddress(String),
    /// A token's keys are known to the proxy alone.
    #[error(
        "the {place} fetches the keys of the token's issuer, which an explanation does not; give them \
         by jwks in the RequestAuthentication to have the token judged"
    )]
    RemoteKeys {
        /// Who would judge the token.
        place: String,
    },
    /// There is no gateway through which somebody outside could come in.
    #[error("the client is outside of the mesh, and no Gateway selects a workload")]
    NoGateway,
}

/// Explains a request.
///
/// # Errors
/// When the URL or the client is not known.
pub fn explain(
    snapshot: &MeshSnapshot,
    request: &ExplainRequest,
) -> Result<Explanation, ExplainError> {
    let target =
        url::Target::parse(&request.url).ok_or_else(|| ExplainError::Url(request.url.clone()))?;
    let caller = client::resolve(snapshot, &request.from)?;
    let mut walk =
        Walk { snapshot, request, target, explanation: Explanation::default(), unknown: None };
    match &caller {
        Caller::Sidecar(workload) => walk.send_by_sidecar(workload)?,
        Caller::Plain(workload) => walk.send_plain(workload),
        Caller::Gateway(workload) => walk.send_by_gateway(std::slice::from_ref(workload), None)?,
        Caller::Outside(address) => {
            let gateways = client::gateways(snapshot);
            walk.send_by_gateway(&gateways, *address)?;
        }
    }
    match walk.unknown {
        Some(unknown) => Err(unknown),
        None => Ok(walk.explanation),
    }
}

/// An explanation while it is made.
pub(crate) struct Walk<'a> {
    pub(crate) snapshot: &'a MeshSnapshot,
    pub(crate) request: &'a ExplainRequest,
    pub(crate) target: url::Target,
    pub(crate) explanation: Explanation,
    /// Why the request cannot be followed further; no answer is better than a guess.
    pub(crate) unknown: Option<ExplainError>,
}

impl Default for Explanation {
    fn default() -> Self {
        Self {
            decision: Decision::Forward,
            status: None,
            steps: Vec::new(),
            cluster: None,
            endpoints: Vec::new(),
            timeout_ms: None,
            retries: 0,
        }
    }
}

impl Walk<'_> {
    /// Adds a step.
    pub(crate) fn step(
        &mut self,
        stage: &'static str,
        outcome: Outcome,
        rule: Option<&RuleOrigin>,
        why: impl Into<String>,
    ) {
        let rule = rule.map(RuleReference::from);
        self.explanation.steps.push(Step { stage, outcome, rule, why: why.into() });
    }

    /// Ends with an answer of a proxy.
    pub(crate) const fn respond(&mut self, status: u16) {
        self.explanation.decision = Decision::Respond;
        self.explanation.status = Some(status);
    }

    /// Ends with a closed connection.
    pub(crate) const fn close(&mut self) {
        self.explanation.decision = Decision::Close;
        self.explanation.status = None;
    }
}
