//! One request and its response: **the function to read** is [`Exchange::run`].

mod begin;
mod edits;
mod lines;

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use iako_http::{FieldValue, Known, ResponseEdits, ResponseHead};
use iako_proxy_config::{Action, FilterSettings, RedirectPath};
use iako_telemetry::ResponseFlag;
use iako_traffic::rbac::Subject;
use iako_traffic::{
    EffectiveOverrides, RedirectHistory, RouteMatchResult, RouteOutcome, https_location,
};

use tokio::time::Sleep;

use super::attempt::{Attempt, Rival};
use super::connection::HttpConnection;
use super::deadlines::Deadlines;
use super::downstream::Downstream;
use super::error_response::Reply;
use super::failure::Failure;
use super::filters::content::Remembered;
use super::filters::cors::{Cors, CorsStats};
use super::filters::fault::{FaultPlan, FaultStep};
use super::filters::said::Said;
use super::filters::{self, Filter, FilterKind};
use super::forward::Progress;
use super::mutations;
use super::passing::ChainPlace;
use super::pump::{Download, Upload};
use super::record::{Place, Record};
use super::request::Request;
use super::service::HttpService;
use super::steering::Steering;
use crate::on_demand::Found;
use crate::snapshot::{ProxySnapshot, ServedRoutes};

pub(crate) use begin::{Moment, begin};

/// Everything that belongs to one request while it is served.
#[derive(Debug)]
pub(crate) struct Exchange<'e> {
    pub(super) connection: &'e HttpConnection,
    pub(super) service: &'e HttpService,
    pub(super) snapshot: &'e ProxySnapshot,
    moment: &'e Moment,
    /// The time of this turn: asked for once after everything that waits.
    pub(super) now: Instant,
    pub(super) request: Box<Request>,
    pub(super) record: Record,
    pub(super) deadlines: Deadlines<'e>,
    pub(super) upload: Upload,
    pub(super) download: Download,
    /// The head that was sent to the client.
    pub(super) response: Option<ResponseHead>,
    pub(super) response_edits: ResponseEdits,
    /// Fields that filters and routes add to whatever response comes.
    pub(super) annotations: Vec<(&'static str, String)>,
    /// What filters remember for the response; none for most.
    pub(super) remembered: Option<Box<Remembered>>,
    /// What services said of the response.
    pub(super) said: Option<Box<Said>>,
    /// What leads it to an instance of its own.
    pub(super) steering: Option<Box<Steering>>,
    /// Slow tries that go on beside the present one.
    pub(super) rivals: Vec<Rival>,
    /// A slow try that answered first.
    pub(super) winner: Option<Box<Attempt>>,
    /// Redirects that were followed here.
    pub(super) redirects: RedirectHistory,
    /// The client wants 204 in place of 504.
    pub(super) wants_alt_response: bool,
    /// How often it began anew, because something came that it lacked.
    pub(super) renewals: u8,
    /// Its route.
    pub(super) place: Place<'e>,
    /// When the next line is written before the last one; never for most.
    pub(super) next_line: Option<Pin<Box<Sleep>>>,
}

/// What a request's way is made of; all of it of one moment.
struct Way<'t> {
    service: &'t HttpService,
    table: Option<&'t ServedRoutes>,
    draw: u64,
}

/// What a filter says.
#[derive(Debug)]
pub(super) enum Step {
    Continue,
    /// The route has to be chosen again.
    Reroute,
    Reply(Box<Reply>),
    /// The client has its response.
    Answered,
}

impl<'e> Exchange<'e> {
    /// The way of a request: filters, route, then what the route says. The configuration was loaded
    /// once, before; nothing here sees another one.
    pub(super) async fn run(&mut self, downstream: &mut Downstream<'_>) {
        let service = self.service;
        let table = service.routes(self.snapshot, &self.request);
        if let Some(table) = table {
            self.request.clean(&table.table().configuration().internal_only_headers);
        }
        let draw = self.connection.draw();
        let mut outcome = self.route(table, draw);
        self.note_route(outcome);
        if service.traits.writes_early {
            self.begin_lines();
        }
        if service.traced.is_some() {
            self.begin_trace(&outcome);
        }
        let way = Way { service, table, draw };
        let mut ended = self.follow(&way, &mut outcome, downstream).await;
        while goes_on(&ended) {
            if let Some(remembered) = &mut self.remembered {
                remembered.chosen.clear();
            }
            let service = self.service;
            let table = service.routes(self.snapshot, &self.request);
            outcome = self.route(table, draw);
            self.note_route(outcome);
            let way = Way { service, table, draw };
            ended = Box::pin(self.follow(&way, &mut outcome, downstream)).await;
        }
        if let Err(failure) = ended {
            let route = matched(outcome);
            Box::pin(self.fail(failure, route.as_ref(), downstream)).await;
        }
    }

