//! Showing requests and responses to a service that changes them.
//!
//! A call lives as long as the exchange: the service is shown a part, and says what becomes of it
//! before the next one, unless it only looks on. What is shown piece by piece is a step on the way of
//! the content ([`pass::ProcessPass`]). A service that fails refuses the request, unless its settings
//! pass it over.

mod attributes;
mod call;
mod changes;
pub(crate) mod pass;
mod request;
mod response;
mod talk;
mod watch;

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use iako_proxy_config::{
    BodyMode, ExtProc, PartReply, ProcessAnswer, ProcessModes, ProcessPart, ProcessQuestion,
    ProcessReply, ProcessedFact, ProcessingMode,
};
use iako_telemetry::{Counter, StatsScope};
use iako_traffic::EffectiveOverrides;
use iako_xds_codec::service::processing;
use serde_json::{Map, Value};

use self::attributes::Told;
use self::call::{Answers, ServiceCall, Way};
use self::changes::HeaderChanges;
use self::talk::{TalkFailure, Waiting};
use crate::http::error_response::Reply;
use crate::http::exchange::Exchange;
use crate::http::trace::CalloutName;

pub(crate) use response::Origin;
pub(crate) use watch::WATCHED_MAX;

/// A filter that shows requests to a service, compiled.
#[derive(Debug)]
pub(crate) struct ProcessStep {
    name: String,
    settings: Box<ExtProc>,
    stats: ProcessStats,
}

macro_rules! counters {
    ($($field:ident = $leaf:literal,)*) => {
        /// `http.<prefix>.ext_proc.…`.
        #[derive(Debug)]
        struct ProcessStats { $($field: Counter,)* }

        impl ProcessStats {
            fn new(scope: &StatsScope) -> Self {
                Self { $($field: scope.counter($leaf),)* }
            }
        }
    };
}

counters! {
    streams_started = "streams_started",
    stream_msgs_sent = "stream_msgs_sent",
    stream_msgs_received = "stream_msgs_received",
    streams_closed = "streams_closed",
    streams_failed = "streams_failed",
    failure_mode_allowed = "failure_mode_allowed",
    message_timeouts = "message_timeouts",
    spurious_msgs_received = "spurious_msgs_received",
    rejected_header_mutations = "rejected_header_mutations",
    override_message_timeout_received = "override_message_timeout_received",
    override_message_timeout_ignored = "override_message_timeout_ignored",
    clear_route_cache_disabled = "clear_route_cache_disabled",
    immediate_responses_sent = "immediate_responses_sent",
    server_half_closed = "server_half_closed",
}

impl ProcessStep {
    pub(crate) fn compile(name: &str, settings: &ExtProc, scope: &StatsScope) -> Self {
        let part = scope.part("ext_proc");
        let part = match settings.stat_prefix.as_str() {
            "" => part,
            prefix => part.part(prefix),
        };
        Self {
            name: name.to_owned(),
            settings: Box::new(settings.clone()),
            stats: ProcessStats::new(&part),
        }
    }
}

/// One exchange as a service sees it, which both ways of it share.
pub(crate) type Shared = Rc<RefCell<Processing>>;

/// One exchange as a service sees it.
#[derive(Debug)]
pub(crate) struct Processing {
    step: Arc<ProcessStep>,
    mode: ProcessingMode,
    failure_allow: bool,
    request_facts: Vec<ProcessedFact>,
    response_facts: Vec<ProcessedFact>,
    forwarded: Vec<String>,
    received: Vec<String>,
    call: ServiceCall,
    /// Nothing more is shown.
    is_over: bool,
    has_begun: bool,
    /// A head that waits for what is said of the content that came with it.
    held_head: Option<HeldHead>,
    /// What the client is answered: a failure amid content leaves it here.
    reply: Option<Box<Reply>>,
    /// Facts that answers amid content left.
    left: Vec<(String, Map<String, Value>)>,
}

/// A head that is still held.
#[derive(Debug, Default)]
struct HeldHead {
    /// The length of the content that it announces.
    announced: Option<u64>,
    changes: Vec<HeaderChanges>,
}

