//! Holds and checks SPIFFE identities: certificates, trust bundles, TLS settings that rotate.
