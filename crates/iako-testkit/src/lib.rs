//! Test peers at the edge of the network and fuzz entry points.
