//! Runs the control plane: sources, registry, xDS server, CA, telemetry aggregation, API.