/// What came of showing a part.
enum Shown {
    /// It goes on with what the service said.
    Reply(Box<PartReply>),
    /// It goes on as it is; nobody is asked any more.
    Passed,
    /// The client is answered.
    Answer(Box<Reply>),
}

/// Which part was shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    RequestHeaders,
    RequestBody,
    ResponseHeaders,
    ResponseBody,
}

/// A part that is shown.
struct Question {
    asked: Asked,
    message: Vec<u8>,
}

/// Whether a head was shown before what follows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Head {
    Shown,
    Skipped,
}

impl Head {
    const fn of(mode_shows: &ProcessingMode, way: Way) -> Self {
        let shows = match way {
            Way::Request => mode_shows.request_headers,
            Way::Response => mode_shows.response_headers,
        };
        if shows { Self::Shown } else { Self::Skipped }
    }
}

/// Details of content that is not as long as its head says.
const MISMATCH: &str = "mismatch_between_content_length_and_the_length_of_the_mutated_body";

impl Processing {
    fn new(
        step: &Arc<ProcessStep>,
        overrides: Option<&EffectiveOverrides<'_>>,
        exchange: &Exchange<'_>,
    ) -> Self {
        let settings = &step.settings;
        let all = overrides.map(|all| all.processing(&step.name)).unwrap_or_default();
        let levels = || all.iter().copied();
        let own = levels().find_map(|level| level.service.clone());
        let mut service = own.unwrap_or_else(|| settings.service.clone());
        service.metadata.extend(levels().flat_map(|level| level.metadata.clone()));
        // Answers have times of their own.
        service.timeout = None;
        let span = exchange.callout_span(CalloutName::grpc(&service, processing::METHOD));
        let request = levels().map(|level| &level.request_attributes).find(|it| !it.is_empty());
        let response = levels().map(|level| &level.response_attributes).find(|it| !it.is_empty());
        let forwarded = levels().find_map(|level| level.forwarded_metadata.as_ref());
        let received = levels().find_map(|level| level.received_metadata.as_ref());
        Self {
            mode: levels().find_map(|level| level.mode).unwrap_or(settings.mode),
            failure_allow: levels()
                .find_map(|level| level.failure_allow)
                .unwrap_or(settings.failure_allow),
            request_facts: request.unwrap_or(&settings.request_attributes).clone(),
            response_facts: response.unwrap_or(&settings.response_attributes).clone(),
            forwarded: forwarded.unwrap_or(&settings.forwarded_metadata).clone(),
            received: received.unwrap_or(&settings.received_metadata).clone(),
            call: ServiceCall::new(&exchange.connection.worker, service, span),
            is_over: false,
            has_begun: false,
            held_head: None,
            reply: None,
            left: Vec::new(),
            step: Arc::clone(step),
        }
    }

    /// Whether the service sees anything of a response.
    pub(super) fn sees_response(&self) -> bool {
        let mode = &self.mode;
        let sees =
            mode.response_headers || mode.response_trailers || mode.response_body != BodyMode::None;
        sees && !self.is_over
    }

    /// Whether it only looks on.
    fn watches(&self) -> bool {
        self.step.settings.only_watches.is_some()
    }

    /// Whether content is shown before its head was answered.
    fn shows_early(&self, body: BodyMode) -> bool {
        match body {
            BodyMode::Duplex => true,
            BodyMode::Streamed => self.step.settings.shows_body_early,
            BodyMode::None | BodyMode::Buffered | BodyMode::BufferedPartial => false,
        }
    }

    /// How content of one way is shown, and whether its trailers are.
    fn mode_of(&self, way: Way) -> (BodyMode, bool) {
        match way {
            Way::Request => (self.mode.request_body, self.mode.request_trailers),
            Way::Response => (self.mode.response_body, self.mode.response_trailers),
        }
    }

    /// Whether something is shown while it passes.
    fn shows_passing(&self, way: Way) -> bool {
        let (body, trailers) = self.mode_of(way);
        (trailers || body.is_in_pieces()) && !self.is_over
    }

    /// Ends the call.
    pub(super) fn close(&mut self) {
        self.is_over = true;
        if self.call.close() {
            self.step.stats.streams_closed.inc();
        }
    }

