//! Which instance takes a request.

mod balancer;
mod edf;
mod group;
mod idle;
mod maglev;
mod priority;
mod ring;
mod state;
mod view;

pub use balancer::{BalancedEndpoint, Balancer, Pick, PickRequest};
pub use idle::IdleLearning;
pub use state::{ActiveRequest, ClusterState, EndpointCounters, EndpointState};
