//! Showing requests and responses to a service that changes them.
//!
//! A call lives as long as the exchange: the service is shown a part, and says what becomes of it
//! before the next one. A service that fails refuses the request, unless its settings pass it over.

mod response;
mod talk;

use std::sync::Arc;

use bytes::Bytes;
use iako_http::BodyLength;
use iako_proxy_config::{
    BodyMode, ExtProc, GrpcService, PartReply, ProcessAnswer, ProcessPart, ProcessQuestion,
    ProcessReply, ProcessedFact, ProcessingMode, RouteCacheAction,
};
use iako_telemetry::{Counter, StatsScope};
use iako_traffic::{EffectiveOverrides, MutationKind, MutationVerdict, may_mutate};
use iako_xds_codec::service::processing;
use serde_json::{Map, Value};

use crate::callout::grpc::GrpcStream;
use crate::http::content::Gathered;
use crate::http::downstream::{Content, Downstream};
use crate::http::error_response::Reply;
use crate::http::exchange::{Exchange, Step};
use crate::http::failure::Failure;
use crate::http::pump::KEPT_BYTES_MAX;

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

/// One exchange as a service sees it.
#[derive(Debug)]
pub(crate) struct Processing {
    step: Arc<ProcessStep>,
    service: GrpcService,
    mode: ProcessingMode,
    failure_allow: bool,
    request_facts: Vec<ProcessedFact>,
    response_facts: Vec<ProcessedFact>,
    forwarded: Vec<String>,
    received: Vec<String>,
    stream: Option<GrpcStream>,
    /// Nothing more is shown.
    is_over: bool,
    has_begun: bool,
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

impl Processing {
    fn new(step: &Arc<ProcessStep>, overrides: Option<&EffectiveOverrides<'_>>) -> Self {
        let settings = &step.settings;
        let all = overrides.map(|all| all.processing(&step.name)).unwrap_or_default();
        let levels = || all.iter().copied();
        let own = levels().find_map(|level| level.service.clone());
        let mut service = own.unwrap_or_else(|| settings.service.clone());
        service.metadata.extend(levels().flat_map(|level| level.metadata.clone()));
        // Answers have times of their own.
        service.timeout = None;
        let request = levels().map(|level| &level.request_attributes).find(|it| !it.is_empty());
        let response = levels().map(|level| &level.response_attributes).find(|it| !it.is_empty());
        let forwarded = levels().find_map(|level| level.forwarded_metadata.as_ref());
        let received = levels().find_map(|level| level.received_metadata.as_ref());
        Self {
            service,
            mode: levels().find_map(|level| level.mode).unwrap_or(settings.mode),
            failure_allow: levels()
                .find_map(|level| level.failure_allow)
                .unwrap_or(settings.failure_allow),
            request_facts: request.unwrap_or(&settings.request_attributes).clone(),
            response_facts: response.unwrap_or(&settings.response_attributes).clone(),
            forwarded: forwarded.unwrap_or(&settings.forwarded_metadata).clone(),
            received: received.unwrap_or(&settings.received_metadata).clone(),
            stream: None,
            is_over: false,
            has_begun: false,
            step: Arc::clone(step),
        }
    }

    /// Whether the service sees anything of a response.
    pub(super) fn sees_response(&self) -> bool {
        !self.is_over && (self.mode.response_headers || self.mode.response_body != BodyMode::None)
    }

    /// Ends the call.
    pub(super) fn close(&mut self) {
        self.is_over = true;
        if self.stream.take().is_some() {
            self.step.stats.streams_closed.inc();
        }
    }

    /// Takes over what the service wants to see from now on, where it may say so.
    fn change_mode(&mut self, answer: &ProcessAnswer) {
        let settings = &self.step.settings;
        let Some(wanted) = answer.mode.filter(|_| settings.allow_mode_override) else { return };
        let is_same = |allowed: &ProcessingMode| {
            ProcessingMode { request_headers: wanted.request_headers, ..*allowed } == wanted
        };
        if settings.override_modes.is_empty() || settings.override_modes.iter().any(is_same) {
            self.mode = wanted;
        }
    }

