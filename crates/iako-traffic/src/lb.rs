//! Which instance takes a request.

mod aggregate;
mod balancer;
mod bounded;
mod client_weight;
mod deadlines;
mod edf;
mod group;
mod idle;
mod maglev;
mod measure;
mod pick;
mod priority;
mod ring;
mod state;
mod subset;
mod view;
mod zone;

pub use aggregate::{Capacity, member};
pub use balancer::{BalancedEndpoint, Balancer, Setting, Wants};
pub use idle::IdleLearning;
pub use pick::{Pick, PickNotes, PickRequest};
pub use state::{ActiveRequest, ClusterState, EndpointCounters, EndpointState, HostConnection};
pub use zone::Neighbourhood;
