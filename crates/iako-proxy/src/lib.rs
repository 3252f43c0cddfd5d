//! Moves bytes: listeners, HTTP/1, HTTP/2, TCP, upstream connections.
//!
//! A proxy is a few workers, each one thread with a runtime of its own that carries a connection
//! from accept to close, and one configuration task that publishes immutable snapshots.
//! What to do with a connection or request is asked of `iako-traffic`; this crate does it.
//!
//! Not here: deciding (`iako-traffic`), what can be configured (`iako-proxy-config`), HTTP's bytes
//! (`iako-http`), certificates and their renewal (`iako-identity`), names of metrics
//! (`iako-telemetry`).
//!
//! Start with [`Proxy::start`]. One connection: `listener.rs` → `connection.rs` →
//! `http/exchange.rs` or `tcp/exchange.rs` → `upstream/pool.rs` → `transport/connect.rs`. One
//! change: `ads.rs` → `config_task.rs` → `snapshot.rs`.
//!
//! Invariants: a request sees one snapshot; a change of configuration closes no connection unless
//! its filter chain or address is gone, and then it drains; nothing on the path takes a lock that
//! another worker holds; every queue, buffer and pool has a bound; a panic ends one connection.
//!
//! Tested on loopback with whole proxies in one process (`tests/`).

mod access_log;
mod admin;
mod ads;
mod callout;
mod config_task;
mod connection;
mod dns;
mod drain;
mod environment;
mod health;
mod http;
mod http2;
mod limits;
mod listener;
mod load_report;
mod on_demand;
mod overload;
mod proxy;
mod restart;
mod shared;
mod snapshot;
mod sources;
mod spans;
mod tags;
mod tcp;
mod token;
mod transport;
mod udp;
mod upstream;
mod worker;

pub use ads::{ControlPlane, Dialling};
pub use config_task::ConfigError;
pub use connection::fuzz;
pub use drain::DrainStrategy;
pub use limits::limits_page;
pub use listener::socket::BindError;
pub use proxy::{LogLevelHook, Proxy, ProxyHandle, ProxySettings, StartError};
pub use restart::{HotRestart, MeetingPlace, RestartError};
