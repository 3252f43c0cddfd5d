//! HTTP/2 (RFC 9113): rules by section, floods, flow control, and whole conversations in memory.

mod rig;

mod flow_control;
mod round_trip;
