//! The words that both planes share: identities, hosts, ports, protocols, bounded numbers.
//!
//! Every type here is a value that cannot be wrong: it is made by parsing, and there is no other
//! way to make it. Nothing here reads a file, a clock or a socket, and no wire format is known.
//!
//! Start with [`SpiffeId`], the name of a workload, and [`Hostname`], the name of a service.

mod host;
mod identity;
mod locality;
mod number;
mod protocol;

pub use host::{HostError, HostPattern, Hostname};
pub use identity::{
    IdentityError, Namespace, ServiceAccount, SpiffeId, TrustDomain, WorkloadIdentity,
};
pub use locality::Locality;
pub use number::{Fraction, FractionDenominator, Percent, PercentError, Weight};
pub use protocol::AppProtocol;

/// An address range, in CIDR form. Source: RFC 4632, `envoy.config.core.v3.CidrRange`.
pub use ipnet::IpNet as CidrRange;
