//! Whether roots vouch for a certificate.

use std::{sync::Arc, time::Duration};

use rustls::{
    CertificateError as TlsError, OtherError, RootCertStore, crypto::WebPkiSupportedAlgorithms,
};
use rustls_pki_types::{
    CertificateDer, CertificateRevocationListDer, UnixTime, pem::PemObject as _,
};
use webpki::{
    CertRevocationList, EndEntityCert, ExpirationPolicy, KeyUsage, OwnedCertRevocationList,
    RevocationCheckDepth, RevocationOptionsBuilder, UnknownStatusPolicy, VerifiedPath,
};

use crate::certificate::{CertificateError, CertificateFacts};

/// Certificates that their issuers have taken back.
///
/// Where there are lists, the issuer of every certificate that is looked for must have one, and the
/// list must not have expired, as OpenSSL demands.
#[derive(Clone)]
pub struct RevocationLists {
    lists: Arc<[CertRevocationList<'static>]>,
    leaf_only: bool,
}

impl RevocationLists {
    /// From concatenated PEM lists. Every certificate of a chain is looked for in them.
    ///
    /// # Errors
    /// When the text is not PEM, or holds no list or an unreadable one.
    pub fn from_pem(text: &str) -> Result<Self, CertificateError> {
        let unreadable = |reason: String| CertificateError::Pem { what: "revocation list", reason };
        let mut lists = Vec::new();
        for list in CertificateRevocationListDer::pem_slice_iter(text.as_bytes()) {
            let list = list.map_err(|error| unreadable(error.to_string()))?;
            let list = OwnedCertRevocationList::from_der(&list);
            lists.push(list.map_err(|error| unreadable(error.to_string()))?.into());
        }
        if lists.is_empty() {
            return Err(unreadable("there is none".to_owned()));
        }
        Ok(Self { lists: lists.into(), leaf_only: false })
    }

    /// The same lists, in which only the peer's own certificate is looked for.
    #[must_use]
    pub fn of_leaf_only(self) -> Self {
        Self { leaf_only: true, ..self }
    }
}

impl std::fmt::Debug for RevocationLists {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} revocation lists", self.lists.len())
    }
}

/// How strictly a chain is looked at.
#[derive(Debug, Clone, Default)]
pub(super) struct ChainRules {
    pub(super) revocation: Option<RevocationLists>,
    pub(super) allow_expired: bool,
    pub(super) depth_max: Option<u32>,
}

/// What a certificate is shown for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Purpose {
    Server,
    Client,
}

/// Checks that one of these roots vouches for a certificate.
pub(super) fn verify(
    (end_entity, intermediates): (&CertificateDer<'_>, &[CertificateDer<'_>]),
    store: &RootCertStore,
    (now, purpose): (UnixTime, Purpose),
    rules: &ChainRules,
    algorithms: &WebPkiSupportedAlgorithms,
) -> Result<(), rustls::Error> {
    let certificate = EndEntityCert::try_from(end_entity).map_err(refusal)?;
    let at = |time: UnixTime| {
        let usage = match purpose {
            Purpose::Server => KeyUsage::server_auth(),
            Purpose::Client => KeyUsage::client_auth(),
        };
        let lists: Vec<&CertRevocationList<'_>> = match &rules.revocation {
            Some(revocation) => revocation.lists.iter().collect(),
            None => Vec::new(),
        };
        let depth = match &rules.revocation {
            Some(revocation) if revocation.leaf_only => RevocationCheckDepth::EndEntity,
            Some(_) | None => RevocationCheckDepth::Chain,
        };
        let revocation = RevocationOptionsBuilder::new(&lists).ok().map(|options| {
            options
                .with_depth(depth)
                .with_status_policy(UnknownStatusPolicy::Deny)
                .with_expiration_policy(ExpirationPolicy::Enforce)
                .build()
        });
        let is_short = |path: &VerifiedPath<'_>| {
            // As in OpenSSL, the root counts where there is something between.
            let between = u32::try_from(path.intermediate_certificates().count());
            let is_within = |max| between.is_ok_and(|between| between == 0 || between < max);
            let fits = rules.depth_max.is_none_or(is_within);
            if fits { Ok(()) } else { Err(webpki::Error::MaximumPathDepthExceeded) }
        };
        certificate
            .verify_for_usage(
                algorithms.all,
                &store.roots,
                intermediates,
                time,
                usage,
                revocation,
                Some(&is_short),
            )
            .map(|_path| ())
    };
    let verified = match at(now) {
        Err(webpki::Error::CertExpired { .. } | webpki::Error::CertNotValidYet { .. })
            if rules.allow_expired =>
        {
            at(valid_time(end_entity, intermediates, now))
        }
        verified => verified,
    };
    verified.map_err(refusal)
}

/// The time nearest to now at which every certificate that was sent is valid, as far as there is one.
fn valid_time(
    end_entity: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
    now: UnixTime,
) -> UnixTime {
    let chain = std::iter::once(end_entity).chain(intermediates);
    let read: Vec<_> = chain.filter_map(|one| CertificateFacts::read(one).ok()).collect();
    let since = |time: std::time::SystemTime| {
        let since = time.duration_since(std::time::SystemTime::UNIX_EPOCH);
        since.unwrap_or(Duration::ZERO).as_secs()
    };
    let from = read.iter().map(|facts| since(facts.not_before)).max().unwrap_or(0);
    let until = read.iter().map(|facts| since(facts.not_after)).min().unwrap_or(u64::MAX);
    UnixTime::since_unix_epoch(Duration::from_secs(now.as_secs().min(until).max(from)))
}

/// What a client or a log is told. The text of others comes along.
fn refusal(error: webpki::Error) -> rustls::Error {
    use webpki::Error;
    #[expect(clippy::wildcard_enum_match_arm, reason = "the rest is told by its text")]
    let told = match error {
        Error::BadDer | Error::BadDerTime | Error::TrailingData(_) => TlsError::BadEncoding,
        Error::CertNotValidYet { time, not_before } => {
            TlsError::NotValidYetContext { time, not_before }
        }
        Error::CertExpired { time, not_after } => TlsError::ExpiredContext { time, not_after },
        Error::UnknownIssuer => TlsError::UnknownIssuer,
        Error::CertRevoked => TlsError::Revoked,
        Error::UnknownRevocationStatus => TlsError::UnknownRevocationStatus,
        Error::CrlExpired { time, next_update } => {
            TlsError::ExpiredRevocationListContext { time, next_update }
        }
        Error::InvalidSignatureForPublicKey => TlsError::BadSignature,
        other => TlsError::Other(OtherError(Arc::new(other))),
    };
    told.into()
}
