//! Which route a request takes.

mod hash;
mod host;
mod internal_redirect;
mod path;
mod redirect;
mod result;
mod scope;
mod table;
mod timeout;

pub use hash::{
    RequestHash, of_ip as hash_of_ip, of_request as hash_of_request, of_text as hash_of_text,
};
pub use host::DomainMatch;
pub use internal_redirect::{RedirectHistory, RedirectTarget};
pub use redirect::{changed_location, https_location};
pub(crate) use result::cut_query;
pub use result::{EffectiveOverrides, HostChange, RouteMatchResult};
pub use scope::ScopeIndex;
pub use table::{ConsideredRoute, RouteOutcome, RouteTable, RouteTrace};
pub use timeout::{TimeoutRules, Timeouts};
