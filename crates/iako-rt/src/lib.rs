//! The only door to time, network, randomness and tasks.
