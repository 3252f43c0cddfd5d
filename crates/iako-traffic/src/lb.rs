//! Which instance takes a request.

mod balancer;
mod edf;
mod group;
mod maglev;
mod priority;
mod ring;
mod state;
mod view;

pub use balancer::{BalancedEndpoint, Balancer, Pick, PickRequest};
pub use state::{ActiveRequest, ClusterState, EndpointCounters, EndpointState};