    /// Filters, then what the route says.
    #[expect(clippy::too_many_lines, reason = "one arm for each kind of filter that may wait")]
    async fn follow(
        &mut self,
        way: &Way<'e>,
        outcome: &mut RouteOutcome<'e>,
        downstream: &mut Downstream<'_>,
    ) -> Result<Progress, Failure> {
        let service = way.service;
        let acting = service.filters.iter().enumerate().filter(|(_, filter)| filter.acts);
        for (place, filter) in acting {
            let matched = matched(*outcome);
            let overrides = matched.map(|route| route.overrides());
            if filter.is_off(overrides.as_ref()) {
                continue;
            }
            if let Some(condition) = &filter.condition
                && !self.is_chosen(condition, of_route(&overrides, filter))
            {
                continue;
            }
            let step = match &filter.kind {
                FilterKind::Jwt(keys) => {
                    if keys.may_wait() {
                        Box::pin(keys.ready(&self.connection.worker)).await;
                    }
                    self.check_token(keys, of_route(&overrides, filter))?
                }
                FilterKind::Fault(step) => {
                    let own = of_route(&overrides, filter);
                    let plan = self.plan_fault(step, matched, own);
                    if let Some(delay) = plan.delay {
                        self.pause(delay, downstream).await?;
                    }
                    self.end_fault(plan)?
                }
                FilterKind::Head(head) => self.head_step(head, &filter.name, overrides.as_ref()),
                FilterKind::Cors(stats) => self.ask_cors(stats, &filter.name, matched.as_ref()),
                FilterKind::Content(content) => {
                    let at =
                        ChainPlace { place, name: &filter.name, overrides: overrides.as_ref() };
                    Box::pin(self.content_step(content, &at, matched.as_ref(), downstream)).await?
                }
                FilterKind::Process(step) => {
                    let overrides = overrides.as_ref();
                    Box::pin(self.process_request(step, overrides, downstream)).await?
                }
                FilterKind::Limit(step) => {
                    Box::pin(self.ask_limit(step, matched, downstream)).await?
                }
                FilterKind::Admission(step) => self.admit(step),
                FilterKind::Concurrency(step) => self.bound_concurrency(step),
                FilterKind::Credential(step) => self.inject_credential(step),
                FilterKind::LocalLimit(step) => {
                    self.take_tokens(step, matched.as_ref(), overrides.as_ref())
                }
                FilterKind::Login(step) => {
                    let of_route = of_route(&overrides, filter);
                    Box::pin(self.log_in(step, of_route, downstream)).await?
                }
                FilterKind::Authz(step) => {
                    Box::pin(self.ask_authz(step, matched, downstream)).await?
                }
                FilterKind::OnDemand(own) => {
                    let lacking = (way.table, *outcome);
                    let settings = of_route(&overrides, filter);
                    let found = self.find_on_demand(own, lacking, settings, downstream);
                    if Box::pin(found).await? == Found::Here {
                        return Ok(Progress::Renewed);
                    }
                    Step::Continue
                }
                FilterKind::Forward(step) => {
                    let settings = of_route(&overrides, filter);
                    Box::pin(self.find_host(step, matched, settings, downstream)).await?
                }
                FilterKind::Missing => return Err(Failure::NoFilterConfig),
                FilterKind::PeerMetadata(_)
                | FilterKind::Rbac(_)
                | FilterKind::GrpcWeb
                | FilterKind::StatefulSession(_)
                | FilterKind::Alpn
                | FilterKind::Stats
                | FilterKind::Router
                | FilterKind::Other => self.step(&filter.kind, of_route(&overrides, filter))?,
            };
            match step {
                Step::Continue => {}
                Step::Reroute => {
                    *outcome = self.route(way.table, way.draw);
                    self.note_route(*outcome);
                }
                Step::Answered => return Ok(Progress::Answered),
                Step::Reply(reply) => {
                    Box::pin(self.reply(*reply, matched.as_ref(), downstream)).await?;
                    return Ok(Progress::Answered);
                }
            }
        }
        self.act(*outcome, downstream).await
    }

