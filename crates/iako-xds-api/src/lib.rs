//! Generated Envoy v3, xDS and Istio protobuf; no hand-written line.