    /// What the client is answered after a failure amid content.
    pub(super) fn take_reply(&mut self) -> Option<Box<Reply>> {
        self.reply.take()
    }

    /// Facts that answers amid content left.
    pub(super) fn take_left(&mut self) -> Vec<(String, Map<String, Value>)> {
        std::mem::take(&mut self.left)
    }

    /// Keeps the facts of an answer that it may leave.
    fn leave(&mut self, answer: &ProcessAnswer) {
        for (name, kept) in &answer.metadata {
            if self.received.contains(name)
                && let Some(kept) = kept.as_object()
            {
                self.left.push((name.clone(), kept.clone()));
            }
        }
    }

    /// Takes over what the service wants to see from now on, where it may say so.
    fn change_mode(&mut self, answer: &ProcessAnswer) {
        let settings = &self.step.settings;
        let may = settings.allow_mode_override && !settings.shows_body_early;
        let Some(wanted) = answer.mode.filter(|_| may) else { return };
        let is_same = |allowed: &ProcessingMode| {
            ProcessingMode { request_headers: wanted.request_headers, ..*allowed } == wanted
        };
        if settings.override_modes.is_empty() || settings.override_modes.iter().any(is_same) {
            self.mode = wanted;
        }
    }

    /// A part as it is sent.
    fn message(
        &mut self,
        part: ProcessPart<'_>,
        told: &Told,
        attributes: Map<String, Value>,
    ) -> Vec<u8> {
        let modes = ProcessModes {
            request_body: self.mode.request_body,
            response_body: self.mode.response_body,
            shows_body_early: self.step.settings.shows_body_early,
        };
        let question = ProcessQuestion {
            part,
            metadata: told.iter().map(|(name, fields)| (name.as_str(), fields)).collect(),
            attributes,
            modes: (!self.has_begun && !self.watches()).then_some(modes),
            only_watches: self.watches(),
        };
        self.has_begun = true;
        processing::request(&question)
    }

    fn send(&mut self, message: Vec<u8>, way: Way) -> Result<(), TalkFailure> {
        let (body, _) = self.mode_of(way);
        let answers = if body == BodyMode::Duplex { Answers::Any } else { Answers::One };
        self.call.expect(way, answers);
        self.call.send(message, &self.step)
    }

    /// Bytes that wait to be sent to the service.
    fn queued(&mut self) -> usize {
        self.call.queued()
    }

    /// A wait for the next answer.
    fn waiting(&self) -> Waiting {
        Waiting::new(self.step.settings.message_timeout)
    }

    fn poll_answer(
        &mut self,
        context: &mut Context<'_>,
        way: Way,
    ) -> Poll<Result<ProcessAnswer, TalkFailure>> {
        self.call.poll_answer(context, way, &self.step)
    }

    /// What an answer to a head or to whole content means.
    fn answered(&mut self, asked: Asked, answer: Result<ProcessAnswer, TalkFailure>) -> Shown {
        let answer = match answer {
            Ok(answer) => answer,
            Err(failure) => return self.failed(&failure),
        };
        self.leave(&answer);
        if matches!(asked, Asked::RequestHeaders | Asked::ResponseHeaders) {
            self.change_mode(&answer);
        }
        match (asked, answer.reply) {
            (_, ProcessReply::Immediate(reply)) => self.immediate(&reply),
            (Asked::RequestHeaders, ProcessReply::RequestHeaders(reply))
            | (Asked::RequestBody, ProcessReply::RequestBody(reply))
            | (Asked::ResponseHeaders, ProcessReply::ResponseHeaders(reply))
            | (Asked::ResponseBody, ProcessReply::ResponseBody(reply)) => {
                self.step.stats.stream_msgs_received.inc();
                Shown::Reply(reply)
            }
            (
                _,
                ProcessReply::None
                | ProcessReply::RequestHeaders(_)
                | ProcessReply::RequestBody(_)
                | ProcessReply::RequestTrailers(_)
                | ProcessReply::ResponseHeaders(_)
                | ProcessReply::ResponseBody(_)
                | ProcessReply::ResponseTrailers(_),
            ) => self.spurious("spurious_message"),
        }
    }
}
