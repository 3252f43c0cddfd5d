//! Spans of questions that filters ask services for the sake of a request.

use std::rc::Rc;
use std::sync::Arc;

use iako_proxy_config::{GrpcService, Span, SpanKind};
use iako_rt::clock;

use super::open::OpenSpan;
use super::tags::peer;
use crate::callout::CallError;
use crate::callout::http::Answer;
use crate::http::exchange::Exchange;
use crate::spans::Tracer;
use crate::worker::Worker;

/// A tag of a filter: its name and value.
pub(crate) type Said = (&'static str, &'static str);

/// The span of a question that is under way; dropped before its end, it tells that it was given up.
#[derive(Debug)]
pub(crate) struct CalloutSpan {
    tracer: Arc<Tracer>,
    worker: Rc<Worker>,
    /// None once it was told.
    span: Option<OpenSpan>,
}

impl Exchange<'_> {
    /// Begins the span of a question to a cluster, where the request is a part of a trace.
    pub(in crate::http) fn callout_span(&self, asked: CalloutName<'_>) -> Option<CalloutSpan> {
        let trace = self.record.trace.as_ref()?;
        let context = trace.span.context.child(self.new_id());
        let operation = asked.method.trim_start_matches('/').replace('/', ".");
        let operation = if operation.is_empty() { asked.cluster } else { &operation };
        let name = format!("async {operation} egress");
        let now = (self.now, clock::wall());
        let mut span = OpenSpan::new(context, SpanKind::Client, name, now);
        let mut tag = |name: &'static str, value: &str| {
            span.tags.push((name.into(), value.to_owned()));
        };
        tag("upstream_cluster", asked.cluster);
        let address = if asked.host.is_empty() { asked.cluster } else { asked.host };
        tag("upstream_address", address);
        tag("component", "proxy");
        Some(CalloutSpan {
            tracer: Arc::clone(&trace.tracer),
            worker: Rc::clone(&self.connection.worker),
            span: Some(span),
        })
    }
}

impl<'a> CalloutName<'a> {
    /// A call of gRPC.
    pub(in crate::http) fn grpc(service: &'a GrpcService, method: &'a str) -> Self {
        Self { cluster: &service.cluster, host: &service.authority, method }
    }
}

/// Who is asked, and what the question is called.
#[derive(Debug, Clone, Copy)]
pub(in crate::http) struct CalloutName<'a> {
    pub(in crate::http) cluster: &'a str,
    /// The host of the question where it is not the cluster's name.
    pub(in crate::http) host: &'a str,
    /// The method of a call of gRPC, as a path; empty for HTTP.
    pub(in crate::http) method: &'a str,
}

impl CalloutSpan {
    /// What the service is told of the trace.
    pub(crate) fn headers(&self) -> Vec<(&'static str, String)> {
        let mut headers = Vec::new();
        if let Some(span) = &self.span {
            let carrier = self.tracer.carrier();
            carrier.inject(&span.context, |name, value| headers.push((name, value)));
        }
        headers
    }

    /// The service ended a call of gRPC; what the filter says of it besides.
    pub(crate) fn end_grpc(mut self, ended: Result<(), &CallError>, said: Option<Said>) {
        let code = ended.err().map_or(0, CallError::grpc_status);
        self.tell(|span| {
            span.tag("grpc.status_code", code.to_string());
            if code != 0 {
                span.tag("error", "true");
            }
            if let Some((name, value)) = said {
                span.tag(name, value);
            }
        });
    }

    /// The service answered a question of HTTP; what the filter says of it besides.
    pub(crate) fn end_http(mut self, answer: &Answer, cluster: &str, said: Said) {
        self.tell(|span| {
            span.tag("upstream_cluster.name", cluster);
            span.tag("http.protocol", answer.version.as_str());
            span.tag("http.status_code", answer.status.to_string());
            span.tag("response_flags", "-");
            peer(span, &answer.host);
            span.tag("ext_authz_http_status", iako_http::reason(answer.status));
            if answer.status >= 500 {
                span.tag("error", "true");
            }
            span.tag(said.0, said.1);
        });
    }

    /// The question was not asked.
    pub(crate) fn forget(mut self) {
        self.span = None;
    }

    fn tell(&mut self, note: impl FnOnce(&mut Span)) {
        let Some(open) = self.span.take().filter(|open| open.context.sampled) else { return };
        let mut span = open.ended(clock::now());
        note(&mut span);
        self.tracer.report(&self.worker, span);
    }
}

impl Drop for CalloutSpan {
    fn drop(&mut self) {
        self.tell(|span| span.tag("status", "canceled"));
    }
}
