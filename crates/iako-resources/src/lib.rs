//! Reads Kubernetes, Gateway API, Istio and `iako.io` documents into validated resources, with
//! diagnostics.
//!
//! A text becomes a tree of nodes that know their line and column ([`text`]); a document of the
//! tree becomes a [`Resource`] whose fields cannot be wrong, or diagnostics that say why not. One
//! bad object never takes down its neighbours, and every problem of a run is reported at once.
//!
//! Not here: what several objects mean together (`iako-registry`), what a proxy is told
//! (`iako-translate`), mistakes that need the whole mesh to be seen (`iako-analyze`).
//!
//! Start with [`read_text`] for one text and [`load_directory`] for a directory. The models are in
//! [`istio`] and [`kubernetes`]; every field of Istio's published schema that they do not have is
//! listed with its reason in the support table, which makes `docs/istio-support.md`.
//!
//! Invariants: an object with an error in it is not handed out; an object without one is. No field
//! is dropped in silence.

mod base64;
mod diagnostic;
mod document;
mod files;
pub mod fuzz;
pub mod gateway_api;
pub mod istio;
pub mod kubernetes;
mod meta;
mod origin;
pub mod own;
mod patch;
mod reader;
mod resource;
mod support;
pub mod text;

pub use diagnostic::{
    Code, Counterpart, Diagnostic, Example, ISTIO_MESSAGES, IstioMessage, Painter, Severity,
    codes_page, diagnostic_json, diagnostics_json, render,
};
pub use document::{Asked, ReadOptions, read_text};
pub use files::{
    FileContent, PassedOver, SourceFile, escaped_path, list_sources, load_directory, load_sources,
};
pub use istio::{
    Pattern, StringMatch, Visibility, authorization_policy::AuthorizationPolicy,
    destination_rule::DestinationRule, envoy_filter::EnvoyFilter, extension::TrafficExtension,
    gateway::Gateway, istio_operator::IstioOperator, mesh_config::MeshConfig,
    peer_authentication::PeerAuthentication, proxy_config::ProxyConfig,
    request_authentication::RequestAuthentication, service_entry::ServiceEntry,
    service_entry::WorkloadEntry, sidecar::Sidecar, telemetry::Telemetry,
    virtual_service::VirtualService, workload_group::WorkloadGroup,
};
pub use kubernetes::{
    config::{ConfigMap, Secret},
    endpoints::{EndpointSlice, Endpoints},
    pod::Pod,
    service::Service,
    workload::WorkloadTemplate,
};
pub use meta::{Kind, Labels, Object, ObjectMeta, ResourceKey, Timestamp, selects};
pub use origin::{Origin, Position, Span};
pub use own::{OwnDefinition, own_definitions, rate_limit::RateLimit};
pub use patch::{Change, Edit, Patch, TextEdit, apply_edits, locate, text_edits};
pub use resource::Resource;
pub use support::{Support, gateway_api_support_page, istio_support_page};
