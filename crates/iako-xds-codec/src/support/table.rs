//! The table itself, by theme.

mod attempt;
mod bootstrap;
mod callout;
mod cluster;
mod connection;
mod content;
mod credential;
mod discovery;
mod expression;
mod filter;
mod head;
mod health;
mod http;
mod http_client;
mod lb;
mod limiting;
mod listener;
mod log;
mod matching;
mod overload;
mod rate_limit;
mod request_step;
mod route;
mod shared;
mod tcp;
mod tls;
mod tracing;

use super::MessageSupport;

/// What happens to every field of every message that we read.
pub(crate) const TABLE: &[&[MessageSupport]] = &[
    bootstrap::MESSAGES,
    overload::MESSAGES,
    listener::MESSAGES,
    log::MESSAGES,
    connection::MESSAGES,
    http::MESSAGES,
    http_client::MESSAGES,
    matching::MESSAGES,
    expression::MESSAGES,
    expression::OLDER,
    expression::NEWER,
    filter::MESSAGES,
    content::MESSAGES,
    head::MESSAGES,
    request_step::MESSAGES,
    callout::MESSAGES,
    limiting::MESSAGES,
    credential::MESSAGES,
    health::MESSAGES,
    route::MESSAGES,
    rate_limit::MESSAGES,
    attempt::MESSAGES,
    cluster::MESSAGES,
    discovery::MESSAGES,
    lb::MESSAGES,
    tcp::MESSAGES,
    tls::MESSAGES,
    tracing::MESSAGES,
    shared::MESSAGES,
];
