//! Both sides of a TLS connection, described and built.

pub(crate) mod client;
pub(crate) mod server;
pub(crate) mod tickets;

use std::{
    sync::{Arc, LazyLock},
    time::SystemTime,
};

use iako_rt::clock;
use rustls::{
    CipherSuite, SupportedCipherSuite, SupportedProtocolVersion,
    crypto::{
        CryptoProvider, SupportedKxGroup,
        aws_lc_rs::{self, kx_group},
    },
    time_provider::TimeProvider,
    version::{TLS12, TLS13},
};
use rustls_pki_types::{InvalidDnsNameError, UnixTime};

/// The crypto of every TLS connection: aws-lc-rs with X25519MLKEM768 as the first key exchange and
/// AES-128-GCM with SHA-256 as the first suite.
///
/// Passed to rustls explicitly, so that no process-wide default can change it.
#[must_use]
pub fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| {
        let mut provider = aws_lc_rs::default_provider();
        // A stable order: the others stay as they were, behind.
        provider.cipher_suites.sort_by_key(|suite| !is_light(suite.suite()));
        Arc::new(provider)
    });
    Arc::clone(&PROVIDER)
}

/// Suites that are strong enough for everybody and cost least: processors have instructions for
/// SHA-256, most have none for SHA-384, which was 7 % of a handshake. Envoy's first choice, too.
const fn is_light(suite: CipherSuite) -> bool {
    matches!(
        suite,
        CipherSuite::TLS13_AES_128_GCM_SHA256
            | CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
            | CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256
    )
}

/// Why a description of TLS cannot be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The lowest version is above the highest.
    #[error("the lowest TLS version is above the highest")]
    Versions,
    /// The named cipher suites leave nothing for the allowed versions.
    #[error("none of the cipher suites {names:?} is available for the allowed TLS versions")]
    CipherSuites {
        /// What was asked for.
        names: Vec<String>,
    },
    /// Keys of session tickets that are none.
    #[error("the keys of session tickets cannot be used")]
    TicketKeys,
    /// A server without a certificate.
    #[error("a TLS server needs a certificate")]
    NoCertificate,
    /// A server cannot compare its client with a server name.
    #[error("a client certificate cannot be checked against a server name")]
    ServerNameOfClient,
    /// The name of the server cannot be sent.
    #[error("{name:?} is no server name")]
    ServerName {
        /// The name.
        name: String,
        /// Why not.
        source: InvalidDnsNameError,
    },
    /// rustls refuses the combination.
    #[error("the TLS settings cannot be used")]
    Settings(#[source] rustls::Error),
}

/// The wall clock that certificates are checked against.
#[derive(Debug)]
struct WallClock;

impl TimeProvider for WallClock {
    fn current_time(&self) -> Option<UnixTime> {
        let since = clock::wall().duration_since(SystemTime::UNIX_EPOCH).ok()?;
        Some(UnixTime::since_unix_epoch(since))
    }
}

/// A version of TLS that Iako speaks. Older ones are broken and not available.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TlsVersion {
    /// TLS 1.2 (RFC 5246).
    V1_2,
    /// TLS 1.3 (RFC 8446).
    V1_3,
}

/// The versions one side accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TlsVersions {
    minimum: TlsVersion,
    maximum: TlsVersion,
}

impl TlsVersions {
    /// TLS 1.3 only, as between workloads of the mesh.
    pub const ONLY_1_3: Self = Self { minimum: TlsVersion::V1_3, maximum: TlsVersion::V1_3 };

    /// A range of versions, both ends included.
    ///
    /// # Errors
    /// [`TlsError::Versions`] when it is empty.
    pub fn new(minimum: TlsVersion, maximum: TlsVersion) -> Result<Self, TlsError> {
        if minimum > maximum {
            return Err(TlsError::Versions);
        }
        Ok(Self { minimum, maximum })
    }

