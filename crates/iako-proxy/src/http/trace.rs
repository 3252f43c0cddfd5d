//! The spans of one request: from its route to its end.

mod callout;
mod open;
mod tags;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Instant;

use iako_http::{FieldValue, Known, ResponseHead};
use iako_proxy_config::{
    CustomTag, Direction, RouteTracing, Span, SpanKind, TraceSampling, Tracing, TracingProvider,
};
use iako_rt::clock;
use iako_telemetry::request_id::{sampling_point, trace_reason, with_trace_reason};
use iako_telemetry::trace::{
    Asked, BEGAN_HERE, Carrier, Found, Sampling, Share, TraceContext, TraceReason, decide,
    ratio_takes,
};
use iako_telemetry::{Counter, HeaderLookup as _, StatsScope};
use iako_traffic::RouteOutcome;
use iako_types::Fraction;

use super::attempt::{Attempt, TryFailure};
use super::exchange::Exchange;
use super::failure::Failure;
use super::forward::Plan;
use super::mutations;
use super::record::Finished;
use crate::spans::Tracer;
use open::OpenSpan;

pub(in crate::http) use callout::CalloutName;
pub(crate) use callout::CalloutSpan;

/// Tracing of a connection manager, compiled.
#[derive(Debug)]
pub(crate) struct Traced {
    /// Who gets spans; nobody when absent, and then only request ids are marked.
    tracer: Option<Arc<Tracer>>,
    stats: TracingStats,
}

/// `http.<prefix>.tracing.…`
#[derive(Debug)]
struct TracingStats {
    client_enabled: Counter,
    not_traceable: Counter,
    random_sampling: Counter,
    service_forced: Counter,
    /// Held, so that it is shown: health checks are answered before anybody asks.
    _health_check: Counter,
}

impl Traced {
    pub(crate) fn new(tracer: Option<Arc<Tracer>>, scope: &StatsScope) -> Self {
        let scope = scope.part("tracing");
        let stats = TracingStats {
            client_enabled: scope.counter("client_enabled"),
            not_traceable: scope.counter("not_traceable"),
            random_sampling: scope.counter("random_sampling"),
            service_forced: scope.counter("service_forced"),
            _health_check: scope.counter("health_check"),
        };
        Self { tracer, stats }
    }

    fn count(&self, reason: TraceReason) {
        match reason {
            TraceReason::None => self.stats.not_traceable.inc(),
            TraceReason::Sampled => self.stats.random_sampling.inc(),
            TraceReason::Forced => self.stats.service_forced.inc(),
            TraceReason::Client => self.stats.client_enabled.inc(),
        }
    }
}

/// The trace that a request is a part of.
#[derive(Debug)]
pub(crate) struct ActiveTrace {
    tracer: Arc<Tracer>,
    /// The request.
    span: OpenSpan,
    /// Its try, where each is a span of its own.
    attempt: Option<OpenSpan>,
    /// The operation that the other side is told of.
    decorated: Option<String>,
    /// What the route changes.
    route: Option<Arc<RouteTracing>>,
    /// Whether the configuration names the span, whatever decorators say.
    is_named: bool,
    /// The trace's id as text.
    id: String,
}

impl ActiveTrace {
    /// The trace's id, for logs.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// Whether the collector is told of a span. Datadog's agent counts those that are not kept, too.
    fn tells(&self, span: &OpenSpan) -> bool {
        span.context.sampled || matches!(self.tracer.provider, TracingProvider::Datadog(_))
    }
}

fn share(fraction: Fraction) -> Share {
    Share { numerator: fraction.numerator, parts: fraction.denominator.parts() }
}

fn shares(sampling: &TraceSampling) -> Sampling {
    Sampling {
        client: share(sampling.client),
        random: share(sampling.random),
        overall: share(sampling.overall),
    }
}

