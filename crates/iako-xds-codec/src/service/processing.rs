//! `envoy.service.ext_proc.v3.ExternalProcessor/Process`.

use std::time::Duration;

use iako_xds_api::envoy::config::core::v3 as core;
use iako_xds_api::envoy::extensions::filters::http::ext_proc::v3 as modes;
use iako_xds_api::envoy::service::ext_proc::v3 as pb;
use prost::Message as _;

use super::{headers, value};
use crate::encode::processing_mode;
use iako_proxy_config::{
    AskedHeader, BodyMode, ImmediateReply, PartReply, ProcessAnswer, ProcessModes, ProcessPart,
    ProcessQuestion, ProcessReply, ProcessingMode,
};

/// Where requests are processed.
pub const METHOD: &str = "/envoy.service.ext_proc.v3.ExternalProcessor/Process";

/// Under this name the filter tells attributes.
const FILTER: &str = "envoy.filters.http.ext_proc";

/// A part as a `ProcessingRequest`.
#[must_use]
pub fn request(question: &ProcessQuestion<'_>) -> Vec<u8> {
    use pb::processing_request::Request;
    let request = match &question.part {
        ProcessPart::RequestHeaders(list, ends) => {
            Request::RequestHeaders(pb::HttpHeaders { end_of_stream: *ends, ..head(list) })
        }
        ProcessPart::ResponseHeaders(list, ends) => {
            Request::ResponseHeaders(pb::HttpHeaders { end_of_stream: *ends, ..head(list) })
        }
        ProcessPart::RequestBody(body, ends) => {
            Request::RequestBody(pb::HttpBody { end_of_stream: *ends, ..content(body) })
        }
        ProcessPart::ResponseBody(body, ends) => {
            Request::ResponseBody(pb::HttpBody { end_of_stream: *ends, ..content(body) })
        }
        ProcessPart::RequestTrailers(list) => Request::RequestTrailers(trailers(list)),
        ProcessPart::ResponseTrailers(list) => Request::ResponseTrailers(trailers(list)),
    };
    let told = question.metadata.iter();
    let told = told.map(|(name, fields)| ((*name).to_owned(), value::struct_of(fields)));
    let attributes = (!question.attributes.is_empty())
        .then(|| (FILTER.to_owned(), value::struct_of(&question.attributes)));
    let message = pb::ProcessingRequest {
        request: Some(request),
        metadata_context: Some(core::Metadata {
            filter_metadata: told.collect(),
            ..Default::default()
        }),
        attributes: attributes.into_iter().collect(),
        protocol_config: question.modes.map(|modes| {
            let ProcessModes { request_body, response_body, shows_body_early } = modes;
            let mode = ProcessingMode { request_body, response_body, ..ProcessingMode::default() };
            let mode = processing_mode(mode);
            pb::ProtocolConfiguration {
                request_body_mode: mode.request_body_mode,
                response_body_mode: mode.response_body_mode,
                send_body_without_waiting_for_header_response: shows_body_early,
            }
        }),
        observability_mode: question.only_watches,
        ..Default::default()
    };
    message.encode_to_vec()
}