    /// The headers that the service sees.
    fn shown<'h>(&self, headers: &'h [(String, Vec<u8>)]) -> Vec<(&'h str, &'h [u8])> {
        let settings = &self.step.settings;
        let is_shown = |name: &str| {
            settings.shown.as_ref().is_none_or(|list| list.iter().any(|one| one.matches(name)))
                && !settings.hidden.iter().any(|one| one.matches(name))
        };
        let headers = headers.iter().filter(|(name, _)| is_shown(name));
        headers.map(|(name, value)| (name.as_str(), value.as_slice())).collect()
    }

    /// The changes of headers that may be made, in order; none when one that may not fails the
    /// message.
    fn changes(&self, reply: &PartReply) -> Result<HeaderChanges, &'static str> {
        let rules = &self.step.settings.rules;
        let mut changes = HeaderChanges::default();
        for name in &reply.remove {
            let name = name.to_ascii_lowercase();
            match may_mutate(Some(rules), MutationKind::Remove, &name) {
                MutationVerdict::Made => changes.remove.push(name),
                MutationVerdict::Left => self.step.stats.rejected_header_mutations.inc(),
                MutationVerdict::Fails => {
                    self.step.stats.rejected_header_mutations.inc();
                    return Err("header_mutation_remove_headers_failed");
                }
            }
        }
        for header in &reply.set {
            let name = header.name.to_ascii_lowercase();
            if name == "content-length" {
                let text = std::str::from_utf8(&header.value).ok();
                changes.length = text.and_then(|text| text.parse().ok());
                continue;
            }
            match may_mutate(Some(rules), MutationKind::Set, &name) {
                MutationVerdict::Made => {
                    // The old field says whether a value is added; Envoy looks at no other here.
                    let adds = header.named
                        && header.action == iako_proxy_config::AppendAction::AppendOrAdd;
                    changes.set.push((name, header.value.clone(), adds));
                }
                MutationVerdict::Left => self.step.stats.rejected_header_mutations.inc(),
                MutationVerdict::Fails => {
                    self.step.stats.rejected_header_mutations.inc();
                    return Err("header_mutation_set_headers_failed");
                }
            }
        }
        Ok(changes)
    }
}

/// Changes of headers.
#[derive(Debug, Default)]
struct HeaderChanges {
    remove: Vec<String>,
    /// Name, value, and whether it stands beside those of the name.
    set: Vec<(String, Vec<u8>, bool)>,
    /// The announced length of the content.
    length: Option<u64>,
}

/// Details of content that is not as long as its head says.
const MISMATCH: &str = "mismatch_between_content_length_and_the_length_of_the_mutated_body";

