//! The model on the wire: Envoy's protobuf resources and bootstrap files, in and out.
//!
//! [`decode`] turns resources into values and refuses what we cannot honour, by the field's name;
//! [`encode`] turns values into resources; [`bootstrap`] reads files; [`to_json`] prints resources
//! for people. What happens to every field of every message stands in one table, which
//! [`support_page`] prints.
//!
//! Not here: the values (`iako-proxy-config`), the conversation that carries resources (`iako-xds`).

pub mod bootstrap;
pub mod carried;
pub mod decode;
mod discovery_file;
pub mod encode;
pub mod fuzz;
mod json;
mod pool;
mod problem;
pub mod service;
mod support;
mod text;

pub use decode::Decoded;
pub use discovery_file::discovery_response;
pub use json::to_json;
pub use pool::{message as message_descriptor, messages_of_package, pool, release_pool};
pub use problem::{FieldPath, Invalid, Step, Warning};
/// A resource as it was sent: the name of its type, and bytes that nobody has read.
pub use prost_types::Any as RawResource;
use support::check;
pub use support::support_page;

/// The type URLs of the resources that a proxy asks for.
pub mod type_url {
    /// Listeners (LDS).
    pub const LISTENER: &str = "type.googleapis.com/envoy.config.listener.v3.Listener";
    /// Route configurations (RDS).
    pub const ROUTE_CONFIGURATION: &str =
        "type.googleapis.com/envoy.config.route.v3.RouteConfiguration";
    /// Clusters (CDS).
    pub const CLUSTER: &str = "type.googleapis.com/envoy.config.cluster.v3.Cluster";
    /// Endpoints (EDS).
    pub const ENDPOINTS: &str =
        "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment";
    /// Secrets (SDS).
    pub const SECRET: &str = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret";
}
