//! HTTP/2 connections, towards clients and towards servers: what both have in common.
//!
//! A connection is one task, the [`Driver`]: it reads once a readable event, hands what came to the
//! streams, and writes everything that is queued in one system call. A stream is used by another
//! task of the same worker through a [`StreamHandle`]: both reach the connection's state in the
//! [`Link`], which nobody holds over an `await`. A stream that queues something wakes the driver
//! once; the driver then runs after all streams that were woken with it, so that their frames share
//! one write.
//!
//! Bounds: what a peer may send ahead is bounded by the windows of `iako_http::h2`, which grow with
//! use and shrink when the connections of a worker hold more than [`pressure::HELD_BYTES_MAX`]; what
//! waits to be written by the output of `iako_http::h2` (256 KiB a connection) and by
//! [`queue_bytes_max`](crate::http::wire::queue_bytes_max) for each stream, which shrinks when the
//! streams of a worker queue more than [`pressure::QUEUED_BYTES_MAX`]; frames by
//! `iako_http::h2::H2Limits`.
//!
//! Start at [`Driver::poll_turn`]. Which code becomes what is in [`codes`].

pub(crate) mod codes;
mod drive;
mod keepalive;
pub(crate) mod limits;
mod link;
pub(crate) mod pressure;
mod proof;
mod slot;
mod stats;
mod stream;

pub(crate) use drive::{Driver, Listen, REST_AFTER};
pub(crate) use keepalive::Keepalive;
pub(crate) use link::{Ending, Link, Lost, StreamPlace};
pub(crate) use stats::Http2Stats;
pub(crate) use stream::{Side, StreamHandle};
