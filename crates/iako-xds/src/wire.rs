//! Messages to and from their protobuf form.

use std::time::Duration;

use bytes::Bytes;
use iako_xds_api::{
    envoy::service::discovery::v3::{
        DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
        Resource as WireResource,
    },
    google::rpc::Status,
};
use prost::Message;
use prost_types::Any;

use crate::{
    DeltaRequest, IncomingResource, IncomingResponse, Node, Request, Resource, Response,
    StateRequest, TypeUrl, Version,
};

/// The type of a resource wrapped in a state-of-the-world response.
const WRAPPED: &str = "type.googleapis.com/envoy.service.discovery.v3.Resource";
/// `google.rpc.Code.INVALID_ARGUMENT`, what clients reject with.
const INVALID_ARGUMENT: i32 = 3;

/// A client's message with the node that it may carry.
#[derive(Debug)]
pub(crate) struct Heard {
    pub(crate) node: Option<Node>,
    pub(crate) request: Request,
}

pub(crate) fn delta_request(message: DeltaDiscoveryRequest) -> Heard {
    let request = DeltaRequest {
        subscribe: message.resource_names_subscribe,
        unsubscribe: message.resource_names_unsubscribe,
        initial_versions: message.initial_resource_versions.into_iter().collect(),
        nonce: message.response_nonce,
        error: message.error_detail.map(|error| error.message),
    };
    Heard { node: message.node, request: Request::Delta(message.type_url.into(), request) }
}

pub(crate) fn state_request(message: DiscoveryRequest) -> Heard {
    let request = StateRequest {
        version: message.version_info,
        names: message.resource_names,
        nonce: message.response_nonce,
        error: message.error_detail.map(|error| error.message),
    };
    Heard { node: message.node, request: Request::State(message.type_url.into(), request) }
}

pub(crate) fn delta_response(response: Response) -> DeltaDiscoveryResponse {
    let type_url = response.type_url.to_string();
    let resources = response.resources.into_iter().map(|resource| WireResource {
        name: resource.name.to_string(),
        version: resource.version.to_string(),
        resource: Some(any(&type_url, &resource.body)),
        ..WireResource::default()
    });
    DeltaDiscoveryResponse {
        system_version_info: response.version.to_string(),
        resources: resources.collect(),
        type_url,
        removed_resources: response.removed.iter().map(ToString::to_string).collect(),
        nonce: response.nonce,
        ..DeltaDiscoveryResponse::default()
    }
}

pub(crate) fn state_response(response: Response) -> DiscoveryResponse {
    let type_url = response.type_url.to_string();
    let resources = response.resources.iter().map(|resource| any(&type_url, &resource.body));
    DiscoveryResponse {
        version_info: response.version.to_string(),
        resources: resources.collect(),
        type_url,
        nonce: response.nonce,
        ..DiscoveryResponse::default()
    }
}

pub(crate) fn delta_message(heard: Heard) -> Option<DeltaDiscoveryRequest> {
    let Request::Delta(type_url, request) = heard.request else { return None };
    Some(DeltaDiscoveryRequest {
        node: heard.node,
        type_url: type_url.to_string(),
        resource_names_subscribe: request.subscribe,
        resource_names_unsubscribe: request.unsubscribe,
        initial_resource_versions: request.initial_versions.into_iter().collect(),
        response_nonce: request.nonce,
        error_detail: request.error.map(rejection),
        ..DeltaDiscoveryRequest::default()
    })
}

pub(crate) fn state_message(heard: Heard) -> Option<DiscoveryRequest> {
    let Request::State(type_url, request) = heard.request else { return None };
    Some(DiscoveryRequest {
        version_info: request.version,
        node: heard.node,
        resource_names: request.names,
        type_url: type_url.to_string(),
        response_nonce: request.nonce,
        error_detail: request.error.map(rejection),
        ..DiscoveryRequest::default()
    })
}

pub(crate) fn incoming_delta(message: DeltaDiscoveryResponse) -> IncomingResponse {
    let type_url = TypeUrl::from(message.type_url);
    let read = |wire: WireResource| unwrap(wire, &type_url);
    IncomingResponse {
        version: message.system_version_info,
        nonce: message.nonce,
        resources: message.resources.into_iter().map(read).collect(),
        removed: message.removed_resources,
        type_url,
    }
}

/// A state-of-the-world response as a client hears it; also what files hold.
#[must_use]
pub fn read_response(message: DiscoveryResponse) -> IncomingResponse {
    let type_url = TypeUrl::from(message.type_url);
    let read = |any: Any| {
        if any.type_url != WRAPPED {
            return named(any, &type_url);
        }
        let wire = WireResource::decode(any.value.as_slice());
        unwrap(
            wire.map_err(|error| format!("a wrapped resource is unreadable: {error}"))?,
            &type_url,
        )
    };
    IncomingResponse {
        version: message.version_info,
        nonce: message.nonce,
        resources: message.resources.into_iter().map(read).collect(),
        removed: Vec::new(),
        type_url,
    }
}

fn any(type_url: &str, body: &Bytes) -> Any {
    Any { type_url: type_url.to_owned(), value: body.to_vec() }
}

fn rejection(message: String) -> Status {
    Status { code: INVALID_ARGUMENT, message, ..Status::default() }
}

fn unwrap(wire: WireResource, type_url: &TypeUrl) -> Result<IncomingResource, String> {
    let ttl = ttl(wire.ttl);
    let Some(any) = wire.resource else {
        // A virtual host that was asked for by another name is told so not to exist.
        let is_answer = *type_url == TypeUrl::VIRTUAL_HOST && !wire.aliases.is_empty();
        if ttl.is_none() && !is_answer {
            return Err(format!("the resource {:?} has no content", wire.name));
        }
        // It only says that what it names is still good.
        let version = Version::from(wire.version.as_str());
        let resource = Resource { version, ..Resource::new(wire.name, Bytes::new()) };
        let aliases = wire.aliases;
        return Ok(IncomingResource { resource, aliases, ttl, is_heartbeat: true });
    };
    let mut incoming = named(any, type_url)?;
    incoming.ttl = ttl;
    if !wire.name.is_empty() {
        incoming.resource.name = wire.name.into();
    }
    if !wire.version.is_empty() {
        incoming.resource.version = wire.version.as_str().into();
    }
    incoming.aliases = wire.aliases;
    Ok(incoming)
}

/// How long a resource is good without another word; for ever when absent.
fn ttl(value: Option<prost_types::Duration>) -> Option<Duration> {
    value.and_then(|value| Duration::try_from(value).ok()).filter(|ttl| !ttl.is_zero())
}

/// Reads a resource of which only the message is known. In every type that xDS serves, the first
/// field is its name.
fn named(any: Any, type_url: &TypeUrl) -> Result<IncomingResource, String> {
    #[derive(Clone, PartialEq, Message)]
    struct Named {
        #[prost(string, tag = "1")]
        name: String,
    }
    if any.type_url != type_url.as_str() {
        return Err(format!("a resource is of type {}, not {type_url}", any.type_url));
    }
    let body = Bytes::from(any.value);
    let read = Named::decode(body.clone());
    let name = read.map_err(|error| format!("a resource is unreadable: {error}"))?.name;
    let resource = Resource::new(name, body);
    Ok(IncomingResource { resource, aliases: Vec::new(), ttl: None, is_heartbeat: false })
}
