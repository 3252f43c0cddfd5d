//! Kubernetes kinds: services, pods and what they are made of.

pub mod config;
pub mod endpoints;
pub mod pod;
pub mod service;
pub mod workload;
