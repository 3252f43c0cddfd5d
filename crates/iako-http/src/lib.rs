//! HTTP/1.1 as a state machine without I/O: bytes in, events out; strict against smuggling and floods.
