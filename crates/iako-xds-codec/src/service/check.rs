//! `envoy.service.auth.v3.Authorization/Check`.

use std::collections::BTreeMap;
use std::time::UNIX_EPOCH;

use iako_xds_api::envoy::config::core::v3 as core;
use iako_xds_api::envoy::service::auth::v3 as pb;
use prost::Message as _;

use super::{headers, value};
use crate::encode::socket;
use iako_proxy_config::{
    CheckAnswer, CheckDetails, CheckPass, CheckPeer, CheckQuestion, CheckRefusal, CheckedRequest,
};

/// Where checks are called.
pub const METHOD: &str = "/envoy.service.auth.v3.Authorization/Check";

/// A question as a `CheckRequest`.
#[must_use]
pub fn request(question: &CheckQuestion<'_>) -> Vec<u8> {
    let told = question.metadata.iter();
    let told = told.map(|(name, fields)| ((*name).to_owned(), value::struct_of(fields)));
    let contexts = question.context.iter().copied().flatten();
    let attributes = pb::AttributeContext {
        source: Some(peer(&question.source)),
        destination: Some(peer(&question.destination)),
        request: question.request.as_ref().map(|request| pb::attribute_context::Request {
            time: question.time.and_then(|time| {
                let since = time.duration_since(UNIX_EPOCH).ok()?;
                Some(prost_types::Timestamp {
                    seconds: i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
                    nanos: i32::try_from(since.subsec_nanos()).unwrap_or(0),
                })
            }),
            http: Some(http(request)),
        }),
        context_extensions: contexts.map(|(key, value)| (key.clone(), value.clone())).collect(),
        metadata_context: Some(core::Metadata {
            filter_metadata: told.collect(),
            ..Default::default()
        }),
        route_metadata_context: question.request.as_ref().map(|_| core::Metadata::default()),
        tls_session: question
            .server_name
            .map(|sni| pb::attribute_context::TlsSession { sni: sni.to_owned() }),
    };
    pb::CheckRequest { attributes: Some(attributes) }.encode_to_vec()
}

fn peer(peer: &CheckPeer<'_>) -> pb::attribute_context::Peer {
    pb::attribute_context::Peer {
        address: peer.address.map(socket),
        service: peer.service.to_owned(),
        labels: peer.labels.clone(),
        principal: peer.principal.to_owned(),
        certificate: peer.certificate.clone(),
    }
}

fn http(request: &CheckedRequest<'_>) -> pb::attribute_context::HttpRequest {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (mut joined, mut listed) = (BTreeMap::<String, String>::new(), Vec::new());
    for (name, value) in &request.headers {
        if request.raw_headers {
            listed.push(core::HeaderValue {
                key: (*name).to_owned(),
                raw_value: value.to_vec().into(),
                ..Default::default()
            });
        } else if let Some(values) = joined.get_mut(*name) {
            values.push(',');
            values.push_str(&text(value));
        } else {
            joined.insert((*name).to_owned(), text(value));
        }
    }
    let (body, raw_body) = if request.body_as_bytes {
        (String::new(), bytes::Bytes::copy_from_slice(request.body))
    } else {
        (text(request.body), bytes::Bytes::new())
    };
    pb::attribute_context::HttpRequest {
        id: request.id.clone(),
        method: request.method.to_owned(),
        headers: joined,
        header_map: request.raw_headers.then_some(core::HeaderMap { headers: listed }),
        path: request.path.to_owned(),
        host: request.host.to_owned(),
        scheme: request.scheme.to_owned(),
        size: request.size,
        protocol: request.protocol.to_owned(),
        body,
        raw_body,
        ..Default::default()
    }
}

/// A `CheckResponse` as an answer; none when the bytes are none.
#[must_use]
pub fn answer(bytes: &[u8]) -> Option<CheckAnswer> {
    use pb::check_response::HttpResponse;
    let message = pb::CheckResponse::decode(bytes).ok()?;
    let (mut metadata, mut old_metadata) = (message.dynamic_metadata, None);
    let details = match message.http_response {
        None => CheckDetails::None,
        Some(HttpResponse::DeniedResponse(denied)) => {
            CheckDetails::Denied(Box::new(refusal(&denied)))
        }
        Some(HttpResponse::ErrorResponse(error)) => CheckDetails::Error(Box::new(refusal(&error))),
        Some(HttpResponse::OkResponse(pass)) => {
            old_metadata = pass.dynamic_metadata;
            let set = pass.query_parameters_to_set.into_iter();
            CheckDetails::Ok(Box::new(CheckPass {
                headers: headers(&pass.headers),
                remove: pass.headers_to_remove,
                response_headers: headers(&pass.response_headers_to_add),
                query_set: set.map(|one| (one.key, one.value)).collect(),
                query_remove: pass.query_parameters_to_remove,
            }))
        }
    };
    // Where it stood before it was told of refusals too.
    metadata = metadata.or(old_metadata);
    Some(CheckAnswer {
        // A status that is no number of gRPC lets nothing pass.
        status: message.status.map_or(0, |status| u32::try_from(status.code).unwrap_or(u32::MAX)),
        metadata: metadata.map(value::map_of).unwrap_or_default(),
        details,
    })
}

fn refusal(denied: &pb::DeniedHttpResponse) -> CheckRefusal {
    let status = denied.status.as_ref().map_or(0, |status| status.code);
    CheckRefusal {
        status: u32::try_from(status).unwrap_or(0),
        headers: headers(&denied.headers),
        body: denied.body.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_says_what_is_known_and_joins_headers_of_a_name() {
        let request = CheckedRequest {
            method: "GET",
            headers: vec![("x-a", b"1"), ("x-b", b"2"), ("x-a", b"3")],
            body: b"hello",
            ..Default::default()
        };
        let question = CheckQuestion { request: Some(request), ..Default::default() };
        let sent = pb::CheckRequest::decode(super::request(&question).as_slice()).unwrap();
        let http = sent.attributes.unwrap().request.unwrap().http.unwrap();
        assert_eq!(http.headers.get("x-a").unwrap(), "1,3");
        assert_eq!((http.method.as_str(), http.body.as_str()), ("GET", "hello"));
    }

    #[test]
    fn what_is_no_answer_is_none_and_a_broken_status_lets_nothing_pass() {
        assert_eq!(answer(&[0xff]), None);
        let status = iako_xds_api::google::rpc::Status { code: -1, ..Default::default() };
        let message = pb::CheckResponse { status: Some(status), ..Default::default() };
        assert_eq!(answer(&message.encode_to_vec()).unwrap().status, u32::MAX);
    }
}
