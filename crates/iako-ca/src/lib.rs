//! Issues workload certificates and trust bundles, and the tokens by which workloads join.
//!
//! [`CertificateAuthority`] is the mesh's own root, kept in a directory, or an authority that the
//! user plugs in by files. It signs requests; whom a certificate names is decided by the caller
//! from who asked, never by the request. [`JoinTokens`] vouch for a service account before it has
//! a certificate.
//!
//! Not here: the gRPC service (`iako-control`), deciding who may ask (`iako-control`), using
//! certificates (`iako-identity`).
//!
//! Invariants: a root is made once and survives every restart, also when two processes start at
//! the same moment; own keys are files that only their owner can read, else they are refused; no
//! key and no token appears in `Debug` output. Time is an argument everywhere.
//!
//! Start with [`CertificateAuthority::open`].

mod authority;
mod files;
mod open;
mod token;

pub use authority::{CertificateAuthority, Issued, SignError};
pub use files::FileError;
pub use open::{CaError, ROOT_CERTIFICATE_FILE, ROOT_KEY_FILE};
pub use token::{JoinToken, JoinTokens, Joining, TOKEN_AUDIENCE, TOKEN_KEY_FILE, TokenError};