fn head(list: &[AskedHeader<'_>]) -> pb::HttpHeaders {
    pb::HttpHeaders { headers: Some(map(list)), ..Default::default() }
}

fn trailers(list: &[AskedHeader<'_>]) -> pb::HttpTrailers {
    pb::HttpTrailers { trailers: Some(map(list)) }
}

fn map(list: &[AskedHeader<'_>]) -> core::HeaderMap {
    let header = |(name, value): &AskedHeader<'_>| core::HeaderValue {
        key: (*name).to_owned(),
        raw_value: value.to_vec().into(),
        ..Default::default()
    };
    core::HeaderMap { headers: list.iter().map(header).collect() }
}

fn content(body: &[u8]) -> pb::HttpBody {
    pb::HttpBody { body: body.to_vec().into(), ..Default::default() }
}

/// A `ProcessingResponse` as an answer; none when the bytes are none.
#[must_use]
pub fn answer(bytes: &[u8]) -> Option<ProcessAnswer> {
    use pb::processing_response::Response;
    let message = pb::ProcessingResponse::decode(bytes).ok()?;
    let reply = match message.response {
        Some(Response::RequestHeaders(reply)) => ProcessReply::RequestHeaders(part(reply.response)),
        Some(Response::ResponseHeaders(reply)) => {
            ProcessReply::ResponseHeaders(part(reply.response))
        }
        Some(Response::RequestBody(reply)) => ProcessReply::RequestBody(part(reply.response)),
        Some(Response::ResponseBody(reply)) => ProcessReply::ResponseBody(part(reply.response)),
        Some(Response::ImmediateResponse(reply)) => {
            let changes = reply.headers.unwrap_or_default();
            let status = reply.status.map_or(0, |status| status.code);
            ProcessReply::Immediate(Box::new(ImmediateReply {
                status: u32::try_from(status).unwrap_or(0),
                set: headers(&changes.set_headers),
                remove: changes.remove_headers,
                body: reply.body.to_vec(),
                grpc_status: reply.grpc_status.map(|status| status.status),
                details: reply.details,
            }))
        }
        Some(Response::RequestTrailers(reply)) => {
            ProcessReply::RequestTrailers(changed(reply.header_mutation))
        }
        Some(Response::ResponseTrailers(reply)) => {
            ProcessReply::ResponseTrailers(changed(reply.header_mutation))
        }
        Some(Response::StreamedImmediateResponse(_)) | None => ProcessReply::None,
    };
    let timeout = message.override_message_timeout.and_then(|it| {
        Some(Duration::new(u64::try_from(it.seconds).ok()?, u32::try_from(it.nanos).ok()?))
    });
    Some(ProcessAnswer {
        reply,
        metadata: message.dynamic_metadata.map(value::map_of).unwrap_or_default(),
        mode: message.mode_override.and_then(|mode| self::mode(&mode)),
        timeout,
    })
}

/// Changes of trailers.
fn changed(changes: Option<pb::HeaderMutation>) -> Box<PartReply> {
    let changes = changes.unwrap_or_default();
    Box::new(PartReply {
        set: headers(&changes.set_headers),
        remove: changes.remove_headers,
        ..PartReply::default()
    })
}

fn part(reply: Option<pb::CommonResponse>) -> Box<PartReply> {
    use pb::body_mutation::Mutation;
    let reply = reply.unwrap_or_default();
    let changes = reply.header_mutation.unwrap_or_default();
    let body = reply.body_mutation.and_then(|mutation| mutation.mutation);
    Box::new(PartReply {
        replaces: reply.status
            == i32::from(pb::common_response::ResponseStatus::ContinueAndReplace),
        set: headers(&changes.set_headers),
        remove: changes.remove_headers,
        body: match &body {
            Some(Mutation::Body(body)) => Some(body.to_vec()),
            Some(Mutation::ClearBody(true)) => Some(Vec::new()),
            Some(Mutation::ClearBody(false) | Mutation::StreamedResponse(_)) | None => None,
        },
        piece: match body {
            Some(Mutation::StreamedResponse(piece)) => {
                Some((piece.body.to_vec(), piece.end_of_stream))
            }
            Some(Mutation::Body(_) | Mutation::ClearBody(_)) | None => None,
        },
        clear_route: reply.clear_route_cache,
    })
}

/// A mode that the service asks for; none when it is one that this proxy does not have.
fn mode(config: &modes::ProcessingMode) -> Option<ProcessingMode> {
    use modes::processing_mode::{BodySendMode as Body, HeaderSendMode as Send};
    let sends = |value: i32| Some(!matches!(Send::try_from(value).ok()?, Send::Skip));
    let shows = |value: i32| Some(matches!(Send::try_from(value).ok()?, Send::Send));
    let body = |value: i32| match Body::try_from(value).ok()? {
        Body::None => Some(BodyMode::None),
        Body::Buffered => Some(BodyMode::Buffered),
        Body::BufferedPartial => Some(BodyMode::BufferedPartial),
        Body::Streamed => Some(BodyMode::Streamed),
        Body::FullDuplexStreamed => Some(BodyMode::Duplex),
        Body::Grpc => None,
    };
    Some(ProcessingMode {
        request_headers: sends(config.request_header_mode)?,
        response_headers: sends(config.response_header_mode)?,
        request_body: body(config.request_body_mode)?,
        response_body: body(config.response_body_mode)?,
        request_trailers: shows(config.request_trailer_mode)?,
        response_trailers: shows(config.response_trailer_mode)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_shown_with_its_end_and_an_answer_read() {
        let question = ProcessQuestion {
            part: ProcessPart::RequestHeaders(vec![("x-a", b"1")], true),
            metadata: Vec::new(),
            attributes: serde_json::Map::new(),
            modes: Some(ProcessModes {
                request_body: BodyMode::Buffered,
                response_body: BodyMode::None,
                shows_body_early: false,
            }),
            only_watches: false,
        };
        let sent = pb::ProcessingRequest::decode(request(&question).as_slice()).unwrap();
        assert_eq!(sent.protocol_config.unwrap().request_body_mode, 2);
        let Some(pb::processing_request::Request::RequestHeaders(head)) = sent.request else {
            panic!("no headers");
        };
        assert!(head.end_of_stream);
        assert_eq!(answer(&[0xff]), None);
        assert_eq!(answer(&[]).unwrap().reply, ProcessReply::None);
    }
}
