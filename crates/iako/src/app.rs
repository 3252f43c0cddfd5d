//! The small application that the demo and the tests run in their pods.
//!
//! It speaks plain HTTP, calls other services by their bare names through the proxy that its
//! environment names, and knows nothing of TLS, addresses of peers, retries or meshes.

mod client;
mod serve;

pub(crate) use client::{Answer, Client, ClientError};
pub(crate) use serve::{App, Call, serve};
