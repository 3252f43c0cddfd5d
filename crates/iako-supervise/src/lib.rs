//! Runs an application beside its sidecar: start order, readiness, drain, exit codes; local pods for `iako up`.