impl Exchange<'_> {
    /// Shows a request to the service of a filter.
    pub(in crate::http) async fn process_request(
        &mut self,
        step: &Arc<ProcessStep>,
        overrides: Option<&EffectiveOverrides<'_>>,
        downstream: &mut Downstream<'_>,
    ) -> Result<Step, Failure> {
        let mut processing = Processing::new(step, overrides);
        let mut reroutes = false;
        if processing.mode.request_headers {
            let ends = !self.may_gather();
            let message = {
                let headers = self.told_headers();
                let part = ProcessPart::RequestHeaders(processing.shown(&headers), ends);
                self.message(&mut processing, part, Side::Request)
            };
            match self.show(&mut processing, message, Asked::RequestHeaders, downstream).await? {
                Shown::Passed => {}
                Shown::Answer(reply) => return Ok(Step::Reply(reply)),
                Shown::Reply(reply) => {
                    match self.take_request_headers(&processing, &reply) {
                        Ok(rerouted) => reroutes = rerouted,
                        Err(details) => {
                            return Ok(Step::Reply(processing.refused(500, details)));
                        }
                    }
                    if reply.replaces {
                        if self.may_gather() {
                            // What the client says is read, so that its connection can go on.
                            self.gather_as_announced(KEPT_BYTES_MAX as u64, downstream).await?;
                        }
                        self.replace_content(reply.body.unwrap_or_default().into());
                        processing.mode.request_body = BodyMode::None;
                    }
                }
            }
        }
        let sees_body = !processing.is_over && processing.mode.request_body != BodyMode::None;
        if sees_body
            && self.may_gather()
            && let Some(reply) = self.show_content(&mut processing, downstream).await?
        {
            return Ok(Step::Reply(reply));
        }
        let said = self.said.get_or_insert_default();
        said.processing.push(processing);
        Ok(if reroutes { Step::Reroute } else { Step::Continue })
    }

    /// Changes the head of the request; whether the route is chosen again.
    fn take_request_headers(
        &mut self,
        processing: &Processing,
        reply: &PartReply,
    ) -> Result<bool, &'static str> {
        let changes = processing.changes(reply)?;
        self.change_head(changes);
        if reply.set.is_empty() && reply.remove.is_empty() {
            return Ok(false);
        }
        Ok(match processing.step.settings.route_cache {
            RouteCacheAction::AsTold => reply.clear_route,
            RouteCacheAction::Always => true,
            RouteCacheAction::Never => {
                if reply.clear_route {
                    processing.step.stats.clear_route_cache_disabled.inc();
                }
                false
            }
        })
    }

    fn change_head(&mut self, changes: HeaderChanges) {
        for name in changes.remove {
            if let Ok(name) = iako_http::FieldName::parse(name.as_bytes()) {
                self.request.edits.fields.remove(name);
            }
        }
        for (name, value, adds) in changes.set {
            if adds {
                self.request.add_field(&name, value);
            } else {
                self.request.set_field(&name, value);
            }
        }
    }

    /// The content becomes another one, of a length that is not announced.
    fn replace_content(&mut self, content: Bytes) {
        self.upload.replace_held(content, Gathered::Whole);
        self.said.get_or_insert_default().content = Some(Content::Streamed);
    }

    /// Shows the content of the request.
    async fn show_content(
        &mut self,
        processing: &mut Processing,
        downstream: &mut Downstream<'_>,
    ) -> Result<Option<Box<Reply>>, Failure> {
        let gathered = self.gather_as_announced(KEPT_BYTES_MAX as u64, downstream).await?;
        let is_partial = processing.mode.request_body == BodyMode::BufferedPartial;
        if gathered == Gathered::Beyond && !is_partial {
            processing.close();
            return Err(Failure::TooLarge);
        }
        if is_partial {
            self.said.get_or_insert_default().content = Some(Content::Streamed);
        }
        let content = self.upload.held();
        let part = ProcessPart::RequestBody(&content, gathered == Gathered::Whole);
        let message = self.message(processing, part, Side::Request);
        let reply = match self.show(processing, message, Asked::RequestBody, downstream).await? {
            Shown::Passed => return Ok(None),
            Shown::Answer(reply) => return Ok(Some(reply)),
            Shown::Reply(reply) => reply,
        };
        let changes = match processing.changes(&reply) {
            Ok(changes) => changes,
            Err(details) => return Ok(Some(processing.refused(500, details))),
        };
        let length = changes.length;
        self.change_head(changes);
        if let Some(body) = reply.body {
            let announced = match self.request.head.length() {
                BodyLength::Exact(announced) => Some(length.unwrap_or(announced)),
                BodyLength::Chunked
                | BodyLength::Empty
                | BodyLength::UntilClose
                | BodyLength::Tunnel => None,
            };
            if !is_partial && announced.is_some_and(|announced| announced != body.len() as u64) {
                return Ok(Some(processing.refused(500, MISMATCH)));
            }
            let content = match announced.filter(|_| !is_partial) {
                Some(length) => Content::Exact(length),
                None => Content::Streamed,
            };
            self.said.get_or_insert_default().content = Some(content);
            self.upload.replace_held(body.into(), gathered);
        }
        Ok(None)
    }

    /// A part as it is sent, with the facts that belong to it.
    fn message(
        &self,
        processing: &mut Processing,
        part: ProcessPart<'_>,
        side: Side<'_>,
    ) -> Vec<u8> {
        let facts = match &part {
            ProcessPart::RequestHeaders(..) => &processing.request_facts[..],
            ProcessPart::ResponseHeaders(..) => &processing.response_facts,
            ProcessPart::RequestBody(..) | ProcessPart::ResponseBody(..) => &[],
        };
        let told = self.request.metadata.iter();
        let metadata = told.filter(|(name, _)| processing.forwarded.iter().any(|own| own == name));
        let modes = (processing.mode.request_body, processing.mode.response_body);
        let question = ProcessQuestion {
            part,
            metadata: metadata.collect(),
            attributes: self.attributes(facts, side),
            modes: (!processing.has_begun).then_some(modes),
        };
        let message = processing::request(&question);
        processing.has_begun = true;
        message
    }

    fn attributes(&self, facts: &[ProcessedFact], side: Side<'_>) -> Map<String, Value> {
        let told = facts
            .iter()
            .filter_map(|fact| Some((fact.name().to_owned(), self.attribute(*fact, side)?)));
        told.collect()
    }

    fn attribute(&self, fact: ProcessedFact, side: Side<'_>) -> Option<Value> {
        let view = self.request.view();
        let head = self.request.head(&view);
        let info = &self.connection.info;
        let header = |name: &str| head.text(name).map(|text| Value::from(text.into_owned()));
        Some(match fact {
            ProcessedFact::Path => Value::from(head.path_and_query),
            ProcessedFact::UrlPath => Value::from(head.path()),
            ProcessedFact::Query => Value::from(head.query()),
            ProcessedFact::Host => Value::from(head.authority),
            ProcessedFact::Scheme => Value::from(head.scheme),
            ProcessedFact::Method => Value::from(head.method),
            ProcessedFact::Protocol => Value::from(self.request.head.version().as_str()),
            ProcessedFact::Id => header("x-request-id")?,
            ProcessedFact::UserAgent => header("user-agent")?,
            ProcessedFact::Referer => header("referer")?,
            ProcessedFact::Size => Value::from(self.upload.bytes),
            ProcessedFact::SourceAddress => Value::from(info.remote.to_string()),
            ProcessedFact::SourcePort => Value::from(info.remote.port()),
            ProcessedFact::DestinationAddress => Value::from(info.original_destination.to_string()),
            ProcessedFact::DestinationPort => Value::from(info.original_destination.port()),
            ProcessedFact::Mtls => Value::from(info.peer().is_some()),
            ProcessedFact::ServerName => Value::from(info.server_name.as_str()),
            ProcessedFact::Cluster => Value::from(&*self.record.cluster.as_ref()?.name),
            ProcessedFact::Route => Value::from(self.record.route.as_str()),
            ProcessedFact::Code => match side {
                Side::Request => return None,
                Side::Response(head) => Value::from(head.status()),
            },
        })
    }

    /// Shows a part and waits for what the service says.
    async fn show(
        &mut self,
        processing: &mut Processing,
        message: Vec<u8>,
        asked: Asked,
        downstream: &mut Downstream<'_>,
    ) -> Result<Shown, Failure> {
        let worker = std::rc::Rc::clone(&self.connection.worker);
        let talking = Box::pin(talk::talk(&worker, processing, &message));
        let answer = self.while_waiting(talking, downstream).await?;
        let answer = match answer {
            Ok(answer) => answer,
            Err(failure) => return Ok(processing.failed(&failure)),
        };
        for (name, kept) in &answer.metadata {
            let is_wanted = processing.received.contains(name);
            for (key, value) in kept.as_object().into_iter().flatten().filter(|_| is_wanted) {
                self.request.metadata.set(name, key, value.clone());
            }
        }
        processing.change_mode(&answer);
        Ok(match (asked, answer.reply) {
            (_, ProcessReply::Immediate(reply)) => processing.immediate(&reply),
            (Asked::RequestHeaders, ProcessReply::RequestHeaders(reply))
            | (Asked::RequestBody, ProcessReply::RequestBody(reply))
            | (Asked::ResponseHeaders, ProcessReply::ResponseHeaders(reply))
            | (Asked::ResponseBody, ProcessReply::ResponseBody(reply)) => {
                processing.step.stats.stream_msgs_received.inc();
                Shown::Reply(reply)
            }
            (
                _,
                ProcessReply::None
                | ProcessReply::RequestHeaders(_)
                | ProcessReply::RequestBody(_)
                | ProcessReply::ResponseHeaders(_)
                | ProcessReply::ResponseBody(_),
            ) => processing.spurious("spurious_message"),
        })
    }
}

/// Which part was shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    RequestHeaders,
    RequestBody,
    ResponseHeaders,
    ResponseBody,
}

/// What facts can be told of.
#[derive(Debug, Clone, Copy)]
enum Side<'r> {
    Request,
    Response(&'r iako_http::ResponseHead),
}
