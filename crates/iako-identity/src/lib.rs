//! Who a workload is, how it proves it, and whom it believes.
//!
//! An [`Svid`] is a workload's own certificate chain and key; [`TrustBundles`] are the roots it
//! believes, one set for each trust domain; a [`PeerIdentity`] is what a verified peer turned out
//! to be. [`ServerTls`] and [`ClientTls`] describe one side of a TLS connection in values that
//! cannot contradict themselves and build the rustls configuration from them. [`IdentitySource`]
//! holds the workload's current identity and tells when it changed; [`keep_renewed`] replaces it
//! before it expires.
//!
//! Not here: issuing certificates (`iako-ca`), fetching them (`iako-xds`), sockets and handshakes
//! (`iako-proxy`), and reading Envoy's TLS messages (`iako-xds-codec`).
//!
//! Invariants: a peer is checked against the bundle of its own trust domain only, never against
//! the union; a certificate that names two identities is refused; nothing skips verification
//! unless [`Trust::Unverified`] or [`PeerRules`] ask for it; a session ticket is honoured only by the
//! configuration that issued it, unless its keys were given, and a resumed peer is checked again by
//! [`TlsServer::peer`] and [`TlsClient::peer`]; private keys never appear in `Debug` output.
//!
//! Start with [`ServerTls`]. Tested with certificates made on the spot and handshakes in memory.

#![warn(clippy::arithmetic_side_effects)]

mod bundle;
mod certificate;
mod known;
mod matcher;
mod ocsp;
mod peer;
mod renewal;
mod request;
mod source;
mod svid;
mod tls;
mod verifier;

pub mod fingerprint;

pub use bundle::{BundleError, TrustBundle, TrustBundles};
pub use certificate::{
    CertificateDescription, CertificateError, CertificateFacts, ExtendedKeyUsage, KeyUsage,
    TlsCertificate, certificates_from_pem, certificates_to_pem, describe,
};
pub use matcher::{NameExpression, SanKind, SanMatcher, TextMatcher};
pub use ocsp::{OcspError, Stapling};
pub use peer::{PeerError, PeerIdentity};
pub use renewal::{RenewalSettings, keep_renewed, renew_at, retry_after};
pub use request::{RequestError, SigningRequest};
pub use source::{Identity, IdentityError, IdentitySource, RenewalState};
pub use svid::{Svid, SvidError};
pub use tls::client::{ClientTls, TlsClient};
pub use tls::server::{ClientCertificate, Preference, ServerTls, TlsServer, UnnamedCertificate};
pub use tls::tickets::{ServerSessions, TicketSource};
pub use tls::{CipherSuites, KeyExchange, TlsError, TlsVersion, TlsVersions, provider};
pub use verifier::{PeerNames, PeerRules, RevocationLists, Trust};