impl Exchange<'_> {
    /// Decides whether the request is traced, marks its id, and begins its span.
    pub(super) fn begin_trace(&mut self, outcome: &RouteOutcome<'_>) {
        let service = self.service;
        let (Some(traced), Some(config)) = (&service.traced, &service.manager.tracing) else {
            return;
        };
        let route = match outcome {
            RouteOutcome::Matched(matched) => Some(matched.route),
            RouteOutcome::NoHost | RouteOutcome::NoRoute(_) | RouteOutcome::TlsRequired(_) => None,
        };
        let of_route = route.and_then(|route| route.tracing.as_ref());
        let sampling = of_route.map_or(&config.sampling, |tracing| &tracing.sampling);
        let reason = self.mark_id(sampling);
        traced.count(reason);
        let Some(tracer) = &traced.tracer else { return };
        let Some(span) = self.first_span(tracer, config, reason) else { return };
        let id = span.context.trace_id_text();
        let mut trace = Box::new(ActiveTrace {
            tracer: Arc::clone(tracer),
            span,
            attempt: None,
            decorated: None,
            route: of_route.map(Arc::clone),
            is_named: !tags::operation(config, of_route.map(|tracing| &**tracing)).is_empty(),
            id,
        });
        if trace.is_named {
            self.record.trace = Some(trace);
            return;
        }
        let decorator = route.and_then(|route| route.decorator.as_ref());
        if let Some(decorator) = decorator {
            decorator.operation.clone_into(&mut trace.span.name);
            trace.decorated = decorator.propagates.then(|| decorator.operation.clone());
        }
        self.decorate_request(&mut trace);
        self.record.trace = Some(trace);
    }

    /// Why the request is traced; its id says so from then on.
    fn mark_id(&mut self, sampling: &TraceSampling) -> TraceReason {
        let rules = self.service.manager.request_id_traces;
        if !rules.decides {
            return TraceReason::Sampled;
        }
        let request = &self.request;
        let Some(id) = request.text(Known::XRequestId) else { return TraceReason::None };
        let Some(point) = sampling_point(id) else { return TraceReason::None };
        let known = if rules.packs_reason { trace_reason(id) } else { TraceReason::None };
        let asked = Asked {
            by_client: request.get(Known::XClientTraceId).is_some(),
            by_service: request.get(Known::XEnvoyForceTrace).is_some(),
        };
        let chances = (point, self.connection.draw());
        let reason = decide(&shares(sampling), asked, known, chances);
        if reason != known
            && rules.packs_reason
            && let Some(id) = with_trace_reason(id, reason)
        {
            self.request.edits.fields.set(Known::XRequestId, FieldValue::sanitized(id));
        }
        reason
    }

    /// The span of the request; none where its headers are no context.
    fn first_span(
        &self,
        tracer: &Tracer,
        config: &Tracing,
        reason: TraceReason,
    ) -> Option<OpenSpan> {
        let view = self.request.view();
        let carrier = tracer.carrier();
        let found = carrier.extract(&view);
        let own_hop = config.spawns_upstream || self.service.router.child_spans;
        let egress = self.connection.direction == Direction::Outbound;
        let (splits, shares_span) = match &tracer.provider {
            TracingProvider::Zipkin(zipkin) => (zipkin.splits_spans, zipkin.shares_span),
            TracingProvider::OpenTelemetry(_) | TracingProvider::Datadog(_) => (false, false),
        };
        let kind = if egress && !own_hop && !splits { SpanKind::Client } else { SpanKind::Server };
        let is_zipkin = matches!(tracer.provider, TracingProvider::Zipkin(_));
        let name = match (is_zipkin, egress) {
            (true, _) => self.request.authority().to_owned(),
            (false, true) => format!("egress {}", self.request.authority()),
            (false, false) => "ingress".to_owned(),
        };
        let (parent, decided) = match found {
            Found::Broken => return None,
            Found::Nothing => (None, None),
            Found::Decision(decided) => (None, Some(decided)),
            Found::Context(context, decided) => (Some(context), decided),
        };
        let has_parent = parent.is_some();
        let shares_parent = has_parent && shares_span && kind == SpanKind::Server;
        let mut context = match parent {
            Some(context) if shares_parent => context,
            Some(context) => context.child(self.new_id()),
            None => self.root(tracer),
        };
        context.single = carrier.is_single(&view);
        context.sampled = self.is_sampled(tracer, &context, (has_parent, decided), reason);
        let mut span =
            OpenSpan::new(context, kind, name, (self.record.start, self.record.start_wall));
        span.parent_is_remote = has_parent;
        if has_parent
            && carrier == Carrier::Datadog
            && view.first_value("x-datadog-trace-id").is_none()
        {
            // Its library says so of traces that came without headers of its own.
            span.tags.push((Cow::Borrowed("_dd.parent_id"), "0000000000000000".to_owned()));
        }
        // Zipkin's reporters say so of every server's span where ids are shared.
        span.is_shared = is_zipkin && shares_span && kind == SpanKind::Server;
        Some(span)
    }

    fn is_sampled(
        &self,
        tracer: &Tracer,
        context: &TraceContext,
        (has_parent, decided): (bool, Option<bool>),
        reason: TraceReason,
    ) -> bool {
        let traced = reason.is_traced();
        let TracingProvider::OpenTelemetry(otel) = &tracer.provider else {
            return decided.unwrap_or(traced);
        };
        // What is not to be traced, neither the caller nor a sampler can have traced.
        traced
            && match &otel.sampler {
                None => decided.unwrap_or(true),
                Some(sampler) => {
                    let parent = decided.filter(|_| has_parent);
                    let takes = |part| ratio_takes(share(part), context.trace_id);
                    tags::sampled(sampler, parent, takes)
                }
            }
    }

    fn root(&self, tracer: &Tracer) -> TraceContext {
        let low = self.new_id();
        let draw = || self.new_id();
        let (trace_id, short, span_id) = match &tracer.provider {
            TracingProvider::Zipkin(zipkin) => {
                let seconds = clock::wall()
                    .duration_since(std::time::UNIX_EPOCH)
                    .map_or(0, |since| since.as_secs());
                let timed = |id: u64| match zipkin.timed_ids {
                    true => seconds << 32 | id & u64::from(u32::MAX),
                    false => id,
                };
                if zipkin.long_ids {
                    (u128::from(timed(draw())) << 64 | u128::from(low), false, low)
                } else {
                    (u128::from(timed(low)), true, timed(low))
                }
            }
            TracingProvider::OpenTelemetry(_) => {
                (u128::from(draw()) << 64 | u128::from(low), false, draw())
            }
            TracingProvider::Datadog(_) => {
                let seconds = clock::wall()
                    .duration_since(std::time::UNIX_EPOCH)
                    .map_or(0, |since| since.as_secs());
                (u128::from(seconds) << 96 | u128::from(low), false, low)
            }
        };
        let state = match &tracer.provider {
            TracingProvider::Datadog(_) => BEGAN_HERE.to_owned(),
            TracingProvider::Zipkin(_) | TracingProvider::OpenTelemetry(_) => String::new(),
        };
        TraceContext {
            trace_id,
            short,
            span_id,
            parent_id: None,
            sampled: false,
            single: false,
            state,
        }
    }

    /// A number that is not zero.
    fn new_id(&self) -> u64 {
        self.connection.draw().max(1)
    }

    /// Tells the upstream what the operation is called, or takes what the client calls it.
    fn decorate_request(&mut self, trace: &mut ActiveTrace) {
        let fields = &mut self.request.edits.fields;
        if self.connection.direction == Direction::Outbound {
            if let Some(operation) = &trace.decorated {
                let value = FieldValue::sanitized(operation.clone());
                fields.set(Known::XEnvoyDecoratorOperation, value);
            }
            return;
        }
        let sent = self.request.head.fields();
        let Some(told) = fields.get(sent, Known::XEnvoyDecoratorOperation) else { return };
        if !told.is_empty() {
            trace.span.name = String::from_utf8_lossy(told).into_owned();
            trace.decorated = None;
        }
        fields.remove(Known::XEnvoyDecoratorOperation);
    }

    /// Tells the client what the operation is called, or takes what the upstream calls it.
    pub(super) fn decorate_response(&mut self, head: &ResponseHead) {
        let fields = &mut self.response_edits.fields;
        let trace = self.record.trace.as_mut();
        if trace.as_ref().is_some_and(|trace| trace.is_named) {
            return;
        }
        if self.connection.direction != Direction::Outbound {
            if let Some(operation) = trace.and_then(|trace| trace.decorated.clone()) {
                fields.set(Known::XEnvoyDecoratorOperation, FieldValue::sanitized(operation));
            }
            return;
        }
        let Some(told) = fields.get(head.fields(), Known::XEnvoyDecoratorOperation) else { return };
        if let Some(trace) = trace.filter(|_| !told.is_empty()) {
            trace.span.name = String::from_utf8_lossy(told).into_owned();
        }
        fields.remove(Known::XEnvoyDecoratorOperation);
    }

    /// Begins the span of a try where there is one for each, and tells the upstream of the trace.
    pub(super) fn trace_try(&mut self, plan: &Plan<'_>) {
        let Some(mut trace) = self.record.trace.take() else { return };
        let Some(config) = &self.service.manager.tracing else { return };
        if config.spawns_upstream || self.service.router.child_spans {
            let name = format!("router {} egress", observed_name(plan));
            let now = (self.now, clock::wall());
            let context = trace.span.context.child(self.new_id());
            let mut span = OpenSpan::new(context, SpanKind::Client, name, now);
            if self.record.attempts > 1 {
                let retries = self.record.attempts.saturating_sub(1).to_string();
                span.tags.push((Cow::Borrowed("retry.count"), retries));
            }
            trace.attempt = Some(span);
        }
        if config.propagates {
            let current = trace.attempt.as_ref().unwrap_or(&trace.span);
            let fields = &mut self.request.edits.fields;
            let carrier = trace.tracer.carrier();
            carrier.inject(&current.context, |name, value| mutations::set(fields, name, value));
        }
        self.record.trace = Some(trace);
    }

    /// Notes how a try went; the span of one without a response ends with it.
    pub(super) fn trace_tried(&mut self, tried: &Result<Attempt, TryFailure>) {
        let Some(mut trace) = self.record.trace.take() else { return };
        if let Some(mut span) = trace.attempt.take() {
            match tried {
                Ok(attempt) => {
                    span.note_response(&attempt.head);
                    trace.attempt = Some(span);
                }
                Err(TryFailure::Repeatable { failure, .. } | TryFailure::Final(failure)) => {
                    self.end_try(&trace, span, Some(failure));
                }
            }
        }
        self.record.trace = Some(trace);
    }

    /// Ends the span of a try that brought a response which nobody gets.
    pub(super) fn trace_given_up(&mut self) {
        let Some(mut trace) = self.record.trace.take() else { return };
        if let Some(mut span) = trace.attempt.take() {
            span.tags.push((Cow::Borrowed("canceled"), "true".to_owned()));
            self.end_try(&trace, span, None);
        }
        self.record.trace = Some(trace);
    }

    /// Ends the span of a try and hands it over.
    fn end_try(&self, trace: &ActiveTrace, span: OpenSpan, failure: Option<&Failure>) {
        if !trace.tells(&span) {
            return;
        }
        let Some(config) = &self.service.manager.tracing else { return };
        let route = trace.route.as_deref();
        let told = tags::of_try(self, (config, route), span, failure);
        trace.tracer.report(&self.connection.worker, told);
    }

    /// Ends the spans of a request that is over.
    pub(super) fn end_trace(&mut self, now: Instant) {
        self.now = now;
        let Some(mut trace) = self.record.trace.take() else { return };
        if let Some(span) = trace.attempt.take() {
            self.end_try(&trace, span, None);
        }
        if trace.tells(&trace.span)
            && let Some(config) = &self.service.manager.tracing
        {
            let finished = Finished {
                request: &self.request,
                response: self.response.as_ref().map(|head| (head, &self.response_edits)),
                upload: &self.upload,
                download: &self.download,
            };
            let told = tags::of_request(self, (config, &trace), &finished);
            trace.tracer.report(&self.connection.worker, told);
        }
        self.record.trace = Some(trace);
    }

    /// Whether upstreams are told of the trace.
    pub(super) fn propagates(&self) -> bool {
        self.service.manager.tracing.as_ref().is_some_and(|tracing| tracing.propagates)
    }

    /// The span of a copy of the request, and what its receiver is told.
    pub(super) fn mirror_context(&self, traced: Option<bool>) -> Option<(Arc<Tracer>, OpenCopy)> {
        let trace = self.record.trace.as_ref()?;
        let mut context = trace.span.context.child(self.new_id());
        context.sampled = traced.unwrap_or(context.sampled);
        let now = (self.now, clock::wall());
        let span = OpenSpan::new(context, SpanKind::Client, "mirror".to_owned(), now);
        Some((Arc::clone(&trace.tracer), OpenCopy(span)))
    }
}