    pub(super) fn route<'t>(&self, table: Option<&'t ServedRoutes>, draw: u64) -> RouteOutcome<'t> {
        let view = self.request.view();
        let facts = self.request.facts(&view, &self.connection.info);
        table.map_or(RouteOutcome::NoHost, |served| served.table().route(&facts, draw))
    }

    /// Remembers where the request is going: the log tells it of refused requests too.
    pub(super) fn note_route(&mut self, outcome: RouteOutcome<'e>) {
        self.place = Place::of(&outcome);
        let Some(route) = matched(outcome) else { return };
        self.record.route.clone_from(&route.route.name);
        let view = self.request.view();
        let facts = self.request.facts(&view, &self.connection.info);
        let name = route.cluster(&facts);
        self.record.cluster = name.and_then(|name| self.snapshot.cluster(&name)).map(Arc::clone);
    }

    /// Takes the step of a filter that waits for nothing.
    fn step(
        &mut self,
        kind: &FilterKind,
        of_route: Option<&FilterSettings>,
    ) -> Result<Step, Failure> {
        match kind {
            FilterKind::PeerMetadata(step) => {
                let Request { head, edits, .. } = &mut *self.request;
                let sent = head.fields().get(Known::XEnvoyPeerMetadata);
                self.record.source = step.client(sent, &mut edits.fields);
            }
            FilterKind::Rbac(rbac) => {
                let view = self.request.view();
                let facts = self.request.facts(&view, &self.connection.info);
                if let Some((rbac, answer)) = rbac.ask(of_route, &Subject::Request(&facts)) {
                    filters::rbac::leave(rbac, &answer, &mut self.request.metadata);
                    filters::rbac::refusal(&answer.verdict)?;
                }
            }
            FilterKind::GrpcWeb => self.begin_web_call(),
            FilterKind::StatefulSession(session) => self.begin_session(session, of_route),
            // Taken where it can be waited, or do nothing here.
            FilterKind::Jwt(_)
            | FilterKind::Cors(_)
            | FilterKind::Authz(_)
            | FilterKind::Limit(_)
            | FilterKind::LocalLimit(_)
            | FilterKind::Login(_)
            | FilterKind::Admission(_)
            | FilterKind::Concurrency(_)
            | FilterKind::Credential(_)
            | FilterKind::Process(_)
            | FilterKind::Fault(_)
            | FilterKind::Forward(_)
            | FilterKind::Content(_)
            | FilterKind::Head(_)
            | FilterKind::OnDemand(_)
            | FilterKind::Missing
            | FilterKind::Alpn
            | FilterKind::Stats
            | FilterKind::Router
            | FilterKind::Other => {}
        }
        Ok(Step::Continue)
    }

    /// What a fault filter wants done to the request; a delay is noted at once.
    fn plan_fault(
        &mut self,
        step: &FaultStep,
        matched: Option<RouteMatchResult<'_>>,
        of_route: Option<&FilterSettings>,
    ) -> FaultPlan {
        let mut draw = || self.connection.draw();
        let view = self.request.view();
        let facts = self.request.facts(&view, &self.connection.info);
        let cluster = matched.and_then(|route| route.cluster(&facts));
        let cluster = cluster.as_deref().unwrap_or_default();
        let plan = step.plan(of_route, &facts, cluster, &mut draw);
        if plan.delay.is_some() {
            self.record.flags.insert(ResponseFlag::DelayInjected);
        }
        plan
    }

    /// What is left of a fault after its delay.
    fn end_fault(&mut self, plan: FaultPlan) -> Result<Step, Failure> {
        if let Some(failure) = plan.abort {
            return Err(failure);
        }
        if plan.response_rate.is_some() {
            let remembered = self.remembered.get_or_insert_default();
            remembered.response_rate = plan.response_rate;
            remembered.fault = plan.active;
        }
        Ok(Step::Continue)
    }

    fn check_token(
        &mut self,
        step: &filters::jwt::JwtStep,
        of_route: Option<&FilterSettings>,
    ) -> Result<Step, Failure> {
        let named = match of_route {
            Some(FilterSettings::JwtRequirement(name)) => Some(name.as_str()),
            Some(_) | None => None,
        };
        let view = self.request.view();
        let facts = self.request.facts(&view, &self.connection.info);
        let (mut changes, checked) = step.check(&facts, named, &self.connection.worker);
        changes.keep(&mut self.request.metadata);
        checked?;
        let edits = &mut self.request.edits;
        for name in &changes.remove_headers {
            if let Ok(name) = iako_http::FieldName::parse(name.as_bytes()) {
                edits.fields.remove(name);
            }
        }
        for (name, value) in changes.set_headers {
            mutations::set(&mut edits.fields, &name, value);
        }
        if let Some(target) = changes.path_and_query {
            edits.path = Some(target.into());
        }
        Ok(if changes.clear_route_cache { Step::Reroute } else { Step::Continue })
    }

    fn ask_cors(
        &mut self,
        stats: &CorsStats,
        filter: &str,
        route: Option<&RouteMatchResult<'_>>,
    ) -> Step {
        let view = self.request.view();
        let facts = self.request.facts(&view, &self.connection.info);
        match stats.ask(filter, route, &facts, self.connection.draw()) {
            Cors::Pass => Step::Continue,
            Cors::Reply(reply) => Step::Reply(Box::new(reply)),
            Cors::Annotate(fields) => {
                self.annotations.extend(fields);
                Step::Continue
            }
        }
    }

    /// Does what the route says.
    async fn act(
        &mut self,
        outcome: RouteOutcome<'_>,
        downstream: &mut Downstream<'_>,
    ) -> Result<Progress, Failure> {
        let route = match outcome {
            RouteOutcome::NoHost | RouteOutcome::NoRoute(_) => {
                self.service.stats.routed.inc();
                self.service.stats.no_route.inc();
                return Err(Failure::NoRoute);
            }
            RouteOutcome::TlsRequired(_) => {
                let view = self.request.view();
                let facts = self.request.facts(&view, &self.connection.info);
                let location = FieldValue::sanitized(https_location(&facts.head));
                self.service.stats.count_direct();
                let reply = Reply::new(301, "direct_response");
                let reply = reply.with_field(Known::Location, location);
                self.reply(reply, None, downstream).await?;
                return Ok(Progress::Answered);
            }
            RouteOutcome::Matched(route) => route,
        };
        let reply = match &route.route.action {
            Action::Forward(action) => {
                return self.forward(&route, action, downstream).await;
            }
            Action::Redirect(redirect) => {
                self.service.stats.count_direct();
                let view = self.request.view();
                let facts = self.request.facts(&view, &self.connection.info);
                let formatted = if let Some(RedirectPath::Format(format)) = &redirect.path {
                    Some(self.formatted(format, mutations::Absent::Empty))
                } else {
                    None
                };
                let location = route.redirect_location(redirect, &facts.head, formatted.as_deref());
                self.request.note_redirect(redirect, &location);
                Reply::new(redirect.status, "direct_response")
                    .with_field(Known::Location, FieldValue::sanitized(location))
            }
            Action::Respond(respond) => {
                self.service.stats.count_direct();
                self.direct_response(&route, respond)
            }
        };
        Box::pin(self.reply(reply, Some(&route), downstream)).await?;
        Ok(Progress::Answered)
    }

    /// Waits, unless the client goes or a deadline passes.
    pub(super) async fn pause(
        &mut self,
        duration: Duration,
        downstream: &mut Downstream<'_>,
    ) -> Result<(), Failure> {
        let mut sleep = Box::pin(tokio::time::sleep(duration));
        poll_fn(|context| {
            if sleep.as_mut().poll(context).is_ready() {
                return Poll::Ready(Ok(()));
            }
            self.poll_interrupted(context, downstream).map(Err)
        })
        .await
    }

    /// Ready when the exchange cannot go on: the client is gone, or a deadline has passed.
    pub(super) fn poll_interrupted(
        &mut self,
        context: &mut Context<'_>,
        downstream: &mut Downstream<'_>,
    ) -> Poll<Failure> {
        if let Poll::Ready(expired) = self.poll_deadline(context) {
            return Poll::Ready(expired.failure());
        }
        downstream.poll_gone(context).map(Failure::Client)
    }
}

/// Whether a request begins anew, from here.
const fn goes_on(ended: &Result<Progress, Failure>) -> bool {
    matches!(ended, Ok(Progress::Redirected | Progress::Renewed) | Err(Failure::Elsewhere))
}

fn matched(outcome: RouteOutcome<'_>) -> Option<RouteMatchResult<'_>> {
    match outcome {
        RouteOutcome::Matched(route) => Some(route),
        RouteOutcome::NoHost | RouteOutcome::NoRoute(_) | RouteOutcome::TlsRequired(_) => None,
    }
}

/// Settings of the route for a filter.
fn of_route<'t>(
    overrides: &Option<EffectiveOverrides<'t>>,
    filter: &Filter,
) -> Option<&'t FilterSettings> {
    overrides.as_ref()?.settings(&filter.name)
}
