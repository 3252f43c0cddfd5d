//! What the tests of several crates share: frames of HTTP/2, written and read by hand, and the inputs
//! that fuzzers have kept.
//!
//! Not here: anything of the product, and nothing that the product uses. The differential suite has its
//! own on purpose: what it measures with is none of our code.
//!
//! Where to start: [`frames::frame`] writes one, [`frames::Frame`] is one that was read. The tests of
//! `iako-http` use them on a connection in memory, those of `iako-proxy` on sockets, as clients and as
//! servers.

pub mod corpus;
pub mod frames;
