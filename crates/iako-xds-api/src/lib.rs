//! Generated Envoy v3, xDS and Istio protobuf messages, in modules named as their packages:
//! `envoy.config.cluster.v3.Cluster` is [`envoy::config::cluster::v3::Cluster`].
//!
//! Only what a mesh needs is here: the roots are listed in `gen/roots.txt`, and everything they
//! import comes along. Some services have a client and a server, among them Envoy's aggregated discovery
//! service and Istio's certificate signing service; the list is in `gen/src/main.rs`.
//!
//! [`DESCRIPTORS_GZ`] holds the descriptors of the same files, for reading and writing proto3
//! JSON and YAML by reflection.
//!
//! What is **not** here: any hand-written line besides this page. Messages as sent are not
//! validated; `iako-xds-codec` turns them into values that cannot be wrong. How to regenerate:
//! the crate's `README.md`.
#![allow(
    missing_docs,
    deprecated,
    unreachable_pub,
    unused_qualifications,
    clippy::all,
    clippy::restriction,
    clippy::pedantic,
    clippy::nursery,
    rustdoc::all,
    reason = "generated code: the schemas decide its shape, and comments stay with them"
)]

include!("generated.rs");

/// A gzipped `google.protobuf.FileDescriptorSet` of every schema this crate was generated from,
/// the well-known types included; comments and custom options are stripped.
pub const DESCRIPTORS_GZ: &[u8] = include_bytes!("descriptors.bin.gz");
