//! Checks by a call of `grpc.health.v1.Health/Check`.

use std::{future::poll_fn, sync::Arc};

use bytes::BytesMut;
use iako_http::{BodyEvent, BodyLength, Fields, Method, ResponseHead, Version};
use iako_proxy_config::{Endpoint, GrpcCheck, HealthCheck};

use super::check::{Checker, Heard, Unheard, host};
use super::http::{change, head, send};
use crate::{
    http::{downstream::Content, grpc},
    snapshot::UpstreamCluster,
    upstream::Upstream,
};

const PATH: &str = "/grpc.health.v1.Health/Check";
/// Most bytes of an answer; a good one has seven.
const ANSWER_BYTES_MAX: usize = 4096;
/// `HealthCheckResponse.ServingStatus.SERVING`.
const SERVING: u64 = 1;

/// Makes one check.
pub(super) async fn ask(
    checker: &mut Checker,
    cluster: &Arc<UpstreamCluster>,
    check: &HealthCheck,
    asked: &GrpcCheck,
    endpoint: &Endpoint,
) -> Result<Heard, Unheard> {
    let mut speaking = checker.speak(cluster, check, endpoint, Version::Http2).await?;
    let message = request(&asked.service);
    let mut fields: Vec<(String, String)> =
        [("content-type", "application/grpc"), ("te", "trailers"), ("user-agent", "Envoy/HC")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into();
    fields.push(("grpc-timeout".to_owned(), format!("{}m", check.timeout.as_millis())));
    change(&mut fields, &asked.metadata);
    let place = (host(cluster, &asked.authority, endpoint), PATH);
    let head = head(cluster, endpoint, Method::Post, place, (&fields, BodyLength::Chunked));
    let upstream = &mut speaking.upstream;
    send(upstream, &head, (Content::Streamed, &message)).await?;
    let response = poll_fn(|context| upstream.poll_final_head(context)).await?;
    let is_well = read(upstream, &response).await?;
    if let Some(kept) = speaking.done() {
        checker.keep(check, kept);
    }
    Ok(if is_well {
        Heard::Well { degraded: false }
    } else {
        Heard::Unwell { retriable: false, status: None }
    })
}

/// Reads the answer to its end: whether it is a good one.
async fn read(upstream: &mut Upstream, response: &ResponseHead) -> Result<bool, Unheard> {
    let mut message = BytesMut::new();
    let mut status = grpc::status(response.fields());
    loop {
        match poll_fn(|context| upstream.poll_body(context)).await? {
            BodyEvent::Data(data) if message.len() + data.len() <= ANSWER_BYTES_MAX => {
                message.extend_from_slice(&data);
            }
            BodyEvent::Data(_) => return Err(Unheard),
            BodyEvent::Trailers(trailers) => status = grpc_status(&trailers).or(status),
            BodyEvent::End => break,
        }
    }
    Ok(response.status() == 200 && status == Some(0) && serving_status(&message) == Some(SERVING))
}

fn grpc_status(trailers: &Fields) -> Option<u16> {
    grpc::status(trailers)
}

/// `HealthCheckRequest { service }`, as one gRPC message.
fn request(service: &str) -> Vec<u8> {
    let mut message = Vec::new();
    if !service.is_empty() {
        message.push(1 << 3 | 2);
        let mut length = service.len();
        while length >= 0x80 {
            message.push(u8::try_from(length & 0x7f).unwrap_or_default() | 0x80);
            length >>= 7;
        }
        message.push(u8::try_from(length).unwrap_or_default());
        message.extend_from_slice(service.as_bytes());
    }
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    let mut framed = vec![0];
    framed.extend_from_slice(&length.to_be_bytes());
    framed.extend_from_slice(&message);
    framed
}

/// `HealthCheckResponse.status` of one gRPC message; 0 when it is left out, none when it is broken.
fn serving_status(framed: &[u8]) -> Option<u64> {
    let (&[0, a, b, c, d], message) = framed.split_first_chunk::<5>()? else { return None };
    let length = usize::try_from(u32::from_be_bytes([a, b, c, d])).ok()?;
    let mut message = message.get(..length)?;
    let mut status = 0;
    while !message.is_empty() {
        let key = varint(&mut message)?;
        match (key >> 3, key & 7) {
            (1, 0) => status = varint(&mut message)?,
            (_, 0) => drop(varint(&mut message)?),
            (_, 2) => {
                let length = usize::try_from(varint(&mut message)?).ok()?;
                message = message.get(length..)?;
            }
            (_, 1) => message = message.get(8..)?,
            (_, 5) => message = message.get(4..)?,
            _ => return None,
        }
    }
    Some(status)
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_question_and_the_answer_are_those_of_the_schema() {
        assert_eq!(request(""), [0, 0, 0, 0, 0]);
        assert_eq!(request("ab"), [0, 0, 0, 0, 4, 10, 2, b'a', b'b']);
        assert_eq!(request(&"x".repeat(200)).get(..8).unwrap(), [0, 0, 0, 0, 203, 10, 200, 1]);
        assert_eq!(serving_status(&[0, 0, 0, 0, 2, 8, 1]), Some(SERVING));
        assert_eq!(serving_status(&[0, 0, 0, 0, 2, 8, 2]), Some(2));
        assert_eq!(serving_status(&[0, 0, 0, 0, 0]), Some(0));
        assert_eq!(serving_status(&[0, 0, 0, 0, 5, 18, 1, 9, 8, 1]), Some(SERVING));
        for broken in [&[][..], &[0, 0, 0, 0, 2, 8], &[1, 0, 0, 0, 2, 8, 1], &[0, 0, 0, 0, 1, 8]] {
            assert_eq!(serving_status(broken), None);
        }
    }
}
