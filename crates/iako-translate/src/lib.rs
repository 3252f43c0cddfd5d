//! Plans one proxy's configuration from a snapshot (pure).
