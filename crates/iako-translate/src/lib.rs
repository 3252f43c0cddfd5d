//! Plans one proxy's configuration from a snapshot (pure).
//!
//! [`plan`] is a function of two values: what the mesh is ([`MeshSnapshot`]) and for whom the plan
//! is made ([`ProxyScope`]). The same values make the same plan, in the same order, so that a
//! comparison of two plans says what changed. The whole plan is made anew each time.
//!
//! Not here: reading documents (`iako-resources`), which object counts for which workload
//! (`iako_registry::select`), encoding and sending (`iako-xds-codec`, `iako-xds`), judging what
//! the user wrote (`iako-analyze`).
//!
//! Start with `plan.rs`; then [`ProxyScope`], the outbound side (`outbound.rs`, `route.rs`,
//! `cluster.rs`), the inbound side (`inbound.rs`, `authz.rs`, `jwt.rs`) and gateways
//! (`gateway.rs`). Behaviour follows Istio; names of clusters, listeners and routes are Istio's.
//!
//! Invariants: every route, virtual host and policy that stems from an object of the user's names
//! it with file and line; nothing that cannot be planned as written is planned as something wider.
//! Tested by golden plans in `testdata/`.

mod access_log;
mod authz;
mod cluster;
mod endpoint;
mod filters;
mod gateway;
mod inbound;
mod jwt;
mod names;
mod origin;
mod outbound;
mod outlook;
mod plan;
mod route;
mod scope;
mod text;

pub use iako_registry::MeshSnapshot;
pub use names::{inbound_cluster, outbound_cluster, parse_outbound_cluster};
pub use plan::{Plan, plan};
pub use scope::{Interception, PodPort, ProxyRole, ProxyScope, ScopeError};
