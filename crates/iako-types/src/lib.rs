//! The words both planes share: identities, hosts, ports, protocols, bounded numbers.
