//! Issues workload certificates and trust bundles; keeps its own root.