/// The span of a copy that is under way.
#[derive(Debug)]
pub(crate) struct OpenCopy(OpenSpan);

impl OpenCopy {
    /// Tells the receiver of the trace.
    pub(super) fn inject(&self, tracer: &Tracer, edits: &mut iako_http::RequestEdits) {
        let carrier = tracer.carrier();
        carrier.inject(&self.0.context, |name, value| {
            mutations::set(&mut edits.fields, name, value);
        });
    }

    /// The span, now that the copy is answered, or not.
    pub(super) fn end(self, facts: &CopyFacts<'_>) -> Option<Span> {
        self.0.context.sampled.then(|| tags::of_copy(self.0, facts))
    }
}

pub(super) use tags::CopyFacts;

/// By what name a cluster is observed.
fn observed_name<'p>(plan: &'p Plan<'_>) -> &'p str {
    tags::observed(&plan.cluster)
}

/// The tags of a manager and of a route, which counts where both have one of a name.
fn custom_tags<'c>(
    config: &'c Tracing,
    route: Option<&'c RouteTracing>,
) -> impl Iterator<Item = &'c CustomTag> {
    let own = route.map_or(&[][..], |route| &route.tags);
    let is_replaced = |tag: &&CustomTag| !own.iter().any(|other| other.name == tag.name);
    config.tags.iter().filter(is_replaced).chain(own)
}
