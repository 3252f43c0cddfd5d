//! Reads Kubernetes, Gateway API, Istio and `iako.io` documents into validated resources, with diagnostics.