    fn supported(self) -> Vec<&'static SupportedProtocolVersion> {
        let has = |version| self.minimum <= version && version <= self.maximum;
        let newest_first = [(TlsVersion::V1_3, &TLS13), (TlsVersion::V1_2, &TLS12)];
        newest_first.into_iter().filter(|(version, _)| has(*version)).map(|(_, it)| it).collect()
    }
}

/// TLS 1.2 to 1.3, Envoy's default.
impl Default for TlsVersions {
    fn default() -> Self {
        Self { minimum: TlsVersion::V1_2, maximum: TlsVersion::V1_3 }
    }
}

/// The cipher suites of TLS 1.2. Those of TLS 1.3 are not negotiable, as in Envoy.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum CipherSuites {
    /// All that the provider considers safe.
    #[default]
    Safe,
    /// Those of these names (OpenSSL's or IANA's) that the provider has, in this order.
    Named(Vec<String>),
}

impl CipherSuites {
    /// A provider with these suites, good for at least one of `versions`, and these key exchanges.
    fn provider(
        &self,
        versions: TlsVersions,
        exchanges: &[KeyExchange],
    ) -> Result<Arc<CryptoProvider>, TlsError> {
        let all = provider();
        let kx_groups = if exchanges.is_empty() {
            all.kx_groups.clone()
        } else {
            exchanges.iter().map(|exchange| exchange.group()).collect()
        };
        let Self::Named(names) = self else {
            if exchanges.is_empty() {
                return Ok(all);
            }
            return Ok(Arc::new(CryptoProvider { kx_groups, ..(*all).clone() }));
        };
        let find = |wanted: &CipherSuite| {
            all.cipher_suites.iter().copied().find(|suite| suite.suite() == *wanted)
        };
        let tls12 = names.iter().filter_map(|name| suite_of(name)).filter_map(|it| find(&it));
        let is_tls13 = |suite: &&SupportedCipherSuite| suite.tls13().is_some();
        let tls13 = all.cipher_suites.iter().filter(is_tls13).copied();
        let cipher_suites: Vec<_> = tls13.chain(tls12).collect();
        let usable = versions.maximum == TlsVersion::V1_3
            || cipher_suites.iter().any(|suite| suite.tls13().is_none());
        if !usable {
            return Err(TlsError::CipherSuites { names: names.clone() });
        }
        Ok(Arc::new(CryptoProvider { cipher_suites, kx_groups, ..(*all).clone() }))
    }
}

/// How two sides agree on a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyExchange {
    /// X25519 (RFC 7748).
    X25519,
    /// NIST's P-256.
    P256,
    /// NIST's P-384.
    P384,
    /// X25519 with ML-KEM-768, good against quantum computers.
    X25519MlKem768,
}

impl KeyExchange {
    fn group(self) -> &'static dyn SupportedKxGroup {
        match self {
            Self::X25519 => kx_group::X25519,
            Self::P256 => kx_group::SECP256R1,
            Self::P384 => kx_group::SECP384R1,
            Self::X25519MlKem768 => kx_group::X25519MLKEM768,
        }
    }
}

/// OpenSSL's and IANA's names of the suites that are safe. Others are not available.
fn suite_of(name: &str) -> Option<CipherSuite> {
    Some(match name {
        "ECDHE-ECDSA-AES128-GCM-SHA256" | "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256" => {
            CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
        }
        "ECDHE-RSA-AES128-GCM-SHA256" | "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256" => {
            CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256
        }
        "ECDHE-ECDSA-AES256-GCM-SHA384" | "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384" => {
            CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384
        }
        "ECDHE-RSA-AES256-GCM-SHA384" | "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384" => {
            CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384
        }
        "ECDHE-ECDSA-CHACHA20-POLY1305" | "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256" => {
            CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256
        }
        "ECDHE-RSA-CHACHA20-POLY1305" | "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256" => {
            CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256
        }
        _ => return None,
    })
}
