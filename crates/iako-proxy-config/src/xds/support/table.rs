//! The table itself, by theme.

mod bootstrap;
mod cluster;
mod filter;
mod http;
mod lb;
mod listener;
mod route;
mod shared;
mod tls;

use super::MessageSupport;

/// What happens to every field of every message that we read.
pub(crate) const TABLE: &[&[MessageSupport]] = &[
    bootstrap::MESSAGES,
    listener::MESSAGES,
    http::MESSAGES,
    filter::MESSAGES,
    route::MESSAGES,
    cluster::MESSAGES,
    lb::MESSAGES,
    tls::MESSAGES,
    shared::MESSAGES,
];
